//! Tests of metadata: which topics the core asks for and when, and which leaders it believes.

use super::*;

/// A topic name that no Metadata request can hold.
fn overlong() -> Arc<str> {
    "x".repeat(40_000).into()
}

fn want(rig: &mut Rig, topic: &str) {
    rig.handle(Input::Signal(Signal::Wanted { topic: topic.into(), partitions: 0 }));
}

/// Answers that the broker does not lead the partition, with a hint that names the leader.
fn hint(rig: &mut Rig, asked: &Produce, leader_id: i32, leader_epoch: i32) {
    rig.settle_with(asked, |answer| PartitionProduceResponse {
        error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        base_offset: -1,
        current_leader: LeaderIdAndEpoch { leader_id, leader_epoch },
        ..answer
    });
}

#[test]
fn overlong_topic_name_is_refused_and_closes_no_connection() {
    fn old(version: i16) -> Option<(i16, ApiVersionsResponse)> {
        Some((version, offer(&[(0, 8), (3, 8), (18, 2), (22, 1)])))
    }
    // The long name is alone in its request, or among others.
    for others in [0, 3] {
        let mut rig = Rig::with(|_| {}, |rig| (rig.versions, rig.has_others) = (old, true));
        rig.open_gate(0);
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        let connects = rig.connects.len();
        // The core asks for the first topic at once. The others wait for the response.
        want(&mut rig, "first");
        want(&mut rig, &overlong());
        let names: Vec<String> = (0..others).map(|other| format!("other-{other}")).collect();
        names.iter().for_each(|name| want(&mut rig, name));
        rig.turn();
        rig.pass(ms(10_000));
        assert!(rig.connections.contains_key(&request.connection), "{others}");
        assert_eq!(rig.connects.len(), connects, "{others}");
        let [(topic, error)] = &rig.refused[..] else { panic!("{others}: {:?}", rig.refused) };
        assert_eq!((topic, error.kind()), (&overlong(), ErrorKind::Metadata));
        let text = format!("{error:#}");
        assert!(text.starts_with("topic xxx") && text.contains("40000 bytes"), "{text}");
        assert!(names.iter().all(|name| rig.driver.accumulator.topic(name).is_some()), "{others}");
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1));
    }
}

/// Answers the current metadata request with one partition per topic, and returns the topics' names.
fn answer_all(metadata: &mut Metadata, now: Instant) -> Vec<String> {
    let (names, _) = answer_after(metadata, 1, |_| {}, now);
    names
}

/// As [`answer_all`], with this leader, after something else has happened since the request. Also returns what the
/// response changed.
fn answer_after(
    metadata: &mut Metadata,
    leader_id: i32,
    happen: impl FnOnce(&mut Metadata),
    now: Instant,
) -> (Vec<String>, Changes) {
    let request = metadata.request(now);
    let question = metadata.next_question();
    metadata.asked(question, now);
    happen(metadata);
    let names: Vec<String> = request.topics.unwrap().into_iter().filter_map(|topic| topic.name).collect();
    let node = MetadataResponseBroker { node_id: 1, host: "n1".to_owned(), port: 9092, rack: None };
    let mut topics: Vec<MetadataResponseTopic> = names.iter().cloned().map(other_topic).collect();
    topics.iter_mut().for_each(|topic| topic.partitions[0].leader_id = leader_id);
    let response = MetadataResponse { brokers: vec![node], topics, ..Default::default() };
    let changes = metadata.handle_response(question, response, true, now).unwrap();
    (names, changes)
}

fn new_metadata() -> (Metadata, Instant) {
    let now = TestDriver::new(Config::default().into(), Arc::new(NoCallbacks)).unwrap().now();
    (Metadata::new(&Config::default(), 1, FaultInjection::NONE, now), now)
}

#[test]
fn late_response_shows_senders_no_topic_that_is_being_forgotten() {
    for is_retiring in [false, true] {
        let (mut metadata, now) = new_metadata();
        metadata.want(&"t".into(), 0, now);
        answer_all(&mut metadata, now);
        metadata.forget("t");
        let now = now + Config::default().metadata_max_idle;
        metadata.doubt();
        let retire = |metadata: &mut Metadata| {
            let idle = is_retiring.then(|| metadata.next_idle(&mut 0, now).unwrap().topic);
            assert_eq!(idle.as_deref(), is_retiring.then_some("t"));
        };
        let (names, changes) = answer_after(&mut metadata, 2, retire, now);
        assert_eq!((names, changes.layouts.len()), (vec!["t".to_owned()], usize::from(!is_retiring)));
    }
}

#[test]
fn topic_that_a_sender_waits_for_again_is_asked_for_after_it_was_removed() {
    let (mut metadata, now) = new_metadata();
    let t: Arc<str> = "t".into();
    metadata.want(&t, 0, now);
    answer_all(&mut metadata, now);
    metadata.forget(&t);
    let now = now + Config::default().metadata_max_idle;
    assert!(metadata.next_idle(&mut 0, now).is_some());
    metadata.want(&t, 2, now);
    assert_eq!(metadata.retire(&t, now).len(), 1);
    assert_eq!(answer_all(&mut metadata, now), ["t"]);
}

#[test]
fn topics_above_the_limit_are_forgotten_before_their_time() {
    use crate::core::metadata::TOPICS_KEPT_MAX;
    const MORE: usize = 500;
    let (mut metadata, start) = new_metadata();
    let name = |number: usize| -> Arc<str> { format!("topic-{number:06}").into() };
    let mut now = start;
    for number in 0..TOPICS_KEPT_MAX + MORE {
        now = start + Duration::from_micros(number as u64);
        metadata.want(&name(number), 0, now);
    }
    while metadata.asks(now) {
        answer_all(&mut metadata, now);
    }
    // Senders wait for every topic, so that none can go.
    assert!(metadata.next_idle(&mut metadata.early_looks(), now).is_none());
    (0..TOPICS_KEPT_MAX + MORE).for_each(|number| metadata.forget(&name(number)));
    assert!(metadata.next_idle(&mut 0, now).is_none());
    let mut retired = BTreeSet::new();
    let mut early_looks = metadata.early_looks();
    while let Some(idle) = metadata.next_idle(&mut early_looks, now) {
        assert!(retired.insert(idle.topic.to_string()), "{} twice", idle.topic);
        assert_eq!(metadata.retire(&idle.topic, now).len(), 1);
    }
    assert!(retired.len() >= MORE, "{}", retired.len());
    // The oldest are gone.
    assert!(retired.iter().all(|topic| **topic < *name(4 * MORE)), "{:?}", retired.last());
}

#[test]
fn hundred_thousand_topics_are_asked_for_in_parts() {
    const COUNT: usize = 100_000;
    let name = |number: usize| -> Arc<str> { format!("topic-{number:06}-{}", "n".repeat(180)).into() };
    let (mut metadata, now) = new_metadata();
    (0..COUNT).for_each(|number| metadata.want(&name(number), 0, now));
    // The second round is a refresh. A new topic does not wait for its end.
    for round in 0..2 {
        let now = now + Duration::from_secs(10 * round);
        let mut asked = Vec::new();
        while metadata.asks(now) {
            let names = answer_all(&mut metadata, now);
            assert!((1..=1_000).contains(&names.len()) && names.iter().map(String::len).sum::<usize>() <= 100_000);
            asked.push(names);
            if asked.len() == 3 && round == 1 {
                metadata.want(&"new".into(), 0, now);
            }
        }
        let at = asked.iter().position(|names| names.contains(&"new".to_owned()));
        assert_eq!(at, (round == 1).then_some(3));
        let mut all: Vec<String> = asked.into_iter().flatten().filter(|name| name != "new").collect();
        all.sort_unstable();
        assert!(all.iter().map(|name| &**name).eq((0..COUNT).map(name).collect::<Vec<_>>().iter().map(|name| &**name)));
        metadata.doubt();
    }
}

#[test]
fn refresh_in_parts_resumes_after_a_lost_answer() {
    const COUNT: usize = 3_500;
    let mut rig = Rig::with(|_| {}, |rig| rig.has_others = true);
    for number in 0..COUNT {
        want(&mut rig, &format!("topic-{number:06}"));
    }
    rig.pass(ms(1_000));
    rig.topics_asked.clear();
    rig.mute = rig.nodes.clone();
    rig.mute.insert(SEED);
    rig.driver.core.cx.metadata.doubt();
    rig.turn();
    // The first part is lost, and its connection ends.
    for node in rig.nodes.clone().into_iter().chain([SEED]) {
        rig.cut(node);
    }
    rig.mute.clear();
    rig.pass(ms(5_000));
    let asked: BTreeSet<&String> = rig.topics_asked.iter().flatten().collect();
    assert_eq!(asked.len(), COUNT + 1);
}

#[test]
fn lost_part_is_asked_for_again_before_the_round_goes_on() {
    const COUNT: usize = 3_500;
    let (mut metadata, mut now) = new_metadata();
    (0..COUNT).for_each(|number| metadata.want(&format!("topic-{number:06}").into(), 0, now));
    while metadata.asks(now) {
        answer_all(&mut metadata, now);
    }
    now += Duration::from_secs(10);
    metadata.doubt();
    let mut parts = vec![answer_all(&mut metadata, now)];
    let request = metadata.request(now);
    let lost: Vec<String> = request.topics.unwrap().into_iter().filter_map(|topic| topic.name).collect();
    let question = metadata.next_question();
    metadata.asked(question, now);
    metadata.handle_failure(question, now);
    assert!(!metadata.asks(now), "the part waits for its backoff");
    now += Duration::from_secs(2);
    while metadata.asks(now) {
        parts.push(answer_all(&mut metadata, now));
    }
    assert_eq!((parts.len(), &parts[1]), (4, &lost));
    let all: BTreeSet<&String> = parts.iter().flatten().collect();
    assert_eq!((all.len(), parts.iter().map(Vec::len).sum()), (COUNT, COUNT));
}

#[test]
fn missing_topic_is_asked_for_again_without_the_others() {
    let mut rig = Rig::new(|_| {});
    rig.pass(ms(1_000));
    rig.topics_asked.clear();
    want(&mut rig, "gone");
    rig.turn();
    rig.pass(ms(10_000));
    assert!(rig.topics_asked.len() > 5);
    assert!(rig.topics_asked.iter().all(|asked| asked == &["gone"]), "{:?}", rig.topics_asked);
}

#[test]
fn new_topics_do_not_put_off_the_refresh_by_age() {
    let mut rig = Rig::with(|config| config.set("metadata.max.age.ms", "5000").unwrap(), |rig| rig.has_others = true);
    rig.topics_asked.clear();
    for number in 0..30 {
        want(&mut rig, &format!("new-{number}"));
        rig.turn();
        rig.pass(ms(1_000));
    }
    let of_t = rig.topics_asked.iter().filter(|asked| asked.contains(&"t".to_owned())).count();
    assert!((4..=7).contains(&of_t), "{of_t}: {:?}", rig.topics_asked);
}

#[test]
fn missing_topics_do_not_put_off_a_refresh() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.topics_asked.clear();
    let start = rig.now();
    let mut number = 0;
    rig.driver.core.cx.metadata.doubt();
    while rig.now() < start + ms(10_000) {
        want(&mut rig, &format!("gone-{number}"));
        rig.turn();
        number += 1;
        rig.pass(ms(50));
        rig.driver.core.cx.metadata.doubt();
    }
    let of_t = rig.topics_asked.iter().filter(|asked| asked.contains(&"t".to_owned())).count();
    assert!(
        (8..=20).contains(&of_t),
        "{of_t}: {:?}",
        rig.topics_asked.iter().map(|asked| (asked.len(), asked.last())).collect::<Vec<_>>()
    );
}

#[test]
fn leader_hint_for_another_topic_of_the_name_is_ignored() {
    let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(1, 7)]);
    rig.open_gate(0);
    let old = rig.send_and_linger(0);
    let asked = rig.request();
    (rig.topic_id, rig.leaders) = (Uuid([8; 16]), vec![(2, 0)]);
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(300));
    // The hint is about the topic that was deleted.
    hint(&mut rig, &asked, 3, 9);
    rig.pass(ms(2_000));
    assert!(matches!(fate(&old), Fate::Failed(ErrorKind::TopicRecreated, _)), "{:?}", fate(&old));
    let new = rig.send_and_linger(0);
    let request = rig.request();
    assert_eq!(request.node, 2);
    rig.settle(&request, ErrorCode::NONE, 0);
    assert_eq!(fate(&new), Fate::At(0));
}

#[test]
fn leader_hint_that_the_named_node_denies_is_dropped() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let asked = rig.request();
    rig.leaders = vec![(2, 1)];
    hint(&mut rig, &asked, 3, 9);
    let again = rig.request();
    assert_eq!(again.node, 3);
    rig.settle(&again, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    rig.pass(ms(2_000));
    let third = rig.request();
    assert_eq!(third.node, 2);
    rig.settle(&third, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn leader_hint_to_silent_node_counts_for_a_while() {
    let mut rig = Rig::new(|_| {});
    let delivery = rig.send_and_linger(0);
    let asked = rig.request();
    rig.leaders = vec![(2, 1)];
    rig.down = [3].into();
    rig.cut(3);
    hint(&mut rig, &asked, 3, 9);
    // Slow brokers still name an older leader.
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    rig.pass(ms(15_000));
    let again = rig.request();
    assert_eq!(again.node, 2);
    rig.settle(&again, ErrorCode::NONE, 0);
    assert_eq!(fate(&delivery), Fate::At(0));
}

#[test]
fn topic_with_records_under_way_stays_in_use() {
    type Story = fn(&mut Rig) -> Delivery;
    let open: Story = |rig| rig.send(0, 10);
    let waiting: Story = |rig| {
        let delivery = rig.send_and_linger(0);
        let request = rig.request();
        rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        delivery
    };
    let in_flight: Story = |rig| {
        rig.leaders = vec![(1, 0)];
        let delivery = rig.send_and_linger(0);
        assert_eq!(rig.requests.len(), 1);
        delivery
    };
    for (name, is_led, story) in [("open", false, open), ("waiting", true, waiting), ("in flight", true, in_flight)] {
        let mut rig = Rig::new(|config| {
            config.set("metadata.max.age.ms", "2000").unwrap();
            config.set("metadata.max.idle.ms", "5000").unwrap();
            config.set("request.timeout.ms", "60000").unwrap();
        });
        rig.open_gate(0);
        if !is_led {
            rig.leaders = vec![(-1, 1)];
            rig.driver.core.cx.metadata.doubt();
            rig.pass(ms(300));
        }
        let delivery = story(&mut rig);
        let in_flight = rig.requests.pop_front();
        if in_flight.is_none() {
            rig.leaders = vec![(-1, 1)];
        }
        rig.pass(ms(40_000));
        assert_eq!(fate(&delivery), Fate::Open, "{name}");
        assert_eq!(rig.topics_asked.last(), Some(&vec!["t".to_owned()]), "{name}");
        rig.leaders = vec![(1, 2)];
        rig.pass(ms(5_000));
        let request = in_flight.unwrap_or_else(|| rig.request());
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1), "{name}");
        // No record is in flight any more, so the setting applies.
        rig.pass(ms(10_000));
        assert_eq!(rig.topics_asked.last(), Some(&Vec::new()), "{name}");
    }
}

#[test]
fn topic_with_a_batch_behind_a_full_one_stays_in_use() {
    let mut rig = Rig::new(|config| {
        config.set("metadata.max.idle.ms", "5000").unwrap();
        config.set("delivery.timeout.ms", "40000").unwrap();
        config.set("request.timeout.ms", "30000").unwrap();
        config.batch_size = 1_000;
    });
    rig.open_gate(0);
    rig.leaders = vec![(-1, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(300));
    let first = (0..4).map(|_| rig.send(0, 300)).last().unwrap();
    rig.turn();
    rig.pass(ms(35_000));
    let last = rig.send(0, 10);
    rig.pass(ms(6_500));
    assert!(matches!(fate(&first), Fate::Failed(ErrorKind::DeliveryTimeout, _)));
    rig.leaders = vec![(1, 2)];
    rig.pass(ms(5_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&last), Fate::At(1));
}

#[test]
fn metadata_backoff_restarts_after_quiet_hours() {
    for minutes in [0, 60] {
        let mut rig = Rig::new(|config| config.set("metadata.max.idle.ms", "7200000").unwrap());
        rig.open_gate(0);
        rig.pass(Duration::from_secs(60 * minutes));
        let _delivery = rig.send_and_linger(0);
        let request = rig.request();
        let start = rig.now();
        rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
        let mut asked = Vec::new();
        let mut before = rig.metadata_asked;
        while rig.now() < start + ms(1_000) {
            rig.pass(ms(1));
            if std::mem::replace(&mut before, rig.metadata_asked) != rig.metadata_asked {
                asked.push((rig.now() - start).as_millis());
            }
            if let Some(request) = rig.requests.pop_front() {
                rig.settle(&request, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
            }
        }
        // The core sends the first request at once. The next one waits for the first step of the backoff.
        assert!(asked.first().is_some_and(|at| (70..=140).contains(at)), "{minutes} minutes: {asked:?}");
    }
}

#[test]
fn rebootstrap_trigger_of_zero_reaches_the_cluster() {
    for trigger in ["0", "1", "100"] {
        for connects_in in [0, 5] {
            let mut rig = Rig::with(
                |config| config.set("metadata.recovery.rebootstrap.trigger.ms", trigger).unwrap(),
                |rig| rig.connects_in = ms(connects_in),
            );
            let delivery = rig.send(0, 10);
            rig.turn();
            rig.pass(ms(1_000));
            assert_eq!(rig.requests.len(), 1, "trigger {trigger}, connects in {connects_in}: {:?}", rig.connects);
            let request = rig.request();
            rig.settle(&request, ErrorCode::NONE, 0);
            assert_eq!(fate(&delivery), Fate::At(0));
        }
    }
}
