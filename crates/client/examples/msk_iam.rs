//! Sends a record to Amazon MSK with IAM: the token is a URL that AWS credentials have signed.
//!
//! ```console
//! $ export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... AWS_SESSION_TOKEN=... AWS_REGION=eu-west-1
//! $ cargo run --example msk_iam --features tls-ring -- b-1.mycluster.kafka.eu-west-1.amazonaws.com:9098 orders
//! ```
//!
//! The token is the URL of the action `kafka-cluster:Connect`, signed for 15 minutes with AWS Signature Version 4, in
//! base64. The example reads credentials from the environment. A service should ask the AWS SDK for them, because they
//! expire.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::env;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kurier::credentials::{BoxFuture, Secret, Token, TokenError, TokenProvider, TokenRequest};
use kurier::{Producer, Record};
use sha2::{Digest, Sha256};

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(900);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(servers), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("give bootstrap servers and a topic".into());
    };
    let producer = Producer::builder()
        .bootstrap_servers([servers])
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", "OAUTHBEARER")
        .token_provider(MskIam { region: env::var("AWS_REGION")? })
        .build()
        .await?;
    let metadata = producer.deliver(Record::to(&topic).value("signed by AWS")).await?;
    println!("{metadata:?}");
    Ok(())
}

#[derive(Debug)]
struct MskIam {
    region: String,
}

impl TokenProvider for MskIam {
    fn token<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<Token, TokenError>> {
        Box::pin(async {
            let variable = |name| env::var(name).map_err(|_| TokenError::refused(format!("{name} is not set")));
            let keys = Keys {
                id: variable("AWS_ACCESS_KEY_ID")?,
                secret: variable("AWS_SECRET_ACCESS_KEY")?.into(),
                session: env::var("AWS_SESSION_TOKEN").ok(),
            };
            let now = now();
            let url = signed_url(&self.region, &keys, now);
            let expires_at = UNIX_EPOCH + now + LIFETIME;
            Ok(Token { value: URL_SAFE_NO_PAD.encode(url).into(), expires_at, extensions: Vec::new() })
        })
    }
}

/// AWS credentials.
struct Keys {
    id: String,
    secret: Secret,
    session: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "a signature has the time")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Signs the URL of `kafka-cluster:Connect` (AWS Signature Version 4, in the query).
fn signed_url(region: &str, keys: &Keys, now: Duration) -> String {
    let host = format!("kafka.{region}.amazonaws.com");
    let time = timestamp(now.as_secs());
    let date = &time[..8];
    let scope = format!("{date}/{region}/kafka-cluster/aws4_request");
    // The names are in alphabetical order, as the signature demands.
    let mut query = format!(
        "Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={time}&X-Amz-Expires={}",
        escaped(&format!("{}/{scope}", keys.id)),
        LIFETIME.as_secs()
    );
    if let Some(session) = &keys.session {
        query += &format!("&X-Amz-Security-Token={}", escaped(session));
    }
    query += "&X-Amz-SignedHeaders=host";
    let request = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{}", hex(&Sha256::digest(b"")));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let mut key = [b"AWS4", keys.secret.expose()].concat();
    for part in [date, region, "kafka-cluster", "aws4_request"] {
        key = hmac(&key, part);
    }
    format!("https://{host}/?{query}&X-Amz-Signature={}&User-Agent=kurier", hex(&hmac(&key, &text)))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Escapes a value of a query.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

/// Writes a time as `20150830T123600Z`.
fn timestamp(seconds: u64) -> String {
    // Days to a date, after Howard Hinnant's `civil_from_days`.
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_aws_reads_them() {
        for (seconds, text) in
            [(0, "19700101T000000Z"), (1_440_938_160, "20150830T123600Z"), (1_709_210_096, "20240229T123456Z")]
        {
            assert_eq!(timestamp(seconds), text);
        }
    }

    /// The key is the one of the example in AWS's documentation of Signature Version 4.
    #[test]
    fn signature_derives_its_key_as_aws_documents() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20150830", "us-east-1", "iam", "aws4_request"] {
            key = hmac(&key, part);
        }
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn url_has_every_part_once_and_no_secret() {
        let keys = Keys { id: "AKID".to_owned(), secret: "s3cret".into(), session: Some("a/b+c".to_owned()) };
        let url = signed_url("eu-west-1", &keys, Duration::from_secs(1_440_938_160));
        let parts = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
                     &X-Amz-Credential=AKID%2F20150830%2Feu-west-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20150830T123600Z\
                     &X-Amz-Expires=900&X-Amz-Security-Token=a%2Fb%2Bc&X-Amz-SignedHeaders=host&X-Amz-Signature=";
        assert!(url.starts_with(parts), "{url}");
        assert!(!url.contains("s3cret"));
    }
}
