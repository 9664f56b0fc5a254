//! The services' ways to NATS: a proxy in front of the server for each process, inside of `up`, so that its network can be broken
//! while it runs. What was done to a link, and until when, is returned as events: the ground truth of a fault.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use async_nats::ServerAddr;
use faultline_engine::fault::fault_id;
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultCause, FaultDepth, FaultTruth, Level};
use faultline_proxy::{LinkConditions, LinkState, Proxy, Traffic};
use faultline_runtime::clock;
use serde::{Deserialize, Serialize};

use super::history::OWN_NAME;
use super::supervisor::Service;

/// The flag of every service that says where NATS is.
pub const NATS_URL_FLAG: &str = "--nats-url";

/// Who ends all that is wrong when the cluster stops.
const STOPPING: &str = "`faultline up`, which stops";

/// One link as others may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    pub service: String,
    /// Where the service connects.
    pub address: String,
    pub conditions: LinkConditions,
    /// Since when it has been broken, in Unix milliseconds.
    pub since_ms: Option<u64>,
    pub traffic: Traffic,
}

/// Why a link was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("no links to break: `faultline up` runs with --no-proxy, or NATS uses TLS or a WebSocket")]
    NoLinks,
    #[error("unknown service {name}: use one of {there_are}")]
    Unknown { name: String, there_are: String },
    #[error(transparent)]
    Invalid(#[from] faultline_proxy::InvalidConditions),
}

/// All links, by the name of the service.
#[derive(Debug)]
pub struct Links {
    upstream: Option<Upstream>,
    seed: u64,
    links: Mutex<BTreeMap<String, ProxiedLink>>,
}

#[derive(Debug)]
struct ProxiedLink {
    proxy: Proxy,
    fault: Option<FaultTruth>,
}

/// Where the proxies connect to.
#[derive(Debug, PartialEq, Eq)]
struct Upstream {
    /// `host:port`, several with commas between.
    servers: String,
    /// User and password of the URL, as they stand before the host.
    user_info: String,
}

impl Links {
    /// Services go straight.
    pub fn none() -> Self {
        Self { upstream: None, seed: 0, links: Mutex::default() }
    }

    /// Links to these servers. `seed` decides jitter and loss.
    pub fn to(servers: &[ServerAddr], seed: u64) -> Self {
        let upstream = upstream(servers);
        if upstream.is_none() {
            tracing::warn!("NATS uses TLS or a WebSocket: services connect without proxies, so `faultline link` cannot break connections");
        }
        Self { upstream, seed, links: Mutex::default() }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, ProxiedLink>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service with the address of its own link in the place of the server's. The link stays until [`Links::remove`].
    pub fn in_front_of(&self, mut service: Service) -> anyhow::Result<Service> {
        let Some(upstream) = &self.upstream else { return Ok(service) };
        let Some(url) = service.args.iter().position(|arg| arg == NATS_URL_FLAG).and_then(|at| service.args.get_mut(at + 1)) else {
            return Ok(service);
        };
        let mut links = self.locked();
        if !links.contains_key(&service.name) {
            let seed = service.name.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
            let proxy = Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), upstream.servers.clone(), seed)
                .with_context(|| format!("opening a loopback port for the proxy of {}", service.name))?;
            links.insert(service.name.clone(), ProxiedLink { proxy, fault: None });
        }
        *url = format!("nats://{}{}", upstream.user_info, links[&service.name].proxy.address());
        drop(links);
        Ok(service)
    }

    /// The service is gone for good.
    pub fn remove(&self, name: &str, now_ms: u64) -> Option<ClusterEvent> {
        let link = self.locked().remove(name)?;
        link.fault.map(|fault| ended(fault, now_ms, "its process was removed"))
    }

    /// Changes a link, and returns what belongs into the history. `by` says who ordered it.
    pub fn set(&self, name: &str, conditions: LinkConditions, by: &str, now_ms: u64) -> Result<Vec<ClusterEvent>, LinkError> {
        if self.upstream.is_none() {
            return Err(LinkError::NoLinks);
        }
        let mut links = self.locked();
        let there_are = links.keys().cloned().collect::<Vec<_>>().join(", ");
        let link = links.get_mut(name).ok_or_else(|| LinkError::Unknown { name: name.to_owned(), there_are })?;
        link.proxy.set(conditions)?;
        let mut events = Vec::new();
        events.extend(link.fault.take().map(|fault| ended(fault, now_ms, &format!("the link is {conditions} now, by {by}"))));
        if !conditions.is_clean() {
            let truth = FaultTruth {
                id: fault_id(now_ms, clock::random_u128()),
                kind: kind(&conditions).to_owned(),
                depth: FaultDepth::Network,
                target: name.to_owned(),
                gpu: None,
                from_ms: now_ms,
                until_ms: None,
                cause: FaultCause::Ordered,
                domain: None,
                by: by.to_owned(),
            };
            events.push(event(EventKind::FaultBegan, now_ms, format!("the link of {name}: {conditions}, by {by}"), &truth));
            link.fault = Some(truth);
        }
        Ok(events)
    }

    /// Ends all that is wrong, and returns what history shall know of it.
    pub fn heal_all(&self, now_ms: u64) -> Vec<ClusterEvent> {
        let broken: Vec<String> = self.locked().iter().filter(|(_, link)| link.fault.is_some()).map(|(name, _)| name.clone()).collect();
        broken.iter().filter_map(|name| self.set(name, LinkConditions::default(), STOPPING, now_ms).ok()).flatten().collect()
    }

    pub fn list(&self) -> Result<Vec<LinkStatus>, LinkError> {
        if self.upstream.is_none() {
            return Err(LinkError::NoLinks);
        }
        let status = |(name, link): (&String, &ProxiedLink)| LinkStatus {
            service: name.clone(),
            address: link.proxy.address().to_string(),
            conditions: link.proxy.conditions(),
            since_ms: link.fault.as_ref().map(|fault| fault.from_ms),
            traffic: link.proxy.traffic(),
        };
        Ok(self.locked().iter().map(status).collect())
    }
}

/// None when a proxy would be in the way: certificates and WebSocket requests name the host.
fn upstream(servers: &[ServerAddr]) -> Option<Upstream> {
    if servers.is_empty() || servers.iter().any(|server| server.scheme() != "nats") {
        return None;
    }
    let user_info = match servers.iter().find_map(|server| server.username().map(|user| (user, server.password()))) {
        Some((user, Some(password))) => format!("{user}:{password}@"),
        Some((user, None)) => format!("{user}@"),
        None => String::new(),
    };
    let servers: Vec<String> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
    Some(Upstream { servers: servers.join(","), user_info })
}

/// One word for what is wrong with a link.
fn kind(conditions: &LinkConditions) -> &'static str {
    let delayed = conditions.delay_ms > 0 || conditions.jitter_ms > 0;
    match (conditions.state, delayed, conditions.bytes_per_s.is_some(), conditions.loss_percent > 0.0) {
        (LinkState::Stalled, ..) => "partition",
        (LinkState::Closed, ..) => "link_closed",
        (LinkState::Open, true, false, false) => "link_delay",
        (LinkState::Open, false, true, false) => "link_limit",
        (LinkState::Open, false, false, true) => "link_loss",
        (LinkState::Open, ..) => "link_degraded",
    }
}

fn ended(mut fault: FaultTruth, now_ms: u64, why: &str) -> ClusterEvent {
    fault.until_ms = Some(now_ms);
    event(EventKind::FaultEnded, now_ms, format!("{} of {} is over: {why}", fault.kind, fault.target), &fault)
}

fn event(kind: EventKind, now_ms: u64, detail: String, truth: &FaultTruth) -> ClusterEvent {
    let mut event = ClusterEvent::new(now_ms, OWN_NAME, Level::Warn, kind, detail);
    event.fault = Some(truth.clone());
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        let args = ["--name", name, NATS_URL_FLAG, "nats://127.0.0.1:4222", "--nodes", "1"].map(String::from).into();
        Service { name: name.into(), program: "/bin/true".into(), args, admin: None }
    }

    fn links() -> Links {
        Links::to(&["nats://127.0.0.1:4222".parse().unwrap()], 1)
    }

    #[tokio::test]
    async fn a_service_is_led_through_its_own_link_and_keeps_it() {
        let links = links();
        let first = links.in_front_of(service("worker-01")).unwrap();
        let other = links.in_front_of(service("worker-02")).unwrap();
        let again = links.in_front_of(service("worker-01")).unwrap();
        assert!(first.args[3].starts_with("nats://127.0.0.1:") && !first.args[3].ends_with(":4222"), "{:?}", first.args);
        assert_ne!(first.args[3], other.args[3]);
        assert_eq!(first, again);
        assert_eq!((first.args.len(), first.args[5].as_str()), (6, "1"), "nothing else is changed");
        let list = links.list().unwrap();
        assert_eq!(list.iter().map(|link| link.service.as_str()).collect::<Vec<_>>(), ["worker-01", "worker-02"]);
        assert_eq!(format!("nats://{}", list[0].address), first.args[3]);
    }

    #[tokio::test]
    async fn without_links_nothing_is_changed_and_nothing_can_be_broken() {
        let links = Links::none();
        assert_eq!(links.in_front_of(service("worker-01")).unwrap(), service("worker-01"));
        assert_eq!(links.set("worker-01", LinkConditions::stalled(), "test", 1), Err(LinkError::NoLinks));
    }

    #[tokio::test]
    async fn every_fault_of_a_link_begins_and_ends_in_the_history() {
        let links = links();
        links.in_front_of(service("worker-01")).unwrap();
        let began = links.set("worker-01", LinkConditions::stalled(), "test", 100).unwrap();
        let truth = began[0].fault.clone().unwrap();
        assert_eq!((began.len(), began[0].kind, truth.kind.as_str(), truth.until_ms), (1, EventKind::FaultBegan, "partition", None));
        assert_eq!((truth.depth, truth.target.as_str(), truth.from_ms), (FaultDepth::Network, "worker-01", 100));
        assert_eq!(links.list().unwrap()[0].since_ms, Some(100));

        let slow = LinkConditions { delay_ms: 50, ..LinkConditions::default() };
        let changed = links.set("worker-01", slow, "test", 200).unwrap();
        let ended = changed[0].fault.clone().unwrap();
        assert_eq!((changed[0].kind, &ended.id, ended.until_ms), (EventKind::FaultEnded, &truth.id, Some(200)));
        assert_eq!(changed[1].fault.as_ref().unwrap().kind, "link_delay");

        let healed = links.set("worker-01", LinkConditions::default(), "test", 300).unwrap();
        assert_eq!((healed.len(), healed[0].kind), (1, EventKind::FaultEnded));
        assert!(links.set("worker-01", LinkConditions::default(), "test", 400).unwrap().is_empty());

        links.set("worker-01", slow, "test", 410).unwrap();
        let ends = links.heal_all(420);
        assert_eq!((ends.len(), ends[0].kind, links.heal_all(430).len()), (1, EventKind::FaultEnded, 0));

        links.set("worker-01", LinkConditions::closed(), "test", 500).unwrap();
        assert_eq!(links.remove("worker-01", 600).unwrap().fault.unwrap().until_ms, Some(600));
        assert!(links.list().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_said_and_changes_nothing() {
        let links = links();
        links.in_front_of(service("worker-01")).unwrap();
        let unknown = links.set("worker-09", LinkConditions::stalled(), "test", 1).unwrap_err().to_string();
        assert!(unknown.contains("worker-09") && unknown.contains("worker-01"), "{unknown}");
        let invalid = links.set("worker-01", LinkConditions { loss_percent: 100.0, ..LinkConditions::default() }, "test", 1).unwrap_err();
        assert!(invalid.to_string().starts_with("loss_percent"), "{invalid}");
        assert!(links.list().unwrap()[0].conditions.is_clean());
    }

    #[test]
    fn the_upstream_keeps_users_and_all_servers_and_leaves_tls_alone() {
        let parse = |urls: &[&str]| urls.iter().map(|url| url.parse().unwrap()).collect::<Vec<ServerAddr>>();
        let found = upstream(&parse(&["nats://me:secret@10.0.0.1:4301", "nats://10.0.0.2:4302"])).unwrap();
        assert_eq!((found.servers.as_str(), found.user_info.as_str()), ("10.0.0.1:4301,10.0.0.2:4302", "me:secret@"));
        assert_eq!(upstream(&parse(&["tls://10.0.0.1:4301"])), None);
    }

    #[test]
    fn a_fault_has_one_word() {
        let clean = LinkConditions::default;
        for (word, conditions) in [
            ("partition", LinkConditions::stalled()),
            ("link_closed", LinkConditions::closed()),
            ("link_delay", LinkConditions { jitter_ms: 5, ..clean() }),
            ("link_limit", LinkConditions { bytes_per_s: Some(9), ..clean() }),
            ("link_loss", LinkConditions { loss_percent: 2.0, ..clean() }),
            ("link_degraded", LinkConditions { loss_percent: 2.0, delay_ms: 1, ..clean() }),
        ] {
            assert_eq!(kind(&conditions), word);
        }
    }
}
