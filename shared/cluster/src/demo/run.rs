//! The demo on its cluster: kills what the script says, tells the page which scene it is, and counts what the history says.

use std::time::Duration;

use anyhow::anyhow;
use faultline_client::Leader;
use faultline_client::audit::{self, AuditReport};
use faultline_client::incidents::Tally;
use faultline_client::incidents::read::History;
use faultline_engine::words::plural;
use faultline_protocol::messages::{ChaosKind, ChaosRequest, DemoScene};
use faultline_protocol::streams::{KEY_DEMO, KV_CONTROL};
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::connect::kv_put;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::script::{self, Caption, Cue, Facts, Scene, Script, Wish};
use crate::error::Error;
use crate::experiment::fault::Fault;
use crate::experiment::picture::{NodeFacts, Picture};
use crate::experiment::{kinds, plan};
use crate::scenario::cluster::{OwnCluster, Wanted};
use crate::up::signal::KillSignal;

/// As what the demo's orders are signed.
const COMMAND: &str = "faultline demo";
/// Two nodes a rack, as the simulated nodes have it, and a process for each rack.
const NODES_PER_RACK: u32 = 2;
/// How full the cluster is, in percent.
const LOAD_PERCENT: u32 = 70;
/// No jobs that fail on purpose, and little work for the processor: all of the cluster runs on one machine.
const CONFIG: &str = "[generator]\nmix = \"compute=5,matrix=4,sleep=1\"\n";
/// One round: new facts are at most this old.
const ROUND: Duration = Duration::from_millis(250);
/// While NATS is down nothing is waited for longer than this: what could not be read or written is tried again in a later round.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// The generator fills the cluster within this time.
const FILL_LIMIT: Duration = Duration::from_secs(10);
/// A standby leads, and NATS is back, within this time.
const PICTURE_LIMIT: Duration = Duration::from_secs(12);
/// What is killed is back, and all jobs that were interrupted have been placed, within this time after the last scene.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const AUDIT_WAIT: Duration = Duration::from_secs(20);

/// How the demo goes.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// Simulated nodes, an even number.
    pub nodes: u32,
    /// How long each scene lasts.
    pub scene: Duration,
    /// Without a page, and without anybody who watches.
    pub headless: bool,
    pub dashboard_port: u16,
}

/// What the viewer is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Scene {
        number: usize,
        of: usize,
        caption: Caption,
    },
    /// Told when it has changed.
    Counts(Counts),
    Trouble(String),
}

/// What has become of the interrupted jobs, as the history says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub tally: Tally,
    /// By the leader's ledger; none while no scheduler answers.
    pub lost: Option<u64>,
}

impl Counts {
    /// Such as `37 of 37 interrupted jobs moved, 0 lost`.
    pub fn words(&self) -> String {
        let Tally { interrupted, moved, .. } = self.tally;
        let moved = match interrupted {
            0 => "no job interrupted".to_owned(),
            _ => format!("{moved} of {} moved", plural(interrupted.into(), "interrupted job")),
        };
        let lost = self.lost.map_or_else(|| "no scheduler answers".to_owned(), |lost| format!("{lost} lost"));
        format!("{moved}, {lost}")
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    pub nodes: u32,
    /// What was killed, in order.
    pub killed: Vec<String>,
    pub incidents: u32,
    pub jobs_interrupted: u32,
    pub jobs_moved: u32,
    /// Whether everything that was broken has recovered.
    pub recovered: bool,
    /// The incidents that have not, each by its headline.
    pub ongoing: Vec<String>,
    pub audit: AuditReport,
}

/// Starts the cluster and waits until every node is alive.
pub async fn start(settings: &DemoSettings) -> Result<OwnCluster, Error> {
    let pairs = [
        ("--workers", (settings.nodes / NODES_PER_RACK).to_string()),
        ("--nodes-per-worker", NODES_PER_RACK.to_string()),
        ("--schedulers", "2".to_owned()),
        ("--faults", "off".to_owned()),
        ("--load", LOAD_PERCENT.to_string()),
        ("--dashboard-port", settings.dashboard_port.to_string()),
    ];
    let mut flags: Vec<String> = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    flags.extend(settings.headless.then(|| "--no-dashboard".to_owned()));
    let wanted = Wanted { purpose: "demo", flags, config: CONFIG, nodes: settings.nodes as usize, keep: false };
    let cluster = OwnCluster::start_wanted(wanted).await?;
    // A cluster without work has nothing to show. One that does not get any shows that.
    let _ = timeout(FILL_LIMIT, async {
        while !is_half_full(&cluster).await {
            sleep(ROUND).await;
        }
    })
    .await;
    Ok(cluster)
}

/// Whether half of the load is there.
async fn is_half_full(cluster: &OwnCluster) -> bool {
    let Ok(stats) = Leader::once(&cluster.nats, ANSWER_LIMIT).stats().await else { return false };
    stats.gpu_used_milli * 2 >= u64::from(stats.gpus_total * LOAD_PERCENT) * 10
}

/// Plays it until it ends, or until that is wished.
pub async fn run(
    settings: &DemoSettings,
    cluster: &OwnCluster,
    wishes: &mut mpsc::Receiver<Wish>,
    show: &mut dyn FnMut(Shown),
) -> Result<DemoReport, Error> {
    let mut play = Play {
        settings,
        cluster,
        script: Script::new(settings.scene, settings.headless),
        history: History::begin(&cluster.nats).await,
        since_ms: unix_ms(),
        told: Counts::default(),
        unwritten: None,
        killed: Vec::new(),
    };
    let (mut is_read, mut wish) = (play.look(show).await, None);
    loop {
        let all_well = is_read && play.tally().all_well;
        match play.script.next(unix_ms(), all_well, wish.take()) {
            Some(Cue::End) => return play.conclude(show).await,
            Some(Cue::Begin(number, scene)) => play.begin(number, scene, show).await,
            Some(Cue::Kill) => play.kill_busiest(show).await,
            None => {}
        }
        tokio::select! {
            wished = wishes.recv(), if !settings.headless => wish = Some(wished.unwrap_or(Wish::Quit)),
            now_read = play.look(show) => is_read = now_read,
        }
    }
}

struct Play<'a> {
    settings: &'a DemoSettings,
    cluster: &'a OwnCluster,
    script: Script,
    history: History<'a>,
    /// What began earlier is not of the demo.
    since_ms: u64,
    told: Counts,
    /// The scene that the page does not know yet.
    unwritten: Option<DemoScene>,
    killed: Vec<String>,
}

impl Play<'_> {
    fn tally(&self) -> Tally {
        self.history.incidents.tally(self.since_ms)
    }

    /// Reads what happens in one round, and tells it. False while NATS does not answer. May be dropped at any moment.
    async fn look(&mut self, show: &mut dyn FnMut(Shown)) -> bool {
        let read = timeout(ROUND + ANSWER_LIMIT, self.history.follow(ROUND)).await;
        let is_read = matches!(read, Ok(Ok(())));
        if !is_read {
            sleep(ROUND).await;
        }
        let stats = Leader::once(&self.cluster.nats, ANSWER_LIMIT).stats().await.ok();
        let counts = Counts { tally: self.tally(), lost: stats.map(|stats| stats.ledger.vanished) };
        if counts.words() != self.told.words() {
            self.told = counts.clone();
            show(Shown::Counts(counts));
        }
        if is_read && self.unwritten.is_some() {
            self.write().await;
        }
        is_read
    }

    /// Tells the page which scene it is; in a later round, when that does not work now.
    async fn write(&mut self) {
        let Some(scene) = &self.unwritten else { return };
        let written = timeout(ANSWER_LIMIT, async {
            let store = self.cluster.nats.bucket(KV_CONTROL).await.map_err(|error| anyhow!(error))?;
            kv_put(&store, KEY_DEMO, scene).await.map_err(|error| anyhow!(error))
        });
        if matches!(written.await, Ok(Ok(_))) {
            self.unwritten = None;
        }
    }

    async fn begin(&mut self, number: usize, scene: Scene, show: &mut dyn FnMut(Shown)) {
        // After a skip the leader of the last scene may still be down.
        let Ok(picture) = timeout(PICTURE_LIMIT, self.picture()).await else {
            return show(Shown::Trouble("no scheduler answers: this scene is left out".to_owned()));
        };
        let (faults, facts) = match self.what(scene, &picture) {
            Ok(found) => found,
            Err(reason) => return show(Shown::Trouble(format!("this scene is left out: {reason}"))),
        };
        let caption = scene.caption(&facts);
        let of = self.script.total();
        show(Shown::Scene { number, of, caption: caption.clone() });
        self.unwritten = Some(DemoScene {
            number: u32::try_from(number).unwrap_or(u32::MAX),
            of: u32::try_from(of).unwrap_or(u32::MAX),
            title: caption.title,
            text: caption.text,
            since_ms: self.since_ms,
            your_turn: scene == Scene::YourTurn,
        });
        self.write().await;
        for (fault, lasts) in faults {
            let target = fault.target().to_owned();
            match self.cluster.inject(fault, u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX), COMMAND).await {
                Ok(()) => self.killed.push(target),
                Err(error) => show(Shown::Trouble(format!("{target} was not killed: {error}"))),
            }
        }
    }

    async fn picture(&self) -> Picture {
        loop {
            match self.cluster.picture().await {
                Some(picture) => return picture,
                None => sleep(ROUND).await,
            }
        }
    }

    /// What the scene kills, and for how long, among what is there now.
    fn what(&self, scene: Scene, picture: &Picture) -> Result<(Vec<(Fault, Duration)>, Facts), String> {
        let mut facts = Facts {
            nodes: picture.nodes.len(),
            running: picture.nodes.iter().map(|node| node.running).sum(),
            scene_s: self.settings.scene.as_secs(),
            ..Facts::default()
        };
        let (request, lasts) = match scene {
            Scene::Watch | Scene::YourTurn => return Ok((Vec::new(), facts)),
            Scene::Rack => {
                facts.rack = busiest(picture, |node| &node.rack).ok_or("no rack has jobs")?;
                facts.rack_nodes = picture.nodes.iter().filter(|node| node.rack == facts.rack).map(|node| node.node.clone()).collect();
                (ChaosRequest { target: facts.rack.clone(), ..kinds::of_kind(ChaosKind::KillService, COMMAND) }, script::RACK_DOWN)
            }
            Scene::Leader => {
                (ChaosRequest { target: plan::LEADER.to_owned(), ..kinds::of_kind(ChaosKind::KillService, COMMAND) }, script::LEADER_DOWN)
            }
            Scene::Nats => (kinds::of_kind(ChaosKind::KillNats, COMMAND), script::NATS_DOWN),
        };
        let faults = plan::faults(&request, picture, random_u128() as u64)?;
        facts.targets = faults.iter().map(|fault| fault.target().to_owned()).collect();
        Ok((faults.into_iter().map(|fault| (fault, lasts)).collect(), facts))
    }

    async fn kill_busiest(&mut self, show: &mut dyn FnMut(Shown)) {
        let picture = self.cluster.picture().await.unwrap_or_default();
        let Some(worker) = busiest(&picture, |node| &node.worker) else {
            return show(Shown::Trouble("nothing was killed: no worker runs jobs, or no scheduler answers".to_owned()));
        };
        match self.cluster.kill(worker.clone(), KillSignal::Kill, COMMAND).await {
            Ok(_) => self.killed.push(worker),
            Err(error) => show(Shown::Trouble(format!("{worker} was not killed: {error}"))),
        }
    }

    /// Waits until all is well, and has the books checked.
    async fn conclude(mut self, show: &mut dyn FnMut(Shown)) -> Result<DemoReport, Error> {
        let settled = timeout(SETTLE_LIMIT, async { while !self.look(show).await || !self.tally().all_well {} });
        let recovered = settled.await.is_ok();
        let tally = self.tally();
        let audit = audit::run(&self.cluster.nats, AUDIT_WAIT).await.map_err(|error| anyhow!(error))?;
        Ok(DemoReport {
            nodes: self.settings.nodes,
            killed: self.killed,
            incidents: tally.incidents,
            jobs_interrupted: tally.interrupted,
            jobs_moved: tally.moved,
            recovered,
            ongoing: self.history.incidents.ongoing_since(self.since_ms, unix_ms()),
            audit,
        })
    }
}

/// What runs the most jobs of all that is whole.
fn busiest(picture: &Picture, of: impl Fn(&NodeFacts) -> &String) -> Option<String> {
    let mut running: std::collections::BTreeMap<&String, usize> = std::collections::BTreeMap::new();
    for node in picture.nodes.iter().filter(|node| node.wrong.is_none()) {
        *running.entry(of(node)).or_default() += node.running;
    }
    running.into_iter().filter(|(_, jobs)| *jobs > 0).max_by_key(|(_, jobs)| *jobs).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_say_what_is_known() {
        let counts = |interrupted, moved, lost| Counts { tally: Tally { interrupted, moved, ..Tally::default() }, lost }.words();
        assert_eq!(counts(37, 36, Some(0)), "36 of 37 interrupted jobs moved, 0 lost");
        assert_eq!(counts(1, 1, Some(0)), "1 of 1 interrupted job moved, 0 lost");
        assert_eq!(counts(0, 0, None), "no job interrupted, no scheduler answers");
    }

    #[test]
    fn the_busiest_is_one_that_is_whole() {
        let node = |node: &str, worker: &str, running, wrong: Option<&str>| NodeFacts {
            node: node.into(),
            worker: worker.into(),
            rack: "rack-1".into(),
            wrong: wrong.map(str::to_owned),
            running,
        };
        let nodes =
            vec![node("n1", "w1", 2, None), node("n2", "w1", 2, None), node("n3", "w2", 3, None), node("n4", "w3", 9, Some("dead"))];
        let picture = Picture { nodes, ..Picture::default() };
        assert_eq!(busiest(&picture, |node| &node.worker).as_deref(), Some("w1"));
        assert_eq!(busiest(&Picture::default(), |node| &node.worker), None);
    }
}
