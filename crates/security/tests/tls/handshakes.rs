//! Handshakes in memory, between rustls' client with our settings and rustls' server: who connects, and how each failure is
//! explained.

use std::io::{self, Read, Write};
use std::sync::Arc;

use kurier_security::tls::rustls::pki_types::pem::PemObject;
use kurier_security::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use kurier_security::tls::rustls::server::WebPkiClientVerifier;
use kurier_security::tls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use kurier_security::tls::rustls::{
    AlertDescription, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    version,
};
use kurier_security::tls::{TlsConfig, TlsConfigBuilder, TlsError, TlsErrorKind, TlsVersion};

use super::{file, read};

/// Settings of the broker.
struct Broker {
    certificate: &'static str,
    /// The authority that must sign a client's certificate.
    client_ca: Option<&'static str>,
    versions: &'static [&'static SupportedProtocolVersion],
    /// Whether it has only one cipher suite, of TLS 1.2.
    has_one_suite: bool,
}

const ONLY_12: &[&SupportedProtocolVersion] = &[&version::TLS12];
const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];
const BROKER: Broker = Broker { certificate: "broker.pem", client_ca: None, versions: BOTH, has_one_suite: false };

impl Broker {
    fn config(&self) -> Arc<ServerConfig> {
        let certificates =
            |name| CertificateDer::pem_slice_iter(read(name).as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(read("broker-key.pem").as_bytes()).unwrap();
        let client = TlsConfig::builder().root_certificates(file("ca.pem")).build().unwrap().client();
        let mut provider = client.crypto_provider().as_ref().clone();
        if self.has_one_suite {
            provider.cipher_suites.retain(|suite| format!("{suite:?}").contains("ECDHE_ECDSA_WITH_AES_256_GCM"));
        }
        let provider = Arc::new(provider);
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(self.versions).unwrap();
        let builder = match self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(ca));
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap(),
                )
            }
        };
        // Without rustls' checks, so that the broker has certificates that no server should.
        let key = client.crypto_provider().key_provider.load_private_key(key).unwrap();
        let resolver = SingleCertAndKey::from(CertifiedKey::new(certificates(self.certificate), key));
        Arc::new(builder.with_cert_resolver(Arc::new(resolver)))
    }
}

/// Connects, and sends a byte each way.
fn connect(tls: &TlsConfig, host: &str, broker: &Broker) -> Result<(), TlsError> {
    let mut client = ClientConnection::new(tls.client(), tls.server_name(host)?).unwrap();
    let mut server = ServerConnection::new(broker.config()).unwrap();
    let mut server_error = None;
    let of_io = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
    while client.is_handshaking() {
        exchange(&mut client, &mut server, &mut server_error)
            .map_err(|error| tls.explain_handshake(&of_io(error), host, false))?;
    }
    // The first request and its answer: a broker with TLS 1.3 refuses our certificate only now.
    client.writer().write_all(b"?").unwrap();
    exchange(&mut client, &mut server, &mut server_error).map_err(|error| tls.explain(&of_io(error), host).unwrap())?;
    assert_eq!(server_error, None);
    let mut byte = [0];
    server.reader().read_exact(&mut byte).unwrap();
    server.writer().write_all(b"!").unwrap();
    exchange(&mut client, &mut server, &mut server_error).unwrap();
    client.reader().read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"!");
    Ok(())
}

/// Carries bytes to the server and back.
fn exchange(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
    server_error: &mut Option<Error>,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        *server_error = server_error.take().or_else(|| server.process_new_packets().err());
    }
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn trusting(ca: &str) -> TlsConfigBuilder {
    TlsConfig::builder().root_certificates(file(ca))
}

fn with_identity(builder: TlsConfigBuilder) -> TlsConfigBuilder {
    builder.identity(file("client-reversed.pem"), file("client-key.pem"))
}

#[test]
fn handshake_succeeds_with_a_trusted_certificate_for_the_host() {
    for host in ["localhost", "127.0.0.1", "::1", "b1.example", "b1.example.", "b7.kafka.example"] {
        connect(&trusting("ca.pem").build().unwrap(), host, &BROKER).unwrap();
    }
    connect(&trusting("bundle.pem").server_name("b1.example").build().unwrap(), "10.0.0.7", &BROKER).unwrap();
    let self_signed = Broker { certificate: "broker-self-signed.pem", ..BROKER };
    connect(&trusting("broker-self-signed.pem").build().unwrap(), "localhost", &self_signed).unwrap();
}

#[test]
fn handshake_succeeds_with_each_version_and_kind_of_client_certificate() {
    for version in TlsVersion::ALL {
        let builder = trusting("ca.pem").versions([version]);
        connect(&builder.build().unwrap(), "localhost", &BROKER).unwrap();
        let mutual = Broker { client_ca: Some("ca.pem"), ..BROKER };
        connect(&with_identity(builder.clone()).build().unwrap(), "localhost", &mutual).unwrap();
        for (chain, key) in
            [("rsa.pem", "rsa-key.pem"), ("rsa.pem", "rsa-key-pkcs1.pem"), ("ed25519.pem", "ed25519-key.pem")]
        {
            connect(&builder.clone().identity(file(chain), file(key)).build().unwrap(), "localhost", &mutual).unwrap();
        }
    }
}

#[test]
fn second_handshake_resumes_the_session_of_its_own_settings_only() {
    use kurier_security::tls::rustls::HandshakeKind::{Full, Resumed};
    let server = BROKER.config();
    let kind = |tls: &TlsConfig| {
        let mut client = ClientConnection::new(tls.client(), tls.server_name("localhost").unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut error = None;
        for _ in 0..4 {
            exchange(&mut client, &mut server, &mut error).unwrap();
        }
        client.handshake_kind().unwrap()
    };
    let build = || trusting("ca.pem").build().unwrap();
    let (first, second) = (build(), build());
    assert_eq!([kind(&first), kind(&first), kind(&second)], [Full, Resumed, Full]);
}

#[test]
fn failures_are_explained() {
    use TlsErrorKind::Authentication;
    let plain = || trusting("ca.pem");
    let broker = |certificate| Broker { certificate, ..BROKER };
    let mutual = |client_ca| Broker { client_ca: Some(client_ca), ..BROKER };
    let tls12 = |broker| Broker { versions: ONLY_12, ..broker };
    let cases: Vec<(TlsConfigBuilder, &str, Broker, &[&str])> = vec![
        (
            plain(),
            "localhost",
            broker("broker-expired.pem"),
            &["the broker's certificate expired ", " d ago (2020-03-01): renew it, or check this machine's clock"],
        ),
        (
            plain(),
            "localhost",
            broker("broker-future.pem"),
            &[
                "the broker's certificate is not valid for another ",
                " d (until 2098-06-01): check this machine's clock",
            ],
        ),
        (
            trusting("other.pem"),
            "localhost",
            BROKER,
            &[
                "the broker's certificate is signed by no trusted authority (1 root of ",
                "other.pem): set ssl.truststore.certificates or",
            ],
        ),
        (
            trusting("renewed.pem"),
            "localhost",
            BROKER,
            &["does not fit the trusted authority of that name", "was the authority renewed?"],
        ),
        (
            plain(),
            "10.0.0.7",
            BROKER,
            &[
                "the broker's certificate is for localhost, b1.example, *.kafka.example, 127.0.0.1, ",
                ", not 10.0.0.7: check advertised.listeners, or set kurier.tls.server.name",
            ],
        ),
        (plain(), "a.b.kafka.example", BROKER, &[", not a.b.kafka.example: check advertised.listeners"]),
        (plain().server_name("b2.example"), "localhost", BROKER, &[", not b2.example: check advertised.listeners"]),
        (
            plain(),
            "localhost",
            broker("broker-no-names.pem"),
            &["names no host", "issue it again with localhost as a subjectAltName"],
        ),
        (plain(), "localhost", broker("broker-client-only.pem"), &["is not for servers", "serverAuth"]),
        (
            trusting("broker-authority.pem"),
            "localhost",
            broker("broker-authority.pem"),
            &["is that of an authority (CA:true)", "and trust its issuer"],
        ),
        (plain(), "localhost", broker("broker-version-1.pem"), &["an X.509 version below 3", "subjectAltName"]),
        (
            plain(),
            "localhost",
            mutual("ca.pem"),
            &["the broker requires a client certificate (certificate_required): set ssl.keystore.location"],
        ),
        (
            plain(),
            "localhost",
            tls12(mutual("ca.pem")),
            &["requires a client certificate (", "set ssl.keystore.location"],
        ),
        (
            with_identity(plain()),
            "localhost",
            mutual("other.pem"),
            &[
                "the broker refused our client certificate (unknown_ca): does the broker's ssl.truststore have the authority",
            ],
        ),
        (
            with_identity(plain()),
            "localhost",
            tls12(mutual("other.pem")),
            &["the broker refused our client certificate (unknown_ca)"],
        ),
        (
            plain().versions([TlsVersion::Tls13]),
            "localhost",
            tls12(BROKER),
            &["no version of TLS in common (protocol_version); we offer TLSv1.3: check ssl.enabled.protocols"],
        ),
        (
            plain().versions([TlsVersion::Tls12]),
            "localhost",
            Broker { versions: ONLY_13, ..BROKER },
            &["no version of TLS in common (protocol_version); we offer TLSv1.2"],
        ),
        (
            plain().cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
            "localhost",
            tls12(Broker { has_one_suite: true, ..BROKER }),
            &["refused the TLS handshake (handshake_failure)", "no cipher suite in common (ssl.cipher.suites)"],
        ),
    ];
    for (builder, host, broker, texts) in cases {
        let error = connect(&builder.build().unwrap(), host, &broker).unwrap_err();
        assert_eq!(error.kind(), Authentication, "{error}");
        let shown = error.to_string();
        for text in texts {
            assert!(shown.contains(text), "`{shown}` does not contain `{text}`");
        }
    }
}

#[test]
fn application_with_its_own_configuration_gets_texts_without_its_settings() {
    let of = |builder: TlsConfigBuilder| TlsConfig::from_rustls_0_23(builder.build().unwrap().client());
    let error = |tls: &TlsConfig, broker| connect(tls, "localhost", broker).unwrap_err().to_string();
    let unknown = error(&of(trusting("other.pem")), &BROKER);
    assert!(unknown.starts_with("the broker's certificate is signed by no trusted authority: set"), "{unknown}");
    let mutual = Broker { client_ca: Some("ca.pem"), ..BROKER };
    let refused = error(&of(trusting("ca.pem")), &mutual);
    assert!(refused.contains("requires a client certificate, or refused ours (certificate_required)"), "{refused}");
}

#[test]
fn port_without_tls_is_suspected_only_before_the_first_success() {
    let tls = trusting("ca.pem").build().unwrap();
    let not_tls = {
        let mut client = ClientConnection::new(tls.client(), tls.server_name("localhost").unwrap()).unwrap();
        client.read_tls(&mut &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).unwrap();
        io::Error::new(io::ErrorKind::InvalidData, client.process_new_packets().unwrap_err())
    };
    let cases = [
        (io::Error::from(io::ErrorKind::UnexpectedEof), "the TLS handshake was cut off"),
        (io::Error::from(io::ErrorKind::ConnectionReset), "the TLS handshake was cut off"),
        (not_tls, "the answer to the TLS handshake is not TLS"),
    ];
    for (error, text) in &cases {
        let explained = |has_been_ready| {
            let error = tls.explain_handshake(error, "localhost", has_been_ready);
            assert_eq!(error.kind(), TlsErrorKind::Network);
            error.to_string()
        };
        assert_eq!(explained(true), *text);
        let hint = "is this a PLAINTEXT port? set security.protocol=PLAINTEXT, or SASL_PLAINTEXT with SASL";
        assert_eq!(explained(false), format!("{text}: {hint}"));
    }
}

#[test]
fn other_errors_of_a_connection_are_no_errors_of_tls() {
    let tls = trusting("ca.pem").build().unwrap();
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert!(tls.explain(&reset, "localhost").is_none());
    let error = tls.explain_handshake(&io::Error::from(io::ErrorKind::TimedOut), "localhost", false);
    assert_eq!((error.kind(), error.to_string().as_str()), (TlsErrorKind::Network, "the TLS handshake failed"));
    assert!(std::error::Error::source(&error).is_some());
    let alert = io::Error::other(Error::AlertReceived(AlertDescription::InternalError));
    let error = tls.explain(&alert, "localhost").unwrap();
    assert_eq!(error.kind(), TlsErrorKind::Network);
    assert_eq!(error.to_string(), "the broker ended the connection with the TLS alert internal_error");
}
