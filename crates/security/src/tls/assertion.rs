//! The key that signs assertions ([`Assertion`](crate::Assertion)).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::sign::Signer;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::TlsError;
use super::key::private_key;
use super::pem::PemSource;
use super::provider::{self, Provider};
use crate::assertion::AssertionAlgorithm;
use crate::secret::Secret;

const PASSPHRASE: &str = "sasl.oauthbearer.assertion.private.key.passphrase";

/// A private key that signs assertions by the provider of cryptography. `Debug` shows the algorithm only.
///
/// ```no_run
/// use kurier_security::AssertionAlgorithm;
/// use kurier_security::tls::{AssertionKey, PemSource, Provider};
///
/// # fn main() -> Result<(), kurier_security::tls::TlsError> {
/// let source = PemSource::path("/etc/kafka/assertion-key.pem");
/// let key = AssertionKey::load(AssertionAlgorithm::Rs256, &source, None, Provider::Auto)?;
/// let assertion = key.sign("eyJhbGciOiJSUzI1NiJ9.e30")?;
/// assert_eq!(format!("{assertion:?}"), "[hidden]");
/// # Ok(())
/// # }
/// ```
pub struct AssertionKey {
    algorithm: AssertionAlgorithm,
    signer: Box<dyn Signer>,
}

impl AssertionKey {
    /// Reads a private key as PEM, or as PKCS#8 in base64 without PEM's lines, which Java also reads. Blocks while it reads
    /// a file.
    ///
    /// # Errors
    /// Of kind [`Configuration`](super::TlsErrorKind::Configuration), if the provider is not compiled in, or if the key
    /// cannot be read, needs a passphrase, or is not for this algorithm.
    pub fn load(
        algorithm: AssertionAlgorithm,
        source: &PemSource,
        passphrase: Option<&Secret>,
        provider: Provider,
    ) -> Result<Self, TlsError> {
        let provider::Chosen { name: provider, crypto } = provider::choose(provider)?;
        let (scheme, kind) = match algorithm {
            AssertionAlgorithm::Rs256 => (SignatureScheme::RSA_PKCS1_SHA256, "an RSA key of 2,048 bits or more"),
            AssertionAlgorithm::Es256 => (SignatureScheme::ECDSA_NISTP256_SHA256, "a P-256 key"),
        };
        let document = source.document()?;
        let name = &document.name;
        let key: PrivateKeyDer<'static> = match document.base64() {
            Some(der) => PrivatePkcs8KeyDer::from(der.to_vec()).into(),
            None => private_key(&document, PASSPHRASE, passphrase)?,
        };
        let key = crypto.key_provider.load_private_key(key).map_err(|error| {
            TlsError::configuration(format!(
                "the TLS provider {provider} cannot use the private key in {name}: {algorithm} needs {kind}"
            ))
            .because(error)
        })?;
        let signer = key.choose_scheme(&[scheme]).ok_or_else(|| {
            TlsError::configuration(format!(
                "the private key in {name} does not fit sasl.oauthbearer.assertion.algorithm: {algorithm} needs {kind}"
            ))
        })?;
        Ok(Self { algorithm, signer })
    }

    /// Signs header and claims, as [`Assertion::unsigned`](crate::Assertion::unsigned) returns them. Returns the whole
    /// assertion.
    ///
    /// # Errors
    /// Of kind [`Configuration`](super::TlsErrorKind::Configuration), if the provider fails.
    pub fn sign(&self, unsigned: &str) -> Result<Secret, TlsError> {
        let failed = || TlsError::configuration(format!("the TLS provider could not sign an assertion by {self:?}"));
        let signature = self.signer.sign(unsigned.as_bytes()).map_err(|error| failed().because(error))?;
        let signature = match self.algorithm {
            AssertionAlgorithm::Rs256 => signature,
            AssertionAlgorithm::Es256 => of_fixed_length(&signature).ok_or_else(failed)?,
        };
        Ok(Secret::from(format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionKey({})", self.algorithm)
    }
}

/// The length of each number of a P-256 signature.
const NUMBER: usize = 32;

/// Converts an ECDSA signature from DER, as TLS has it, to its two numbers one after the other (RFC 7518, section 3.4).
fn of_fixed_length(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, length, numbers @ ..] = der else { return None };
    if usize::from(*length) != numbers.len() {
        return None;
    }
    let (r, rest) = number(numbers)?;
    let (s, rest) = number(rest)?;
    rest.is_empty().then(|| [r, s].concat())
}

/// Reads an integer and fills it up with zeros. DER writes a zero before a first byte that would mean a negative number.
fn number(der: &[u8]) -> Option<([u8; NUMBER], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    let mut number = [0; NUMBER];
    let zeros = NUMBER.checked_sub(bytes.len())?;
    number.get_mut(zeros..)?.copy_from_slice(bytes);
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(length: usize) -> u8 {
        u8::try_from(length).unwrap()
    }

    #[test]
    fn signature_of_der_gets_its_fixed_length() {
        let long = [&[0x02, 0x21, 0x00, 0xFF], [7; 31].as_slice()].concat();
        let short = [&[0x02, 0x1F], [9; 31].as_slice()].concat();
        let one = [0x02, 0x01, 0x01];
        for (r, s) in [(&long[..], &short[..]), (&short, &long), (&one, &long)] {
            let der = [&[0x30, length(r.len() + s.len())], r, s].concat();
            let filled = |number: &[u8]| {
                let digits = &number[2..];
                let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
                [vec![0; 32 - digits.len()], digits.to_vec()].concat()
            };
            assert_eq!(of_fixed_length(&der), Some([filled(r), filled(s)].concat()));
            let [tag, length, numbers @ ..] = &der[..] else { panic!() };
            for wrong in [
                &der[1..],
                &der[..der.len() - 1],
                &[&[*tag, *length + 1], numbers, &[0]].concat(),
                &[&[*tag, length - 1], numbers].concat(),
                &[0x30, 0],
                &[],
            ] {
                assert_eq!(of_fixed_length(wrong), None, "{wrong:?}");
            }
        }
        let too_long = [&[0x30, 0x26, 0x02, 0x21, 0x01], [7; 32].as_slice(), &one].concat();
        assert_eq!(of_fixed_length(&too_long), None);
    }
}
