//! The figures of a run, each with its formula, so that no number is printed without one.

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
    /// It describes the run, and says nothing about the policy.
    Neither,
}

/// One figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As in `summary.csv` and in expectations; ends with its unit unless it is a share or a number of things.
    pub name: &'static str,
    /// In tables for people.
    pub title: &'static str,
    pub better: Better,
    pub formula: &'static str,
}

const fn metric(name: &'static str, title: &'static str, better: Better, formula: &'static str) -> Metric {
    Metric { name, title, better, formula }
}

/// All of them. Jobs that a trace submits during the warm-up count in none.
pub const METRICS: &[Metric] = &[
    metric("goodput", "goodput", Better::More, "GPU time whose work was committed or resumed from / GPU time of the cluster"),
    metric("availability", "availability", Better::More, "1 - (down + down unseen + quarantined + draining) / GPU time of the cluster"),
    metric("occupancy", "occupancy", Better::More, "GPU time booked by jobs / GPU time that is available"),
    metric("runtime_goodput", "runtime goodput", Better::More, "productive GPU time / GPU time booked by jobs"),
    metric("lost_share", "lost work", Better::Less, "GPU time of progress that was never used / GPU time of the cluster"),
    metric("ettr", "ETTR", Better::More, "productive / (queued + scheduled) time, jobs weighted by their GPUs (Meta, arXiv 2410.21680)"),
    metric(
        "wait_mean_s",
        "mean wait",
        Better::Less,
        "mean of a job's waits over all attempts; an open job counts as long as it has waited",
    ),
    metric("wait_p50_s", "median wait", Better::Less, "until the first start, Kaplan-Meier with open jobs"),
    metric("wait_p90_s", "90 % wait", Better::Less, "until the first start, Kaplan-Meier with open jobs"),
    metric("wait_p99_s", "99 % wait", Better::Less, "until the first start, Kaplan-Meier with open jobs"),
    metric(
        "jct_mean_s",
        "mean JCT",
        Better::Less,
        "mean of end - submission; an open job counts to the end of the run, so this is a lower bound",
    ),
    metric("jct_p50_s", "median JCT", Better::Less, "end - submission, Kaplan-Meier with open jobs"),
    metric("jct_p90_s", "90 % JCT", Better::Less, "end - submission, Kaplan-Meier with open jobs"),
    metric("jct_p99_s", "99 % JCT", Better::Less, "end - submission, Kaplan-Meier with open jobs"),
    metric("slowdown_mean", "bounded slowdown", Better::Less, "mean of max(1, (wait + run) / max(run, 10 s)) of jobs that ended"),
    metric("makespan_s", "makespan", Better::Less, "last end - first submission; of an open job the end of the run"),
    metric("lost_gpu_h", "lost GPU hours", Better::Less, "GPU hours of progress that was never used"),
    metric("jobs", "jobs", Better::Neither, "jobs that count"),
    metric("jobs_open", "open jobs", Better::Less, "jobs that waited or ran when the run ended"),
    metric("jobs_impossible", "impossible jobs", Better::Neither, "jobs that no node could ever run"),
    metric("interrupted", "interruptions", Better::Neither, "attempts that a fault ended"),
    metric("preempted", "preemptions", Better::Neither, "attempts that were preempted"),
    metric("queue_share", "time with a queue", Better::Neither, "time in which at least one job waits / time"),
    metric("offered_load", "offered load", Better::Neither, "GPU time of the jobs' work / GPU time of the cluster"),
];

impl Metric {
    pub fn named(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// A share of a whole: tables write it in percent.
    pub fn is_share(&self) -> bool {
        matches!(
            self.name,
            "goodput" | "availability" | "occupancy" | "runtime_goodput" | "lost_share" | "ettr" | "queue_share" | "offered_load"
        )
    }

    /// The smallest and the largest value that any run can have.
    pub(crate) fn range(&self) -> (f64, f64) {
        match self.name {
            // More may be asked for than there is.
            "offered_load" => (0.0, f64::INFINITY),
            "slowdown_mean" => (1.0, f64::INFINITY),
            _ if self.is_share() => (0.0, 1.0),
            _ => (0.0, f64::INFINITY),
        }
    }

    pub fn is_duration(&self) -> bool {
        self.name.ends_with("_s")
    }
}
