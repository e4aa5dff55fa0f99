//! The bootstrap servers, with the security protocols that their schemes name.

use std::ops::Deref;

use super::host_port::HostPort;
use super::security::protocol::SecurityProtocol;
use super::values::Value;
use crate::error::{Error, ErrorKind};

/// The bootstrap servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Servers {
    list: Vec<HostPort>,
    schemes: Vec<(SecurityProtocol, HostPort)>,
}

impl Servers {
    /// Returns the first server whose scheme names another protocol.
    pub(super) fn other_than(&self, protocol: SecurityProtocol) -> Option<&(SecurityProtocol, HostPort)> {
        self.schemes.iter().find(|(scheme, _)| *scheme != protocol)
    }
}

impl Deref for Servers {
    type Target = [HostPort];

    fn deref(&self) -> &[HostPort] {
        &self.list
    }
}

impl From<Vec<HostPort>> for Servers {
    fn from(list: Vec<HostPort>) -> Self {
        Self { list, schemes: Vec::new() }
    }
}

impl Value for Servers {
    /// The cause quotes the wrong entry. The error does not quote the list, which can be long.
    fn read(key: &str, text: &str) -> Result<Self, Error> {
        let servers = HostPort::list_with_schemes(text).map_err(|error| {
            let text = format!("{key} is not a list of host:port servers");
            Error::new(ErrorKind::Configuration, text).caused_by(error)
        })?;
        let schemes = servers.iter().filter_map(|(scheme, server)| Some(((*scheme)?, server.clone()))).collect();
        Ok(Self { list: servers.into_iter().map(|(_, server)| server).collect(), schemes })
    }

    fn shown(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}
