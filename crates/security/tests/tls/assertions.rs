//! Assertions that each provider signs.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kurier_security::tls::{AssertionKey, PemSource, Provider, TlsConfig, TlsErrorKind, rustls};
use kurier_security::{Assertion, AssertionAlgorithm, AssertionTemplate, Secret};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, alg_id};
use rustls::server::ParsedCertificate;

use super::{file, path, read, text};

/// The assertion of [`unsigned`], as Java's client and OpenSSL sign it.
const RS256: &str = include_str!("../../../../testdata/sasl/assertion.jwt");

fn unsigned(algorithm: AssertionAlgorithm) -> String {
    let orders = || Some("orders".to_owned());
    let assertion = Assertion {
        algorithm,
        audience: Some("https://login.example".to_owned()),
        issuer: orders(),
        subject: orders(),
        lifetime: Duration::from_secs(300),
        tolerance: Duration::from_secs(60),
        has_id: false,
    };
    let template = AssertionTemplate::parse(br#"{"header":{"kid":"2026-11"}}"#).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    assertion.unsigned(&template, now, [0; 16]).unwrap()
}

/// The body of a file of PEM in one line, a form that Java reads too.
fn body(name: &str) -> PemSource {
    let body: String = read(name).lines().filter(|line| !line.starts_with("-----")).collect();
    text(body)
}

#[test]
fn rs256_signature_is_javas() {
    for source in [file("rsa-key.pem"), file("rsa-key-pkcs1.pem"), text(read("rsa-key.pem")), body("rsa-key.pem")] {
        let key = AssertionKey::load(AssertionAlgorithm::Rs256, &source, None, Provider::Auto).unwrap();
        let signed = key.sign(&unsigned(AssertionAlgorithm::Rs256)).unwrap();
        assert_eq!(str::from_utf8(signed.expose()).unwrap(), RS256.trim_end(), "{source}");
        assert_eq!(format!("{key:?} {signed:?}"), "AssertionKey(RS256) [hidden]");
    }
}

fn length(length: usize) -> u8 {
    u8::try_from(length).unwrap()
}

#[test]
fn es256_signature_is_two_numbers_that_the_public_key_verifies() {
    let certificate = CertificateDer::from_pem_file(path("client.pem")).unwrap();
    let public_key = ParsedCertificate::try_from(&certificate).unwrap().subject_public_key_info();
    // A point of P-256 ends its structure.
    let point = &public_key[public_key.len() - 65..];
    let provider = TlsConfig::builder().root_certificates(file("ca.pem")).build().unwrap().client();
    let algorithms = provider.crypto_provider().signature_verification_algorithms;
    let (_, verifiers) =
        algorithms.mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256).unwrap();
    let verifier = verifiers.iter().find(|it| it.public_key_alg_id() == alg_id::ECDSA_P256).unwrap();
    for source in [file("client-key.pem"), file("client-key-sec1.pem"), body("client-key.pem")] {
        let key = AssertionKey::load(AssertionAlgorithm::Es256, &source, None, Provider::Auto).unwrap();
        // Each signature is another one, and some numbers are short.
        for _ in 0..100 {
            let signed = key.sign(&unsigned(AssertionAlgorithm::Es256)).unwrap();
            let signed = str::from_utf8(signed.expose()).unwrap().to_owned();
            let (message, signature) = signed.rsplit_once('.').unwrap();
            assert_eq!(message, unsigned(AssertionAlgorithm::Es256));
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let (r, s) = signature.split_at(32);
            assert_eq!(s.len(), 32);
            let number = |digits: &[u8]| {
                let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap()..];
                let sign = if digits[0] >= 0x80 { vec![0] } else { vec![] };
                [&[2, length(sign.len() + digits.len())], &sign[..], digits].concat()
            };
            let numbers = [number(r), number(s)].concat();
            let der = [&[0x30, length(numbers.len())], &numbers[..]].concat();
            verifier.verify_signature(point, message.as_bytes(), &der).unwrap();
            verifier.verify_signature(point, b"another message", &der).unwrap_err();
        }
    }
}

#[test]
fn key_that_cannot_sign_is_an_error_that_says_why() {
    const RSA: &str = "RS256 needs an RSA key of 2,048 bits or more";
    const P256: &str = "ES256 needs a P-256 key";
    let (rs256, es256) = (AssertionAlgorithm::Rs256, AssertionAlgorithm::Es256);
    for (algorithm, source, texts) in [
        (rs256, file("client-key.pem"), ["client-key.pem does not fit sasl.oauthbearer.assertion.algorithm", RSA]),
        (es256, file("rsa-key.pem"), ["rsa-key.pem does not fit sasl.oauthbearer.assertion.algorithm", P256]),
        (rs256, file("ed25519-key.pem"), ["the private key in", RSA]),
        (es256, file("p521-key.pem"), ["the private key in", P256]),
        (es256, text(STANDARD.encode("hunter2")), ["cannot use the private key in ssl.setting", P256]),
        (rs256, file("missing.pem"), ["cannot read", "missing.pem"]),
        (rs256, file("rsa.pem"), ["rsa.pem has no private key", "-----BEGIN PRIVATE KEY-----"]),
        (rs256, text("hunter2!"), ["ssl.setting has no private key", ""]),
        (rs256, file("client-key-old-encryption.pem"), ["is encrypted in OpenSSL's old format", "convert it"]),
    ] {
        let error = AssertionKey::load(algorithm, &source, None, Provider::Auto).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
        let shown = format!("{error} {error:?}");
        for text in texts {
            assert!(shown.contains(text) && !shown.contains("hunter2"), "{source}: {shown}");
        }
    }
}

#[test]
fn encrypted_key_needs_its_feature_and_its_passphrase() {
    const SETTING: &str = "sasl.oauthbearer.assertion.private.key.passphrase";
    for name in ["client-key-pbkdf2.pem", "client-key-scrypt.pem"] {
        let load = |passphrase: Option<&str>| {
            let passphrase = passphrase.map(Secret::from);
            AssertionKey::load(AssertionAlgorithm::Es256, &file(name), passphrase.as_ref(), Provider::Auto)
        };
        if cfg!(feature = "tls-encrypted-keys") {
            load(Some("secret")).unwrap();
            let error = load(None).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{name} is encrypted: set {SETTING}")), "{error}");
            let error = load(Some("hunter2")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{SETTING} does not decrypt the private key in")), "{error}");
        } else {
            let error = load(Some("secret")).unwrap_err().to_string();
            assert!(error.contains("the feature tls-encrypted-keys"), "{error}");
        }
    }
}
