//! Replay of every corpus input and finding, without a fuzzer.

use std::fs;
use std::path::Path;

use kurier_fuzz::TARGETS;

#[test]
fn corpus_and_findings_are_replayed() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for folder in ["corpus", "findings"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
            for file in fs::read_dir(&folder).into_iter().flatten() {
                let path = file.unwrap().path();
                // Shows which input caused a panic.
                println!("{}", path.display());
                target(&fs::read(&path).unwrap());
                count += 1;
            }
        }
        println!("{name}: {count} inputs replayed");
        assert!(count > 0, "fuzz/corpus/{name} is empty: cargo run -p kurier-fuzz --bin seeds");
    }
}

#[test]
fn empty_input_is_no_finding() {
    for (_, target) in TARGETS {
        for len in 0..70 {
            target(&vec![0; len]);
            target(&vec![0xff; len]);
        }
    }
}
