//! Creating a JOBS with packs: its generation is drawn once, when the stream is created, and each stored subject has it.

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use faultline_engine::ends::Gen;
use faultline_protocol::streams::packs::{consumers, generation_of, jobs};
use faultline_protocol::streams::{JOBS, Provision};

use crate::clock::random_u128;

/// Why there is no JOBS with packs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobsError {
    #[error(
        "the stream {JOBS} has jobs of an earlier version: let them end under that version, then delete the stream and run `faultline setup`"
    )]
    Former,
    #[error(
        "the stream {JOBS} was deleted a moment ago, and the server gave {messages} of its messages to the new one, which never delivers them: delete it again, wait a second, and run `faultline setup`"
    )]
    Remains { messages: u64 },
    #[error("the stream {JOBS}: {0}")]
    Failed(String),
}

fn failed(error: impl std::fmt::Display) -> JobsError {
    JobsError::Failed(error.to_string())
}

/// Makes sure of JOBS and of its consumers, and returns its generation. A JOBS that is there keeps its own: drawn for each creation, it
/// tells a stream that gives the same sequences again from the former one.
pub async fn create_jobs(jetstream: &jetstream::Context, provision: Provision, ack_wait: Duration) -> Result<Gen, JobsError> {
    let stream = loop {
        match jetstream.get_stream(JOBS).await {
            Ok(stream) => break stream,
            Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND) => {
            }
            Err(error) => return Err(failed(error)),
        }
        match jetstream.create_stream(jobs(provision, Gen(random_u128() as u64))).await {
            // nats-server 2.15.1 takes back the files of a stream that was deleted within the last milliseconds. Their subjects have its generation.
            Ok(stream) if stream.cached_info().state.messages > 0 => {
                return Err(JobsError::Remains { messages: stream.cached_info().state.messages });
            }
            Ok(stream) => break stream,
            // Somebody else came first: theirs is the one.
            Err(error) if matches!(error.kind(), CreateStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NAME_EXIST) =>
                {}
            Err(error) => return Err(failed(error)),
        }
    };
    let r#gen = generation_of(&stream.cached_info().config).ok_or(JobsError::Former)?;
    create_consumers(&stream, provision, r#gen, ack_wait).await?;
    Ok(r#gen)
}

async fn create_consumers(stream: &Stream, provision: Provision, r#gen: Gen, ack_wait: Duration) -> Result<(), JobsError> {
    for config in consumers(provision.replicas, r#gen, ack_wait) {
        stream.create_consumer(config).await.map_err(failed)?;
    }
    Ok(())
}
