//! The catalogue of simulated faults in words: what each means, what it does here and what an operator does about it.
//!
//! XIDs, their meaning and the action are those of NVIDIA, "Xid Errors" with its Xid catalogue (docs.nvidia.com/deploy/xid-errors) and
//! "GPU Debug Guidelines" (docs.nvidia.com/deploy/gpu-debug-guidelines), in our words.

use serde::Serialize;

use super::FaultKind;

/// One kind of fault in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FaultEntry {
    pub kind: FaultKind,
    pub xid: Option<u32>,
    pub meaning: &'static str,
    /// What the simulation does with it.
    pub effect: &'static str,
    /// What an operator of real machines does.
    pub action: &'static str,
}

impl FaultKind {
    /// This kind in words.
    pub fn entry(self) -> FaultEntry {
        let (meaning, effect, action) = words(self);
        FaultEntry { kind: self, xid: self.xid(), meaning, effect, action }
    }
}

/// A kind of fault in a sentence, from its name in the history; a kind that this build does not know by that name.
pub fn title(kind: &str) -> String {
    let known = match kind {
        "heartbeat_loss" => "heartbeat loss",
        "slow" => "slowdown",
        "xid_13" => "XID 13 (graphics engine exception)",
        "xid_31" => "XID 31 (GPU memory page fault)",
        "xid_48" => "XID 48 (double-bit ECC error)",
        "xid_74" => "XID 74 (NVLink error)",
        "xid_79" => "XID 79 (GPU has fallen off the bus)",
        "xid_94" => "XID 94 (contained memory error)",
        "xid_95" => "XID 95 (uncontained memory error)",
        "thermal_throttle" => "thermal throttling",
        "wrong_result" => "silent data corruption",
        "link_closed" => "closed link",
        "link_delay" => "delayed link",
        "link_limit" => "limited link",
        "link_loss" => "packet loss",
        "link_degraded" => "degraded link",
        other => return other.replace('_', " "),
    };
    known.to_owned()
}

/// All kinds in words.
pub fn catalogue() -> Vec<FaultEntry> {
    FaultKind::ALL.map(FaultKind::entry).to_vec()
}

fn words(kind: FaultKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        FaultKind::Crash => (
            "The machine goes down: power, kernel panic, an unannounced reboot.",
            "Its attempts are gone without a word; it comes back as a new incarnation with its GPUs reset. Jobs are requeued, at no cost to them.",
            "Look into the management controller's event log, then repair or replace; if it happens again, take the node out.",
        ),
        FaultKind::Hang => (
            "The machine answers, but its work stands still: a stuck driver or file system.",
            "Heartbeats go on, attempts stand still and go on where they stood; only a job's own time limit ends one.",
            "Find what processes wait for (stacks of tasks in state D), reload the driver or reboot.",
        ),
        FaultKind::HeartbeatLoss => (
            "The network loses what the node says about itself.",
            "Heartbeats are lost, while the node answers when asked, and attempts run and commit: a verdict `dead` would be a false one.",
            "Check link, switch port and cable; no job needs to be touched.",
        ),
        FaultKind::Slow => (
            "A straggler: a link that came up narrower, a weak fan, a busy neighbour.",
            "Everything on the node takes 2 to 10 times as long.",
            "Compare the node with its peers under the same load, check PCIe and link widths, take it out for a burn-in.",
        ),
        FaultKind::Zombie => (
            "The node is cut off and given up, but still works, and comes back.",
            "Heartbeats, answers, orders and signs of progress are lost; attempts run on and commit when it is over, too late: the commit is refused. Then it rejoins.",
            "Nothing by hand: fencing at the commit has to deal with it. Check the network if it happens again.",
        ),
        FaultKind::Xid13 => (
            "Graphics engine exception: most often the application, an access out of bounds or an illegal instruction; in rare cases hardware.",
            "One attempt on the GPU fails, which costs its job a retry; the GPU goes on.",
            "Restart the application, debug it with cuda-gdb or Compute Sanitizer. If it follows one GPU through several applications, run diagnostics.",
        ),
        FaultKind::Xid31 => (
            "GPU memory page fault reported by the MMU: most often an illegal address in the application, at times driver or hardware.",
            "One attempt on the GPU fails, which costs its job a retry; the GPU goes on.",
            "Restart the application, debug it with cuda-gdb or Compute Sanitizer. If it follows one GPU through several applications, run diagnostics.",
        ),
        FaultKind::Xid48 => (
            "Double-bit ECC error: memory on the GPU is wrong in a way that ECC cannot correct.",
            "All attempts on the GPU end, at no cost to their jobs; nothing is placed on it until it has been reset, which ends the fault.",
            "Drain the node, reset the GPU (or reboot), look for XID 63 or 64 beside it, run field diagnostics; replace the GPU when thresholds are exceeded.",
        ),
        FaultKind::Xid74 => (
            "NVLink error: a problem on a link from the GPU to another one or to a switch; perhaps only the far end failed.",
            "Attempts that span several GPUs with this one end, at no cost to their jobs; others on it go on; nothing new is placed on it until it has been reset.",
            "Reset the GPU or reboot; read the link errors with nvidia-smi nvlink. If it comes back, call the hardware vendor.",
        ),
        FaultKind::Xid79 => (
            "GPU has fallen off the bus: the driver cannot reach it over PCI Express any more.",
            "The GPU is gone and reports nothing; all attempts on it end, at no cost to their jobs; nothing is placed on it until the machine's reboot, which ends the fault.",
            "Drain the node and restart the machine; read the kernel's PCI events, check power and seating; call the vendor if it comes back.",
        ),
        FaultKind::Xid94 => (
            "Contained memory error: an uncorrectable error that hit one application, and no other.",
            "One attempt on the GPU ends, at no cost to its job; everything else on the GPU goes on.",
            "Restart that application; reset the GPU when it is convenient.",
        ),
        FaultKind::Xid95 => (
            "Uncontained memory error: several applications may be hit.",
            "All attempts on the GPU end, at no cost to their jobs; nothing is placed on it until it has been reset, which ends the fault.",
            "Drain the node and reset the GPU before anything starts there again.",
        ),
        FaultKind::ThermalThrottle => (
            "The GPU is not cooled as it should be and lowers its clocks to protect itself.",
            "The heat sink loses contact: under load the GPU gets hot within seconds, and at its slowdown temperature the clocks are halved. An idle GPU stays cool.",
            "Check fans, air flow, filters and the inlet temperature; remount or replace the heat sink.",
        ),
        FaultKind::WrongResult => (
            "Silent data corruption: the GPU computes something wrong and reports nothing.",
            "Products of `matrix` jobs on the GPU are wrong. The job's own check finds it. The check cannot tell a wrong GPU from a wrong job, so it costs a retry.",
            "Take the GPU out, run field diagnostics and replace it; repeat what ran there.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_words() {
        let catalogue = catalogue();
        assert_eq!(catalogue.len(), FaultKind::ALL.len());
        for (entry, kind) in catalogue.iter().zip(FaultKind::ALL) {
            assert_eq!((entry.kind, entry.xid), (kind, kind.xid()));
            for text in [entry.meaning, entry.effect, entry.action] {
                assert!(text.len() > 20 && text.ends_with('.'), "{kind}: {text}");
            }
            assert!(!title(kind.as_str()).contains('_'), "{kind}");
            let code = kind.xid().map(|xid| format!("XID {xid} ("));
            assert!(code.is_none_or(|code| title(kind.as_str()).starts_with(&code)), "{kind}");
        }
    }
}
