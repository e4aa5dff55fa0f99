//! The `kurier` command for tests, built on first use. `KURIER` names a binary to use instead of a build, and
//! `KURIER_TLS` the provider of TLS to build with: `ring`, `aws-lc` or `graviola`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

/// Returns a cargo command in the workspace.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// Returns the path of the command: the one in `KURIER`, or else a fresh build.
///
/// # Errors
/// If cargo cannot build it.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| match env::var_os("KURIER") {
        Some(named) => Ok(named.into()),
        None => build().map_err(|error| format!("{error:#}")),
    });
    binary.as_deref().map_err(|error| anyhow!("{error}"))
}

/// Returns the provider of TLS that the command must use, if `KURIER_TLS` names one.
#[must_use]
pub fn provider() -> Option<String> {
    env::var("KURIER_TLS").ok().filter(|provider| !provider.is_empty())
}

fn build() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "-p", "kurier-cli", "--message-format", "json-render-diagnostics"]);
    if let Some(provider) = provider() {
        build.args(["--no-default-features", "--features", &format!("zstd-pure,tls-{provider}")]);
    }
    let output = build.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo does not build kurier-cli");
    // Cargo prints the path, which depends on many settings.
    let messages = String::from_utf8(output.stdout)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = line.parse().ok()?;
        let is_ours = message["target"]["name"] == "kurier" && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    executables.next_back().context("cargo names no binary called kurier")
}
