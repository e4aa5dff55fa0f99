//! A record in any format.

use std::borrow::Cow;

/// A record in any format. `None` for a key or value is null, which differs from empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The topic. Printed, but ignored in input.
    pub topic: Option<&'a str>,
    /// The offset. Printed, but ignored in input.
    pub offset: Option<i64>,
    /// The partition; without one a partitioner chooses.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; without it, the time of sending.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value.
    pub value: Option<Cow<'a, [u8]>>,
    /// The headers, in order. A name may repeat.
    pub headers: Vec<Header<'a>>,
}

/// A header of an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name. Kafka wants UTF-8, but a log may hold other bytes.
    pub name: Cow<'a, [u8]>,
    /// The value; `None` is null.
    pub value: Option<Cow<'a, [u8]>>,
}

/// Reads a partition; -1 means none.
pub(crate) fn partition(number: i64) -> Result<Option<i32>, String> {
    match i32::try_from(number) {
        Ok(-1) => Ok(None),
        Ok(partition @ 0..) => Ok(Some(partition)),
        _ => Err(format!("{number} cannot be a partition: it takes 0 to {}, or -1 for any", i32::MAX)),
    }
}

/// Reads a timestamp; -1 means none.
pub(crate) fn timestamp(number: i64) -> Result<Option<i64>, String> {
    match number {
        -1 => Ok(None),
        0.. => Ok(Some(number)),
        _ => Err(format!("{number} cannot be a timestamp: it takes milliseconds since 1970, or -1 for now")),
    }
}
