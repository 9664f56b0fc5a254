//! A recording: the page and a stretch of the past in one HTML file, which needs neither this service nor a network. The page finds in it what
//! it would have asked for: answers in the form of the API, and the segments of the past. Nothing of who asks goes in, no token and no session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faultline_client::incidents::IncidentView;
use serde::Serialize;

use crate::compress::gzip;
use crate::past::{Body, Kept, SegmentInfo};
use crate::view::{Columns, EventFilter, NumberedEvent, View, Window, WindowFilter};

/// Where the template has the contents.
const PLACE: &str = "{{recording}}";
/// The newest ones of the stretch.
const MAX_EVENTS: usize = 5_000;
/// Of 9, for a file that is mailed.
const LEVEL: u32 = 9;

/// The incidents of a recording, as `/api/v1/incidents` has them.
#[derive(Debug, Serialize)]
struct Incidents {
    items: Vec<IncidentView>,
    total: usize,
}

/// What pages ask for beside the segments.
#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    kept: Kept,
    series: Columns,
    events: Vec<NumberedEvent>,
    incidents: Incidents,
    timeline: Window,
}

impl Answers {
    /// What is known of the stretch that these segments cover.
    pub(crate) fn of(view: &View, segments: Vec<SegmentInfo>, now_ms: u64) -> Self {
        let kept = Kept::of(segments);
        let (from_ms, to_ms) = (kept.from_ms.unwrap_or(now_ms), kept.to_ms.unwrap_or(now_ms));
        let mut events = view.events.page(&EventFilter { until_ms: Some(to_ms), ..EventFilter::default() }, None, MAX_EVENTS);
        events.retain(|event| event.event.at_ms >= from_ms);
        let lasted = |incident: &IncidentView| incident.began_ms <= to_ms && incident.recovered_ms.is_none_or(|at_ms| at_ms >= from_ms);
        let items: Vec<IncidentView> = view.incidents.newest(now_ms).filter(lasted).collect();
        Self {
            kept,
            series: view.series.since(from_ms),
            events,
            incidents: Incidents { total: items.len(), items },
            timeline: view.window(&WindowFilter { from_ms, to_ms, ..WindowFilter::default() }, now_ms),
        }
    }
}

/// The file: `template` with the answers, then the segments, a line of base64 each.
pub(crate) fn file(template: &str, answers: &Answers, segments: &[Body]) -> std::io::Result<String> {
    let (before, after) = template.split_once(PLACE).ok_or_else(|| std::io::Error::other("the page has no place for a recording"))?;
    let mut file = before.to_owned();
    STANDARD.encode_string(gzip(&serde_json::to_vec(answers)?, LEVEL)?, &mut file);
    for segment in segments {
        file.push('\n');
        match segment {
            Body::Packed(packed) => STANDARD.encode_string(&**packed, &mut file),
            Body::Plain(plain) => STANDARD.encode_string(gzip(plain, LEVEL)?, &mut file),
        }
    }
    file.push_str(after);
    Ok(file)
}
