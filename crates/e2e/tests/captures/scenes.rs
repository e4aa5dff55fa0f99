//! Scenes: clients that write through `kurier capture` to a real Kafka, once with each codec.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::relay::Relay;
use kurier_e2e::target;

use crate::agreement::compare;
use crate::clients::{Client, Clients, Settings, Told};
use crate::records::{PARTITIONS, Record, records};
use crate::verdict::{Row, Verdict, differences};
use crate::{kcat, reading, records, tshark};

const CLIENTS: [Client; 3] = [Client::Java, Client::ConfluentKafka, Client::FranzGo];
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// One capture to make.
struct Scene {
    name: &'static str,
    settings: Settings,
    /// The topic's settings, with Kafka's names.
    topic: &'static [&'static str],
    /// Whether the topic refuses records without a key.
    needs_keys: bool,
}

/// Plays all scenes on one node of this version of Kafka.
pub(crate) fn play(version: &'static str, clients: &Clients, verdict: &mut Verdict) -> Result<()> {
    let folder = target().join("captures");
    let records = records();
    let file = folder.join("records");
    records::write(&records, &file)?;
    let cluster = Cluster::start(version, 1)?;
    for scene in scenes() {
        let client = Clients::name(scene.settings.client, version)?;
        let name = format!("{client}_kafka-{version}_{}", scene.name);
        let capture = folder.join(format!("{name}.pcap"));
        let row = scene.play(&cluster, version, clients, &records, &file, &capture);
        verdict.add(&name, row.with_context(|| name.clone())?);
    }
    Ok(fs::remove_file(file)?)
}

/// Returns the scenes: every client with every codec, idempotent, and each client with acks=1, which is not idempotent.
/// tshark knows few of their API versions, so old clients write too, also to a topic that refuses a third of their
/// records.
fn scenes() -> Vec<Scene> {
    let scene = |name, client, codec, acks| {
        let settings = Settings { client, codec, acks };
        Scene { name, settings, topic: &[], needs_keys: false }
    };
    let every_codec = |client| CODECS.map(|codec| scene(codec, client, codec, "all"));
    let refused = |name, client| {
        let topic = &["cleanup.policy=compact"];
        Scene { topic, needs_keys: true, ..scene(name, client, "none", "1") }
    };
    let mut scenes = Vec::new();
    for client in CLIENTS {
        scenes.extend(every_codec(client));
        scenes.push(scene("acks1", client, "none", "1"));
    }
    scenes.extend(every_codec(Client::OldJava));
    scenes.push(refused("refused", Client::OldJava));
    scenes.push(scene("as-of-2.4", Client::OldFranzGo, "lz4", "all"));
    scenes.push(refused("as-of-2.4-refused", Client::OldFranzGo));
    scenes
}

impl Scene {
    /// Plays the scene and returns the comparison; an error if the scene could not be played.
    fn play(
        &self,
        cluster: &Cluster,
        version: &'static str,
        clients: &Clients,
        records: &[Record],
        file: &Path,
        capture: &Path,
    ) -> Result<Row> {
        let kafka = cluster.kafka();
        let topic = format!("{:?}-{}", self.settings.client, self.name);
        kafka.create_topic(&topic, PARTITIONS, 1, self.topic)?;
        let relay = Relay::start(kafka.bootstrap_servers(), capture)?;
        let told = clients.write(self.settings, version, relay.address(), &topic, file)?;
        relay.end()?;

        let mut accepted: Vec<_> =
            records.iter().filter(|record| record.key.is_some() || !self.needs_keys).cloned().collect();
        let expected = Told { acknowledged: accepted.len(), refused: records.len() - accepted.len() };
        ensure!(told == expected, "of its records {told:?}, not {expected:?}");
        let read = kcat::read(kafka.bootstrap_servers(), &topic)?;
        let mut held: Vec<_> = read.iter().map(|written| written.record.clone()).collect();
        held.sort();
        accepted.sort();
        ensure!(held == accepted, "kcat reads {} records, which are not those that were sent", held.len());

        let frames = reading::whole_frames(capture)?;
        let captured = reading::written(&frames)?;
        Ok(Row {
            captures: 1,
            frames: frames.len(),
            agreement: compare(&frames, 0, &tshark::dissect(capture, &tshark::ports(capture)?)?),
            records: captured.len(),
            read_back: captured.iter().filter(|written| read.binary_search(written).is_ok()).count(),
            differences: differences(&captured, &read),
        })
    }
}
