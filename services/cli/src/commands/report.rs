//! `report`: the post-mortem of an incident, as Markdown or as one HTML file.

use std::path::PathBuf;

use clap::ValueEnum;
use faultline_client::incidents::IncidentView;
use faultline_client::incidents::read::History;
use faultline_client::incidents::report::{Around, markdown, reads_from};
use faultline_client::observe::{Watch, nodes_and_leader};
use faultline_runtime::clock::unix_ms;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::link::Link;
use crate::exit::Failure;
use crate::output::date_and_clock;
use crate::whole_file;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse}td,th{border:1px solid #b9c1cc;padding:.25rem .6rem;text-align:left;vertical-align:top}\
    code,pre{font-family:ui-monospace,monospace}pre{background:#eef0f3;padding:.75rem;overflow-x:auto}";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ReportFormat {
    /// Markdown
    #[default]
    Md,
    /// One file that needs no network
    Html,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReportFlags {
    /// The incident, or the run of an experiment; the newest incident when left out
    id: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
    /// Write it into this file instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(link: &Link, flags: &ReportFlags) -> Result<(), Failure> {
    let mut history = History::begin(&link.nats).await;
    history.catch_up().await?;
    let incident = find(&history, flags.id.as_deref())?;
    let mut watch = Watch::new(&link.nats, reads_from(&incident));
    if let Some((nodes, leader)) = nodes_and_leader(&link.nats).await {
        watch.know(&nodes, &leader);
    }
    watch.conclude().await?;
    let around = Around::of(&incident, &watch.observer, unix_ms());
    let text = markdown(&incident, &around, date_and_clock);
    let text = match flags.format {
        ReportFormat::Md => text,
        ReportFormat::Html => as_html(&incident, &text),
    };
    match &flags.out {
        Some(path) => {
            whole_file::write(path, text.as_bytes())?;
            note!("written to {}", path.display());
            Ok(())
        }
        None => link.out.text(&text),
    }
}

/// The wanted incident: by its own id, or by the run of the experiment whose faults it has.
fn find(history: &History<'_>, id: Option<&str>) -> Result<IncidentView, Failure> {
    let now_ms = unix_ms();
    let Some(given) = id else {
        let nothing = || Failure::NotFound("nothing has failed in the last hour".to_owned());
        return history.incidents.newest(now_ms).next().ok_or_else(nothing);
    };
    let id = given.to_ascii_uppercase();
    let is_of_run = |incident: &IncidentView| incident.faults.iter().any(|fault| fault.experiment() == Some(id.as_str()));
    let of_run = || history.incidents.newest(now_ms).find(is_of_run);
    let unknown = || Failure::NotFound(format!("no incident or run {given} in the last hour: `faultline incidents` lists them"));
    history.incidents.find(&id, now_ms).or_else(of_run).ok_or_else(unknown)
}

fn as_html(incident: &IncidentView, text: &str) -> String {
    let mut body = String::new();
    // What services say is text, also where it looks like a tag or a link.
    let plain = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(tag) | Event::InlineHtml(tag) => Some(Event::Text(tag)),
        Event::Start(Tag::Link { .. } | Tag::Image { .. }) | Event::End(TagEnd::Link | TagEnd::Image) => None,
        other => Some(other),
    });
    html::push_html(&mut body, plain);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Incident {}</title>\n<style>{STYLE}</style>\n{body}</html>\n",
        incident.id
    )
}

#[cfg(test)]
mod tests {
    use faultline_client::incidents::Incidents;
    use faultline_protocol::messages::{ClusterEvent, EventKind, Level};

    use super::*;

    #[test]
    fn what_a_service_says_is_text_in_the_page() {
        let event = ClusterEvent {
            node: Some("gpu-node-02".into()),
            ..ClusterEvent::new(
                1_700_000_000_000,
                "x",
                Level::Warn,
                EventKind::NodeGone,
                "<script>alert(1)</script> [x](javascript:1) **b**",
            )
        };
        let mut incidents = Incidents::default();
        incidents.on_event(&event);
        let incident = incidents.newest(1_700_000_001_000).next().unwrap();
        let around = Around { stretches: Vec::new(), back_after_ms: None };
        let page = as_html(&incident, &markdown(&incident, &around, |ms| ms.to_string()));
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("href"), "{page}");
        assert!(page.contains("<h2>Timeline</h2>") && page.contains("<table>"), "{page}");
    }
}
