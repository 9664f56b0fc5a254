//! What the result depends on: each field that the experiment varies, with the change that each of its values makes.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Tables;
use super::chart::{Change, Chart, Fan, Ticks, tornado};
use super::words::difference_in_words;
use crate::statistics::{Interval, paired};
use crate::tables::{Better, Group, METRICS, Metric, Varied, over_shared_seeds};

/// What one value changes.
pub(crate) struct Effect<'a> {
    pub(crate) varied: &'a Varied,
    pub(crate) mean: f64,
    /// With two seeds or more.
    pub(crate) interval: Option<Interval>,
}

/// Field by field, the one that moves the figure most first, by the metric that the experiment is judged by.
pub(crate) fn effects(tables: &Tables) -> Vec<(&str, Vec<Effect<'_>>)> {
    let by_policy = over_shared_seeds(&tables.summary, Group::All, "", judge(tables).name);
    let of = |name: &str| -> Vec<f64> { by_policy.get(name).into_iter().flat_map(BTreeMap::values).copied().collect() };
    let mut fields: Vec<(&str, Vec<Effect>)> = Vec::new();
    for varied in &tables.manifest.contents.varied {
        let (other, own) = (of(&varied.name), of(&varied.policy));
        if other.is_empty() || other.len() != own.len() {
            continue;
        }
        let interval = paired(&other, &own).map(|difference| difference.interval);
        let mean = other.iter().zip(&own).map(|(other, own)| other - own).sum::<f64>() / own.len() as f64;
        let effect = Effect { varied, mean, interval };
        match fields.iter_mut().find(|(field, _)| *field == varied.field) {
            Some((_, effects)) => effects.push(effect),
            None => fields.push((&varied.field, vec![effect])),
        }
    }
    let most = |effects: &[Effect]| effects.iter().map(|effect| effect.mean.abs()).fold(0.0, f64::max);
    fields.sort_by(|(_, a), (_, b)| most(b).total_cmp(&most(a)));
    fields
}

pub(crate) fn judge(tables: &Tables) -> &'static Metric {
    Metric::named(&tables.manifest.contents.judge).unwrap_or(&METRICS[0])
}

/// In a sentence, what matters most.
pub(crate) fn sentence(tables: &Tables) -> Option<String> {
    let effects = effects(tables);
    let (_, first) = effects.first()?;
    let Effect { varied, mean, interval } = first.iter().max_by(|a, b| a.mean.abs().total_cmp(&b.mean.abs()))?;
    let words = |value: f64| difference_in_words(judge(tables), value);
    let within =
        interval.map_or_else(String::new, |interval| format!(" (95 % interval {} to {})", words(interval.low), words(interval.high)));
    Some(format!(
        "Of what was varied, the {} of {} moves most with {}: {} instead of {} changes it by {}{within}.",
        judge(tables).title,
        varied.policy,
        varied.field,
        varied.value,
        varied.usual,
        words(*mean)
    ))
}

pub(crate) fn chart(tables: &Tables) -> Markup {
    let metric = judge(tables);
    let policy = tables.manifest.contents.varied.first().map_or("", |varied| &varied.policy);
    let better = |mean: f64| match metric.better {
        Better::More => Some(mean >= 0.0),
        Better::Less => Some(mean <= 0.0),
        Better::Neither => None,
    };
    let fans: Vec<Fan> = effects(tables)
        .into_iter()
        .map(|(field, effects)| Fan {
            label: format!("{field} (usually {})", effects.first().map_or("", |effect| &effect.varied.usual)),
            bars: effects
                .iter()
                .map(|effect| Change {
                    label: format!("{}: {}", effect.varied.value, difference_in_words(metric, effect.mean)),
                    mean: effect.mean,
                    interval: effect.interval.map(|interval| (interval.low, interval.high)),
                    is_better: better(effect.mean),
                })
                .collect(),
        })
        .collect();
    let (drawing, height) = tornado(&fans, Ticks::of(metric), &format!("change of {}", metric.title));
    let legend = [("w1", "better"), ("l2", "worse")].map(|(color, words)| (color.to_owned(), words.to_owned()));
    html! {
        div.charts {
            (Chart {
                title: &format!("What the {} of {policy} depends on", metric.title),
                description: "One field at a time has another value, and all else stays. Thin: 95 % interval of the paired difference. Fields that act together are not shown by this.",
                height,
                drawing,
                legend: if metric.better == Better::Neither { Vec::new() } else { legend.to_vec() },
            }.show())
        }
    }
}
