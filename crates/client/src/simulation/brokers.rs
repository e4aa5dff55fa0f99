//! What brokers of other versions, or in other moods, answer than those of the model.

use bytes::Bytes;
use kurier_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    ProduceRequest, ProduceResponse,
};
use kurier_protocol::{ErrorCode, Message, RequestHeader, read_response, write_response};

use super::world::{TOPIC, World};

impl World<'_> {
    /// What a broker of another version, or in another mood, would have answered.
    pub(super) fn tamper(&mut self, header: &RequestHeader, answer: Bytes, before: &[Option<i64>]) -> (Bytes, i32) {
        let version = header.api_version;
        match header.api_key {
            ApiVersionsRequest::KEY if self.plan.produce_max < 13 => {
                let Ok((_, mut response)) = read_response::<ApiVersionsRequest>(&answer, version) else {
                    return (answer, 0);
                };
                for api in response.api_keys.iter_mut().filter(|api| api.api_key == ProduceRequest::KEY) {
                    api.max_version = self.plan.produce_max;
                }
                (rewritten::<ApiVersionsResponse>(&response, header, answer), 0)
            }
            InitProducerIdRequest::KEY if self.plan.first_epoch > 0 => {
                let Ok((_, mut response)) = read_response::<InitProducerIdRequest>(&answer, version) else {
                    return (answer, 0);
                };
                if response.error_code.is_none() {
                    response.producer_epoch = self.plan.first_epoch;
                }
                (rewritten::<InitProducerIdResponse>(&response, header, answer), 0)
            }
            MetadataRequest::KEY => {
                self.hit(38, "a question about the cluster");
                (self.lag(version, answer), 0)
            }
            ProduceRequest::KEY => {
                let Ok((_, mut response)) = read_response::<ProduceRequest>(&answer, version) else {
                    return (answer, 0);
                };
                self.tamper_produce(&mut response, before);
                let throttle_time_ms = response.throttle_time_ms;
                (rewritten::<ProduceResponse>(&response, header, answer), throttle_time_ms)
            }
            _ => (answer, 0),
        }
    }

    /// A node that lags behind says what was the case when it fell behind.
    pub(super) fn lag(&mut self, version: i16, answer: Bytes) -> Bytes {
        if self.is_well || self.now() >= self.lags_until {
            self.old_metadata = Some((version, answer.clone()));
            return answer;
        }
        let old = self.old_metadata.as_ref().filter(|(old, _)| *old == version).map(|(_, old)| old.clone());
        match (old, answer.get(..4)) {
            (Some(old), Some(correlation_id)) if old.len() > 4 => {
                self.hit(27, "an old answer about the cluster");
                Bytes::from([correlation_id, old.get(4..).unwrap_or_default()].concat())
            }
            _ => answer,
        }
    }

    pub(super) fn tamper_produce(&mut self, response: &mut ProduceResponse, before: &[Option<i64>]) {
        for answer in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            let at = usize::try_from(answer.index).unwrap_or_default();
            let is_new = before.get(at).copied().flatten() != self.cluster.end_offset(TOPIC, answer.index);
            match answer.error_code {
                ErrorCode::NONE if !is_new => {
                    self.hit(1, "a duplicate, answered with its old offset");
                    // Some brokers know no more than that it is one.
                    if self.random.u32(0..3) == 0 {
                        self.hit(3, "DUPLICATE_SEQUENCE_NUMBER");
                        (answer.error_code, answer.base_offset) = (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
                    }
                }
                ErrorCode::NONE if !self.is_well && self.random.u32(0..100) < 2 => {
                    let codes = [
                        (23, "written, and NOT_LEADER_OR_FOLLOWER", ErrorCode::NOT_LEADER_OR_FOLLOWER),
                        (11, "written, and REQUEST_TIMED_OUT", ErrorCode::REQUEST_TIMED_OUT),
                        (
                            11,
                            "written, and NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                        ),
                        (23, "written, and UNKNOWN_SERVER_ERROR", ErrorCode::UNKNOWN_SERVER_ERROR),
                    ];
                    let (row, what, code) = codes[self.random.usize(..codes.len())];
                    self.hit(row, what);
                    (answer.error_code, answer.base_offset) = (code, -1);
                }
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => self.hit(4, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
                ErrorCode::NOT_LEADER_OR_FOLLOWER => self.hit(26, "NOT_LEADER_OR_FOLLOWER, perhaps with a hint"),
                ErrorCode::NOT_ENOUGH_REPLICAS => self.hit(24, "NOT_ENOUGH_REPLICAS"),
                ErrorCode::MESSAGE_TOO_LARGE => self.hit(20, "MESSAGE_TOO_LARGE"),
                ErrorCode::CORRUPT_MESSAGE => self.hit(22, "CORRUPT_MESSAGE"),
                ErrorCode::INVALID_RECORD => self.hit(7, "INVALID_RECORD"),
                ErrorCode::UNKNOWN_PRODUCER_ID => self.hit(6, "UNKNOWN_PRODUCER_ID"),
                ErrorCode::INVALID_PRODUCER_EPOCH => self.hit(5, "INVALID_PRODUCER_EPOCH"),
                ErrorCode::UNKNOWN_TOPIC_ID => self.hit(28, "UNKNOWN_TOPIC_ID"),
                _ => {}
            }
        }
    }
}

fn rewritten<M: Message>(response: &M, header: &RequestHeader, or: Bytes) -> Bytes {
    let mut frame = Vec::new();
    match write_response(response, header.api_version, header.correlation_id, &mut frame) {
        Ok(()) => Bytes::from(frame).slice(4..),
        Err(_) => or,
    }
}
