//! confluent-kafka for Python: fetches its wheel with pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::java::run;
use crate::target;

/// The wheel, as pip's requirement.
pub const REQUIREMENTS: &str = include_str!("../captures/requirements.txt");

/// Installs confluent-kafka in a Python environment of its own in the target folder, and returns its Python.
///
/// # Errors
/// If Python is missing or pip fails.
pub fn confluent_kafka() -> Result<PathBuf> {
    let environment = target().join("captures").join(REQUIREMENTS.trim());
    let python = environment.join("bin/python");
    let complete = environment.join(".complete");
    if !complete.exists() {
        fs::create_dir_all(&environment)?;
        let remedy = "apt-get install python3 python3-venv";
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment), remedy)?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run(pip.arg(source("requirements.txt")), remedy)?;
        fs::write(complete, "")?;
    }
    Ok(python)
}

/// Returns the path of a file in this crate's folder `captures`.
#[must_use]
pub fn source(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/captures")).join(name)
}
