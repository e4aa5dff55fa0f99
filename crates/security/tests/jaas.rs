//! JAAS entries, against Java's reading of the same text, and the meaning of their options.
#![cfg(feature = "sasl")]

use std::collections::BTreeMap;
use std::time::Duration;

use kurier_security::{Claim, Credentials, JaasEntry, JaasErrorKind, JaasLogin, Mechanism, OauthLogin, ScramMechanism};
use serde_json::Value;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// Each line of `testdata/sasl/jaas.jsonl` has a text, and the module and options that Java reads, or Java's error.
#[test]
fn entries_have_the_options_that_java_reads() {
    let lines = include_str!("../../../testdata/sasl/jaas.jsonl").lines();
    let mut counts = [0, 0];
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let config = line["config"].as_str().unwrap();
        let ours = JaasEntry::parse(config).ok().map(|entry| {
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            let options = entry.options().map(|(name, value)| (name.to_owned(), text(value.expose()))).collect();
            (entry.module().to_owned(), options)
        });
        let java = line["module"].as_str().map(|module| {
            let options = line["options"].as_object().unwrap().iter();
            let options: BTreeMap<_, _> =
                options.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            (module.to_owned(), options)
        });
        // Java gives an option without a name the name null, and forbids two modules by their names.
        let is_nameless = java.as_ref().is_some_and(|(_, options)| options.contains_key("null"));
        let is_forbidden = line["error"].as_str().is_some_and(|error| error.contains("is not allowed"));
        match is_nameless || is_forbidden {
            true => assert_eq!(ours.is_some(), is_forbidden, "{config}"),
            false => assert_eq!(ours, java, "{config}"),
        }
        counts[usize::from(java.is_some())] += 1;
    }
    println!("Java reads {} entries and refuses {}", counts[1], counts[0]);
    assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
}

#[test]
fn mistake_has_position_and_kind_and_shows_no_value() {
    use JaasErrorKind::*;
    let long = "x".repeat(64 * 1024 + 1);
    let many: String = (0..101).map(|index| format!(" o{index}=v")).collect();
    let many = format!("M required{many};");
    let cases = [
        ("", 1, NoModule),
        ("  // only a comment", 20, NoModule),
        ("  ; ", 3, NoModule),
        ("\"\" required;", 1, NoModule),
        ("12 required;", 1, NoModule),
        ("hunter2", 8, NoFlag),
        ("M ;", 3, NoFlag),
        ("M {", 3, NoFlag),
        ("M hunter2;", 3, UnknownFlag),
        ("M required", 11, Unterminated),
        ("M required é=\"hunter2;", 23, Unterminated),
        ("M required password=\"hunter2\"", 30, Unterminated),
        ("M required , password=\"hunter2\";", 12, NoName),
        ("M required password=\"hunter2\", b=c;", 30, NoName),
        ("M required 7=hunter2;", 12, NoName),
        ("M required hunter2;", 19, NoValue),
        ("M required password hunter2;", 21, NoValue),
        ("M required password=;", 21, NoValue),
        ("M required password=2hunter2;", 21, NoValue),
        ("M required é=\"é\" password=-hunter2;", 27, NoValue),
        ("M required password=hunter2@x;", 28, NoName),
        ("M required password=\"hunter2\"hunter2\";", 37, NoValue),
        ("M required a=b; x", 17, SecondEntry),
        ("M required a=b;;", 16, SecondEntry),
        (&long, 1, TooLong),
        (&many, 602, TooManyOptions),
    ];
    for (text, position, kind) in cases {
        let error = JaasEntry::parse(text).unwrap_err();
        assert_eq!((error.position(), error.kind()), (position, &kind), "{text}");
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error}");
    }
}

fn login(module: &str, options: &str, mechanism: Mechanism) -> Result<JaasLogin, String> {
    let entry = JaasEntry::parse(&format!("{module} required {options};")).unwrap();
    entry.login(mechanism).map_err(|error| error.to_string())
}

fn oauth(options: &str) -> OauthLogin {
    match login(OAUTH, options, Mechanism::OauthBearer) {
        Ok(JaasLogin::Oauth(login)) => login,
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_and_scram_entries_are_credentials() {
    let alice = "username=alice password=\" s3cret\"";
    let plain = Credentials::Plain { username: "alice".to_owned(), password: " s3cret".into() };
    assert_eq!(login(PLAIN, alice, Mechanism::Plain), Ok(JaasLogin::Credentials(plain)));
    let scram = |mechanism, is_delegation_token| {
        let (username, password) = ("alice".to_owned(), " s3cret".into());
        Ok(JaasLogin::Credentials(Credentials::Scram { mechanism, username, password, is_delegation_token }))
    };
    assert_eq!(login(SCRAM, alice, Mechanism::ScramSha256), scram(ScramMechanism::Sha256, false));
    assert_eq!(login(SCRAM, alice, Mechanism::ScramSha512), scram(ScramMechanism::Sha512, false));
    for (value, is_delegation_token) in [("true", true), ("\"TRUE\"", true), ("false", false)] {
        let options = format!("{alice} tokenauth={value}");
        assert_eq!(login(SCRAM, &options, Mechanism::ScramSha512), scram(ScramMechanism::Sha512, is_delegation_token));
    }
}

#[test]
fn oauth_entry_says_how_to_get_a_token() {
    assert_eq!(oauth(""), OauthLogin::default());
    let login = oauth(
        "clientId=id clientSecret=\"s3cret\" scope=\"a b\" extension_b=2 extension_a=\"x=y\""
            .replace("=2", "=\"2\"")
            .as_str(),
    );
    assert_eq!((login.client_id.as_deref(), login.scope.as_deref()), (Some("id"), Some("a b")));
    assert_eq!(login.client_secret, Some("s3cret".into()));
    assert_eq!(login.extensions, [("a", "x=y"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(login.unsecured, None);
    assert!(!format!("{login:?}").contains("s3cret"));

    let unsecured = oauth(
        "unsecuredLoginStringClaim_sub=alice unsecuredLoginNumberClaim_n=\"1.5\" unsecuredLoginListClaim_scope=\"|a|b c\" \
         unsecuredLoginListClaim_empty=\"\" unsecuredLoginLifetimeSeconds=\"60\" unsecuredLoginExtension_traceId=\"7\"",
    )
    .unsecured
    .unwrap();
    let expected = [
        ("empty", Claim::List(Vec::new())),
        ("n", Claim::Number(1.5)),
        ("scope", Claim::List(vec!["a".to_owned(), "b c".to_owned()])),
        ("sub", Claim::Text("alice".to_owned())),
    ];
    assert_eq!(unsecured.claims, expected.map(|(name, claim)| (name.to_owned(), claim)));
    assert_eq!(unsecured.lifetime, Duration::from_secs(60));
    assert_eq!(unsecured.extensions, [("traceId".to_owned(), "7".to_owned())]);
    let other = oauth("unsecuredLoginPrincipalClaimName=user unsecuredLoginStringClaim_user=alice").unsecured.unwrap();
    assert_eq!(other.lifetime, Duration::from_secs(3_600));
}

#[test]
fn wrong_entry_says_why() {
    let alice = "username=alice password=hunter2";
    let scram = Mechanism::ScramSha512;
    let bearer = Mechanism::OauthBearer;
    let principal = "unsecuredLoginStringClaim_sub=alice";
    let cases = [
        (PLAIN, alice, scram, "PlainLoginModule is not for SCRAM-SHA-512: change the login module or sasl.mechanism"),
        (SCRAM, alice, Mechanism::Plain, "ScramLoginModule is not for PLAIN"),
        (OAUTH, alice, Mechanism::Plain, "OAuthBearerLoginModule is not for PLAIN"),
        (PLAIN, "password=hunter2", Mechanism::Plain, "the option username is missing"),
        (SCRAM, "username=alice", scram, "the option password is missing"),
        (SCRAM, &format!("{alice} tokenauth=yes"), scram, "tokenauth cannot have this value: it is true or false"),
        (
            "PlainLoginModule",
            alice,
            Mechanism::Plain,
            "the login module at this place is not supported: use org.apache.kafka",
        ),
        ("org.example.Module", alice, Mechanism::Plain, "the login module org.example.Module is not supported: use"),
        (
            "com.sun.security.auth.module.Krb5LoginModule",
            "",
            scram,
            "GSSAPI (Kerberos) is not supported: use ScramLoginModule",
        ),
        ("software.amazon.msk.auth.iam.IAMLoginModule", "", bearer, "AWS_MSK_IAM is not supported: use OAUTHBEARER"),
        (OAUTH, "extension_=hunter2", bearer, "extension_ cannot have this value: a name must follow the underscore"),
        (OAUTH, "unsecuredLoginStringClaim_x=y", bearer, "the option unsecuredLoginStringClaim_sub is missing"),
        (OAUTH, "unsecuredLoginLifetimeSeconds=\"60\"", bearer, "the option unsecuredLoginStringClaim_sub is missing"),
        (OAUTH, &format!("{principal} unsecuredLoginNumberClaim_n=x"), bearer, "it is a number"),
        (OAUTH, &format!("{principal} unsecuredLoginNumberClaim_n=inf"), bearer, "it is a number"),
        (
            OAUTH,
            &format!("{principal} unsecuredLoginNumberClaim_exp=\"1\""),
            bearer,
            "each token has its own iat and exp",
        ),
        (OAUTH, &format!("{principal} unsecuredLoginListClaim_sub=\",a\""), bearer, "two options have the same claim"),
        (
            OAUTH,
            &format!("{principal} unsecuredLoginLifetimeSeconds=\"0\""),
            bearer,
            "a number of seconds up to a year",
        ),
    ];
    for (module, options, mechanism, text) in cases {
        let error = login(module, options, mechanism).unwrap_err();
        assert!(error.contains(text) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn unknown_option_is_found_but_not_shown() {
    let cases = [
        (PLAIN, "username=a password=b", None),
        (SCRAM, "username=a password=b tokenauth=true", None),
        (OAUTH, "clientId=a extension_x=y unsecuredLoginStringClaim_sub=a unsecuredLoginScopeClaimName=b", None),
        (
            PLAIN,
            "username=a hunter2=b Password=c",
            Some("at character 77: unknown option: PlainLoginModule takes username and password"),
        ),
        (PLAIN, "username=a password=b tokenauth=true", Some("PlainLoginModule takes username and password")),
        (
            OAUTH,
            "username=a",
            Some("OAuthBearerLoginModule takes clientId, clientSecret, scope, extension_NAME and unsecuredLogin..."),
        ),
        ("org.example.Module", "a=b", None),
    ];
    for (module, options, expected) in cases {
        let entry = JaasEntry::parse(&format!("{module} required {options};")).unwrap();
        let error = entry.unknown_option().map(|error| error.to_string());
        assert_eq!(error.is_some(), expected.is_some(), "{error:?}");
        let error = error.unwrap_or_default();
        assert!(error.contains(expected.unwrap_or_default()) && !error.contains("hunter2"), "{error}");
        assert!(!format!("{entry:?}").contains("hunter2"));
    }
}
