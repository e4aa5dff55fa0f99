//! The provider of cryptography that rustls uses.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::error::TlsError;
use crate::names::by_name;

/// A provider of cryptography (`kurier.tls.provider`). Each needs its feature of this crate.
///
/// ```
/// use kurier_security::tls::Provider;
///
/// assert_eq!("aws-lc".parse(), Ok(Provider::AwsLc));
/// assert_eq!(Provider::default(), Provider::Auto);
/// assert!("openssl".parse::<Provider>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// The provider that the application installed for the whole process, or else the first compiled in of AWS-LC, ring
    /// and Graviola.
    #[default]
    Auto,
    /// AWS-LC, by Amazon: feature `tls-aws-lc`. Needs a C compiler. Also knows P-521 and post-quantum key exchange.
    AwsLc,
    /// ring: feature `tls-ring`. Needs a C compiler.
    Ring,
    /// Graviola: feature `tls-graviola`. Needs no C compiler, but a processor with certain instructions, and its authors
    /// still ask for caution.
    Graviola,
}

impl Provider {
    /// Each value.
    pub const ALL: [Self; 4] = [Self::Auto, Self::AwsLc, Self::Ring, Self::Graviola];

    /// Returns the name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::AwsLc => "aws-lc",
            Self::Ring => "ring",
            Self::Graviola => "graviola",
        }
    }
}

by_name! { Provider, UnknownProvider }

/// Error of a name that is no [`Provider`]; see there for an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown TLS provider `{0}`: use auto, aws-lc, ring or graviola")]
pub struct UnknownProvider(String);

/// A provider that works on this machine, with the name that `explain()` shows.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) name: &'static str,
    pub(super) crypto: Arc<CryptoProvider>,
}

/// Chooses the provider. It never asks rustls for a default, which panics if several providers are compiled in.
pub(super) fn choose(asked: Provider) -> Result<Chosen, TlsError> {
    if asked == Provider::Auto {
        if let Some(crypto) = CryptoProvider::get_default() {
            return Ok(Chosen { name: "the application's", crypto: Arc::clone(crypto) });
        }
        let first = [Provider::AwsLc, Provider::Ring, Provider::Graviola].into_iter().find_map(|provider| {
            let crypto = compiled(provider)?;
            Some((provider, crypto))
        });
        let Some((provider, crypto)) = first else { return Err(none_compiled()) };
        return crypto.map(|crypto| Chosen { name: provider.name(), crypto: Arc::new(crypto) });
    }
    match compiled(asked) {
        Some(crypto) => crypto.map(|crypto| Chosen { name: asked.name(), crypto: Arc::new(crypto) }),
        None => Err(TlsError::configuration(format!(
            "the TLS provider {asked} is not in this build: enable the feature tls-{asked}, or set kurier.tls.provider=auto"
        ))),
    }
}

/// Returns a provider if it is compiled in, or its error if this processor cannot run it.
fn compiled(provider: Provider) -> Option<Result<CryptoProvider, TlsError>> {
    match provider {
        #[cfg(feature = "tls-aws-lc")]
        Provider::AwsLc => Some(Ok(rustls::crypto::aws_lc_rs::default_provider())),
        #[cfg(feature = "tls-ring")]
        Provider::Ring => Some(Ok(rustls::crypto::ring::default_provider())),
        #[cfg(all(feature = "tls-graviola", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Provider::Graviola => Some(graviola()),
        _ => None,
    }
}

fn none_compiled() -> TlsError {
    TlsError::configuration(
        "TLS needs a provider of cryptography, and this build has none: enable the feature tls-ring, tls-aws-lc or \
         tls-graviola, or install one with rustls' CryptoProvider::install_default",
    )
}

/// Returns Graviola, which panics at its first use on a processor without these instructions.
#[cfg(all(feature = "tls-graviola", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn graviola() -> Result<CryptoProvider, TlsError> {
    #[cfg(target_arch = "x86_64")]
    let instructions = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("bmi1", std::arch::is_x86_feature_detected!("bmi1")),
        ("adx", std::arch::is_x86_feature_detected!("adx")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
    ];
    #[cfg(target_arch = "aarch64")]
    let instructions = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    if let Some(error) = missing(&instructions) {
        return Err(error);
    }
    Ok(rustls_graviola::default_provider())
}

/// Returns the error of a processor that lacks one of these instructions.
#[cfg(any(test, all(feature = "tls-graviola", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn missing(instructions: &[(&str, bool)]) -> Option<TlsError> {
    let missing: Vec<&str> = instructions.iter().filter(|(_, has)| !has).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return None;
    }
    Some(TlsError::configuration(format!(
        "the TLS provider graviola does not run on this processor, which lacks {}: enable the feature tls-ring or tls-aws-lc",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_is_there_or_its_error_names_the_feature() {
        for (provider, is_compiled) in [
            (Provider::AwsLc, cfg!(feature = "tls-aws-lc")),
            (Provider::Ring, cfg!(feature = "tls-ring")),
            (Provider::Graviola, cfg!(feature = "tls-graviola")),
        ] {
            match choose(provider) {
                Ok(chosen) => assert_eq!((chosen.name, is_compiled), (provider.name(), true)),
                Err(error) => assert!(error.to_string().contains(&format!("feature tls-{provider}")), "{error}"),
            }
        }
    }

    #[test]
    fn auto_takes_the_first_of_aws_lc_ring_graviola() {
        let expected = match () {
            () if cfg!(feature = "tls-aws-lc") => Some("aws-lc"),
            () if cfg!(feature = "tls-ring") => Some("ring"),
            () if cfg!(feature = "tls-graviola") => Some("graviola"),
            () => None,
        };
        match (choose(Provider::Auto), expected) {
            (Ok(chosen), Some(name)) => assert_eq!(chosen.name, name),
            (Err(error), None) => {
                for feature in ["tls-ring", "tls-aws-lc", "tls-graviola"] {
                    assert!(error.to_string().contains(feature), "{error}");
                }
            }
            (chosen, expected) => panic!("expected {expected:?}, got {:?}", chosen.map(|chosen| chosen.name)),
        }
    }

    #[test]
    fn old_processor_is_an_error_that_names_its_missing_instructions() {
        assert!(missing(&[("aes", true), ("adx", true)]).is_none());
        let error = missing(&[("aes", true), ("adx", false), ("avx2", false)]).unwrap().to_string();
        assert!(error.contains("lacks adx, avx2: enable"), "{error}");
    }
}
