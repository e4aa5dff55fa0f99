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

/// Declares messages; see the module's documentation.
macro_rules! messages {
    () => {};

    (
        $(#[$meta:meta])*
        request $name:ident (key $key:literal, versions $lowest:literal ..= $highest:literal $(, flexible $flexible:literal ..)?)
            -> $response:ident { $($fields:tt)* }
        $($rest:tt)*
    ) => {
        $crate::messages::declaration::messages! { @body [$(#[$meta])*] $name { $($fields)* } }
        $crate::messages::declaration::messages! { @message $name, $key, $lowest, $highest, [$($flexible)?] }
        $crate::messages::declaration::messages! { @message $response, $key, $lowest, $highest, [$($flexible)?] }
        impl $crate::message::Request for $name {
            type Response = $response;
        }
        $crate::messages::declaration::messages! { $($rest)* }
    };

    ($(#[$meta:meta])* response $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        $crate::messages::declaration::messages! { @body [$(#[$meta])*] $name { $($fields)* } }
        $crate::messages::declaration::messages! { $($rest)* }
    };

    ($(#[$meta:meta])* struct $name:ident { $($fields:tt)* } $($rest:tt)*) => {
        $crate::messages::declaration::messages! { @within [$(#[$meta])*] $name { $($fields)* } }
        $crate::messages::declaration::messages! { $($rest)* }
    };

    // The example of a message writes and reads it; the example of a nested structure starts from its defaults.
    (@body [$(#[$meta:meta])*] $name:ident { $($fields:tt)* }) => {
        $crate::messages::declaration::messages! { @struct [
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
        $crate::messages::declaration::messages! { @struct [
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
            const FLEXIBLE_SINCE: i16 = $crate::messages::declaration::messages!(@or_never $($flexible)?);
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
                    until: $crate::messages::declaration::messages!(@or_never $($until)?),
                    null_since: $crate::field::null_since::<$ty>($since, $crate::messages::declaration::messages!(@null_since $($($special)*)?)),
                    tag: $crate::messages::declaration::messages!(@tag $($($special)*)?),
                    ignorable: $crate::messages::declaration::messages!(@ignorable $($($special)*)?),
                    default: $crate::messages::declaration::messages!(@written $($default)?),
                };
            )*
            const STRUCT: $crate::schema::Struct =
                $crate::schema::Struct { name: stringify!($name), fields: &[$(Self::$field),*] };
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::messages::declaration::messages!(@default $ty $(, $default)?),)* }
            }
        }

        impl $crate::wire::Wire for $name {
            const TYPE: $crate::schema::Type = $crate::schema::Type::Struct(&Self::STRUCT);

            fn initial() -> Self {
                Self::default()
            }

            fn min_len(version: $crate::context::Version) -> usize {
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
                context: $crate::context::Context<'a>,
            ) -> $crate::context::Parsed<'a, Self> {
                let mut this = Self::default();
                $(let (input, ()) = Self::$field.parse(input, context, &mut this.$field)?;)*
                let (input, ()) = $crate::field::parse_tags(input, context.version, |tag, body| {
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
                version: $crate::context::Version,
                out: &mut impl $crate::put::Put,
            ) -> Result<(), $crate::error::EncodeError> {
                $(
                    let default = || $crate::messages::declaration::messages!(@default $ty $(, $default)?);
                    Self::$field.encode(&self.$field, default, version, out)?;
                )*
                if version.flexible {
                    let mut tagged = 0;
                    $(
                        let default = || $crate::messages::declaration::messages!(@default $ty $(, $default)?);
                        tagged += Self::$field.count_tagged(&self.$field, default, version);
                    )*
                    $crate::varint::put_uvarint(tagged, out);
                    $(
                        let default = || $crate::messages::declaration::messages!(@default $ty $(, $default)?);
                        Self::$field.encode_tagged(&self.$field, default, version, out)?;
                    )*
                }
                Ok(())
            }

            #[cfg(feature = "json")]
            fn to_json(&self, view: $crate::json::View<'_>) -> serde_json::Value {
                let mut object = $crate::json::Object::new();
                $(
                    let default = || $crate::messages::declaration::messages!(@default $ty $(, $default)?);
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
    (@ignorable $other:tt $($rest:tt)*) => { $crate::messages::declaration::messages!(@ignorable $($rest)*) };

    (@tag) => { None };
    (@tag tag $tag:literal $($rest:tt)*) => { Some($tag) };
    (@tag $other:tt $($rest:tt)*) => { $crate::messages::declaration::messages!(@tag $($rest)*) };

    (@null_since) => { None };
    (@null_since null $since:literal $($rest:tt)*) => { Some($since) };
    (@null_since $other:tt $($rest:tt)*) => { $crate::messages::declaration::messages!(@null_since $($rest)*) };
}
pub(crate) use messages;
