//! The faults, one after another, each with a healthy cluster before and after. Each fault checks that it took effect,
//! and measures how long no record was acknowledged.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kurier_e2e::clock::now;
use kurier_e2e::cluster::Cluster;
use tokio::runtime::Handle;

use crate::gaps::{Acknowledgements, median_and_maximum};
use crate::interrupt::{run_until, wait_for};
use crate::limit::{self, Whose};
use crate::load::Load;
use crate::peer::Peer;
use crate::recreation;
use crate::sockets;
use crate::way;

/// Six partitions; each node leads two in a healthy cluster.
const REPLICAS: [[i32; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2], [2, 1, 0]];
const PARTITIONS: [i32; 6] = [0, 1, 2, 3, 4, 5];
const NODES: [i32; 3] = [0, 1, 2];

pub(crate) const TOPIC: &str = "chaos";
/// The Java producer's topic, led by the same nodes.
const BESIDE: &str = "chaos-beside";

const RECORDS_PER_SECOND: u32 = 5_000;
const IMPATIENT_RECORDS_PER_SECOND: u32 = 500;

/// Without a fault, no record waits this long for its outcome.
const NORMAL: Duration = Duration::from_millis(300);

/// Time limit for any recovery.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// How often each fault happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: usize,
    pub(crate) pauses: usize,
    pub(crate) moves: usize,
    pub(crate) recreations: usize,
    pub(crate) limits: usize,
    pub(crate) restarts: bool,
}

/// The cluster and the producers under test.
pub(crate) struct Scene<'c> {
    runtime: Handle,
    /// Folder for the files of temporary loads.
    folder: PathBuf,
    cluster: &'c mut Cluster,
    /// Our producers: one with the default delivery.timeout.ms, and one with a short one, so that all three outcomes
    /// occur.
    pub(crate) patient: Load,
    pub(crate) impatient: Load,
    pub(crate) peer: Peer,
    began: Instant,
    struck: Vec<Struck>,
    /// For each kill, the number of records without a response when the leader was dead.
    unanswered: Vec<usize>,
}

/// A past fault.
struct Struck {
    what: &'static str,
    /// The longest times between acknowledgements, by partition: ours and Java's.
    ours: Vec<Duration>,
    java: Vec<Duration>,
}

/// Recovery means an acknowledgement at least this long after the fault's end. A frozen node that resumes acknowledges
/// pending records at once, which proves nothing.
const AFTERMATH: Duration = Duration::from_secs(2);

impl<'c> Scene<'c> {
    pub(crate) fn set(runtime: &Handle, cluster: &'c mut Cluster, folder: &Path) -> Result<Self> {
        let replicas = REPLICAS.map(Vec::from);
        for topic in [TOPIC, BESIDE] {
            cluster.kafka().create_assigned_topic(topic, &replicas, &["min.insync.replicas=2"])?;
        }
        // More than arrives while two nodes are down, because a load that waits for memory tests little else.
        let builder = || way::builder(cluster);
        let patient = builder().buffer_memory(128 << 20);
        let impatient = builder()
            .delivery_timeout(Duration::from_secs(4))
            .request_timeout(Duration::from_millis(2_500))
            .client_id("impatient");
        let count = PARTITIONS.len();
        // Start Java first, because it takes seconds.
        let peer = Peer::start(cluster.kafka(), BESIDE, count, RECORDS_PER_SECOND)?;
        let began = now();
        let patient = Load::start(runtime, patient, TOPIC, count, 0, RECORDS_PER_SECOND, None)?;
        let impatient = Load::start(runtime, impatient, TOPIC, count, 1, IMPATIENT_RECORDS_PER_SECOND, None)?;
        let (runtime, folder) = (runtime.clone(), folder.to_owned());
        let (struck, unanswered) = (Vec::new(), Vec::new());
        Ok(Self { runtime, folder, cluster, patient, impatient, peer, began, struck, unanswered })
    }

    /// Runs all faults of the plan.
    pub(crate) fn play(&mut self, plan: Plan) -> Result<()> {
        self.calm()?;
        for number in 0..plan.kills {
            self.kill(number, plan.kills)?;
        }
        for number in 0..plan.pauses {
            self.pause(number, plan.pauses)?;
        }
        for number in 0..plan.moves {
            self.move_node(number, plan.moves)?;
        }
        for number in 0..plan.recreations {
            self.recreate_topic(number)?;
        }
        for number in 0..plan.limits {
            self.lower_limit(number)?;
        }
        if plan.restarts {
            self.rolling_restart()?;
            self.two_of_three_down()?;
            self.all_restarted()?;
        }
        run_until(now() + Duration::from_secs(2))
    }

    /// Kills a leader with unanswered batches. Every other time the leader is frozen before, so that some requests stay
    /// unread. Otherwise a follower is frozen, so that the leader has written batches but cannot acknowledge them.
    fn kill(&mut self, number: usize, of: usize) -> Result<()> {
        let leader = NODES[number % NODES.len()];
        let frozen = if number.is_multiple_of(2) { leader } else { NODES[(number + 1) % NODES.len()] };
        let led = self.led_by(leader)?;
        let from = now();
        self.cluster.pause(frozen)?;
        wait_for("each partition has a batch unanswered for longer than normal", Duration::from_secs(10), || {
            Ok(led.iter().all(|one| !self.patient.ledger.unanswered(*one, NORMAL).is_empty()).then_some(()))
        })?;
        let unread = sockets::unread_at(way::address(self.cluster, leader)?.port())?;
        let before: Vec<_> = led.iter().map(|one| self.patient.ledger.unanswered(*one, NORMAL)).collect();
        self.cluster.kill(leader)?;
        let killed = now();
        // Records unanswered at its death never get an answer from this node.
        let after = led.iter().map(|one| self.patient.ledger.unanswered(*one, NORMAL));
        let unanswered: Vec<usize> =
            before.iter().zip(after).map(|(before, after)| before.intersection(&after).count()).collect();
        ensure!(
            unanswered.iter().all(|count| *count > 0),
            "node {leader} died with nothing unanswered: {unanswered:?}"
        );
        ensure!(frozen != leader || unread > 0, "node {leader} had read all");
        self.unanswered.push(unanswered.iter().sum());
        if frozen != leader {
            self.cluster.resume(frozen)?;
        }
        let moved = wait_for("other nodes lead", PATIENCE, || {
            // A cluster without a controller may not answer for a moment.
            let partitions = self.cluster.kafka().describe(TOPIC).unwrap_or_default();
            let has_moved = |one: &i32| {
                partitions.iter().any(|other| other.index == *one && other.leader.is_some_and(|next| next != leader))
            };
            Ok(led.iter().all(has_moved).then(now))
        })?;
        let how = if frozen == leader {
            format!("frozen with {unread} bytes unread")
        } else {
            format!("follower {frozen} frozen")
        };
        let what = format!(
            "kill -9 {} of {of}: node {leader}, {how}, {unanswered:?} records unanswered in partitions {led:?}; \
             led by others after {:.1} s",
            number + 1,
            moved.duration_since(killed).as_secs_f64()
        );
        self.recovered("kill -9 of a leader", &what, &led, from, killed)?;
        self.cluster.revive(leader)?;
        self.calm()
    }

    /// Freezes a node for nine seconds: longer than the cluster waits for it, but shorter than request.timeout.ms.
    fn pause(&mut self, number: usize, of: usize) -> Result<()> {
        let node = NODES[number % NODES.len()];
        let led = self.led_by(node)?;
        let from = now();
        self.cluster.pause(node)?;
        run_until(from + Duration::from_secs(9))?;
        self.cluster.resume(node)?;
        let what = format!("SIGSTOP {} of {of}: node {node} for 9 s, partitions {led:?}", number + 1);
        self.recovered("SIGSTOP for 9 s", &what, &led, from, now())?;
        self.calm()
    }

    /// Ends a node, by SIGKILL and SIGTERM in turn, and revives it on another port. Every producer must find it there.
    /// At most two of three nodes move, so the third address stays valid for new clients.
    fn move_node(&mut self, number: usize, of: usize) -> Result<()> {
        let node = NODES[number % (NODES.len() - 1)];
        let led = self.led_by(node)?;
        let old = way::address(self.cluster, node)?;
        let before = sockets::connections_to(old.port())?;
        ensure!(before > 0, "no producer of ours is connected to node {node} at {old}");
        let from = now();
        let how = if number % 4 < 2 {
            self.cluster.kill(node)?;
            "kill -9"
        } else {
            self.cluster.stop(node)?;
            "SIGTERM"
        };
        self.cluster.revive_elsewhere(node)?;
        let new = way::address(self.cluster, node)?;
        for topic in [TOPIC, BESIDE] {
            self.cluster.kafka().wait_for_replicas(topic, 3)?;
        }
        let what = format!(
            "move {} of {of}: node {node}, {how}, from {old} ({before} connections) to {new}, partitions {led:?}",
            number + 1
        );
        self.recovered("another address", &what, &led, from, now())?;
        // Then it leads its partitions again, and their records are acknowledged.
        self.calm()?;
        let (left, found) = (sockets::connections_to(old.port())?, sockets::connections_to(new.port())?);
        ensure!(left == 0 && found > 0, "node {node}: {left} connections to {old}, {found} to {new}");
        Ok(())
    }

    /// Creates another topic, with a load of its own, and deletes and recreates it under that load. Every second time, the
    /// topic comes back at once, else after three seconds.
    fn recreate_topic(&self, number: usize) -> Result<()> {
        let absence = if number.is_multiple_of(2) { Duration::ZERO } else { Duration::from_secs(3) };
        let name = format!("{TOPIC}-recreated-{number}");
        let (_, what) = recreation::run(&self.runtime, self.cluster, &self.folder, &name, absence)?;
        self.say(&what);
        self.calm()
    }

    /// Creates another topic and lowers its size limit. Every second time, lowers that of all brokers instead.
    fn lower_limit(&self, number: usize) -> Result<()> {
        let whose = if number.is_multiple_of(2) { Whose::Topics } else { Whose::Brokers };
        let name = format!("{TOPIC}-limited-{number}");
        let (_, what) = limit::run(&self.runtime, self.cluster, &self.folder, &name, whose)?;
        self.say(&what);
        self.calm()
    }

    fn rolling_restart(&mut self) -> Result<()> {
        let from = now();
        for node in NODES {
            self.cluster.stop(node)?;
            self.cluster.revive(node)?;
            for topic in [TOPIC, BESIDE] {
                self.cluster.kafka().wait_for_replicas(topic, 3)?;
            }
        }
        self.recovered("rolling restart", "rolling restart, by SIGTERM", &PARTITIONS, from, now())?;
        self.calm()
    }

    fn two_of_three_down(&mut self) -> Result<()> {
        let from = now();
        self.cluster.kill(0)?;
        self.cluster.kill(1)?;
        run_until(from + Duration::from_secs(20))?;
        self.cluster.revive_all()?;
        self.recovered("two of three down, 20 s", "two of three killed, for 20 s", &PARTITIONS, from, now())?;
        self.calm()
    }

    fn all_restarted(&mut self) -> Result<()> {
        let from = now();
        NODES.iter().try_for_each(|node| self.cluster.kill(*node))?;
        self.cluster.revive_all()?;
        self.recovered("all three restarted", "all three killed, and started again", &PARTITIONS, from, now())?;
        self.calm()
    }

    /// Waits until all three producers get acknowledgements again, and records the gaps.
    fn recovered(
        &mut self,
        kind: &'static str,
        what: &str,
        partitions: &[i32],
        from: Instant,
        healed: Instant,
    ) -> Result<()> {
        wait_for("acknowledgements come again", PATIENCE, || {
            let ours = [&self.patient, &self.impatient].map(|load| &load.ledger.acknowledgements);
            let all = ours.into_iter().chain([&*self.peer.acknowledgements]);
            Ok(all.into_iter().all(|one| one.came_after(healed + AFTERMATH, partitions)).then_some(()))
        })
        .with_context(|| format!("{what}: not all partitions recovered\n{}", self.stuck(healed)))?;
        let to = now();
        let gaps = |acknowledgements: &Acknowledgements| -> Vec<Vec<Duration>> {
            partitions.iter().map(|one| acknowledgements.gaps(*one, from, to)).collect()
        };
        let (ours, java) = (gaps(&self.patient.ledger.acknowledgements), gaps(&self.peer.acknowledgements));
        self.say(&format!("{what}; gaps: Kurier {}, Java {}", seconds(&ours), seconds(&java)));
        let (ours, java) = (longest(&ours), longest(&java));
        self.struck.push(Struck { what: kind, ours, java });
        Ok(())
    }

    /// Names the producers and partitions without new acknowledgements.
    fn stuck(&self, since: Instant) -> String {
        let mut text = String::new();
        let producers = [
            ("Kurier", &self.patient.ledger.acknowledgements),
            ("Kurier, impatient", &self.impatient.ledger.acknowledgements),
            ("Java", &*self.peer.acknowledgements),
        ];
        for (name, acknowledgements) in producers {
            let stuck = PARTITIONS.iter().filter(|one| !acknowledgements.came_after(since, &[**one]));
            let _a_string_takes_all = writeln!(text, "{name}: partitions {:?}", stuck.collect::<Vec<_>>());
        }
        text
    }

    /// Waits until the cluster is healthy: replicas in sync, preferred leaders, no record waiting.
    fn calm(&self) -> Result<()> {
        let kafka = self.cluster.kafka();
        for topic in [TOPIC, BESIDE] {
            kafka.wait_for_replicas(topic, 3)?;
        }
        let mut last = String::new();
        wait_for("leaders where they belong", PATIENCE, || {
            if let Err(error) = kafka.elect_preferred_leaders(&[TOPIC, BESIDE]) {
                last = format!("{error:#}");
            }
            Ok(NODES.iter().all(|node| self.led_by(*node).is_ok_and(|led| led.len() == 2)).then_some(()))
        })
        .with_context(|| format!("last: {last}"))?;
        let then = now();
        let is_calm = || {
            let ours = [&self.patient, &self.impatient];
            let nothing_waits = |load: &&Load| {
                PARTITIONS.iter().all(|one| load.ledger.unanswered(*one, NORMAL).is_empty())
                    && load.ledger.acknowledgements.came_after(then, &PARTITIONS)
            };
            ours.iter().all(nothing_waits) && self.peer.acknowledgements.came_after(then, &PARTITIONS)
        };
        wait_for("calm", PATIENCE, || Ok(is_calm().then_some(()))).with_context(|| self.stuck(then))?;
        run_until(now() + Duration::from_secs(1))?;
        wait_for("calm still", PATIENCE, || Ok(is_calm().then_some(())))
    }

    /// Returns the partitions that a node leads, which are the same in both topics.
    fn led_by(&self, node: i32) -> Result<Vec<i32>> {
        let led = |topic| -> Result<Vec<i32>> {
            let partitions = self.cluster.kafka().describe(topic)?;
            Ok(partitions.iter().filter(|one| one.leader == Some(node)).map(|one| one.index).collect())
        };
        let (ours, java) = (led(TOPIC)?, led(BESIDE)?);
        ensure!(ours == java, "node {node} leads partitions {ours:?} of ours and {java:?} of Java's");
        Ok(ours)
    }

    fn say(&self, what: &str) {
        let counts = self.patient.ledger.counts();
        println!("[{:5.1} s, {} records] {what}", self.began.elapsed().as_secs_f64(), counts.records);
    }

    /// Returns the gaps of each kind of fault as a table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<26}{:>6}{:>12}{:>10}{:>12}{:>10}\n",
            "seconds between acks", "times", "Kurier med.", "max", "Java med.", "max"
        );
        let mut kinds: Vec<&str> = self.struck.iter().map(|one| one.what).collect();
        kinds.dedup();
        for kind in kinds {
            let (ours, java) = self.gaps_of(kind);
            let times = self.struck.iter().filter(|one| one.what == kind).count();
            let ((median, maximum), (java_median, java_maximum)) =
                (median_and_maximum(&ours), median_and_maximum(&java));
            let _a_string_takes_all = writeln!(
                text,
                "{kind:<26}{times:>6}{median:>12.2}{maximum:>10.2}{java_median:>12.2}{java_maximum:>10.2}"
            );
        }
        let fewest = self.unanswered.iter().min().copied().unwrap_or_default();
        let kills = self.unanswered.len();
        let _a_string_takes_all = writeln!(
            text,
            "kills of a leader with batches unanswered: {kills} of {kills}, at least {fewest} records each"
        );
        text
    }

    /// Checks that our gaps after kills exceed Java's by at most a second, in median and maximum.
    pub(crate) fn compare(&self) -> Result<()> {
        let (ours, java) = self.gaps_of("kill -9 of a leader");
        let ((median, maximum), (java_median, java_maximum)) = (median_and_maximum(&ours), median_and_maximum(&java));
        if median > java_median + 1.0 || maximum > java_maximum + 1.0 {
            bail!("slower than Java: {median:.2} and {maximum:.2} s, Java {java_median:.2} and {java_maximum:.2} s");
        }
        Ok(())
    }

    fn gaps_of(&self, kind: &str) -> (Vec<Duration>, Vec<Duration>) {
        let of_kind = || self.struck.iter().filter(|one| one.what == kind);
        (of_kind().flat_map(|one| one.ours.clone()).collect(), of_kind().flat_map(|one| one.java.clone()).collect())
    }

    /// Returns the producers.
    pub(crate) fn end(self) -> (Load, Load, Peer) {
        (self.patient, self.impatient, self.peer)
    }
}

/// Returns the longest gap of each partition.
fn longest(gaps: &[Vec<Duration>]) -> Vec<Duration> {
    gaps.iter().map(|gaps| gaps.iter().max().copied().unwrap_or_default()).collect()
}

/// Formats each partition's gaps, such as `9.02+1.30 s`.
fn seconds(gaps: &[Vec<Duration>]) -> String {
    let of_one = |gaps: &Vec<Duration>| {
        let gaps: Vec<String> = gaps.iter().map(|gap| format!("{:.2}", gap.as_secs_f64())).collect();
        if gaps.is_empty() { "none".to_owned() } else { format!("{} s", gaps.join("+")) }
    };
    gaps.iter().map(of_one).collect::<Vec<_>>().join(" ")
}
