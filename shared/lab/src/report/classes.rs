//! The goodput classes as the report draws them: what is alike has one hue.

/// How a class is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Position in the palette of the style sheet.
    pub(crate) color: &'static str,
}

const fn drawn(name: &'static str, title: &'static str, color: &'static str) -> Drawn {
    Drawn { name, title, color }
}

/// From the bottom of a stack to its top.
pub(crate) const ALL: &[Drawn] = &[
    drawn("productive", "productive", "w1"),
    drawn("open", "open at the end", "w2"),
    drawn("checkpoint", "checkpoint", "w3"),
    drawn("restore", "restore", "w4"),
    drawn("straggling", "straggling", "w5"),
    drawn("handover", "handover", "w6"),
    drawn("gang_wait", "waiting for a gang", "w7"),
    drawn("stalled", "stalled", "l1"),
    drawn("lost", "lost work", "l2"),
    drawn("down", "down", "d1"),
    drawn("down_unseen", "down, not noticed", "d2"),
    drawn("quarantined", "quarantined", "d3"),
    drawn("draining", "draining", "d4"),
    drawn("reserved", "reserved", "f1"),
    drawn("undecided", "undecided", "f2"),
    drawn("blocked_by_order", "blocked by the order", "f3"),
    drawn("blocked_by_quota", "blocked by a quota", "f4"),
    drawn("stranded", "stranded", "f5"),
    drawn("constrained", "constrained", "f6"),
    drawn("fragmented", "fragmented", "f7"),
    drawn("short", "too little free", "f8"),
    drawn("no_demand", "no demand", "f9"),
];

pub(crate) fn title(name: &str) -> &str {
    ALL.iter().find(|class| class.name == name).map_or(name, |class| class.title)
}
