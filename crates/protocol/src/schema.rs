//! The fields of each message, as tables. [`Message::SCHEMA`](crate::Message::SCHEMA) is the table of a message.
//!
//! The declarations of the messages generate tables, structures, readers and writers alike. `crates/e2e` compares the
//! tables with Kafka's own descriptors.

pub use crate::names::kafka_name;

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
}
