//! Models of the whole producer without sockets: senders, the driver's thread, the callback thread, and a cluster.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kurier_broker::{Cluster, ClusterSettings, Fault, FaultKind};
use kurier_partitioner::Keyed;
use kurier_protocol::record_batch::RecordBatch;
use shuttle::future::block_on;
use tokio::sync::oneshot;

use super::connection::Network;
use super::explore;
use crate::driver::{Driver, Shared};
use crate::handle::Handle;
use crate::partitioning::Partitioning;
use crate::{Delivery, Error, ErrorKind, Producer, Record, Summary, Unfinished, Written};
use kurier_engine::config::Config;
use kurier_engine::serializer::{BytesSerializer, Part, Unset};
use kurier_engine::sync::{Mutex, thread};

const TOPIC: &str = "t";
/// Long enough, because no time passes.
const FOREVER: Duration = Duration::from_secs(3600);

/// A producer that has sent its first record, so that only the model's own records follow.
struct Rig {
    producer: Producer,
    shared: Arc<Shared>,
    network: Network,
    driver: thread::JoinHandle<()>,
    /// Drops the driver, as a runtime does at shutdown.
    shut_down: oneshot::Sender<()>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut cluster = Cluster::new(ClusterSettings::default());
        cluster.set_port(1, 1);
        let network = Network::new(cluster);
        let mut config = Config::default();
        config.set("bootstrap.servers", "node:1").unwrap();
        // No time passes, so a lingering batch would wait until another event sends it.
        config.linger = Duration::ZERO;
        change(&mut config);
        let shared = Shared::new(Arc::new(config), 1);
        let driver = Driver::new(Arc::clone(&shared), 1).unwrap();
        let (shut_down, is_shut_down) = oneshot::channel();
        let driver = thread::spawn(move || block_on(run(driver, is_shut_down)));
        let producer = Producer::new(Handle {
            shared: Arc::clone(&shared),
            key_serializer: BytesSerializer,
            value_serializer: BytesSerializer,
            partitioning: Partitioning::Keyed(Keyed::JAVA),
        });
        block_on(producer.topic(TOPIC)).unwrap();
        Self { producer, shared, network, driver, shut_down }
    }

    /// Starts a thread with its own handle.
    fn spawn<T: Send + 'static>(&self, act: impl FnOnce(Producer) -> T + Send + 'static) -> thread::JoinHandle<T> {
        let producer = self.producer.clone();
        thread::spawn(move || act(producer))
    }

    fn fault(&self, fault: Fault) {
        self.network.cluster.lock().unwrap().add_fault(fault);
    }

    /// Closes the producer, waits for all threads, and returns the values in the log.
    fn end(self, patience: Duration) -> (Result<Summary, Unfinished>, Vec<Vec<u8>>) {
        let result = block_on(self.producer.close(patience));
        let refused = send(&self.producer, "late").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        (result, self.gone())
    }

    /// Drops the last handle, waits for all threads, and returns the values in the log. Checks that nothing of the
    /// producer is left.
    fn gone(self) -> Vec<Vec<u8>> {
        let Self { producer, shared, network, driver, .. } = self;
        drop(producer);
        driver.join().unwrap();
        let log = network.end().log(TOPIC, 0).unwrap();
        assert_eq!(shared.accumulator.incomplete_count(), 0);
        assert_eq!((shared.accumulator.memory.used(), shared.accumulator.held()), (0, 0));
        let values = |batch: &Bytes| {
            let (batch, _) = RecordBatch::parse(batch).unwrap();
            batch.records().unwrap().map(|record| record.unwrap().value.unwrap().to_vec()).collect::<Vec<_>>()
        };
        log.iter().flat_map(values).collect()
    }
}

/// Runs the driver until it ends or is dropped.
async fn run(driver: Driver, mut is_shut_down: oneshot::Receiver<()>) {
    let mut run = Box::pin(driver.run());
    poll_fn(|cx| match Pin::new(&mut is_shut_down).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(()),
        _ => run.as_mut().poll(cx),
    })
    .await;
}

fn record(value: &str) -> Record<'_, Unset, Part<&str>> {
    Record::to(TOPIC).value(value).timestamp(0)
}

fn send(producer: &Producer, value: &str) -> Result<Delivery, Error> {
    block_on(producer.send(record(value)))
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A record's result at its sender: not accepted, or its outcome.
type Told = (&'static str, Result<Result<i64, Error>, Error>);

/// Sends a record and waits for its outcome.
fn tell(producer: &Producer, value: &'static str) -> Told {
    let sent = send(producer, value);
    (value, sent.map(|delivery| block_on(delivery).map(|metadata| metadata.offset().unwrap())))
}

/// Checks that each record is in the log at the reported offset, or was refused by the closed producer and is not
/// there.
fn assert_told(told: &[Told], log: &[Vec<u8>]) {
    for (value, sent) in told {
        match sent {
            Ok(Ok(offset)) => assert_eq!(log[usize::try_from(*offset).unwrap()], value.as_bytes()),
            Ok(Err(error)) => panic!("{value}: {error}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{value}: {error}"),
        }
    }
    let written = told.iter().filter(|(_, sent)| sent.is_ok()).count();
    assert_eq!(log.len(), written, "{told:?}");
}

#[test]
fn each_sender_learns_its_records_offset() {
    explore("two send, one waits for its outcomes, one has itself called back and forgets the last", 2_000, || {
        let rig = Rig::new(|_| {});
        let called = Arc::new(Mutex::new(Vec::new()));
        let waits = rig.spawn(|producer| [tell(&producer, "a1"), tell(&producer, "a2")]);
        let is_called = rig.spawn({
            let called = Arc::clone(&called);
            move |producer| {
                let call = |value| {
                    let called = Arc::clone(&called);
                    move |result: Result<crate::RecordMetadata, Error>| {
                        called.lock().unwrap().push((value, Ok(result.map(|metadata| metadata.offset().unwrap()))));
                    }
                };
                block_on(producer.send_with(record("b1"), call("b1"))).unwrap();
                send(&producer, "b2").unwrap().on_complete(call("b2"));
                send(&producer, "b3").unwrap().forget();
            }
        });
        let mut told = waits.join().unwrap().to_vec();
        is_called.join().unwrap();
        let (result, log) = rig.end(FOREVER);
        assert_eq!(result.unwrap().written, 5);
        told.append(&mut called.lock().unwrap());
        let last = log.iter().position(|value| value == b"b3").unwrap();
        told.push(("b3", Ok(Ok(i64::try_from(last).unwrap()))));
        assert_told(&told, &log);
        for sender in ["a", "b"] {
            assert!(log.iter().filter(|value| value.starts_with(sender.as_bytes())).is_sorted(), "{log:?}");
        }
    });
}

#[test]
fn records_accepted_before_a_flush_do_not_linger() {
    explore("two send what lingers for ever, one flushes between", 2_000, || {
        let rig = Rig::new(|config| config.linger = FOREVER);
        let other = rig.spawn(|producer| [send(&producer, "a1").unwrap(), send(&producer, "a2").unwrap()]);
        let flushes = rig.spawn(|producer| {
            let delivery = send(&producer, "b1").unwrap();
            block_on(producer.flush()).unwrap();
            let Poll::Ready(result) = poll_once(delivery) else { panic!("flushed without its outcome") };
            ("b1", Ok(Ok(result.unwrap().offset().unwrap())))
        });
        let mut told: Vec<Told> = vec![flushes.join().unwrap()];
        let deliveries = other.join().unwrap();
        block_on(rig.producer.flush()).unwrap();
        for (value, delivery) in ["a1", "a2"].into_iter().zip(deliveries) {
            told.push((value, Ok(Ok(block_on(delivery).unwrap().offset().unwrap()))));
        }
        let (_, log) = rig.end(FOREVER);
        assert_told(&told, &log);
    });
}

#[test]
fn send_during_close_is_delivered_or_refused() {
    explore("two send what lingers for ever, while a third closes", 2_000, || {
        let rig = Rig::new(|config| config.linger = FOREVER);
        let senders = ["a1", "b1"].map(|value| rig.spawn(move |producer| tell(&producer, value)));
        let closes = rig.spawn(|producer| {
            let summary = block_on(producer.close(FOREVER)).unwrap();
            assert_eq!(send(&producer, "late").unwrap_err().kind(), ErrorKind::Closed);
            summary
        });
        let told = senders.map(|sender| sender.join().unwrap());
        let closed = closes.join().unwrap();
        let (result, log) = rig.end(FOREVER);
        assert_eq!((closed.written, result.unwrap().written), (log.len() as u64, log.len() as u64));
        assert_told(&told, &log);
    });
}

#[test]
fn close_returns_unfinished_records() {
    explore("two send what no broker answers, while a third closes without patience", 2_000, || {
        let rig = Rig::new(|_| {});
        rig.fault(Fault::new("Produce", FaultKind::Silence));
        let senders = ["a1", "b1"].map(|value| rig.spawn(move |producer| tell(&producer, value)));
        let result = block_on(rig.producer.close(Duration::ZERO));
        let told = senders.map(|sender| sender.join().unwrap());
        let left = result.err().map(|unfinished| unfinished.records().to_vec()).unwrap_or_default();
        for (value, sent) in &told {
            let copies: Vec<Written> = left
                .iter()
                .filter(|record| record.value.as_deref() == Some(value.as_bytes()))
                .map(|record| record.written)
                .collect();
            match sent {
                Ok(Ok(_)) => panic!("nobody answered"),
                Ok(Err(error)) => assert_eq!((error.kind(), &*copies), (ErrorKind::Closed, &[error.written()][..])),
                Err(error) => assert_eq!((error.kind(), &*copies), (ErrorKind::Closed, &[][..])),
            }
        }
        let (_, log) = rig.end(FOREVER);
        for value in log {
            assert!(left.iter().any(|record| record.value.as_deref() == Some(&value) && record.written != Written::No));
        }
    });
}

#[test]
fn dropping_the_last_handle_frees_everything() {
    explore("two send what lingers for ever and drop their handles, the last ones", 2_000, || {
        let rig = Rig::new(|config| config.linger = FOREVER);
        let senders = ["a1", "b1"].map(|value| rig.spawn(move |producer| (value, send(&producer, value).unwrap())));
        let log = rig.gone();
        let told = senders.map(|sender| {
            let (value, delivery) = sender.join().unwrap();
            (value, Ok(block_on(delivery).map(|metadata| metadata.offset().unwrap())))
        });
        assert_told(&told, &log);
    });
}

#[test]
fn send_during_shutdown_gets_an_outcome() {
    explore("two send, one flushes and one asks for a topic, while the runtime is shut down", 2_000, || {
        let mut rig = Rig::new(|_| {});
        let senders = ["a1", "b1"].map(|value| rig.spawn(move |producer| tell(&producer, value)));
        let flushes = rig.spawn(|producer| block_on(producer.flush()).map(drop));
        let asks = rig.spawn(|producer| block_on(producer.topic("u")).map(drop));
        let (shut_down, _) = oneshot::channel();
        std::mem::replace(&mut rig.shut_down, shut_down).send(()).unwrap();
        let told = senders.map(|sender| sender.join().unwrap());
        for answer in [flushes.join().unwrap(), asks.join().unwrap()] {
            assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Closed));
        }
        let log = rig.gone();
        for (value, sent) in &told {
            let is_there = log.iter().filter(|there| *there == value.as_bytes()).count() == 1;
            match sent {
                Ok(Ok(offset)) => assert_eq!(log[usize::try_from(*offset).unwrap()], value.as_bytes()),
                Ok(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Closed);
                    assert!(!is_there || error.written() == Written::Unknown, "{value}: {error}");
                }
                Err(error) => assert!(error.kind() == ErrorKind::Closed && !is_there, "{value}: {error}"),
            }
        }
    });
}

/// Memory for one batch.
fn tight(config: &mut Config) {
    config.buffer_memory = 1_500;
}

#[test]
fn written_batch_frees_memory_for_a_waiting_send() {
    explore("memory for one batch: three send what lingers for ever, one of them gives up", 2_000, || {
        let rig = Rig::new(|config| {
            tight(config);
            // Each record gets its own batch.
            (config.linger, config.batch_size) = (FOREVER, 0);
        });
        let senders = ["a1", "b1"].map(|value| rig.spawn(move |producer| tell(&producer, value)));
        let gone = rig.spawn(|producer| poll_once(producer.send(record("c1"))).is_ready());
        let mut told = senders.map(|sender| sender.join().unwrap()).to_vec();
        let was_sent = gone.join().unwrap();
        let (_, log) = rig.end(FOREVER);
        if was_sent {
            let at = log.iter().position(|value| value == b"c1").unwrap();
            told.push(("c1", Ok(Ok(i64::try_from(at).unwrap()))));
        }
        assert_told(&told, &log);
    });
}

#[test]
fn close_fails_a_send_that_waits_for_memory() {
    explore("memory for one batch, which no broker answers: one waits for it while another closes", 2_000, || {
        let rig = Rig::new(|config| {
            tight(config);
            config.batch_size = 0;
        });
        rig.fault(Fault::new("Produce", FaultKind::Silence));
        send(&rig.producer, "first").unwrap().forget();
        let waits = rig.spawn(|producer| send(&producer, "second").unwrap_err().kind());
        let closes = rig.spawn(|producer| drop(block_on(producer.close(FOREVER))));
        // `close` fails the second send before anything abandons the first record.
        assert_eq!(waits.join().unwrap(), ErrorKind::Closed);
        let (result, log) = rig.end(Duration::ZERO);
        closes.join().unwrap();
        assert!(result.is_err() && log.len() <= 1);
    });
}
