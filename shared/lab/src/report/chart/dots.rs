//! Values of ordered groups, one dot for each policy beside the others', with intervals.

use maud::{Markup, html};

use super::lines::HEIGHT;
use super::{Axis, Frame, at};

/// One value of a group.
pub(crate) struct Dot {
    pub(crate) group: usize,
    pub(crate) series: usize,
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

pub(crate) fn dots(groups: &[String], series: usize, dots: &[Dot], up: Axis, title: &str) -> (Markup, f64) {
    let frame = Frame::new(52.0, HEIGHT);
    let wide = 1.0 / groups.len().max(1) as f64;
    let x = |group: usize, part: f64| frame.x((group as f64 + 0.2 + 0.6 * part) * wide);
    let y = |value: f64| at(frame.y(up.share(value)));
    let drawing = html! {
        (up.beside(&frame))
        @for (number, group) in groups.iter().enumerate() {
            text.tick x=(at(frame.x((number as f64 + 0.5) * wide))) y=(at(frame.bottom + 14.0)) text-anchor="middle" { (group) }
        }
        text.axis x=(at(frame.x(0.5))) y=(at(frame.bottom + 29.0)) text-anchor="middle" { (title) }
        @for dot in dots {
            @let x = at(x(dot.group, (dot.series as f64 + 0.5) / series.max(1) as f64));
            @let color = super::series(dot.series);
            @if let Some((low, high)) = dot.interval { line.line.(color) x1=(x) x2=(x) y1=(y(low)) y2=(y(high)) {} }
            circle.fill.(color) cx=(x) cy=(y(dot.value)) r="4" {}
        }
    };
    (drawing, HEIGHT)
}
