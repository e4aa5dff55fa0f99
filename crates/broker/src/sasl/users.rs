//! The users of a cluster, with their passwords and SCRAM keys.

use std::collections::{BTreeMap, HashMap};

use kurier_protocol::Secret;

use super::keys::{Hash, Keys};
use crate::settings::SaslSettings;

/// The users of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Users {
    passwords: BTreeMap<String, Secret>,
    iterations: u32,
    /// SCRAM keys, derived at a user's first exchange and kept: the derivation is slow on purpose.
    keys: HashMap<(String, Hash), Keys>,
    /// Counts the exchanges, so that each has a nonce of its own.
    exchanges: u64,
}

impl Users {
    pub(crate) fn new(settings: &SaslSettings) -> Self {
        Self {
            passwords: settings.users.iter().cloned().collect(),
            iterations: settings.scram_iterations,
            ..Self::default()
        }
    }

    /// Sets the password of a user, who need not exist; with `None`, removes the user.
    pub(crate) fn set_password(&mut self, name: &str, password: Option<&str>) {
        match password {
            Some(password) => self.passwords.insert(name.to_owned(), Secret::from(password.as_bytes())),
            None => self.passwords.remove(name),
        };
        self.keys.retain(|(user, _), _| user != name);
    }

    pub(super) fn has_password(&self, name: &str, password: &[u8]) -> bool {
        self.passwords.get(name).is_some_and(|own| **own.reveal() == *password)
    }

    /// Returns a user's SCRAM keys.
    pub(super) fn keys(&mut self, name: &str, hash: Hash) -> Option<&Keys> {
        let password = self.passwords.get(name)?;
        let keys = self.keys.entry((name.to_owned(), hash));
        Some(keys.or_insert_with(|| Keys::derive(hash, name, password.reveal(), self.iterations)))
    }

    /// Returns a number that no other exchange has.
    pub(super) fn next_exchange(&mut self) -> u64 {
        self.exchanges += 1;
        self.exchanges
    }
}
