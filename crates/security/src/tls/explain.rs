//! The meaning of a failed handshake, with advice. Texts name settings, as users know them.

use std::io;
use std::net::IpAddr;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use rustls_pki_types::UnixTime;

use super::error::{TlsError, TlsErrorKind};
use crate::printable::printable;

/// Maximum number of names of a certificate in an error.
const NAMES_MAX: usize = 5;

/// Facts about our side of a failed handshake.
pub(super) struct Side<'a> {
    /// The name that the broker's certificate had to have.
    pub(super) server_name: &'a str,
    /// Roots with their origin; `None` if the application's configuration has them.
    pub(super) roots: Option<String>,
    /// Whether we have a client certificate; `None` if only the application knows.
    pub(super) has_identity: Option<bool>,
    /// Versions of TLS that we offer, for texts.
    pub(super) versions: String,
}

/// Returns rustls' error in an error of a socket.
pub(super) fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Explains an error of a handshake. Mentions the port only if no connection to the broker was ever ready.
pub(super) fn handshake(error: &io::Error, side: &Side<'_>, has_been_ready: bool) -> TlsError {
    const PLAINTEXT: &str = "is this a PLAINTEXT port? set security.protocol=PLAINTEXT, or SASL_PLAINTEXT with SASL";
    let hint = |what: &str| if has_been_ready { what.to_owned() } else { format!("{what}: {PLAINTEXT}") };
    match (of_rustls(error), error.kind()) {
        (Some(Error::InvalidMessage(_)), _) => network(hint("the answer to the TLS handshake is not TLS")),
        (Some(error), _) => tls(error, side),
        (
            None,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => network(hint("the TLS handshake was cut off")),
        (None, kind) => network("the TLS handshake failed").because(io::Error::new(kind, error.to_string())),
    }
}

/// Explains an error of rustls, in the handshake or later: in TLS 1.3 a broker refuses a client's certificate only after
/// the client's handshake.
pub(super) fn tls(error: &Error, side: &Side<'_>) -> TlsError {
    match error {
        Error::InvalidCertificate(error) => certificate(error, side),
        Error::AlertReceived(alert) => by_alert(*alert, side),
        Error::PeerIncompatible(why) => incompatible(why, side),
        Error::NoCertificatesPresented => {
            authentication("the broker has no certificate: check its ssl.keystore settings")
        }
        error => network("TLS failed").because(error.clone()),
    }
}

fn authentication(text: impl Into<String>) -> TlsError {
    TlsError::new(TlsErrorKind::Authentication, text)
}

fn network(text: impl Into<String>) -> TlsError {
    TlsError::new(TlsErrorKind::Network, text)
}

/// Explains a certificate of the broker that is not accepted.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds reasons in minor versions")]
fn certificate(error: &CertificateError, side: &Side<'_>) -> TlsError {
    authentication(match error {
        CertificateError::Expired => "the broker's certificate expired: renew it, or check this machine's clock".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the broker's certificate expired {} ago ({}): renew it, or check this machine's clock",
            span(*not_after, *time),
            date(*not_after)
        ),
        CertificateError::NotValidYet => "the broker's certificate is not valid yet: check this machine's clock".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the broker's certificate is not valid for another {} (until {}): check this machine's clock",
            span(*time, *not_before),
            date(*not_before)
        ),
        CertificateError::UnknownIssuer => format!(
            "the broker's certificate is signed by no trusted authority{}: set ssl.truststore.certificates or \
             ssl.truststore.location to the certificate of its authority",
            roots(side)
        ),
        CertificateError::BadSignature => format!(
            "the signature of the broker's certificate does not fit the trusted authority of that name{}: was the authority \
             renewed? add its new certificate to ssl.truststore.*",
            roots(side)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => names(presented, side.server_name),
        CertificateError::NotValidForName => format!(
            "the broker's certificate is not for {}: check advertised.listeners, or set kurier.tls.server.name",
            side.server_name
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the broker's certificate is not for servers: issue one with the extended key usage serverAuth".to_owned()
        }
        CertificateError::Revoked => "the broker's certificate is revoked: issue a new one".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "the broker's certificate is that of an authority (CA:true), which may only sign others: issue one of its own \
                 for the broker (CA:false), and trust its issuer"
                    .to_owned()
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "the broker's certificate has an X.509 version below 3, so it names no host: issue it again with a \
                 subjectAltName (openssl x509 -req -extfile ...)"
                    .to_owned()
            }
            _ => return authentication("the broker's certificate is not accepted").because(Error::InvalidCertificate(error.clone())),
        },
        error => return authentication("the broker's certificate is not accepted").because(Error::InvalidCertificate(error.clone())),
    })
}

fn roots(side: &Side<'_>) -> String {
    side.roots.as_ref().map(|roots| format!(" ({roots})")).unwrap_or_default()
}

/// Explains a certificate with other names. The names come from the broker, and rustls writes them as `DnsName("...")`.
fn names(presented: &[String], expected: &str) -> String {
    let name = |name: &String| {
        let dns = name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")"));
        let address = name.strip_prefix("IpAddress(").and_then(|name| name.strip_suffix(")"));
        // rustls writes `0::1`, which people write `::1`.
        let address =
            address.map(|text| text.parse().map_or_else(|_| text.to_owned(), |address: IpAddr| address.to_string()));
        dns.map(str::to_owned).or(address).map(|name| printable(name.as_bytes()))
    };
    let names: Vec<String> = presented.iter().filter_map(name).collect();
    if names.is_empty() {
        return format!(
            "the broker's certificate names no host (its common name does not count): issue it again with {expected} as a \
             subjectAltName"
        );
    }
    let more = names.len().saturating_sub(NAMES_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "the broker's certificate is for {names}{more}, not {expected}: check advertised.listeners, or set \
         kurier.tls.server.name"
    )
}

/// Explains an alert that the broker sent.
fn by_alert(alert: AlertDescription, side: &Side<'_>) -> TlsError {
    use AlertDescription as Alert;
    let name = alert_name(alert);
    match alert {
        Alert::CertificateRequired
        | Alert::NoCertificate
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => match side.has_identity {
            Some(false) => {
                authentication(format!("the broker requires a client certificate ({name}): set ssl.keystore.location"))
            }
            Some(true) => {
                let advice = match alert {
                    Alert::CertificateExpired => "renew the certificate of ssl.keystore.*",
                    Alert::CertificateRevoked => "replace the certificate of ssl.keystore.*",
                    _ => "does the broker's ssl.truststore have the authority that signed ssl.keystore.*?",
                };
                authentication(format!("the broker refused our client certificate ({name}): {advice}"))
            }
            None => authentication(format!(
                "the broker requires a client certificate, or refused ours ({name}): check the application's \
                 rustls::ClientConfig"
            )),
        },
        Alert::HandshakeFailure if side.has_identity == Some(false) => authentication(format!(
            "the broker refused the TLS handshake ({name}): it requires a client certificate (ssl.keystore.*), or we have no \
             cipher suite in common (ssl.cipher.suites)"
        )),
        Alert::HandshakeFailure | Alert::InsufficientSecurity => authentication(format!(
            "the broker refused the TLS handshake ({name}): we have no cipher suite in common (ssl.cipher.suites)"
        )),
        Alert::ProtocolVersion => authentication(no_common_version(side, &name)),
        Alert::UnrecognisedName => authentication(format!(
            "the broker does not know the name {} ({name}): check advertised.listeners, or set kurier.tls.server.name",
            side.server_name
        )),
        _ => network(format!("the broker ended the connection with the TLS alert {name}")),
    }
}

fn incompatible(why: &PeerIncompatible, side: &Side<'_>) -> TlsError {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => authentication(no_common_version(side, "its answer")),
        _ => authentication("the broker and we have no way of TLS in common")
            .because(Error::PeerIncompatible(why.clone())),
    }
}

fn no_common_version(side: &Side<'_>, sign: &str) -> String {
    format!(
        "the broker and we have no version of TLS in common ({sign}); we offer {}: check ssl.enabled.protocols on both sides",
        side.versions
    )
}

/// Returns the name in RFC 8446, such as `unknown_ca`.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut was_lower = false;
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && was_lower {
            name.push('_');
        }
        was_lower = letter.is_ascii_lowercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Returns the time between two points in days, or hours or minutes if it is short.
fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match (seconds / 86_400, seconds / 3_600) {
        (0, 0) => format!("{} min", seconds / 60),
        (0, hours) => format!("{hours} h"),
        (days, _) => format!("{days} d"),
    }
}

/// Returns the day in UTC, such as `2026-11-26`.
fn date(time: UnixTime) -> String {
    const LAST_YEAR: u64 = 9999;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut days = time.as_secs() / 86_400;
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length || year == LAST_YEAR {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days.min(30) + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // The output of date -u -d @SECONDS +%F.
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_651_200, "2026-11-26"),
            (1_798_675_200, "2026-12-31"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(date(at(seconds)), day, "{seconds}");
        }
    }

    #[test]
    fn spans_are_days_or_shorter_units() {
        for (seconds, shown) in [(0, "0 min"), (3_599, "59 min"), (3_600, "1 h"), (86_399, "23 h"), (259_200, "3 d")] {
            assert_eq!(span(at(1_000), at(1_000 + seconds)), shown);
        }
        assert_eq!(span(at(5), at(1)), "0 min");
    }

    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        for (alert, name) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadCertificate, "bad_certificate"),
            (AlertDescription::CertificateRequired, "certificate_required"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }

    #[test]
    fn names_of_a_broker_are_cut_and_escaped() {
        let presented: Vec<String> = (1..=7).map(|index| format!("DnsName(\"b{index}\u{1b}\")")).collect();
        let text = names(&presented, "b9");
        assert!(text.contains("for b1\\u{1b}, b2") && text.contains("b5\\u{1b} and 2 more, not b9: "), "{text}");
    }
}
