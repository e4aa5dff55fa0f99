//! Readers and writers for Kafka's wire types: integers, bool, uuid, string, bytes, records, arrays and their nulls, in
//! the plain encoding and the compact encoding of flexible versions (KIP-482).
//!
//! Parsers follow nom's *complete* rules: a frame's length is known before its body is read, so a short body is an
//! error and never "need more". A claimed length is compared with the available bytes before anything is allocated for
//! it.

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_i8, be_i16, be_i32, be_i64};

use crate::context::{Context, Parsed, Version, fail};
use crate::error::{EncodeError, EncodeErrorKind, ParseErrorKind, Step, inside};
use crate::put::{Count, Put};
use crate::records::Records;
use crate::schema::Type;
use crate::secret::Secret;
use crate::uuid::Uuid;
use crate::varint::{put_uvarint, uvarint};

/// A type with an encoding on the wire.
pub(crate) trait Wire: Clone + PartialEq {
    /// The type's name in Kafka's descriptors.
    const TYPE: Type;

    /// Whether the type has a null value.
    const NULLABLE: bool = false;

    /// The default of a field without a declared one. As in Kafka's descriptors, the default of a nullable field is
    /// empty, not null, unless declared.
    fn initial() -> Self;

    /// Minimum size of a value in bytes; limits the allocation for a claimed count.
    fn min_len(version: Version) -> usize;

    /// Reads a value from the start of `input`.
    fn parse<'a>(input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self>;

    /// Writes the value.
    fn encode(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError>;

    /// Whether the value is null.
    fn is_null(&self) -> bool {
        false
    }

    /// Returns the value as Kafka's tools print it.
    #[cfg(feature = "json")]
    fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value;

    /// Adds the value to its structure's object.
    #[cfg(feature = "json")]
    fn add_json(&self, name: String, view: crate::json::View<'_>, object: &mut crate::json::Object) {
        object.insert(name, self.to_json(view));
    }
}

/// Returns the size of `value` in bytes.
pub(crate) fn encoded_len(value: &impl Wire, version: Version) -> Result<usize, EncodeError> {
    let mut count = Count::default();
    value.encode(version, &mut count)?;
    Ok(count.0)
}

macro_rules! integers {
    ($($int:ty, $type:ident, $parser:path;)*) => {$(
        impl Wire for $int {
            const TYPE: Type = Type::$type;

            fn initial() -> Self {
                0
            }

            fn min_len(_: Version) -> usize {
                size_of::<Self>()
            }

            fn parse<'a>(input: &'a [u8], _: Context<'a>) -> Parsed<'a, Self> {
                $parser(input)
            }

            fn encode(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
                out.put_slice(&self.to_be_bytes());
                Ok(())
            }

            #[cfg(feature = "json")]
            fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
                (*self).into()
            }
        }
    )*};
}

integers! {
    i8, Int8, be_i8;
    i16, Int16, be_i16;
    i32, Int32, be_i32;
    i64, Int64, be_i64;
}

impl Wire for bool {
    const TYPE: Type = Type::Bool;

    fn initial() -> Self {
        false
    }

    fn min_len(_: Version) -> usize {
        1
    }

    fn parse<'a>(input: &'a [u8], _: Context<'a>) -> Parsed<'a, Self> {
        be_i8.map(|byte| byte != 0).parse_complete(input)
    }

    fn encode(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        out.put_slice(&[u8::from(*self)]);
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        (*self).into()
    }
}

impl Wire for Uuid {
    const TYPE: Type = Type::Uuid;

    fn initial() -> Self {
        Self::ZERO
    }

    fn min_len(_: Version) -> usize {
        16
    }

    fn parse<'a>(input: &'a [u8], _: Context<'a>) -> Parsed<'a, Self> {
        match input.split_first_chunk() {
            Some((bytes, rest)) => Ok((rest, Self(*bytes))),
            None => fail(ParseErrorKind::Truncated, input),
        }
    }

    fn encode(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        out.put_slice(&self.0);
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        self.to_string().into()
    }
}

/// The length prefix of a type in non-flexible versions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prefix {
    I16,
    I32,
}

/// A type with a length, which can therefore be null.
pub(crate) trait Lengthed: Clone + Default + PartialEq {
    const TYPE: Type;
    const PREFIX: Prefix;

    /// Number of elements or bytes.
    fn length(&self) -> usize;

    /// Reads `length` elements or bytes.
    fn parse_content<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self>;

    /// Writes the value without its length.
    fn encode_content(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError>;

    #[cfg(feature = "json")]
    fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value;

    #[cfg(feature = "json")]
    fn add_json(&self, name: String, view: crate::json::View<'_>, object: &mut crate::json::Object) {
        object.insert(name, self.to_json(view));
    }
}

/// Reads a value's length. Null is -1; in the compact encoding, which adds one to lengths, null is 0.
fn parse_length(prefix: Prefix, input: &[u8], version: Version) -> Parsed<'_, Option<usize>> {
    let (rest, length) = if version.flexible {
        uvarint.map(|length| i64::from(length) - 1).parse_complete(input)?
    } else {
        match prefix {
            Prefix::I16 => be_i16.map(i64::from).parse_complete(input)?,
            Prefix::I32 => be_i32.map(i64::from).parse_complete(input)?,
        }
    };
    match usize::try_from(length) {
        Ok(length) => Ok((rest, Some(length))),
        Err(_) if length == -1 => Ok((rest, None)),
        Err(_) => fail(ParseErrorKind::NegativeLength(length), input),
    }
}

pub(crate) fn put_length(
    length: Option<usize>,
    prefix: Prefix,
    version: Version,
    out: &mut impl Put,
) -> Result<(), EncodeError> {
    let too_long = |_| EncodeError::new(EncodeErrorKind::TooLong(length.unwrap_or_default()));
    if version.flexible {
        let limit = match prefix {
            Prefix::I16 => i16::MAX.cast_unsigned().into(),
            Prefix::I32 => i32::MAX.cast_unsigned(),
        };
        let one_more = match length {
            None => 0,
            Some(length) => match u32::try_from(length).map_err(too_long)? {
                length if length > limit => return Err(EncodeError::new(EncodeErrorKind::TooLong(length as usize))),
                length => length + 1,
            },
        };
        put_uvarint(one_more, out);
        return Ok(());
    }
    match (prefix, length) {
        (Prefix::I16, None) => out.put_slice(&(-1i16).to_be_bytes()),
        (Prefix::I16, Some(length)) => out.put_slice(&i16::try_from(length).map_err(too_long)?.to_be_bytes()),
        (Prefix::I32, None) => out.put_slice(&(-1i32).to_be_bytes()),
        (Prefix::I32, Some(length)) => out.put_slice(&i32::try_from(length).map_err(too_long)?.to_be_bytes()),
    }
    Ok(())
}

fn length_len(prefix: Prefix, version: Version) -> usize {
    match (version.flexible, prefix) {
        (true, _) => 1,
        (false, Prefix::I16) => 2,
        (false, Prefix::I32) => 4,
    }
}

/// Returns the next `length` bytes, shared with the body.
fn shared_bytes<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Bytes> {
    let (rest, bytes) = take(length)(input)?;
    Ok((rest, context.body.slice_ref(bytes)))
}

impl<T: Lengthed> Wire for Option<T> {
    const TYPE: Type = T::TYPE;
    const NULLABLE: bool = true;

    fn initial() -> Self {
        Some(T::default())
    }

    fn min_len(version: Version) -> usize {
        length_len(T::PREFIX, version)
    }

    fn parse<'a>(input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        match parse_length(T::PREFIX, input, context.version)? {
            (rest, None) => Ok((rest, None)),
            (rest, Some(length)) => {
                let (rest, value) = T::parse_content(length, rest, context)?;
                Ok((rest, Some(value)))
            }
        }
    }

    fn encode(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        put_length(self.as_ref().map(T::length), T::PREFIX, version, out)?;
        self.as_ref().map_or(Ok(()), |value| value.encode_content(version, out))
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }

    #[cfg(feature = "json")]
    fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value {
        self.as_ref().map_or(serde_json::Value::Null, |value| value.to_json(view))
    }

    #[cfg(feature = "json")]
    fn add_json(&self, name: String, view: crate::json::View<'_>, object: &mut crate::json::Object) {
        match self {
            None => {
                object.insert(name, serde_json::Value::Null);
            }
            Some(value) => value.add_json(name, view, object),
        }
    }
}

macro_rules! never_null {
    ($type:ty $(, $element:ident)?) => {
        impl $(<$element: Wire>)? Wire for $type {
            const TYPE: Type = <Self as Lengthed>::TYPE;

            fn initial() -> Self {
                Self::default()
            }

            fn min_len(version: Version) -> usize {
                length_len(<Self as Lengthed>::PREFIX, version)
            }

            fn parse<'a>(input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
                match parse_length(<Self as Lengthed>::PREFIX, input, context.version)? {
                    (_, None) => fail(ParseErrorKind::UnexpectedNull, input),
                    (rest, Some(length)) => Self::parse_content(length, rest, context),
                }
            }

            fn encode(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError> {
                put_length(Some(self.length()), <Self as Lengthed>::PREFIX, version, out)?;
                self.encode_content(version, out)
            }

            #[cfg(feature = "json")]
            fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value {
                Lengthed::to_json(self, view)
            }

            #[cfg(feature = "json")]
            fn add_json(&self, name: String, view: crate::json::View<'_>, object: &mut crate::json::Object) {
                Lengthed::add_json(self, name, view, object);
            }
        }
    };
}

never_null!(String);
never_null!(Records);
never_null!(Secret);
never_null!(Vec<T>, T);

impl Lengthed for String {
    const TYPE: Type = Type::String;
    const PREFIX: Prefix = Prefix::I16;

    fn length(&self) -> usize {
        self.len()
    }

    /// Copies the string: a long-lived name must not keep its frame alive.
    fn parse_content<'a>(length: usize, input: &'a [u8], _: Context<'a>) -> Parsed<'a, Self> {
        if length > i16::MAX.cast_unsigned().into() {
            return fail(ParseErrorKind::StringTooLong(length), input);
        }
        let (rest, bytes) = take(length)(input)?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok((rest, text.to_owned())),
            Err(_) => fail(ParseErrorKind::InvalidUtf8, input),
        }
    }

    fn encode_content(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        out.put_slice(self.as_bytes());
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        self.as_str().into()
    }
}

impl Lengthed for Records {
    const TYPE: Type = Type::Records;
    const PREFIX: Prefix = Prefix::I32;

    fn length(&self) -> usize {
        self.len()
    }

    fn parse_content<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        let (rest, bytes) = shared_bytes(length, input, context)?;
        Ok((rest, bytes.into()))
    }

    fn encode_content(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        for chunk in self.chunks() {
            out.put_shared(chunk);
        }
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value {
        (view.records)(self).unwrap_or_default()
    }

    /// Prints the size under a separate name, as Java does, and the view's JSON for the records beside it.
    #[cfg(feature = "json")]
    fn add_json(&self, name: String, view: crate::json::View<'_>, object: &mut crate::json::Object) {
        object.insert(format!("{name}SizeInBytes"), self.len().into());
        let records = Lengthed::to_json(self, view);
        if !records.is_null() {
            object.insert(name, records);
        }
    }
}

impl Lengthed for Secret {
    const TYPE: Type = Type::Bytes;
    const PREFIX: Prefix = Prefix::I32;

    fn length(&self) -> usize {
        self.reveal().len()
    }

    fn parse_content<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        if length > Self::LIMIT_BYTES {
            return fail(ParseErrorKind::BytesTooLong(length), input);
        }
        let (rest, bytes) = shared_bytes(length, input, context)?;
        Ok((rest, bytes.into()))
    }

    fn encode_content(&self, _: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        out.put_shared(self.reveal());
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        crate::json::base64(self.reveal())
    }
}

impl<T: Wire> Lengthed for Vec<T> {
    const TYPE: Type = Type::Array(&T::TYPE);
    const PREFIX: Prefix = Prefix::I32;

    fn length(&self) -> usize {
        self.len()
    }

    fn parse_content<'a>(length: usize, input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        if length > input.len() / T::min_len(context.version).max(1) {
            return fail(ParseErrorKind::CountExceedsInput(length), input);
        }
        let memory = length.saturating_mul(size_of::<T>());
        match context.allowance.get().checked_sub(memory) {
            Some(left) => context.allowance.set(left),
            None => return fail(ParseErrorKind::MemoryExceedsInput(memory), input),
        }
        let mut elements = Self::with_capacity(length);
        let mut rest = input;
        for index in 0..length {
            let element;
            (rest, element) = T::parse(rest, context).map_err(|error| inside(error, Step::Index(index)))?;
            elements.push(element);
        }
        Ok((rest, elements))
    }

    fn encode_content(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        for (index, element) in self.iter().enumerate() {
            element.encode(version, out).map_err(|error| error.inside(Step::Index(index)))?;
        }
        Ok(())
    }

    #[cfg(feature = "json")]
    fn to_json(&self, view: crate::json::View<'_>) -> serde_json::Value {
        self.iter().map(|element| element.to_json(view)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PLAIN: Version = Version { number: 0, flexible: false };
    const FLEXIBLE: Version = Version { number: 1, flexible: true };

    #[test]
    fn lengths_fit_their_prefix() {
        const SHORT: usize = 0x7fff;
        const LONG: usize = 0x7fff_ffff;
        for (prefix, version, length, bytes) in [
            (Prefix::I16, PLAIN, None, &[0xff, 0xff][..]),
            (Prefix::I16, PLAIN, Some(0), &[0, 0]),
            (Prefix::I16, PLAIN, Some(SHORT), &[0x7f, 0xff]),
            (Prefix::I32, PLAIN, None, &[0xff, 0xff, 0xff, 0xff]),
            (Prefix::I32, PLAIN, Some(SHORT + 1), &[0, 0, 0x80, 0]),
            (Prefix::I32, PLAIN, Some(LONG), &[0x7f, 0xff, 0xff, 0xff]),
            (Prefix::I16, FLEXIBLE, None, &[0]),
            (Prefix::I16, FLEXIBLE, Some(0), &[1]),
            (Prefix::I16, FLEXIBLE, Some(SHORT), &[0x80, 0x80, 2]),
            (Prefix::I32, FLEXIBLE, Some(SHORT + 1), &[0x81, 0x80, 2]),
            (Prefix::I32, FLEXIBLE, Some(LONG), &[0x80, 0x80, 0x80, 0x80, 8]),
        ] {
            let mut out = Vec::new();
            put_length(length, prefix, version, &mut out).unwrap();
            assert_eq!(out, bytes, "{length:?} as {prefix:?}, {version:?}");
            assert_eq!(parse_length(prefix, bytes, version).unwrap(), (&[][..], length));
            assert!(length_len(prefix, version) <= bytes.len());
        }
        for version in [PLAIN, FLEXIBLE] {
            for (prefix, length) in [(Prefix::I16, SHORT + 1), (Prefix::I32, LONG + 1), (Prefix::I32, 1 << 32)] {
                let error = put_length(Some(length), prefix, version, &mut Vec::new()).unwrap_err();
                assert_eq!(error.kind(), &EncodeErrorKind::TooLong(length), "{prefix:?}, {version:?}");
            }
        }
    }

    #[test]
    fn no_value_is_shorter_than_its_min_len() {
        fn check<T: Wire>(plain: usize, flexible: usize) {
            for (version, bytes) in [(PLAIN, plain), (FLEXIBLE, flexible)] {
                assert_eq!((T::min_len(version), encoded_len(&T::initial(), version).unwrap()), (bytes, bytes));
            }
        }
        check::<bool>(1, 1);
        check::<i8>(1, 1);
        check::<i16>(2, 2);
        check::<i32>(4, 4);
        check::<i64>(8, 8);
        check::<Uuid>(16, 16);
        check::<String>(2, 1);
        check::<Option<String>>(2, 1);
        check::<Secret>(4, 1);
        check::<Option<Records>>(4, 1);
        check::<Vec<i32>>(4, 1);
    }

    #[test]
    fn string_has_at_most_32767_bytes() {
        let read = |len: usize| {
            let mut body = Vec::new();
            put_length(Some(len), Prefix::I32, FLEXIBLE, &mut body).unwrap();
            body.resize(body.len() + len, b'a');
            let (body, allowance) = (Bytes::from(body), Cell::new(0));
            let context = Context { version: FLEXIBLE, body: &body, allowance: &allowance };
            String::parse(&body, context).map(|(_, text)| text.len()).ok()
        };
        assert_eq!((read(32_767), read(32_768)), (Some(32_767), None));
    }

    #[cfg(feature = "json")]
    #[test]
    fn nullable_value_has_the_json_of_its_value() {
        let view = crate::json::View { version: PLAIN, records: &|_| None };
        let name = Some("a".to_owned());
        assert_eq!(name.to_json(view), serde_json::json!("a"));
        assert_eq!(None::<String>.to_json(view), serde_json::Value::Null);
    }
}
