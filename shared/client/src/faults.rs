//! Orders to break a simulated node, or to mend it. The worker that hosts the node obeys and writes what it did into the history.

use std::ops::ControlFlow;
use std::time::Duration;

use faultline_engine::fault::FaultWish;
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, FaultOrder, NodeRegistration, Ping, Pong};
use faultline_protocol::streams::{self, KV_NODES};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_protocol::views::FaultView;
use faultline_runtime::clock;
use faultline_runtime::connect::{Nats, RequestError, kv_get};
use faultline_runtime::read::{From, Reader};

use crate::ClientError;

const PONG_LIMIT: Duration = Duration::from_secs(2);
/// A worker that lives writes within this time what it did.
pub const OUTCOME_WITHIN: Duration = Duration::from_millis(1500);

/// How a node is registered.
pub async fn registration(nats: &Nats, node: &str) -> Result<NodeRegistration, ClientError> {
    let store = nats.bucket(KV_NODES).await?;
    kv_get(&store, node).await?.ok_or_else(|| ClientError::UnknownNode(node.to_owned()))
}

/// Orders it of the worker that hosts the node, and waits for what comes of it.
pub async fn order(nats: &Nats, node: &str, wish: &FaultWish, by: &str) -> Result<FaultView, ClientError> {
    let order = FaultOrder::checked(node, wish, by)?;
    let spec = registration(nats, node).await?.spec;
    wish.check_gpu(node, spec.gpus.len())?;
    let history = nats.jetstream.get_stream(streams::EVENTS).await;
    let next = history.map(|history| history.cached_info().state.last_sequence + 1);
    hand_over(nats, &spec.worker, &order).await?;
    let outcome = match next {
        Ok(next) => outcome(nats, &order, next).await,
        Err(_) => None,
    };
    Ok(FaultView::new(&order, &spec.worker, outcome))
}

/// Hands an order to a worker that answers. The order itself is a plain publish, which may go unheard: so the worker is pinged first.
pub async fn hand_over(nats: &Nats, worker: &str, order: &FaultOrder) -> Result<(), ClientError> {
    let ping = Ping { at_ms: clock::unix_ms() };
    let pong: Result<Pong, _> = nats.request(subjects::ctl(worker, ControlVerb::Ping), &ping, PONG_LIMIT).await;
    match pong {
        Ok(_) => {}
        Err(RequestError::NoResponders(_) | RequestError::Timeout(_)) => {
            return Err(ClientError::WorkerSilent { worker: worker.to_owned(), node: order.node.clone() });
        }
        Err(error) => return Err(ClientError::Failed(error.to_string())),
    }
    send(nats, worker, order).await?;
    nats.client.flush().await.map_err(|error| ClientError::Failed(format!("NATS does not answer: {error}")))
}

/// The same to a worker that need not hear it.
pub async fn send(nats: &Nats, worker: &str, order: &FaultOrder) -> Result<(), ClientError> {
    let sent = nats.publish(subjects::ctl(worker, ControlVerb::Fault), order).await;
    sent.map_err(|error| ClientError::Failed(error.to_string()))
}

/// What the worker did, by the history from there on: the order itself is not answered.
async fn outcome(nats: &Nats, order: &FaultOrder, from_seq: u64) -> Option<String> {
    let mut reader = Reader::new(nats, streams::EVENTS, From::Seq(from_seq)).filters(vec![subjects::fault_event(&order.node)]);
    let mut outcome = None;
    let read = reader.follow(OUTCOME_WITHIN, |row| {
        let batch = codec::decode::<EventBatch>(Some(&row.headers), &row.body);
        let told = batch.ok().and_then(|batch| batch.events.into_iter().find(|event| order.is_answered_by(event)));
        outcome = told.map(|event| event.detail);
        if outcome.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Err(error) = read.await {
        tracing::debug!(%error, "what came of the order cannot be read");
    }
    outcome
}
