//! In what condition a node is: hung, slow, cut off, its GPUs throttled or wrong. The fault injector and the devices set it, attempts live under it.

use tokio::sync::watch;

#[derive(Debug, Clone, PartialEq)]
struct State {
    hung: bool,
    cut_off: bool,
    slow_factor: f64,
    gpu_slowdown: Vec<f64>,
    gpu_wrong: Vec<bool>,
}

/// Shared by all attempts of one node.
#[derive(Debug)]
pub struct NodeConditions {
    state: watch::Sender<State>,
}

/// No node is slower than this, whatever is set.
const MAX_FACTOR: f64 = 1000.0;

impl NodeConditions {
    /// A healthy node with that many GPUs.
    pub fn new(gpu_count: usize) -> Self {
        let (gpu_slowdown, gpu_wrong) = (vec![1.0; gpu_count], vec![false; gpu_count]);
        Self { state: watch::Sender::new(State { hung: false, cut_off: false, slow_factor: 1.0, gpu_slowdown, gpu_wrong }) }
    }

    /// While hung, attempts stand still.
    pub fn set_hung(&self, hung: bool) {
        self.change(|state| state.hung = hung);
    }

    /// While cut off, nothing that attempts say gets out: they work on and wait with it.
    pub fn set_cut_off(&self, cut_off: bool) {
        self.change(|state| state.cut_off = cut_off);
    }

    pub fn is_cut_off(&self) -> bool {
        self.state.borrow().cut_off
    }

    /// Returns at once unless the node is cut off.
    pub async fn wait_while_cut_off(&self) {
        if self.is_cut_off() {
            let _ = self.state.subscribe().wait_for(|state| !state.cut_off).await;
        }
    }

    /// Whether this GPU computes wrong results without a word; an unknown index is ignored.
    pub fn set_gpu_wrong(&self, gpu: usize, wrong: bool) {
        self.change(|state| {
            if let Some(slot) = state.gpu_wrong.get_mut(gpu) {
                *slot = wrong;
            }
        });
    }

    /// Whether any of these GPUs computes wrong results.
    pub fn computes_wrong(&self, gpus: &[u8]) -> bool {
        let state = self.state.borrow();
        gpus.iter().any(|gpu| state.gpu_wrong.get(usize::from(*gpu)).copied().unwrap_or_default())
    }

    /// How many times longer everything takes; below 1 counts as 1.
    pub fn set_slow_factor(&self, factor: f64) {
        self.change(|state| state.slow_factor = sane(factor));
    }

    /// The same for what runs on one GPU; an unknown index is ignored.
    pub fn set_gpu_slowdown(&self, gpu: usize, factor: f64) {
        self.change(|state| {
            if let Some(slot) = state.gpu_slowdown.get_mut(gpu) {
                *slot = sane(factor);
            }
        });
    }

    pub fn is_hung(&self) -> bool {
        self.state.borrow().hung
    }

    /// How many times longer something on these GPUs takes now: the node's factor times that of the slowest GPU.
    pub fn slow_factor(&self, gpus: &[u8]) -> f64 {
        let state = self.state.borrow();
        let slowdown = |gpu: &u8| state.gpu_slowdown.get(usize::from(*gpu)).copied().unwrap_or(1.0);
        (state.slow_factor * gpus.iter().map(slowdown).fold(1.0, f64::max)).min(MAX_FACTOR)
    }

    /// Returns at once unless the node hangs.
    pub async fn wait_while_hung(&self) {
        if self.is_hung() {
            // The sender is `self`, so the channel cannot close while this waits.
            let _ = self.state.subscribe().wait_for(|state| !state.hung).await;
        }
    }

    /// A future that ends with the next change after this call.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.state.subscribe();
        async move {
            let _ = receiver.changed().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

fn sane(factor: f64) -> f64 {
    if factor.is_finite() { factor.clamp(1.0, MAX_FACTOR) } else { 1.0 }
}
