//! Reads files with secrets, on a thread that may block.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use kurier_engine::core::CredentialError;
use kurier_engine::error::{Error, ErrorKind};
use kurier_security::Secret;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::blocking::on_a_thread;

/// How long the read of a file may take.
pub(super) const FILE_TIME_MAX: Duration = Duration::from_secs(10);

/// Reads the file of a setting, without its final newline.
pub(super) async fn read_secret(key: &str, path: &Path, bytes_max: u64) -> Result<Secret, CredentialError> {
    let path = path.to_owned();
    let shown = path.display().to_string();
    let read = on_a_thread("kurier-files", move || read_file(&path, bytes_max));
    let failed = |why: String| {
        let text = format!("cannot read {key} {shown}: {why}");
        CredentialError { is_refusal: false, why: Error::new(ErrorKind::Authentication, text) }
    };
    let read = timeout(FILE_TIME_MAX, read).await;
    let content = match read {
        Ok(content) => content.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("it took longer than {FILE_TIME_MAX:?}"))),
    };
    let secret = content.strip_suffix(b"\n").unwrap_or(&content);
    match secret.strip_suffix(b"\r").unwrap_or(secret) {
        // Another process may be writing the file.
        [] => Err(failed("it is empty".to_owned())),
        secret => Ok(Secret::from(secret)),
    }
}

/// Reads a file of limited size. May block.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    let file = File::open(path)?;
    match file.take(bytes_max + 1).read_to_end(&mut content)? {
        length if u64::try_from(length).is_ok_and(|length| length > bytes_max) => {
            Err(io::Error::other(format!("it has more than {bytes_max} bytes")))
        }
        _ => Ok(content),
    }
}
