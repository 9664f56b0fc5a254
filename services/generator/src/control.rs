//! What operators set in KV CONTROL: read, checked, and refused with a reason when it makes no sense.

use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::codec;
use faultline_protocol::messages::{Asked, IN_FORCE_EVERY, InForce, KindMix, RateSetting};
use faultline_protocol::streams::{KEY_IN_FORCE, KEY_MIX, KEY_RATE, KV_CONTROL};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::{BucketError, Nats, kv_put};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// A write that takes longer is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
const WRITE_PAUSE: Duration = Duration::from_millis(500);

/// A setting that can be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    Rate { asked: Asked, set_by: String },
    Mix(WorkloadConfig),
}

/// What a value of the bucket says; `Ok(None)` when it is not for the generator. A removed setting is the default again.
pub(crate) fn read(key: &str, operation: kv::Operation, body: &[u8], settings: &Settings) -> Result<Option<Setting>, String> {
    let is_there = operation == kv::Operation::Put;
    match key {
        KEY_RATE if is_there => {
            let rate: RateSetting = codec::decode_body(body).map_err(|error| error.to_string())?;
            settings.check(rate.asked)?;
            Ok(Some(Setting::Rate { asked: rate.asked, set_by: rate.set_by.chars().filter(|c| !c.is_control()).take(64).collect() }))
        }
        KEY_RATE => Ok(Some(Setting::Rate { asked: Asked::default(), set_by: "its removal".into() })),
        KEY_MIX if is_there => {
            let mix: KindMix = codec::decode_body(body).map_err(|error| error.to_string())?;
            Ok(Some(Setting::Mix(WorkloadConfig::from_weights(&mix.weights).map_err(|error| error.to_string())?)))
        }
        KEY_MIX => Ok(Some(Setting::Mix(WorkloadConfig::default()))),
        _ => Ok(None),
    }
}

/// What is said before any setting was read.
pub(crate) fn nothing_read() -> InForce {
    InForce {
        jobs_per_minute: 0.0,
        load_percent: Asked::default().load_percent(),
        gpus: 0,
        capped: false,
        rate_revision: 0,
        rate_refused: None,
        weights: WorkloadConfig::default().to_weights(),
        mix_revision: 0,
        mix_refused: None,
        at_ms: 0,
    }
}

/// Takes down what became of a setting; false when the key holds none of the generator's.
pub(crate) fn answer(said: &mut InForce, key: &str, revision: u64, refused: Option<String>) -> bool {
    match key {
        KEY_RATE => (said.rate_revision, said.rate_refused) = (revision, refused),
        KEY_MIX => (said.mix_revision, said.mix_refused) = (revision, refused),
        _ => return false,
    }
    true
}

/// Writes what is in force, at every change and now and then, until stopped; then nothing is.
pub(crate) async fn report(nats: Nats, mut said: watch::Receiver<InForce>, stop: CancellationToken) {
    loop {
        let now = InForce { at_ms: unix_ms(), ..said.borrow_and_update().clone() };
        let pause = match tokio::time::timeout(WRITE_LIMIT, write(&nats, &now)).await {
            Ok(Ok(_)) => IN_FORCE_EVERY,
            Ok(Err(error)) => {
                tracing::debug!(%error, "settings in force not written: trying again");
                WRITE_PAUSE
            }
            Err(_) => WRITE_PAUSE,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            changed = said.changed() => if changed.is_err() { break },
        }
    }
    // Who asks then is told at once that no generator runs; without it, when the last word is too old.
    let _ =
        tokio::time::timeout(WRITE_LIMIT, async { nats.bucket(KV_CONTROL).await?.delete(KEY_IN_FORCE).await.map_err(anyhow::Error::from) })
            .await;
}

async fn write(nats: &Nats, said: &InForce) -> Result<u64, BucketError> {
    kv_put(&nats.bucket(KV_CONTROL).await?, KEY_IN_FORCE, said).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rate(jobs_per_minute: f64) -> Vec<u8> {
        codec::encode(&RateSetting { asked: Asked::Rate(jobs_per_minute), set_by: "cli\n".into(), at_ms: 1 }).to_vec()
    }

    fn mix(kind: &str, weight: f64) -> Vec<u8> {
        codec::encode(&KindMix { weights: BTreeMap::from([(kind.to_owned(), weight)]) }).to_vec()
    }

    #[test]
    fn good_settings_are_taken() {
        let settings = Settings::default();
        let put = |key, body: &[u8]| read(key, kv::Operation::Put, body, &settings);
        assert_eq!(put(KEY_RATE, &rate(10.0)), Ok(Some(Setting::Rate { asked: Asked::Rate(10.0), set_by: "cli".into() })));
        let load = RateSetting { asked: Asked::Load(90.0), set_by: "cli".into(), at_ms: 1 };
        assert_eq!(put(KEY_RATE, &codec::encode(&load)), Ok(Some(Setting::Rate { asked: Asked::Load(90.0), set_by: "cli".into() })));
        let only_matrix = WorkloadConfig { sleep: 0.0, compute: 0.0, matrix: 1.0, fault: 0.0 };
        assert_eq!(put(KEY_MIX, &mix("matrix", 1.0)), Ok(Some(Setting::Mix(only_matrix))));
        assert_eq!(put("drain.gpu-node-01", b"whatever"), Ok(None));
        assert_eq!(read(KEY_MIX, kv::Operation::Delete, b"", &settings), Ok(Some(Setting::Mix(WorkloadConfig::default()))));
        let removed = read(KEY_RATE, kv::Operation::Purge, b"", &settings);
        assert!(matches!(removed, Ok(Some(Setting::Rate { asked: Asked::Load(60.0), .. }))), "{removed:?}");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let settings = Settings::default();
        let refused = |key, body: &[u8]| read(key, kv::Operation::Put, body, &settings).unwrap_err();
        assert!(refused(KEY_RATE, b"\xc1garbage").contains("rate-setting"));
        for rate_per_minute in [-1.0, 0.0, 51.0, f64::NAN, f64::INFINITY] {
            assert!(refused(KEY_RATE, &rate(rate_per_minute)).contains("outside"));
        }
        let load = RateSetting { asked: Asked::Load(1e9), set_by: "cli".into(), at_ms: 1 };
        assert!(refused(KEY_RATE, &codec::encode(&load)).contains("outside 1 to 200"));
        assert!(refused(KEY_MIX, &mix("mining", 1.0)).contains("mining"));
        assert!(refused(KEY_MIX, &mix("sleep", f64::NAN)).contains("weight"));
        assert!(refused(KEY_MIX, &mix("sleep", 0.0)).contains("weight"));
    }

    #[test]
    fn what_became_of_each_setting_is_said_with_its_revision() {
        let mut said = nothing_read();
        assert!(answer(&mut said, KEY_RATE, 7, Some("too high".into())) && answer(&mut said, KEY_MIX, 8, None));
        assert!(!answer(&mut said, KEY_IN_FORCE, 9, None) && !answer(&mut said, "drain.gpu-node-01", 10, None));
        assert_eq!((said.rate_revision, said.rate_refused.as_deref()), (7, Some("too high")));
        assert_eq!((said.mix_revision, said.mix_refused.as_deref()), (8, None));
        assert!(answer(&mut said, KEY_RATE, 11, None) && said.rate_refused.is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(KEY_RATE, kv::Operation::Put, &body, &Settings::default());
            let _ = read(KEY_MIX, kv::Operation::Put, &body, &Settings::default());
        }
    }
}
