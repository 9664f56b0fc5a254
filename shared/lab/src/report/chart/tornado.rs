//! How far a figure moves with each value of a field: bars to both sides of zero, with intervals.

use maud::{Markup, html};

use super::{Axis, Frame, Ticks, at};

/// A field with its values.
pub(crate) struct Fan {
    pub(crate) label: String,
    pub(crate) bars: Vec<Change>,
}

/// One value.
pub(crate) struct Change {
    pub(crate) label: String,
    pub(crate) mean: f64,
    pub(crate) interval: Option<(f64, f64)>,
    /// Whether the change is to the better; `None` when neither way is.
    pub(crate) is_better: Option<bool>,
}

const HEAD: f64 = 20.0;
const BAR: f64 = 30.0;

/// The drawing and its height.
pub(crate) fn tornado(fans: &[Fan], ticks: Ticks, title: &str) -> (Markup, f64) {
    let bars: usize = fans.iter().map(|fan| fan.bars.len()).sum();
    let height = 46.0 + HEAD * fans.len() as f64 + BAR * bars as f64;
    let frame = Frame::new(14.0, height);
    let ends = fans
        .iter()
        .flat_map(|fan| &fan.bars)
        .flat_map(|bar| [bar.mean, bar.interval.map_or(0.0, |ends| ends.0), bar.interval.map_or(0.0, |ends| ends.1)]);
    let (low, high) = ends.fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
    let room = (high - low).max(f64::MIN_POSITIVE) * 0.06;
    let axis = Axis::linear(low - room, high + room, ticks);
    let x = |value: f64| frame.x(axis.share(value));
    let mut y = frame.top;
    let drawing = html! {
        (axis.below(&frame, title))
        @for fan in fans {
            text.label.strong x=(at(frame.left)) y=(at(y + 13.0)) { (fan.label) }
            @let () = y += HEAD;
            @for bar in &fan.bars {
                @let (from, to) = (x(bar.mean.min(0.0)), x(bar.mean.max(0.0)));
                @let color = match bar.is_better { Some(true) => "w1", Some(false) => "l2", None => "s5" };
                text.label x=(at(frame.left)) y=(at(y + 10.0)) { (bar.label) }
                rect.fill.(color) x=(at(from)) y=(at(y + 14.0)) width=(at((to - from).max(1.0))) height="10" {}
                @if let Some((low, high)) = bar.interval {
                    line.whisker x1=(at(x(low))) x2=(at(x(high))) y1=(at(y + 19.0)) y2=(at(y + 19.0)) {}
                }
                @let () = y += BAR;
            }
        }
        line.zero x1=(at(x(0.0))) x2=(at(x(0.0))) y1=(at(frame.top)) y2=(at(frame.bottom)) {}
    };
    (drawing, height)
}
