//! Checks that PLAIN and SCRAM share.

use super::error::SaslError;
use crate::mechanism::Mechanism;
use crate::secret::Secret;

/// Maximum size of a user name and of a password, in bytes: far above any in use.
pub(super) const NAME_BYTES_MAX: usize = 8 * 1024;

/// Checks a user name and its password for a mechanism, which both must be text without NUL.
pub(super) fn check(mechanism: Mechanism, username: &str, password: &Secret) -> Result<(), SaslError> {
    let password = password.expose();
    let mistakes = [
        (username.is_empty(), "the user name is empty"),
        (username.contains('\0'), "the user name contains NUL"),
        (username.len() > NAME_BYTES_MAX, "the user name is longer than 8 KiB"),
        (password.is_empty(), "the password is empty"),
        (password.contains(&0), "the password contains NUL"),
        (password.len() > NAME_BYTES_MAX, "the password is longer than 8 KiB"),
        (str::from_utf8(password).is_err(), "the password is not UTF-8"),
    ];
    match mistakes.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, why)) => Err(SaslError::Inexpressible { mechanism, why }),
        None => Ok(()),
    }
}
