//! Checks of this repository. `tests/tidy.rs` runs them.

mod bare_ids;
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use bare_ids::bare_ids;
pub use imports::{Imports, imports};

/// Returns the folder of a crate's source files.
#[must_use]
pub fn source_folder(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src")
}

/// Returns every source file of a crate, sorted.
///
/// # Errors
/// If a folder cannot be read, or the crate has no source files.
pub fn sources(krate: &str) -> Result<Vec<PathBuf>> {
    let mut folders = vec![source_folder(krate)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    anyhow::ensure!(!files.is_empty(), "crate {krate} has no source files");
    files.sort();
    Ok(files)
}
