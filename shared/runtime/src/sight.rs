//! Asking for a stream as it is now.

use crate::connection::Connection;
pub use crate::look::Look;

/// Asks the server that leads the stream.
pub async fn look_at(connection: &Connection, stream: &str) -> Result<Look, String> {
    connection.look(stream).await
}
