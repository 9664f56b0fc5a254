//! What nodes go through: they fail, are found out, are repaired, and come back; spares take their place.

use faultline_engine::fault::{FailureDomain, SharedPart};
use faultline_engine::goodput::{Class, Condition, LossCause};
use faultline_planner::Closed;
use rand::RngExt;

use super::Simulation;
use super::events::{Breaker, Event};
use super::jobs::Run;
use super::nodes::{Broken, Place};
use super::planted::Bug;
use crate::faults::{Course, Exposure};
use crate::outcome::{FaultExtent, FaultOrigin, FaultRow};
use crate::streams::{Purpose, stream};

/// Outages are computed so far ahead at a time.
const LOOK_AHEAD_MS: u64 = 30 * 86_400_000;

impl Simulation<'_> {
    /// What is known from the beginning: recorded faults, who has a defect, and when nodes that wear out always fail.
    pub(super) fn schedule_faults(&mut self) {
        let faults = &self.setup.faults;
        for fault in &faults.recorded {
            let event = Event::Broken { node: fault.node as u32, until_ms: fault.until_ms, by: Breaker::Recorded };
            self.events.push(fault.from_ms, event);
        }
        for number in 0..self.nodes.all.len() {
            if let Some(defects) = faults.defects
                && stream(self.setup.seed, Purpose::Defect, number as u64, 0).random::<f64>() < defects.share
            {
                let node = &mut self.nodes.all[number];
                node.has_defect = true;
                node.clock.set_hazard(faults.hazard.times(1.0 + defects.extra));
            }
            if faults.exposure == Exposure::Always {
                self.expose(number);
            }
        }
        if faults.outages.is_some() {
            self.events.push(0, Event::LookAhead);
        }
    }

    pub(super) fn expose(&mut self, number: usize) {
        let node = &mut self.nodes.all[number];
        node.clock.expose(self.now_ms);
        if let Some(at_ms) = node.clock.fails_ms(&mut self.weather) {
            self.events.push(at_ms, Event::Fails { node: number as u32 });
        }
    }

    /// The outages of the next while.
    pub(super) fn look_ahead(&mut self) {
        let Some(rates) = self.setup.faults.outages else { return };
        let until_ms = self.now_ms + LOOK_AHEAD_MS;
        for (number, rack) in self.nodes.racks.iter().enumerate() {
            let domains = [(SharedPart::Rack, *rack), (SharedPart::PowerSupply, rack.div_ceil(2)), (SharedPart::Switch, rack / 2 + 1)]
                .map(|(part, number)| FailureDomain { part, number });
            for outage in rates.beginning(self.setup.seed, &domains, self.now_ms, until_ms) {
                let by = if outage.domain.part == SharedPart::Switch { Breaker::Network } else { Breaker::Outage };
                self.events.push(outage.from_ms, Event::Broken { node: number as u32, until_ms: outage.until_ms, by });
            }
        }
        self.events.push(until_ms, Event::LookAhead);
    }

    /// The attempt begins to make progress, where only working nodes wear out. Of its nodes only the first that fails is of interest: then
    /// all of them rest.
    pub(super) fn on_works(&mut self, job: u32, attempt: u32) {
        let Some(run) = self.jobs.begin_work(job, attempt, self.now_ms) else { return };
        let mut first: Option<(u64, u32)> = None;
        for (number, _) in &run.holdings {
            let node = &mut self.nodes.all[*number as usize];
            node.working += 1;
            if node.working == 1 {
                node.clock.expose(self.now_ms);
                let fails = node.clock.fails_ms(&mut self.weather).map(|at_ms| (at_ms, *number));
                first = first.into_iter().chain(fails).min();
            }
        }
        if let Some((at_ms, node)) = first {
            self.events.push(at_ms, Event::Fails { node });
        }
    }

    /// The attempt makes no progress any more.
    pub(super) fn rest(&mut self, run: &Run) {
        if !run.is_working {
            return;
        }
        for (number, _) in &run.holdings {
            let node = &mut self.nodes.all[*number as usize];
            node.working -= 1;
            if node.working == 0 {
                node.clock.shelter(self.now_ms, &mut self.weather);
            } else if let Some(at_ms) = node.clock.fails_ms(&mut self.weather) {
                self.events.push(at_ms, Event::Fails { node: *number });
            }
        }
    }

    pub(super) fn on_fails(&mut self, number: usize) {
        let by_call_order = self.has(Bug::DrawsByCallOrder);
        let node = &mut self.nodes.all[number];
        if node.broken.is_some() || node.clock.fails_ms(&mut self.weather).is_none_or(|at_ms| at_ms > self.now_ms) {
            return;
        }
        let faults = &self.setup.faults;
        let origin = match faults.defects {
            Some(defects) if node.has_defect => {
                let mut rng = stream(self.setup.seed, Purpose::Defect, number as u64, u64::from(node.life) + 1);
                let is_extra = rng.random::<f64>() * (1.0 + defects.extra) < defects.extra;
                if is_extra { FaultOrigin::Defect } else { FaultOrigin::Node }
            }
            _ => FaultOrigin::Node,
        };
        let drawn_for = if by_call_order { self.nodes.rows.len() } else { number };
        node.clock.failed(self.setup.seed, drawn_for);
        let own = node.own_faults;
        node.own_faults += 1;
        let extent = faults.extent(self.setup.seed, number, own, self.setup.cluster.machines[number].gpus.len());
        if extent != FaultExtent::Node {
            return self.break_part(number, origin, extent, own);
        }
        let course = faults.repair.course(self.setup.seed, number as u64, u64::from(node.life));
        let until_ms = (!course.from_detection).then(|| self.now_ms + course.for_ms);
        self.break_down(number, origin, course, until_ms);
    }

    /// From outside: a node that is broken already stays so until the later end.
    pub(super) fn on_broken(&mut self, number: usize, until_ms: u64, by: Breaker) {
        let node = &mut self.nodes.all[number];
        if let Some(broken) = &mut node.broken {
            if let Some(known_ms) = &mut broken.until_ms
                && *known_ms < until_ms
            {
                *known_ms = until_ms;
                self.events.push(until_ms, Event::Mended { node: number as u32, life: node.life });
            }
            return;
        }
        let origin = match by {
            Breaker::Outage => FaultOrigin::Outage,
            Breaker::Network => FaultOrigin::Network,
            Breaker::Recorded => FaultOrigin::Recorded,
        };
        node.clock.shelter(self.now_ms, &mut self.weather);
        let course = Course { for_ms: until_ms.saturating_sub(self.now_ms), from_detection: false, cures: false };
        self.break_down(number, origin, course, Some(until_ms));
    }

    fn break_down(&mut self, number: usize, origin: FaultOrigin, course: Course, until_ms: Option<u64>) {
        let row = self.nodes.rows.len();
        let node = &mut self.nodes.all[number];
        let running = node.running.clone();
        self.nodes.rows.push(FaultRow {
            node: number as u32,
            from_ms: self.now_ms,
            seen_ms: None,
            until_ms: None,
            origin,
            extent: FaultExtent::Node,
            interrupted: running.len() as u32,
        });
        let delay_ms =
            self.setup.faults.detector.delay_ms(&mut stream(self.setup.seed, Purpose::Detection, number as u64, u64::from(node.life)));
        node.life += 1;
        node.broken = Some(Broken { row, course, until_ms, is_seen: false });
        node.failed_ms.push_back(self.now_ms);
        // A node that is back before it was missed registers anew: that is seen too.
        let seen_ms = (self.now_ms + delay_ms).min(until_ms.unwrap_or(u64::MAX));
        self.events.push(seen_ms, Event::Seen { node: number as u32, life: node.life });
        if let Some(until_ms) = until_ms {
            self.events.push(until_ms, Event::Mended { node: number as u32, life: node.life });
        }
        let is_out = matches!(node.place, Place::Retired | Place::Blamed);
        let condition = if is_out { Condition::Down } else { Condition::DownUnseen };
        self.books.node(self.now_ms, number, node.gpu_milli, condition, 0);
        for job in running {
            self.stall(job, number as u32);
        }
    }

    pub(super) fn on_seen(&mut self, number: usize, life: u32) {
        let blamed = self.nodes.is_own_fault(number, life).then(|| self.blamed(number, life)).flatten();
        let node = &mut self.nodes.all[number];
        let Some(broken) = &mut node.broken else { return };
        if node.life != life || broken.is_seen {
            return;
        }
        broken.is_seen = true;
        let course = broken.course;
        if blamed.is_some() {
            broken.course.cures = false;
            broken.until_ms = Some(self.now_ms);
            self.events.push(self.now_ms, Event::Mended { node: number as u32, life });
        } else if course.from_detection && broken.until_ms.is_none() {
            let until_ms = self.now_ms + broken.course.for_ms;
            broken.until_ms = Some(until_ms);
            self.events.push(until_ms, Event::Mended { node: number as u32, life });
        }
        let row = &mut self.nodes.rows[broken.row];
        row.seen_ms = Some(self.now_ms);
        let cause = if row.origin == FaultOrigin::Network { LossCause::Network } else { LossCause::NodeFault };
        let running = node.running.clone();
        self.books.node(self.now_ms, number, node.gpu_milli, Condition::Down, 0);
        self.dispatcher.close(node.id, Some(Closed::NotAlive));
        self.demand.changes(number);
        match std::mem::replace(&mut node.place, Place::Spare) {
            Place::InService => self.nodes.in_service -= 1,
            Place::Spare => _ = self.nodes.spares.remove(&number),
            Place::Blamed => {}
            Place::Retired => node.place = Place::Retired,
        }
        let id = self.nodes.id(number);
        for job in running {
            self.lose(job, number as u32, cause, |task| task.node == id);
        }
        if let Some(other) = blamed {
            self.blame(other, course.for_ms);
        }
        self.fill_up();
    }

    pub(super) fn on_mended(&mut self, number: usize, life: u32) {
        let node = &mut self.nodes.all[number];
        let Some(broken) = node.broken.filter(|_| node.life == life) else { return };
        if broken.until_ms.is_none_or(|until_ms| until_ms > self.now_ms) {
            return;
        }
        self.nodes.rows[broken.row].until_ms = Some(self.now_ms);
        node.broken = None;
        node.life += 1;
        if node.has_defect && broken.course.cures {
            node.has_defect = false;
            node.clock.set_hazard(self.setup.faults.hazard);
        }
        if let Some(retirement) = self.setup.faults.retirement {
            node.failed_ms.retain(|at_ms| at_ms + retirement.within_ms > self.now_ms);
            if node.failed_ms.len() >= retirement.faults {
                node.place = Place::Retired;
            }
        } else {
            node.failed_ms.clear();
        }
        let is_retired = node.place == Place::Retired;
        let condition = if is_retired { Condition::Quarantined } else { Condition::Up };
        self.books.node(self.now_ms, number, node.gpu_milli, condition, 0);
        if !self.nodes.all[number].broken_gpus.is_empty() {
            self.tell_broken_gpus(number);
        }
        if !is_retired {
            self.make_spare(number);
        }
        if self.setup.faults.exposure == Exposure::Always {
            self.expose(number);
        }
    }

    /// The node works and is out of service, until it is needed.
    pub(super) fn make_spare(&mut self, number: usize) {
        self.dispatcher.close(self.nodes.id(number), Some(Closed::Draining));
        self.books.free_class(self.now_ms, number, Class::Reserved);
        self.nodes.spares.insert(number);
        self.fill_up();
    }

    /// Spares go into service while too few nodes are.
    fn fill_up(&mut self) {
        while self.nodes.in_service < self.nodes.wanted
            && let Some(number) = self.nodes.spares.pop_first()
        {
            let node = &mut self.nodes.all[number];
            node.place = Place::InService;
            self.nodes.in_service += 1;
            self.dispatcher.close(node.id, None);
            self.demand.changes(number);
            self.books.free_class(self.now_ms, number, Class::NoDemand);
            self.is_stale = true;
        }
    }
}
