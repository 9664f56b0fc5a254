//! Charts as SVG in the page: drawn as wide as a phone, so that their text is readable there, and beside each other where there is room. Colors
//! are classes of the style sheet, which has a light and a dark set; the legend is text of the page.

mod axis;
mod dots;
mod intervals;
mod lines;
mod spans;
mod stack;
mod tornado;

use maud::{Markup, html};

pub(crate) use axis::{Axis, Ticks};
pub(crate) use dots::{Dot, dots};
pub(crate) use intervals::{Row, intervals};
pub(crate) use lines::{Line, lines};
pub(crate) use spans::{Span, spans};
pub(crate) use stack::{Bar, Layer, areas, bars};
pub(crate) use tornado::{Change, Fan, tornado};

/// Width of every chart in its own units, which are pixels on a phone.
pub(crate) const WIDTH: f64 = 420.0;

/// Where a chart's values are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    /// With room for labels at the left and ticks below.
    pub(crate) fn new(left: f64, height: f64) -> Self {
        Self { left, right: WIDTH - 14.0, top: 8.0, bottom: height - 34.0 }
    }

    pub(crate) fn x(&self, share: f64) -> f64 {
        self.left + (self.right - self.left) * share
    }

    pub(crate) fn y(&self, share: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * share
    }
}

/// A chart with its title, what it shows for those who cannot see it, and its legend.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    pub(crate) height: f64,
    pub(crate) drawing: Markup,
    /// Classes of colors with their names.
    pub(crate) legend: Vec<(String, String)>,
}

impl Chart<'_> {
    pub(crate) fn show(self) -> Markup {
        let view = format!("0 0 {WIDTH} {}", self.height);
        html! {
            figure {
                figcaption { (self.title) }
                svg viewBox=(view) role="img" aria-label=(self.description) { (self.drawing) }
                @if !self.legend.is_empty() {
                    ul.legend {
                        @for (color, name) in &self.legend { li { span.swatch.(color) {} (name) } }
                    }
                }
                p.note { (self.description) }
            }
        }
    }
}

/// The color class of the n-th policy.
pub(crate) fn series(at: usize) -> String {
    format!("s{}", at % 8 + 1)
}

/// A coordinate: a tenth of a pixel is enough.
pub(crate) fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
