//! House rules for the library crates that a script can check.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns every source file of a crate.
fn sources(krate: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    assert!(!files.is_empty());
    files
}

#[test]
fn every_public_type_has_or_references_an_example() {
    let mut missing = Vec::new();
    let mut count = 0;
    for krate in ["protocol", "compression", "partitioner", "broker", "client"] {
        for file in sources(krate) {
            let text = fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                let is_type = ["pub struct ", "pub enum ", "pub trait "].iter().any(|start| line.starts_with(start));
                if !is_type {
                    continue;
                }
                count += 1;
                let docs: Vec<_> = lines[..index]
                    .iter()
                    .rev()
                    .take_while(|line| line.starts_with("///") || line.starts_with("#["))
                    .collect();
                let has_example = docs.iter().any(|line| line.contains("```"));
                let has_pointer = docs.iter().any(|line| line.contains("for an example"));
                let is_hidden = docs.iter().any(|line| line.contains("doc(hidden)"));
                if !has_example && !has_pointer && !is_hidden {
                    missing.push(format!("{}:{}: {line}", file.display(), index + 1));
                }
            }
        }
    }
    println!("{count} public types (those of messages get their examples from their macro)");
    assert!(missing.is_empty(), "public types without an example:\n{}", missing.join("\n"));
}

#[test]
fn every_module_has_a_doc() {
    for krate in ["protocol", "compression", "partitioner", "broker", "client", "cli", "bench", "e2e"] {
        for file in sources(krate) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//! "), "{} does not open by saying what it is for", file.display());
        }
    }
}

#[test]
fn engine_uses_no_sockets_tasks_or_threads() {
    const ENGINE: [&str; 7] =
        ["accumulator", "core", "codecs.rs", "delivery.rs", "fault_injection.rs", "local_actions.rs", "test_driver.rs"];
    let is_pure = |file: &Path| file.components().any(|part| ENGINE.iter().any(|name| part.as_os_str() == *name));
    let files: Vec<PathBuf> = sources("client").into_iter().filter(|file| is_pure(file)).collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in [
            "tokio",
            "std::net",
            "std::thread::",
            "use std::thread",
            "crate::driver",
            "crate::producer",
            "crate::builder",
            "crate::simulation",
        ] {
            assert!(!text.contains(name), "{} names {name}, which does not belong to the engine", file.display());
        }
    }
}
