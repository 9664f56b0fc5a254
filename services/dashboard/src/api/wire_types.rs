//! The page's types out of the OpenAPI document. Ours, since openapi-typescript needs the JavaScript interface of TypeScript 5, which the page's
//! compiler no longer has: it would bring a second compiler and a parser of OpenAPI for what is a match over the forms that utoipa writes.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const HEADER: &str = "\
// What the service sends and takes: made from docs/openapi.json by the tests of the dashboard. Not to be edited:
// FAULTLINE_UPDATE_GOLDEN=1 cargo nextest run -p faultline-dashboard document

";

/// A declaration for each schema of the document.
pub(super) fn typescript(document: &Value) -> String {
    let mut out = HEADER.to_owned();
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        comment(&mut out, schema, "");
        let is_interface = schema["properties"].is_object();
        // A String takes whatever is written to it.
        let _ = match is_interface {
            true => writeln!(out, "export interface {name} {}", fields(schema, "")),
            false => writeln!(out, "export type {name} = {};", of(schema, "")),
        };
    }
    out
}

fn comment(out: &mut String, schema: &Value, indent: &str) {
    if let Some(text) = schema["description"].as_str() {
        let text = text.replace('\n', &format!("\n{indent} * "));
        let _ = writeln!(out, "{indent}/** {text} */");
    }
}

/// The type of a value.
fn of(schema: &Value, indent: &str) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        return target.rsplit('/').next().unwrap_or_default().to_owned();
    }
    for (key, sign) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(parts) = schema[key].as_array() {
            return join(parts.iter().map(|part| of(part, indent)), sign);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return join(values.iter().map(literal), " | ");
    }
    match &schema["type"] {
        Value::Array(kinds) => join(kinds.iter().map(|kind| of_kind(kind.as_str(), schema, indent)), " | "),
        kind => of_kind(kind.as_str(), schema, indent),
    }
}

fn of_kind(kind: Option<&str>, schema: &Value, indent: &str) -> String {
    match kind {
        Some("integer" | "number") => "number".to_owned(),
        Some("string") => "string".to_owned(),
        Some("boolean") => "boolean".to_owned(),
        Some("null") => "null".to_owned(),
        Some("array") => match schema["prefixItems"].as_array() {
            Some(items) => format!("[{}]", items.iter().map(|item| of(item, indent)).collect::<Vec<_>>().join(", ")),
            None => format!("{}[]", in_brackets(of(&schema["items"], indent))),
        },
        Some("object") if schema["properties"].is_object() => fields(schema, indent),
        Some("object") => format!("Record<string, {}>", of(&schema["additionalProperties"], indent)),
        Some(_) | None => "unknown".to_owned(),
    }
}

fn fields(schema: &Value, indent: &str) -> String {
    let inner = format!("{indent}  ");
    let required = schema["required"].as_array();
    let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|one| one == name));
    let mut out = "{\n".to_owned();
    for (name, field) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        comment(&mut out, field, &inner);
        let mark = if is_required(name) { "" } else { "?" };
        let _ = writeln!(out, "{inner}{name}{mark}: {};", of(field, &inner));
    }
    out + indent + "}"
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

fn join(parts: impl Iterator<Item = String>, sign: &str) -> String {
    let mut parts: Vec<String> = parts.map(in_brackets).collect();
    parts.dedup();
    parts.join(sign)
}

/// What has several parts, held together.
fn in_brackets(text: String) -> String {
    if !text.starts_with('{') && (text.contains(" | ") || text.contains(" & ")) { format!("({text})") } else { text }
}
