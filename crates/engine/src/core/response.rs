//! The meaning of a Produce response for a batch: a pure function from error code to verdict.

use std::collections::BTreeMap;

use kurier_protocol::messages::produce::PartitionProduceResponse;
use kurier_protocol::{CompressionType, ErrorCode, Reaction};

use super::advice::advice;
use crate::delivery::{Culprits, Outcome};
use crate::error::Error;
use crate::fault_injection::{FaultInjection, Mutant};

/// The next step for a batch after a response.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The batch is in the log.
    Written(Outcome),
    /// Send the same bytes again.
    Retry,
    /// Split the batch and send the pieces.
    Split,
    /// The partition's sequence is broken.
    Broken {
        /// Whether the partition cannot use this producer id any more.
        needs_new_id: bool,
    },
    /// The batch failed for good.
    Failed(Outcome),
}

/// The facts about a batch that decide what a response means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub record_count: i32,
    /// The size of the batch as sent.
    pub bytes: usize,
    /// The size of the batch before compression.
    pub plain_bytes: usize,
    pub codec: CompressionType,
    pub max_timestamp: i64,
    pub is_idempotent: bool,
    /// Whether all batches of the partition that were sent before this one are acknowledged.
    pub is_head: bool,
}

/// Returns the verdict on a batch. For a failure, the caller adds whether an earlier attempt may have been written.
pub(super) fn verdict(answer: &PartitionProduceResponse, asked: Asked, faults: FaultInjection) -> Verdict {
    let code = answer.error_code;
    match (code, code.reaction()) {
        (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, _) => {
            Verdict::Written(written(faults.has(Mutant::OffsetZero).then_some(0), answer, asked))
        }
        (_, Reaction::Proceed) => Verdict::Written(written(Some(answer.base_offset), answer, asked)),
        (_, Reaction::Retry | Reaction::Refresh | Reaction::FindCoordinator) => Verdict::Retry,
        (_, Reaction::Split) if asked.record_count > 1 => Verdict::Split,
        // An earlier batch is missing. It will be sent again, and this one after it.
        (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, _) if asked.is_idempotent && !asked.is_head => Verdict::Retry,
        (_, Reaction::Resequence) if asked.is_idempotent => Verdict::Broken { needs_new_id: false },
        (ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING, _) if asked.is_idempotent => {
            Verdict::Broken { needs_new_id: true }
        }
        _ => Verdict::Failed(failed(answer, asked)),
    }
}

fn written(base_offset: Option<i64>, answer: &PartitionProduceResponse, asked: Asked) -> Outcome {
    let known = |number: i64| (number >= 0).then_some(number);
    Outcome::Written {
        base_offset: base_offset.and_then(known),
        // For a duplicate, a broker returns the batch's own highest timestamp, even if the topic keeps record
        // timestamps.
        log_append_time: known(answer.log_append_time_ms).filter(|time| *time != asked.max_timestamp),
        is_acknowledged: true,
    }
}

/// Describes a broker's refusal of a batch, with advice.
pub(super) fn refused(code: ErrorCode, said: Option<&str>, asked: Asked) -> Error {
    let error = Error::refused(code, said);
    match advice(code, asked) {
        Some(advice) => error.because(&advice),
        None => error,
    }
}

/// Builds the failure of a batch, or of those of its records that caused it (KIP-467).
fn failed(answer: &PartitionProduceResponse, asked: Asked) -> Outcome {
    let whole = refused(answer.error_code, answer.error_message.as_deref(), asked);
    let mut said = BTreeMap::new();
    for error in &answer.record_errors {
        if let Ok(index) = u32::try_from(error.batch_index)
            && index < asked.record_count.cast_unsigned()
        {
            // Only the first error of each record counts.
            let text = error.batch_index_error_message.as_deref().or(answer.error_message.as_deref());
            said.entry(index).or_insert(text);
        }
    }
    let culprits = Culprits::new(said, |text| Error::refused(ErrorCode::INVALID_RECORD, text));
    if culprits.is_empty() {
        return Outcome::Failed(whole);
    }
    let others = Error::new(whole.kind(), "the broker refused another record of the batch");
    Outcome::Rejected { culprits, others: others.with_code(Some(answer.error_code)).caused_by(whole) }
}

#[cfg(test)]
mod tests {
    use kurier_protocol::messages::produce::BatchIndexAndErrorMessage;

    use super::*;

    const HEAD: Asked = Asked {
        record_count: 3,
        bytes: 200,
        plain_bytes: 200,
        codec: CompressionType::None,
        max_timestamp: 77,
        is_idempotent: true,
        is_head: true,
    };

    fn answer(error_code: ErrorCode) -> PartitionProduceResponse {
        PartitionProduceResponse { error_code, base_offset: 7, ..Default::default() }
    }

    fn name(code: ErrorCode, asked: Asked) -> &'static str {
        match verdict(&answer(code), asked, FaultInjection::NONE) {
            Verdict::Written(_) => "written",
            Verdict::Retry => "retry",
            Verdict::Split => "split",
            Verdict::Broken { needs_new_id: false } => "broken",
            Verdict::Broken { needs_new_id: true } => "new id",
            Verdict::Failed(_) => "failed",
        }
    }

    #[test]
    fn every_code_has_its_verdict() {
        let single = Asked { record_count: 1, ..HEAD };
        let follower = Asked { is_head: false, ..HEAD };
        let plain = Asked { is_idempotent: false, ..HEAD };
        for (code, asked, expected) in [
            (ErrorCode::NONE, HEAD, "written"),
            (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, HEAD, "written"),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, HEAD, "retry"),
            (ErrorCode::NOT_ENOUGH_REPLICAS, HEAD, "retry"),
            (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, HEAD, "retry"),
            (ErrorCode::CORRUPT_MESSAGE, HEAD, "retry"),
            (ErrorCode::UNKNOWN_TOPIC_ID, HEAD, "retry"),
            (ErrorCode::MESSAGE_TOO_LARGE, HEAD, "split"),
            (ErrorCode::MESSAGE_TOO_LARGE, single, "failed"),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, HEAD, "broken"),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, follower, "retry"),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, plain, "failed"),
            (ErrorCode::UNKNOWN_PRODUCER_ID, HEAD, "broken"),
            (ErrorCode::INVALID_PRODUCER_EPOCH, HEAD, "new id"),
            (ErrorCode::INVALID_RECORD, HEAD, "failed"),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, HEAD, "failed"),
            (ErrorCode(9999), HEAD, "failed"),
        ] {
            assert_eq!(name(code, asked), expected, "{code} {asked:?}");
        }
    }

    #[test]
    fn duplicates_and_impossible_offsets_have_no_offset() {
        for (code, base_offset, expected) in [
            (ErrorCode::NONE, 7, Some(7)),
            (ErrorCode::NONE, -1, None),
            (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, 7, None),
        ] {
            let answer = PartitionProduceResponse { error_code: code, base_offset, ..Default::default() };
            let Verdict::Written(Outcome::Written { base_offset, .. }) = verdict(&answer, HEAD, FaultInjection::NONE)
            else {
                panic!("{code}")
            };
            assert_eq!(base_offset, expected);
        }
    }

    #[test]
    fn timestamp_of_duplicate_is_ignored() {
        for (log_append_time_ms, expected) in [(-1, None), (77, None), (78, Some(78))] {
            let answer = PartitionProduceResponse { log_append_time_ms, ..answer(ErrorCode::NONE) };
            let Verdict::Written(Outcome::Written { log_append_time, .. }) =
                verdict(&answer, HEAD, FaultInjection::NONE)
            else {
                panic!("written")
            };
            assert_eq!(log_append_time, expected);
        }
    }

    #[test]
    fn only_records_that_exist_are_blamed() {
        let blamed = |batch_index| BatchIndexAndErrorMessage { batch_index, batch_index_error_message: None };
        let record_errors = vec![blamed(1), blamed(3), blamed(-1)];
        let answer = PartitionProduceResponse { record_errors, ..answer(ErrorCode::INVALID_RECORD) };
        let Verdict::Failed(Outcome::Rejected { culprits, .. }) = verdict(&answer, HEAD, FaultInjection::NONE) else {
            panic!("blamed")
        };
        assert_eq!(culprits.records(), [1]);
    }
}
