//! The fold: what happens to nodes and attempts, in order, becomes sums over classes.

use super::account::{Account, Phase, Span};
use super::class::{Class, Group, LossCause};
use super::series::{Series, Stretch};
use super::totals::Totals;

/// What a node's free GPUs are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    #[default]
    Up,
    /// Broken, and known to be.
    Down,
    /// Broken, and not known to be.
    DownUnseen,
    Quarantined,
    Draining,
}

/// What becomes of an attempt's work when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The job is done: all of its work counts.
    Committed,
    /// The job goes on from its last durable checkpoint: what came after it is lost.
    Interrupted(LossCause),
    /// The job ends here without a commit: all of its work is lost.
    Abandoned(LossCause),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    capacity_milli: u32,
    /// The part of the free GPUs that is broken although the node is up.
    broken_milli: u32,
    /// The part of the free GPUs that is broken without anyone knowing, although the node is up.
    unseen_milli: u32,
    booked_milli: u32,
    condition: Condition,
    free_class: Class,
}

impl Default for Node {
    fn default() -> Self {
        Self { capacity_milli: 0, broken_milli: 0, unseen_milli: 0, booked_milli: 0, condition: Condition::Up, free_class: Class::NoDemand }
    }
}

impl Node {
    fn free_milli(&self) -> u32 {
        self.capacity_milli.saturating_sub(self.booked_milli)
    }

    fn class(&self) -> Class {
        match self.condition {
            Condition::Up => self.free_class,
            Condition::Down => Class::Down,
            Condition::DownUnseen => Class::DownUnseen,
            Condition::Quarantined => Class::Quarantined,
            Condition::Draining => Class::Draining,
        }
    }
}

/// Keeps the books of a window. Instants must not go back, except within an account, whose phases may be told later.
#[derive(Debug, Clone)]
pub struct Books {
    at_ms: u64,
    /// Free milli by class.
    free: [u64; Class::COUNT],
    capacity_milli: u64,
    overbooked_milli: u64,
    /// What all free GPUs of nodes that are up are, whatever their own class.
    all_free: Option<Class>,
    nodes: Vec<Node>,
    totals: Totals,
    series: Option<Series>,
}

impl Books {
    /// The window begins. With `row_ms`, a [`Series`] is kept beside the totals.
    pub fn new(from_ms: u64, row_ms: Option<u64>) -> Self {
        Self {
            at_ms: from_ms,
            free: [0; Class::COUNT],
            capacity_milli: 0,
            overbooked_milli: 0,
            all_free: None,
            nodes: Vec::new(),
            totals: Totals::default(),
            series: row_ms.map(|row_ms| Series::new(from_ms, row_ms)),
        }
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn series(&self) -> Option<&Series> {
        self.series.as_ref()
    }

    /// Thousandths of GPUs that attempts hold on a node.
    pub fn booked_milli(&self, node: usize) -> u32 {
        self.nodes.get(node).map_or(0, |node| node.booked_milli)
    }

    /// A node joined, left (with no capacity), or changed. `broken_milli`: what is broken of its free GPUs while it is up.
    pub fn node(&mut self, now_ms: u64, node: usize, capacity_milli: u32, condition: Condition, broken_milli: u32) {
        self.change(now_ms, node, |node| {
            *node = Node { capacity_milli, condition, broken_milli, ..*node };
        });
    }

    /// So much of the free GPUs of a node is broken from now on while the node is up, and known to be, and so much without being known.
    pub fn broken(&mut self, now_ms: u64, node: usize, known_milli: u32, unseen_milli: u32) {
        self.change(now_ms, node, |node| (node.broken_milli, node.unseen_milli) = (known_milli, unseen_milli));
    }

    /// What the free GPUs of a node that is up are, from now on: a class of [`Group::Free`].
    pub fn free_class(&mut self, now_ms: u64, node: usize, class: Class) {
        debug_assert_eq!(class.group(), Group::Free);
        if self.nodes.get(node).is_none_or(|node| node.free_class != class) {
            self.change(now_ms, node, |node| node.free_class = class);
        }
    }

    /// From now on all free GPUs of nodes that are up and not reserved are of this class, such as while no job waits; with `None`, each node's
    /// own class holds.
    pub fn all_free(&mut self, now_ms: u64, class: Option<Class>) {
        if self.all_free != class {
            self.advance(now_ms);
            self.all_free = class;
        }
    }

    /// An attempt begins to hold these shares of these nodes.
    pub fn start(&mut self, now_ms: u64, account: &mut Account, holdings: impl IntoIterator<Item = (usize, u32)>, phase: Phase) {
        for (node, milli) in holdings {
            self.change(now_ms, node, |node| node.booked_milli += milli);
            account.milli += u64::from(milli);
        }
        account.phase = phase;
        account.since_ms = now_ms;
    }

    /// The attempt's phase ended at this instant, and the next one began.
    pub fn enter(&mut self, at_ms: u64, account: &mut Account, phase: Phase) {
        self.end_phase(at_ms, account);
        account.phase = phase;
    }

    /// So many rounds of work at full speed, each with a checkpoint that blocked and became durable, since the phase began. The same as to
    /// enter each of them, at the cost of one.
    pub fn rounds(&mut self, account: &mut Account, rounds: u64, work_ms: u64, write_ms: u64) {
        debug_assert_eq!(account.phase, Phase::FULL);
        self.slow_rounds(account, rounds, work_ms, work_ms, write_ms);
    }

    /// The same at the speed of the phase: the work of a round takes `for_ms`.
    pub fn slow_rounds(&mut self, account: &mut Account, rounds: u64, work_ms: u64, for_ms: u64, write_ms: u64) {
        debug_assert!(matches!(account.phase, Phase::Work { .. }) && work_ms <= for_ms);
        let (useful_ms, checkpoint_ms) = (rounds * work_ms, rounds * write_ms);
        let (from_ms, to_ms) = (account.since_ms, account.since_ms + rounds * for_ms + checkpoint_ms);
        if rounds > 0 {
            account.durable();
            account.kept.push(Span { from_ms, to_ms, milli: account.milli, useful_ms, checkpoint_ms });
            account.since_ms = to_ms;
        }
    }

    /// The attempt ended and holds nothing any more.
    pub fn end(&mut self, now_ms: u64, account: &mut Account, holdings: impl IntoIterator<Item = (usize, u32)>, ending: Ending) {
        self.end_phase(now_ms, account);
        account.phase = Phase::Idle;
        for (node, milli) in holdings {
            self.change(now_ms, node, |node| node.booked_milli -= milli);
            account.milli -= u64::from(milli);
        }
        match ending {
            Ending::Committed => self.judge_all(account, Class::Productive, None),
            Ending::Abandoned(cause) => self.judge_all(account, Class::Lost, Some(cause)),
            Ending::Interrupted(cause) => {
                let pending = std::mem::take(&mut account.pending);
                self.judge(account, &pending, Class::Lost, Some(cause));
            }
        }
    }

    /// The attempt goes on and holds other shares from now on, in a new phase. What it did is not judged by this.
    pub fn exchange(
        &mut self,
        now_ms: u64,
        account: &mut Account,
        gives: impl IntoIterator<Item = (usize, u32)>,
        takes: impl IntoIterator<Item = (usize, u32)>,
        phase: Phase,
    ) {
        self.end_phase(now_ms, account);
        for (node, milli) in gives {
            self.change(now_ms, node, |node| node.booked_milli -= milli);
            account.milli -= u64::from(milli);
        }
        self.start(now_ms, account, takes, phase);
    }

    /// The job ends without a commit while it holds nothing: what its checkpoints have is lost.
    pub fn abandon(&mut self, account: &mut Account, cause: LossCause) {
        self.judge_all(account, Class::Lost, Some(cause));
    }

    /// The window closes for this account: what its checkpoints have counts, and what came after them is open.
    pub fn close_account(&mut self, now_ms: u64, account: &mut Account) {
        self.end_phase(now_ms, account);
        let (kept, pending) = (std::mem::take(&mut account.kept), std::mem::take(&mut account.pending));
        self.judge(account, &kept, Class::Productive, None);
        self.judge(account, &pending, Class::Open, None);
    }

    /// Rows of the series that end by then go; the totals stay.
    pub fn forget_rows_before(&mut self, ms: u64) {
        if let Some(series) = &mut self.series {
            series.forget_before(ms);
        }
    }

    /// The window closes. The totals are exact when all accounts were closed before, or ended.
    pub fn close(&mut self, now_ms: u64) -> &Totals {
        self.advance(now_ms);
        &self.totals
    }

    fn advance(&mut self, now_ms: u64) {
        let for_ms = now_ms.saturating_sub(self.at_ms);
        if for_ms == 0 {
            return;
        }
        for class in Class::ALL {
            let milli = self.free[class.at()];
            if milli > 0 {
                let class = self.all_free.filter(|_| class.group() == Group::Free && class != Class::Reserved).unwrap_or(class);
                self.totals.add(class, u128::from(milli) * u128::from(for_ms));
                if let Some(series) = &mut self.series {
                    series.spread(Stretch { from_ms: self.at_ms, to_ms: now_ms, milli }, &[(class, for_ms)], None);
                }
            }
        }
        self.totals.capacity += u128::from(self.capacity_milli) * u128::from(for_ms);
        self.totals.overbooked += u128::from(self.overbooked_milli) * u128::from(for_ms);
        self.at_ms = now_ms;
    }

    fn change(&mut self, now_ms: u64, node: usize, change: impl FnOnce(&mut Node)) {
        self.advance(now_ms);
        if self.nodes.len() <= node {
            self.nodes.resize_with(node + 1, Node::default);
        }
        let mut changed = self.nodes[node];
        self.count(&changed, false);
        change(&mut changed);
        self.count(&changed, true);
        self.nodes[node] = changed;
    }

    fn count(&mut self, node: &Node, in_: bool) {
        let apply = |level: &mut u64, milli: u32| *level = if in_ { *level + u64::from(milli) } else { *level - u64::from(milli) };
        let is_up = node.condition == Condition::Up;
        let broken_milli = if is_up { node.broken_milli.min(node.free_milli()) } else { 0 };
        let unseen_milli = if is_up { node.unseen_milli.min(node.free_milli() - broken_milli) } else { 0 };
        apply(&mut self.free[Class::Down.at()], broken_milli);
        apply(&mut self.free[Class::DownUnseen.at()], unseen_milli);
        apply(&mut self.free[node.class().at()], node.free_milli() - broken_milli - unseen_milli);
        apply(&mut self.capacity_milli, node.capacity_milli);
        apply(&mut self.overbooked_milli, node.booked_milli.saturating_sub(node.capacity_milli));
    }

    fn end_phase(&mut self, at_ms: u64, account: &mut Account) {
        let (from_ms, for_ms) = (account.since_ms, at_ms.saturating_sub(account.since_ms));
        account.since_ms = at_ms.max(from_ms);
        let spent = &mut account.spent;
        let class = match account.phase {
            Phase::Idle => return,
            Phase::Work { speed_milli } => {
                let useful_ms = (u128::from(for_ms) * u128::from(speed_milli.min(1000)) / 1000) as u64;
                account.worked(Span { from_ms, to_ms: from_ms + for_ms, milli: account.milli, useful_ms, checkpoint_ms: 0 });
                return;
            }
            Phase::Handover => (Class::Handover, &mut spent.handover_ms),
            Phase::GangWait => (Class::GangWait, &mut spent.gang_wait_ms),
            Phase::Restore => (Class::Restore, &mut spent.restore_ms),
            Phase::Checkpoint => (Class::Checkpoint, &mut spent.checkpoint_ms),
            Phase::Stalled => (Class::Stalled, &mut spent.stalled_ms),
        };
        *class.1 += for_ms;
        self.totals.add(class.0, u128::from(account.milli) * u128::from(for_ms));
        if let Some(series) = &mut self.series {
            let stretch = Stretch { from_ms, to_ms: from_ms + for_ms, milli: account.milli };
            series.spread(stretch, &[(class.0, for_ms)], None);
        }
    }

    fn judge_all(&mut self, account: &mut Account, class: Class, cause: Option<LossCause>) {
        let (kept, pending) = (std::mem::take(&mut account.kept), std::mem::take(&mut account.pending));
        self.judge(account, &kept, class, cause);
        self.judge(account, &pending, class, cause);
    }

    fn judge(&mut self, account: &mut Account, spans: &[Span], class: Class, cause: Option<LossCause>) {
        let spent = &mut account.spent;
        for span in spans {
            let amount = |ms: u64| u128::from(span.milli) * u128::from(ms);
            match cause {
                Some(cause) => self.totals.add_lost(cause, amount(span.useful_ms)),
                None => self.totals.add(class, amount(span.useful_ms)),
            }
            self.totals.add(Class::Checkpoint, amount(span.checkpoint_ms));
            self.totals.add(Class::Straggling, amount(span.straggling_ms()));
            match class {
                Class::Productive => spent.productive_ms += span.useful_ms,
                Class::Open => spent.open_ms += span.useful_ms,
                _ => spent.lost_ms += span.useful_ms,
            }
            spent.checkpoint_ms += span.checkpoint_ms;
            spent.straggling_ms += span.straggling_ms();
            if let Some(series) = &mut self.series {
                let checkpoint = (Class::Checkpoint, span.checkpoint_ms);
                let straggling = (Class::Straggling, span.straggling_ms());
                let stretch = Stretch { from_ms: span.from_ms, to_ms: span.to_ms, milli: span.milli };
                series.spread(stretch, &[checkpoint, straggling, (class, span.useful_ms)], cause);
            }
        }
    }
}
