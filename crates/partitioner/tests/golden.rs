//! Compares key placement with tables of other clients. testdata/ORIGIN.md describes the tables.

use std::fs;
use std::path::Path;

use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView, murmur2};

/// Returns the lines of a table, without the first, split at tabs.
fn table(path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn place(keyed: Keyed, key: Option<&[u8]>, partitions: i32) -> Choice {
    keyed.partition(&RecordView::new(key, None), &TopicView::new("t", partitions, &[]).unwrap()).unwrap()
}

#[test]
fn murmur2_is_javas() {
    let rows = table("golden/murmur2.tsv");
    for row in &rows {
        let key = from_hex(&row[0]);
        assert_eq!(murmur2(&key).cast_signed().to_string(), row[1], "{}", row[0]);
        for (column, partitions) in [(2, 7), (3, 100)] {
            assert_eq!(place(Keyed::JAVA, Some(&key), partitions), Choice::Partition(row[column].parse().unwrap()));
        }
    }
    println!("murmur2: {} of {} keys as Java hashes and places them", rows.len(), rows.len());
    assert_eq!(rows.len(), 400);
}

#[test]
fn keys_go_where_librdkafka_puts_them() {
    let rows = table("partitioners-librdkafka.tsv");
    for row in &rows {
        let key = (row[0] != "-").then(|| from_hex(&row[0]));
        for (column, name) in [(1, "consistent"), (3, "murmur2"), (5, "fnv1a")] {
            let keyed = Keyed::named(name).unwrap();
            for (column, partitions) in [(column, 7), (column + 1, 100)] {
                let theirs = Choice::Partition(row[column].parse().unwrap());
                assert_eq!(place(keyed, key.as_deref(), partitions), theirs, "{name} {}", row[0]);
                // The random forms agree for keys that are neither null nor empty.
                if key.as_ref().is_some_and(|key| !key.is_empty()) {
                    let random = Keyed::named(&format!("{name}_random")).unwrap();
                    assert_eq!(place(random, key.as_deref(), partitions), theirs, "{name}_random {}", row[0]);
                }
            }
        }
    }
    println!("librdkafka: {} keys by consistent, murmur2 and fnv1a", rows.len());
    assert_eq!(rows.len(), 401);
}

#[test]
fn only_null_is_keyless_except_for_consistent_random() {
    let anywhere = |name, key| place(Keyed::named(name).unwrap(), key, 10) == Choice::Anywhere;
    for (name, null, empty) in [
        ("java", true, false),
        ("murmur2_random", true, false),
        ("murmur2", false, false),
        ("consistent_random", true, true),
        ("consistent", false, false),
        ("fnv1a_random", true, false),
        ("fnv1a", false, false),
    ] {
        assert_eq!((anywhere(name, None), anywhere(name, Some(b""))), (null, empty), "{name}");
    }
    assert_eq!(Keyed::ALL.len(), 7);
}
