//! The cluster, its producers, and the rotations.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use kurier::credentials::{BoxFuture, Credentials, ScramMechanism, Token, TokenError, TokenProvider, TokenRequest};
use kurier::{ErrorKind, Producer, ProducerBuilder};
use kurier_e2e::clock::{now, sleep_until, wait_until};
use kurier_e2e::cluster::{Cluster, Shape};
use kurier_e2e::kafka::{Configured, VERSION};
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_security::{Claim, UnsecuredToken};
use tokio::runtime::Runtime;

use crate::authority::Authority;
use crate::broker_log;
use crate::load::{self, InLog, Load, PARTITIONS};

const NODES: usize = 3;
/// Rotations of everything.
const ROUNDS: usize = 6;
/// Rounds that change the password in its file.
const FILE_ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(10);
const LISTENERS: [Listener; 2] = [Listener::MutualTls, Listener::SaslTls];
const TOKEN_LIFETIME: Duration = Duration::from_secs(10);

/// Topics, one per producer, which are also the clients' ids.
const CERTIFICATES: &str = "certificates";
const PASSWORDS: &str = "passwords";
const TOKENS: &str = "tokens";

struct Scene {
    runtime: Runtime,
    folder: PathBuf,
    cluster: Cluster,
    /// Authority of the brokers' certificates.
    authority: Authority,
    /// Authority of the clients' certificates.
    clients: Authority,
}

pub(crate) fn play(rate: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let scene = Scene::set(folder.path())?;
    scene.play(rate)
}

impl Scene {
    fn set(folder: &Path) -> Result<Self> {
        let authority = Authority::create(folder, "authority-0")?;
        let clients = Authority::create(folder, "clients")?;
        fs::write(folder.join("broker-0.pem"), authority.issue("broker")?)?;
        fs::write(folder.join("clients.pem"), clients.certificate()?)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let mut settings = vec![
            ("connections.max.reauth.ms".to_owned(), "10000".to_owned()),
            (Listener::MutualTls.setting("ssl.truststore.location"), path("clients.pem")),
        ];
        settings.extend(LISTENERS.map(|listener| (listener.setting("ssl.keystore.location"), path("broker-0.pem"))));
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        println!("Kafka {VERSION}, nodes: {NODES}");
        let shape =
            Shape { settings: &settings, listeners: &LISTENERS, logs_requests: true, ..Shape::new(VERSION, NODES) };
        let cluster = Cluster::start_as(&shape)?;
        for topic in [CERTIFICATES, PASSWORDS, TOKENS] {
            cluster.kafka().create_topic(topic, PARTITIONS, 1, &[])?;
        }
        Ok(Self { runtime: Runtime::new()?, folder: folder.to_owned(), cluster, authority, clients })
    }

    fn play(mut self, rate: u32) -> Result<()> {
        let handle = self.runtime.handle().clone();
        self.write("trusted.pem", &self.authority.certificate()?)?;
        self.write("client.pem", &self.clients.issue("client-0")?)?;
        self.write("password", PASSWORD)?;
        let certificates = self.builder(Listener::MutualTls)?.keystore_location(self.folder.join("client.pem"));
        let passwords = self.builder(Listener::SaslTls)?.set("sasl.mechanism", "SCRAM-SHA-512");
        let passwords = passwords.set("sasl.username", USER).set("kurier.sasl.password.file", &self.path("password"));
        let issued = Arc::new(AtomicUsize::new(0));
        let tokens = self.builder(Listener::SaslTls)?.set("sasl.mechanism", "OAUTHBEARER");
        let tokens = tokens.token_provider(Tokens { issued: Arc::clone(&issued) });
        let began = now();
        let loads = [
            Load::start(&handle, certificates, CERTIFICATES, rate)?,
            Load::start(&handle, passwords, PASSWORDS, rate)?,
            Load::start(&handle, tokens, TOKENS, rate)?,
        ];
        for round in 1..=ROUNDS {
            self.change_password(round, &loads[1])?;
            self.change_client_certificate(round)?;
            self.change_authority(round, &loads)?;
            println!("[{:4.1} s] round {round} of {ROUNDS}", began.elapsed().as_secs_f64());
            sleep_until(began + ROUND * u32::try_from(round)?);
        }
        // The last password and token authenticate at least once.
        sleep_until(now() + ROUND);
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{:<14} {:>9} {:>7} {:>9} {:>5} {:>8} {:>10} {:>8}",
            "topic", "records", "failed", "in log", "lost", "doubled", "reordered", "slowest"
        );
        let mut is_clean = true;
        for load in loads {
            let topic = load.topic;
            let sent = load.stop()?;
            let InLog { records, lost, doubled, reordered } =
                load::read(self.cluster.kafka(), topic, sent.records, &self.folder)?;
            let failed = sent.failures.len();
            println!(
                "{topic:<14} {:>9} {failed:>7} {records:>9} {lost:>5} {doubled:>8} {reordered:>10} {:>5} ms",
                sent.records,
                sent.slowest.as_millis()
            );
            sent.failures.iter().take(5).for_each(|failure| println!("  {failure}"));
            is_clean &= (failed as u64, lost, doubled, reordered) == (0, 0, 0, 0);
        }
        println!("in {seconds:.0} s: {} tokens issued", issued.load(Ordering::Relaxed));
        self.check_logs()?;
        ensure!(is_clean, "records failed, or are not in the log as sent");
        ensure!(issued.load(Ordering::Relaxed) > 5, "too few tokens");
        Ok(())
    }

    /// Prints and checks what the brokers logged.
    fn check_logs(&self) -> Result<()> {
        let expected: Vec<String> = (0..=ROUNDS).map(|round| format!("User:CN=client-{round}")).collect();
        for node in self.cluster.node_ids() {
            let seen = broker_log::principals(&self.cluster, node, CERTIFICATES)?;
            println!("node {node} knew the client as {}", seen.join(", "));
            ensure!(seen == expected, "node {node} did not know each certificate in turn");
        }
        for (what, text) in [
            ("authentications on new connections", "Successfully authenticated with"),
            ("authentications on old connections", "Successfully re-authenticated with"),
            ("refused passwords and tokens", "due to invalid credentials"),
        ] {
            println!("{what}: {}", broker_log::count(&self.cluster, text)?);
        }
        Ok(())
    }

    /// Changes the password at the cluster, then for the producer: first in its file, and in later rounds by a call,
    /// which replaces the file.
    fn change_password(&self, round: usize, load: &Load) -> Result<()> {
        let password = format!("{PASSWORD}-{round}");
        self.cluster.kafka().set_scram_password(USER, "SCRAM-SHA-512", &password)?;
        self.write("password", &password)?;
        if round == FILE_ROUNDS {
            self.runtime.block_on(load.producer.reload_security())?;
        }
        if round > FILE_ROUNDS {
            load.producer.set_credentials(Credentials::Scram {
                mechanism: ScramMechanism::Sha512,
                username: USER.to_owned(),
                password: password.into(),
                is_delegation_token: false,
            })?;
        }
        Ok(())
    }

    /// Replaces the client's certificate, whose file the producer reads again every second.
    fn change_client_certificate(&self, round: usize) -> Result<()> {
        self.write("client.pem", &self.clients.issue(&format!("client-{round}"))?)
    }

    /// Replaces the authority of the brokers: the clients trust both, the brokers get new certificates, the clients
    /// trust the new one only.
    fn change_authority(&mut self, round: usize, loads: &[Load]) -> Result<()> {
        let name = format!("authority-{round}");
        let new = Authority::create(&self.folder, &name)?;
        self.write("trusted.pem", &(self.authority.certificate()? + &new.certificate()?))?;
        self.reload(loads)?;
        let broker = format!("broker-{round}.pem");
        self.write(&broker, &new.issue("broker")?)?;
        for node in self.cluster.node_ids() {
            for listener in LISTENERS {
                let setting = listener.setting("ssl.keystore.location");
                self.cluster.kafka().configure(Configured::Broker(node), &setting, Some(&self.path(&broker)))?;
            }
        }
        self.write("trusted.pem", &new.certificate()?)?;
        for node in self.cluster.node_ids() {
            self.wait_for_authority(node, &name)?;
        }
        self.reload(loads)?;
        self.authority = new;
        Ok(())
    }

    fn reload(&self, loads: &[Load]) -> Result<()> {
        loads.iter().try_for_each(|load| Ok(self.runtime.block_on(load.producer.reload_security())?))
    }

    /// Waits until only clients who trust this authority can connect to a node.
    fn wait_for_authority(&self, node: i32, name: &str) -> Result<()> {
        wait_until(&format!("node {node} shows a certificate of {name}"), Duration::from_secs(30), || {
            let server = self.cluster.secured_address(node, Listener::SaslTls)?.to_string();
            let probe = |trusted: PathBuf| {
                let builder = Producer::builder().bootstrap_servers([server.as_str()]).truststore_location(trusted);
                // It must not authenticate: only the certificate matters here.
                let builder = builder.set("security.protocol", "SSL").set("max.block.ms", "1000");
                self.runtime.block_on(builder.build()).err()
            };
            let error = probe(self.folder.join(format!("{name}.pem"))).context("it needs SASL")?;
            let is_new = error.kind() != ErrorKind::Authentication;
            if is_new {
                let old = self.folder.join("authority-0.pem");
                let error = probe(old).context("it needs SASL")?;
                ensure!(error.kind() == ErrorKind::Authentication, "an old authority still suffices: {error:#}");
            }
            Ok(is_new.then_some(()))
        })
    }

    fn builder(&self, listener: Listener) -> Result<ProducerBuilder> {
        Ok(Producer::builder()
            .bootstrap_servers([self.cluster.secured_servers(listener)?])
            .set("security.protocol", listener.protocol())
            .truststore_location(self.folder.join("trusted.pem"))
            .set("kurier.tls.reload.ms", "1000")
            // Fewer lines in the brokers' logs.
            .linger(Duration::from_millis(20)))
    }

    /// Replaces a file atomically, so that no reader sees a part of it.
    fn write(&self, name: &str, content: &str) -> Result<()> {
        let new = self.folder.join("new");
        fs::write(&new, content)?;
        Ok(fs::rename(new, self.folder.join(name))?)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Gives tokens that expire soon.
#[derive(Debug)]
struct Tokens {
    issued: Arc<AtomicUsize>,
}

impl TokenProvider for Tokens {
    #[expect(clippy::disallowed_methods, reason = "tokens end by the wall clock")]
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        // The broker compares the subject of a session's tokens, so it stays.
        let claims = [("sub", USER.to_owned()), ("jti", number.to_string())];
        let claims = claims.map(|(name, value)| (name.to_owned(), Claim::Text(value))).to_vec();
        let token = UnsecuredToken { claims, lifetime: TOKEN_LIFETIME, extensions: Vec::new() };
        Box::pin(async move { Ok(token.issue(SystemTime::now())) })
    }
}
