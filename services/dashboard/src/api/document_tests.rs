//! The OpenAPI document: what it says is pinned.

use serde_json::Value;

use super::*;

fn document() -> Value {
    serde_json::from_str(openapi_json()).unwrap()
}

/// Compares with a file of the repository, or writes it.
fn assert_pinned(file: &str, found: &str, is_same: impl Fn(&str) -> bool) {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("FAULTLINE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert!(is_same(&std::fs::read_to_string(&path).unwrap_or_default()), "{file} differs: FAULTLINE_UPDATE_GOLDEN=1 writes it anew");
}

/// It is there for readers, too, and a change of the API shows in it.
#[test]
fn the_document_is_the_one_in_docs() {
    let found = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    assert_pinned("docs/openapi.json", &found, |pinned| serde_json::from_str::<Value>(pinned).is_ok_and(|pinned| pinned == document()));
}

#[test]
fn the_types_of_the_page_are_those_of_the_document() {
    let found = wire_types::typescript(&document());
    assert_pinned("services/dashboard/web/src/lib/wire.ts", &found, |pinned| pinned == found);
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document();
    let mut stack = vec![&document];
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(|target| target.as_str()) {
                    let found = document.pointer(target.trim_start_matches('#'));
                    assert!(found.is_some(), "{target} is missing");
                }
                stack.extend(map.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
}
