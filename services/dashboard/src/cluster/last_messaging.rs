//! The newest figures of JetStream, kept for a moment, so that many pages ask the server no more often than one.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{Cluster, ClusterError, Messaging};

/// The same answer serves all who ask within this time.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// While the server does not answer, older figures are shown for so long.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long one waits for the server.
const ASK_LIMIT: Duration = Duration::from_secs(8);

/// The newest answer, and when it came. Locked while the server is asked: other requests wait for the same answer.
#[derive(Debug, Default)]
pub(crate) struct LastMessaging(Mutex<Option<(Messaging, Instant)>>);

impl LastMessaging {
    /// The figures of at most a second ago; older ones, which say why, while the server does not answer.
    pub(crate) async fn read(&self, cluster: &dyn Cluster) -> Result<Messaging, ClusterError> {
        let mut last = self.0.lock().await;
        if let Some((answer, _)) = last.as_ref().filter(|(_, at)| at.elapsed() < FRESH_FOR) {
            return Ok(answer.clone());
        }
        let late = || ClusterError::Failed(format!("JetStream did not answer within {} s", ASK_LIMIT.as_secs()));
        let asked = timeout(ASK_LIMIT, cluster.messaging()).await.unwrap_or_else(|_| Err(late()));
        match (asked, last.as_ref().filter(|(_, at)| at.elapsed() < KEPT_FOR)) {
            (Ok(answer), _) => {
                *last = Some((answer.clone(), Instant::now()));
                Ok(answer)
            }
            (Err(error), Some((answer, _))) => Ok(Messaging { stale_reason: Some(error.to_string()), ..answer.clone() }),
            (Err(error), None) => Err(error),
        }
    }
}
