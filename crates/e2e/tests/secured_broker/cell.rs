//! The cells of the table: a protocol with a mechanism, the broker that speaks them, and the settings of its clients.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use kurier_broker::{Broker, BrokerBuilder, SaslSettings, ServerTls};
use kurier_e2e::listener::{Listener, PASSWORD, USER};
use kurier_e2e::testdata;
use tokio::runtime::Runtime;

pub(crate) const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// The protocols of the table.
const LISTENERS: [Listener; 4] = [Listener::Tls, Listener::MutualTls, Listener::SaslPlaintext, Listener::SaslTls];

/// A protocol, a mechanism, and perhaps a mistake in the client's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) listener: Listener,
    /// `None` without SASL.
    pub(crate) mechanism: Option<&'static str>,
    pub(crate) mistake: Option<Mistake>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    WrongPassword,
    /// The client trusts another authority.
    ForeignAuthority,
    /// The client shows no certificate, but the broker requires one.
    NoCertificate,
}

/// Names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Java,
    Librdkafka,
}

impl Cell {
    pub(crate) fn of(listener: Listener, mechanism: Option<&'static str>) -> Self {
        Self { listener, mechanism, mistake: None }
    }

    /// Returns each protocol with each mechanism.
    pub(crate) fn all() -> Vec<Self> {
        let of = |listener: Listener| match listener.protocol() {
            "SSL" => vec![Self::of(listener, None)],
            _ => MECHANISMS.map(|mechanism| Self::of(listener, Some(mechanism))).to_vec(),
        };
        LISTENERS.into_iter().flat_map(of).collect()
    }

    /// Returns the mistakes of clients.
    pub(crate) fn mistakes() -> Vec<Self> {
        let wrong_password = |mechanism| Self::of(Listener::SaslTls, Some(mechanism)).with(Mistake::WrongPassword);
        let mut cells = MECHANISMS[..3].iter().map(|mechanism| wrong_password(*mechanism)).collect::<Vec<_>>();
        cells.push(Self::of(Listener::Tls, None).with(Mistake::ForeignAuthority));
        cells.push(Self::of(Listener::MutualTls, None).with(Mistake::NoCertificate));
        cells
    }

    fn with(self, mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..self }
    }

    /// Returns a name, which is also the name of the topic.
    pub(crate) fn name(&self) -> String {
        let mistake = self.mistake.map(|mistake| format!("{mistake:?}"));
        let parts = [Some(self.listener.name().to_owned()), self.mechanism.map(str::to_owned), mistake];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// Writes the settings of a client to a file in a folder.
    pub(crate) fn write_settings(&self, folder: &Path, dialect: Dialect, servers: &str) -> Result<PathBuf> {
        let file = folder.join(self.name());
        let mut settings = vec![("bootstrap.servers", servers.to_owned())];
        settings.extend(self.settings(dialect));
        let text = settings.iter().fold(String::new(), |mut text, (name, value)| {
            let _a_string_takes_all = writeln!(text, "{name}={value}");
            text
        });
        fs::write(&file, text)?;
        Ok(file)
    }

    fn settings(&self, dialect: Dialect) -> Vec<(&'static str, String)> {
        let path = |name: &str| testdata(name).display().to_string();
        let mut settings = vec![("security.protocol", self.listener.protocol().to_owned())];
        let authority =
            path(if self.mistake == Some(Mistake::ForeignAuthority) { "tls/other.pem" } else { "tls/ca.pem" });
        let shows_certificate = self.listener == Listener::MutualTls && self.mistake != Some(Mistake::NoCertificate);
        if self.listener.protocol().ends_with("SSL") {
            settings.extend(match dialect {
                Dialect::Java => {
                    vec![("ssl.truststore.type", "PEM".to_owned()), ("ssl.truststore.location", authority)]
                }
                Dialect::Librdkafka => vec![("ssl.ca.location", authority)],
            });
        }
        if shows_certificate {
            settings.extend(match dialect {
                Dialect::Java => {
                    vec![
                        ("ssl.keystore.type", "PEM".to_owned()),
                        ("ssl.keystore.location", path("tls/client-bundle.pem")),
                    ]
                }
                Dialect::Librdkafka => vec![
                    ("ssl.certificate.location", path("tls/client.pem")),
                    ("ssl.key.location", path("tls/client-key.pem")),
                ],
            });
        }
        let Some(mechanism) = self.mechanism else { return settings };
        let password = if self.mistake == Some(Mistake::WrongPassword) { "wrong" } else { PASSWORD };
        settings.push(("sasl.mechanism", mechanism.to_owned()));
        settings.extend(match (dialect, mechanism) {
            (Dialect::Java, _) => vec![("sasl.jaas.config", jaas(mechanism, password))],
            (Dialect::Librdkafka, "OAUTHBEARER") => vec![
                ("enable.sasl.oauthbearer.unsecure.jwt", "true".to_owned()),
                ("sasl.oauthbearer.config", format!("principal={USER}")),
            ],
            (Dialect::Librdkafka, _) => {
                vec![("sasl.username", USER.to_owned()), ("sasl.password", password.to_owned())]
            }
        });
        settings
    }
}

fn jaas(mechanism: &str, password: &str) -> String {
    let module = match mechanism {
        "PLAIN" => "plain.PlainLoginModule",
        "OAUTHBEARER" => "oauthbearer.OAuthBearerLoginModule",
        _ => "scram.ScramLoginModule",
    };
    let options = match mechanism {
        "OAUTHBEARER" => format!(r#"unsecuredLoginStringClaim_sub="{USER}""#),
        _ => format!(r#"username="{USER}" password="{password}""#),
    };
    format!("org.apache.kafka.common.security.{module} required {options};")
}

/// Starts a broker of one node with this listener. Sessions end after `max_reauth`.
pub(crate) fn start(runtime: &Runtime, listener: Listener, max_reauth: Option<Duration>) -> Result<Broker> {
    let mut builder = Broker::builder().auto_create_topics(true, 1);
    if listener.protocol().starts_with("SASL") {
        let mechanisms = MECHANISMS.map(str::to_owned).to_vec();
        builder = builder.sasl(SaslSettings { mechanisms, max_reauth, ..SaslSettings::default().user(USER, PASSWORD) });
    }
    if listener.protocol().ends_with("SSL") {
        builder = with_tls(builder, listener == Listener::MutualTls)?;
    }
    Ok(runtime.block_on(builder.start())?)
}

fn with_tls(builder: BrokerBuilder, is_mutual: bool) -> Result<BrokerBuilder> {
    let read = |name| fs::read_to_string(testdata(name));
    let tls = ServerTls::from_pem(read("tls/broker.pem")?, read("tls/broker-key.pem")?);
    Ok(builder.tls(if is_mutual { tls.client_ca(read("tls/ca.pem")?) } else { tls }))
}
