//! Spans of time in rows: a Gantt chart.

use maud::{Markup, html};

use super::{Axis, Frame, at};

/// From one instant to another.
pub(crate) struct Span {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) color: &'static str,
    pub(crate) words: String,
    /// Takes the whole height of its row, with a cross where it begins.
    pub(crate) is_down: bool,
}

const ROW: f64 = 22.0;
const GAP: f64 = 3.0;
const CROSS: f64 = 3.5;
/// A span is never drawn narrower.
const NARROWEST: f64 = 0.8;

/// The drawing and its height. Spans of a row that overlap get lanes of their own.
pub(crate) fn spans(rows: &[(String, Vec<Span>)], across: Axis, title: &str) -> (Markup, f64) {
    let height = 46.0 + ROW * rows.len() as f64;
    let frame = Frame::new(36.0, height);
    let x = |value: f64| frame.x(across.share(value));
    let drawing = html! {
        (across.below(&frame, title))
        @for (number, (label, spans)) in rows.iter().enumerate() {
            @let top = frame.top + ROW * number as f64;
            @let (lanes, most) = lanes(spans);
            text.tick x=(at(frame.left - 5.0)) y=(at(top + ROW / 2.0 + 4.0)) text-anchor="end" { (label) }
            line.grid x1=(at(frame.left)) x2=(at(frame.right)) y1=(at(top + ROW)) y2=(at(top + ROW)) {}
            @for (span, lane) in spans.iter().zip(lanes) {
                @let (from, width) = (x(span.from), (x(span.to) - x(span.from)).max(NARROWEST));
                @let (y, high) = match lane {
                    Some(lane) => (top + GAP / 2.0 + (ROW - GAP) * lane as f64 / most as f64, (ROW - GAP) / most as f64),
                    None => (top + GAP / 2.0, ROW - GAP),
                };
                rect.span.fill.(span.color) x=(at(from)) y=(at(y)) width=(at(width)) height=(at(high)) { title { (span.words) } }
                @if span.is_down && across.share(span.from) > 0.0 {
                    @let middle = top + ROW / 2.0;
                    @let cross = format!("M{} {}L{} {}M{} {}L{} {}", at(from - CROSS), at(middle - CROSS), at(from + CROSS), at(middle + CROSS), at(from - CROSS), at(middle + CROSS), at(from + CROSS), at(middle - CROSS));
                    path.cross d=(cross) {}
                }
            }
        }
    };
    (drawing, height)
}

/// A lane for each span that is not down, and how many there are: the first that is free, in the order in which they begin.
fn lanes(spans: &[Span]) -> (Vec<Option<usize>>, usize) {
    let mut order: Vec<usize> = (0..spans.len()).filter(|at| !spans[*at].is_down).collect();
    order.sort_by(|a, b| spans[*a].from.total_cmp(&spans[*b].from));
    let (mut of, mut ends): (Vec<Option<usize>>, Vec<f64>) = (vec![None; spans.len()], Vec::new());
    for at in order {
        let free = ends.iter().position(|end| *end <= spans[at].from);
        let lane = free.unwrap_or_else(|| {
            ends.push(0.0);
            ends.len() - 1
        });
        ends[lane] = spans[at].to;
        of[at] = Some(lane);
    }
    (of, ends.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_overlap_lie_in_lanes_of_their_own() {
        let span = |from: f64, to: f64, is_down| Span { from, to, color: "w1", words: String::new(), is_down };
        let (of, most) =
            lanes(&[span(0.0, 5.0, false), span(1.0, 2.0, false), span(2.0, 3.0, false), span(0.0, 9.0, true), span(5.0, 6.0, false)]);
        assert_eq!((of, most), (vec![Some(0), Some(1), Some(1), None, Some(0)], 2));
    }
}
