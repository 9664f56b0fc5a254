//! The page: its sections in the order in which they are read.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::verdict::{Verdict, verdict};
use super::{Tables, distributions, gantt, groups, overview, repeat, sensitivity, time, warnings};

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub fn html(tables: &Tables) -> String {
    let contents = &tables.manifest.contents;
    let judged = verdict(tables);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (contents.title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (head(tables, &judged))
                (section("Side by side", overview::table(tables)))
                (section("Where the GPU time went", html! { div.charts { (overview::goodput(tables)) } }))
                @if !tables.compare.is_empty() { (section("Differences", overview::differences(tables))) }
                @if !tables.manifest.contents.varied.is_empty() { (section("What it depends on", sensitivity::chart(tables))) }
                @if !tables.usage.is_empty() { (section("Over time", time::charts(tables))) }
                @if !tables.sample.attempts.is_empty() { (section("A sample of nodes", gantt::charts(tables))) }
                @if !tables.jobs.is_empty() { (section("Waits and completion times", distributions::charts(tables))) }
                (section("Sizes, queues, and users", groups::sections(tables)))
                (section("Assumptions and dropped rows", repeat::assumptions(tables)))
                (section("Make it again", repeat::repeat(tables)))
            } }
        }
    }
    .into_string()
}

fn section(title: &str, inside: Markup) -> Markup {
    html! { section { h2 { (title) } (inside) } }
}

fn head(tables: &Tables, judged: &Verdict) -> Markup {
    let contents = &tables.manifest.contents;
    let found = warnings(tables);
    html! {
        header {
            h1 { (contents.title) }
            @if !contents.question.is_empty() { p.question { (contents.question) } }
            p.verdict { (judged.headline) }
            @for sentence in &judged.sentences { p { (sentence) } }
            @if !found.is_empty() {
                div.warnings role="note" {
                    strong { "Read with care" }
                    ul { @for warning in &found { li { (warning) } } }
                }
            }
            @if !contents.expectations.is_empty() {
                ul.expectations {
                    @for one in &contents.expectations {
                        li.failed[!one.holds] { strong { @if one.holds { "holds" } @else { "failed" } } " " code { (one.text) } ": " (one.because) }
                    }
                }
            }
        }
    }
}
