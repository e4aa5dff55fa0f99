//! Comparison of our field tables, the source of our readers and writers, with the descriptors inside the kafka-clients
//! jar, the source of Java's. It covers name, order, type, versions, null, tag, default, and whether a field may be
//! dropped.
//!
//! `make schema` shows the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;

use kurier_e2e::java::Jars;
use kurier_protocol::schema::{Field, Struct, Type, kafka_name};
use kurier_protocol::{APIS, Api};
use serde_json::Value;

/// The newest clients at the time of writing; testdata has bytes of 4.3.1.
const CLIENTS: [&str; 2] = ["4.3.1", "4.4.0"];

/// Names that Kafka changed without a new version: client, structure, our name, its name.
const RENAMED: [(&str, &str, &str, &str); 1] =
    [("4.4.0", "TxnOffsetCommitRequest", "generationId", "generationIdOrMemberEpoch")];

#[test]
fn our_tables_are_kafkas_descriptors() {
    let mut covered = BTreeSet::new();
    for client in CLIENTS {
        let jar = Jars::fetch(client).unwrap().client();
        let mut jar = zip::ZipArchive::new(File::open(jar).unwrap()).unwrap();
        let (mut messages, mut fields) = (0, 0);
        for api in APIS {
            for (schema, kind) in [(api.request().schema(), "request"), (api.response().schema(), "response")] {
                let descriptor = descriptor(&mut jar, schema.name);
                assert_eq!(descriptor["type"], kind);
                assert_eq!(descriptor["apiKey"], api.key(), "{}", schema.name);
                for version in api.versions().filter(|version| within(&descriptor["validVersions"], *version)) {
                    fields += check_message(client, api, schema, &descriptor, version);
                    messages += 1;
                    covered.insert((api.key(), version));
                }
            }
        }
        println!("kafka-clients {client}: {messages} versions of messages, {fields} fields, all equal");
    }
    let ours: BTreeSet<_> = APIS.iter().flat_map(|api| api.versions().map(|version| (api.key(), version))).collect();
    assert_eq!(covered, ours, "a version of ours is in no jar");
    println!("{} versions of {} APIs, each in at least one of the jars", ours.len(), APIS.len());
}

/// Reads a descriptor, which is JSON with comments on lines of their own.
fn descriptor(jar: &mut zip::ZipArchive<File>, name: &str) -> Value {
    let mut text = String::new();
    jar.by_name(&format!("common/message/{name}.json")).unwrap().read_to_string(&mut text).unwrap();
    let json: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn check_message(client: &str, api: &Api, schema: &Struct, descriptor: &Value, version: i16) -> usize {
    let flexible = within(&descriptor["flexibleVersions"], version);
    assert_eq!(api.request_header_version(version) == 2, flexible, "{} v{version}: flexible", schema.name);
    let common: BTreeMap<&str, &Value> = descriptor["commonStructs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|common| (common["name"].as_str().unwrap(), &common["fields"]))
        .collect();
    check_struct(&Walk { client, common, version, versions: api.versions() }, schema, &descriptor["fields"])
}

struct Walk<'a> {
    client: &'a str,
    common: BTreeMap<&'a str, &'a Value>,
    version: i16,
    versions: RangeInclusive<i16>,
}

/// Compares the fields of one version and returns their number.
fn check_struct(walk: &Walk<'_>, ours: &Struct, theirs: &Value) -> usize {
    let version = walk.version;
    let there = |field: &&Value| within(&field["versions"], version);
    let theirs: Vec<&Value> = theirs.as_array().unwrap().iter().filter(there).collect();
    let ours_there: Vec<&Field> = ours.fields.iter().filter(|field| field.is_in(version)).collect();
    let renamed = |name: String| {
        let rename =
            RENAMED.iter().find(|(client, of, from, _)| (*client, *of, *from) == (walk.client, ours.name, &name));
        rename.map_or(name, |(.., to)| (*to).to_owned())
    };
    let names: Vec<String> = ours_there.iter().map(|field| renamed(kafka_name(field.name))).collect();
    let their_names: Vec<String> = theirs.iter().map(|field| lower_first(field["name"].as_str().unwrap())).collect();
    assert_eq!(names, their_names, "{} v{version}", ours.name);
    let mut count = names.len();
    for (field, their) in ours_there.into_iter().zip(theirs) {
        count += check_field(walk, ours, field, their);
    }
    count
}

/// Compares one field and returns the number of fields inside it.
fn check_field(walk: &Walk<'_>, of: &Struct, ours: &Field, theirs: &Value) -> usize {
    let version = walk.version;
    let at = format!("{} v{version}, {}", of.name, ours.name);
    assert_eq!(ours.is_nullable_in(version), within(&theirs["nullableVersions"], version), "{at}: null");
    let tag = theirs["tag"].as_u64().filter(|_| within(&theirs["taggedVersions"], version));
    assert_eq!(ours.tag.map(u64::from), tag, "{at}: tag");
    // This matters only if one of our versions lacks the field.
    if walk.versions.clone().any(|version| !ours.is_in(version)) {
        assert_eq!(ours.ignorable, theirs["ignorable"].as_bool().unwrap_or(false), "{at}: ignorable");
    }
    assert_eq!(our_default(ours), their_default(theirs), "{at}: default");

    let their_type = theirs["type"].as_str().unwrap();
    let (name, ty, suffix) = match ours.ty {
        Type::Array(element) => ("[]", *element, their_type.strip_prefix("[]")),
        other => ("", other, Some(their_type)),
    };
    let suffix = suffix.unwrap_or_else(|| panic!("{at}: ours is {name}, theirs {their_type}"));
    match ty {
        Type::Struct(inner) => {
            let fields = if theirs["fields"].is_array() { &theirs["fields"] } else { walk.common[suffix] };
            check_struct(walk, inner, fields)
        }
        primitive => {
            assert_eq!(format!("{primitive:?}").to_lowercase(), suffix, "{at}: type");
            0
        }
    }
}

/// Treats `0`, `false`, an empty string and no default as the same.
fn plain(default: &str) -> String {
    match default {
        "0" | "false" | "" => String::new(),
        other => other.to_owned(),
    }
}

fn our_default(field: &Field) -> String {
    let text = field.default.unwrap_or_default().replace(['_', ' '], "");
    plain(match text.as_str() {
        "None" => "null",
        "i32::MIN" => "-2147483648",
        "i32::MAX" => "0x7fffffff",
        other => other,
    })
}

fn their_default(field: &Value) -> String {
    match &field["default"] {
        // Java's generator initializes records with null, whatever the descriptor says.
        _ if field["type"] == "records" => "null".to_owned(),
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// Whether a range such as `3`, `0-12`, `4+` or `none` contains the version; a missing range contains none.
fn within(range: &Value, version: i16) -> bool {
    let Some(range) = range.as_str() else { return false };
    let number = |text: &str| text.parse::<i16>().unwrap();
    match (range, range.strip_suffix('+'), range.split_once('-')) {
        ("none", ..) => false,
        (_, Some(from), _) => version >= number(from),
        (.., Some((from, to))) => (number(from)..=number(to)).contains(&version),
        _ => version == number(range),
    }
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
