//! How much of anything the service takes at once from outside. Sizes of what it keeps stand where it is kept.

use std::time::Duration;

/// Connections at once, and of one address. WebSockets and event streams among them have a limit of their own.
pub(crate) const MAX_CONNECTIONS: usize = 512;
pub(crate) const MAX_CONNECTIONS_EACH: usize = 128;
/// Requests that may be answered at once.
pub(crate) const MAX_REQUESTS: usize = 256;
/// Requests of one address at once and a second. A page asks about five times a second.
pub(crate) const REQUEST_BURST: u32 = 600;
pub(crate) const REQUESTS_PER_S: f64 = 100.0;
/// A request that takes longer is given up; submitting 10,000 jobs takes a few seconds.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a request's line and headers. A page may ask for 200 nodes by name.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a request's body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// WebSockets and event streams that may be open at once.
pub(crate) const MAX_STREAMS: usize = 64;
/// Bytes of a WebSocket message from a client. Clients have nothing to say; control frames are small.
pub(crate) const MAX_INCOMING_BYTES: usize = 4096;
/// Wrong tokens of one address at once and a second.
pub(crate) const GUESS_BURST: u32 = 5;
pub(crate) const GUESSES_PER_S: f64 = 0.1;
/// Sessions that are signed in. Of more the oldest ends.
pub(crate) const MAX_SESSIONS: usize = 64;
