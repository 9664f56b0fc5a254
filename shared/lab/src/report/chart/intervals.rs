//! Differences with their intervals, one below the other: the paired one thick, the unpaired one thin, and zero as a line.

use maud::{Markup, html};

use super::{Axis, Frame, Ticks, at};

/// One pair.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) mean: f64,
    pub(crate) paired: (f64, f64),
    pub(crate) unpaired: (f64, f64),
    /// Whether it is told from chance.
    pub(crate) is_told: bool,
}

const ROW: f64 = 34.0;

/// The drawing and its height.
pub(crate) fn intervals(rows: &[Row], ticks: Ticks, title: &str) -> (Markup, f64) {
    let height = 46.0 + ROW * rows.len() as f64;
    let frame = Frame::new(14.0, height);
    let ends = rows.iter().flat_map(|row| [row.paired.0, row.paired.1, row.unpaired.0, row.unpaired.1, 0.0]);
    let (low, high) = ends.fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
    let room = (high - low).max(f64::MIN_POSITIVE) * 0.06;
    let axis = Axis::linear(low - room, high + room, ticks);
    let x = |value: f64| at(frame.x(axis.share(value)));
    let drawing = html! {
        (axis.below(&frame, title))
        line.zero x1=(x(0.0)) x2=(x(0.0)) y1=(at(frame.top)) y2=(at(frame.bottom)) {}
        @for (number, row) in rows.iter().enumerate() {
            @let y = frame.top + ROW * (number as f64 + 0.72);
            text.label x=(at(frame.left)) y=(at(y - 9.0)) { (row.label) }
            line.thin x1=(x(row.unpaired.0)) x2=(x(row.unpaired.1)) y1=(at(y + 4.0)) y2=(at(y + 4.0)) {}
            line.thick.told[row.is_told] x1=(x(row.paired.0)) x2=(x(row.paired.1)) y1=(at(y)) y2=(at(y)) {}
            circle.thick.told[row.is_told] cx=(x(row.mean)) cy=(at(y)) r="4" {}
        }
    };
    (drawing, height)
}
