//! `messages!`: declares a message and generates its structures, defaults, parser, encoder, JSON view and field table.
//! `crates/e2e` compares the tables with Kafka's own descriptors.
//!
//! ```text
//! messages! {
//!     /// What it asks.
//!     request MetadataRequest (key 3, versions 0..=13, flexible 9..) -> MetadataResponse {
//!         0..    [null 1..] topics: Option<Vec<MetadataRequestTopic>>,
//!         4..    allow_auto_topic_creation: bool = true,
//!         8..=10 include_cluster_authorized_operations: bool,
//!     }
//!     struct MetadataRequestTopic { … }
//!     response MetadataResponse { 3.. [ignorable] throttle_time_ms: i32, … }
//! }
//! ```
//!
//! A line has the versions with the field, its options in brackets, its name, its type and its default. The options are
//! `ignorable` (a version without the field may drop its value silently; otherwise that is an error, as in Kafka's
//! descriptors), `null 1..` (the versions that allow null, if not all do) and `tag 0` (a tagged field, written only if
//! it differs from its default). The Rust type selects the encoding; only `Option` allows null. A field outside the
//! version in use holds its default.

use crate::error::{EncodeError, EncodeErrorKind, ParseErrorKind, Step, inside};
use crate::put::Put;
use crate::varint::{put_uvarint, uvarint};
use crate::wire::{Context, Parsed, Version, Wire, encoded_len, fail};

/// A structure of a message, with its fields in wire order.
///
/// ```
/// use kurier_protocol::Message;
/// use kurier_protocol::messages::MetadataRequest;
/// use kurier_protocol::schema::{Struct, Type};
///
/// let schema: &Struct = MetadataRequest::SCHEMA;
/// let topics = &schema.fields[0];
/// assert_eq!((topics.name, topics.since, topics.null_since), ("topics", 0, 1));
/// let Type::Array(Type::Struct(topic)) = topics.ty else { panic!("an array of structures") };
/// assert_eq!(topic.fields[0].name, "topic_id");
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Struct {
    /// Kafka's name; a nested structure may have a name of this crate.
    pub name: &'static str,
    /// The fields in wire order; tagged fields are where Kafka's descriptor has them.
    pub fields: &'static [Field],
}

/// One field of a structure. See [`Struct`] for an example.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in snake case; [`kafka_name`] converts it to Kafka's.
    pub name: &'static str,
    /// The field's type.
    pub ty: Type,
    /// The first version with the field.
    pub since: i16,
    /// The last version with the field; `i16::MAX` if it was never removed.
    pub until: i16,
    /// The first version that allows null; `i16::MAX` if none does.
    pub null_since: i16,
    /// The tag of a tagged field (KIP-482).
    pub tag: Option<u32>,
    /// Whether a version without the field may drop its value silently.
    pub ignorable: bool,
    /// The default as declared; `None` for 0, false, empty, or a structure of defaults.
    pub default: Option<&'static str>,
}

/// A type in the vocabulary of Kafka's descriptors. See [`Struct`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uuid`
    Uuid,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `records`
    Records,
    /// `[]type`
    Array(&'static Self),
    /// A structure of the same message.
    Struct(&'static Struct),
}

/// Converts a name to Kafka's form: `topic_authorized_operations` becomes `topicAuthorizedOperations`.
///
/// ```
/// use kurier_protocol::schema::kafka_name;
///
/// assert_eq!(kafka_name("throttle_time_ms"), "throttleTimeMs");
/// assert_eq!(kafka_name("v3_and_below_topics"), "v3AndBelowTopics");
/// ```
#[must_use]
pub fn kafka_name(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

impl Field {
    /// Whether this version has the field, tagged or untagged.
    #[must_use]
    pub fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }

    /// Whether this version allows null.
    #[must_use]
    pub fn is_nullable_in(&self, version: i16) -> bool {
        self.null_since <= version
    }

    /// Whether this version writes the field in sequence, not as a tagged field.
    pub(crate) fn is_placed_in(&self, version: Version) -> bool {
        self.tag.is_none() && self.is_in(version.number)
    }

    /// Whether this version may carry the field under `tag`.
    pub(crate) fn is_tagged_in(&self, version: Version, tag: u32) -> bool {
        self.tag == Some(tag) && self.is_in(version.number)
    }

    /// The tag of `value` in this version, if it is written: defaults are not.
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
    ) -> Result<(), nom::Err<crate::error::Fault>> {
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
            value.add_json(kafka_name(self.name), view, object);
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
    mut known: impl FnMut(u32, &'a [u8]) -> Result<(), nom::Err<crate::error::Fault>>,
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

/// Declares messages; see the module's documentation.
macro_rules! messages {
    () => {};

    (
        $(#[$meta:meta])*
        request $name:ident (key $key:literal, versions $lowest:literal ..= $highest:literal $(, flexible $flexible:literal ..)?)
            -> $response:ident { $($fields:tt)* }
        $($rest:tt)*
    ) => {
        $crate::schema::messages! { @body [$(#[$meta])*] $name { $($fields)* } }
        $crate::schema::messages! { @message $name, $key, $lowest, $highest, [$($flexible)?] }
        $crate::schema::messages! { @message $response, $key, $lowest, $highest, [$($flexible)?] }
        impl $crate::message::Request for $name {
            type Response = $response;
        }
        $crate::schema::messages! { $($rest)* }
    };

    ($(#[$meta:meta])* response $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        $crate::schema::messages! { @body [$(#[$meta])*] $name { $($fields)* } }
        $crate::schema::messages! { $($rest)* }
    };

    ($(#[$meta:meta])* struct $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        $crate::schema::messages! { @within [$(#[$meta])*] $name { $($fields)* } }
        $crate::schema::messages! { $($rest)* }
    };

    // The example of a message writes and reads it; the example of a nested structure starts from its defaults.
    (@body [$(#[$meta:meta])*] $name:ident { $($fields:tt)* }) => {
        $crate::schema::messages! { @struct [
            $(#[$meta])*
            #[doc = concat!(
                "\n```\nuse kurier_protocol::Message;\nuse ", module_path!(), "::", stringify!($name), ";\n\n",
                "let message = ", stringify!($name), "::default();\n",
                "let newest = *", stringify!($name), "::VERSIONS.end();\n",
                "let mut body = Vec::new();\nmessage.write(newest, &mut body)?;\n",
                "assert_eq!(", stringify!($name), "::read(&body.into(), newest)?, message);\n",
                "# Ok::<(), Box<dyn std::error::Error>>(())\n```",
            )]
        ] $name { $($fields)* } }
    };

    (@within [$(#[$meta:meta])*] $name:ident { $($fields:tt)* }) => {
        $crate::schema::messages! { @struct [
            $(#[$meta])*
            #[doc = concat!(
                "\n```\nuse ", module_path!(), "::", stringify!($name), ";\n\n",
                "let one = ", stringify!($name), "::default();\n",
                "let other = ", stringify!($name), " { ..one.clone() };\nassert_eq!(one, other);\n```",
            )]
        ] $name { $($fields)* } }
    };

    (@message $name:ident, $key:literal, $lowest:literal, $highest:literal, [$($flexible:literal)?]) => {
        impl $crate::message::Message for $name {
            const SCHEMA: &'static $crate::schema::Struct = &Self::STRUCT;
            const KEY: i16 = $key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $lowest..=$highest;
            const FLEXIBLE_SINCE: i16 = $crate::schema::messages!(@or_never $($flexible)?);
        }
    };

    // Each field's row is an associated constant with the field's name, used by everything below.
    (@struct [$(#[$meta:meta])*] $name:ident {
        $(
            $(#[$field_meta:meta])*
            $since:literal $(..= $until:literal)? $(..)? $([$($special:tt)*])? $field:ident : $ty:ty $(= $default:expr)?,
        )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("\n\nSince version ", $since $(, ", until ", $until)?, ".")]
                pub $field: $ty,
            )*
        }

        #[expect(non_upper_case_globals, reason = "named like the field that each describes")]
        impl $name {
            $(
                const $field: $crate::schema::Field = $crate::schema::Field {
                    name: stringify!($field),
                    ty: <$ty as $crate::wire::Wire>::TYPE,
                    since: $since,
                    until: $crate::schema::messages!(@or_never $($until)?),
                    null_since: $crate::schema::null_since::<$ty>($since, $crate::schema::messages!(@null_since $($($special)*)?)),
                    tag: $crate::schema::messages!(@tag $($($special)*)?),
                    ignorable: $crate::schema::messages!(@ignorable $($($special)*)?),
                    default: $crate::schema::messages!(@written $($default)?),
                };
            )*
            const STRUCT: $crate::schema::Struct =
                $crate::schema::Struct { name: stringify!($name), fields: &[$(Self::$field),*] };
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::schema::messages!(@default $ty $(, $default)?),)* }
            }
        }

        impl $crate::wire::Wire for $name {
            const TYPE: $crate::schema::Type = $crate::schema::Type::Struct(&Self::STRUCT);

            fn initial() -> Self {
                Self::default()
            }

            fn min_len(version: $crate::wire::Version) -> usize {
                let mut len = usize::from(version.flexible);
                $(
                    if Self::$field.is_placed_in(version) {
                        len += <$ty as $crate::wire::Wire>::min_len(version);
                    }
                )*
                len
            }

            fn parse<'a>(
                input: &'a [u8],
                context: $crate::wire::Context<'a>,
            ) -> $crate::wire::Parsed<'a, Self> {
                let mut this = Self::default();
                $(let (input, ()) = Self::$field.parse(input, context, &mut this.$field)?;)*
                let (input, ()) = $crate::schema::parse_tags(input, context.version, |tag, body| {
                    $(
                        if Self::$field.is_tagged_in(context.version, tag) {
                            return Self::$field.parse_tagged(tag, body, context, &mut this.$field);
                        }
                    )*
                    let _ = (tag, body);
                    Ok(())
                })?;
                Ok((input, this))
            }

            fn encode(
                &self,
                version: $crate::wire::Version,
                out: &mut impl $crate::put::Put,
            ) -> Result<(), $crate::error::EncodeError> {
                $(
                    let default = || $crate::schema::messages!(@default $ty $(, $default)?);
                    Self::$field.encode(&self.$field, default, version, out)?;
                )*
                if version.flexible {
                    let mut tagged = 0;
                    $(
                        let default = || $crate::schema::messages!(@default $ty $(, $default)?);
                        tagged += Self::$field.count_tagged(&self.$field, default, version);
                    )*
                    $crate::varint::put_uvarint(tagged, out);
                    $(
                        let default = || $crate::schema::messages!(@default $ty $(, $default)?);
                        Self::$field.encode_tagged(&self.$field, default, version, out)?;
                    )*
                }
                Ok(())
            }

            #[cfg(feature = "json")]
            fn to_json(&self, view: $crate::json::View<'_>) -> serde_json::Value {
                let mut object = $crate::json::Object::new();
                $(
                    let default = || $crate::schema::messages!(@default $ty $(, $default)?);
                    Self::$field.add_json(&self.$field, default, view, &mut object);
                )*
                object.into()
            }
        }
    };

    (@or_never) => { i16::MAX };
    (@or_never $version:literal) => { $version };

    (@default $ty:ty) => { <$ty as $crate::wire::Wire>::initial() };
    (@default $ty:ty, $default:expr) => { $default };

    (@written) => { None };
    (@written $default:expr) => { Some(stringify!($default)) };

    (@ignorable) => { false };
    (@ignorable ignorable $($rest:tt)*) => { true };
    (@ignorable $other:tt $($rest:tt)*) => { $crate::schema::messages!(@ignorable $($rest)*) };

    (@tag) => { None };
    (@tag tag $tag:literal $($rest:tt)*) => { Some($tag) };
    (@tag $other:tt $($rest:tt)*) => { $crate::schema::messages!(@tag $($rest)*) };

    (@null_since) => { None };
    (@null_since null $since:literal $($rest:tt)*) => { Some($since) };
    (@null_since $other:tt $($rest:tt)*) => { $crate::schema::messages!(@null_since $($rest)*) };
}
pub(crate) use messages;
