//! Tests of topics that are not used for `metadata.max.idle.ms`: every part forgets them, and they can come back.

use super::*;
use crate::accumulator::PartitionId;

/// Returns a rig that forgets idle topics after five to ten seconds.
fn rig() -> Rig {
    Rig::new(|config| {
        config.set("metadata.max.age.ms", "2000").unwrap();
        config.set("metadata.max.idle.ms", "5000").unwrap();
        config.set("delivery.timeout.ms", "20000").unwrap();
        config.set("request.timeout.ms", "10000").unwrap();
    })
}

/// Returns whether the accumulator, the metadata and the sender know the topic or a partition of it.
fn kept(rig: &Rig) -> [bool; 3] {
    let TestDriver { accumulator, core, .. } = &rig.driver;
    [
        accumulator.topic("t").is_some() || !accumulator.partition_ids().is_empty(),
        core.cx.metadata.partitions().next().is_some(),
        core.sender.has_partitions(),
    ]
}

impl Rig {
    /// Lets a sender wait for the topic until it is found.
    fn learn(&mut self) {
        self.handle(Input::Signal(Signal::Wanted { topic: "t".into(), partitions: 0 }));
        self.turn();
        assert!(self.driver.accumulator.topic("t").is_some());
    }
}

#[test]
fn unused_topic_is_forgotten_and_not_asked_for() {
    let mut rig = rig();
    rig.open_gate(0);
    // Each use restarts the idle time.
    rig.pass(ms(4_000));
    rig.send_and_linger(0).forget();
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    rig.pass(ms(4_000));
    assert_eq!((kept(&rig), rig.topics_asked.last().unwrap().len()), ([true; 3], 1));
    rig.pass(ms(5_000));
    assert_eq!((kept(&rig), rig.topics_asked.last().unwrap().len()), ([false; 3], 0));
}

#[test]
fn forgotten_partition_comes_back_at_the_epoch_floor_with_the_gate_closed() {
    let mut rig = rig();
    rig.open_gate(0);
    for epoch in 1..=3 {
        rig.pass(ms(10_000));
        assert_eq!(kept(&rig), [false; 3]);
        rig.learn();
        let deliveries = [rig.send_and_linger(0), rig.send_and_linger(0)];
        let first = rig.request();
        assert_eq!((first.only(), rig.requests.len()), ((epoch, 0, 1), 0), "one batch until the first answer");
        rig.settle(&first, ErrorCode::NONE, 0);
        let second = rig.request();
        assert_eq!(second.only(), (epoch, 1, 1));
        rig.settle(&second, ErrorCode::NONE, 1);
        assert_eq!(deliveries.each_ref().map(fate), [Fate::At(0), Fate::At(1)]);
    }
    assert_eq!(rig.producer_ids_asked, 1);
}

#[test]
fn topic_recreated_while_forgotten_gets_next_records() {
    let mut rig = rig();
    rig.open_gate(0);
    rig.pass(ms(10_000));
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(2, 0)]);
    rig.learn();
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!((request.node, request.topic_id, request.only()), (2, Uuid([8; 16]), (1, 0, 1)));
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn topic_with_data_is_in_use() {
    type Arrange = fn(&mut Rig) -> Delivery;
    let cases: [(&str, Arrange); 4] = [
        ("in flight", |rig| rig.send_and_linger(0)),
        ("without a leader", |rig| {
            rig.leaders = vec![(-1, 1)];
            rig.driver.core.cx.metadata.doubt();
            rig.pass(ms(1_000));
            rig.send_and_linger(0)
        }),
        ("to be sent again", |rig| {
            let delivery = rig.send_and_linger(0);
            rig.down = rig.nodes.clone();
            rig.cut(1);
            rig.turn();
            delivery
        }),
        ("behind a batch that was not answered", |rig| {
            rig.send_and_linger(0).forget();
            rig.send_and_linger(0)
        }),
    ];
    for (what, arrange) in cases {
        let mut rig = rig();
        let delivery = arrange(&mut rig);
        rig.pass(ms(9_500));
        assert_eq!((kept(&rig), fate(&delivery)), ([true; 3], Fate::Open), "{what}");
        let is_asked_for = rig.topics_asked.last().unwrap().iter().any(|topic| topic == "t");
        assert!(is_asked_for, "{what}");
        // The topic is forgotten only when none of its batches can arrive any more.
        rig.pass(ms(25_000));
        assert!(!matches!(fate(&delivery), Fate::Open), "{what}");
        rig.down.clear();
        rig.pass(ms(30_000));
        assert_eq!(kept(&rig), [false; 3], "{what}");
    }
}

#[test]
fn topic_is_kept_while_a_failed_batch_may_arrive() {
    let mut rig = rig();
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    // The broker's error is final, but leaves open whether the batch was written.
    rig.pass(ms(9_000));
    rig.down = rig.nodes.clone();
    rig.cut(request.node);
    rig.pass(ms(12_000));
    assert_eq!(fate(&delivery), Fate::Failed(ErrorKind::DeliveryTimeout, Written::Unknown));
    rig.down.clear();
    rig.pass(ms(15_000));
    assert!(kept(&rig)[2], "until delivery.timeout.ms after that");
    rig.pass(ms(15_000));
    assert_eq!(kept(&rig), [false; 3]);
}

#[test]
fn topic_is_asked_for_while_a_sender_waits() {
    let mut rig = rig();
    rig.handle(Input::Signal(Signal::Wanted { topic: "gone".into(), partitions: 0 }));
    rig.handle(Input::Signal(Signal::Wanted { topic: "t".into(), partitions: 9 }));
    rig.pass(ms(30_000));
    let mut asked = rig.topics_asked.last().cloned().unwrap();
    asked.sort_unstable();
    assert_eq!((asked, kept(&rig)[1]), (vec!["gone".to_owned(), "t".to_owned()], true));
    for topic in ["gone", "t"] {
        rig.handle(Input::Unwanted(topic.into()));
    }
    rig.pass(ms(10_000));
    assert_eq!((rig.topics_asked.last().unwrap().len(), kept(&rig)), (0, [false; 3]));
}

#[test]
fn record_appended_while_its_topic_is_being_forgotten_is_delivered() {
    let mut rig = rig();
    rig.open_gate(0);
    let end = rig.now() + ms(20_000);
    let retire = loop {
        assert!(rig.now() < end, "the topic is idle");
        let next = rig.driver.core.next_timeout(rig.now()).unwrap();
        rig.driver.clock.set(next);
        rig.driver.tell();
        let mut retire = None;
        while let Some(action) = rig.driver.core.poll_action() {
            match action {
                Action::Local(LocalAction::Retire { .. }) => retire = Some(action),
                action => rig.act(action),
            }
        }
        if let Some(retire) = retire {
            break retire;
        }
    };
    let delivery = rig.send(0, 10);
    rig.act(retire);
    rig.pass(ms(6));
    let request = rig.request();
    assert_eq!(request.only(), (0, 1, 1), "the partition is the same");
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn late_signals_of_a_forgotten_partition_change_nothing() {
    let mut rig = rig();
    rig.open_gate(0);
    rig.pass(ms(10_000));
    let (since, partition) = (rig.now(), PartitionId(0));
    rig.handle(Input::Signal(Signal::Full { partition }));
    rig.handle(Input::Signal(Signal::Opened { partition, since, is_full: true }));
    rig.pass(ms(1_000));
    assert_eq!(kept(&rig), [false; 3]);
    // The topic comes back with new partition ids.
    rig.learn();
    assert_eq!(rig.driver.accumulator.partition_ids(), [PartitionId(1)]);
}
