//! Asking for a stream as it is now.

use faultline_engine::ledger::Anchor;

use crate::clock_check::stored_ms;
use crate::connection::Connection;
pub use crate::look::Look;

/// Asks the server that leads the stream.
pub async fn look_at(connection: &Connection, stream: &str) -> Result<Look, String> {
    connection.look(stream).await
}

/// Whether another message stands where the end that was counted last stood. That it is missing says nothing: it may have expired.
pub async fn is_rewritten(connection: &Connection, anchor: Option<Anchor>, stream: &str, now: &Look) -> Result<bool, String> {
    let Some(Anchor { seq, stored_at_ms }) = anchor.filter(|anchor| anchor.seq <= now.sight.last_seq) else { return Ok(false) };
    Ok(connection.stored(stream, seq).await?.is_some_and(|message| stored_ms(message.time) != stored_at_ms))
}
