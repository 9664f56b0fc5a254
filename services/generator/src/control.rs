//! What operators set in KV CONTROL: read, checked, and refused with a reason when it makes no sense.

use async_nats::jetstream::kv;
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::codec;
use faultline_protocol::messages::{KindMix, RateSetting};
use faultline_protocol::streams::{KEY_MIX, KEY_RATE};

use crate::settings::{DEFAULT_RATE_PER_MINUTE, Settings};

/// A setting that can be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    Rate { per_minute: f64, set_by: String },
    Mix(WorkloadConfig),
}

/// What a value of the bucket says; `Ok(None)` when it is not for the generator. A removed setting is the default again.
pub(crate) fn read(key: &str, operation: kv::Operation, body: &[u8], settings: &Settings) -> Result<Option<Setting>, String> {
    let is_there = operation == kv::Operation::Put;
    match key {
        KEY_RATE if is_there => {
            let rate: RateSetting = codec::decode_body(body).map_err(|error| error.to_string())?;
            settings.check_rate(rate.jobs_per_minute)?;
            Ok(Some(Setting::Rate {
                per_minute: rate.jobs_per_minute,
                set_by: rate.set_by.chars().filter(|c| !c.is_control()).take(64).collect(),
            }))
        }
        KEY_RATE => Ok(Some(Setting::Rate { per_minute: DEFAULT_RATE_PER_MINUTE, set_by: "its removal".into() })),
        KEY_MIX if is_there => {
            let mix: KindMix = codec::decode_body(body).map_err(|error| error.to_string())?;
            Ok(Some(Setting::Mix(WorkloadConfig::from_weights(&mix.weights).map_err(|error| error.to_string())?)))
        }
        KEY_MIX => Ok(Some(Setting::Mix(WorkloadConfig::default()))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rate(jobs_per_minute: f64) -> Vec<u8> {
        codec::encode(&RateSetting { jobs_per_minute, set_by: "cli\n".into(), at_ms: 1 }).to_vec()
    }

    fn mix(kind: &str, weight: f64) -> Vec<u8> {
        codec::encode(&KindMix { weights: BTreeMap::from([(kind.to_owned(), weight)]) }).to_vec()
    }

    #[test]
    fn good_settings_are_taken() {
        let settings = Settings::default();
        let put = |key, body: &[u8]| read(key, kv::Operation::Put, body, &settings);
        assert_eq!(put(KEY_RATE, &rate(10.0)), Ok(Some(Setting::Rate { per_minute: 10.0, set_by: "cli".into() })));
        let only_matrix = WorkloadConfig { sleep: 0.0, compute: 0.0, matrix: 1.0, fault: 0.0 };
        assert_eq!(put(KEY_MIX, &mix("matrix", 1.0)), Ok(Some(Setting::Mix(only_matrix))));
        assert_eq!(put("drain.gpu-node-01", b"whatever"), Ok(None));
        assert_eq!(read(KEY_MIX, kv::Operation::Delete, b"", &settings), Ok(Some(Setting::Mix(WorkloadConfig::default()))));
        assert!(
            matches!(read(KEY_RATE, kv::Operation::Purge, b"", &settings), Ok(Some(Setting::Rate { per_minute, .. })) if per_minute == DEFAULT_RATE_PER_MINUTE)
        );
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let settings = Settings::default();
        let refused = |key, body: &[u8]| read(key, kv::Operation::Put, body, &settings).unwrap_err();
        assert!(refused(KEY_RATE, b"\xc1garbage").contains("rate-setting"));
        for rate_per_minute in [-1.0, 0.0, 51.0, f64::NAN, f64::INFINITY] {
            assert!(refused(KEY_RATE, &rate(rate_per_minute)).contains("outside"));
        }
        assert!(refused(KEY_MIX, &mix("mining", 1.0)).contains("mining"));
        assert!(refused(KEY_MIX, &mix("sleep", f64::NAN)).contains("weight"));
        assert!(refused(KEY_MIX, &mix("sleep", 0.0)).contains("weight"));
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(KEY_RATE, kv::Operation::Put, &body, &Settings::default());
            let _ = read(KEY_MIX, kv::Operation::Put, &body, &Settings::default());
        }
    }
}
