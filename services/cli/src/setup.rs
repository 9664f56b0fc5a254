//! Provisions streams, consumers and buckets: `faultline setup`, and a step of `up`. What they look like is
//! `protocol::streams`' business; whether what exists will do, is decided here. Nothing that exists is changed, but for
//! size limits that are given anew; everything is compared before anything is created.

mod diff;

use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::{AccountErrorKind, ConsumerInfoErrorKind, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Stream};
use faultline_protocol::streams::{self, Provision};
use faultline_runtime::connect::Nats;
use tokio::time::Instant;

use crate::args::SetupFlags;
use crate::exit::Failure;
use crate::nats_server::find::{OLDEST, Version};
use crate::nats_server::permissions::ADMIN;
use crate::session::Session;
use diff::Difference;

/// Servers that start together agree on a leader within 3 to 10 s; a server that is missing for good is an error after this.
const FORMING_LIMIT: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What may be asked of [`provision`]; what is left out stays as it is, or gets its default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SetupOptions {
    pub(crate) replicas: Option<usize>,
    /// Size limits in bytes.
    pub(crate) jobs_max_bytes: Option<i64>,
    pub(crate) results_max_bytes: Option<i64>,
}

/// What [`provision`] did, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provisioned {
    pub(crate) created: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) kept: Vec<String>,
}

/// `faultline setup`.
pub(crate) async fn command(session: &Session, flags: &SetupFlags) -> Result<(), Failure> {
    let nats = connect_within(session, Duration::from_secs(flags.wait)).await?;
    let options = SetupOptions {
        replicas: flags.replicas.as_deref().and_then(|text| text.parse().ok()),
        jobs_max_bytes: flags.jobs_max_bytes,
        results_max_bytes: flags.results_max_bytes,
    };
    let done = provision(&nats, options).await?;
    for (what, names) in [("created", &done.created), ("changed", &done.changed), ("already there", &done.kept)] {
        if !names.is_empty() {
            println!("{what}: {}", names.join(", "));
        }
    }
    nats.close().await;
    Ok(())
}

async fn connect_within(session: &Session, patience: Duration) -> Result<Nats, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match session.connect_as(ADMIN).await {
            Err(Failure::Unreachable(_)) if Instant::now() < deadline => tokio::time::sleep(ASK_EVERY).await,
            outcome => return outcome,
        }
    }
}

/// Creates what is missing. Safe to repeat; refuses when something exists with another configuration.
pub(crate) async fn provision(nats: &Nats, options: SetupOptions) -> Result<Provisioned, Failure> {
    check_server(nats).await?;
    let replicas = match options.replicas {
        Some(replicas) => replicas,
        None => replicas_now(nats).await?,
    };
    let defaults = Provision::default();
    let provision = Provision {
        replicas,
        jobs_max_bytes: options.jobs_max_bytes.unwrap_or(defaults.jobs_max_bytes),
        results_max_bytes: options.results_max_bytes.unwrap_or(defaults.results_max_bytes),
    };
    let plan = Plan::make(nats, provision, options).await?;
    plan.refuse_conflicts()?;
    plan.carry_out(nats, provision).await
}

/// How many copies JOBS has; 1 when it does not exist.
async fn replicas_now(nats: &Nats) -> Result<usize, Failure> {
    Ok(stream(nats, streams::JOBS).await?.map_or(1, |jobs| jobs.cached_info().config.num_replicas))
}

/// What there is, compared with what [`provision`] would make, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inspection {
    pub(crate) missing: Vec<String>,
    /// Each with what is different.
    pub(crate) conflicts: Vec<String>,
    pub(crate) as_wanted: usize,
}

/// Looks without changing anything.
pub(crate) async fn inspect(nats: &Nats) -> Result<Inspection, Failure> {
    let provision = Provision { replicas: replicas_now(nats).await?, ..Provision::default() };
    let plan = Plan::make(nats, provision, SetupOptions::default()).await?;
    Ok(Inspection { missing: plan.missing(), conflicts: plan.conflict_lines(), as_wanted: plan.kept.len() })
}

async fn check_server(nats: &Nats) -> Result<(), Failure> {
    let info = nats.client.server_info();
    if let Some(version) = Version::parse(&info.version)
        && version < OLDEST
    {
        return Err(anyhow::anyhow!("the NATS server is {version}; Faultline needs {OLDEST} or newer: upgrade it").into());
    }
    account(nats).await.map(drop)
}

/// What JetStream says of this user's account; why, when it is not there.
pub(crate) async fn account(nats: &Nats) -> Result<Account, Failure> {
    let asked = when_formed(
        nats,
        || nats.jetstream.query_account(),
        |error| match error.kind() {
            AccountErrorKind::TimedOut => true,
            AccountErrorKind::JetStream(reason) => reason.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE,
            AccountErrorKind::JetStreamUnavailable | AccountErrorKind::Other => false,
        },
    );
    asked.await.map_err(|error| match error.kind() {
        AccountErrorKind::JetStreamUnavailable => no_jetstream(),
        AccountErrorKind::JetStream(reason)
            if [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT].contains(&reason.error_code()) =>
        {
            no_jetstream()
        }
        AccountErrorKind::TimedOut => Failure::Unreachable(
            "JetStream does not answer: this user may lack the right to ask (use the key of `admin`), or the server is overloaded".into(),
        ),
        AccountErrorKind::JetStream(_) | AccountErrorKind::Other => {
            Failure::Failed(anyhow::Error::new(error).context("asking JetStream about the account"))
        }
    })
}

/// Asks until the answer is another than that the servers of a cluster have not found one another yet. One server answers at once.
async fn when_formed<T, E, F>(nats: &Nats, mut ask: impl FnMut() -> F, is_forming: impl Fn(&E) -> bool) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + FORMING_LIMIT;
    loop {
        match ask().await {
            Err(error) if nats.client.server_info().cluster.is_some() && is_forming(&error) && Instant::now() < deadline => {
                tracing::debug!("the NATS servers have not agreed on a leader yet");
                tokio::time::sleep(ASK_EVERY).await;
            }
            answer => return answer,
        }
    }
}

fn no_jetstream() -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "JetStream is off on this NATS server or for this account: start it with `nats-server -js`, or add a `jetstream` block \
         (`faultline nats-config` writes a complete configuration)"
    ))
}

async fn stream(nats: &Nats, name: &str) -> Result<Option<Stream>, Failure> {
    match nats.jetstream.get_stream(name).await {
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
struct Plan {
    create_streams: Vec<Config>,
    /// With the new size limits.
    change_streams: Vec<Config>,
    create_buckets: Vec<async_nats::jetstream::kv::Config>,
    create_consumers: Vec<async_nats::jetstream::consumer::pull::Config>,
    kept: Vec<String>,
    /// Each with the name of what it belongs to.
    conflicts: Vec<(String, Vec<Difference>)>,
}

impl Plan {
    async fn make(nats: &Nats, provision: Provision, options: SetupOptions) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for wanted in streams::stream_configs(provision) {
            let resize = match wanted.name.as_str() {
                streams::JOBS => options.jobs_max_bytes,
                streams::RESULTS => options.results_max_bytes,
                _ => None,
            };
            match stream(nats, &wanted.name).await? {
                None => plan.create_streams.push(wanted),
                Some(found) => plan.compare_stream(&found.cached_info().config, &wanted, resize),
            }
        }
        for wanted in streams::bucket_configs(provision) {
            match stream(nats, &format!("KV_{}", wanted.bucket)).await? {
                None => plan.create_buckets.push(wanted),
                Some(found) => plan.record(&format!("bucket {}", wanted.bucket), diff::bucket(&found.cached_info().config, &wanted)),
            }
        }
        let jobs = stream(nats, streams::JOBS).await?;
        for wanted in streams::queue_consumers(provision.replicas, streams::ACK_WAIT) {
            let name = wanted.durable_name.clone().unwrap_or_default();
            let found = match &jobs {
                Some(jobs) => jobs.consumer_info(&name).await,
                None => {
                    plan.create_consumers.push(wanted);
                    continue;
                }
            };
            match found {
                Ok(found) => plan.record(&format!("consumer {}/{name}", streams::JOBS), diff::consumer(&found.config, &wanted)),
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => plan.create_consumers.push(wanted),
                Err(error) => return Err(anyhow::Error::new(error).context(format!("asking for the consumer {name}")).into()),
            }
        }
        Ok(plan)
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

    fn refuse_conflicts(&self) -> Result<(), Failure> {
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

    async fn carry_out(self, nats: &Nats, provision: Provision) -> Result<Provisioned, Failure> {
        let mut done = Provisioned { kept: self.kept, ..Provisioned::default() };
        let replicas = if provision.replicas > 1 { " (3 copies need a cluster of three servers)" } else { "" };
        for config in self.create_streams {
            let label = format!("stream {}", config.name);
            let created = when_formed(
                nats,
                || nats.jetstream.create_stream(config.clone()),
                |error| match error.kind() {
                    CreateStreamErrorKind::TimedOut => true,
                    CreateStreamErrorKind::JetStream(reason) => {
                        [ErrorCode::CLUSTER_NO_PEERS, ErrorCode::CLUSTER_NOT_AVAILABLE].contains(&reason.error_code())
                    }
                    _ => false,
                },
            );
            created.await.with_context(|| format!("creating the {label}{replicas}"))?;
            done.created.push(label);
        }
        for config in self.change_streams {
            let label = format!("stream {}", config.name);
            nats.jetstream.update_stream(&config).await.with_context(|| format!("changing the {label}"))?;
            done.changed.push(label);
        }
        for config in self.create_buckets {
            let label = format!("bucket {}", config.bucket);
            nats.jetstream.create_key_value(config).await.with_context(|| format!("creating the {label}{replicas}"))?;
            done.created.push(label);
        }
        for config in self.create_consumers {
            let label = consumer_label(&config);
            nats.jetstream.create_consumer_on_stream(config, streams::JOBS).await.with_context(|| format!("creating the {label}"))?;
            done.created.push(label);
        }
        Ok(done)
    }
}
