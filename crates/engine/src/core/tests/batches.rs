//! Tests of batches: when they are sent, how they are split, and how they end.

use super::*;

#[test]
fn pieces_of_too_large_batch_keep_its_sequences() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let deliveries: Vec<Delivery> = (0..4).map(|_| rig.send(0, 100)).collect();
    rig.pass(ms(6));
    let follower = rig.send_and_linger(0);
    let (whole, after) = (rig.request(), rig.request());
    assert_eq!((whole.only(), after.only()), ((0, 1, 4), (0, 5, 1)));
    rig.settle(&whole, ErrorCode::MESSAGE_TOO_LARGE, -1);
    rig.settle(&after, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    for (sequence, count) in [(1, 2), (3, 2), (5, 1)] {
        rig.pass(ms(1_000));
        let request = rig.request();
        assert_eq!(request.only(), (0, sequence, count));
        rig.settle(&request, ErrorCode::NONE, sequence.into());
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [1, 2, 3, 4].map(Fate::At));
    assert_eq!((fate(&follower), rig.driver.accumulator.incomplete_count()), (Fate::At(5), 0));
}

#[test]
fn two_too_large_batches_are_split_together() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let mut deliveries: Vec<Delivery> = Vec::new();
    for _ in 0..3 {
        deliveries.extend((0..2).map(|_| rig.send(0, 100)));
        rig.pass(ms(6));
    }
    let whole: Vec<Produce> = (0..3).map(|_| rig.request()).collect();
    // The core gets all three responses before it acts on any of them.
    let too_large = ErrorCode::MESSAGE_TOO_LARGE;
    for (request, code) in whole.iter().zip([too_large, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, too_large]) {
        rig.answer_with(request, |answer| PartitionProduceResponse { error_code: code, ..answer });
    }
    rig.turn();
    for (sequence, count) in [(1, 1), (2, 1), (3, 2), (5, 1), (6, 1)] {
        rig.pass(ms(1_000));
        let request = rig.request();
        assert_eq!(request.only(), (0, sequence, count), "no gap, so no other epoch");
        rig.settle(&request, ErrorCode::NONE, sequence.into());
    }
    assert_eq!(deliveries.iter().map(fate).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6].map(Fate::At));
}

/// A rig where four records of 300 bytes make a batch ready and twelve fill it, and no batch is sent for its age.
fn patient() -> Rig {
    Rig::new(|config| (config.batch_size, config.linger) = (1_000, ms(10_000)))
}

#[test]
fn batch_ready_during_take_of_earlier_one_does_not_linger() {
    let mut rig = patient();
    rig.driver.held_takes = Some(VecDeque::new());
    let _first: Vec<Delivery> = (0..14).map(|_| rig.send(0, 300)).collect();
    rig.turn();
    let second: Vec<Delivery> = (0..4).map(|_| rig.send(0, 300)).collect();
    rig.turn();
    rig.driver.let_go();
    rig.turn();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 12);
    assert_eq!(fate(&second[0]), Fate::At(14));
}

#[test]
fn signals_in_any_order_make_batch_ready() {
    let mut rig = patient();
    rig.down = [1].into();
    let delivery = (0..4).map(|_| rig.send(0, 300)).last().unwrap();
    let signals = rig.driver.accumulator.take_signals();
    assert_eq!(signals.len(), 2);
    for signal in signals.into_iter().rev() {
        rig.handle(Input::Signal(signal));
    }
    rig.turn();
    rig.down.clear();
    rig.pass(ms(1_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(3));
}

#[test]
fn record_sent_during_abandon_fails_as_closed() {
    let mut rig = patient();
    // The core knows of one batch. The batch behind it is opened after the time of `Abandon`.
    let time_is_up = rig.now();
    let mut deliveries: Vec<Delivery> = (0..12).map(|_| rig.send(0, 300)).collect();
    rig.down = [1].into();
    rig.turn();
    rig.driver.clock.set(rig.now() + ms(1));
    deliveries.push(rig.send(0, 300));
    rig.driver.core.handle(Input::Abandon, time_is_up);
    rig.turn();
    for delivery in &deliveries {
        assert_eq!(fate(delivery), Fate::Failed(ErrorKind::Closed, Written::No));
    }
    assert_eq!(rig.driver.accumulator.incomplete_count(), 0);
}

#[test]
fn abandon_fails_batch_without_signal() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send(0, 10);
    drop(rig.driver.accumulator.take_signals());
    rig.handle(Input::Abandon);
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Closed, Written::No));
}

#[test]
fn abandon_fails_batch_that_is_being_taken() {
    let mut rig = Rig::new(|_| {});
    rig.driver.held_takes = Some(VecDeque::new());
    let delivery = rig.send_and_linger(0);
    rig.handle(Input::Abandon);
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Open);
    rig.driver.let_go();
    rig.turn();
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::Closed, Written::No));
}

#[test]
fn late_record_does_not_inherit_deadline_of_queued_batch() {
    let mut rig = Rig::new(|_| {});
    rig.down = [1].into();
    let mut deliveries = Vec::new();
    for _ in 0..40 {
        deliveries.push(rig.send(0, 10));
        rig.pass(ms(5_000));
    }
    // Of the 120 s of delivery.timeout.ms, a record that was sent 100 s ago has used no more than 15 s more.
    for delivery in deliveries.iter().rev().take(20) {
        assert_eq!(fate(delivery), Fate::Open);
    }
    assert!(matches!(fate(&deliveries[0]), Fate::Failed(ErrorKind::DeliveryTimeout, Written::No)));
}

#[test]
fn too_large_record_is_split_off_at_any_position() {
    for sizes in [[10, 10, 3_000], [10, 3_000, 10], [3_000, 10, 10]] {
        let mut rig = Rig::new(|_| {});
        rig.open_gate(0);
        let deliveries = sizes.map(|size| (size, rig.send(0, size)));
        rig.pass(ms(6));
        for _ in 0..20 {
            rig.pass(ms(500));
            let Some(request) = rig.requests.pop_front() else { break };
            let code = match request.batches[0].bytes.len() {
                ..2_000 => ErrorCode::NONE,
                _ => ErrorCode::MESSAGE_TOO_LARGE,
            };
            rig.settle(&request, code, 0);
        }
        for (size, delivery) in deliveries {
            let is_small = size == 10;
            match fate(&delivery) {
                Fate::At(_) => assert!(is_small),
                other => {
                    assert_eq!((is_small, other), (false, Fate::Failed(ErrorKind::RecordTooLarge, Written::No)));
                }
            }
        }
    }
}

#[test]
fn no_batch_lingers_while_a_sender_waits_for_memory() {
    let mut rig = Rig::new(|config| (config.linger, config.buffer_memory) = (ms(10_000), 2_048));
    let topic = rig.driver.accumulator.topic("t").unwrap();
    let value = [7; 900];
    let record = NewRecord { value: Some(&value), ..Default::default() };
    let mut placed = Placed::new(Choice::Partition(0), record);
    let mut deliveries = Vec::new();
    let missing = loop {
        match rig.driver.accumulator.append(&topic, &mut placed, &mut Delivery::new) {
            Ok(delivery) => deliveries.push(delivery),
            Err(AppendError::NoRoom(missing)) => break missing,
            Err(error) => panic!("{error:?}"),
        }
    };
    let deadline = rig.now() + ms(60_000);
    let mut waiting: VecDeque<_> = (0..3).map(|_| missing.wait(&rig.driver.accumulator, deadline)).collect();
    while let Some(mut first) = waiting.pop_front() {
        rig.turn();
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 0);
        rig.pass(ms(1));
        let Poll::Ready(permit) = Pin::new(&mut first).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("there is room")
        };
        let appended =
            rig.driver.accumulator.append_with(&topic, &mut placed, Some(permit.unwrap()), &mut Delivery::new);
        deliveries.push(appended.unwrap());
    }
    assert!(deliveries.iter().rev().skip(1).all(|delivery| matches!(fate(delivery), Fate::At(_))));
}

#[test]
fn record_sent_after_a_pause_has_its_own_delivery_timeout() {
    // How long the process was stopped, and how far the wall clock is off afterwards.
    for (pause, wall_off_ms) in [(ms(8_000), 0), (ms(826), 0), (ms(8_000), -9_000_000)] {
        let mut rig = Rig::new(|config| {
            (config.linger, config.delivery_timeout, config.request_timeout) = (ms(700), ms(2_000), ms(1_000));
        });
        let before = rig.send(0, 10);
        // The driver does not notice the pause, so the first batch is still open.
        rig.driver.clock.set(rig.now() + pause);
        rig.driver.clock.set_wall(wall_off_ms);
        let after = rig.send(0, 10);
        rig.down = rig.nodes.clone();
        rig.cut(1);
        rig.turn();
        rig.pass(ms(1_999));
        assert_eq!(fate(&before), Fate::Failed(ErrorKind::DeliveryTimeout, Written::No), "{pause:?}");
        assert_eq!(fate(&after), Fate::Open, "{pause:?}");
        rig.pass(ms(1));
        assert_eq!(fate(&after), Fate::Failed(ErrorKind::DeliveryTimeout, Written::No), "{pause:?}");
    }
}

/// A hurry removes lingering partitions from their list, so it reviews each of them once.
#[test]
fn memory_pressure_reviews_only_lingering_partitions() {
    const COUNT: i32 = 200;
    let mut rig =
        Rig::with(|config| config.linger = ms(60_000), |rig| rig.leaders = (0..COUNT).map(|_| (1, 0)).collect());
    rig.down = [1].into();
    rig.cut(1);
    let mut deliveries: Vec<Delivery> = (0..COUNT).map(|partition| rig.send(partition, 1)).collect();
    rig.turn();
    let lingering = |rig: &Rig| rig.driver.core.sender.lingering_count();
    assert_eq!(lingering(&rig), 200);
    rig.handle(Input::Signal(Signal::Pressure));
    assert_eq!(lingering(&rig), 0);
    rig.driver.clock.set(rig.now() + ms(1));
    let reviews = rig.driver.core.sender.reviews;
    rig.handle(Input::Signal(Signal::Pressure));
    assert_eq!(rig.driver.core.sender.reviews, reviews, "no partition is reviewed again");
    rig.driver.clock.set(rig.now() + ms(1));
    // A batch that is opened later lingers until the next hurry.
    rig.leaders.push((1, 0));
    rig.handle(Input::Wanted { topic: "t".into(), partitions: 201 });
    rig.pass(ms(200));
    deliveries.push(rig.send(COUNT, 1));
    rig.turn();
    assert_eq!(lingering(&rig), 1);
    rig.handle(Input::Hurry);
    rig.down.clear();
    rig.pass(ms(2_000));
    while let Some(request) = rig.requests.pop_front() {
        rig.settle(&request, ErrorCode::NONE, 0);
        rig.pass(ms(100));
    }
    assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::At(0)), "all go without lingering");
}

#[test]
fn maximal_durations_do_not_overflow() {
    let mut rig = Rig::new(|config| {
        for time in [
            &mut config.linger,
            &mut config.delivery_timeout,
            &mut config.request_timeout,
            &mut config.metadata_max_age,
            &mut config.retry_backoff,
            &mut config.retry_backoff_max,
            &mut config.connections_max_idle,
            &mut config.connection_setup_timeout,
            &mut config.connection_setup_timeout_max,
        ] {
            *time = Duration::MAX;
        }
    });
    let delivery = rig.send_and_linger(0);
    rig.handle(Input::Hurry);
    rig.turn();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

/// Sends to the first partitions for a minute, in `rounds` bursts. The broker takes batches of up to `limit` bytes.
/// Returns the time and size of each batch that it refused.
fn refusals_under_load(rig: &mut Rig, partitions: i32, limit: usize, rounds: u64) -> Vec<(Duration, usize)> {
    let (start, mut refused) = (rig.now(), Vec::new());
    for _ in 0..rounds {
        for partition in 0..partitions {
            for _ in 0..300 {
                rig.send(partition, 1_000).forget();
            }
        }
        let until = rig.now() + ms(60_000) / u32::try_from(rounds).unwrap();
        while rig.now() < until {
            rig.pass(ms(300).min(until - rig.now()));
            while let Some(request) = rig.requests.pop_front() {
                // As in Kafka, a batch that is too large is refused for its size even if an earlier one is missing.
                let bytes = request.batches.iter().map(|batch| batch.bytes.len()).max().unwrap_or_default();
                let at = rig.now() - start;
                refused.extend(request.batches.iter().filter(|b| b.bytes.len() > limit).map(|b| (at, b.bytes.len())));
                match bytes > limit {
                    true => rig.settle(&request, ErrorCode::MESSAGE_TOO_LARGE, -1),
                    false => rig.settle(&request, ErrorCode::NONE, 0),
                }
            }
        }
    }
    refused
}

#[test]
fn cap_of_a_topic_is_remembered_for_ten_minutes() {
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(1, 0), (2, 0)]);
    rig.open_gate(0);
    rig.open_gate(1);
    // The refusals of the first partition lower the cap of both.
    let mut refused = refusals_under_load(&mut rig, 1, 100_000, 10);
    assert!(!refused.is_empty() && refused.iter().all(|(at, _)| *at < ms(30_000)), "{refused:?}");
    for _ in 0..8 {
        refused = refusals_under_load(&mut rig, 2, 100_000, 4);
        assert!(refused.is_empty(), "{refused:?}");
    }
    // Afterwards the core tries whether the broker accepts larger batches by now.
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.extend(refusals_under_load(&mut rig, 2, 100_000, 4));
    }
    assert!((1..=10).contains(&sizes.len()), "{sizes:?}");
}

/// Requests hold about nine batches of this test. The first take does not know that yet.
#[test]
fn take_looks_at_no_more_partitions_than_a_request_holds() {
    let mut rig = Rig::with(|config| config.max_request_size = 10_000, |rig| rig.leaders = vec![(1, 0); 200]);
    let mut looked_at = Vec::new();
    for _ in 0..2 {
        let deliveries: Vec<Delivery> = (0..200).map(|partition| rig.send(partition, 1_000)).collect();
        rig.driver.held_takes = Some(VecDeque::new());
        rig.turn();
        rig.pass(ms(6));
        looked_at.extend(rig.driver.held_takes.iter().flatten().map(|taken| taken.left.len()));
        rig.driver.let_go();
        for _ in 0..200 {
            rig.turn();
            if let Some(request) = rig.requests.pop_front() {
                rig.settle(&request, ErrorCode::NONE, 0);
            }
        }
        assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::At(0)));
    }
    assert_eq!(looked_at, [200, 13]);
}
