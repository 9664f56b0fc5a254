//! `faultline link`: shows and breaks the network between services and NATS. Which links are meant and what becomes of them is worked
//! out here; `up` does it, one link an order.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use faultline_cluster::up::links::LinkStatus;
use faultline_cluster::up::remote;
use faultline_proxy::{Direction, LinkConditions, LinkState, Traffic};
use faultline_runtime::clock;

use crate::commands::parse;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::session::Session;

/// Flags of `link`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LinkFlags {
    /// Names in `faultline status` with commas between, or all, all-workers, all-schedulers (default: all, when only shown)
    #[arg(value_name = "SERVICES")]
    services: Option<String>,
    #[command(subcommand)]
    change: Option<LinkChange>,
}

#[derive(Debug, Clone, Subcommand)]
enum LinkChange {
    /// Connections are reset, and new ones too
    Cut,
    /// A partition: connections stay, no byte passes; after healing all of it arrives
    Stall(Way),
    /// Restore the network
    Heal,
    /// Bytes arrive later, up to 60s
    Delay {
        /// How much later, such as 200ms
        #[arg(value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
        delay: Duration,
        /// Up to so much more, drawn evenly
        #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse::duration, allow_hyphen_values = true)]
        jitter: Duration,
        #[command(flatten)]
        way: Way,
    },
    /// Limit the bytes a second: 100KiB/s, 1MB/s, 5000B/s
    Limit {
        /// Bytes a second, such as 100KiB/s
        #[arg(value_name = "RATE", value_parser = bytes_per_s, allow_hyphen_values = true)]
        rate: u64,
        #[command(flatten)]
        way: Way,
    },
    /// Percent of the chunks that come late, as TCP makes of lost packets: 200 ms, doubled each time. 0 to 90
    Loss {
        /// Percent of the chunks, such as 5
        #[arg(value_name = "PERCENT", value_parser = percent, allow_hyphen_values = true)]
        percent: f64,
        #[command(flatten)]
        way: Way,
    },
}

#[derive(Debug, Clone, Copy, Args)]
struct Way {
    /// The way that all conditions of the link are about (default: as it is, else both)
    #[arg(long, value_enum)]
    direction: Option<WayName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WayName {
    Both,
    /// From the service to NATS
    Up,
    /// From NATS to the service
    Down,
}

impl LinkChange {
    /// What becomes of a link: what is said here changes, the rest stays. `heal` ends all of it.
    fn apply(&self, now_is: LinkConditions) -> LinkConditions {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let (mut conditions, way) = match *self {
            LinkChange::Heal => return LinkConditions::default(),
            LinkChange::Cut => return LinkConditions { state: LinkState::Closed, direction: Direction::Both, ..now_is },
            LinkChange::Stall(way) => (LinkConditions { state: LinkState::Stalled, ..now_is }, way),
            LinkChange::Delay { delay, jitter, way } => {
                (LinkConditions { delay_ms: millis(delay), jitter_ms: millis(jitter), ..now_is }, way)
            }
            LinkChange::Limit { rate, way } => (LinkConditions { bytes_per_s: Some(rate), ..now_is }, way),
            LinkChange::Loss { percent, way } => (LinkConditions { loss_percent: percent, ..now_is }, way),
        };
        conditions.direction = match way.direction {
            None => conditions.direction,
            Some(WayName::Both) => Direction::Both,
            Some(WayName::Up) => Direction::Up,
            Some(WayName::Down) => Direction::Down,
        };
        conditions
    }
}

/// `faultline link`.
pub(crate) async fn run(session: &Session, flags: &LinkFlags) -> Result<(), Failure> {
    let state = session.running()?;
    let links = remote::links(&state).await?;
    let (services, change) = match (&flags.services, &flags.change) {
        (None, Some(_)) => {
            return Err(Failure::Usage(
                "name the services first, as in `faultline link worker-03 stall` or `faultline link all heal`".into(),
            ));
        }
        (None, None) => ("all", None),
        (Some(services), change) => (services.as_str(), change.as_ref()),
    };
    let chosen = choose(services, links)?;
    let Some(change) = change else {
        return Output::new(session.format, session.common.color).rows(&chosen, table);
    };
    for link in chosen {
        let conditions = change.apply(link.conditions);
        conditions.validate().map_err(|error| Failure::Usage(error.to_string()))?;
        remote::link(&state, link.service.clone(), conditions).await?;
        note!("{}: {conditions}", link.service);
    }
    Ok(())
}

fn choose(services: &str, links: Vec<LinkStatus>) -> Result<Vec<LinkStatus>, Failure> {
    let mut wanted = Vec::new();
    for word in services.split(',').map(str::trim) {
        let fits = |name: &str| match word {
            "all" => true,
            "all-workers" => name.starts_with("worker-"),
            "all-schedulers" => name.starts_with("scheduler-"),
            exact => name == exact,
        };
        let before = wanted.len();
        wanted.extend(links.iter().filter(|link| fits(&link.service)).map(|link| link.service.clone()));
        if wanted.len() == before {
            let names: Vec<&str> = links.iter().map(|link| link.service.as_str()).collect();
            return Err(Failure::NotFound(format!("unknown service `{word}`: use one of {}", names.join(", "))));
        }
    }
    Ok(links.into_iter().filter(|link| wanted.contains(&link.service)).collect())
}

fn table(links: &[LinkStatus]) -> Table {
    let mut table = output::table(&["SERVICE", "LINK", "SINCE", "CONNECTIONS", "TO NATS", "TO SERVICE", "HELD"]);
    let now_ms = clock::unix_ms();
    for LinkStatus { service, conditions, since_ms, traffic, .. } in links {
        let Traffic { up, down, connections, .. } = traffic;
        let since = since_ms.map(|since_ms| format!("{} ago", output::span(now_ms.saturating_sub(since_ms)))).unwrap_or_default();
        table.add_row([
            service.clone(),
            conditions.to_string(),
            since,
            connections.to_string(),
            bytes(up.bytes),
            bytes(down.bytes),
            bytes(up.held_bytes + down.held_bytes),
        ]);
    }
    table
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `100KiB/s`, `1.5MB/s`, `5000`: bytes a second.
fn bytes_per_s(text: &str) -> Result<u64, String> {
    const HOW: &str = "write bytes a second: 5000, 100KiB/s, 1.5MB/s";
    let text = text.trim();
    let amount = text.strip_suffix("/s").unwrap_or(text);
    let digits = amount.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        _ => return Err(HOW.to_owned()),
    };
    let value = number.parse::<f64>().map_err(|_| HOW.to_owned())? * factor;
    if value < 1.0 {
        return Err("at least 1 byte a second; for a link that passes nothing use stall".to_owned());
    }
    Ok(value as u64)
}

/// `2%` or `2`.
fn percent(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number.parse().map_err(|_| "write a percentage: 2% or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_percentages_are_read_as_people_write_them() {
        let read = ["5000", "5000B/s", "100KiB/s", "1.5MB/s", "2mib", "1 kB/s"].map(|text| bytes_per_s(text).unwrap());
        assert_eq!(read, [5000, 5000, 102_400, 1_500_000, 2_097_152, 1000]);
        for bad in ["", "fast", "10 parsecs", "-5", "0", "1..2"] {
            assert!(bytes_per_s(bad).is_err(), "{bad}");
        }
        assert_eq!(["2%", "0.5", "2 %"].map(|text| percent(text).unwrap()), [2.0, 0.5, 2.0]);
        assert!(percent("much").is_err());
    }

    #[test]
    fn a_change_leaves_the_rest_and_heal_ends_all() {
        let way = Way { direction: None };
        let delayed =
            LinkChange::Delay { delay: Duration::from_millis(50), jitter: Duration::from_millis(10), way }.apply(LinkConditions::default());
        let lossy = LinkChange::Loss { percent: 2.0, way: Way { direction: Some(WayName::Up) } }.apply(delayed);
        assert_eq!(lossy.to_string(), "delay 50 to 60 ms, loss 2 %, service to NATS only");
        let stalled = LinkChange::Stall(way).apply(lossy);
        assert_eq!((stalled.state, stalled.direction), (LinkState::Stalled, Direction::Up));
        assert!(LinkChange::Cut.apply(stalled).validate().is_ok(), "a cut is for both ways");
        assert!(LinkChange::Heal.apply(stalled).is_clean());
    }

    #[test]
    fn services_are_chosen_by_name_or_by_group() {
        let link = |name: &str| LinkStatus {
            service: name.into(),
            address: String::new(),
            conditions: LinkConditions::default(),
            since_ms: None,
            traffic: Traffic::default(),
        };
        let links = || ["dashboard", "scheduler-1", "worker-01", "worker-02"].map(link).to_vec();
        let names = |services: &str| choose(services, links()).map(|links| links.into_iter().map(|link| link.service).collect::<Vec<_>>());
        assert_eq!(names("worker-02").unwrap(), ["worker-02"]);
        assert_eq!(names("worker-02, all-schedulers,worker-02").unwrap(), ["scheduler-1", "worker-02"]);
        assert_eq!(names("all-workers").unwrap(), ["worker-01", "worker-02"]);
        assert_eq!(names("all").unwrap().len(), 4);
        match names("worker-01,nats") {
            Err(Failure::NotFound(text)) => assert!(text.contains("`nats`") && text.contains("worker-02"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_are_shown_in_a_unit_that_fits() {
        assert_eq!([0, 1023, 1536, 5 << 20, 3 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
    }
}
