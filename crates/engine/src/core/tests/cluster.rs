//! Tests of nodes and metadata: connections, leaders, topics, and finding the cluster.

use super::*;

#[test]
fn throttled_node_is_muted_for_limited_time() {
    for (throttle_time_ms, version, pause) in [
        (1_000, 13, ms(1_000)),
        (i32::MAX, 13, ms(120_000)),
        (-1_000, 13, ms(0)),
        (i32::MIN, 13, ms(0)),
        // In this version the broker waits before it answers.
        (1_000, 5, ms(0)),
    ] {
        let mut rig = Rig::with(
            |_| {},
            |rig| {
                if version == 5 {
                    rig.versions = |version| Some((version, offer(&[(0, 5), (3, 13), (22, 5)])));
                }
            },
        );
        rig.open_gate(0);
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let answer = PartitionProduceResponse { base_offset: 1, ..Default::default() };
        let topic_id = request.topic_id;
        let topic = TopicProduceResponse { name: "t".to_owned(), topic_id, partition_responses: vec![answer] };
        rig.reply(&request, &ProduceResponse { responses: vec![topic], throttle_time_ms, ..Default::default() });
        assert_eq!(fate(&delivery), Fate::At(1));
        if let Some(almost) = pause.checked_sub(ms(100)) {
            rig.pass(almost);
            let _waits = rig.send(0, 10);
            rig.pass(ms(99));
            assert!(rig.requests.is_empty(), "{throttle_time_ms}");
        }
        let _next = rig.send(0, 10);
        rig.pass(ms(10));
        assert_eq!(rig.requests.len(), 1, "{throttle_time_ms}");
    }
}

#[test]
fn partition_with_moved_leader_leaves_queue_of_dead_node() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let asked = rig.request();
    rig.down = [1].into();
    rig.cut(1);
    // The batch waits for the dead node, because metadata still names it as the leader.
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(2, 1)];
    rig.pass(ms(2_000));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (2, &asked.batches));
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn open_batch_of_removed_leader_waits_for_next_leader() {
    let mut rig = Rig::new(|_| {});
    // The last metadata for the partition is older than the known one, and the cluster has lost node 1 since.
    for (leader_epoch, nodes) in [(5, vec![1, 2, 3]), (4, vec![2, 3])] {
        (rig.leaders, rig.nodes) = (vec![(1, leader_epoch)], nodes.into_iter().collect());
        rig.driver.core.cx.metadata.doubt();
        rig.pass(ms(1_000));
    }
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(3, 6)];
    rig.pass(ms(3_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((request.node, fate(&delivery)), (3, Fate::At(0)));
}

#[test]
fn hint_that_moves_a_node_keeps_batches_in_flight_to_it() {
    let mut rig = Rig::new(|_| {});
    rig.leaders = vec![(1, 1), (2, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    let deliveries = [rig.send_and_linger(0), rig.send_and_linger(1)];
    let (to_1, to_2) = (rig.request(), rig.request());
    assert_eq!((to_1.node, to_2.node), (1, 2));
    // The cluster no longer names node 2, but the connection to it stays.
    (rig.nodes, rig.leaders) = ([1, 3].into(), vec![(1, 1), (2, 0)]);
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    let answer = PartitionProduceResponse {
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        current_leader: LeaderIdAndEpoch { leader_id: 2, leader_epoch: 9 },
        ..Default::default()
    };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    let node = NodeEndpoint { node_id: 2, host: "n2".to_owned(), port: 9093, rack: None };
    rig.reply(&to_1, &ProduceResponse { responses: vec![topic], node_endpoints: vec![node], ..Default::default() });
    rig.pass(ms(1_000));
    for request in std::mem::take(&mut rig.requests) {
        assert_eq!(request.node, 2);
        rig.settle(&request, ErrorCode::NONE, 0);
    }
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(0), Fate::At(0)]);
}

#[test]
fn hint_to_unknown_node_is_followed_at_once() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    let answer = PartitionProduceResponse {
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        current_leader: LeaderIdAndEpoch { leader_id: 4, leader_epoch: 1 },
        ..Default::default()
    };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    let node = NodeEndpoint { node_id: 4, host: "n4".to_owned(), port: 9092, rack: None };
    rig.reply(&request, &ProduceResponse { responses: vec![topic], node_endpoints: vec![node], ..Default::default() });
    let again = rig.request();
    assert_eq!((again.node, again.batches == request.batches), (4, true));
    rig.settle(&again, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn busy_node_does_not_prevent_asking_another() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    // The only connection is to node 1, which throttles.
    rig.down = [SEED].into();
    rig.cut(SEED);
    rig.pass(ms(1_000));
    let others: Vec<i32> = rig.connections.values().copied().filter(|node| *node != 1).collect();
    rig.down.extend(&others);
    others.iter().for_each(|node| rig.cut(*node));
    let _delivery = rig.send_and_linger(0);
    let request = rig.request();
    let answer = PartitionProduceResponse { error_code: ErrorCode::LEADER_NOT_AVAILABLE, ..Default::default() };
    let topic =
        TopicProduceResponse { topic_id: rig.topic_id, partition_responses: vec![answer], ..Default::default() };
    rig.down = [SEED].into();
    let before = rig.metadata_asked;
    rig.reply(&request, &ProduceResponse { responses: vec![topic], throttle_time_ms: 60_000, ..Default::default() });
    rig.pass(ms(5_000));
    assert!(rig.metadata_asked > before);
}

#[test]
fn idle_connections_are_closed_without_metadata_refresh() {
    let mut rig = Rig::new(|config| config.connections_max_idle = ms(5_000));
    rig.open_gate(0);
    let before = rig.metadata_asked;
    rig.pass(ms(20_000));
    assert_eq!((rig.connections.len(), rig.metadata_asked), (0, before));
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn new_topic_is_asked_of_each_node_until_one_answers() {
    let mut rig = Rig::new(|config| config.connections_max_idle = ms(5_000));
    rig.pass(ms(20_000));
    assert_eq!(rig.connections.len(), 0);
    rig.silent = [SEED, 1, 2, 3].into();
    rig.handle(Input::Signal(Signal::Wanted { topic: "new".into(), partitions: 0 }));
    // This is sooner than any connection attempt times out.
    rig.pass(ms(4_000));
    let tried: BTreeSet<i32> = rig.connections.values().copied().collect();
    assert_eq!(tried, rig.silent);
}

#[test]
fn response_to_acks_0_request_is_ignored_once() {
    let mut rig = Rig::new(|config| {
        config.set("acks", "0").unwrap();
        config.set("enable.idempotence", "false").unwrap();
    });
    let deliveries = [rig.send_and_linger(0), rig.send_and_linger(0)];
    assert!(deliveries.iter().all(|delivery| fate(delivery) == Fate::At(-1)));
    let (first, second) = (rig.request(), rig.request());
    for request in [&first, &second] {
        rig.settle(request, ErrorCode::NONE, 0);
    }
    let _third = rig.send_and_linger(0);
    assert_eq!(rig.request().connection, first.connection);
    // A second response to the same request is an error.
    rig.settle(&second, ErrorCode::NONE, 0);
    assert!(!rig.connections.contains_key(&first.connection));
}

#[test]
fn bootstrap_servers_find_moved_cluster_without_duplicates() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    let before = rig.request();
    rig.lose_nodes();
    (rig.nodes, rig.leaders) = ([4, 5, 6].into(), vec![(4, 1)]);
    rig.pass(ms(2_000));
    let again = rig.request();
    assert_eq!((again.node, &again.batches), (4, &before.batches));
    rig.settle(&again, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn bootstrap_servers_are_not_asked_without_recovery() {
    let mut rig = Rig::new(|config| config.set("metadata.recovery.strategy", "none").unwrap());
    rig.open_gate(0);
    let _delivery = rig.send_and_linger(0);
    rig.requests.clear();
    rig.lose_nodes();
    rig.pass(ms(100));
    let before = rig.metadata_asked;
    rig.pass(ms(60_000));
    assert_eq!(rig.metadata_asked, before);
    rig.down.clear();
    rig.pass(ms(2_000));
    assert!(rig.metadata_asked > before);
    assert_eq!(rig.requests.len(), 1);
}

#[test]
fn sent_batches_fail_and_unsent_ones_continue_in_new_cluster() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let sent = rig.send_and_linger(0);
    let before = rig.request();
    let gathered = rig.send(0, 10);
    rig.lose_nodes();
    // The cluster was re-created at the same addresses.
    (rig.cluster_id, rig.topic_id, rig.leaders) = ("d", Uuid([8; 16]), vec![(2, 0)]);
    rig.pass(ms(100));
    rig.down = [1].into();
    rig.pass(ms(5_000));
    assert_eq!(fate(&sent), Fate::Failed(ErrorKind::TopicRecreated, Written::Unknown));
    let request = rig.request();
    assert_eq!((request.only(), request.topic_id), ((0, 0, 1), Uuid([8; 16])));
    assert_ne!(request.batches[0].id, before.batches[0].id);
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&gathered), Fate::At(0));
}

#[test]
fn metadata_from_node_of_another_cluster_is_ignored() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.cut(SEED);
    rig.astray = [(2, "d"), (3, "d")].into();
    (rig.down, rig.topic_id) = ([SEED, 1].into(), Uuid([8; 16]));
    rig.cut(1);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    assert!(rig.driver.core.obstacles().unwrap().contains("it belongs to cluster d, not to c"));
    (rig.topic_id, rig.down) = (Uuid([7; 16]), BTreeSet::new());
    rig.pass(ms(2_000));
    let request = rig.request();
    assert_eq!((request.node, request.only()), (1, (0, 1, 1)));
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn failing_metadata_leads_back_to_bootstrap_servers() {
    for (refusal, patience) in
        [(ErrorCode::UNKNOWN_SERVER_ERROR, ms(20_000)), (ErrorCode::REBOOTSTRAP_REQUIRED, ms(10))]
    {
        let mut rig = Rig::new(|config| config.rebootstrap_trigger = ms(20_000));
        rig.open_gate(0);
        rig.cut(SEED);
        rig.metadata_refusal = refusal;
        rig.connects.clear();
        let is_asked = |rig: &Rig| rig.connects.iter().any(|(host, _)| host == "seed");
        rig.pass(patience);
        assert!(!is_asked(&rig), "{refusal}");
        rig.pass(ms(1_500));
        assert!(is_asked(&rig), "{refusal}");
    }
}

#[test]
fn slow_metadata_answer_makes_core_ask_another_node() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.down = [SEED].into();
    rig.cut(SEED);
    rig.pass(ms(1_000));
    // All nodes but one are mute, and the core asks one of those first.
    rig.mute = [1, 2].into();
    rig.leaders = vec![(3, 1)];
    let before = rig.metadata_asked;
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(2_500));
    assert!(rig.metadata_asked > before);
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.node, 3);
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
    // If no node answers, the core asks each of them once.
    rig.mute.insert(3);
    let before = rig.metadata_asked;
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(20_000));
    assert!(rig.metadata_asked - before <= 3, "{}", rig.metadata_asked - before);
}

#[test]
fn leaders_in_the_rack_are_published_while_racks_count() {
    for (is_aware, before, after) in [(true, &[0, 2][..], &[1][..]), (false, &[], &[])] {
        let mut rig = Rig::with(
            |config| (config.rack_aware, config.client_rack) = (is_aware, "a".to_owned()),
            |rig| {
                rig.racks = [(1, "a"), (2, "b")].into();
                rig.leaders = vec![(1, 0), (2, 0), (1, 0), (-1, 0)];
            },
        );
        let in_rack = |rig: &Rig| rig.driver.accumulator.topic("t").unwrap().in_rack();
        assert_eq!(in_rack(&rig), before, "{is_aware}");
        // The nodes come back with their racks swapped.
        rig.racks = [(1, "b"), (2, "a")].into();
        rig.driver.core.cx.metadata.doubt();
        rig.pass(ms(300));
        assert_eq!(in_rack(&rig), after, "{is_aware}");
    }
}

#[test]
fn leader_from_hint_is_published_with_next_metadata() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let request = rig.request();
    rig.leaders = vec![(-1, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(300));
    let is_led = |rig: &Rig| {
        rig.driver.accumulator.topic("t").unwrap().with_view(|view| view.available().to_vec()).unwrap() == [0]
    };
    assert!(!is_led(&rig));
    rig.leaders = vec![(2, 2)];
    let mut asked = request;
    // A hint that is not newer has no effect, and neither has one that names no node.
    for (leader_id, leader_epoch) in [(2, 2), (3, 2), (-1, 9)] {
        rig.settle_with(&asked, |answer| PartitionProduceResponse {
            error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            current_leader: LeaderIdAndEpoch { leader_id, leader_epoch },
            ..answer
        });
        assert_eq!(rig.requests.len(), usize::from(leader_id == 2), "only what is news is followed at once");
        rig.pass(ms(2_000));
        assert!(is_led(&rig));
        asked = rig.request();
        assert_eq!(asked.node, 2);
    }
    rig.settle(&asked, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn missing_topic_is_asked_for_only_after_backoff() {
    let mut rig = Rig::new(|_| {});
    let before = rig.metadata_asked;
    // `try_send` does the same on each call.
    for _ in 0..1_000 {
        rig.handle(Input::Signal(Signal::Wanted { topic: "gone".into(), partitions: 0 }));
        rig.pass(ms(1));
    }
    let asked = rig.metadata_asked - before;
    assert!((2..=6).contains(&asked), "{asked}");
}

#[test]
fn moved_node_gets_same_bytes_at_new_address() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let before = rig.request();
    rig.hosts = [(1, "x1".to_owned())].into();
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    let again = rig.request();
    assert_eq!(rig.connects.last().unwrap().0, "x1");
    assert!(!rig.connections.contains_key(&before.connection));
    assert_eq!((again.node, &again.batches), (1, &before.batches));
    rig.settle(&again, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn two_nodes_at_one_address_stay_distinct() {
    let mut rig = Rig::with(
        |_| {},
        |rig| {
            rig.leaders = vec![(1, 0), (2, 0)];
            rig.hosts = [(2, "n1".to_owned())].into();
        },
    );
    let deliveries = [rig.send(0, 10), rig.send(1, 10)];
    rig.pass(ms(6));
    let (first, second) = (rig.request(), rig.request());
    assert_ne!(first.connection, second.connection);
    rig.settle(&first, ErrorCode::NONE, 0);
    rig.settle(&second, ErrorCode::NONE, 0);
    assert_eq!(deliveries.each_ref().map(fate), [Fate::At(0), Fate::At(0)]);
}

#[test]
fn topic_without_partitions_or_error_counts_as_missing() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    let partitions = |rig: &Rig| rig.driver.accumulator.topic("t").unwrap().partition_count();
    rig.leaders = Vec::new();
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    assert_eq!(rig.driver.core.topic_error("t"), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(partitions(&rig), 1);
    // Partitions without a leader are no reason to give up either.
    rig.leaders = vec![(-1, 1), (-1, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_000));
    assert_eq!((rig.driver.core.topic_error("t"), partitions(&rig)), (None, 2));
    let delivery = rig.send_and_linger(1);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.leaders = vec![(-1, 1), (3, 2)];
    rig.pass(ms(2_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!((request.node, fate(&delivery)), (3, Fate::At(0)));
}

#[test]
fn many_failed_partitions_share_one_refresh_with_backoff() {
    const COUNT: i32 = 200;
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = (0..COUNT).map(|_| (1, 0)).collect());
    let deliveries: Vec<Delivery> = (0..COUNT).map(|partition| rig.send(partition, 10)).collect();
    rig.pass(ms(6));
    let before = rig.metadata_asked;
    let (mut produced, start) = (0, rig.now());
    while rig.now() < start + ms(10_000) {
        for request in std::mem::take(&mut rig.requests) {
            produced += request.batches.len();
            rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        }
        if rig.now() == start {
            assert_eq!(rig.metadata_asked, before + 1);
        }
        rig.pass(ms(10));
    }
    // Retries wait about 0.1, 0.2, 0.4, 0.8 and then 1 second each, with 20 % jitter.
    let asked = rig.metadata_asked - before;
    assert!((8..=16).contains(&asked), "{asked}");
    let each = produced as f64 / f64::from(COUNT);
    assert!((8.0..=16.0).contains(&each), "{each}");
    drop(deliveries);
}

#[test]
fn api_versions_falls_back_to_lower_versions() {
    fn refuse(highest: Option<i16>) -> Option<(i16, ApiVersionsResponse)> {
        let offered: Vec<(i16, i16)> = highest.map(|highest| (18, highest)).into_iter().collect();
        Some((0, ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..offer(&offered) }))
    }
    fn accept(version: i16) -> Option<(i16, ApiVersionsResponse)> {
        Some((version, offer(&[(0, 9), (3, 9), (18, 2), (22, 3)])))
    }
    for (versions, expected) in [
        // The broker names its highest version, or none, or a useless one.
        ((|version| if version > 2 { refuse(Some(2)) } else { accept(version) }) as fn(i16) -> _, &[5, 2][..]),
        (|version| if version > 0 { refuse(None) } else { accept(version) }, &[5, 0]),
        (|version| if version > 1 { refuse(Some(99)) } else { accept(version) }, &[5, 4, 3, 2, 1]),
        // The broker closes the connection.
        (|version| if version > 0 { None } else { accept(version) }, &[5, 5, 0]),
    ] {
        let rig = Rig::with(|_| {}, |rig| rig.versions = versions);
        assert!(rig.versions_asked.starts_with(expected), "{:?} and not {expected:?}", rig.versions_asked);
        assert!(rig.metadata_asked > 0);
    }
    let mut rig = Rig::new(|_| {});
    rig.versions = |_| Some((0, ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..offer(&[]) }));
    rig.cut(1);
    let _delivery = rig.send_and_linger(0);
    rig.versions_asked.clear();
    rig.pass(ms(10_000));
    assert!(rig.versions_asked.len() < 100, "{}", rig.versions_asked.len());
}

/// Returns the intervals between connection attempts to a host.
fn gaps(rig: &Rig, host: &str) -> Vec<u128> {
    let times: Vec<Instant> = rig.connects.iter().filter(|(other, _)| other == host).map(|(_, begun)| *begun).collect();
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[test]
fn failing_host_is_retried_with_backoff() {
    for (is_silent, expected) in [
        (false, &[100, 200, 400, 800, 1_000, 1_000][..]),
        // Each attempt may take longer than the one before, and is followed by a short backoff.
        (true, &[10_000 + 100, 20_000 + 200, 30_000 + 400, 30_000 + 800]),
    ] {
        let mut rig = Rig::new(|config| config.set("delivery.timeout.ms", "3600000").unwrap());
        rig.open_gate(0);
        if is_silent {
            rig.silent = [1].into()
        } else {
            rig.down = [1].into()
        }
        rig.cut(1);
        rig.connects.clear();
        let _delivery = rig.send_and_linger(0);
        rig.pass(ms(150_000));
        let gaps = gaps(&rig, "n1");
        for (gap, expected) in gaps.iter().zip(expected) {
            assert!((expected * 79 / 100..=expected * 121 / 100).contains(gap), "{gaps:?} and not {expected:?}");
        }
        assert!(gaps.len() >= expected.len(), "{gaps:?}");
    }
}

#[test]
fn election_in_metadata_ends_retry_backoff() {
    for (leader, epoch, is_prompt) in [(2, 1, true), (1, 1, true), (1, 0, false)] {
        let mut rig = Rig::new(|config| config.set("retry.backoff.max.ms", "60000").unwrap());
        let _delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        rig.pass(ms(1));
        assert!(rig.requests.is_empty());
        rig.pass(ms(150));
        let again = rig.request();
        // The second retry would wait for 200 ms, but the core asks for metadata at once.
        rig.leaders = vec![(leader, epoch)];
        rig.settle(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        rig.pass(ms(10));
        assert_eq!(rig.requests.len(), usize::from(is_prompt), "{leader} {epoch}");
    }
}

#[test]
fn missing_partitions_are_asked_for_while_a_sender_waits() {
    let mut rig = Rig::new(|_| {});
    let wait = |rig: &mut Rig| {
        rig.handle(Input::Wanted { topic: "t".into(), partitions: 2 });
        rig.turn();
        let before = rig.metadata_asked;
        rig.pass(ms(10_000));
        rig.metadata_asked - before
    };
    assert!((8..=16).contains(&wait(&mut rig)));
    // No sender waits, or the topic was refused, which failed all waiting senders.
    rig.handle(Input::Unwanted("t".into()));
    let before = rig.metadata_asked;
    rig.pass(ms(10_000));
    assert!(rig.metadata_asked <= before + 1);
    rig.topic_refusal = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    assert_eq!(wait(&mut rig), 0);
    rig.topic_refusal = ErrorCode::NONE;
    // Repeated signals make no difference.
    let before = rig.metadata_asked;
    for _ in 0..1_000 {
        rig.handle(Input::Signal(Signal::Wanted { topic: "t".into(), partitions: 2 }));
        rig.pass(ms(10));
    }
    assert!((8..=16).contains(&(rig.metadata_asked - before)), "{}", rig.metadata_asked - before);
    rig.leaders = vec![(1, 0), (1, 0)];
    assert_eq!(wait(&mut rig), 1);
    assert_eq!(rig.driver.accumulator.topic("t").unwrap().partition_count(), 2);
}

/// A rig where node 1 leads partitions 0 and 1, and node 2 leads partitions 2 and 3. A node stalls after one second. It
/// accepts five requests at once, which may all be for partition 0.
fn stalling(change: impl FnOnce(&mut Config)) -> Rig {
    let change = |config: &mut Config| {
        config.availability_timeout = ms(1_000);
        config.delivery_timeout = ms(120_000);
        change(config);
    };
    let mut rig = Rig::with(change, |rig| rig.leaders = vec![(1, 0), (1, 0), (2, 0), (2, 0)]);
    rig.open_gate(0);
    rig
}

/// Returns the partitions that records without a key avoid.
fn left_out(rig: &Rig) -> Vec<i32> {
    rig.driver.accumulator.left_out("t")
}

#[test]
fn records_without_a_key_avoid_stalled_node_until_it_recovers() {
    type Story = fn(&mut Rig);
    let busy: Story = |rig| {
        let _five: Vec<_> = (0..5).map(|_| rig.send_and_linger(0)).collect();
        rig.send(1, 10).forget();
    };
    // Partition 1 may have only one unacknowledged batch.
    let at_the_gate: Story = |rig| {
        rig.send_and_linger(1).forget();
        rig.send(1, 10).forget();
    };
    let down: Story = |rig| {
        rig.down = [1].into();
        rig.cut(1);
        rig.send(0, 10).forget();
    };
    for (name, story) in [("busy", busy), ("at the gate", at_the_gate), ("down", down)] {
        let mut rig = stalling(|_| {});
        // A node without work does not stall.
        rig.pass(ms(5_000));
        story(&mut rig);
        rig.turn();
        rig.pass(ms(900));
        assert!(left_out(&rig).is_empty(), "{name}");
        rig.pass(ms(120));
        assert_eq!(left_out(&rig), [0, 1], "{name}");
        rig.pass(ms(5_000));
        assert_eq!(left_out(&rig), [0, 1], "{name}: still");
        // The node answers all requests, or accepts connections again.
        rig.down.clear();
        for request in std::mem::take(&mut rig.requests) {
            rig.settle(&request, ErrorCode::NONE, 1);
        }
        rig.pass(ms(1_100));
        assert!(left_out(&rig).is_empty(), "{name}: no more");
    }
}

#[test]
fn slow_node_that_accepts_requests_is_not_stalled() {
    let mut rig = stalling(|_| {});
    for _ in 0..10 {
        rig.send_and_linger(0).forget();
        rig.send_and_linger(0).forget();
        rig.pass(ms(900));
        assert!(left_out(&rig).is_empty());
        for request in std::mem::take(&mut rig.requests) {
            rig.settle(&request, ErrorCode::NONE, 1);
        }
    }
}

#[test]
fn stalled_node_is_not_avoided_if_disabled() {
    for key in ["partitioner.availability.timeout.ms", "partitioner.adaptive.partitioning.enable"] {
        let mut rig = stalling(|config| config.set(key, if key.ends_with("ms") { "0" } else { "false" }).unwrap());
        rig.send_and_linger(1).forget();
        rig.send(1, 10).forget();
        rig.pass(ms(20_000));
        assert!(left_out(&rig).is_empty(), "{key}");
    }
}

#[test]
fn stalled_node_without_work_is_tried_again() {
    let mut rig = stalling(|config| (config.request_timeout, config.delivery_timeout) = (ms(30_000), ms(40_000)));
    rig.down = [1].into();
    rig.cut(1);
    let delivery = rig.send(1, 10);
    rig.pass(ms(39_000));
    assert_eq!((left_out(&rig), fate(&delivery)), (vec![0, 1], Fate::Open));
    rig.pass(ms(3_000));
    assert!(matches!(fate(&delivery), Fate::Failed(..)));
    assert!(left_out(&rig).is_empty());
}

#[test]
fn stall_follows_current_leader_of_partition() {
    let mut rig = stalling(|_| {});
    rig.send_and_linger(1).forget();
    rig.send(1, 10).forget();
    rig.pass(ms(1_500));
    assert_eq!(left_out(&rig), [0, 1]);
    rig.leaders = vec![(2, 1), (1, 0), (1, 1), (2, 0)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_500));
    assert_eq!(left_out(&rig), [1, 2]);
    // The topic grows, and the node leads the new partition.
    rig.leaders.push((1, 0));
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_500));
    assert_eq!(left_out(&rig), [1, 2, 4]);
}

#[test]
fn slow_producer_id_is_asked_of_another_node() {
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(3, 0)]);
    rig.mute = [SEED, 1, 2].into();
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(3_000));
    let request = rig.request();
    assert_eq!(request.batches[0].id, rig.next_producer_id);
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn wrong_or_missing_response_causes_retry_on_another_connection() {
    for is_silent in [true, false] {
        let mut rig = Rig::new(|_| {});
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        match is_silent {
            true => rig.pass(ms(30_000)),
            false => {
                let other = request.correlation_id + 1;
                rig.answer(request.connection, other, request.version, &ProduceResponse::default());
            }
        }
        rig.turn();
        assert!(!rig.connections.contains_key(&request.connection), "{is_silent}");
        assert_eq!(fate(&delivery), Fate::Open);
        // A later response on the old connection has no effect.
        rig.settle(&request, ErrorCode::NONE, 7);
        assert_eq!(fate(&delivery), Fate::Open);
        rig.pass(ms(500));
        let again = rig.request();
        assert_eq!(again.batches, request.batches);
        rig.settle(&again, ErrorCode::NONE, 0);
        assert_eq!(fate(&delivery), Fate::At(0));
    }
}
