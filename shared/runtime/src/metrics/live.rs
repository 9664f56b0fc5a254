//! Series that are read at each scrape and are there only as long as what they tell of: a node that is gone has none any more, and a
//! scheduler that stands by tells nothing of the queue. Events are counted in counters instead.

use std::collections::HashMap;

use faultline_engine::scheduler::{BOUNDS_MS, Durations};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// What the series of one name tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of one name.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
}

/// What one scrape finds.
pub struct Readings<'a> {
    families: &'a [Family],
    metrics: Vec<Vec<Metric>>,
}

impl Readings<'_> {
    fn add(&mut self, name: &str, labels: &[&str], fill: impl FnOnce(&mut Metric)) {
        let at = self.families.iter().position(|family| family.name == name).unwrap_or_else(|| panic!("unknown family {name}"));
        let family = &self.families[at];
        assert_eq!(family.labels.len(), labels.len(), "{name} has the labels {:?}", family.labels);
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::from_label(family.labels.iter().zip(labels).map(pair).collect());
        fill(&mut metric);
        self.metrics[at].push(metric);
    }

    /// One series of a counter or gauge, with the values of the family's labels in their order.
    pub fn put(&mut self, name: &str, labels: &[&str], value: f64) {
        let is_counter = self.families.iter().any(|family| family.name == name && family.kind == Kind::Counter);
        self.add(name, labels, |metric| {
            if is_counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        });
    }

    /// One series of a histogram, in seconds.
    pub fn put_durations(&mut self, name: &str, labels: &[&str], durations: &Durations) {
        self.add(name, labels, |metric| {
            let mut histogram = Histogram::default();
            histogram.set_sample_count(durations.count());
            histogram.set_sample_sum(durations.sum_ms() as f64 / 1000.0);
            let bucket = |(bound_ms, count): (u64, u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound_ms as f64 / 1000.0);
                bucket.set_cumulative_count(count);
                bucket
            };
            histogram.set_bucket(BOUNDS_MS.into_iter().zip(durations.cumulative()).map(bucket).collect());
            metric.set_histogram(histogram);
        });
    }
}

type Read = Box<dyn Fn(&mut Readings<'_>) + Send + Sync>;

/// Families that are read at each scrape.
pub(super) struct Live {
    families: &'static [Family],
    descs: Vec<Desc>,
    read: Read,
}

impl Live {
    pub(super) fn new(families: &'static [Family], read: Read) -> prometheus::Result<Self> {
        let desc = |family: &Family| {
            Desc::new(
                family.name.into(),
                family.help.into(),
                family.labels.iter().map(|label| (*label).to_owned()).collect(),
                HashMap::new(),
            )
        };
        let descs = families.iter().map(desc).collect::<prometheus::Result<_>>()?;
        Ok(Self { families, descs, read })
    }
}

impl Collector for Live {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut readings = Readings { families: self.families, metrics: vec![Vec::new(); self.families.len()] };
        (self.read)(&mut readings);
        let made = |(family, metrics): (&Family, Vec<Metric>)| {
            let mut made = MetricFamily::default();
            made.set_name(family.name.to_owned());
            made.set_help(family.help.to_owned());
            made.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            made.set_metric(metrics);
            made
        };
        // The text format has no place for a family without series.
        self.families.iter().zip(readings.metrics).filter(|(_, metrics)| !metrics.is_empty()).map(made).collect()
    }
}
