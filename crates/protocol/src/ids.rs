//! Ids that would otherwise be bare integers, so that two of them cannot trade places.

use std::fmt;

/// Identifies a node of a cluster; -1 is none.
///
/// ```
/// use kurier_protocol::NodeId;
///
/// assert_eq!(NodeId::from(2).to_string(), "2");
/// assert_eq!(NodeId::NONE, NodeId(-1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub i32);

impl NodeId {
    /// No node: the leader of a partition without one.
    pub const NONE: Self = Self(-1);
}

/// Numbers a topic's partitions, from 0.
///
/// ```
/// use kurier_protocol::PartitionIndex;
///
/// assert_eq!(format!("orders-{}", PartitionIndex(7)), "orders-7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionIndex(pub i32);

/// Numbers the requests of a connection; a response carries the number of its request.
///
/// ```
/// use kurier_protocol::CorrelationId;
///
/// assert_ne!(CorrelationId(1), CorrelationId::from(2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(pub i32);

macro_rules! numbers {
    ($($name:ident)*) => {$(
        impl From<i32> for $name {
            fn from(number: i32) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

numbers!(NodeId PartitionIndex CorrelationId);
