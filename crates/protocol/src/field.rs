//! Reads and writes one field of a structure, as its row of the field table says.

use crate::context::{Context, Parsed, Version, fail};
use crate::error::{EncodeError, EncodeErrorKind, Fault, ParseErrorKind, Step, inside};
use crate::put::Put;
use crate::schema::Field;
use crate::varint::{put_uvarint, uvarint};
use crate::wire::{Wire, encoded_len};

impl Field {
    /// Whether this version writes the field in sequence, not as a tagged field.
    pub(crate) fn is_placed_in(&self, version: Version) -> bool {
        self.tag.is_none() && self.is_in(version.number)
    }

    /// Whether this version may carry the field under `tag`.
    pub(crate) fn is_tagged_in(&self, version: Version, tag: u32) -> bool {
        self.tag == Some(tag) && self.is_in(version.number)
    }

    /// Returns the tag to write `value` with in this version; `None` for a default, which is not written.
    fn tag_for<T: Wire>(&self, value: &T, default: impl FnOnce() -> T, version: Version) -> Option<u32> {
        self.tag.filter(|_| self.is_in(version.number) && *value != default())
    }

    /// Reads the field into `slot`, if this version has it in sequence.
    pub(crate) fn parse<'a, T: Wire>(&self, input: &'a [u8], context: Context<'a>, slot: &mut T) -> Parsed<'a, ()> {
        if !self.is_placed_in(context.version) {
            return Ok((input, ()));
        }
        self.parse_value(input, context, slot)
    }

    /// Reads a tagged field from `body`, which it must fill exactly.
    pub(crate) fn parse_tagged<'a, T: Wire>(
        &self,
        tag: u32,
        body: &'a [u8],
        context: Context<'a>,
        slot: &mut T,
    ) -> Result<(), nom::Err<Fault>> {
        match self.parse_value(body, context, slot)? {
            ([], ()) => Ok(()),
            (rest, ()) => {
                let wrong_size: Parsed<'_, ()> = fail(ParseErrorKind::TagSize(tag), rest);
                wrong_size.map(|(_, ())| ()).map_err(|error| inside(error, Step::Field(self.name)))
            }
        }
    }

    fn parse_value<'a, T: Wire>(&self, input: &'a [u8], context: Context<'a>, slot: &mut T) -> Parsed<'a, ()> {
        let step = Step::Field(self.name);
        let (rest, value) = T::parse(input, context).map_err(|error| inside(error, step))?;
        if value.is_null() && !self.is_nullable_in(context.version.number) {
            return fail(ParseErrorKind::UnexpectedNull, input).map_err(|error| inside(error, step));
        }
        *slot = value;
        Ok((rest, ()))
    }

    /// Writes the field, if this version has it in sequence.
    pub(crate) fn encode<T: Wire>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        version: Version,
        out: &mut impl Put,
    ) -> Result<(), EncodeError> {
        let refuse = |kind| Err(EncodeError::new(kind).inside(Step::Field(self.name)));
        if !self.is_in(version.number) {
            let may_vanish = self.ignorable || *value == default();
            return if may_vanish { Ok(()) } else { refuse(EncodeErrorKind::NotInVersion) };
        }
        if value.is_null() && !self.is_nullable_in(version.number) {
            return refuse(EncodeErrorKind::UnexpectedNull);
        }
        if self.tag.is_some() {
            return Ok(());
        }
        value.encode(version, out).map_err(|error| error.inside(Step::Field(self.name)))
    }

    /// Returns 1 if the field is written with a tag, else 0.
    pub(crate) fn count_tagged<T: Wire>(&self, value: &T, default: impl FnOnce() -> T, version: Version) -> u32 {
        self.tag_for(value, default, version).map_or(0, |_| 1)
    }

    /// Writes the field with its tag, if this version and value require that.
    pub(crate) fn encode_tagged<T: Wire>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        version: Version,
        out: &mut impl Put,
    ) -> Result<(), EncodeError> {
        let Some(tag) = self.tag_for(value, default, version) else { return Ok(()) };
        let within = |error: EncodeError| error.inside(Step::Field(self.name));
        let len = encoded_len(value, version).map_err(within)?;
        let len = u32::try_from(len).map_err(|_| within(EncodeError::new(EncodeErrorKind::TooLong(len))))?;
        put_uvarint(tag, out);
        put_uvarint(len, out);
        value.encode(version, out).map_err(within)
    }

    /// Adds the field to its structure's JSON, if this version has it. As in Java, a tagged field is added only if it
    /// is written.
    #[cfg(feature = "json")]
    pub(crate) fn add_json<T: Wire>(
        &self,
        value: &T,
        default: impl FnOnce() -> T,
        view: crate::json::View<'_>,
        object: &mut crate::json::Object,
    ) {
        let shown = match self.tag {
            None => self.is_in(view.version.number),
            Some(_) => self.tag_for(value, default, view.version).is_some(),
        };
        if shown {
            value.add_json(crate::names::kafka_name(self.name), view, object);
        }
    }
}

/// Returns the first version that allows null for a type `T`: the declared one, or the field's first version.
pub(crate) const fn null_since<T: Wire>(since: i16, declared: Option<i16>) -> i16 {
    match declared {
        _ if !T::NULLABLE => i16::MAX,
        Some(declared) => declared,
        None => since,
    }
}

/// Reads the tagged fields at the end of a structure and passes each to `known`, which returns whether it knows the
/// tag. Unknown fields are skipped by their size.
pub(crate) fn parse_tags<'a>(
    input: &'a [u8],
    version: Version,
    mut known: impl FnMut(u32, &'a [u8]) -> Result<(), nom::Err<Fault>>,
) -> Parsed<'a, ()> {
    if !version.flexible {
        return Ok((input, ()));
    }
    let (mut rest, count) = uvarint(input)?;
    let mut last = None;
    for _ in 0..count {
        let (after, tag) = uvarint(rest)?;
        if last.is_some_and(|last| tag <= last) {
            return fail(ParseErrorKind::TagOrder(tag), rest);
        }
        last = Some(tag);
        let (after, len) = uvarint(after)?;
        let Some((body, after)) = usize::try_from(len).ok().and_then(|len| after.split_at_checked(len)) else {
            return fail(ParseErrorKind::Truncated, after);
        };
        known(tag, body).map_err(|error| error.map(|fault| fault.with_more(after.len())))?;
        rest = after;
    }
    Ok((rest, ()))
}
