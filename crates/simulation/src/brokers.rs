//! Broker responses that differ from those of the model: other versions, duplicates, unclear outcomes and refusals.

use bytes::Bytes;
use kurier_protocol::messages::produce::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse};
use kurier_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};
use kurier_protocol::{ErrorCode, Message, RequestHeader, Uuid, read_response, write_request, write_response};

use super::plan::{Lack, topic_name};
use super::troubles::SpotTrouble;
use super::wire::{Batch, Spot, Wire, answer_for};
use super::world::World;

impl World<'_> {
    /// Rewrites a response as another broker version, or a broker in trouble, would send it. Returns the response, its
    /// throttle time, and the batches reported as duplicates.
    pub(super) fn tamper(
        &mut self,
        header: &RequestHeader,
        answer: Bytes,
        asked: Vec<(i64, Batch)>,
        refused: Vec<TopicProduceResponse>,
    ) -> (Bytes, i32, Vec<(Spot, u64)>) {
        let version = header.api_version;
        match header.api_key {
            InitProducerIdRequest::KEY if self.plan.first_epoch > 0 || self.plan.lack.is_some() => {
                let Ok((_, mut response)) = read_response::<InitProducerIdRequest>(&answer, version) else {
                    return (answer, 0, Vec::new());
                };
                if self.plan.lack == Some(Lack::Authorization) {
                    response.error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
                }
                if response.error_code.is_none() {
                    response.producer_epoch = self.plan.first_epoch;
                }
                (rewritten::<InitProducerIdResponse>(&response, header, answer), 0, Vec::new())
            }
            MetadataRequest::KEY => (self.lag(version, answer), 0, Vec::new()),
            ProduceRequest::KEY => {
                let Ok((_, mut response)) = read_response::<ProduceRequest>(&answer, version) else {
                    return (answer, 0, Vec::new());
                };
                let duplicates = self.tamper_produce(&mut response, &asked);
                response.responses.extend(refused);
                let throttle_time_ms = response.throttle_time_ms;
                (rewritten::<ProduceResponse>(&response, header, answer), throttle_time_ms, duplicates)
            }
            _ => (answer, 0, Vec::new()),
        }
    }

    /// A node that lags behind answers with the metadata it had when it fell behind.
    pub(super) fn lag(&mut self, version: i16, answer: Bytes) -> Bytes {
        if self.is_well || self.now() >= self.lags_until {
            self.old_metadata = Some((version, answer.clone()));
            return answer;
        }
        let old = self.old_metadata.as_ref().filter(|(old, _)| *old == version).map(|(_, old)| old.clone());
        match (old, answer.get(..4)) {
            (Some(old), Some(correlation_id)) if old.len() > 4 => {
                Bytes::from([correlation_id, old.get(4..).unwrap_or_default()].concat())
            }
            _ => answer,
        }
    }

    /// Reports some batches as duplicates, and others as unclear. Returns the duplicates.
    fn tamper_produce(&mut self, response: &mut ProduceResponse, asked: &[(i64, Batch)]) -> Vec<(Spot, u64)> {
        let mut duplicates = Vec::new();
        for (end, batch) in asked {
            let Some(answer) = answer_for(batch, response).filter(|answer| answer.error_code.is_none()) else {
                continue;
            };
            let is_old = answer.base_offset < *end;
            if is_old {
                duplicates.push((batch.spot, batch.first));
            }
            let luck = self.random.u32(0..100);
            let code = match is_old {
                // Some brokers know only that the batch is a duplicate, and not its offset.
                true if luck < 33 => ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
                false if luck < 2 && !self.is_well => {
                    let codes = [
                        ErrorCode::NOT_LEADER_OR_FOLLOWER,
                        ErrorCode::REQUEST_TIMED_OUT,
                        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                        ErrorCode::UNKNOWN_SERVER_ERROR,
                    ];
                    *self.random.choice(&codes).unwrap_or(&ErrorCode::REQUEST_TIMED_OUT)
                }
                _ => continue,
            };
            let all = response.responses.iter_mut().filter(|topic| is_of(topic, batch));
            let mut all = all.flat_map(|topic| &mut topic.partition_responses);
            if let Some(answer) = all.find(|answer| batch.spot.index == answer.index.into()) {
                (answer.error_code, answer.base_offset) = (code, -1);
            }
        }
        duplicates
    }

    /// Removes refused partitions from a request, and returns the responses that refuse them.
    pub(super) fn refuse_some(
        &mut self,
        header: &RequestHeader,
        whole: Bytes,
        body: &Bytes,
    ) -> (Bytes, Vec<TopicProduceResponse>) {
        let version = header.api_version;
        if self.spot_troubles.is_empty() || self.plan.config.acks == kurier_engine::Acks::None {
            return (whole, Vec::new());
        }
        let (Ok(mut request), Ok(batches)) =
            (ProduceRequest::read(body, version), Wire::parse(body, version, &self.ledger))
        else {
            return (whole, Vec::new());
        };
        let mut refused: Vec<TopicProduceResponse> = Vec::new();
        let mut batches = batches.into_iter();
        for topic in &mut request.topic_data {
            let mut answers = Vec::new();
            topic.partition_data.retain(|_| {
                let Some(batch) = batches.next() else { return true };
                let at = self.spot_troubles.iter().position(|trouble| trouble.spot == batch.spot && trouble.times > 0);
                let Some(trouble) = at.and_then(|at| self.spot_troubles.get_mut(at)) else { return true };
                answers.push(trouble.answer(&batch));
                trouble.times -= 1;
                false
            });
            if !answers.is_empty() {
                let (name, topic_id) = (topic.name.clone(), topic.topic_id);
                refused.push(TopicProduceResponse { name, topic_id, partition_responses: answers });
            }
        }
        self.spot_troubles.retain(|trouble| trouble.times > 0);
        request.topic_data.retain(|topic| !topic.partition_data.is_empty());
        let mut frame = Vec::new();
        match write_request(&request, version, header.correlation_id, header.client_id.as_deref(), &mut frame) {
            Ok(()) => (Bytes::from(frame).slice(4..), refused),
            Err(_) => (whole, Vec::new()),
        }
    }
}

impl SpotTrouble {
    /// Response for a batch that meets this trouble.
    fn answer(&self, batch: &Batch) -> PartitionProduceResponse {
        let blamed = (0..batch.count).filter(|place| self.blames && place % 3 == 0);
        let blame = |batch_index| BatchIndexAndErrorMessage { batch_index, batch_index_error_message: None };
        PartitionProduceResponse {
            index: batch.spot.index.0,
            error_code: self.code,
            base_offset: -1,
            record_errors: blamed.map(blame).collect(),
            ..Default::default()
        }
    }
}

fn is_of(topic: &TopicProduceResponse, batch: &Batch) -> bool {
    match batch.topic_id {
        Uuid::ZERO => topic.name == topic_name(batch.spot.topic),
        id => topic.topic_id == id,
    }
}

fn rewritten<M: Message>(response: &M, header: &RequestHeader, or: Bytes) -> Bytes {
    let mut frame = Vec::new();
    match write_response(response, header.api_version, header.correlation_id, &mut frame) {
        Ok(()) => Bytes::from(frame).slice(4..),
        Err(_) => or,
    }
}
