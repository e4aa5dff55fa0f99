//! Arbitrary encoded messages, generated from the schema tables: a second encoder, independent of the first one except
//! for those tables.

use kurier_protocol::schema::{Field, Struct, Type};
use proptest::collection::vec;
use proptest::prelude::*;

/// Returns the body of an arbitrary message of this version.
pub(crate) fn body(schema: &'static Struct, version: i16, flexible: bool) -> BoxedStrategy<Vec<u8>> {
    structure(schema, Wire { version, flexible })
}

#[derive(Clone, Copy)]
struct Wire {
    version: i16,
    flexible: bool,
}

fn structure(schema: &'static Struct, wire: Wire) -> BoxedStrategy<Vec<u8>> {
    let mut placed = Just(Vec::new()).boxed();
    let mut tagged = Just(Vec::new()).boxed();
    for field in schema.fields.iter().filter(|field| field.is_in(wire.version)) {
        let value = value(field, wire);
        match field.tag {
            None => placed = (placed, value).prop_map(|(head, tail)| [head, tail].concat()).boxed(),
            Some(tag) => {
                tagged = (tagged, proptest::option::of(value))
                    .prop_map(move |(mut tags, value)| {
                        tags.extend(value.map(|value| (tag, value)));
                        tags
                    })
                    .boxed();
            }
        }
    }
    if !wire.flexible {
        return placed;
    }
    let tags = tagged.prop_map(|mut tags: Vec<(u32, Vec<u8>)>| {
        tags.sort_by_key(|(tag, _)| *tag);
        let mut bytes = uvarint(tags.len());
        for (tag, value) in tags {
            bytes.extend(uvarint(tag as usize));
            bytes.extend(uvarint(value.len()));
            bytes.extend(value);
        }
        bytes
    });
    (placed, tags).prop_map(|(head, tail)| [head, tail].concat()).boxed()
}

fn value(field: &'static Field, wire: Wire) -> BoxedStrategy<Vec<u8>> {
    let there = of_type(field.ty, wire);
    if !field.is_nullable_in(wire.version) {
        return there;
    }
    let null = match (wire.flexible, field.ty) {
        (true, _) => vec![0],
        (false, Type::String) => vec![0xff; 2],
        (false, _) => vec![0xff; 4],
    };
    prop_oneof![1 => Just(null), 4 => there].boxed()
}

fn of_type(ty: Type, wire: Wire) -> BoxedStrategy<Vec<u8>> {
    match ty {
        Type::Bool => any::<bool>().prop_map(|value| vec![u8::from(value)]).boxed(),
        Type::Int8 => any::<i8>().prop_map(|value| value.to_be_bytes().to_vec()).boxed(),
        Type::Int16 => any::<i16>().prop_map(|value| value.to_be_bytes().to_vec()).boxed(),
        Type::Int32 => any::<i32>().prop_map(|value| value.to_be_bytes().to_vec()).boxed(),
        Type::Int64 => any::<i64>().prop_map(|value| value.to_be_bytes().to_vec()).boxed(),
        Type::Uuid => any::<[u8; 16]>().prop_map(|value| value.to_vec()).boxed(),
        Type::String => vec(any::<char>(), 0..8)
            .prop_map(move |letters| {
                let text: String = letters.into_iter().collect();
                [length(text.len(), true, wire), text.into_bytes()].concat()
            })
            .boxed(),
        Type::Bytes | Type::Records => {
            vec(any::<u8>(), 0..40).prop_map(move |bytes| [length(bytes.len(), false, wire), bytes].concat()).boxed()
        }
        Type::Array(element) => vec(of_type(*element, wire), 0..3)
            .prop_map(move |elements| [length(elements.len(), false, wire), elements.concat()].concat())
            .boxed(),
        Type::Struct(schema) => structure(schema, wire),
    }
}

fn length(len: usize, is_string: bool, wire: Wire) -> Vec<u8> {
    match (wire.flexible, is_string) {
        (true, _) => uvarint(len + 1),
        (false, true) => i16::try_from(len).unwrap().to_be_bytes().to_vec(),
        (false, false) => i32::try_from(len).unwrap().to_be_bytes().to_vec(),
    }
}

fn uvarint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}
