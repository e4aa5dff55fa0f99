//! Catalogue of the faults that the simulation must cover.

/// Declares the rows once: their names, numbers and descriptions.
macro_rules! fault_rows {
    ($(#[doc = $doc:literal] $name:ident = $number:literal,)*) => {
        /// A row of the fault catalogue. Its number is stable, and the ledger and the tables print it.
        ///
        /// See `src/bin/simulate.rs` for an example.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FaultRow {
            $(#[doc = $doc] $name = $number,)*
        }

        impl FaultRow {
            /// All rows.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the row's number.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Describes what happened.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)*
                }
            }
        }
    };
}

fault_rows! {
    /// A batch was written, and its response was lost.
    AnswerLost = 1,
    /// A batch was sent again.
    SentAgain = 2,
    /// A broker answered DUPLICATE_SEQUENCE_NUMBER.
    DuplicateSequence = 3,
    /// A broker found a gap, because the batch before it failed.
    GapAfterFailure = 4,
    /// A broker found a gap at the first unanswered batch.
    GapAtHead = 5,
    /// A broker answered UNKNOWN_PRODUCER_ID.
    UnknownProducerId = 6,
    /// A broker refused a batch for good, amid others of its partition.
    RefusedAmidOthers = 7,
    /// A record expired before its batch was sent.
    ExpiredQueued = 8,
    /// A record expired while its batch was in flight.
    ExpiredInFlight = 9,
    /// A response came after the outcome.
    LateAnswer = 10,
    /// A batch was written, by an unknown number of replicas.
    WriteUnconfirmed = 11,
    /// Metadata hid a topic for a while.
    TopicHidden = 12,
    /// A partition had one batch in flight until its first acknowledgement.
    FirstBatches = 13,
    /// Sequences wrapped around.
    SequencesWrap = 14,
    /// A producer id had no epoch left.
    EpochsUsedUp = 15,
    /// No broker gave a producer id for a while.
    NoProducerId = 16,
    /// A producer id changed between taking and sending a batch.
    IdChangedMeanwhile = 17,
    /// A response of an ended connection came late.
    AnswerOfEndedConnection = 18,
    /// The producer ran without idempotence.
    WithoutIdempotence = 19,
    /// A broker answered MESSAGE_TOO_LARGE.
    TooLarge = 20,
    /// A broker blamed single records.
    ErrorsByRecord = 21,
    /// A broker answered CORRUPT_MESSAGE.
    CorruptMessage = 22,
    /// A broker refused a batch and had written it.
    RefusedButWritten = 23,
    /// A partition got another leader.
    LeaderMoved = 25,
    /// A response named a partition's new leader.
    LeaderHinted = 26,
    /// A node returned old metadata.
    OldMetadata = 27,
    /// A topic was deleted and created again.
    TopicRecreated = 28,
    /// A topic got more partitions.
    PartitionsAdded = 29,
    /// A host moved while nothing was sent.
    HostMovedUnused = 32,
    /// All nodes were down.
    AllNodesDown = 35,
    /// The bootstrap servers led to another cluster.
    AnotherCluster = 36,
    /// Metadata responses were lost.
    MetadataLost = 37,
    /// Many partitions were refused at once.
    ManyPartitionsRefused = 38,
    /// A response came that no request waited for.
    UnaskedAnswer = 45,
    /// No broker offered an API that the settings need.
    ApiMissing = 49,
    /// A broker throttled the producer.
    Throttled = 50,
    /// Buffer.memory was full.
    MemoryFull = 54,
    /// The program flushed.
    Flush = 55,
    /// The program closed the producer.
    Close = 56,
    /// Clocks jumped.
    ClocksJump = 60,
    /// No broker was up for ten minutes.
    TenMinutesDown = 61,
    /// A socket read memory of an expired batch.
    MemoryInSocket = 63,
    /// A leader hint came late.
    LateHint = 64,
    /// A topic limited the size of messages for long.
    LastingSizeLimit = 65,
    /// A write with acks=0 stayed unconfirmed.
    UnansweredWrite = 66,
    /// A batch was too large, after another refusal.
    TooLargeAfterRefusal = 67,
    /// An idle topic still had records.
    IdleTopicBusy = 68,
    /// Time jumped while a batch was open.
    TimeJumpsInBatch = 69,
    /// The producer forgot a topic and met it again.
    TopicForgotten = 70,
    /// Brokers refused a producer id for good.
    IdRefusedForGood = 71,
    /// A broker did not prove that it knows the password.
    WrongProof = 72,
    /// A connection was cut during SASL.
    CutInSasl = 73,
    /// Brokers closed connections instead of answering tokens.
    RefusedSilently = 74,
    /// An answer of SASL came late.
    LateSaslAnswer = 75,
    /// A broker's token had 64 KiB.
    HugeSaslAnswer = 76,
    /// A session lasted one millisecond.
    TinySession = 77,
    /// A broker refused to renew a session.
    RenewalRefused = 78,
    /// A broker refused credentials.
    LoginRefused = 79,
    /// The password changed.
    PasswordChanged = 80,
    /// The user changed.
    UserChanged = 81,
    /// The certificates changed.
    CertificatesChanged = 82,
    /// A session was renewed.
    SessionRenewed = 83,
    /// A session was too short to be renewed.
    SessionTooShort = 84,
    /// A broker found a renewal too early.
    RenewedTooEarly = 85,
    /// A session ended before it was renewed.
    SessionEnded = 86,
}
