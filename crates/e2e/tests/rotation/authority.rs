//! Certificate authorities, made by OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use kurier_e2e::java::run;

/// OpenSSL's own settings differ between systems.
const SETTINGS: &str = "[req]\ndistinguished_name = name\n[name]\n";

/// An authority with its key.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Makes an authority of this name, with its files in this folder.
    pub(crate) fn create(folder: &Path, name: &str) -> Result<Self> {
        fs::write(folder.join("openssl.cnf"), SETTINGS)?;
        let authority = Self { folder: folder.to_owned(), name: name.to_owned() };
        let extensions = ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"];
        authority.make(name, name, &extensions, None)?;
        Ok(authority)
    }

    /// Returns its certificate, as PEM.
    pub(crate) fn certificate(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file(&self.name, "pem"))?)
    }

    /// Issues a certificate for a new key, for a broker or a client on this machine. Returns both, as PEM.
    pub(crate) fn issue(&self, subject: &str) -> Result<String> {
        let name = format!("{subject}-of-{}", self.name);
        let extensions =
            ["basicConstraints=CA:false", "extendedKeyUsage=serverAuth,clientAuth", "subjectAltName=IP:127.0.0.1"];
        self.make(&name, subject, &extensions, Some(self))?;
        Ok(["key", "pem"]
            .map(|what| fs::read_to_string(self.file(&name, what)))
            .into_iter()
            .collect::<Result<_, _>>()?)
    }

    fn make(&self, name: &str, subject: &str, extensions: &[&str], issuer: Option<&Self>) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"]);
        openssl.arg("-config").arg(self.folder.join("openssl.cnf"));
        openssl.args(["-subj", &format!("/CN={subject}"), "-keyout"]).arg(self.file(name, "key"));
        openssl.arg("-out").arg(self.file(name, "pem"));
        if let Some(issuer) = issuer {
            openssl.arg("-CA").arg(issuer.file(&issuer.name, "pem"));
            openssl.arg("-CAkey").arg(issuer.file(&issuer.name, "key"));
        }
        openssl.args(extensions.iter().flat_map(|one| ["-addext", *one]));
        run(&mut openssl, "apt-get install openssl")?;
        Ok(())
    }

    fn file(&self, name: &str, what: &str) -> PathBuf {
        self.folder.join(format!("{name}.{what}"))
    }
}
