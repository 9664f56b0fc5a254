//! Provisions streams, consumers and buckets: `faultline setup`, and a step of `up`. What they look like is
//! `protocol::streams`' business; whether what exists will do, is decided here. Nothing that exists is changed, but for
//! size limits that are given anew; everything is compared before anything is created.

mod diff;
mod forming;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::{AccountErrorKind, ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Stream};
use faultline_protocol::batch;
use faultline_protocol::streams::{self, Provision};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
pub use forming::Asking;

use crate::error::Error;
use crate::nats_server::find::{OLDEST, Version};
use diff::Difference;

/// A command that only looks waits so long for a cluster that is forming.
pub const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// What may be asked of [`provision`]; what is left out stays as it is, or gets its default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetupOptions {
    pub replicas: Option<usize>,
    /// Size limits in bytes.
    pub jobs_max_bytes: Option<i64>,
    pub results_max_bytes: Option<i64>,
}

/// What [`provision`] did, by name.
#[derive(Debug, Clone, Default)]
pub struct Provisioned {
    pub created: Vec<String>,
    pub changed: Vec<String>,
    pub kept: Vec<String>,
}

/// Creates what is missing. Safe to repeat; refuses when something exists with another configuration.
pub async fn provision(nats: &Nats, options: SetupOptions) -> Result<Provisioned, Error> {
    let asking = Asking::of(nats, forming::LIMIT);
    check_server(&asking).await?;
    let replicas = match options.replicas {
        Some(replicas) => replicas,
        None => replicas_now(&asking).await?,
    };
    let defaults = Provision::default();
    let provision = Provision {
        replicas,
        jobs_max_bytes: options.jobs_max_bytes.unwrap_or(defaults.jobs_max_bytes),
        results_max_bytes: options.results_max_bytes.unwrap_or(defaults.results_max_bytes),
        created_ms: unix_ms(),
    };
    check_limits(&asking, options, provision).await?;
    let changes = Changes::make(&asking, provision, options).await?;
    changes.refuse_conflicts()?;
    changes.carry_out(&asking, provision).await
}

/// Makes consumers of JOBS that are missing, and returns their names. They hold no data: a new one delivers every job that JOBS still has.
pub async fn restore_consumers(nats: &Nats) -> Result<Vec<String>, Error> {
    let asking = Asking::of(nats, LOOK_LIMIT);
    let Some(jobs) = stream(&asking, streams::JOBS).await? else { return Ok(Vec::new()) };
    let provision = Provision { replicas: jobs.cached_info().config.num_replicas, ..Provision::default() };
    let mut changes = Changes::default();
    changes.look_at_consumers(&asking, Some(&jobs), provision).await?;
    changes.conflicts.clear();
    Ok(changes.carry_out(&asking, provision).await?.created)
}

/// RESULTS this small takes too few ends beside its open markers to be of use.
const LEAST_RESULTS_BYTES: i64 = 16 << 20;

/// Refuses limits under which jobs could be opened that can never end: each job in JOBS has an open marker in RESULTS, and needs room there for
/// its end. Only limits that are given are looked at.
async fn check_limits(asking: &Asking<'_>, options: SetupOptions, provision: Provision) -> Result<(), Error> {
    if options.jobs_max_bytes.is_none() && options.results_max_bytes.is_none() {
        return Ok(());
    }
    let now = async |name: &str, given: Option<i64>, default: i64| match given {
        Some(bytes) => Ok::<_, Error>(bytes),
        None => Ok(stream(asking, name).await?.map_or(default, |found| found.cached_info().config.max_bytes)),
    };
    let jobs = now(streams::JOBS, options.jobs_max_bytes, provision.jobs_max_bytes).await?;
    let results = now(streams::RESULTS, options.results_max_bytes, provision.results_max_bytes).await?;
    limits_problem(jobs, results).map_or(Ok(()), |problem| Err(Error::Invalid(problem)))
}

/// What is wrong with these limits; a stream without one holds 0 or fewer.
fn limits_problem(jobs: i64, results: i64) -> Option<String> {
    if results <= 0 {
        return None;
    }
    if results < LEAST_RESULTS_BYTES {
        return Some(format!(
            "--results-max-bytes: {results} is too small: a RESULTS full of open markers has no room for the ends of jobs, and then none can \
             end; give {LEAST_RESULTS_BYTES} or more"
        ));
    }
    let most = results / 2;
    if jobs <= 0 || jobs > most {
        let jobs_words = if jobs <= 0 { "without a limit".to_owned() } else { format!("of {jobs} bytes") };
        let remedy = match jobs.checked_mul(2).filter(|&needed| needed > 0) {
            Some(needed) => format!("give --results-max-bytes {needed} or more, or --jobs-max-bytes {most} or less"),
            None => format!("give --jobs-max-bytes {most} or less"),
        };
        return Some(format!(
            "--jobs-max-bytes and --results-max-bytes: a JOBS {jobs_words} holds more jobs than a RESULTS of {results} bytes can take the ends \
             of: an end carries what was submitted beside what came of it; {remedy}"
        ));
    }
    None
}

/// How many copies JOBS has; 1 when it does not exist.
async fn replicas_now(asking: &Asking<'_>) -> Result<usize, Error> {
    Ok(stream(asking, streams::JOBS).await?.map_or(1, |jobs| jobs.cached_info().config.num_replicas))
}

/// What there is, compared with what [`provision`] would make, by name.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    pub missing: Vec<String>,
    /// Each with what is different.
    pub conflicts: Vec<String>,
    pub as_wanted: usize,
}

/// Looks without changing anything.
pub async fn inspect(nats: &Nats) -> Result<Inspection, Error> {
    let asking = Asking::of(nats, LOOK_LIMIT);
    let provision = Provision { replicas: replicas_now(&asking).await?, ..Provision::default() };
    let changes = Changes::make(&asking, provision, SetupOptions::default()).await?;
    Ok(Inspection { missing: changes.missing(), conflicts: changes.conflict_lines(), as_wanted: changes.kept.len() })
}

async fn check_server(asking: &Asking<'_>) -> Result<(), Error> {
    let info = asking.nats.client.server_info();
    if let Some(version) = Version::parse(&info.version)
        && version < OLDEST
    {
        return Err(anyhow::anyhow!("the NATS server is {version}; Faultline needs {OLDEST} or newer: upgrade it").into());
    }
    if info.max_payload < batch::LEAST_PAYLOAD {
        return Err(anyhow::anyhow!(
            "the NATS server takes messages of at most {} bytes; Faultline needs {} or more: raise its max_payload",
            info.max_payload,
            batch::LEAST_PAYLOAD
        )
        .into());
    }
    account(asking).await.map(drop)
}

/// What JetStream says of this user's account; why, when it is not there.
pub async fn account(asking: &Asking<'_>) -> Result<Account, Error> {
    let asked = asking.ask("JetStream", || asking.nats.jetstream.query_account());
    asked.await.map_err(|error| match error.kind() {
        AccountErrorKind::JetStreamUnavailable => no_jetstream(),
        AccountErrorKind::JetStream(reason)
            if [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT].contains(&reason.error_code()) =>
        {
            no_jetstream()
        }
        AccountErrorKind::TimedOut => Error::Unreachable(
            "JetStream does not answer: this user may lack the right to ask (use the key of `admin`), or the server is overloaded".into(),
        ),
        AccountErrorKind::JetStream(_) | AccountErrorKind::Other => {
            Error::Failed(anyhow::Error::new(error).context("asking JetStream about the account"))
        }
    })
}

fn no_jetstream() -> Error {
    Error::Failed(anyhow::anyhow!(
        "JetStream is off on this NATS server or for this account: start it with `nats-server -js`, or add a `jetstream` block \
         (`faultline nats-config` writes a complete configuration)"
    ))
}

async fn stream(asking: &Asking<'_>, name: &str) -> Result<Option<Stream>, Error> {
    match asking.ask(&format!("the stream {name}"), || asking.nats.jetstream.get_stream(name)).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(anyhow::Error::new(error).context(format!("asking for the stream {name}")).into()),
        },
    }
}

fn consumer_label(config: &async_nats::jetstream::consumer::pull::Config) -> String {
    format!("consumer {}/{}", streams::JOBS, config.durable_name.as_deref().unwrap_or_default())
}

/// What is there and what is wanted, compared.
#[derive(Default)]
struct Changes {
    create_streams: Vec<Config>,
    /// With the new size limits.
    change_streams: Vec<Config>,
    create_buckets: Vec<async_nats::jetstream::kv::Config>,
    create_consumers: Vec<async_nats::jetstream::consumer::pull::Config>,
    kept: Vec<String>,
    /// Each with the name of what it belongs to.
    conflicts: Vec<(String, Vec<Difference>)>,
}

impl Changes {
    async fn make(asking: &Asking<'_>, provision: Provision, options: SetupOptions) -> Result<Self, Error> {
        let mut changes = Self::default();
        for wanted in streams::stream_configs(provision) {
            let resize = match wanted.name.as_str() {
                streams::JOBS => options.jobs_max_bytes,
                streams::RESULTS => options.results_max_bytes,
                _ => None,
            };
            match stream(asking, &wanted.name).await? {
                None => changes.create_streams.push(wanted),
                Some(found) => changes.compare_stream(&found.cached_info().config, &wanted, resize),
            }
        }
        for wanted in streams::bucket_configs(provision) {
            match stream(asking, &format!("KV_{}", wanted.bucket)).await? {
                None => changes.create_buckets.push(wanted),
                Some(found) => changes.record(&format!("bucket {}", wanted.bucket), diff::bucket(&found.cached_info().config, &wanted)),
            }
        }
        let jobs = stream(asking, streams::JOBS).await?;
        changes.look_at_consumers(asking, jobs.as_ref(), provision).await?;
        Ok(changes)
    }

    async fn look_at_consumers(&mut self, asking: &Asking<'_>, jobs: Option<&Stream>, provision: Provision) -> Result<(), Error> {
        for wanted in streams::queue_consumers(provision.replicas, streams::ACK_WAIT) {
            let name = wanted.durable_name.clone().unwrap_or_default();
            let label = consumer_label(&wanted);
            let Some(jobs) = jobs else {
                self.create_consumers.push(wanted);
                continue;
            };
            match asking.ask(&format!("the {label}"), || jobs.consumer_info(&name)).await {
                Ok(found) => self.record(&label, diff::consumer(&found.config, &wanted)),
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => self.create_consumers.push(wanted),
                Err(error) => return Err(anyhow::Error::new(error).context(format!("asking for the {label}")).into()),
            }
        }
        Ok(())
    }

    fn compare_stream(&mut self, found: &Config, wanted: &Config, resize: Option<i64>) {
        let label = format!("stream {}", wanted.name);
        let differences = diff::stream(found, wanted);
        match resize.filter(|&bytes| bytes != found.max_bytes && differences.is_empty()) {
            Some(max_bytes) => self.change_streams.push(Config { max_bytes, ..found.clone() }),
            None => self.record(&label, differences),
        }
    }

    fn record(&mut self, label: &str, differences: Vec<Difference>) {
        if differences.is_empty() {
            self.kept.push(label.to_owned());
        } else {
            self.conflicts.push((label.to_owned(), differences));
        }
    }

    fn conflict_lines(&self) -> Vec<String> {
        let lines = self.conflicts.iter().flat_map(|(label, differences)| differences.iter().map(move |one| format!("{label}: {one}")));
        lines.collect()
    }

    fn missing(&self) -> Vec<String> {
        let streams = self.create_streams.iter().map(|config| format!("stream {}", config.name));
        let buckets = self.create_buckets.iter().map(|config| format!("bucket {}", config.bucket));
        let consumers = self.create_consumers.iter().map(consumer_label);
        streams.chain(buckets).chain(consumers).collect()
    }

    fn refuse_conflicts(&self) -> Result<(), Error> {
        if self.conflicts.is_empty() {
            return Ok(());
        }
        let mut text = String::from("nothing was changed, because this exists already with another configuration:");
        for line in self.conflict_lines() {
            text.push_str(&format!("\n  {line}"));
        }
        text.push_str(
            "\nRemove it (`nats stream rm NAME`, which loses its messages) or change it (`nats stream edit NAME`), or use another account.",
        );
        if self.conflicts.iter().flat_map(|(_, differences)| differences).any(|difference| difference.field == "num_replicas") {
            text.push_str("\nFor another number of copies give --replicas.");
        }
        Err(anyhow::anyhow!(text).into())
    }

    async fn carry_out(self, asking: &Asking<'_>, provision: Provision) -> Result<Provisioned, Error> {
        let mut done = Provisioned { kept: self.kept, ..Provisioned::default() };
        let jetstream = &asking.nats.jetstream;
        let replicas = if provision.replicas > 1 { " (3 copies need a cluster of three servers)" } else { "" };
        for config in self.create_streams {
            let label = format!("stream {}", config.name);
            asking
                .ask(&format!("a place for the {label}"), || jetstream.create_stream(config.clone()))
                .await
                .with_context(|| format!("creating the {label}{replicas}"))?;
            done.created.push(label);
        }
        for config in self.change_streams {
            let label = format!("stream {}", config.name);
            asking
                .ask(&format!("the {label}"), || jetstream.update_stream(&config))
                .await
                .with_context(|| format!("changing the {label}"))?;
            done.changed.push(label);
        }
        for config in self.create_buckets {
            let label = format!("bucket {}", config.bucket);
            let stream = streams::bucket_stream(&config, provision.created_ms);
            asking
                .ask(&format!("a place for the {label}"), || jetstream.create_stream(stream.clone()))
                .await
                .with_context(|| format!("creating the {label}{replicas}"))?;
            done.created.push(label);
        }
        for config in self.create_consumers {
            let label = consumer_label(&config);
            asking
                .ask(&format!("a place for the {label}"), || jetstream.create_consumer_on_stream(config.clone(), streams::JOBS))
                .await
                .with_context(|| format!("creating the {label}"))?;
            done.created.push(label);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_under_which_jobs_could_never_end_are_refused_with_the_field_and_the_way_out() {
        let defaults = Provision::default();
        assert_eq!(limits_problem(defaults.jobs_max_bytes, defaults.results_max_bytes), None);
        assert_eq!(limits_problem(65_536, LEAST_RESULTS_BYTES), None);
        assert_eq!(limits_problem(1 << 30, -1), None);
        let small = limits_problem(65_536, 1_000_000).expect("3,205 jobs could not end in it");
        assert!(small.starts_with("--results-max-bytes: 1000000 is too small") && small.ends_with("give 16777216 or more"), "{small}");
        for jobs in [1 << 31, 1 << 30, (1 << 29) + 1, i64::MAX, -1] {
            let narrow = limits_problem(jobs, 1 << 30).expect("more jobs than ends");
            assert!(narrow.contains("--jobs-max-bytes and --results-max-bytes"), "{narrow}");
            assert!(narrow.contains("--jobs-max-bytes 536870912 or less"), "{narrow}");
        }
        assert_eq!(limits_problem(1 << 29, 1 << 30), None, "the way out that it names");
        let both = limits_problem(LEAST_RESULTS_BYTES, LEAST_RESULTS_BYTES).expect("running jobs could not end");
        assert!(both.contains("give --results-max-bytes 33554432 or more"), "{both}");
    }
}
