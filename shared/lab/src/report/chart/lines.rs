//! Lines over a common pair of axes: distributions as steps, and values over time.

use std::fmt::Write;

use maud::{Markup, html};

use super::{Axis, Frame, at};

/// One line.
pub(crate) struct Line {
    pub(crate) color: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Stays at a value until the next point.
    pub(crate) is_stepped: bool,
}

pub(crate) const HEIGHT: f64 = 250.0;
/// Points closer than this are drawn as one, in pixels.
const CLOSE: f64 = 0.7;

pub(crate) fn lines(lines: &[Line], across: Axis, up: Axis, title: &str) -> (Markup, f64) {
    let frame = Frame::new(52.0, HEIGHT);
    let drawing = html! {
        (up.beside(&frame))
        (across.below(&frame, title))
        @for line in lines { path.line.(line.color) d=(path(line, &frame, across, up)) {} }
    };
    (drawing, HEIGHT)
}

/// Leaves out what would not be seen, but never the last point.
fn path(line: &Line, frame: &Frame, across: Axis, up: Axis) -> String {
    let (mut text, mut drawn) = (String::new(), None);
    for (number, (across_value, up_value)) in line.points.iter().enumerate() {
        let (x, y) = (frame.x(across.share(*across_value)), frame.y(up.share(*up_value)));
        let is_last = number + 1 == line.points.len();
        match drawn {
            None => {
                let _ = write!(text, "M{} {}", at(x), at(y));
            }
            Some((before_x, before_y)) if !is_last && f64::abs(x - before_x) < CLOSE && f64::abs(y - before_y) < CLOSE => continue,
            Some(_) if line.is_stepped => {
                let _ = write!(text, "H{}V{}", at(x), at(y));
            }
            Some(_) => {
                let _ = write!(text, "L{} {}", at(x), at(y));
            }
        }
        drawn = Some((x, y));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Ticks;
    use super::*;

    #[test]
    fn a_million_points_become_as_many_as_are_seen() {
        let points: Vec<(f64, f64)> = (0..1_000_000).map(|at| (f64::from(at), f64::from(at) / 1e6)).collect();
        let line = Line { color: "s1".to_owned(), points, is_stepped: true };
        let (across, up) = (Axis::linear(0.0, 1e6, Ticks::Number), Axis::linear(0.0, 1.0, Ticks::Percent));
        let text = path(&line, &Frame::new(52.0, HEIGHT), across, up);
        assert!(text.len() < 12_000, "{}", text.len());
        assert!(text.starts_with("M52 216H"), "{}", &text[..20]);
        assert!(text.ends_with("H406V8"), "{}", &text[text.len() - 20..]);
    }
}
