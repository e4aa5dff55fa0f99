//! Tests of links to nodes that move, leave the cluster, or turn out to be other nodes.

use kurier_protocol::{FrameBuffer, NodeId};

use super::*;

#[test]
fn core_connects_to_moved_node_at_once() {
    type Story = fn(&mut Rig);
    let in_backoff: Story = |rig| {
        rig.down = [1].into();
        rig.cut(1);
    };
    let connecting: Story = |rig| {
        rig.silent = [1].into();
        rig.cut(1);
    };
    for (name, story) in [("in backoff", in_backoff), ("connecting", connecting)] {
        for was_sent in [false, true] {
            let mut rig = Rig::new(|_| {});
            rig.open_gate(0);
            let mut delivery = None;
            if was_sent {
                delivery = Some(rig.send_and_linger(0));
                rig.requests.clear();
            }
            story(&mut rig);
            let delivery = delivery.unwrap_or_else(|| rig.send_and_linger(0));
            rig.pass(ms(3_000));
            assert!(rig.requests.is_empty());
            // The node has a new address and stays the leader; no batch is sent to the old address.
            rig.hosts = [(1, "x9".to_owned())].into();
            (rig.down, rig.silent) = Default::default();
            let (before, moved_at) = (rig.connects.len(), rig.now());
            rig.driver.core.cx.metadata.doubt();
            rig.pass(ms(1_500));
            let moved = rig.connects[before..].iter().find(|(host, _)| host == "x9");
            assert!(moved.is_some(), "{name}, sent before: {was_sent}, moved at {moved_at:?}: {:?}", rig.connects);
            let request = rig.request();
            rig.settle(&request, ErrorCode::NONE, 1);
            assert_eq!(fate(&delivery), Fate::At(1));
        }
    }
}

#[test]
fn frame_limit_is_raised_only_for_peers_that_are_ready() {
    let mut rig = Rig::with(
        |_| {},
        |rig| {
            // Node 2 accepts connections and answers no ApiVersions.
            rig.versions_by_node = [(2, (|_| None) as Offer)].into();
        },
    );
    rig.leaders = vec![(2, 1)];
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(1_500));
    let _delivery = rig.send_and_linger(0);
    rig.pass(ms(3_000));
    let asked: BTreeSet<i32> = rig.identities.iter().map(|(node, ..)| *node).collect();
    assert!(asked.contains(&2), "{asked:?}");
    for (connection, node) in &rig.connections {
        assert_eq!(rig.frame_limits.contains_key(connection), *node != 2, "{connection:?} to {node}");
    }
    assert!(rig.frame_limits.values().all(|bytes| *bytes == FrameBuffer::DEFAULT_LIMIT_BYTES));
}

#[test]
fn node_that_left_the_cluster_leaves_nothing_behind() {
    let mut rig = Rig::new(|config| config.availability_timeout = ms(1_000));
    rig.open_gate(0);
    let delivery = rig.send_and_linger(0);
    rig.requests.clear();
    rig.down = [1].into();
    rig.cut(1);
    rig.pass(ms(3_000));
    assert!(rig.driver.core.sender.known_nodes().contains(&NodeId(1)));
    (rig.nodes, rig.leaders) = ([2, 3].into(), vec![(2, 1)]);
    rig.driver.core.cx.metadata.doubt();
    rig.pass(ms(2_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!((request.node, fate(&delivery)), (2, Fate::At(1)));
    assert_eq!(rig.driver.core.sender.known_nodes(), [NodeId(2)].into());
    assert!(!rig.driver.core.cx.connections.knows(Peer::Node(NodeId(1))));
}

#[test]
fn api_versions_5_names_expected_node_and_cluster() {
    for (key, value, is_checked) in [
        ("metadata.cluster.check.enable", "true", true),
        ("metadata.cluster.check.enable", "false", false),
        ("metadata.recovery.strategy", "none", false),
    ] {
        let mut rig = Rig::new(|config| config.set(key, value).unwrap());
        rig.open_gate(0);
        let expected = if is_checked { (1, Some("c".to_owned()), 1) } else { (1, None, -1) };
        // The core asks a bootstrap server before it knows the cluster.
        assert_eq!(rig.identities, [(SEED, None, -1), expected], "{key}={value}");
        assert!(rig.versions_asked.iter().all(|version| *version == 5));
    }
}

#[test]
fn wrong_broker_is_avoided_until_new_metadata() {
    let mut rig = Rig::new(|_| {});
    rig.open_gate(0);
    rig.misrouted = [1].into();
    rig.cut(1);
    let delivery = rig.send_and_linger(0);
    rig.pass(ms(5_000));
    assert!(rig.requests.is_empty());
    let obstacles = rig.driver.core.obstacles().unwrap();
    assert!(obstacles.contains("the broker at n1:9092 is not node 1 of cluster c"), "{obstacles}");
    let tries = rig.connects.iter().filter(|(host, _)| host == "n1").count();
    assert!(tries < 20, "{tries}");
    rig.hosts = [(1, "x9".to_owned())].into();
    rig.misrouted.clear();
    rig.pass(ms(2_000));
    let request = rig.request();
    rig.settle(&request, ErrorCode::NONE, 1);
    assert_eq!(fate(&delivery), Fate::At(1));
}

#[test]
fn first_version_asked_after_an_outage_depends_on_the_refusal_before() {
    type Versions = fn(i16) -> Option<(i16, ApiVersionsResponse)>;
    const OFFER: &[(i16, i16)] = &[(0, 9), (3, 9), (18, 4), (22, 3)];
    let names_its_highest: Versions = |version| {
        let error_code = if version > 4 { ErrorCode::UNSUPPORTED_VERSION } else { ErrorCode::NONE };
        Some((version.min(4) * i16::from(version <= 4), ApiVersionsResponse { error_code, ..offer(OFFER) }))
    };
    let hangs_up: Versions = |version| (version == 0).then(|| (0, offer(OFFER)));
    // A broker may come back upgraded. If a broker closes connections instead, each try costs a connection.
    for (versions, expected) in [(names_its_highest, 5), (hangs_up, 0)] {
        let mut rig = Rig::with(|_| {}, |rig| rig.versions = versions);
        let first = rig.send_and_linger(0);
        rig.pass(ms(2_000));
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 0);
        assert_eq!(fate(&first), Fate::At(0));
        rig.down = [1].into();
        rig.cut(1);
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(2_000));
        rig.identities.clear();
        rig.versions_asked.clear();
        rig.down.clear();
        rig.pass(ms(3_000));
        let at = rig.identities.iter().position(|(node, ..)| *node == 1).expect("node 1 is asked");
        assert_eq!(rig.versions_asked[at], expected);
        let request = rig.request();
        rig.settle(&request, ErrorCode::NONE, 1);
        assert_eq!(fate(&delivery), Fate::At(1));
    }
}

/// The whole cluster has moved. `replayed_seeds_break_no_promise` covers refusals that take longer than the backoff.
#[test]
fn bootstrap_servers_are_asked_when_no_node_can_be_reached_whatever_the_backoff() {
    for backoff in [ms(1), ms(20), ms(1_000)] {
        let mut rig = Rig::new(|config| (config.reconnect_backoff, config.reconnect_backoff_max) = (backoff, backoff));
        rig.open_gate(0);
        rig.down = rig.nodes.clone();
        for node in rig.nodes.clone() {
            rig.cut(node);
        }
        rig.cut(SEED);
        let delivery = rig.send_and_linger(0);
        rig.pass(ms(2_000));
        let asked = rig.connects.iter().filter(|(host, _)| host == "seed").count();
        assert!(asked > 1, "{backoff:?}: the bootstrap server was connected to {asked} times");
        drop(delivery);
    }
}
