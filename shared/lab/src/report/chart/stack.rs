//! Shares of a whole: as bars, one for each policy, and as areas over time.

use std::fmt::Write;

use maud::{Markup, html};

use super::lines::HEIGHT;
use super::{Axis, Frame, Ticks, at};

/// A part of a whole.
pub(crate) struct Layer {
    pub(crate) color: &'static str,
    pub(crate) name: &'static str,
    /// One value for each bar or instant.
    pub(crate) shares: Vec<f64>,
}

/// A bar's name.
pub(crate) struct Bar {
    pub(crate) label: String,
}

const ROW: f64 = 42.0;

/// Horizontal bars, whose layers lie beside each other.
pub(crate) fn bars(bars: &[Bar], layers: &[Layer]) -> (Markup, f64) {
    let height = 46.0 + ROW * bars.len() as f64;
    let frame = Frame::new(14.0, height);
    let drawing = html! {
        (Axis::linear(0.0, 1.0, Ticks::Percent).below(&frame, "share of the cluster's GPU time"))
        @for (number, bar) in bars.iter().enumerate() {
            @let y = frame.top + ROW * number as f64;
            text.label x=(at(frame.left)) y=(at(y + 12.0)) { (bar.label) }
            @for (layer, from) in layers.iter().zip(starts(layers, number)) {
                @let share = layer.shares[number];
                @if share > 0.0 {
                    rect.fill.(layer.color) x=(at(frame.x(from))) y=(at(y + 17.0)) width=(at(frame.x(share) - frame.x(0.0))) height="18" {
                        title { (layer.name) ": " (super::super::words::percent(share)) }
                    }
                }
            }
        }
    };
    (drawing, height)
}

fn starts(layers: &[Layer], number: usize) -> Vec<f64> {
    let ends = layers.iter().scan(0.0, |sum, layer| {
        *sum += layer.shares[number];
        Some(*sum)
    });
    std::iter::once(0.0).chain(ends).collect()
}

/// Areas above each other; `instants` are the ends of the stretches, after the beginning.
pub(crate) fn areas(instants: &[f64], layers: &[Layer]) -> (Markup, f64) {
    let frame = Frame::new(52.0, HEIGHT);
    let across = Axis::linear(instants.first().copied().unwrap_or(0.0), instants.last().copied().unwrap_or(1.0), Ticks::Duration);
    let up = Axis::linear(0.0, 1.0, Ticks::Percent);
    let mut below = vec![0.0; instants.len().saturating_sub(1)];
    let mut drawn = Vec::new();
    for layer in layers {
        let above: Vec<f64> = below.iter().zip(&layer.shares).map(|(below, share)| below + share).collect();
        drawn.push((layer, outline(&frame, across, up, instants, &below, &above)));
        below = above;
    }
    let drawing = html! {
        (up.beside(&frame))
        @for (layer, outline) in &drawn { path.fill.(layer.color) d=(outline) { title { (layer.name) } } }
        (across.below(&frame, "time since the beginning"))
    };
    (drawing, HEIGHT)
}

/// Forward along the upper edge, back along the lower one, in steps.
fn outline(frame: &Frame, across: Axis, up: Axis, instants: &[f64], below: &[f64], above: &[f64]) -> String {
    let x = |number: usize| at(frame.x(across.share(instants[number])));
    let y = |share: f64| at(frame.y(up.share(share)));
    let mut text = format!("M{} {}", x(0), y(above.first().copied().unwrap_or(0.0)));
    for (number, share) in above.iter().enumerate() {
        let _ = write!(text, "V{}H{}", y(*share), x(number + 1));
    }
    for (number, share) in below.iter().enumerate().rev() {
        let _ = write!(text, "V{}H{}", y(*share), x(number));
    }
    text.push('Z');
    text
}
