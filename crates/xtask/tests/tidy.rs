//! House rules that a script can check.

use std::fs;
use std::path::Path;

use kurier_xtask::{bare_ids, imports, sources};

#[test]
fn every_public_type_has_or_references_an_example() {
    let mut missing = Vec::new();
    let mut count = 0;
    // The engine's types that `kurier` exports too.
    const EXPORTED: [&str; 5] = ["closing.rs", "config", "error.rs", "record.rs", "serializer.rs"];
    let is_exported = |file: &Path| EXPORTED.iter().any(|name| file.iter().any(|part| part == *name));
    for krate in ["protocol", "compression", "partitioner", "security", "broker", "engine", "client"] {
        for file in sources(krate).unwrap().into_iter().filter(|file| krate != "engine" || is_exported(file)) {
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
    for krate in [
        "protocol",
        "compression",
        "partitioner",
        "security",
        "broker",
        "engine",
        "client",
        "simulation",
        "cli",
        "bench",
        "e2e",
        "xtask",
    ] {
        for file in sources(krate).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//! "), "{} does not open by saying what it is for", file.display());
        }
    }
}

#[test]
fn engine_uses_no_sockets_tasks_or_threads() {
    let files = sources("engine").unwrap();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for name in ["tokio", "TcpStream", "UdpSocket", "ToSocketAddrs", "std::thread::", "use std::thread"] {
            assert!(!text.contains(name), "{} names {name}, which does not belong to the engine", file.display());
        }
    }
}

/// Largest circle of imports that each crate may have: two files, and more only where that is still to change.
const CIRCLE_MAX: [(&str, usize); 11] = [
    ("protocol", 2),
    ("compression", 2),
    ("partitioner", 2),
    ("security", 2),
    ("broker", 0),
    ("capture", 2),
    ("engine", 2),
    ("client", 2),
    ("cli", 2),
    ("bench", 2),
    ("e2e", 2),
];

#[test]
fn no_more_than_two_files_import_each_other() {
    let mut errors = String::new();
    for (krate, max) in CIRCLE_MAX {
        let imports = imports(krate).unwrap();
        let circles = imports.circles();
        println!("{krate}: circles of {:?} files", circles.iter().map(|circle| circle.len()).collect::<Vec<_>>());
        for circle in circles.iter().filter(|circle| circle.len() > max) {
            errors += &format!("crate {krate}: {} files import each other:\n", circle.len());
            for (file, import) in imports.within(circle) {
                errors += &format!("  {file} imports {import}\n");
            }
        }
    }
    assert!(errors.is_empty(), "{errors}");
}

/// Users type, compute and compare these partitions as plain numbers, and a record has no other id.
const PLAIN: [&str; 2] = ["record.rs: partition(partition)", "record.rs: partition()"];

#[test]
fn no_signature_has_a_bare_id() {
    let mut found = Vec::new();
    // Not the partitioner: partitions are its only ids, and its users compute them, as in `hash % count`.
    for krate in ["protocol", "security", "broker", "capture", "engine", "client", "simulation", "cli"] {
        let bare = bare_ids(krate).unwrap().into_iter().filter(|id| !PLAIN.contains(&id.as_str()));
        found.extend(bare.map(|id| format!("{krate}/{id}")));
    }
    assert!(found.is_empty(), "use NodeId, PartitionIndex or CorrelationId:\n{}", found.join("\n"));
}
