//! The client's own certificate: a chain and its private key.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::error::TlsError;
use super::key::private_key;
use super::pem::{Document, Label, PemSource};
use crate::secret::Secret;

/// Maximum number of certificates in a chain. Java's reader has no limit, its handshake allows 10 by default.
const CHAIN_MAX: usize = 16;

/// The places of a chain and its key.
#[derive(Clone, Debug)]
pub(super) enum IdentitySource {
    /// A place each.
    Pair { chain: PemSource, key: PemSource },
    /// One place with both.
    Bundle(PemSource),
}

/// A chain, from the client's certificate on, with its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) resolver: Arc<SingleCertAndKey>,
}

impl Identity {
    /// Reads chain and key, and checks that they belong together. The chain may be in any order.
    pub(super) fn load(
        source: &IdentitySource,
        password: Option<&Secret>,
        provider: &CryptoProvider,
        provider_name: &str,
    ) -> Result<Self, TlsError> {
        let (chain_document, key_document);
        let (chain_at, key_at) = match source {
            IdentitySource::Pair { chain, key } => {
                (chain_document, key_document) = (chain.document()?, key.document()?);
                (&chain_document, &key_document)
            }
            IdentitySource::Bundle(bundle) => {
                chain_document = bundle.document()?;
                (&chain_document, &chain_document)
            }
        };
        let certificates = certificates(chain_at)?;
        let (chain_name, key_name) = (&chain_at.name, &key_at.name);
        let key = private_key(key_at, "ssl.key.password", password)?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            TlsError::configuration(format!(
                "the TLS provider {provider_name} cannot use the private key in {key_name}: use RSA of 2,048 bits or more, \
                 P-256, P-384 or Ed25519, or for P-521 the feature tls-aws-lc"
            ))
            .because(error)
        })?;
        let fits = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match().is_ok()
        };
        let Some(leaf) = certificates.iter().position(fits) else {
            return Err(TlsError::configuration(format!(
                "the private key in {key_name} does not belong to {} in {chain_name}: use the key that the certificate was \
                 requested with",
                if certificates.len() == 1 { "the certificate" } else { "any certificate" }
            )));
        };
        let chain = in_order(certificates, leaf);
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.clone(), key)));
        Ok(Self { chain, resolver })
    }
}

/// Returns a document's certificates in its order.
fn certificates(document: &Document) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let name = &document.name;
    let sections = document.sections()?.into_iter().filter(|section| section.label == Label::Certificate);
    let certificates: Vec<_> = sections.map(|section| CertificateDer::from(section.der.to_vec())).collect();
    match certificates.len() {
        0 => Err(TlsError::configuration(format!(
            "{name} has no certificate: it needs a section that starts with -----BEGIN CERTIFICATE-----"
        ))),
        count if count > CHAIN_MAX => Err(TlsError::configuration(format!(
            "{name} has {count} certificates, and a chain at most {CHAIN_MAX}: leave only the client's and those of its \
             issuers"
        ))),
        _ => Ok(certificates),
    }
}

/// Moves the leaf to the front, each certificate behind the one that it issued, and the rest to the end. TLS 1.2 demands
/// this order.
fn in_order(mut certificates: Vec<CertificateDer<'static>>, leaf: usize) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![certificates.remove(leaf)];
    while let Some(next) = chain.last().and_then(|last| {
        let issuer = names(last)?.1;
        certificates.iter().position(|certificate| names(certificate).is_some_and(|(subject, _)| subject == issuer))
    }) {
        chain.push(certificates.remove(next));
    }
    chain.append(&mut certificates);
    chain
}

/// Returns the encoded names of a certificate's subject and issuer.
fn names(certificate: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some((parsed.subject().to_vec(), parsed.issuer().to_vec()))
}
