//! Who is who.

/// A process other than the server, by its number.
pub(crate) type Proc = usize;

/// What a process is, with its place among its kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Scheduler,
    Worker(usize),
    Detector,
    Submitter(usize),
}

/// Who is who.
pub(crate) struct Cast {
    pub(crate) names: Vec<String>,
    pub(crate) schedulers: usize,
    pub(crate) workers: usize,
}

impl Cast {
    pub(crate) fn name(&self, proc: Proc) -> &str {
        &self.names[proc]
    }

    pub(crate) fn workers(&self) -> std::ops::Range<Proc> {
        self.schedulers..self.schedulers + self.workers
    }

    pub(crate) fn detector(&self) -> Proc {
        self.schedulers + self.workers
    }
    pub(crate) fn role(&self, proc: Proc) -> Role {
        if proc < self.schedulers {
            Role::Scheduler
        } else if self.workers().contains(&proc) {
            Role::Worker(proc - self.schedulers)
        } else if proc == self.detector() {
            Role::Detector
        } else {
            Role::Submitter(proc - self.detector() - 1)
        }
    }
}
