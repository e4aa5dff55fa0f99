//! Tests of the settings of TLS and SASL: what each combination gives, or the error.

use std::path::PathBuf;
use std::time::Duration;

use kurier_security::{Assertion, AssertionAlgorithm, Claim, ClientProof, Credentials, ScramMechanism, UnsecuredToken};

use super::choices::{Roots, TlsProvider, TlsVersions};
use super::{
    AssertionSettings, AssertionSource, Identity, LocalCredentials, PemSource, SaslCredentials, SecurityConfig,
    SecurityProtocol, Trust,
};
use crate::config::Config;
use crate::error::{Error, ErrorKind};

const SSL: &str = "security.protocol=SSL";
const SASL_SSL: &str = "security.protocol=SASL_SSL";
const SASL_PLAINTEXT: &str = "security.protocol=SASL_PLAINTEXT";
const SCRAM: &str = "sasl.mechanism=SCRAM-SHA-512";
const PLAIN: &str = "sasl.mechanism=PLAIN";
const USER: &str = "sasl.username=alice";
const PASSWORD: &str = "sasl.password=hunter2";
const OAUTHBEARER: &str = "sasl.mechanism=OAUTHBEARER";
const TOKEN_FILE: &str = "sasl.oauthbearer.token.endpoint.url=file:///t";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url=https://h/token";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id=kurier";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret=hunter2";
const FILE_RETRIEVER: &str =
    "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.FileJwtRetriever";
const CLIENT_RETRIEVER: &str =
    "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever";
const BEARER_RETRIEVER: &str =
    "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever";
const ASSERTION: &str = "sasl.oauthbearer.assertion.file=/a";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_SECRET_KEY: &str = "sasl.oauthbearer.client.credentials.client.secret";
const KEY_FILE: &str = "sasl.oauthbearer.assertion.private.key.file=/k";
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt=true";
const JAAS_PLAIN: &str = "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
                          username=\"alice\" password=\"hunter2\";";
const JAAS_EMPTY: &str = "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
                          username=\"\" password=\"hunter2\";";
const JAAS_SCRAM: &str = "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
                          username=\"alice\" password=\" hunter2 \" tokenauth=\"true\";";
const JAAS_OAUTH: &str = "sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                          extension_traceId=\"1\";";
const JAAS_OIDC: &str = "sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                         clientId=\"a\" clientSecret=\"hunter2\";";
const JAAS_UNSECURED: &str = "sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                              unsecuredLoginStringClaim_sub=\"alice\";";
const CA: &str = "ssl.truststore.location=/ca.pem";

/// Sets these settings, each `key=value`, after a bootstrap server.
fn config(settings: &[&str]) -> Result<Config, Error> {
    let mut config = Config::default();
    config.set("bootstrap.servers", "b:9092")?;
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        config.set(key, value)?;
    }
    Ok(config)
}

fn checked(settings: &[&str]) -> Result<Config, Error> {
    config(settings)?.check()
}

fn security(settings: &[&str]) -> SecurityConfig {
    checked(settings).unwrap_or_else(|error| panic!("{settings:?}: {error:#}")).security().clone()
}

#[test]
fn conflict_is_an_error_that_says_what_to_do() {
    let cases: &[(&[&str], &str)] = &[
        (
            &[SASL_SSL],
            "sasl.mechanism is missing, and security.protocol is SASL_SSL (Java's default, GSSAPI, is not supported): set one of \
             SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER",
        ),
        (&[SASL_PLAINTEXT, USER, PASSWORD], "sasl.mechanism is missing"),
        // Credentials and stores without their protocol.
        (&[SSL, PASSWORD], "sasl.password is set, but security.protocol is SSL: set SASL_SSL, or remove it"),
        (&[SSL, SCRAM, USER], "sasl.username is set, but security.protocol is SSL: set SASL_SSL, or remove it"),
        (
            &[PASSWORD],
            "sasl.password is set, but security.protocol is not set, so it is PLAINTEXT: set SASL_SSL, or remove it",
        ),
        (&["kurier.sasl.password.file=/p"], "kurier.sasl.password.file is set, but security.protocol is not set"),
        (&["sasl.jaas.config=x"], "sasl.jaas.config is set, but security.protocol is not set"),
        (
            &[CA],
            "ssl.truststore.location is set, but security.protocol is not set, so it is PLAINTEXT: set SSL, or remove it",
        ),
        (&[CA, USER], "so it is PLAINTEXT: set SASL_SSL, or remove it"),
        (
            &[SASL_PLAINTEXT, SCRAM, "ssl.ca.location=/ca"],
            "ssl.ca.location is set, but security.protocol is SASL_PLAINTEXT: set SASL_SSL, or remove it",
        ),
        (&["ssl.key.password=hunter2"], "ssl.key.password is set, but security.protocol is not set"),
        // Schemes of the bootstrap servers.
        (
            &["bootstrap.servers=SSL://h:9093"],
            "bootstrap.servers names SSL for h:9093, but security.protocol is PLAINTEXT: make them agree",
        ),
        (
            &[SSL, "metadata.broker.list=ssl://h:9093,i:1,plaintext://[::1]:9092"],
            "metadata.broker.list names PLAINTEXT for [::1]:9092, but security.protocol is SSL: make them agree",
        ),
        // Certificates and keys.
        (&[SSL, CA, "ssl.ca.pem=x"], "ssl.truststore.location and ssl.ca.pem are both set: remove one"),
        (
            &[SSL, "ssl.keystore.certificate.chain=x"],
            "ssl.keystore.certificate.chain is set without ssl.keystore.key: set both, or neither",
        ),
        (&[SSL, "ssl.key.pem=x"], "ssl.key.pem is set without ssl.keystore.certificate.chain: set both, or neither"),
        (&[SSL, "ssl.certificate.location=/c"], "ssl.certificate.location is set without ssl.key.location"),
        (&[SSL, "ssl.key.location=/k"], "ssl.key.location is set without ssl.certificate.location"),
        (
            &[SSL, "ssl.keystore.location=/k", "ssl.certificate.location=/c"],
            "ssl.keystore.location and ssl.certificate.location are both set: remove one",
        ),
        (&[SSL, "ssl.keystore.location=/k", "ssl.keystore.key=x"], "ssl.keystore.key are both set: remove one"),
        (&[SSL, "ssl.key.location=/k", "ssl.keystore.key=x"], "ssl.key.location and ssl.keystore.key are both set"),
        (
            &[SSL, "ssl.protocol=TLSv1.2", "ssl.enabled.protocols=TLSv1.3"],
            "ssl.enabled.protocols is TLSv1.3, but ssl.protocol is TLSv1.2, so no version is left",
        ),
        (
            &[SSL, "ssl.endpoint.identification.algorithm=none"],
            "ssl.endpoint.identification.algorithm cannot switch the check of names off: remove it; for brokers with another name \
             set kurier.tls.server.name",
        ),
        (&[SSL, "ssl.endpoint.identification.algorithm="], "cannot switch the check of names off"),
        (&[SSL, "kurier.tls.reload.ms=999"], "kurier.tls.reload.ms must be 0 or at least 1000, and is 999"),
        // Credentials.
        (
            &[SASL_PLAINTEXT, "bootstrap.servers=10.0.0.1:9092", PLAIN, USER, PASSWORD],
            "PLAIN would send the password unencrypted to 10.0.0.1:9092: use SASL_SSL, or set kurier.sasl.allow.cleartext=true",
        ),
        (
            &[SASL_PLAINTEXT, "bootstrap.servers=[2001:db8::1]:9092", "sasl.mechanism=OAUTHBEARER"],
            "OAUTHBEARER would send the token unencrypted to [2001:db8::1]:9092",
        ),
        (&[SASL_SSL, SCRAM, PASSWORD], "sasl.username is missing: SCRAM-SHA-512 needs a user name and a password"),
        (&[SASL_SSL, PLAIN, USER], "sasl.password is missing: PLAIN needs a user name and a password"),
        (&[SASL_SSL, PLAIN, USER, "sasl.password="], "sasl.password is missing"),
        (
            &[SASL_SSL, SCRAM, USER, PASSWORD, "kurier.sasl.password.file=/p"],
            "sasl.password and kurier.sasl.password.file are both set: remove one",
        ),
        (
            &[SASL_SSL, SCRAM, PASSWORD, "sasl.username=a\0b"],
            "sasl.username cannot be used: it contains a NUL character",
        ),
        (&[SASL_SSL, SCRAM, USER, "sasl.password=hunter2\0"], "sasl.password cannot be used: it contains a NUL"),
        // Tokens.
        (
            &[SASL_SSL, OAUTHBEARER, TOKEN_FILE, UNSECURED, "sasl.oauthbearer.config=principal=a"],
            "sasl.oauthbearer.token.endpoint.url and enable.sasl.oauthbearer.unsecure.jwt are both set: remove one",
        ),
        (&[SASL_SSL, OAUTHBEARER, UNSECURED], "sasl.oauthbearer.config cannot be \"\": it takes principal=NAME"),
        (
            &[SASL_SSL, OAUTHBEARER, UNSECURED, "sasl.oauthbearer.config=principal=a lifeSeconds=0"],
            "it takes principal=NAME",
        ),
        (&[SASL_SSL, OAUTHBEARER, UNSECURED, "sasl.oauthbearer.config=principal=a user=b"], "it takes principal=NAME"),
        (
            &[SASL_SSL, OAUTHBEARER, UNSECURED, "sasl.oauthbearer.config=principal=a extension_auth=b"],
            "it takes NAME=VALUE,NAME=VALUE, with letters in the names",
        ),
        (&["sasl.oauthbearer.token.endpoint.url=file:/t"], "url is set, but security.protocol is not set"),
        // JAAS entries.
        (&[SASL_SSL, PLAIN, USER, JAAS_PLAIN], "sasl.jaas.config and sasl.username are both set: remove one"),
        (
            &[SASL_SSL, PLAIN, JAAS_PLAIN, "kurier.sasl.password.file=/p"],
            "sasl.jaas.config and kurier.sasl.password.file are both set: remove one",
        ),
        (&[SASL_SSL, JAAS_PLAIN], "sasl.mechanism is missing"),
        (&[SASL_SSL, SCRAM, JAAS_PLAIN], "PlainLoginModule is not for SCRAM-SHA-512: change the login module or"),
        (
            &[SASL_SSL, PLAIN, "sasl.jaas.config=hunter2"],
            "sasl.jaas.config cannot be used: at character 8: no control flag",
        ),
        (&[SASL_SSL, PLAIN, JAAS_EMPTY], "username in sasl.jaas.config is empty"),
        (
            &[SASL_SSL, OAUTHBEARER, JAAS_OIDC],
            "clientId in sasl.jaas.config is set without sasl.oauthbearer.token.endpoint.url: set the URL",
        ),
        (&[SASL_SSL, OAUTHBEARER, ENDPOINT, JAAS_UNSECURED], "and another setting has a token: remove one"),
        // Token endpoints.
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT],
            "client.credentials.client.id is missing: the token endpoint needs the client's id and secret (in sasl.jaas.config: \
             clientId)",
        ),
        (&[SASL_SSL, OAUTHBEARER, ENDPOINT, CLIENT_ID], "client.secret is missing: the token endpoint needs"),
        (&[SASL_SSL, OAUTHBEARER, ENDPOINT, CLIENT_ID, "sasl.oauthbearer.client.secret=hunter2\0"], "a NUL character"),
        (
            &[SASL_SSL, OAUTHBEARER, CLIENT_ID, CLIENT_SECRET],
            "sasl.oauthbearer.client.secret is set without sasl.oauthbearer.token.endpoint.url",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, "sasl.oauthbearer.token.endpoint.url=http://10.0.0.1/t", CLIENT_ID, CLIENT_SECRET],
            "url would send the client's secret unencrypted to 10.0.0.1:80: use https:, or set kurier.sasl.allow.cleartext=true",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, UNSECURED],
            "sasl.oauthbearer.token.endpoint.url and enable.sasl.oauthbearer.unsecure.jwt are both set: remove one",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, TOKEN_FILE, "sasl.oauthbearer.method=oidc"],
            "sasl.oauthbearer.method is oidc, but sasl.oauthbearer.token.endpoint.url names a file: make them agree",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, "sasl.oauthbearer.method=OIDC"],
            "is oidc, but sasl.oauthbearer.token.endpoint.url is missing",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, "sasl.oauthbearer.method=default"],
            "is default, but sasl.oauthbearer.token.endpoint.url names a token endpoint: make them agree",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, FILE_RETRIEVER],
            "class is FileJwtRetriever, but sasl.oauthbearer.token.endpoint.url names a token endpoint: make them agree",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, FILE_RETRIEVER],
            "is FileJwtRetriever, but sasl.oauthbearer.token.endpoint.url is missing",
        ),
        (&[SASL_SSL, OAUTHBEARER, TOKEN_FILE, CLIENT_RETRIEVER], "is ClientCredentialsJwtRetriever, but"),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, CLIENT_ID, CLIENT_SECRET, "https.ca.location=/ca", "https.ca.pem=x"],
            "https.ca.location and https.ca.pem are both set: remove one",
        ),
        (&[CLIENT_SECRET], "sasl.oauthbearer.client.secret is set, but security.protocol is not set"),
        (&[SASL_SSL, OAUTHBEARER, TOKEN_FILE, JAAS_UNSECURED], "and another setting has a token: remove one"),
        // Limits.
        (
            &[SASL_SSL, SCRAM, USER, PASSWORD, "kurier.sasl.scram.max.iterations=4095"],
            "kurier.sasl.scram.max.iterations must be at least 4096, and is 4095",
        ),
        (&[SASL_SSL, SCRAM, "kurier.sasl.scram.max.iterations=1000001"], "must be at most 1000000, and is 1000001"),
        (&[SASL_SSL, SCRAM, "sasl.login.refresh.window.factor=0.4"], "must be at least 0.5, and is 0.4"),
        (&[SASL_SSL, SCRAM, "sasl.login.refresh.window.jitter=0.3"], "must be at most 0.25, and is 0.3"),
        (&[SASL_SSL, SCRAM, "sasl.login.refresh.min.period.seconds=901"], "must be at most 900, and is 901"),
        (&[SASL_SSL, SCRAM, "sasl.login.refresh.buffer.seconds=3601"], "must be at most 3600, and is 3601"),
        (&[SASL_SSL, SCRAM, "sasl.login.connect.timeout.ms=0"], "must be at least 1, and is 0"),
        (
            &[SASL_SSL, SCRAM, "sasl.login.retry.backoff.ms=20000"],
            "must be at most sasl.login.retry.backoff.max.ms, which is 10000",
        ),
        (&[SASL_SSL, OAUTHBEARER, "sasl.oauthbearer.assertion.claim.exp.seconds=0"], "must be at least 1, and is 0"),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, KEY_FILE, "sasl.oauthbearer.assertion.private.key.pem=hunter2"],
            "sasl.oauthbearer.assertion.private.key.file and sasl.oauthbearer.assertion.private.key.pem are both set",
        ),
        (
            &[SASL_SSL, OAUTHBEARER, ENDPOINT, CLIENT_ID, CLIENT_SECRET, "sasl.oauthbearer.assertion.claim.iss=a"],
            "claim.iss is set without sasl.oauthbearer.assertion.private.key.file: set the key",
        ),
        (&[SSL, KEY_FILE], "sasl.oauthbearer.assertion.private.key.file is set, but security.protocol is SSL: set"),
    ];
    for (settings, expected) in cases {
        for is_strict in [true, false] {
            let mut config = config(settings).unwrap();
            config.strict(is_strict);
            let error = config.check().expect_err(expected);
            let text = format!("{error:#}");
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(text.contains(expected) && !text.contains("hunter2"), "{settings:?}: {text}");
        }
    }
}

#[test]
fn wrong_value_is_an_error_that_says_what_to_do() {
    for (setting, expected) in [
        ("security.protocol=TLS", "it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        ("ssl.truststore.type=jks", "only PEM is supported: convert the store by keytool -importkeystore -srckeystore"),
        ("ssl.keystore.type=PKCS12", "only PEM is supported: convert the store by openssl pkcs12 -in FILE.p12 -out"),
        ("ssl.keystore.type=BCFKS", "it is PEM"),
        ("ssl.key.location=-----BEGIN PRIVATE KEY-----hunter2", "takes the path of a file, and has the content of one"),
        ("ssl.enabled.protocols=TLSv1.1,TLSv1.2", "the versions are TLSv1.2 and TLSv1.3; older ones are not safe"),
        ("ssl.protocol=SSLv3", "older ones are not safe"),
        ("ssl.cipher.suites=ECDHE-RSA-AES128-GCM-SHA256", "not OpenSSL's names"),
        ("ssl.endpoint.identification.algorithm=http", "it is https"),
        ("kurier.tls.server.name=kafka-1:9093", "it takes a DNS name or an IP address, without a port"),
        ("kurier.tls.roots=java", "it is auto, system or mozilla"),
        ("kurier.tls.provider=openssl", "it is auto, aws-lc, ring or graviola"),
        ("sasl.mechanism=GSSAPI", "GSSAPI (Kerberos) is not supported: use SCRAM-SHA-512"),
        ("sasl.mechanism=AWS_MSK_IAM", "use OAUTHBEARER, see \"MSK IAM\""),
        ("sasl.mechanisms=PLAIN,SCRAM-SHA-512", "it is exactly one mechanism"),
        ("sasl.login.refresh.window.factor=NaN", "it takes a number, as 0.8"),
        ("kurier.sasl.allow.cleartext=yes", "it is true or false"),
        // Keys that are not supported.
        (
            "ssl.truststore.password=hunter2",
            "remove it: a PEM store has no password, and ssl.key.password protects a key",
        ),
        ("ssl.keystore.password=hunter2", "a JKS or PKCS12 store must be converted to PEM"),
        ("enable.ssl.certificate.verification=false", "for a private authority set ssl.truststore.location"),
        ("ssl.engine.factory.class=com.example.Mine", "give the builder a rustls configuration"),
        ("ssl.provider=BC", "give the builder a rustls configuration"),
        ("security.providers=com.example.Mine", "give the builder a rustls configuration"),
        ("ssl.curves.list=X25519", "give the builder a rustls configuration"),
        ("ssl.sigalgs.list=x", "give the builder a rustls configuration"),
        ("ssl.crl.location=/crl", "give the builder a rustls configuration"),
        ("sasl.login.callback.handler.class=com.example.Mine", "implement TokenProvider"),
        ("sasl.login.class=com.example.Mine", "implement TokenProvider"),
        ("sasl.oauthbearer.metadata.authentication.type=azure_imds", "implement TokenProvider"),
        ("sasl.oauthbearer.method=azure", "it is default or oidc"),
        (
            "sasl.oauthbearer.grant.type=password",
            "it is client_credentials or urn:ietf:params:oauth:grant-type:jwt-bearer",
        ),
        ("sasl.oauthbearer.jwt.retriever.class=com.example.Mine", "for another way implement TokenProvider"),
        ("sasl.oauthbearer.assertion.algorithm=HS256", "unknown algorithm HS256 for assertions: use RS256 or ES256"),
        ("sasl.oauthbearer.assertion.private.key.file=-----BEGIN PRIVATE KEY-----hunter2", "has the content of one"),
        ("sasl.oauthbearer.assertion.claim.nbf.seconds=-1", "it takes a number from 0 to"),
        ("sasl.oauthbearer.assertion.claim.foo=hunter2", "implement TokenProvider"),
        ("sasl.oauthbearer.header.urlencode=yes", "it is true or false"),
        ("sasl.oauthbearer.token.endpoint.url=file:token", "it is as file:///run/secrets/token"),
        ("sasl.oauthbearer.extensions=a=b,c", "it takes NAME=VALUE,NAME=VALUE"),
        ("sasl.oauthbearer.client.credentials.client.secre=hunter2", "implement TokenProvider"),
        ("config.providers=env", "no provider expands them here"),
        ("sasl.passwort=hunter2", "did you mean sasl.password?"),
        ("kurier.tls.server.nam=h", "did you mean kurier.tls.server.name?"),
        ("ssl.foo=1", "the page of kurier::Config lists all settings"),
    ] {
        let error = config(&[setting]).expect_err(setting);
        let (key, _) = setting.split_once('=').unwrap();
        let text = format!("{error:#}");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(text.contains(key) && text.contains(expected) && !text.contains("hunter2"), "{setting}: {text}");
    }
}

#[test]
fn lenient_settings_still_refuse_to_weaken_tls() {
    let mut config = Config::default();
    config.strict(false);
    config.set("ssl.truststore.password", "hunter2").unwrap();
    config.set("ssl.engine.id", "pkcs11").unwrap();
    config.set("enable.ssl.certificate.verification", "true").unwrap();
    config.set("enable.ssl.certificate.verification", "false").unwrap_err();
}

#[test]
fn written_plaintext_leaves_the_rest_without_effect() {
    let settings = [
        "security.protocol=plaintext",
        SCRAM,
        USER,
        PASSWORD,
        CA,
        "ssl.key.password=hunter2",
        "kurier.tls.roots=system",
    ];
    let config = checked(&settings).unwrap();
    assert_eq!(config.security(), &SecurityConfig::default());
    let lines: Vec<String> = config.explain().iter().map(ToString::to_string).collect();
    for line in [
        "security.protocol=PLAINTEXT # set in code (default PLAINTEXT)",
        "sasl.mechanism=SCRAM-SHA-512 # set in code (default none), without effect: security.protocol is PLAINTEXT",
        "sasl.username=alice # set in code (default none), without effect: security.protocol is PLAINTEXT",
        "sasl.password=[hidden] # set in code (default none), without effect: security.protocol is PLAINTEXT",
        "ssl.truststore.location=/ca.pem # set in code (default none), without effect: security.protocol is PLAINTEXT",
        "ssl.key.password=[hidden] # set in code (default none), without effect: security.protocol is PLAINTEXT",
        "kurier.tls.roots=system # set in code (default auto), without effect: security.protocol is PLAINTEXT",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
    }
    assert!(!format!("{config:?}{lines:?}").contains("hunter2"));
}

#[test]
fn settings_give_tls() {
    let tls = |settings: &[&str]| security(settings).tls.unwrap();
    let plain = tls(&[SSL]);
    assert_eq!(plain.trust, Trust::Roots(Roots::Auto));
    assert_eq!((plain.identity, plain.versions, plain.server_name), (None, TlsVersions::BOTH, None));
    assert_eq!((plain.provider, plain.reload), (TlsProvider::Auto, Some(Duration::from_secs(60))));

    let path = |path: &str| PemSource::Path(PathBuf::from(path));
    let text = |setting, text: &str| PemSource::Text { setting, text: text.into() };
    let full = tls(&[
        "security.protocol=ssl",
        "bootstrap.servers=SSL://h:9093",
        "ssl.truststore.certificates=ca",
        "ssl.truststore.type=PEM",
        "ssl.keystore.type=",
        "ssl.certificate.pem=chain",
        "ssl.key.location=/k",
        "ssl.key.password= hunter2 ",
        "ssl.enabled.protocols=TLSv1.3, TLSv1.2",
        "ssl.protocol=TLSv1.2",
        "ssl.cipher.suites=TLS_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384",
        "ssl.endpoint.identification.algorithm=HTTPS",
        "kurier.tls.server.name=kafka.example",
        "kurier.tls.provider=ring",
        "kurier.tls.reload.ms=0",
    ]);
    assert_eq!(full.trust, Trust::Certificates(text("ssl.truststore.certificates", "ca")));
    let identity = Identity {
        certificates: text("ssl.certificate.pem", "chain"),
        key: path("/k"),
        key_password: Some(" hunter2 ".into()),
    };
    assert_eq!(full.identity, Some(identity));
    assert_eq!(full.versions, TlsVersions { tls_1_2: true, tls_1_3: false });
    assert_eq!(full.cipher_suites, ["TLS_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384"]);
    assert_eq!(full.server_name.as_deref(), Some("kafka.example"));
    assert_eq!((full.provider, full.reload), (TlsProvider::Ring, None));

    let bundle = tls(&[SSL, CA, "ssl.keystore.location=/k", "kurier.tls.server.name=::1", "kurier.tls.roots=mozilla"]);
    assert_eq!(bundle.trust, Trust::Certificates(path("/ca.pem")));
    assert_eq!(bundle.identity, Some(Identity { certificates: path("/k"), key: path("/k"), key_password: None }));
    assert_eq!(bundle.server_name.as_deref(), Some("::1"));
}

#[test]
fn settings_give_credentials() {
    let scram = |mechanism, password: &str| {
        LocalCredentials::Known(Credentials::Scram {
            mechanism,
            username: "alice".to_owned(),
            password: password.into(),
            is_delegation_token: false,
        })
    };
    let plain = Credentials::Plain { username: "alice".to_owned(), password: "hunter2".into() };
    let file = LocalCredentials::PasswordFile { username: "alice".to_owned(), path: PathBuf::from("/p") };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let token_file = |name, value| LocalCredentials::TokenFile {
        path: PathBuf::from("/t"),
        extensions: vec![owned(&(name, value))],
    };
    let unsecured = |seconds, extensions: &[(&str, &str)]| {
        LocalCredentials::Unsecured(UnsecuredToken {
            claims: vec![("sub".to_owned(), Claim::Text("alice".to_owned()))],
            lifetime: Duration::from_secs(seconds),
            extensions: extensions.iter().map(owned).collect(),
        })
    };
    let cases: &[(&[&str], LocalCredentials)] = &[
        (&[SASL_SSL, SCRAM, USER, PASSWORD], scram(ScramMechanism::Sha512, "hunter2")),
        (
            &[SASL_PLAINTEXT, "sasl.mechanisms=SCRAM-SHA-256", USER, "sasl.password= hunter2 "],
            scram(ScramMechanism::Sha256, " hunter2 "),
        ),
        (&[SASL_SSL, PLAIN, USER, PASSWORD], LocalCredentials::Known(plain.clone())),
        (
            &[SASL_PLAINTEXT, PLAIN, USER, PASSWORD, "bootstrap.servers=127.1.2.3:1,[::1]:2"],
            LocalCredentials::Known(plain.clone()),
        ),
        (&[SASL_SSL, SCRAM, USER, "kurier.sasl.password.file=/p"], file),
        (&[SASL_SSL, PLAIN, JAAS_PLAIN], LocalCredentials::Known(plain)),
        (
            &[SASL_SSL, SCRAM, JAAS_SCRAM],
            LocalCredentials::Known(Credentials::Scram {
                mechanism: ScramMechanism::Sha512,
                username: "alice".to_owned(),
                password: " hunter2 ".into(),
                is_delegation_token: true,
            }),
        ),
        (
            &[SASL_SSL, OAUTHBEARER, JAAS_OAUTH, TOKEN_FILE, "sasl.oauthbearer.extensions=a=b"],
            token_file("traceId", "1"),
        ),
        (&[SASL_SSL, OAUTHBEARER, TOKEN_FILE, "sasl.oauthbearer.extensions=a=b"], token_file("a", "b")),
        (&[SASL_SSL, OAUTHBEARER, JAAS_UNSECURED], unsecured(3_600, &[])),
        (
            &[SASL_SSL, OAUTHBEARER, UNSECURED, "sasl.oauthbearer.config=principal=alice lifeSeconds=60 extension_a=b"],
            unsecured(60, &[("a", "b")]),
        ),
    ];
    for (settings, expected) in cases {
        let expected = SaslCredentials::Local(expected.clone());
        assert_eq!(security(settings).sasl.unwrap().credentials, expected, "{settings:?}");
    }
    let without = security(&[SASL_SSL, OAUTHBEARER, USER, PASSWORD]);
    assert_eq!(without.sasl.unwrap().credentials, SaslCredentials::Program);
}

#[test]
fn settings_give_a_token_endpoint() {
    let cases: &[(&[&str], [&str; 4])] = &[
        (&[CLIENT_ID, CLIENT_SECRET], ["kurier", "hunter2", "", ""]),
        (&[JAAS_OIDC], ["a", "hunter2", "", ""]),
        // As in Java, a setting counts more than an option.
        (&[JAAS_OIDC, CLIENT_ID, "sasl.oauthbearer.scope=kafka", CLIENT_RETRIEVER], ["kurier", "hunter2", "kafka", ""]),
        (
            &[CLIENT_ID, CLIENT_SECRET, "sasl.oauthbearer.extensions=b=c", "sasl.oauthbearer.method=oidc"],
            ["kurier", "hunter2", "", "b=c"],
        ),
    ];
    for (settings, [id, secret, scope, extensions]) in cases {
        let settings = [&[SASL_SSL, OAUTHBEARER, ENDPOINT], *settings].concat();
        let config = checked(&settings).unwrap_or_else(|error| panic!("{settings:?}: {error:#}"));
        assert!(!format!("{config:?}{:?}", config.explain()).contains("hunter2"));
        assert_eq!(config.clone().check().unwrap(), config);
        let SaslCredentials::Oidc(oidc) = config.security().sasl.clone().unwrap().credentials else { panic!() };
        assert_eq!(oidc.endpoint.to_string(), "https://h/token");
        let proof = ClientProof::Secret { secret: (*secret).into(), encodes_header: false };
        assert_eq!((oidc.client.client_id.as_str(), oidc.client.proof), (*id, proof));
        assert_eq!(oidc.client.scope.as_deref().unwrap_or_default(), *scope);
        let shown: Vec<String> = oidc.extensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(","), *extensions);
        assert_eq!(oidc.tls.trust, Trust::Roots(Roots::Auto));
    }
    const BEARER: &str = "sasl.oauthbearer.grant.type=urn:ietf:params:oauth:grant-type:jwt-bearer";
    for (settings, proof) in [
        (&[][..], ClientProof::Assertion),
        (&[CLIENT_ID, CLIENT_SECRET, CLIENT_RETRIEVER], ClientProof::Assertion),
        (&[BEARER], ClientProof::Bearer),
        (&[BEARER_RETRIEVER, CLIENT_ID], ClientProof::Bearer),
    ] {
        let settings = [&[SASL_SSL, OAUTHBEARER, ENDPOINT, ASSERTION], settings].concat();
        let SaslCredentials::Oidc(oidc) = security(&settings).sasl.unwrap().credentials else { panic!() };
        let file = AssertionSource::File("/a".into());
        assert_eq!((oidc.client.proof, oidc.assertion), (proof, Some(file)), "{settings:?}");
    }
    for settings in [&[BEARER, CLIENT_ID, CLIENT_SECRET], &[BEARER_RETRIEVER, CLIENT_ID, CLIENT_SECRET]] {
        let error = checked(&[&[SASL_SSL, OAUTHBEARER, ENDPOINT], &settings[..]].concat()).unwrap_err();
        assert!(error.to_string().contains("the grant jwt-bearer needs a signed JWT: set sasl.oauthbearer.assertion"));
    }
    let error = checked(&[SASL_SSL, OAUTHBEARER, ENDPOINT, ASSERTION, BEARER, CLIENT_RETRIEVER]).unwrap_err();
    assert!(
        error.to_string().contains("is ClientCredentialsJwtRetriever, but sasl.oauthbearer.grant.type is jwt-bearer")
    );
    let in_the_clear = [SASL_SSL, OAUTHBEARER, CLIENT_ID, CLIENT_SECRET, "https.ca.location=/ca.pem"];
    for (url, allow) in [("127.0.0.1:8080/t", "false"), ("[::1]/t", "false"), ("h/t", "false"), ("10.0.0.1/t", "true")]
    {
        let url = format!("sasl.oauthbearer.token.endpoint.url=http://{url}");
        let allow = format!("kurier.sasl.allow.cleartext={allow}");
        let SecurityConfig { sasl: Some(sasl), .. } = security(&[&in_the_clear, &[&*url, &*allow][..]].concat()) else {
            panic!()
        };
        let SaslCredentials::Oidc(oidc) = sasl.credentials else { panic!() };
        assert_eq!(oidc.tls.trust, Trust::Certificates(PemSource::Path("/ca.pem".into())));
    }
}

#[test]
fn settings_give_assertions_that_the_client_signs() {
    let defaults = AssertionSettings {
        assertion: Assertion {
            algorithm: AssertionAlgorithm::Rs256,
            audience: None,
            issuer: None,
            subject: None,
            lifetime: Duration::from_secs(300),
            tolerance: Duration::from_secs(60),
            has_id: false,
        },
        key: PemSource::Path("/k".into()),
        passphrase: None,
        template: None,
    };
    const PEM: &str = "sasl.oauthbearer.assertion.private.key.pem";
    let all = [
        "sasl.oauthbearer.assertion.private.key.pem=hunter2",
        "sasl.oauthbearer.assertion.private.key.passphrase= hunter2 ",
        "sasl.oauthbearer.assertion.algorithm=es256",
        "sasl.oauthbearer.assertion.jwt.template.file=/t",
        "sasl.oauthbearer.assertion.claim.aud=https://login",
        "sasl.oauthbearer.assertion.claim.iss=orders",
        "sasl.oauthbearer.assertion.claim.sub=alice",
        "sasl.oauthbearer.assertion.claim.exp.seconds=30",
        "sasl.oauthbearer.assertion.claim.nbf.seconds=0",
        "sasl.oauthbearer.assertion.claim.jti.include=true",
    ];
    let given = AssertionSettings {
        assertion: Assertion {
            algorithm: AssertionAlgorithm::Es256,
            audience: Some("https://login".to_owned()),
            issuer: Some("orders".to_owned()),
            subject: Some("alice".to_owned()),
            lifetime: Duration::from_secs(30),
            tolerance: Duration::ZERO,
            has_id: true,
        },
        key: PemSource::Text { setting: PEM, text: "hunter2".into() },
        passphrase: Some(" hunter2 ".into()),
        template: Some("/t".into()),
    };
    for (settings, expected) in [(&[KEY_FILE][..], &defaults), (&all, &given)] {
        for (grant, proof) in [("client_credentials", ClientProof::Assertion), (JWT_BEARER, ClientProof::Bearer)] {
            let grant = format!("sasl.oauthbearer.grant.type={grant}");
            // The key counts more than a secret.
            let settings = [&[SASL_SSL, OAUTHBEARER, ENDPOINT, CLIENT_SECRET, &*grant], settings].concat();
            let config = checked(&settings).unwrap_or_else(|error| panic!("{settings:?}: {error:#}"));
            let explained = config.explain();
            assert!(!format!("{config:?}{explained:?}").contains("hunter2"));
            let secret = explained.iter().find(|line| line.key == CLIENT_SECRET_KEY).unwrap();
            assert_eq!(secret.note.as_deref(), Some("without effect: the client has an assertion"));
            let SaslCredentials::Oidc(oidc) = config.security().sasl.clone().unwrap().credentials else { panic!() };
            assert_eq!(oidc.client.proof, proof);
            assert_eq!(oidc.assertion, Some(AssertionSource::Key(Box::new(expected.clone()))));
        }
    }
    // A file with an assertion counts more than a key; a claim without a key has no effect.
    const AUDIENCE: &str = "sasl.oauthbearer.assertion.claim.aud=a";
    for (settings, why) in [
        (&[ASSERTION, KEY_FILE, AUDIENCE][..], "without effect: sasl.oauthbearer.assertion.file has the assertion"),
        (&[CLIENT_ID, CLIENT_SECRET, AUDIENCE], "without effect: there is no private key for assertions"),
    ] {
        let config = checked(&[&[SASL_SSL, OAUTHBEARER, ENDPOINT], settings].concat()).unwrap();
        let lines = config.explain().into_iter();
        let unused: Vec<_> = lines.filter_map(|line| line.note.map(|note| (line.key, note))).collect();
        let expected = settings.iter().filter(|setting| [KEY_FILE, AUDIENCE].contains(setting));
        let expected = expected.map(|setting| (setting.split('=').next().unwrap().to_owned(), why.to_owned()));
        assert_eq!(unused, expected.collect::<Vec<_>>());
    }
}

#[test]
fn password_goes_in_the_clear_to_this_machine_only() {
    let cases: &[(&[&str], bool)] = &[
        (&[SASL_PLAINTEXT, PLAIN, USER, PASSWORD], false),
        (&[SASL_PLAINTEXT, PLAIN, USER, PASSWORD, "kurier.sasl.allow.cleartext=true"], true),
        (&[SASL_PLAINTEXT, OAUTHBEARER], false),
        (&[SASL_PLAINTEXT, SCRAM, USER, PASSWORD], true),
        (&[SASL_SSL, PLAIN, USER, PASSWORD], true),
        (&[SSL], true),
        (&[], true),
    ];
    for (settings, is_allowed) in cases {
        let with = |servers: &str| checked(&[*settings, &[&format!("bootstrap.servers={servers}")]].concat());
        // The core checks the addresses of names.
        for servers in ["127.0.0.1:1", "[::ffff:127.0.0.1]:1,[::1]:1", "b:1"] {
            with(servers).unwrap();
        }
        let checked = with("127.0.0.1:1,10.0.0.1:9092");
        assert_eq!(checked.is_ok(), *is_allowed, "{settings:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains("unencrypted to 10.0.0.1:9092: use SASL_SSL"), "{error}");
        }
    }
}

#[test]
fn every_protocol_has_its_name() {
    for protocol in SecurityProtocol::ALL {
        assert_eq!(SecurityProtocol::named(&protocol.to_string().to_lowercase()), Some(protocol));
    }
}

#[test]
fn jaas_entry_is_explained_without_its_password() {
    let config = checked(&[SASL_SSL, PLAIN, JAAS_PLAIN]).unwrap();
    let lines: Vec<String> = config.explain().iter().map(ToString::to_string).collect();
    for line in [
        "sasl.username=alice # set by sasl.jaas.config (default none)",
        "sasl.password=[hidden] # set by sasl.jaas.config (default none)",
        "sasl.jaas.config=[hidden] # set in code (default none)",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
    }
    assert!(!format!("{config:?}{config:#?}{lines:?}").contains("hunter2"));
    // A second check finds no conflict with the credentials that the first one derived.
    assert_eq!(config.clone().check().unwrap(), config);
}

#[test]
fn unknown_option_of_a_jaas_entry_is_an_error_or_explained() {
    let entry = JAAS_PLAIN.replace("username", "serviceName=\"kafka\" username");
    let settings = [SASL_SSL, PLAIN, &entry];
    let error = format!("{:#}", checked(&settings).unwrap_err());
    assert!(error.contains("unknown option: PlainLoginModule takes username and password"), "{error}");
    let mut config = config(&settings).unwrap();
    config.strict(false);
    let lines = config.check().unwrap().explain();
    assert!(lines.iter().any(|line| line.key.contains("unknown option") && line.why == "ignored: it is not known"));
}
