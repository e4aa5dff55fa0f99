//! confluent-kafka by its producer of byte slices, with a callback for each record.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Parser;
use confluent_kafka::common::Error;
use confluent_kafka::common::serialization::ByteArraySerializer;
use confluent_kafka::producer::{Callback, KafkaProducer, Producer as _, ProducerConfig, ProducerRecord, RecordMetadata};
use kurier_bench::{Meter, Pace, Payload, Workload};
use kurier_bench_peers::Outcomes;

struct Acknowledged {
    sent: Instant,
    outcomes: Arc<Outcomes>,
}

impl Callback for Acknowledged {
    fn on_completion(self: Box<Self>, _: Option<&RecordMetadata>, error: Option<&Error>) {
        self.outcomes.add(error.is_none().then(|| self.sent.elapsed()));
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let workload = Workload::parse();
    let mut payload = Payload::new(&workload)?;
    let wrong = |error: Error| anyhow!("{error}");
    let settings = workload.settings().map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let config = ProducerConfig::new(&settings).map_err(wrong)?;
    let serializer = ByteArraySerializer::default;
    let producer = KafkaProducer::<Vec<u8>, Vec<u8>>::new(config, serializer(), serializer()).map_err(wrong)?;
    let outcomes = Arc::new(Outcomes::default());
    let meter = Meter::start()?;
    let mut pace = Pace::new(workload.rate);
    for number in 0..workload.records {
        // Blocks the main thread, which is none of the runtime's workers.
        pace.sleep(number);
        let key = workload.key(number);
        let callback = Box::new(Acknowledged { sent: Instant::now(), outcomes: Arc::clone(&outcomes) });
        let value = payload.next_value();
        let record = ProducerRecord::with_key(workload.topic.clone(), key.as_ref().map(|key| &key[..]), Some(value));
        producer.send(record, Some(callback)).await.map_err(wrong)?;
    }
    producer.flush().await.map_err(wrong)?;
    outcomes.report(meter, "confluent-kafka", &workload)
}
