//! Tests of the explanations why the oldest batch has no outcome.

use super::*;

fn obstacle(rig: &mut Rig) -> Option<String> {
    let now = rig.now();
    rig.driver.core.batch_obstacle(now)
}

#[test]
fn oldest_batch_without_an_outcome_is_explained() {
    type Story = fn(&mut Rig);
    let stories: [(&str, Story, &str); 14] = [
        (
            "lingers",
            |rig| {
                drop(rig.send(0, 10));
                rig.turn();
            },
            "t-0: the batch waits for linger.ms, which is 5",
        ),
        (
            "the leader was never reached",
            |rig| {
                rig.down = [1].into();
                drop(rig.send_and_linger(0));
            },
            "t-0: node 1 advertises n1:9092 (advertised.listeners on that broker), but Kurier cannot connect to it: cut",
        ),
        (
            "the leader was never reached, nor has it refused",
            |rig| {
                rig.silent = [1].into();
                drop(rig.send_and_linger(0));
            },
            "t-0: node 1 advertises n1:9092 (advertised.listeners on that broker), but Kurier cannot connect to it: not connected yet",
        ),
        (
            "the leader is gone",
            |rig| {
                rig.open_gate(0);
                rig.down = [1].into();
                rig.cut(1);
                drop(rig.send_and_linger(0));
            },
            "t-0: node 1 (n1:9092): cut",
        ),
        (
            "there is no leader",
            |rig| {
                rig.leaders = vec![(-1, 1)];
                rig.driver.core.cx.metadata.doubt();
                rig.pass(ms(1_000));
                drop(rig.send_and_linger(0));
            },
            "t-0: the partition has no leader",
        ),
        (
            "the leader advertises port 0",
            |rig| {
                rig.change_metadata = Box::new(|response| response.brokers[0].port = 0);
                rig.driver.core.cx.metadata.doubt();
                rig.pass(ms(1_000));
                drop(rig.send_and_linger(0));
            },
            "t-0: cannot connect to its leader: node 1 advertises n1:0 (advertised.listeners on that broker), which is not a valid \
             address",
        ),
        (
            "the leader advertises what is no name",
            |rig| {
                rig.change_metadata = Box::new(|response| response.brokers[0].host = "\n my host".to_owned());
                rig.driver.core.cx.metadata.doubt();
                rig.pass(ms(1_000));
                drop(rig.send_and_linger(0));
            },
            "t-0: cannot connect to its leader: node 1 advertises \\n my host:9092 (advertised.listeners on that broker), \
             which is not a valid address",
        ),
        (
            "the leader is silent",
            |rig| {
                drop(rig.send_and_linger(0));
                rig.pass(ms(3_200));
            },
            "t-0: node 1 (n1:9092) has not acknowledged the batch for 3.2 s",
        ),
        (
            "an older batch of another partition is not answered",
            |rig| {
                drop(rig.send_and_linger(1));
                rig.pass(ms(1_000));
                drop(rig.send(0, 10));
                rig.turn();
            },
            "t-1: node 1 (n1:9092) has not acknowledged the batch for 1.0 s",
        ),
        (
            "the leader throttles",
            |rig| {
                drop(rig.send_and_linger(0));
                let request = rig.request();
                let answer = PartitionProduceResponse { base_offset: 0, ..Default::default() };
                let topic = TopicProduceResponse {
                    topic_id: request.topic_id,
                    partition_responses: vec![answer],
                    ..Default::default()
                };
                let response =
                    ProduceResponse { responses: vec![topic], throttle_time_ms: 5_000, ..Default::default() };
                rig.reply(&request, &response);
                drop(rig.send_and_linger(0));
                rig.pass(ms(994));
            },
            "t-0: node 1 (n1:9092) throttles this producer for another 4.0 s",
        ),
        (
            "the leader reads nothing",
            |rig| {
                rig.open_gate(0);
                rig.held_writes = Some(Vec::new());
                drop(rig.send_and_linger(0));
                drop(rig.send_and_linger(1));
                rig.pass(ms(2_000));
            },
            "t-0: node 1 (n1:9092) has not acknowledged the batch for 2.0 s",
        ),
        (
            "nobody gives a producer id",
            |rig| {
                rig.change_producer_id = |response| response.error_code = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
                drop(rig.send_and_linger(0));
                rig.pass(ms(2_000));
            },
            "t-0: no node has returned a producer id, which enable.idempotence=true needs, yet",
        ),
        (
            "the leader refuses for now",
            |rig| {
                drop(rig.send_and_linger(0));
                let request = rig.request();
                rig.settle(&request, ErrorCode::NOT_ENOUGH_REPLICAS, -1);
            },
            "t-0: retry in 0.1 s; last error: NOT_ENOUGH_REPLICAS (19)",
        ),
        (
            "the batch is being compressed",
            |rig| {
                rig.open_gate(0);
                rig.driver.held_takes = Some(VecDeque::new());
                drop(rig.send_and_linger(0));
            },
            "t-0: the batch is being compressed",
        ),
    ];
    for (name, story, expected) in stories {
        let mut rig = Rig::with(|_| {}, |rig| rig.leaders = vec![(1, 0), (1, 0)]);
        assert_eq!(obstacle(&mut rig), None, "{name}");
        story(&mut rig);
        let said = obstacle(&mut rig).unwrap_or_default();
        assert!(said.starts_with(expected) && !said.contains('\n'), "{name}: {said}");
    }
}

#[test]
fn no_more_than_32_servers_are_named() {
    let mut rig = Rig::with(|_| {}, |rig| rig.nodes = (1..=100).collect());
    rig.lose_nodes();
    // The core tries each server meanwhile.
    rig.pass(ms(60_000));
    let said = rig.driver.core.obstacles().unwrap();
    assert_eq!(said.split("; ").count(), 33, "{said}");
    assert!(said.ends_with("; and so on, for 68 more"), "{said}");
}
