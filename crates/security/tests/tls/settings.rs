//! The builder: each accepted form of certificates and keys, and the error of each wrong one.

use std::fs;

use kurier_security::Secret;
use kurier_security::tls::{PemSource, Provider, Roots, TlsConfig, TlsConfigBuilder, TlsErrorKind, TlsVersion};

use super::{file, path, read, text};

fn trusting_ca() -> TlsConfigBuilder {
    TlsConfig::builder().root_certificates(file("ca.pem"))
}

/// Checks that the settings are accepted, and that `Display` contains each text.
fn accepts(builder: &TlsConfigBuilder, texts: &[&str]) {
    let shown =
        builder.build().unwrap_or_else(|error| panic!("{builder:?}: {error}: {:?}", error_source(&error))).to_string();
    for text in texts {
        assert!(shown.contains(text), "`{shown}` does not contain `{text}`");
    }
}

/// Checks that the settings are refused with each text.
fn refuses(builder: &TlsConfigBuilder, texts: &[&str]) {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), TlsErrorKind::Configuration);
    let shown = error.to_string();
    for text in texts {
        assert!(shown.contains(text), "`{shown}` does not contain `{text}`");
    }
}

fn error_source(error: &dyn std::error::Error) -> Option<String> {
    error.source().map(ToString::to_string)
}

/// Joins the lines of PEM text by spaces, as a properties file with continued lines does.
fn on_one_line(pem: &str) -> String {
    pem.lines().collect::<Vec<_>>().join(" ")
}

#[test]
fn roots_are_accepted_in_each_form() {
    let ca = read("ca.pem");
    let cases: &[(PemSource, &str)] = &[
        (file("ca.pem"), "1 root of "),
        (file("bundle.pem"), "2 roots of "),
        (text(&ca), "1 root of ssl.setting"),
        (text(on_one_line(&read("bundle.pem"))), "2 roots of ssl.setting"),
        (text(ca.replace('\n', "\r\n")), "1 root of ssl.setting"),
        (text(ca.replace(" CERTIFICATE", " X509 CERTIFICATE")), "1 root of ssl.setting"),
        (text(format!("\u{feff}subject=CN = Test CA\n\n{ca}# end")), "1 root of ssl.setting"),
        // The same certificate counts once, and a private key beside it is ignored.
        (text(format!("{ca}{ca}{}", read("rsa-key.pem"))), "1 root of ssl.setting"),
    ];
    for (source, shown) in cases {
        accepts(&TlsConfig::builder().root_certificates(source.clone()), &[shown]);
    }
    accepts(
        &trusting_ca().root_certificates(file("other.pem")).root_certificates(text(&ca)),
        &["2 roots of ", "ca.pem, ", "other.pem, ssl.setting"],
    );
}

#[test]
fn folder_gives_the_roots_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca.pem", "other.pem", "bundle.pem", "ca.der", "rsa-key.pem", "client-key-old-encryption.pem"] {
        fs::copy(path(name), folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    accepts(&TlsConfig::builder().root_certificates(PemSource::path(folder.path())), &["2 roots of ", ", 2 unusable"]);
    let empty = tempfile::tempdir().unwrap();
    refuses(&TlsConfig::builder().root_certificates(PemSource::path(empty.path())), &["has no certificate"]);
    let identity = TlsConfig::builder().identity_bundle(PemSource::path(folder.path()));
    refuses(&identity.root_certificates(file("ca.pem")), &["is a folder: name the file"]);
}

#[test]
fn one_bad_root_does_not_end_trust_in_the_others() {
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    accepts(
        &TlsConfig::builder().root_certificates(text(format!("{junk}{}", read("ca.pem")))),
        &["1 root", "1 unusable"],
    );
    refuses(&TlsConfig::builder().root_certificates(text(junk)), &["ssl.setting has no certificate that can be read"]);
}

#[test]
fn wrong_roots_are_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        PemSource::path(path)
    };
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(read("ca.pem").encode_utf16().flat_map(u16::to_le_bytes));
    let cases: &[(PemSource, &str)] = &[
        (PemSource::path("/missing/ca.pem"), "cannot read /missing/ca.pem"),
        (text(""), "ssl.setting is empty"),
        (text("hello"), "ssl.setting has no certificate"),
        (file("rsa-key.pem"), "rsa-key.pem has no certificate"),
        (file("ca.der"), "is in DER form, and Kurier reads PEM: convert it with openssl x509 -inform der"),
        (file("client.p12"), "is a PKCS#12 store, and Kurier reads PEM: convert it with openssl pkcs12 -in "),
        (written("a.jks", b"\xfe\xed\xfe\xed\0\0\0\x02"), "is a Java keystore (JKS), and Kurier reads PEM"),
        (written("utf16", &utf16), "is UTF-16 text"),
        (written("large", &vec![b'\n'; (4 << 20) + 1]), "has more than 4 MiB"),
        (text("-----BEGIN CERTIFICATE-----\nAAAA"), "ssl.setting: section 1 (CERTIFICATE) has no end"),
        (
            text(format!("{}-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----", read("ca.pem"))),
            "ssl.setting: section 2 (CERTIFICATE) is not base64 text",
        ),
        (text(read("ca.pem").replace("-----END", "-----BEGIN")), "ssl.setting: section 1 (CERTIFICATE) has no end"),
        (
            text(format!("-----BEGIN CERTIFICATE-----\nAAAA\n{}", read("ca.pem"))),
            "ssl.setting: section 1 (CERTIFICATE) is not base64 text",
        ),
        (
            text(read("ca.pem").replace(" CERTIFICATE", " TRUSTED CERTIFICATE")),
            "is in OpenSSL's own format: convert it with openssl x509",
        ),
    ];
    for (source, why) in cases {
        refuses(&TlsConfig::builder().root_certificates(source.clone()), &[why]);
    }
}

#[test]
fn roots_of_mozilla_need_their_feature() {
    let builder = TlsConfig::builder().roots(Roots::Mozilla);
    if cfg!(feature = "tls-webpki-roots") {
        accepts(&builder, &[" roots of Mozilla"]);
    } else {
        refuses(&builder, &["enable the feature tls-webpki-roots"]);
    }
}

#[test]
fn missing_roots_of_the_system_are_an_error_or_replaced() {
    // A machine may have roots or not.
    for roots in [Roots::Auto, Roots::System] {
        match TlsConfig::builder().roots(roots.clone()).build() {
            Ok(config) => assert!(!config.to_string().contains("; 0 "), "{config}"),
            Err(error) => assert!(error.to_string().starts_with("the system has no root certificates"), "{error}"),
        }
    }
}

#[test]
fn client_certificate_is_accepted_in_each_form() {
    let cases: &[(PemSource, PemSource)] = &[
        (file("client.pem"), file("client-key.pem")),
        (file("client-reversed.pem"), file("client-key.pem")),
        (file("client.pem"), file("client-key-sec1.pem")),
        (text(on_one_line(&read("client.pem"))), text(on_one_line(&read("client-key.pem")))),
        (file("rsa.pem"), file("rsa-key.pem")),
        (file("rsa.pem"), file("rsa-key-pkcs1.pem")),
        (file("ed25519.pem"), file("ed25519-key.pem")),
        (file("client-bundle.pem"), file("client-bundle.pem")),
    ];
    for (chain, key) in cases {
        accepts(&trusting_ca().identity(chain.clone(), key.clone()), &["; a client certificate"]);
    }
    accepts(&trusting_ca().identity_bundle(file("client-bundle.pem")), &["; a client certificate"]);
    accepts(&trusting_ca(), &["; no client certificate"]);
}

#[test]
fn wrong_client_certificate_is_refused_with_advice() {
    let many = read("ca.pem").repeat(17);
    let keys = read("rsa-key.pem") + &read("client-key.pem");
    let cases: &[(PemSource, PemSource, &str)] = &[
        (file("client.pem"), file("rsa-key.pem"), "does not belong to any certificate in "),
        (file("rsa.pem"), file("client-key.pem"), "does not belong to the certificate in "),
        (file("rsa-key.pem"), file("rsa-key.pem"), "has no certificate"),
        (file("rsa.pem"), file("rsa.pem"), "has no private key"),
        (text(many), file("client-key.pem"), "has 17 certificates, and a chain at most 16"),
        (file("rsa.pem"), text(keys), "ssl.setting has several private keys: leave one"),
        (
            file("rsa.pem"),
            text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            "cannot use the private key",
        ),
        (file("client.pem"), file("client-key-old-encryption.pem"), "openssl pkcs8 -topk8 -v2 aes256"),
        (file("client.p12"), file("client.p12"), "is a PKCS#12 store"),
    ];
    for (chain, key, why) in cases {
        refuses(&trusting_ca().identity(chain.clone(), key.clone()), &[why]);
    }
}

#[test]
fn p521_needs_aws_lc() {
    let builder = trusting_ca().identity(file("p521.pem"), file("p521-key.pem"));
    for provider in [Provider::Ring, Provider::AwsLc, Provider::Graviola] {
        let is_compiled = trusting_ca().provider(provider).build().is_ok();
        match builder.clone().provider(provider) {
            builder if !is_compiled => refuses(&builder, &["is not in this build: enable the feature tls-"]),
            builder if provider == Provider::AwsLc => accepts(&builder, &["a client certificate"]),
            builder => refuses(&builder, &["cannot use the private key in ", "the feature tls-aws-lc"]),
        }
    }
}

#[test]
fn encrypted_key_needs_its_feature_and_its_password() {
    for key in ["client-key-pbkdf2.pem", "client-key-scrypt.pem"] {
        let builder = trusting_ca().identity(file("client.pem"), file(key));
        if cfg!(feature = "tls-encrypted-keys") {
            accepts(&builder.clone().key_password(Secret::from("secret")), &["a client certificate"]);
            refuses(&builder, &[key, "is encrypted: set ssl.key.password"]);
            refuses(&builder.key_password(Secret::from("wrong")), &["ssl.key.password does not decrypt", key]);
        } else {
            refuses(&builder.key_password(Secret::from("secret")), &[key, "the feature tls-encrypted-keys"]);
        }
    }
}

#[test]
fn versions_and_suites_are_those_that_were_set() {
    accepts(&trusting_ca(), &["TLSv1.2, TLSv1.3; provider "]);
    accepts(&trusting_ca().versions([TlsVersion::Tls13, TlsVersion::Tls13]), &["TLSv1.3; provider "]);
    let suite = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    let config = trusting_ca().cipher_suites([suite, "TLS_AES_128_GCM_SHA256"]).build().unwrap();
    let suites: Vec<_> = config.client().crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
    assert_eq!(suites.len(), 2, "{suites:?}");
    refuses(
        &trusting_ca().cipher_suites(["TLS_RSA_WITH_AES_128_CBC_SHA"]),
        &["names TLS_RSA_WITH_AES_128_CBC_SHA, which the TLS provider ", "does not have: it has ", suite],
    );
    refuses(&trusting_ca().cipher_suites([suite]).versions([TlsVersion::Tls13]), &["no cipher suite", "TLSv1.3"]);
}

#[test]
fn name_to_verify_is_the_host_dialled_unless_another_is_set() {
    let config = trusting_ca().build().unwrap();
    let cases = [
        ("localhost", "localhost"),
        ("b1.example.", "b1.example"),
        ("kafka_1", "kafka_1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
    ];
    for (host, name) in cases {
        assert_eq!(config.server_name(host).unwrap().to_str(), name);
    }
    for host in ["", ".", "a..b", "a b", "-"] {
        let error = config.server_name(host).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
        assert_eq!(error.to_string(), format!("`{host}` is neither a host name nor an address"));
    }
    let config = trusting_ca().server_name("b1.example.").build().unwrap();
    assert_eq!(config.server_name("10.0.0.7").unwrap().to_str(), "b1.example");
    assert!(config.to_string().ends_with("; server name b1.example"), "{config}");
    refuses(&trusting_ca().server_name("a b"), &["`a b` is neither a host name nor an address"]);
}

#[test]
fn reload_tells_whether_certificates_changed() {
    let build = |builder: TlsConfigBuilder| builder.build().unwrap();
    let config = build(trusting_ca());
    assert!(config.has_same_certificates(&config.clone()));
    assert!(config.has_same_certificates(&build(trusting_ca())));
    assert!(!config.has_same_certificates(&build(TlsConfig::builder().root_certificates(file("renewed.pem")))));
    assert!(!config.has_same_certificates(&build(trusting_ca().identity_bundle(file("client-bundle.pem")))));
    let own = TlsConfig::from_rustls_0_23(config.client());
    assert!(own.has_same_certificates(&own.clone()));
    assert!(!own.has_same_certificates(&TlsConfig::from_rustls_0_23(build(trusting_ca()).client())));
}

#[test]
fn configuration_of_the_application_is_taken_as_it_is() {
    let client = trusting_ca().build().unwrap().client();
    let config = TlsConfig::from_rustls_0_23(std::sync::Arc::clone(&client));
    assert!(std::sync::Arc::ptr_eq(&config.client(), &client));
    assert_eq!(config.to_string(), "a rustls::ClientConfig of the application");
    assert_eq!(config.server_name("b1.example.").unwrap().to_str(), "b1.example");
}

#[test]
fn no_secret_appears_in_any_text() {
    let key = read("client-key.pem");
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let builder = trusting_ca().identity(file("client.pem"), text(&key)).key_password(Secret::from("hunter2"));
    let config = builder.build().unwrap();
    let damaged = format!("-----BEGIN PRIVATE KEY-----\n{body}*\n-----END PRIVATE KEY-----");
    let error = trusting_ca().identity(file("client.pem"), text(damaged)).build().unwrap_err();
    let sources = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let errors: String = sources.map(|error| format!("{error} {error:?}")).collect();
    for shown in [format!("{builder:?}"), format!("{config:?} {config}"), errors] {
        for secret in ["hunter2", &body[..20], &body[body.len() - 20..]] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn early_data_and_key_logs_are_off() {
    let client = trusting_ca().build().unwrap().client();
    assert!(!client.enable_early_data);
    assert!(!client.key_log.will_log("CLIENT_RANDOM"));
}
