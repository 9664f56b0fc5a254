//! What was assumed, and how to make the same again.

use maud::{Markup, html};

use super::Tables;
use super::words::rounded;
use faultline_engine::words::about;

pub(crate) fn assumptions(tables: &Tables) -> Markup {
    html! {
        ul {
            @for note in &tables.manifest.contents.notes { li { (note) } }
            li { "Arrivals do not depend on waits: users who would give up or submit less still submit (open loop)." }
            li { "A trace's run times contain what its own cluster did to them: placement, failures, contention." }
        }
    }
}

pub(crate) fn repeat(tables: &Tables) -> Markup {
    let manifest = &tables.manifest;
    let seeds: Vec<String> = tables.seeds().iter().map(u64::to_string).collect();
    html! {
        p { "Save the experiment below as a file beside its inputs, and run " code { "faultline lab run FILE --out DIR" } ". With version "
            (manifest.contents.version) " and the same inputs, " code { "manifest.json" } " has the same hash:" }
        p { code.hash { (manifest.hash) } }
        @if !manifest.contents.inputs.is_empty() {
            div.wide { table {
                thead { tr { th { "input" } th.number { "bytes" } th { "SHA-256" } } }
                tbody { @for input in &manifest.contents.inputs { tr { td { (input.path) } td.number { (rounded(input.bytes as f64)) } td { code.hash { (input.sha256) } } } } }
            } }
        }
        p { "Seeds: " (seeds.join(", ")) ". The runs took " (about(manifest.took.wall_ms)) ", " (manifest.took.jobs) " at once." }
        details { summary { "The experiment, with every default" } pre { (manifest.contents.experiment) } }
    }
}
