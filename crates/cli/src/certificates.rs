//! Certificates of the commands that serve TLS.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kurier_broker::ServerTls;

use crate::exit::Misuse;

/// Returns the certificate of `--tls-cert` with the key of `--tls-key`.
///
/// # Errors
/// When a file cannot be read, is not PEM, or the key does not belong to the certificate.
pub(crate) fn server_tls(certificate: &Path, key: &Path) -> Result<ServerTls> {
    let tls = ServerTls::from_pem(read("--tls-cert", certificate)?, read("--tls-key", key)?);
    let (certificate, key) = (certificate.display(), key.display());
    let checked = tls.acceptor();
    checked.map_err(|why| Misuse::because(format_args!("--tls-cert {certificate}, --tls-key {key}"), why))?;
    Ok(tls)
}

/// Reads the file of an option.
///
/// # Errors
/// When the file cannot be read, or is not text.
pub(crate) fn read(option: &str, path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Misuse::because(format_args!("{option}: {} cannot be read", path.display()), error))
}
