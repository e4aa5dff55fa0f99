//! Tests of retries and sequence numbers, which keep records in order and free of duplicates.

use super::*;

/// Returns a rig where a batch was lost and has just been sent again. It expires one second after it was opened.
fn lost_and_sent_again() -> (Rig, Delivery, Produce) {
    let mut rig = Rig::new(|config| {
        config.set("delivery.timeout.ms", "1000").unwrap();
        config.set("request.timeout.ms", "950").unwrap();
    });
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    rig.request();
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    (rig, delivery, again)
}

/// The lost batch has expired in flight, while another one was in flight behind it.
struct Expired {
    rig: Rig,
    lost: Delivery,
    again: Produce,
    next: Delivery,
    after: Produce,
}

fn expired_in_flight() -> Expired {
    let (mut rig, lost, again) = lost_and_sent_again();
    rig.pass(ms(400));
    let next = rig.send_and_linger(0);
    let after = rig.request();
    rig.pass(ms(100));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
    Expired { rig, lost, again, next, after }
}

#[test]
fn retry_after_lost_connection_has_same_bytes() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let first = rig.request();
    rig.cut(1);
    rig.pass(ms(500));
    let second = rig.request();
    assert_ne!(first.connection, second.connection);
    assert_eq!(first.batches, second.batches);
    rig.settle(&second, ErrorCode::DUPLICATE_SEQUENCE_NUMBER, -1);
    assert_eq!(fate(&delivery), Fate::At(-1));
}

#[test]
fn possibly_written_batch_with_sequence_ignores_retries_limit() {
    use ErrorCode as E;
    let unsure = [E::REQUEST_TIMED_OUT, E::NOT_ENOUGH_REPLICAS_AFTER_APPEND];
    for (codes, is_idempotent, expected) in [
        (unsure, true, None),
        // A certain failure does not make the uncertain attempt before it certain.
        ([E::REQUEST_TIMED_OUT, E::NOT_ENOUGH_REPLICAS], true, None),
        (unsure, false, Some(Written::Unknown)),
        ([E::NOT_ENOUGH_REPLICAS; 2], true, Some(Written::No)),
    ] {
        let mut rig = Rig::new(|config| {
            config.set("retries", "1").unwrap();
            config.set("enable.idempotence", &is_idempotent.to_string()).unwrap();
        });
        let delivery = rig.send_and_linger(0);
        let mut first = None;
        for code in codes {
            let request = rig.request();
            assert_eq!(*first.get_or_insert_with(|| request.batches.clone()), request.batches);
            rig.settle(&request, code, -1);
            rig.pass(ms(1_000));
        }
        if let Some(written) = expected {
            assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Refused, written), "{codes:?}");
            assert!(rig.requests.is_empty(), "{codes:?}");
            continue;
        }
        for _ in 0..3 {
            let request = rig.request();
            assert_eq!((fate(&delivery), first.as_ref()), (Fate::Open, Some(&request.batches)));
            rig.settle(&request, E::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
            rig.pass(ms(1_300));
        }
        rig.pass(Duration::from_secs(120));
        let expired = Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown);
        assert_eq!(fate(&delivery), expired, "delivery.timeout.ms is the end of it");
    }
}

#[test]
fn one_batch_until_the_first_is_acknowledged_then_five() {
    let mut rig = Rig::new(|_| {});
    let _first = rig.send_and_linger(0);
    let _second = rig.send_and_linger(0);
    assert_eq!(rig.requests.len(), 1);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    let more: Vec<Delivery> = (0..7).map(|_| rig.send_and_linger(0)).collect();
    assert_eq!(rig.requests.len(), 5);
    for offset in 1..6 {
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, offset);
    }
    assert_eq!(fate(&more[0]), Fate::At(2));
}

#[test]
fn new_leader_gets_no_batch_before_old_one_answers() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let first = rig.send_and_linger(0);
    let asked = rig.request();
    rig.leaders = vec![(2, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(200));
    let second = rig.send_and_linger(0);
    assert!(rig.requests.is_empty(), "the old leader may yet answer");
    rig.settle(&asked, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    rig.pass(ms(500));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (2, &asked.batches));
    // The old batch is sent first.
    let next = rig.request();
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!((next.node, next.only()), (2, (0, 2, 1)));
    rig.settle(&next, ErrorCode::NONE, 2);
    assert_eq!((fate(&first), fate(&second)), (Fate::At(1), Fate::At(2)));
}

#[test]
fn late_success_of_expired_batch_closes_the_gap() {
    let Expired { mut rig, lost, again, next, after } = expired_in_flight();
    rig.settle(&again, ErrorCode::NONE, 1);
    rig.settle(&after, ErrorCode::NONE, 2);
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown), "nothing completes twice");
    let last = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.only(), (0, 3, 1), "nothing is missing in the log");
    rig.settle(&request, ErrorCode::NONE, 3);
    assert_eq!((fate(&next), fate(&last)), (Fate::At(2), Fate::At(3)));
}

#[test]
fn lost_expired_batch_breaks_the_sequence() {
    let Expired { mut rig, lost: _lost, again, next, after } = expired_in_flight();
    rig.settle(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    rig.settle(&after, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.pass(ms(300));
    let request = rig.request();
    assert_eq!(request.only(), (1, 0, 1));
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&next), Fate::At(1));
}

#[test]
fn batches_after_expired_one_wait_for_its_outcome() {
    for is_lost in [false, true] {
        let (mut rig, expired, again) = lost_and_sent_again();
        rig.pass(ms(496));
        assert_eq!(fate(&expired), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
        let next = rig.send_and_linger(0);
        assert!(rig.requests.is_empty(), "what is sent now could be refused for the gap, and be unknown too");
        match is_lost {
            true => rig.cut(1),
            false => rig.settle(&again, ErrorCode::NONE, 1),
        }
        rig.pass(ms(300));
        let request = rig.request();
        assert_eq!(request.only(), if is_lost { (1, 0, 1) } else { (0, 2, 1) });
        rig.settle(&request, ErrorCode::NONE, 2);
        assert_eq!(fate(&next), Fate::At(2));
    }
}

#[test]
fn refusal_of_expired_batch_closes_the_gate() {
    for code in [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID] {
        let (mut rig, _expired, again) = lost_and_sent_again();
        rig.pass(ms(496));
        let _next = rig.send_and_linger(0);
        rig.settle(&again, code, -1);
        rig.pass(ms(10));
        let first = rig.request();
        assert_eq!(first.only(), (1, 0, 1));
        let _more = rig.send_and_linger(0);
        assert!(rig.requests.is_empty(), "nothing of this epoch is acknowledged");
        rig.settle(&first, ErrorCode::NONE, 1);
        assert!(!rig.requests.is_empty());
    }
}

#[test]
fn batch_before_refused_one_keeps_its_sequence_and_completes_first() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    let requests: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    // The batch may be written, so it is retried under its own sequence numbers.
    rig.settle(&requests[0], ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1);
    rig.settle(&requests[1], ErrorCode::INVALID_RECORD, -1);
    rig.settle(&requests[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::Open), "the outcome of the first is told first");
    rig.pass(ms(500));
    let again = rig.request();
    assert_eq!((again.only(), &again.batches), ((0, 1, 1), &requests[0].batches));
    assert!(rig.requests.is_empty(), "what comes after goes under the next epoch, and not yet");
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(
        (fate(&deliveries[0]), fate(&deliveries[1])),
        (Fate::At(1), Fate::Failed(ErrorKind::Refused, Written::No))
    );
    rig.pass(ms(500));
    let last = rig.request();
    assert_eq!(last.only(), (1, 0, 1));
    rig.settle(&last, ErrorCode::NONE, 2);
    assert_eq!(fate(&deliveries[2]), Fate::At(2));
}

#[test]
fn out_of_order_at_the_head_continues_under_next_epoch() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    let requests: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    assert_eq!(requests.iter().map(Produce::only).collect::<Vec<_>>(), [(0, 1, 1), (0, 2, 1), (0, 3, 1)]);
    rig.settle(&requests[0], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.pass(ms(300));
    assert!(rig.requests.is_empty(), "two are in flight");
    rig.settle(&requests[1], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    rig.settle(&requests[2], ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    for sequence in 0..3 {
        rig.pass(ms(500));
        let request = rig.request();
        assert_eq!(request.only(), (1, sequence, 1));
        assert!(rig.requests.is_empty());
        rig.settle(&request, ErrorCode::NONE, i64::from(sequence) + 1);
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [Fate::At(1), Fate::At(2), Fate::At(3)]);
}

#[test]
fn possibly_written_batch_is_never_sent_under_another_epoch() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let (first, second) = (rig.send_and_linger(0), rig.send_and_linger(0));
    rig.requests.clear();
    rig.cut(1);
    rig.pass(ms(500));
    let again = rig.request();
    rig.settle(&again, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert_eq!(fate(&first), Fate::Failed(ErrorKind::Refused, Written::Unknown));
    assert_eq!(fate(&second), Fate::Failed(ErrorKind::Refused, Written::Unknown));
    let third = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.only(), (1, 0, 1));
    rig.settle(&request, ErrorCode::NONE, 3);
    assert_eq!(fate(&third), Fate::At(3));
}

#[test]
fn responses_of_old_topic_do_not_open_gate_to_recreated_one() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let old = rig.send_and_linger(0);
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    let new: Vec<Delivery> = (0..3).map(|_| rig.send_and_linger(0)).collect();
    assert!(rig.requests.is_empty());
    rig.settle(&asked, ErrorCode::NONE, 1);
    assert_eq!(fate(&old), Fate::At(1));
    rig.pass(ms(100));
    let first = rig.request();
    assert_eq!((first.topic_id, first.batches[0].epoch, first.batches[0].sequence), (rig.topic_id, 1, 0));
    let _more = rig.send_and_linger(0);
    assert!(rig.requests.is_empty(), "one, until it is acknowledged");
    rig.settle(&first, ErrorCode::NONE, 0);
    assert_eq!(fate(&new[0]), Fate::At(0));
}

#[test]
fn batches_sent_before_topic_recreation_fail() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let (sent, lost) = (rig.send_and_linger(0), rig.send_and_linger(0));
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.cut(1);
    rig.requests.clear();
    rig.pass(ms(1_000));
    assert!(rig.requests.is_empty(), "nothing is asked for them");
    assert_eq!(fate(&sent), Fate::Failed(ErrorKind::TopicRecreated, Written::No));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::TopicRecreated, Written::Unknown));
}

#[test]
fn partitions_of_recreated_topic_reuse_old_ids() {
    let mut rig = Rig::new(|config| config.metadata_max_age = ms(1_000));
    let ids = |rig: &Rig| rig.driver.accumulator.partition_ids().len();
    for round in 0..20u8 {
        (rig.topic_id, rig.leaders) = (Uuid([10 + round; 16]), vec![(1, 0); 1 + usize::from(round % 2) * 3]);
        rig.pass(ms(3_000));
    }
    assert_eq!(ids(&rig), 4);
    let lost = rig.send_and_linger(3);
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(1, 0)]);
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.pass(ms(3_000));
    // The topic grows, and is still the same topic.
    rig.leaders = vec![(1, 0); 4];
    rig.pass(ms(3_000));
    let asked = rig.request();
    rig.settle(&asked, ErrorCode::UNKNOWN_TOPIC_ID, -1);
    rig.pass(ms(1_000));
    assert_eq!(fate(&lost), Fate::Failed(ErrorKind::TopicRecreated, Written::No));
    let delivery = rig.send_and_linger(3);
    let request = rig.request();
    assert_eq!((request.topic_id, ids(&rig)), (rig.topic_id, 4));
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}
