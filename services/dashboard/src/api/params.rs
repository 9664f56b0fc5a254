//! Decoding the parameters of GET requests: strict, pure, and every refusal names the parameter.

use std::collections::BTreeSet;
use std::str::FromStr;

use faultline_client::incidents::MAX_INCIDENTS;
use faultline_engine::job::options::DEFAULT_GPU_MILLI;
use faultline_engine::job::{Demand, GPU_MILLI, JobRef, MAX_GPUS, Priority, is_token};
use faultline_engine::node::Health;
use faultline_protocol::messages::{EventKind, JobState, Level, MAX_LOG_LINES, ProcessesQuery, WouldFitQuery};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::error::ApiError;
use crate::view::{EventFilter, JobFilter, JobOrder, NodeFilter, NodeOrder, SERIES_SECONDS, WindowFilter};

/// Rows in a page by default.
const DEFAULT_PER_PAGE: usize = 50;
/// The most rows in a page.
const MAX_PER_PAGE: usize = 200;
const MAX_PAGE: usize = 1_000_000;
/// Events in a page by default.
const DEFAULT_EVENT_LIMIT: usize = 50;
/// The most events in a page.
pub(crate) const MAX_EVENT_LIMIT: usize = 1000;
const MAX_TEXT_CHARS: usize = 100;
/// How far back the past is shown by default.
const DEFAULT_WINDOW_S: usize = 900;
const DEFAULT_LOG_LINES: usize = 100;
const MAX_NAMES: usize = 1_000;
/// How much a recording holds by default, and at most.
const DEFAULT_RECORDED_MS: u64 = 600_000;
const MAX_RECORDED_MS: u64 = 3_600_000;
/// In the year 9999: microseconds of it still are numbers that JavaScript keeps nearly exact, and nothing overflows.
const MAX_TIME_MS: u64 = 253_402_300_799_000;

/// The decoded `name=value` pairs of a request, taken one by one; what is left over was not expected.
#[derive(Debug, Clone)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Takes a parameter out. Empty counts as not given, as a form sends it.
    fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(index) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(index);
        if self.0.iter().any(|(key, _)| key == name) {
            return Err(ApiError::invalid(name, "given more than once"));
        }
        Ok((!value.is_empty()).then_some(value))
    }

    pub(super) fn parse<T: Value>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        T::read(&text).map(Some).map_err(|problem| ApiError::invalid(name, problem))
    }

    /// A value of an enum that serde knows by name; the error lists the names.
    fn named<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        from_name(&text).map(Some).map_err(|error| ApiError::invalid(name, error))
    }

    fn token(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name)? {
            Some(text) if !text.split(':').all(is_token) => {
                Err(ApiError::invalid(name, "only letters, digits, `-`, `_` and `:` can occur here"))
            }
            given => Ok(given),
        }
    }

    /// Several values of such an enum, with commas.
    fn names<T: DeserializeOwned + Ord>(&mut self, name: &str) -> Result<BTreeSet<T>, ApiError> {
        let given = self.take(name)?.unwrap_or_default();
        let names = given.split(',').filter(|one| !one.is_empty());
        names.map(|one| from_name(one).map_err(|error| ApiError::invalid(name, error))).collect()
    }

    /// Names of nodes, with commas.
    fn nodes(&mut self) -> Result<BTreeSet<String>, ApiError> {
        let given = self.take("nodes")?.unwrap_or_default();
        let names: Vec<&str> = given.split(',').filter(|name| !name.is_empty()).collect();
        if names.len() > MAX_NAMES {
            return Err(ApiError::invalid("nodes", format!("at most {MAX_NAMES} names")));
        }
        if !names.iter().all(|name| is_token(name)) {
            return Err(ApiError::invalid("nodes", "a node's name has 1 to 64 letters, digits, `-` and `_`"));
        }
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// A text to look for; case does not matter.
    fn search(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name)? {
            Some(text) if text.chars().count() > MAX_TEXT_CHARS => {
                Err(ApiError::invalid(name, format!("at most {MAX_TEXT_CHARS} characters")))
            }
            given => Ok(given.map(|text| text.to_lowercase())),
        }
    }

    fn bounded(&mut self, name: &str, default: usize, most: usize) -> Result<usize, ApiError> {
        match self.parse::<usize>(name)? {
            None => Ok(default),
            Some(number) if (1..=most).contains(&number) => Ok(number),
            Some(_) => Err(ApiError::invalid(name, format!("must be 1 to {most}"))),
        }
    }

    /// What rows are sorted by, and whether the highest comes first: with a minus sign.
    fn sort<T: DeserializeOwned>(&mut self) -> Result<Option<(T, bool)>, ApiError> {
        let Some(sort) = self.take("sort")?.filter(|sort| !sort.is_empty()) else { return Ok(None) };
        let (is_descending, name) = sort.strip_prefix('-').map_or((false, sort.as_str()), |name| (true, name));
        from_name(name).map(|key| Some((key, is_descending))).map_err(|error| ApiError::invalid("sort", error))
    }

    fn page(&mut self) -> Result<PageOf, ApiError> {
        let page = self.bounded("page", 1, MAX_PAGE)?;
        Ok(PageOf { page, per_page: self.bounded("per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE)? })
    }

    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(60).collect();
                Err(ApiError::invalid(name.clone(), format!("unknown parameter `{name}`")))
            }
        }
    }
}

fn from_name<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<ValueError>::new(&clipped(text))).map_err(|error| error.to_string())
}

fn clipped(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A value of a parameter.
pub(super) trait Value: Sized {
    /// The value, or what is wrong with the text and what to write.
    fn read(text: &str) -> Result<Self, String>;
}

/// Values whose own errors speak of parsers.
macro_rules! values {
    ($($type:ty: $remedy:literal),*) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("unexpected `{}`: write {}", clipped(text), $remedy))
            }
        }
    )*};
}

values!(usize: "a whole number", u32: "a whole number", u64: "a whole number", f64: "a number, such as 2 or 0.5", bool: "true or false");

impl Value for Priority {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Self as FromStr>::Err| error.to_string())
    }
}

impl Value for JobRef {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Self as FromStr>::Err| error.to_string())
    }
}

/// `GET /api/v1/would-fit`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WouldFitParams {
    pub(crate) query: WouldFitQuery,
}

impl WouldFitParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let gpu_milli = pairs.parse("gpus")?.map_or(Ok(DEFAULT_GPU_MILLI), gpu_milli)?;
        let gpu_memory_mib = pairs.parse("gpu_memory_mib")?.unwrap_or(0);
        let models = pairs.take("models")?.unwrap_or_default();
        let models = models.split(',').filter(|model| !model.is_empty()).map(str::to_owned).collect();
        let kind = pairs.take("kind")?.unwrap_or_default();
        let count = pairs.parse("count")?.unwrap_or(1);
        pairs.finish()?;
        let query = WouldFitQuery { demand: Demand { gpu_milli, gpu_memory_mib, models }, kind, count };
        query.validate().map_err(|invalid| ApiError::invalid(invalid.field, invalid.problem))?;
        Ok(Self { query })
    }
}

/// GPUs in thousandths.
pub(super) fn gpu_milli(gpus: f64) -> Result<u32, ApiError> {
    if !(0.0..=f64::from(MAX_GPUS)).contains(&gpus) {
        return Err(ApiError::invalid("gpus", format!("{gpus} is outside 0 to {MAX_GPUS}")));
    }
    let milli = (gpus * f64::from(GPU_MILLI)).round() as u32;
    if milli == 0 && gpus > 0.0 {
        return Err(ApiError::invalid("gpus", "the smallest share is 0.001"));
    }
    Ok(milli)
}

/// Which page of rows is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageOf {
    /// From 1.
    pub(crate) page: usize,
    pub(crate) per_page: usize,
}

impl Default for PageOf {
    fn default() -> Self {
        Self { page: 1, per_page: DEFAULT_PER_PAGE }
    }
}

impl PageOf {
    /// Rows before the first one of the page.
    pub(crate) fn skip(self) -> usize {
        (self.page - 1) * self.per_page
    }
}

/// Filters of jobs, as lists and cancelling take them.
fn job_filter(pairs: &mut Pairs) -> Result<JobFilter, ApiError> {
    Ok(JobFilter {
        states: pairs.names::<JobState>("state")?,
        kind: pairs.token("kind")?,
        node: pairs.token("node")?,
        priority: pairs.parse::<Priority>("priority")?,
        min_attempts: pairs.parse("attempts_min")?.unwrap_or(0),
        text: pairs.search("q")?,
    })
}

/// `GET /api/v1/jobs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobsParams {
    pub(crate) filter: JobFilter,
    pub(crate) order: JobOrder,
    pub(crate) page: PageOf,
}

impl JobsParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let filter = job_filter(&mut pairs)?;
        let order = pairs.sort()?.map(|(key, is_descending)| JobOrder { key, is_descending }).unwrap_or_default();
        let page = pairs.page()?;
        pairs.finish()?;
        Ok(Self { filter, order, page })
    }
}

/// `GET /api/v1/nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodesParams {
    pub(crate) filter: NodeFilter,
    pub(crate) order: NodeOrder,
    pub(crate) is_descending: bool,
    pub(crate) page: PageOf,
}

impl NodesParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let filter = NodeFilter {
            health: pairs.names::<Health>("health")?,
            rack: pairs.token("rack")?,
            worker: pairs.token("worker")?,
            text: pairs.search("q")?,
            nodes: pairs.nodes()?,
        };
        let (order, is_descending) = pairs.sort()?.unwrap_or_default();
        let page = pairs.page()?;
        pairs.finish()?;
        Ok(Self { filter, order, is_descending, page })
    }
}

/// `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventsParams {
    pub(crate) filter: EventFilter,
    pub(crate) after: Option<u64>,
    /// Which history `after` is of.
    pub(crate) history: Option<String>,
    pub(crate) limit: usize,
}

impl EventsParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let filter = EventFilter {
            kind: pairs.named::<EventKind>("kind")?,
            min_level: pairs.named::<Level>("level")?,
            node: pairs.token("node")?,
            job: pairs.parse::<JobRef>("job")?,
            service: pairs.token("service")?,
            until_ms: pairs.parse("until_ms")?,
        };
        let after = pairs.parse("after")?;
        let history = pairs.token("history")?;
        let limit = pairs.bounded("limit", DEFAULT_EVENT_LIMIT, MAX_EVENT_LIMIT)?;
        pairs.finish()?;
        Ok(Self { filter, after, history, limit })
    }
}

/// `GET /api/v1/incidents`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IncidentsParams {
    pub(crate) limit: usize,
}

impl IncidentsParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let limit = pairs.bounded("limit", 20, MAX_INCIDENTS)?;
        pairs.finish()?;
        Ok(Self { limit })
    }
}

/// `GET /api/v1/processes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessesParams {
    pub(crate) query: ProcessesQuery,
}

impl ProcessesParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let lines = pairs.bounded("lines", DEFAULT_LOG_LINES, MAX_LOG_LINES as usize)?;
        let (process, level) = (pairs.token("process")?, pairs.named::<Level>("level")?);
        pairs.finish()?;
        let lines = u32::try_from(lines).unwrap_or(MAX_LOG_LINES);
        Ok(Self { query: ProcessesQuery { process, level, lines } })
    }
}

/// `GET /api/v1/series`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesParams {
    pub(crate) window_s: usize,
}

impl SeriesParams {
    pub(crate) fn decode(mut pairs: Pairs) -> Result<Self, ApiError> {
        let window_s = pairs.bounded("window_s", DEFAULT_WINDOW_S, SERIES_SECONDS)?;
        pairs.finish()?;
        Ok(Self { window_s })
    }
}

/// `GET /api/v1/recording`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordingParams {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

impl RecordingParams {
    pub(crate) fn decode(mut pairs: Pairs, now_ms: u64) -> Result<Self, ApiError> {
        let last_ms = pairs.parse::<u64>("last_ms")?;
        let from_ms = pairs.parse::<u64>("from_ms")?;
        let to_ms = pairs.parse::<u64>("to_ms")?.unwrap_or(now_ms);
        pairs.finish()?;
        if last_ms.is_some_and(|last_ms| !(1_000..=MAX_RECORDED_MS).contains(&last_ms)) {
            return Err(ApiError::invalid("last_ms", format!("must be 1000 to {MAX_RECORDED_MS}")));
        }
        if last_ms.is_some() && from_ms.is_some() {
            return Err(ApiError::invalid("from_ms", "give either this or last_ms"));
        }
        let from_ms = from_ms.unwrap_or_else(|| to_ms.saturating_sub(last_ms.unwrap_or(DEFAULT_RECORDED_MS)));
        if from_ms > to_ms {
            return Err(ApiError::invalid("from_ms", "must not be after to_ms"));
        }
        if from_ms > now_ms {
            return Err(ApiError::invalid("from_ms", "must not be in the future"));
        }
        Ok(Self { from_ms, to_ms })
    }
}

/// `GET /api/v1/timeline` and its export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimelineParams {
    pub(crate) filter: WindowFilter,
}

impl TimelineParams {
    pub(crate) fn decode(mut pairs: Pairs, now_ms: u64) -> Result<Self, ApiError> {
        let to_ms = pairs.parse("to_ms")?.unwrap_or(now_ms);
        let from_ms = pairs.parse("from_ms")?.unwrap_or(to_ms.saturating_sub(DEFAULT_WINDOW_S as u64 * 1000));
        if to_ms > MAX_TIME_MS {
            return Err(ApiError::invalid("to_ms", "must be Unix milliseconds"));
        }
        if from_ms > to_ms {
            return Err(ApiError::invalid("from_ms", "must not be after to_ms"));
        }
        let nodes = pairs.nodes()?;
        let affected = pairs.parse("affected")?.unwrap_or(false);
        pairs.finish()?;
        Ok(Self { filter: WindowFilter { from_ms, to_ms, nodes, affected } })
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;
    use axum::http::Uri;
    use proptest::prelude::*;

    use super::*;

    fn pairs(query: &str) -> Pairs {
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build().unwrap();
        Pairs::new(Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap().0)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.status, 422);
        error.detail.field.unwrap()
    }

    #[test]
    fn jobs_take_every_filter() {
        let decoded = JobsParams::decode(pairs(
            "state=queued,running&kind=matrix&node=gpu-node-01&priority=high&attempts_min=2&q=GPU%20a&page=3&per_page=7&sort=-wait",
        ))
        .unwrap();
        assert_eq!(decoded.filter.states.len(), 2);
        assert_eq!(decoded.filter.kind.as_deref(), Some("matrix"));
        assert_eq!(decoded.filter.priority, Some(Priority::High));
        assert_eq!(decoded.filter.text.as_deref(), Some("gpu a"));
        assert_eq!((decoded.filter.min_attempts, decoded.page.per_page, decoded.page.skip()), (2, 7, 14));
        assert!(decoded.order.is_descending && decoded.order != JobOrder::default(), "{:?}", decoded.order);
        assert_eq!(JobsParams::decode(pairs("state=&q=&kind=&sort=")).unwrap(), JobsParams::default());
    }

    #[test]
    fn nodes_take_every_filter() {
        let decoded =
            NodesParams::decode(pairs("health=dead,suspect&rack=rack-1&worker=worker-01&q=GPU&sort=-heartbeat_age&page=2")).unwrap();
        assert_eq!(
            (decoded.filter.health.len(), decoded.filter.rack.as_deref(), decoded.filter.text.as_deref()),
            (2, Some("rack-1"), Some("gpu"))
        );
        assert_eq!((decoded.order, decoded.is_descending, decoded.page.skip()), (NodeOrder::HeartbeatAge, true, 50));
        assert_eq!(NodesParams::decode(pairs("")).unwrap(), NodesParams::default());
    }

    #[test]
    fn refusals_name_the_parameter() {
        for (query, field) in [
            ("state=asleep", "state"),
            ("priority=9", "priority"),
            ("page=0", "page"),
            ("page=99999999999", "page"),
            ("per_page=0", "per_page"),
            ("per_page=201", "per_page"),
            ("per_page=-1", "per_page"),
            ("attempts_min=many", "attempts_min"),
            ("node=a.b", "node"),
            ("sort=colour", "sort"),
            ("kind=a&kind=b", "kind"),
        ] {
            assert_eq!(refused(JobsParams::decode(pairs(query))), field, "{query}");
        }
        assert_eq!(refused(JobsParams::decode(pairs(&format!("q={}", "x".repeat(101))))), "q");
        assert_eq!(refused(EventsParams::decode(pairs("kind=nonsense"))), "kind");
        assert_eq!(refused(EventsParams::decode(pairs("after=-3"))), "after");
        assert_eq!(refused(EventsParams::decode(pairs("limit=1001"))), "limit");
        assert_eq!(refused(NodesParams::decode(pairs("sort=colour"))), "sort");
        assert_eq!(refused(NodesParams::decode(pairs("sort=-"))), "sort");
        assert_eq!(refused(NodesParams::decode(pairs("health=well"))), "health");
    }

    #[test]
    fn a_recording_is_of_the_last_ten_minutes_or_of_what_is_asked_for() {
        let decoded = |query: &str| RecordingParams::decode(pairs(query), 1_000_000).map(|params| (params.from_ms, params.to_ms));
        assert_eq!(decoded("").unwrap(), (400_000, 1_000_000));
        assert_eq!(decoded("last_ms=1000").unwrap(), (999_000, 1_000_000));
        assert_eq!(decoded("from_ms=5&to_ms=9").unwrap(), (5, 9));
        for (query, field) in [
            ("last_ms=999", "last_ms"),
            ("last_ms=3600001", "last_ms"),
            ("last_ms=2000&from_ms=5", "from_ms"),
            ("from_ms=9&to_ms=5", "from_ms"),
            ("to_ms=soon", "to_ms"),
        ] {
            assert_eq!(refused(decoded(query)), field, "{query}");
        }
    }

    #[test]
    fn the_past_has_bounds() {
        let decoded = TimelineParams::decode(pairs("nodes=a,b&affected=true"), 1_000_000).unwrap().filter;
        assert_eq!((decoded.from_ms, decoded.to_ms, decoded.nodes.len(), decoded.affected), (100_000, 1_000_000, 2, true));
        for (query, field) in [
            ("from_ms=2&to_ms=1", "from_ms"),
            ("from_ms=yesterday", "from_ms"),
            ("to_ms=18446744073709551615", "to_ms"),
            ("nodes=a,b.c", "nodes"),
            ("affected=perhaps", "affected"),
            ("zoom=1", "zoom"),
        ] {
            assert_eq!(refused(TimelineParams::decode(pairs(query), 5)), field, "{query}");
        }
        let many = vec!["a"; 1_001].join(",");
        assert_eq!(refused(TimelineParams::decode(pairs(&format!("nodes={many}")), 5)), "nodes");
        assert_eq!(SeriesParams::decode(pairs("")).unwrap().window_s, 900);
        assert_eq!(refused(SeriesParams::decode(pairs("window_s=3601"))), "window_s");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = EventsParams::decode(pairs("level=loud")).unwrap_err();
        assert!(error.detail.message.contains("warn"), "{}", error.detail.message);
    }

    proptest! {
        #[test]
        fn no_decoder_panics_and_every_refusal_names_a_field(given in proptest::collection::vec(("[a-z_]{0,12}|state|kind|node|q|limit|page|per_page|sort|after|level|job", ".{0,30}|[0-9-]{0,22}"), 0..6)) {
            let pairs = Pairs::new(given);
            for error in [JobsParams::decode(pairs.clone()).err(), NodesParams::decode(pairs.clone()).err(), EventsParams::decode(pairs).err()].into_iter().flatten() {
                prop_assert!(error.detail.field.is_some());
                prop_assert_eq!(error.status.as_u16(), 422);
            }
        }

        #[test]
        fn what_is_accepted_stays_in_its_bounds(limit in any::<u64>(), after in any::<u64>()) {
            if let Ok(decoded) = EventsParams::decode(pairs(&format!("limit={limit}&after={after}"))) {
                prop_assert!(decoded.limit >= 1 && decoded.limit <= MAX_EVENT_LIMIT);
                prop_assert_eq!(decoded.after, Some(after));
            } else {
                prop_assert!(limit == 0 || limit > MAX_EVENT_LIMIT as u64);
            }
        }
    }
}
