//! Calls for three nodes: requests to a node that does not lead, and a node that is down.

use kurier_broker::KafkaVersion;

use super::ask::{Ask, At, Which, fetch, produce};
use super::batch::batch;
use super::{Call, To, call};

fn shown(version: i16) -> Ask {
    Ask::Metadata { version, topics: Some(vec![Which::Own]), may_create: false }
}

fn offset() -> Ask {
    offset_in(-1)
}

/// Asks for the end offset, assuming this leader epoch.
fn offset_in(epoch: i32) -> Ask {
    Ask::ListOffsets { version: 6, partition: 0, at: At::Number(-1), epoch, topic: Which::Own }
}

/// Metadata of a topic with three replicas, all in sync.
const ALL_IN_SYNC: &str = "NONE own, 0: leader leads follower 0+follower 1+leader, \
    in sync follower 0+follower 1+leader, epoch 0";
const ONE_DOWN: &str = "NONE own, 0: leader leads follower 0+follower 1+leader, \
    in sync follower 1+leader, epoch 0, offline follower 0";

pub(super) fn calls() -> Vec<Call> {
    vec![
        call("who does not lead says so, and from version 10 on who does (KIP-951)")
            .replicas(3)
            .ask(produce(batch(&["v"])).version(9), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(produce(batch(&["v"])).version(10), "NOT_LEADER_OR_FOLLOWER, leader leads in epoch 0; leader is at")
            .of_follower()
            .ask(produce(batch(&["v"])).version(13), "NOT_LEADER_OR_FOLLOWER, leader leads in epoch 0; leader is at")
            .until(KafkaVersion::V3_9, "Closed")
            .of_follower()
            .ask(produce(batch(&["v"])).acks(1), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(produce(batch(&["v"])).acks(0), "Closed")
            .of_follower()
            .ask(offset(), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(offset_in(0), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(offset_in(7), "UNKNOWN_LEADER_EPOCH")
            .of_follower()
            .ask(produce(batch(&["v"])), "NONE at 0, log from 0"),
        call("a node without a replica says so too")
            .ask(produce(batch(&["v"])).version(9), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(produce(batch(&["v"])).version(12), "NOT_LEADER_OR_FOLLOWER, leader leads in epoch 0; leader is at")
            .until(KafkaVersion::V3_9, "Closed")
            .of_follower()
            .ask(offset(), "NOT_LEADER_OR_FOLLOWER")
            .of_follower()
            .ask(fetch(0), "NOT_LEADER_OR_FOLLOWER")
            .of_follower(),
        call("a follower's metadata is the leader's")
            .replicas(3)
            .ask(shown(9), ALL_IN_SYNC)
            .of_follower()
            .ask(shown(9), ALL_IN_SYNC),
        call("min.insync.replicas, with a follower down and back")
            .replicas(3)
            .settings(&[("min.insync.replicas", "3")])
            .ask(produce(batch(&["a"])), "NONE at 0, log from 0")
            .then(Ask::Stop(To::Follower))
            .ask(shown(9), ONE_DOWN)
            .in_the_end()
            .ask(produce(batch(&["b"])), "NOT_ENOUGH_REPLICAS, log from 0")
            .ask(produce(batch(&["c"])).acks(1), "NONE at 1, log from 0")
            .ask(produce(batch(&["d"])).acks(0), "Silence")
            .then(Ask::Start)
            .ask(shown(9), ALL_IN_SYNC)
            .in_the_end()
            .ask(produce(batch(&["e"])), "NONE at 3, log from 0"),
        call("a leader down and back, and no other replica")
            .ask(produce(batch(&["a"])), "NONE at 0, log from 0")
            .then(Ask::Stop(To::Leader))
            .ask(
                shown(9),
                "NONE own, 0: nobody leads leader, in sync nobody, epoch 1, offline leader, LEADER_NOT_AVAILABLE",
            )
            .until(
                KafkaVersion::V3_9,
                "NONE own, 0: nobody leads leader, in sync leader, epoch 1, offline leader, LEADER_NOT_AVAILABLE",
            )
            .of_follower()
            .in_the_end()
            .ask(shown(4), "NONE own, 0: nobody leads leader, in sync nobody, LEADER_NOT_AVAILABLE")
            .until(KafkaVersion::V3_9, "NONE own, 0: nobody leads leader, in sync leader, LEADER_NOT_AVAILABLE")
            .of_follower()
            .ask(produce(batch(&["b"])).version(12), "NOT_LEADER_OR_FOLLOWER")
            .until(KafkaVersion::V3_9, "Closed")
            .of_follower()
            .then(Ask::Start)
            .ask(shown(9), "NONE own, 0: leader leads leader, in sync leader, epoch 2")
            .in_the_end()
            .ask(produce(batch(&["c"])), "NONE at 1, log from 0")
            .in_the_end()
            .ask(offset_in(0), "FENCED_LEADER_EPOCH")
            .ask(offset_in(2), "NONE 2, epoch 2")
            .ask(offset_in(3), "UNKNOWN_LEADER_EPOCH")
            .ask(fetch(0).epoch(1), "FENCED_LEADER_EPOCH"),
        call("a leader down and back, with another replica in sync")
            .replicas(3)
            .ask(produce(batch(&["a"])), "NONE at 0, log from 0")
            .then(Ask::Stop(To::Leader))
            .then(Ask::FollowLeader)
            .ask(produce(batch(&["b"])), "NONE at 1, log from 0")
            .in_the_end()
            .then(Ask::Start)
            .ask(produce(batch(&["c"])), "NONE at 2, log from 0"),
    ]
}
