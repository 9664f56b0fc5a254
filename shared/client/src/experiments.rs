//! What is asked of the `faultline up` that carries out experiments and kills processes.

use std::time::Duration;

use faultline_protocol::codec::Message;
use faultline_protocol::messages::{
    ChaosAbort, ChaosList, ChaosListQuery, ChaosReply, ChaosRequest, KillReply, KillRequest, ProcessesQuery, ProcessesReply,
};
use faultline_protocol::subjects;
use faultline_runtime::connect::{Nats, RequestError};

use crate::ClientError;

/// The `up` of a cluster, over NATS.
#[derive(Debug, Clone, Copy)]
pub struct Up<'a> {
    nats: &'a Nats,
    /// How long one answer may take.
    limit: Duration,
}

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub run: String,
    pub seed: u64,
}

impl<'a> Up<'a> {
    pub fn of(nats: &'a Nats, limit: Duration) -> Self {
        Self { nats, limit }
    }

    /// The kinds of experiments, the one that runs, and the newest that have ended.
    pub async fn list(self, limit: u32) -> Result<ChaosList, ClientError> {
        self.ask(subjects::CHAOS_LIST, &ChaosListQuery { limit }).await
    }

    /// Begins an experiment.
    pub async fn run(self, request: &ChaosRequest) -> Result<Started, ClientError> {
        match self.ask(subjects::CHAOS_RUN, request).await? {
            ChaosReply::Started { run, seed } => Ok(Started { run, seed }),
            ChaosReply::Refused { reason } => Err(ClientError::RefusedByUp(reason)),
            ChaosReply::Aborting { .. } => Err(ClientError::UnexpectedFromUp),
        }
    }

    /// Puts everything right and ends the experiment; returns its name.
    pub async fn abort(self, order: &ChaosAbort) -> Result<String, ClientError> {
        match self.ask(subjects::CHAOS_ABORT, order).await? {
            ChaosReply::Aborting { run } => Ok(run),
            ChaosReply::Refused { reason } => Err(ClientError::RefusedByUp(reason)),
            ChaosReply::Started { .. } => Err(ClientError::UnexpectedFromUp),
        }
    }

    /// Kills one process, now; answered once it has happened.
    pub async fn kill(self, request: &KillRequest) -> Result<KillReply, ClientError> {
        self.ask(subjects::CHAOS_KILL, request).await
    }

    /// Its processes, and the last lines of their logs.
    pub async fn processes(self, query: &ProcessesQuery) -> Result<ProcessesReply, ClientError> {
        self.ask(subjects::UP_PROCESSES, query).await
    }

    async fn ask<Q: Message, A: Message>(self, subject: &'static str, question: &Q) -> Result<A, ClientError> {
        self.nats.request(subject, question, self.limit).await.map_err(|error| match error {
            _ if !self.nats.is_connected() => ClientError::Disconnected,
            RequestError::NoResponders(_) => ClientError::NoUp { reason: error.to_string() },
            RequestError::Timeout(_) => ClientError::UpSilent { reason: error.to_string() },
            RequestError::Decode { .. } | RequestError::Other { .. } => ClientError::Failed(error.to_string()),
        })
    }
}
