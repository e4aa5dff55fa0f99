//! Tests of the certainty whether a batch was written. A batch that may be in a log is never sent to another cluster,
//! split, or sent again without a sequence number. A batch that surely is not in a log may be. An error never claims
//! that a batch was not sent if it was.

use super::*;
use crate::error::Stage;

fn error(delivery: &Delivery) -> Error {
    match outcome(delivery) {
        Poll::Ready(Err(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn fates(deliveries: &[Delivery]) -> Vec<Fate> {
    deliveries.iter().map(fate).collect()
}

/// Sends four records in one batch, after one that opened the gate. The batch has the sequence numbers 1 to 4.
fn four_in_a_batch(rig: &mut Rig) -> (Vec<Delivery>, Produce) {
    rig.open_gate(0);
    let deliveries = (0..4).map(|_| rig.send(0, 100)).collect();
    rig.pass(ms(6));
    (deliveries, rig.request())
}

/// Makes the bootstrap servers lead to another cluster, where node 2 is the leader.
fn change_cluster(rig: &mut Rig) {
    rig.lose_nodes();
    (rig.cluster_id, rig.topic_id, rig.leaders) = ("d", Uuid([8; 16]), vec![(2, 0)]);
    rig.pass(ms(100));
    rig.down = [1].into();
    rig.pass(ms(6_000));
}

/// Checks that the next requests belong to the new cluster, with another id and sequence numbers from 0 on.
/// Acknowledges all of them.
fn settle_in_new_cluster(rig: &mut Rig, old_id: i64, counts: &[i32]) {
    let mut sequence = 0;
    for count in counts {
        let request = rig.request();
        assert_eq!((request.only(), request.topic_id), ((0, sequence, *count), Uuid([8; 16])));
        assert_ne!(request.batches[0].id, old_id);
        rig.settle(&request, ErrorCode::NONE, sequence.into());
        sequence += count;
        rig.pass(ms(1_000));
    }
    assert!(rig.requests.is_empty());
}

#[test]
fn pieces_of_a_split_go_to_another_cluster_without_their_old_sequences() {
    let mut rig = Rig::new(|_| {});
    let (deliveries, whole) = four_in_a_batch(&mut rig);
    // The broker throttles, so the pieces still wait when its cluster disappears.
    let refused = PartitionProduceResponse { error_code: ErrorCode::MESSAGE_TOO_LARGE, ..Default::default() };
    let topic =
        TopicProduceResponse { name: "t".to_owned(), topic_id: whole.topic_id, partition_responses: vec![refused] };
    rig.reply(&whole, &ProduceResponse { responses: vec![topic], throttle_time_ms: 5_000, ..Default::default() });
    change_cluster(&mut rig);
    settle_in_new_cluster(&mut rig, whole.batches[0].id, &[2, 2]);
    assert_eq!(fates(&deliveries), [0, 1, 2, 3].map(Fate::At));
}

#[test]
fn surely_unwritten_batch_goes_to_another_cluster_without_its_old_sequence() {
    for code in [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER] {
        let mut rig = Rig::new(|_| {});
        let (deliveries, sent) = four_in_a_batch(&mut rig);
        rig.settle(&sent, code, -1);
        change_cluster(&mut rig);
        settle_in_new_cluster(&mut rig, sent.batches[0].id, &[4]);
        assert_eq!(fates(&deliveries), [0, 1, 2, 3].map(Fate::At), "{code}");
    }
}

#[test]
fn possibly_written_batch_fails_as_unknown_when_the_cluster_changes() {
    for code in [None, Some(ErrorCode::REQUEST_TIMED_OUT), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER)] {
        let mut rig = Rig::new(|_| {});
        let (deliveries, sent) = four_in_a_batch(&mut rig);
        if let Some(code) = code {
            rig.settle(&sent, code, -1);
        }
        let later = rig.send(0, 10);
        change_cluster(&mut rig);
        settle_in_new_cluster(&mut rig, sent.batches[0].id, &[1]);
        let unknown = || Fate::Failed(ErrorKind::TopicRecreated, Written::Unknown);
        assert_eq!(fates(&deliveries), [unknown(), unknown(), unknown(), unknown()], "{code:?}");
        assert_eq!(fate(&later), Fate::At(0));
    }
}

#[test]
fn batch_that_is_being_taken_goes_to_the_new_cluster() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let old_id = rig.next_producer_id;
    rig.driver.held_takes = Some(VecDeque::new());
    let delivery = rig.send_and_linger(0);
    change_cluster(&mut rig);
    rig.driver.let_go();
    rig.pass(ms(100));
    settle_in_new_cluster(&mut rig, old_id, &[1]);
    assert_eq!(fate(&delivery), Fate::At(0));
}

/// An end of a connection while the driver has a frame and has not reported it as written.
type End = fn(&mut Rig, &Produce);

#[test]
fn acks_0_frame_that_may_be_out_is_unknown_and_not_sent_again() {
    let ends: [(&str, End); 3] = [
        ("an answer to nothing", |rig, sent| {
            let frame = Bytes::from_static(&[0x7f, 0, 0, 0]);
            rig.handle(Input::Received { connection: sent.connection, frame });
        }),
        ("request.timeout.ms", |rig, _| rig.pass(ms(31_000))),
        ("the node moves", |rig, _| {
            rig.hosts = [(1, "n4".to_owned())].into();
            rig.driver.core.cx.metadata.doubt();
            rig.held_writes = None;
            rig.pass(ms(1_000));
        }),
    ];
    for (name, end) in ends {
        let mut rig = Rig::new(|config| config.set("acks", "0").unwrap());
        rig.pass(ms(200));
        rig.send(0, 10).forget();
        rig.pass(ms(6));
        rig.request();
        rig.held_writes = Some(Vec::new());
        let delivery = rig.send_and_linger(0);
        let sent = rig.request();
        end(&mut rig, &sent);
        // The driver wrote the frame after all, and reports it too late.
        for written in rig.held_writes.take().into_iter().flatten() {
            rig.handle(written);
        }
        rig.pass(ms(3_000));
        assert_eq!(
            (rig.requests.len(), fate(&delivery)),
            (0, Fate::Failed(ErrorKind::Network, Written::Unknown)),
            "{name}"
        );
        assert_eq!((error(&delivery).stage(), error(&delivery).attempts()), (Some(Stage::InFlight), 1), "{name}");
        let next = rig.send_and_linger(0);
        rig.pass(ms(1_000));
        assert_eq!((rig.requests.len(), fate(&next)), (1, Fate::At(-1)), "{name}");
    }
}

#[test]
fn acks_0_frame_completes_once_written_and_is_retried_if_surely_unsent() {
    for is_written in [true, false] {
        let mut rig = Rig::new(|config| config.set("acks", "0").unwrap());
        rig.send(0, 10).forget();
        rig.pass(ms(6));
        rig.request();
        rig.held_writes = Some(Vec::new());
        let delivery = rig.send_and_linger(0);
        rig.request();
        let held = rig.held_writes.take().unwrap();
        // The driver first reports the write, and then the end of the connection.
        if is_written {
            held.into_iter().for_each(|written| rig.handle(written));
        }
        rig.cut(1);
        rig.pass(ms(1_000));
        assert_eq!((rig.requests.len(), fate(&delivery)), (usize::from(!is_written), Fate::At(-1)), "{is_written}");
    }
}

#[test]
fn batch_is_split_after_surely_unwritten_attempts() {
    use ErrorCode as E;
    let unwritten = [E::NOT_ENOUGH_REPLICAS, E::CORRUPT_MESSAGE, E::UNKNOWN_TOPIC_ID, E::INCONSISTENT_TOPIC_ID];
    for is_idempotent in [true, false] {
        for code in unwritten {
            let mut rig = Rig::new(|config| config.set("enable.idempotence", &is_idempotent.to_string()).unwrap());
            let (deliveries, first) = four_in_a_batch(&mut rig);
            rig.settle(&first, code, -1);
            rig.pass(ms(500));
            let again = rig.request();
            rig.settle(&again, E::MESSAGE_TOO_LARGE, -1);
            for (sequence, offset) in [(1, 1), (3, 3)] {
                rig.pass(ms(500));
                let piece = rig.request();
                let expected = if is_idempotent { (0, sequence, 2) } else { (-1, -1, 2) };
                assert_eq!(piece.only(), expected, "{code}");
                rig.settle(&piece, E::NONE, offset);
            }
            assert_eq!(fates(&deliveries), [1, 2, 3, 4].map(Fate::At), "{code}");
        }
    }
}

#[test]
fn batch_is_split_after_an_attempt_whose_frame_did_not_leave() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.held_writes = Some(Vec::new());
    let deliveries: Vec<Delivery> = (0..4).map(|_| rig.send(0, 100)).collect();
    rig.pass(ms(6));
    rig.request();
    rig.held_writes = None;
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.settle(&again, ErrorCode::MESSAGE_TOO_LARGE, -1);
    for (sequence, offset) in [(1, 1), (3, 3)] {
        rig.pass(ms(500));
        let piece = rig.request();
        assert_eq!(piece.only(), (0, sequence, 2));
        rig.settle(&piece, ErrorCode::NONE, offset);
    }
    assert_eq!(fates(&deliveries), [1, 2, 3, 4].map(Fate::At));
}

#[test]
fn possibly_written_too_large_batch_fails_as_unknown() {
    let mut rig = Rig::new(|_| {});
    let (deliveries, first) = four_in_a_batch(&mut rig);
    rig.settle(&first, ErrorCode::REQUEST_TIMED_OUT, -1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.settle(&again, ErrorCode::MESSAGE_TOO_LARGE, -1);
    rig.pass(ms(500));
    assert!(rig.requests.is_empty());
    assert_eq!(fate(&deliveries[0]), Fate::Failed(ErrorKind::Refused, Written::Unknown));
    assert_eq!(error(&deliveries[0]).error_code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
    let next = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.only(), (1, 0, 1), "its sequences are lost, so the partition goes on under the next epoch");
    rig.settle(&request, ErrorCode::NONE, 5);
    assert_eq!(fate(&next), Fate::At(5));
}

/// Checks the stage, attempts and text of a batch that was sent and fails before its retry.
#[track_caller]
fn assert_sent_once(delivery: &Delivery, written: Written) {
    let error = error(delivery);
    assert_eq!((error.stage(), error.attempts(), error.written()), (Some(Stage::Backoff), 1, written), "{error}");
    assert!(error.to_string().contains("waiting to be sent again, sent once"), "{error}");
}

#[test]
fn stage_of_a_batch_that_was_sent_is_never_queued() {
    // The core notices the re-created topic when it is about to retry the batch.
    for is_idempotent in ["true", "false"] {
        let mut rig = Rig::new(|config| config.set("enable.idempotence", is_idempotent).unwrap());
        let delivery = rig.send_and_linger(0);
        rig.request();
        rig.cut(1);
        (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(2, 0)]);
        rig.pass(ms(2_000));
        assert_sent_once(&delivery, Written::Unknown);
    }
    // No broker that accepts the batch is left.
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.versions = |version| Some((version, offer(&[(3, 13), (18, 4), (22, 5)])));
    rig.settle(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    rig.cut(1);
    rig.pass(ms(2_000));
    assert_sent_once(&delivery, Written::No);
    // The producer is closed.
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    rig.handle(Input::Abandon);
    rig.turn();
    assert_sent_once(&delivery, Written::No);
}

#[test]
fn records_of_a_piece_were_sent_with_the_whole_batch() {
    let mut rig = Rig::new(|_| {});
    let (deliveries, whole) = four_in_a_batch(&mut rig);
    rig.down = [1].into();
    rig.answer_with(&whole, |answer| PartitionProduceResponse { error_code: ErrorCode::MESSAGE_TOO_LARGE, ..answer });
    rig.cut(1);
    rig.turn();
    rig.pass(Duration::from_secs(121));
    for delivery in &deliveries {
        assert_sent_once(delivery, Written::No);
    }
    // The attempts of the whole batch do not count for its pieces.
    let mut rig = Rig::new(|config| config.set("retries", "1").unwrap());
    let (deliveries, whole) = four_in_a_batch(&mut rig);
    rig.settle(&whole, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.settle(&again, ErrorCode::MESSAGE_TOO_LARGE, -1);
    rig.pass(ms(500));
    let piece = rig.request();
    rig.settle(&piece, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
    rig.pass(ms(500));
    assert!(!rig.requests.is_empty() && fate(&deliveries[0]) == Fate::Open);
}
