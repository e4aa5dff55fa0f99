//! The rules for sequences: a leader's answer to each batch of an idempotent producer, as data.
//!
//! They come from experiments on Kafka 4.3.1 with hand-made batches. They are part of the [conformance suite](super)
//! and use its [`Peer`].

use bytes::{Bytes, BytesMut};
use kurier_protocol::ErrorCode;
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use kurier_protocol::messages::{ListOffsetsRequest, ProduceRequest};
use kurier_protocol::record_batch::{NewRecord, ProducerEpoch, ProducerId, RecordBatchBuilder, Sequence, Stamp};

use super::{Peer, ask, fresh_topic};

/// A series of batches for one partition, each with the expected answer.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) steps: &'static [Step],
}

/// One batch and its answer.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    producer: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
    value: &'static str,
    is_damaged: bool,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The broker writes the batch and answers with this base offset.
    At(i64),
    Refused(ErrorCode),
}

const A: i64 = 700_001;
const B: i64 = 700_002;
const NOBODY: i64 = -1;

const GAP: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
const STALE: ErrorCode = ErrorCode::INVALID_PRODUCER_EPOCH;

/// A batch of this many records of producer A in epoch 0, from this sequence on.
const fn send(sequence: i32, records: i32) -> Step {
    let answer = Answer::At(0);
    Step { producer: A, epoch: 0, sequence, records, value: "v", is_damaged: false, answer }
}

impl Step {
    const fn by(self, producer: i64) -> Self {
        Self { producer, ..self }
    }

    const fn epoch(self, epoch: i16) -> Self {
        Self { epoch, ..self }
    }

    const fn value(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    const fn damaged(self) -> Self {
        Self { is_damaged: true, ..self }
    }

    const fn at(self, offset: i64) -> Self {
        Self { answer: Answer::At(offset), ..self }
    }

    const fn refused(self, code: ErrorCode) -> Self {
        Self { answer: Answer::Refused(code), ..self }
    }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a sequence is the count of records before it",
        steps: &[send(0, 3).at(0), send(3, 1).at(3), send(4, 2).at(4)],
    },
    Case {
        name: "the last batch sent again is not written again, and has its old offset",
        steps: &[send(0, 2).at(0), send(2, 2).at(2), send(2, 2).at(2), send(4, 1).at(4)],
    },
    Case {
        name: "five batches are remembered",
        steps: &[
            send(0, 1).at(0),
            send(1, 2).at(1),
            send(3, 1).at(3),
            send(4, 1).at(4),
            send(5, 3).at(5),
            send(0, 1).at(0),
            send(1, 2).at(1),
            send(3, 1).at(3),
            send(4, 1).at(4),
            send(5, 3).at(5),
            send(8, 1).at(8),
        ],
    },
    Case {
        name: "the sixth is forgotten, and refused like a gap",
        steps: &[
            send(0, 1).at(0),
            send(1, 1).at(1),
            send(2, 1).at(2),
            send(3, 1).at(3),
            send(4, 1).at(4),
            send(5, 1).at(5),
            send(0, 1).refused(GAP),
            send(1, 1).at(1),
            send(6, 1).at(6),
            send(1, 1).refused(GAP),
        ],
    },
    Case {
        name: "a duplicate does not refresh what is remembered",
        steps: &[
            send(0, 1).at(0),
            send(1, 1).at(1),
            send(2, 1).at(2),
            send(3, 1).at(3),
            send(4, 1).at(4),
            send(0, 1).at(0),
            send(5, 1).at(5),
            send(0, 1).refused(GAP),
        ],
    },
    Case {
        name: "a gap is refused, and harms nothing",
        steps: &[send(0, 1).at(0), send(2, 1).refused(GAP), send(1, 1).at(1), send(2, 1).at(2)],
    },
    Case {
        name: "a batch that begins inside the last one is refused",
        steps: &[send(0, 4).at(0), send(3, 2).refused(GAP), send(4, 1).at(4)],
    },
    Case {
        name: "the same beginning with another end is no duplicate",
        steps: &[send(0, 1).at(0), send(1, 3).at(1), send(1, 2).refused(GAP), send(1, 4).refused(GAP)],
    },
    Case {
        name: "two batches joined are no duplicate",
        steps: &[send(0, 1).at(0), send(1, 1).at(1), send(0, 2).refused(GAP)],
    },
    Case {
        name: "other bytes under a used sequence are lost, and reported as written",
        steps: &[send(0, 1).value("first").at(0), send(0, 1).value("second").at(0), send(1, 1).at(1)],
    },
    Case {
        name: "an unknown producer id may begin anywhere (KAFKA-15591)",
        steps: &[send(17, 1).at(0), send(18, 1).at(1)],
    },
    Case {
        name: "and what would have come before is refused for ever",
        steps: &[send(17, 1).at(0), send(0, 1).refused(GAP), send(16, 1).refused(GAP), send(18, 1).at(1)],
    },
    Case {
        name: "a first batch may come in any epoch",
        steps: &[send(5, 1).epoch(3).at(0), send(6, 1).epoch(3).at(1)],
    },
    Case {
        name: "a new epoch begins at 0",
        steps: &[send(0, 1).at(0), send(1, 1).at(1), send(0, 2).epoch(1).at(2), send(2, 1).epoch(1).at(4)],
    },
    Case {
        name: "a new epoch elsewhere than at 0 is refused, and the old one goes on",
        steps: &[send(0, 1).at(0), send(1, 1).epoch(1).refused(GAP), send(1, 1).at(1)],
    },
    Case {
        name: "epochs may be left out",
        steps: &[send(0, 1).at(0), send(0, 1).epoch(7).at(1), send(0, 1).epoch(i16::MAX).at(2)],
    },
    Case {
        name: "an old epoch is refused, wherever it goes on",
        steps: &[
            send(0, 1).at(0),
            send(0, 1).epoch(1).at(1),
            send(1, 1).refused(STALE),
            send(5, 1).refused(STALE),
            send(1, 1).epoch(1).at(2),
        ],
    },
    Case {
        name: "what an old epoch wrote is no duplicate any more",
        steps: &[send(0, 1).at(0), send(0, 1).epoch(1).at(1), send(0, 1).refused(STALE), send(0, 1).epoch(1).at(1)],
    },
    Case {
        name: "the same bytes in a new epoch are new",
        steps: &[send(0, 1).value("same").at(0), send(0, 1).value("same").epoch(1).at(1)],
    },
    Case {
        name: "after 2,147,483,647 comes 0",
        steps: &[send(i32::MAX - 1, 2).at(0), send(0, 1).at(2), send(1, 1).at(3)],
    },
    Case {
        name: "and after no other number",
        steps: &[send((1 << 30) - 1, 1).at(0), send(0, 1).refused(GAP), send(1 << 30, 1).at(1)],
    },
    Case {
        name: "a batch may reach over the end of the sequences, and be sent again",
        steps: &[send(i32::MAX - 1, 4).at(0), send(2, 1).at(4), send(i32::MAX - 1, 4).at(0), send(3, 1).at(5)],
    },
    Case {
        name: "a gap at the end of the sequences is a gap",
        steps: &[
            send(i32::MAX, 1).at(0),
            send(1, 1).refused(GAP),
            send(i32::MAX - 1, 1).refused(GAP),
            send(0, 1).at(1),
        ],
    },
    Case {
        name: "a damaged batch is refused, and its sequence is still free",
        steps: &[
            send(0, 1).damaged().refused(ErrorCode::CORRUPT_MESSAGE),
            send(0, 1).at(0),
            send(1, 1).damaged().refused(ErrorCode::CORRUPT_MESSAGE),
            send(1, 1).at(1),
        ],
    },
    Case {
        name: "a damaged duplicate is damaged",
        steps: &[send(0, 1).at(0), send(0, 1).damaged().refused(ErrorCode::CORRUPT_MESSAGE), send(0, 1).at(0)],
    },
    Case {
        name: "producers do not see each other",
        steps: &[send(0, 1).at(0), send(0, 2).by(B).at(1), send(1, 1).at(3), send(2, 1).by(B).at(4), send(0, 1).at(0)],
    },
    Case {
        name: "a fresh id does not fence the old one",
        steps: &[send(0, 1).epoch(5).at(0), send(0, 1).by(B).at(1), send(1, 1).epoch(5).at(2)],
    },
    Case {
        name: "without a producer id everything is new",
        steps: &[
            send(-1, 1).by(NOBODY).epoch(-1).at(0),
            send(-1, 1).by(NOBODY).epoch(-1).at(1),
            send(0, 1).at(2),
            send(-1, 2).by(NOBODY).epoch(-1).at(3),
            send(1, 1).at(5),
        ],
    },
    Case {
        name: "a producer id without a sequence is refused",
        steps: &[send(-1, 1).refused(ErrorCode::INVALID_RECORD), send(0, 1).at(0)],
    },
];

impl Case {
    /// Runs the case on a broker, and checks every answer and the end offset.
    ///
    /// # Errors
    /// With the differences.
    pub(crate) fn check(&self, peer: &mut dyn Peer) -> Result<(), String> {
        let topic = fresh_topic(peer, 1, 1, &[]);
        let mut end = 0;
        for (index, step) in self.steps.iter().enumerate() {
            let batch = step.batch(peer.now_ms());
            let answers = produce(peer, &topic, &[(0, batch)]);
            if answers != [step.answer] {
                return Err(format!("{}: step {index} was answered {answers:?}, not {:?}", self.name, step.answer));
            }
            if step.answer == Answer::At(end) {
                end += i64::from(step.records);
            }
        }
        match end_offset(peer, &topic, 0) {
            found if found == end => Ok(()),
            found => Err(format!("{}: {found} records were written, not {end}", self.name)),
        }
    }
}

/// Checks that each partition has ids and epochs of its own: one request may mix them, and one partition may begin a
/// new epoch while the others stay.
pub(crate) fn check_that_partitions_are_apart(peer: &mut dyn Peer) -> Result<(), String> {
    let topic = fresh_topic(peer, 3, 1, &[]);
    let requests: [&[(i32, Step)]; 5] = [
        &[(0, send(0, 1).at(0)), (1, send(0, 2).at(0)), (2, send(0, 1).by(B).at(0))],
        // A new epoch in partition 0, the old one in 1, another producer in 2.
        &[(0, send(0, 1).epoch(1).at(1)), (1, send(2, 1).at(2)), (2, send(1, 1).by(B).at(1))],
        // A refusal in one partition does not affect the others.
        &[(0, send(1, 1).refused(STALE)), (1, send(9, 1).refused(GAP)), (2, send(2, 1).by(B).at(2))],
        &[(0, send(1, 1).epoch(1).at(2)), (1, send(3, 1).at(3)), (2, send(0, 1).at(3))],
        &[(0, send(0, 1).by(B).at(3)), (1, send(3, 1).at(3)), (2, send(3, 1).by(B).at(4))],
    ];
    for (index, request) in requests.into_iter().enumerate() {
        let batches: Vec<_> = request.iter().map(|(partition, step)| (*partition, step.batch(peer.now_ms()))).collect();
        let answers = produce(peer, &topic, &batches);
        let expected: Vec<_> = request.iter().map(|(_, step)| step.answer).collect();
        if answers != expected {
            return Err(format!("request {index} was answered {answers:?}, not {expected:?}"));
        }
    }
    match [0, 1, 2].map(|partition| end_offset(peer, &topic, partition)) {
        [4, 4, 5] => Ok(()),
        ends => Err(format!("the partitions end at {ends:?}")),
    }
}

impl Step {
    fn batch(&self, now_ms: i64) -> Bytes {
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..self.records {
            let record = NewRecord { timestamp: now_ms, value: Some(self.value.as_bytes()), ..Default::default() };
            builder.append(&record).unwrap();
        }
        let (id, epoch) = (ProducerId(self.producer), ProducerEpoch(self.epoch));
        let stamp = Stamp::idempotent(id, epoch, Sequence(self.sequence));
        let mut bytes = BytesMut::from(&builder.seal().unwrap().stamp(&stamp).unwrap().to_bytes()[..]);
        if self.is_damaged {
            *bytes.last_mut().unwrap() ^= 0x10;
        }
        bytes.freeze()
    }
}

fn produce(peer: &mut dyn Peer, topic: &str, batches: &[(i32, Bytes)]) -> Vec<Answer> {
    let data =
        |(index, batch): &(i32, Bytes)| PartitionProduceData { index: *index, records: Some(batch.clone().into()) };
    let partition_data = batches.iter().map(data).collect();
    let topic_data = vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() };
    let node = peer.nodes()[0];
    let response = ask(peer, node, 9, &request);
    let mut answers: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
    answers.sort_by_key(|answer| answer.index);
    let shown = answers.into_iter().map(|answer| match answer.error_code {
        ErrorCode::NONE => Answer::At(answer.base_offset),
        code => Answer::Refused(code),
    });
    shown.collect()
}

fn end_offset(peer: &mut dyn Peer, topic: &str, partition: i32) -> i64 {
    const LATEST: i64 = -1;
    let partitions = vec![ListOffsetsPartition { partition_index: partition, timestamp: LATEST, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions }];
    let node = peer.nodes()[0];
    let response = ask(peer, node, 6, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
    response.topics[0].partitions[0].offset
}
