//! Faults that leave their node running: one of its GPUs is broken, or it is slow for a while.

use faultline_engine::goodput::LossCause;

use super::Simulation;
use super::events::Event;
use super::nodes::{BrokenGpu, uses};
use super::plan::FULL_SPEED;
use crate::faults::Exposure;
use crate::outcome::{FaultExtent, FaultOrigin, FaultRow};
use crate::streams::{Purpose, stream};

/// Draws for faults of parts come behind those for faults of the whole node.
const OF_PARTS: u64 = 1 << 32;

impl Simulation<'_> {
    /// `own`: how many faults of its own the node had before.
    pub(super) fn break_part(&mut self, number: usize, origin: FaultOrigin, extent: FaultExtent, own: u32) {
        let faults = &self.setup.faults;
        let count = OF_PARTS + u64::from(own);
        let course = faults.repair.course(self.setup.seed, number as u64, count);
        let fault = self.nodes.rows.len() as u32;
        let (seen_ms, until_ms, interrupted) = (None, None, 0);
        let row = FaultRow { node: number as u32, from_ms: self.now_ms, seen_ms, until_ms, origin, extent, interrupted };
        match extent {
            FaultExtent::Gpu(gpu) if self.nodes.all[number].broken_gpus.iter().any(|broken| broken.gpu == usize::from(gpu)) => {}
            FaultExtent::Gpu(gpu) => {
                self.nodes.rows.push(row);
                let delay_ms = faults.detector.delay_ms(&mut stream(self.setup.seed, Purpose::Detection, number as u64, count));
                let until_ms = (!course.from_detection).then(|| self.now_ms + course.for_ms);
                self.events.push((self.now_ms + delay_ms).min(until_ms.unwrap_or(u64::MAX)), Event::GpuSeen { node: number as u32, fault });
                if let Some(until_ms) = until_ms {
                    self.events.push(until_ms, Event::GpuMended { node: number as u32, fault });
                }
                self.break_gpu(number, BrokenGpu { gpu: usize::from(gpu), fault, course, is_seen: false });
            }
            FaultExtent::Slow => {
                self.nodes.rows.push(row);
                self.events.push(self.now_ms + course.for_ms, Event::SlowEnds { node: number as u32, fault });
                self.nodes.all[number].slowed_by.push(fault);
                self.respeed(number);
            }
            FaultExtent::Node => {}
        }
        // The node goes on, so the next fault may come.
        let works = self.nodes.all[number].working > 0;
        if faults.exposure == Exposure::Always || works {
            self.expose(number);
        }
    }

    fn break_gpu(&mut self, number: usize, broken: BrokenGpu) {
        self.nodes.all[number].broken_gpus.push(broken);
        self.tell_broken_gpus(number);
        let hit = self.jobs_on(number, broken.gpu);
        self.nodes.rows[broken.fault as usize].interrupted = hit.len() as u32;
        for job in hit {
            self.stall(job, number as u32);
        }
    }

    /// The jobs that have tasks on this GPU of the node.
    fn jobs_on(&self, number: usize, gpu: usize) -> Vec<u32> {
        let id = self.nodes.id(number);
        let is_on = |job: &u32| self.jobs.run(*job).is_some_and(|run| run.placements.iter().any(|task| uses(task, id, gpu)));
        self.nodes.running(number).iter().copied().filter(is_on).collect()
    }

    pub(super) fn on_gpu_seen(&mut self, number: usize, fault: u32) {
        let id = self.nodes.id(number);
        let Some(broken) = self.nodes.all[number].broken_gpus.iter_mut().find(|broken| broken.fault == fault) else { return };
        broken.is_seen = true;
        let (gpu, course) = (broken.gpu, broken.course);
        self.nodes.rows[fault as usize].seen_ms = Some(self.now_ms);
        if course.from_detection {
            self.events.push(self.now_ms + course.for_ms, Event::GpuMended { node: number as u32, fault });
        }
        self.dispatcher.set_in_service(id, gpu, false);
        self.demand.changes(number);
        self.tell_broken_gpus(number);
        for job in self.jobs_on(number, gpu) {
            self.lose(job, number as u32, LossCause::NodeFault, |task| uses(task, id, gpu));
        }
        self.is_stale = true;
    }

    pub(super) fn on_gpu_mended(&mut self, number: usize, fault: u32) {
        let node = &mut self.nodes.all[number];
        let Some(at) = node.broken_gpus.iter().position(|broken| broken.fault == fault) else { return };
        let broken = node.broken_gpus.remove(at);
        if node.has_defect && broken.course.cures {
            node.has_defect = false;
            node.clock.set_hazard(self.setup.faults.hazard);
        }
        self.nodes.rows[fault as usize].until_ms = Some(self.now_ms);
        self.dispatcher.set_in_service(self.nodes.id(number), broken.gpu, true);
        self.demand.changes(number);
        self.tell_broken_gpus(number);
        self.is_stale = true;
    }

    pub(super) fn on_slow_ends(&mut self, number: usize, fault: u32) {
        self.nodes.all[number].slowed_by.retain(|other| *other != fault);
        self.nodes.rows[fault as usize].until_ms = Some(self.now_ms);
        self.respeed(number);
    }

    fn respeed(&mut self, number: usize) {
        let node = &mut self.nodes.all[number];
        let slow_milli = self.setup.faults.slow.map_or(FULL_SPEED, |slow| slow.speed_milli);
        node.speed_milli = if node.slowed_by.is_empty() { FULL_SPEED } else { slow_milli };
        for job in self.nodes.running(number).to_vec() {
            self.change_speed(job);
        }
    }

    /// What is free of the node's broken GPUs, in thousandths: of those that are known to be broken, and of the others.
    pub(super) fn broken_free_milli(&self, number: usize) -> (u32, u32) {
        let node = &self.nodes.all[number];
        let (mut known_milli, mut unseen_milli) = (0, 0);
        for broken in &node.broken_gpus {
            let held = |job: &u32| {
                let class = &self.setup.workload.classes[self.job(*job).class as usize];
                let tasks =
                    self.jobs.run(*job).map_or(0, |run| run.placements.iter().filter(|task| uses(task, node.id, broken.gpu)).count());
                tasks as u32 * u32::from(class.gpu_milli)
            };
            let free_milli = u32::from(faultline_planner::WHOLE_GPU_MILLI).saturating_sub(node.running.iter().map(held).sum());
            *if broken.is_seen { &mut known_milli } else { &mut unseen_milli } += free_milli;
        }
        (known_milli, unseen_milli)
    }

    pub(super) fn tell_broken_gpus(&mut self, number: usize) {
        let (known_milli, unseen_milli) = self.broken_free_milli(number);
        self.books.broken(self.now_ms, number, known_milli, unseen_milli);
    }
}
