//! Axes: from values to positions, and their ticks.

use faultline_engine::words::{count, limit};
use maud::{Markup, html};

use super::{Frame, at};
use crate::report::words::rounded;
use crate::tables::Metric;

/// What the numbers of an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticks {
    Number,
    Percent,
    /// Seconds.
    Duration,
}

impl Ticks {
    pub(crate) fn of(metric: &Metric) -> Self {
        match metric {
            metric if metric.is_share() => Ticks::Percent,
            metric if metric.is_duration() => Ticks::Duration,
            _ => Ticks::Number,
        }
    }
}

/// A range of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Ticks,
}

/// Steps of durations that people use, in seconds.
const DURATIONS: [f64; 22] = [
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1_800.0,
    3_600.0,
    7_200.0,
    14_400.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    432_000.0,
    864_000.0,
    2_592_000.0,
    8_640_000.0,
    31_536_000.0,
];
const LOGARITHMIC_DURATIONS: [f64; 10] = [1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0, 86_400.0, 864_000.0, 8_640_000.0, 86_400_000.0];

impl Axis {
    /// A range with some room when it is empty.
    pub(crate) fn linear(low: f64, high: f64, ticks: Ticks) -> Self {
        let high = if high > low { high } else { low + if low == 0.0 { 1.0 } else { low.abs() } };
        Self { low, high, logarithmic: false, ticks }
    }

    /// Seconds; what is shorter than `low` is drawn there.
    pub(crate) fn logarithmic(low: f64, high: f64) -> Self {
        Self { low, high: high.max(low * 10.0), logarithmic: true, ticks: Ticks::Duration }
    }

    /// From 0 at the low end to 1 at the high one.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn values(&self, most: usize) -> Vec<f64> {
        let inside = |value: &f64| *value >= self.low * (1.0 - 1e-9) && *value <= self.high * (1.0 + 1e-9);
        if self.logarithmic {
            return LOGARITHMIC_DURATIONS.into_iter().filter(inside).collect();
        }
        let step = step(self.high - self.low, most, self.ticks);
        let first = (self.low / step - 1e-9).ceil() as i64;
        (first..).map(|number| number as f64 * step).take_while(|value| *value <= self.high + step * 1e-9).collect()
    }

    fn label(&self, value: f64) -> String {
        match self.ticks {
            Ticks::Duration if value == 0.0 => "0".to_owned(),
            Ticks::Number if value.abs() >= 1_000.0 && value.fract() == 0.0 => count(value.abs() as u64),
            Ticks::Number => rounded(value),
            Ticks::Percent => format!("{} %", rounded(100.0 * value)),
            Ticks::Duration if value < 0.0 => format!("-{}", limit((-value * 1_000.0).round() as u64)),
            Ticks::Duration => limit((value * 1_000.0).round() as u64),
        }
    }

    /// Below the frame, with lines up through it.
    pub(crate) fn below(&self, frame: &Frame, title: &str) -> Markup {
        html! {
            @for value in self.values(5) {
                @let x = at(frame.x(self.share(value)));
                line.grid x1=(x) x2=(x) y1=(at(frame.top)) y2=(at(frame.bottom)) {}
                text.tick x=(x) y=(at(frame.bottom + 14.0)) text-anchor="middle" { (self.label(value)) }
            }
            text.axis x=(at(frame.x(0.5))) y=(at(frame.bottom + 29.0)) text-anchor="middle" { (title) }
        }
    }

    /// At the left of the frame, with lines across it.
    pub(crate) fn beside(&self, frame: &Frame) -> Markup {
        html! {
            @for value in self.values(5) {
                @let y = frame.y(self.share(value));
                line.grid x1=(at(frame.left)) x2=(at(frame.right)) y1=(at(y)) y2=(at(y)) {}
                text.tick x=(at(frame.left - 5.0)) y=(at(y + 4.0)) text-anchor="end" { (self.label(value)) }
            }
        }
    }
}

/// The smallest usual step that gives no more than `most` ticks.
fn step(range: f64, most: usize, ticks: Ticks) -> f64 {
    let least = range / most as f64;
    if ticks == Ticks::Duration && least > 0.5 {
        return DURATIONS.into_iter().find(|step| *step >= least).unwrap_or(least);
    }
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * power).find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis) -> Vec<String> {
        axis.values(5).into_iter().map(|value| axis.label(value)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(Axis::linear(0.0, 1.0, Ticks::Percent)), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(labels(Axis::linear(-0.013, 0.02, Ticks::Percent)), ["-1 %", "0 %", "1 %", "2 %"]);
        assert_eq!(labels(Axis::linear(0.0, 30_000.0, Ticks::Number)), ["0", "10,000", "20,000", "30,000"]);
        assert_eq!(labels(Axis::linear(-3_600.0, 0.0, Ticks::Duration)), ["-1 h", "-30 min", "0"]);
        assert_eq!(labels(Axis::linear(0.0, 0.0, Ticks::Number)).first().map(String::as_str), Some("0"));
        assert_eq!(labels(Axis::logarithmic(1.0, 90_000.0)), ["1 s", "10 s", "1 min", "10 min", "1 h", "10 h", "1 d"]);
    }

    #[test]
    fn positions_stay_in_the_frame() {
        let axis = Axis::logarithmic(1.0, 100.0);
        assert_eq!([0.0, 1.0, 10.0, 100.0, 1e9].map(|value| axis.share(value)), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }
}
