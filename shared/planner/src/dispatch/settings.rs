//! What is chosen about a dispatcher when it is made.

use std::fmt;
use std::str::FromStr;

use crate::settings::{InvalidSettings, Settings, names};

use super::order::OrderName;
use super::preempt::PreemptionSettings;
use super::shares::{HistorySettings, QueueSettings, Shares};

/// What a job that does not fit does to the jobs behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Blocking {
    /// All of them wait.
    Strict,
    /// Those wait that could take what it needs: that have a shape of node in common with it.
    StrictPerPool,
    /// They go ahead if they fit.
    #[default]
    Skip,
    /// The first job that does not fit gets a reservation; the others go ahead if they are expected to end before it, or stay off its nodes.
    /// Lifka, "The ANL/IBM SP scheduling system", JSSPP'95, with nodes instead of a count.
    Easy,
    /// As `easy`, but of those that go ahead, the one that is expected to run shortest goes first: Tsafrir et al., "Backfilling Using System-Generated
    /// Predictions Rather than User Runtime Estimates", TPDS 2007. Queues with shares decide who goes ahead themselves: there it is `easy`.
    EasyShortest,
    /// Each of the first jobs has a time and nodes, and none is postponed by one behind it.
    Conservative,
    /// All of them wait, and those that come later do too, whatever the order says: the first job stays first until it starts. RLScheduler
    /// (Zhang et al., SC'20) without backfilling.
    Sticky,
    /// RLScheduler's backfilling: as `sticky`, but the first job's start is computed once, and the others go ahead, as submitted, if they are
    /// expected to end before it, on whatever nodes.
    ByTime,
    /// For `srtf`: at each pass jobs that run and jobs that wait stand in one order, and those go whose GPUs together are no more than all nodes have.
    /// Others that run are stopped, and of those that wait, what does not fit is passed over. Helios (Hu et al., SC'21).
    ByCount,
}

impl Blocking {
    pub const ALL: [Blocking; 9] = [
        Self::Strict,
        Self::StrictPerPool,
        Self::Skip,
        Self::Easy,
        Self::EasyShortest,
        Self::Conservative,
        Self::Sticky,
        Self::ByTime,
        Self::ByCount,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Blocking::Strict => "strict",
            Blocking::StrictPerPool => "strict-per-pool",
            Blocking::Skip => "skip",
            Blocking::Easy => "easy",
            Blocking::EasyShortest => "easy-shortest",
            Blocking::Conservative => "conservative",
            Blocking::Sticky => "sticky",
            Blocking::ByTime => "by-time",
            Blocking::ByCount => "by-count",
        }
    }
}

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Blocking {
    type Err = InvalidSettings;

    fn from_str(text: &str) -> Result<Self, InvalidSettings> {
        Self::ALL
            .into_iter()
            .find(|blocking| blocking.as_str() == text)
            .ok_or_else(|| InvalidSettings::UnknownBlocking { given: text.to_owned(), known: names(&Self::ALL.map(Self::as_str)) })
    }
}

/// Everything that a dispatcher is made with.
#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// How nodes and GPUs are chosen.
    pub placement: Settings,
    pub order: OrderName,
    pub blocking: Blocking,
    /// A job that has waited longer gets a reservation, whatever the order.
    pub reserve_after_ms: Option<u64>,
    /// For `fifo`: waiting so long is worth one step of priority. Without it a step is worth any wait.
    pub aging_ms: Option<u64>,
    /// For `las`: what a job must have attained to fall into the next level, in GPU seconds, ascending.
    pub las_thresholds_gpu_s: Vec<u64>,
    /// Queues with their quotas, weights, and limits. The order and the rule of blocking then hold in each of them. Without any there is one.
    pub queues: Vec<QueueSettings>,
    /// Whether what queues used in the past counts.
    pub history: Option<HistorySettings>,
    pub preemption: PreemptionSettings,
    /// Elastic jobs that run get and lose tasks, each at most once in so long. `None`: they keep those that they started with.
    pub resize_min_ms: Option<u64>,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self {
            placement: Settings::default(),
            order: OrderName::default(),
            blocking: Blocking::default(),
            reserve_after_ms: None,
            aging_ms: None,
            las_thresholds_gpu_s: vec![18_000],
            queues: Vec::new(),
            history: None,
            preemption: PreemptionSettings::default(),
            resize_min_ms: None,
        }
    }
}

impl DispatchSettings {
    /// The shares of queues, if it matters which queue a job is of or what it holds.
    pub(super) fn shares(&self) -> Result<Option<Shares>, InvalidSettings> {
        let stops = self.preemption.by_priority || self.preemption.reclaim;
        if self.queues.is_empty() && self.history.is_none() && !stops {
            return Ok(None);
        }
        let knows_one = matches!(
            self.blocking,
            Blocking::EasyShortest | Blocking::Conservative | Blocking::Sticky | Blocking::ByTime | Blocking::ByCount
        );
        if knows_one {
            return Err(InvalidSettings::OneQueueOnly(self.blocking.as_str()));
        }
        Ok(Some(Shares::new(&self.queues, self.history)?))
    }

    /// The same, if it makes sense.
    pub(super) fn checked(&self) -> Result<Self, InvalidSettings> {
        let plans_alone = matches!(self.blocking, Blocking::Conservative | Blocking::Sticky | Blocking::ByTime | Blocking::ByCount);
        if self.resize_min_ms.is_some() && plans_alone {
            return Err(InvalidSettings::NoResizes(self.blocking.as_str()));
        }
        if self.blocking == Blocking::ByCount && (self.order != OrderName::Srtf || self.reserve_after_ms.is_some()) {
            return Err(InvalidSettings::SrtfOnly);
        }
        Ok(self.clone())
    }

    /// Whether expected ends matter.
    pub(super) fn looks_ahead(&self) -> bool {
        self.reserve_after_ms.is_some()
            || matches!(
                self.blocking,
                Blocking::Easy | Blocking::EasyShortest | Blocking::Conservative | Blocking::ByTime | Blocking::ByCount
            )
    }
}
