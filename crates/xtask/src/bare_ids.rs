//! Functions whose signatures have an id as a bare integer, which another id could take the place of.

use std::fs;

use anyhow::{Context, Result};
use quote::ToTokens;
use syn::{FnArg, ImplItem, Item, ItemMod, ItemTrait, ReturnType, Signature, TraitItem};

use crate::imports::{imports, is_test};
use crate::source_folder;

/// Names that parameters with ids have.
const NAMES: [&str; 12] = [
    "node",
    "node_id",
    "broker",
    "broker_id",
    "leader",
    "leader_id",
    "replica",
    "partition",
    "partition_index",
    "partition_id",
    "correlation_id",
    "correlation",
];

/// Types of bare ids.
const TYPES: [&str; 4] = ["i32", "Option<i32>", "&[i32]", "Vec<i32>"];

/// Returns the bare ids in the signatures of a crate, as `file: function(parameter)` or `file: function()`, tests
/// excluded. A result counts if the function has the name of an id.
///
/// # Errors
/// If a file cannot be read or is not Rust.
pub fn bare_ids(krate: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in imports(krate)?.files() {
        let path = source_folder(krate).join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut add = |signature: &Signature| found.extend(bare_in(signature).map(|id| format!("{file}: {id}")));
        signatures(&syn::parse_file(&text)?.items, &mut add);
    }
    Ok(found)
}

fn signatures(items: &[Item], give: &mut impl FnMut(&Signature)) {
    for item in items.iter().filter(|item| !is_test(item)) {
        match item {
            Item::Fn(item) => give(&item.sig),
            Item::Impl(item) => item.items.iter().for_each(|item| {
                if let ImplItem::Fn(item) = item {
                    give(&item.sig);
                }
            }),
            Item::Trait(ItemTrait { items, .. }) => items.iter().for_each(|item| {
                if let TraitItem::Fn(item) = item {
                    give(&item.sig);
                }
            }),
            Item::Mod(ItemMod { content: Some((_, items)), .. }) => signatures(items, give),
            _ => {}
        }
    }
}

/// Returns the bare ids of a signature.
fn bare_in(signature: &Signature) -> impl Iterator<Item = String> {
    let function = signature.ident.to_string();
    let parameters = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some((text(&input.pat), text(&input.ty))),
        FnArg::Receiver(_) => None,
    });
    let bare = parameters.filter(|(name, ty)| NAMES.contains(&name.as_str()) && TYPES.contains(&ty.as_str()));
    let mut ids: Vec<String> = bare.map(|(name, _)| format!("{function}({name})")).collect();
    if let ReturnType::Type(_, ty) = &signature.output
        && NAMES.contains(&function.as_str())
        && TYPES.contains(&text(ty).as_str())
    {
        ids.push(format!("{function}()"));
    }
    ids.into_iter()
}

/// Returns tokens without spaces.
fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string().split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_and_other_integers_do_not() {
        let found = |signature: &str| bare_in(&syn::parse_str(signature).unwrap()).collect::<Vec<_>>();
        assert_eq!(found("fn move_to(&mut self, partition: i32, node: i32)"), ["move_to(partition)", "move_to(node)"]);
        assert_eq!(found("fn leader(&self) -> Option<i32>"), ["leader()"]);
        for fine in ["fn move_to(node: NodeId)", "fn create(partitions: i32, epoch: i32)", "fn count(&self) -> i32"] {
            assert_eq!(found(fine), [""; 0], "{fine}");
        }
    }
}
