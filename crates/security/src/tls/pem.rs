//! Certificates and keys as PEM (RFC 7468, KIP-651): where they come from, and what stands in them.
//!
//! Java's reader accepts a section whose line breaks are spaces, because a properties file joins continued lines. So does
//! this one. Other formats of stores are recognised only to name the command that converts them.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::error::TlsError;
use crate::secret::Secret;

/// Maximum size of a file or a folder of certificates. The bundles of operating systems have about 250 KiB.
const BYTES_MAX: usize = 4 << 20;

/// Maximum number of files in a folder of certificates.
const FILES_MAX: usize = 4096;

/// The place of certificates or of a private key: PEM text, a file, or a folder of files.
///
/// Files are read when [`TlsConfigBuilder::build`](super::TlsConfigBuilder::build) runs, again with every call.
///
/// ```
/// use kurier_security::Secret;
/// use kurier_security::tls::PemSource;
///
/// let key = PemSource::text("ssl.keystore.key", Secret::from("-----BEGIN PRIVATE KEY-----"));
/// assert_eq!(key.to_string(), "ssl.keystore.key");
/// assert_eq!(PemSource::path("/etc/kafka/ca.pem").to_string(), "/etc/kafka/ca.pem");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemSource(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Text { name: String, text: Secret },
    Path(PathBuf),
}

impl PemSource {
    /// PEM text. Errors show `name` for it, such as the name of a setting.
    #[must_use]
    pub fn text(name: impl Into<String>, text: Secret) -> Self {
        Self(Place::Text { name: name.into(), text })
    }

    /// A file, or for root certificates a folder of files. Folders in the folder are not read.
    #[must_use]
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self(Place::Path(path.into()))
    }

    /// Reads the text or the file.
    pub(super) fn document(&self) -> Result<Document, TlsError> {
        match &self.0 {
            Place::Text { name, text } => Document::of_text(name, text),
            Place::Path(path) if path.is_dir() => Err(TlsError::configuration(format!(
                "{self} is a folder: name the file with the certificate or the key"
            ))),
            Place::Path(path) => Document::of_file(path, BYTES_MAX),
        }
    }

    /// Reads the text, the file, or each file of the folder in the order of their names.
    pub(super) fn documents(&self) -> Result<Vec<Document>, TlsError> {
        match &self.0 {
            Place::Path(path) if path.is_dir() => folder(path),
            _ => Ok(vec![self.document()?]),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(&self.0, Place::Path(path) if path.is_dir())
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Text { name, .. } => f.write_str(name),
            Place::Path(path) => path.display().fmt(f),
        }
    }
}

fn folder(path: &Path) -> Result<Vec<Document>, TlsError> {
    let cannot_read =
        |error| TlsError::configuration(format!("cannot read the folder {}", path.display())).because(error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(cannot_read)? {
        let file = entry.map_err(cannot_read)?.path();
        // Follows links, as OpenSSL's folders of hashed names need. A dead link is skipped.
        if file.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(TlsError::configuration(format!("{} has more than {FILES_MAX} files", path.display())));
        }
    }
    files.sort_unstable();
    let mut room = BYTES_MAX;
    let mut documents = Vec::new();
    for file in files {
        let document = Document::of_file(&file, room)?;
        room = room.saturating_sub(document.bytes.len());
        documents.push(document);
    }
    Ok(documents)
}

/// PEM text with the name that errors show for it.
pub(super) struct Document {
    pub(super) name: String,
    bytes: Zeroizing<Vec<u8>>,
}

impl Document {
    fn of_text(name: &str, text: &Secret) -> Result<Self, TlsError> {
        if text.expose().len() > BYTES_MAX {
            return Err(too_large(name));
        }
        Ok(Self { name: name.to_owned(), bytes: Zeroizing::new(text.expose().to_vec()) })
    }

    fn of_file(path: &Path, bytes_max: usize) -> Result<Self, TlsError> {
        let name = path.display().to_string();
        let cannot_read = |error| TlsError::configuration(format!("cannot read {name}")).because(error);
        let file = File::open(path).map_err(cannot_read)?;
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        // Allocate once: a growing vector would leave copies of a key in memory.
        let expected = file.metadata().map_or(0, |metadata| metadata.len()).min(limit);
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1));
        file.take(limit).read_to_end(&mut bytes).map_err(cannot_read)?;
        if bytes.len() > bytes_max {
            return Err(too_large(&name));
        }
        Ok(Self { name, bytes })
    }

    /// Decodes a text that is base64 as a whole, without sections.
    #[cfg(feature = "sasl")]
    pub(super) fn base64(&self) -> Option<Zeroizing<Vec<u8>>> {
        decode(Label::PrivateKey, &self.bytes)
    }

    /// Returns the sections that hold a certificate or a private key.
    pub(super) fn sections(&self) -> Result<Vec<Section>, TlsError> {
        let sections = sections(&self.bytes).map_err(|damage| {
            let Damage { number, label, what } = damage;
            TlsError::configuration(format!("{}: section {number} ({label}) {what}", self.name))
        })?;
        if sections.is_empty()
            && let Some(format) = Format::of(&self.bytes)
        {
            return Err(TlsError::configuration(format!("{} is {}", self.name, format.advice(&self.name))));
        }
        Ok(sections)
    }
}

fn too_large(name: &str) -> TlsError {
    TlsError::configuration(format!("{name} has more than 4 MiB: leave only the certificates that are needed"))
}

/// A certificate or a private key.
pub(super) struct Section {
    pub(super) label: Label,
    pub(super) der: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    /// PKCS#8.
    PrivateKey,
    /// PKCS#8, encrypted.
    EncryptedPrivateKey,
    /// PKCS#1.
    RsaPrivateKey,
    /// SEC1.
    EcPrivateKey,
}

impl Label {
    fn of(label: &str) -> Option<Self> {
        Some(match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "PRIVATE KEY" => Self::PrivateKey,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedPrivateKey,
            "RSA PRIVATE KEY" => Self::RsaPrivateKey,
            "EC PRIVATE KEY" => Self::EcPrivateKey,
            _ => return None,
        })
    }
}

/// A section that cannot be read. It holds nothing of the section's body.
#[derive(Debug)]
struct Damage {
    /// Counted from 1.
    number: usize,
    label: String,
    what: &'static str,
}

/// Splits text into sections and decodes those with a known label.
fn sections(text: &[u8]) -> Result<Vec<Section>, Damage> {
    // Line breaks count as spaces.
    let spaced = |byte: &u8| if byte.is_ascii_whitespace() { b' ' } else { *byte };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().map(spaced).collect());
    let mut sections = Vec::new();
    let mut rest = text.as_slice();
    for number in 1.. {
        let Some((_, tail)) = split(rest, b"-----BEGIN ") else { break };
        let Some((label, tail)) = split(tail, b"-----") else { break };
        let label = String::from_utf8_lossy(label.get(..40).unwrap_or(label)).escape_debug().to_string();
        let damage = |what| Damage { number, label: label.clone(), what };
        let end = format!("-----END {label}-----");
        let Some((body, tail)) = split(tail, end.as_bytes()) else { return Err(damage("has no end")) };
        rest = tail;
        if split(body, b"Proc-Type:").is_some() {
            return Err(damage(
                "is encrypted in OpenSSL's old format: convert it with openssl pkcs8 -topk8 -v2 aes256",
            ));
        }
        match (Label::of(&label), label.as_str()) {
            (Some(label), _) => {
                let der = decode(label, body).ok_or_else(|| damage("is not base64 text"))?;
                sections.push(Section { label, der });
            }
            (None, "TRUSTED CERTIFICATE") => {
                return Err(damage("is in OpenSSL's own format: convert it with openssl x509"));
            }
            (None, "OPENSSH PRIVATE KEY" | "DSA PRIVATE KEY") => {
                return Err(damage("is of no use for TLS: convert or replace it with openssl"));
            }
            // Parameters of a curve, public keys, requests.
            (None, _) => {}
        }
    }
    Ok(sections)
}

/// Splits at the first occurrence of a marker, which neither part has.
fn split<'a>(text: &'a [u8], marker: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(marker.len()).position(|window| window == marker)?;
    Some((text.get(..at)?, text.get(at + marker.len()..)?))
}

/// Decodes a body, in constant time if it is secret.
fn decode(label: Label, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // A hyphen is part of another section's marker.
    if body.contains(&b'-') {
        return None;
    }
    // The decoder accepts only these labels, each on its own line.
    let name = if label == Label::Certificate { "CERTIFICATE" } else { "PRIVATE KEY" };
    let (begin, end) = (format!("-----BEGIN {name}-----\n"), format!("\n-----END {name}-----\n"));
    let mut section = Zeroizing::new(Vec::with_capacity(begin.len() + body.len() + end.len()));
    section.extend_from_slice(begin.as_bytes());
    section.extend_from_slice(body);
    section.extend_from_slice(end.as_bytes());
    let (_, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&section).ok()?;
    Some(Zeroizing::new(der)).filter(|der| !der.is_empty())
}

/// A format that is not PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Empty,
    Jks,
    Pkcs12,
    Der,
    Utf16,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [] => Self::Empty,
            [0xFE, 0xED, 0xFE, 0xED, ..] | [0xCE, 0xCE, 0xCE, 0xCE, ..] => Self::Jks,
            // A sequence that begins with the version 3, after a length of one to four bytes or none.
            [0x30, 0x80, 2, 1, 3, ..] | [0x30, 0x81, _, 2, 1, 3, ..] | [0x30, 0x82, _, _, 2, 1, 3, ..] => Self::Pkcs12,
            [0x30, 0x83, _, _, _, 2, 1, 3, ..] | [0x30, 0x84, _, _, _, _, 2, 1, 3, ..] => Self::Pkcs12,
            [0x30, 0x81..=0x84, ..] => Self::Der,
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Self::Utf16,
            _ => return None,
        })
    }

    fn advice(self, name: &str) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Jks => format!(
                "a Java keystore (JKS), and Kurier reads PEM: convert it with keytool -importkeystore -srckeystore {name} \
                 -destkeystore X.p12 -deststoretype PKCS12, then openssl pkcs12 -in X.p12 -out X.pem (with -nokeys for a \
                 truststore)"
            ),
            Self::Pkcs12 => format!(
                "a PKCS#12 store, and Kurier reads PEM: convert it with openssl pkcs12 -in {name} -out X.pem (with \
                 -nokeys for a truststore)"
            ),
            Self::Der => format!(
                "in DER form, and Kurier reads PEM: convert it with openssl x509 -inform der -in {name} -out X.pem, or a \
                 key with openssl pkey -inform der"
            ),
            Self::Utf16 => "UTF-16 text, and Kurier reads PEM in ASCII: save it as UTF-8".to_owned(),
        }
    }
}
