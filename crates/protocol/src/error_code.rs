//! The table of Kafka's error codes: number, Kafka's name, the client's reaction, whether a batch is certainly
//! unwritten, and a sentence for people.
//!
//! The enum is open: an unknown code keeps its number. Whether a code is retriable and whether it requires new metadata
//! match Java (`Errors`, `RetriableException`, `InvalidMetadataException`). A test compares them with the golden table
//! that the Java client wrote.

use std::fmt;

use crate::context::{Context, Parsed, Version};
use crate::error::EncodeError;
use crate::put::Put;
use crate::schema::Type;
use crate::wire::Wire;

/// A broker's error code for a request or for a part of it; 0 is success.
///
/// ```
/// use kurier_protocol::{ErrorCode, Reaction};
///
/// let code = ErrorCode(6);
/// assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
/// assert_eq!(code.reaction(), Reaction::Refresh);
/// assert!(code.is_retriable());
/// assert_eq!(code.to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
///
/// // Codes from the future survive.
/// assert_eq!(ErrorCode(9999).name(), None);
/// assert_eq!(ErrorCode(9999).to_string(), "UNKNOWN (9999)");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

/// A client's reaction to a code.
///
/// ```
/// use kurier_protocol::{ErrorCode, Reaction};
///
/// assert_eq!(ErrorCode::MESSAGE_TOO_LARGE.reaction(), Reaction::Split);
/// assert_eq!(ErrorCode::DUPLICATE_SEQUENCE_NUMBER.reaction(), Reaction::Proceed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reaction {
    /// Continues: the request succeeded, or its effect already exists.
    Proceed,
    /// Sends the same request again after a backoff.
    Retry,
    /// Fetches metadata, then sends the same request again, perhaps to another broker.
    Refresh,
    /// Finds the coordinator again, then sends the same request to it.
    FindCoordinator,
    /// Splits the batch.
    Split,
    /// Determines the partition's sequence again, unless a batch may have been written without acknowledgement.
    Resequence,
    /// Starts again from its bootstrap servers.
    Rebootstrap,
    /// Sends nothing more with this id and epoch, because a newer epoch exists. For a transactional producer, another
    /// producer has taken its place.
    Fenced,
    /// Aborts the transaction, and may begin another one.
    Abort,
    /// Fails the request, and continues with others.
    Fail,
}

macro_rules! error_codes {
    ($($number:literal $name:ident $reaction:ident $($unwritten:ident)? $text:literal)*) => {
        #[doc = "The codes by name."]
        impl ErrorCode {
            $(
                #[doc = concat!($number, ": ", $text, ".")]
                pub const $name: Self = Self($number);
            )*

            /// Every code that this crate knows, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            fn known(self) -> Option<(&'static str, Reaction, &'static str)> {
                match self {
                    $(Self::$name => Some((stringify!($name), Reaction::$reaction, $text)),)*
                    _ => None,
                }
            }

            /// Whether a leader that returns this code for Produce has certainly not written the batch in this attempt.
            /// With any other error it may have: a leader that loses its leadership while it waits for replicas returns
            /// NOT_LEADER_OR_FOLLOWER for a batch that it has appended.
            ///
            /// The code proves nothing about earlier attempts, OUT_OF_ORDER_SEQUENCE_NUMBER least of all.
            #[must_use]
            pub fn is_unwritten(self) -> bool {
                match self {
                    $($(Self::$name => stringify!($unwritten) == "unwritten",)?)*
                    _ => false,
                }
            }
        }
    };
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR Fail "the broker failed in a way that has no code; its log says more"
    0 NONE Proceed "success"
    1 OFFSET_OUT_OF_RANGE Fail "the partition does not have this offset"
    2 CORRUPT_MESSAGE Retry unwritten "the batch was damaged on its way, or its checksum is wrong"
    3 UNKNOWN_TOPIC_OR_PARTITION Refresh "this broker does not have the topic or partition"
    4 INVALID_FETCH_SIZE Fail "the size to fetch is not possible"
    5 LEADER_NOT_AVAILABLE Refresh "the partition has no leader; an election may be under way"
    6 NOT_LEADER_OR_FOLLOWER Refresh "this broker does not lead the partition (any more)"
    7 REQUEST_TIMED_OUT Retry "the broker could not finish in time; what was sent may have been written"
    8 BROKER_NOT_AVAILABLE Fail "the broker is not available"
    9 REPLICA_NOT_AVAILABLE Refresh "the replica is not available"
    10 MESSAGE_TOO_LARGE Split unwritten "the batch is larger than the topic's max.message.bytes"
    11 STALE_CONTROLLER_EPOCH Fail "the controller has been replaced"
    12 OFFSET_METADATA_TOO_LARGE Fail "the text beside the offset is too long"
    13 NETWORK_EXCEPTION Refresh "the connection broke before the answer"
    14 COORDINATOR_LOAD_IN_PROGRESS Retry "the coordinator is still loading its state"
    15 COORDINATOR_NOT_AVAILABLE FindCoordinator "the coordinator is not available"
    16 NOT_COORDINATOR FindCoordinator "this broker is not the coordinator (any more)"
    17 INVALID_TOPIC_EXCEPTION Fail unwritten "the topic's name is not allowed, or the topic is Kafka's own"
    18 RECORD_LIST_TOO_LARGE Fail unwritten "the batch is larger than a log segment"
    19 NOT_ENOUGH_REPLICAS Retry unwritten "fewer replicas are in sync than min.insync.replicas asks for; nothing was written"
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND Retry "written, but to fewer replicas in sync than min.insync.replicas asks for"
    21 INVALID_REQUIRED_ACKS Fail unwritten "acks must be -1, 0 or 1"
    22 ILLEGAL_GENERATION Fail "the consumer group has moved on to another generation"
    23 INCONSISTENT_GROUP_PROTOCOL Fail "the group's members do not agree on a protocol"
    24 INVALID_GROUP_ID Fail "the group's id is not allowed"
    25 UNKNOWN_MEMBER_ID Fail "the group does not know this member"
    26 INVALID_SESSION_TIMEOUT Fail "the session timeout is outside the broker's limits"
    27 REBALANCE_IN_PROGRESS Fail "the group is rebalancing"
    28 INVALID_COMMIT_OFFSET_SIZE Fail "the offsets to commit are too many"
    29 TOPIC_AUTHORIZATION_FAILED Fail unwritten "this principal may not write to (or read) the topic: grant it the ACL"
    30 GROUP_AUTHORIZATION_FAILED Fail "this principal may not use the group: grant it the ACL"
    31 CLUSTER_AUTHORIZATION_FAILED Fail unwritten "this principal may not do this on the cluster: grant it the ACL"
    32 INVALID_TIMESTAMP Fail unwritten "a record's timestamp is outside the topic's limits"
    33 UNSUPPORTED_SASL_MECHANISM Fail "the broker does not offer this SASL mechanism"
    34 ILLEGAL_SASL_STATE Fail "the request does not belong at this point of the SASL exchange"
    35 UNSUPPORTED_VERSION Fail unwritten "the broker does not speak this version of the API"
    36 TOPIC_ALREADY_EXISTS Fail "there is already a topic of this name"
    37 INVALID_PARTITIONS Fail "the number of partitions is not possible"
    38 INVALID_REPLICATION_FACTOR Fail "the replication factor is below 1 or above the number of brokers"
    39 INVALID_REPLICA_ASSIGNMENT Fail "the replica assignment is not possible"
    40 INVALID_CONFIG Fail "a configuration is not valid"
    41 NOT_CONTROLLER Retry "this broker is not the controller"
    42 INVALID_REQUEST Fail unwritten "the request breaks a rule of the protocol; the broker's log may say which"
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT Fail unwritten "the topic's message format is too old for this"
    44 POLICY_VIOLATION Fail unwritten "the cluster's policy forbids it"
    45 OUT_OF_ORDER_SEQUENCE_NUMBER Resequence unwritten "the batch's sequence does not follow the last one that the leader has of this producer"
    46 DUPLICATE_SEQUENCE_NUMBER Proceed "the batch had been written before; its offset is no longer known"
    47 INVALID_PRODUCER_EPOCH Fenced unwritten "the leader has seen a newer epoch of this producer"
    48 INVALID_TXN_STATE Fail unwritten "the transaction is not in a state that allows this"
    49 INVALID_PRODUCER_ID_MAPPING Fail "the transactional id belongs to another producer id"
    50 INVALID_TRANSACTION_TIMEOUT Fail "transaction.timeout.ms is above the broker's transaction.max.timeout.ms"
    51 CONCURRENT_TRANSACTIONS Retry "an earlier transaction of this producer is still being completed"
    52 TRANSACTION_COORDINATOR_FENCED Fail "the coordinator has been replaced"
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED Fail unwritten "this principal may not use the transactional id: grant it the ACL"
    54 SECURITY_DISABLED Fail "the broker has no security configured"
    55 OPERATION_NOT_ATTEMPTED Fail "not tried, because something before it in the request failed"
    56 KAFKA_STORAGE_ERROR Refresh "the leader's disk failed; another replica will take over"
    57 LOG_DIR_NOT_FOUND Fail "the broker does not have this log directory"
    58 SASL_AUTHENTICATION_FAILED Fail "the broker does not accept these credentials"
    59 UNKNOWN_PRODUCER_ID Resequence unwritten "the leader no longer remembers this producer"
    60 REASSIGNMENT_IN_PROGRESS Fail "a reassignment of the partition is under way"
    61 DELEGATION_TOKEN_AUTH_DISABLED Fail "delegation tokens are switched off"
    62 DELEGATION_TOKEN_NOT_FOUND Fail "there is no such delegation token"
    63 DELEGATION_TOKEN_OWNER_MISMATCH Fail "the delegation token belongs to somebody else"
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED Fail "delegation tokens cannot be asked for over this connection"
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED Fail "this principal may not use the delegation token"
    66 DELEGATION_TOKEN_EXPIRED Fail "the delegation token has expired"
    67 INVALID_PRINCIPAL_TYPE Fail "this type of principal is not supported"
    68 NON_EMPTY_GROUP Fail "the group still has members"
    69 GROUP_ID_NOT_FOUND Fail "there is no such group"
    70 FETCH_SESSION_ID_NOT_FOUND Retry "the broker has forgotten the fetch session"
    71 INVALID_FETCH_SESSION_EPOCH Retry "the fetch session is at another epoch"
    72 LISTENER_NOT_FOUND Refresh "the leader has no listener of the kind that was asked through"
    73 TOPIC_DELETION_DISABLED Fail "topics cannot be deleted on this cluster"
    74 FENCED_LEADER_EPOCH Refresh "the leader epoch in the request is behind the broker's"
    75 UNKNOWN_LEADER_EPOCH Retry "the leader epoch in the request is ahead of the broker's"
    76 UNSUPPORTED_COMPRESSION_TYPE Fail unwritten "the broker cannot read this codec in this version"
    77 STALE_BROKER_EPOCH Fail "the broker has registered anew since"
    78 OFFSET_NOT_AVAILABLE Retry "the new leader does not know its high watermark yet"
    79 MEMBER_ID_REQUIRED Fail "the member must join again with the id that it was given"
    80 PREFERRED_LEADER_NOT_AVAILABLE Refresh "the preferred leader is not available"
    81 GROUP_MAX_SIZE_REACHED Fail "the group is full"
    82 FENCED_INSTANCE_ID Fail "another member has taken this static id"
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE Refresh "no replica is fit to lead"
    84 ELECTION_NOT_NEEDED Refresh "the partition already has the leader that was wanted"
    85 NO_REASSIGNMENT_IN_PROGRESS Fail "no reassignment is under way"
    86 GROUP_SUBSCRIBED_TO_TOPIC Fail "the group is subscribed to the topic"
    87 INVALID_RECORD Fail unwritten "a record of the batch was refused, such as one without a key in a compacted topic"
    88 UNSTABLE_OFFSET_COMMIT Retry "offsets of an open transaction are in the way"
    89 THROTTLING_QUOTA_EXCEEDED Retry "the quota is used up"
    90 PRODUCER_FENCED Fenced unwritten "a newer producer with the same transactional id has taken over"
    91 RESOURCE_NOT_FOUND Fail "there is no such resource"
    92 DUPLICATE_RESOURCE Fail "the resource is there already"
    93 UNACCEPTABLE_CREDENTIAL Fail "the credential is not acceptable"
    94 INCONSISTENT_VOTER_SET Fail "the sets of voters do not agree"
    95 INVALID_UPDATE_VERSION Fail "the update's version is not valid"
    96 FEATURE_UPDATE_FAILED Fail "the feature could not be updated"
    97 PRINCIPAL_DESERIALIZATION_FAILURE Fail "the broker could not read the forwarded principal"
    98 SNAPSHOT_NOT_FOUND Fail "there is no such snapshot"
    99 POSITION_OUT_OF_RANGE Fail "the snapshot does not reach this position"
    100 UNKNOWN_TOPIC_ID Refresh unwritten "this broker does not know the topic id; the topic may have been deleted or made anew"
    101 DUPLICATE_BROKER_REGISTRATION Fail "another broker is registered under this id"
    102 BROKER_ID_NOT_REGISTERED Fail "no broker is registered under this id"
    103 INCONSISTENT_TOPIC_ID Refresh unwritten "the topic id is not the one in the partition's log"
    104 INCONSISTENT_CLUSTER_ID Fail "the request was meant for another cluster"
    105 TRANSACTIONAL_ID_NOT_FOUND Fail "there is no such transactional id"
    106 FETCH_SESSION_TOPIC_ID_ERROR Retry "the fetch session mixes topic names and ids"
    107 INELIGIBLE_REPLICA Fail "the replica may not join those in sync"
    108 NEW_LEADER_ELECTED Fail "the leadership has changed with this request"
    109 OFFSET_MOVED_TO_TIERED_STORAGE Fail "the offset has moved to tiered storage"
    110 FENCED_MEMBER_EPOCH Fail "the member's epoch is behind the coordinator's"
    111 UNRELEASED_INSTANCE_ID Fail "another member still holds this static id"
    112 UNSUPPORTED_ASSIGNOR Fail "the group does not support this assignor"
    113 STALE_MEMBER_EPOCH Fail "the member must use its newest epoch"
    114 MISMATCHED_ENDPOINT_TYPE Fail "the request went to the wrong kind of endpoint"
    115 UNSUPPORTED_ENDPOINT_TYPE Fail "this kind of endpoint is not known"
    116 UNKNOWN_CONTROLLER_ID Fail "there is no such controller"
    117 UNKNOWN_SUBSCRIPTION_ID Fail "the telemetry subscription has changed"
    118 TELEMETRY_TOO_LARGE Fail "the telemetry is too large"
    119 INVALID_REGISTRATION Fail "the controller refuses the registration"
    120 TRANSACTION_ABORTABLE Abort unwritten "the transaction must be aborted; the producer may go on"
    121 INVALID_RECORD_STATE Fail "the shared record is in another state"
    122 SHARE_SESSION_NOT_FOUND Retry "the broker has forgotten the share session"
    123 INVALID_SHARE_SESSION_EPOCH Retry "the share session is at another epoch"
    124 FENCED_STATE_EPOCH Fail "the share state is at another epoch"
    125 INVALID_VOTER_KEY Fail "the voter's key is not the one expected"
    126 DUPLICATE_VOTER Fail "the voter is there already"
    127 VOTER_NOT_FOUND Fail "there is no such voter"
    128 INVALID_REGULAR_EXPRESSION Fail "the regular expression is not valid"
    129 REBOOTSTRAP_REQUIRED Rebootstrap "the broker asks the client to start again from its bootstrap servers"
    130 STREAMS_INVALID_TOPOLOGY Fail "the Streams topology is not valid"
    131 STREAMS_INVALID_TOPOLOGY_EPOCH Fail "the Streams topology's epoch is not valid"
    132 STREAMS_TOPOLOGY_FENCED Fail "the Streams topology's epoch is out of date"
    133 SHARE_SESSION_LIMIT_REACHED Retry "the broker has as many share sessions as it allows"
    134 GROUP_DELETION_FAILED Fail "the group could not be deleted"
    135 STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED Fail "the description of the Streams topology could not be stored"
    136 CONTROLLER_ID_NOT_REGISTERED Fail "no controller is registered under this id"
}

impl ErrorCode {
    /// Whether the code is success.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Kafka's name for the code, if this crate knows it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|(name, ..)| name)
    }

    /// The code's meaning, as a sentence without capital letter and full stop.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.known().map_or("a code that this version of Kurier does not know", |(_, _, text)| text)
    }

    /// A client's reaction to the code. An unknown code fails the request.
    #[must_use]
    pub fn reaction(self) -> Reaction {
        self.known().map_or(Reaction::Fail, |(_, reaction, _)| reaction)
    }

    /// Whether a retry may succeed (Java's `RetriableException`).
    #[must_use]
    pub fn is_retriable(self) -> bool {
        matches!(self.reaction(), Reaction::Retry | Reaction::Refresh | Reaction::FindCoordinator)
    }

    /// Whether the client's view of the cluster is out of date (Java's `InvalidMetadataException`).
    #[must_use]
    pub fn refreshes_metadata(self) -> bool {
        self.reaction() == Reaction::Refresh
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("UNKNOWN"), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Wire for ErrorCode {
    const TYPE: Type = Type::Int16;

    fn initial() -> Self {
        Self::NONE
    }

    fn min_len(version: Version) -> usize {
        i16::min_len(version)
    }

    fn parse<'a>(input: &'a [u8], context: Context<'a>) -> Parsed<'a, Self> {
        let (rest, code) = i16::parse(input, context)?;
        Ok((rest, Self(code)))
    }

    fn encode(&self, version: Version, out: &mut impl Put) -> Result<(), EncodeError> {
        self.0.encode(version, out)
    }

    #[cfg(feature = "json")]
    fn to_json(&self, _: crate::json::View<'_>) -> serde_json::Value {
        self.0.into()
    }
}
