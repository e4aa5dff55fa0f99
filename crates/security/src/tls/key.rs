//! Private keys as PEM: PKCS#8, PKCS#1 or SEC1, also encrypted (PKCS#8).

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use super::error::TlsError;
use super::pem::{Document, Label, Section};
use crate::secret::Secret;

/// Returns a document's only private key. Errors name the setting of its password.
pub(super) fn private_key(
    document: &Document,
    setting: &str,
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let name = &document.name;
    let mut keys = document.sections()?.into_iter().filter(|section| section.label != Label::Certificate);
    let Some(Section { label, der }) = keys.next() else {
        return Err(TlsError::configuration(format!(
            "{name} has no private key: it needs a section that starts with -----BEGIN PRIVATE KEY-----"
        )));
    };
    if keys.next().is_some() {
        return Err(TlsError::configuration(format!("{name} has several private keys: leave one")));
    }
    Ok(match label {
        Label::RsaPrivateKey => PrivatePkcs1KeyDer::from(der.to_vec()).into(),
        Label::EcPrivateKey => PrivateSec1KeyDer::from(der.to_vec()).into(),
        Label::EncryptedPrivateKey => PrivatePkcs8KeyDer::from(decrypt(name, &der, setting, password)?.to_vec()).into(),
        Label::PrivateKey | Label::Certificate => PrivatePkcs8KeyDer::from(der.to_vec()).into(),
    })
}

#[cfg(feature = "tls-encrypted-keys")]
fn decrypt(name: &str, der: &[u8], setting: &str, password: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    use pkcs8::EncryptedPrivateKeyInfoRef;
    let Some(password) = password else {
        return Err(TlsError::configuration(format!("the private key in {name} is encrypted: set {setting}")));
    };
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| {
        TlsError::configuration(format!(
            "the private key in {name} is encrypted in a way that Kurier does not know: convert it with openssl pkcs8 \
             -topk8 -v2 aes256"
        ))
        .because(error)
    })?;
    let document = info.decrypt(password.expose()).map_err(|error| {
        TlsError::configuration(format!("{setting} does not decrypt the private key in {name}")).because(error)
    })?;
    Ok(document.to_bytes())
}

#[cfg(not(feature = "tls-encrypted-keys"))]
fn decrypt(
    name: &str,
    _der: &[u8],
    _setting: &str,
    _password: Option<&Secret>,
) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    Err(TlsError::configuration(format!(
        "the private key in {name} is encrypted: enable the feature tls-encrypted-keys, or decrypt it with openssl pkey"
    )))
}
