//! Where the dashboard listens and who may talk to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::owner;

/// The port when none is given.
pub const DEFAULT_PORT: u16 = 8080;
const MIN_TOKEN_CHARS: usize = 16;
const MAX_TOKEN_CHARS: usize = 4096;

/// The section `[dashboard]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// 0 lets the system choose; the log says which.
    pub port: u16,
    pub bind: IpAddr,
    /// Holds the token that requests must carry, or that one signs in with on the page. Without it only loopback addresses are accepted.
    pub token_file: Option<PathBuf>,
    /// The same for a dashboard that lets in the user who runs it without a token: holds the token for all others on this machine.
    pub local_token_file: Option<PathBuf>,
    /// Where a trace is looked at: a URL with `{trace_id}` in it. The page of a job links there.
    pub trace_url: Option<String>,
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The user who runs the dashboard, and root, need no token on a connection within this machine.
    pub(crate) owner: bool,
    /// All others need it; with none they are refused.
    pub(crate) token: Option<Token>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { port: DEFAULT_PORT, bind: IpAddr::V4(Ipv4Addr::LOCALHOST), token_file: None, local_token_file: None, trace_url: None }
    }
}

/// Stands in [`Settings::trace_url`] for the id of a trace.
pub(crate) const TRACE_ID_PLACE: &str = "{trace_id}";

/// Why the dashboard does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("port {port} on {bind} is in use: stop what listens there, or choose another with --port")]
    PortInUse { bind: IpAddr, port: u16 },
    #[error("port {port} on {bind} needs more rights than this process has: choose one above 1023 with --port")]
    PortForbidden { bind: IpAddr, port: u16 },
    #[error("cannot listen on {bind}, port {port}: {reason}. Choose an address of this machine with --bind")]
    Listen { bind: IpAddr, port: u16, reason: String },
    #[error("--bind {0} can be reached from other machines: give --token-file too, or stay on 127.0.0.1")]
    OpenToOthers(IpAddr),
    #[error("this system does not tell the dashboard which user connects to it: give --token-file")]
    OwnerUnknown,
    #[error("invalid --trace-url {0}: give a URL that begins with http:// or https:// and has {PLACE} in it", PLACE = TRACE_ID_PLACE)]
    TraceUrl(String),
    #[error("the token file {path} {problem}")]
    Token { path: PathBuf, problem: String },
}

/// The secret that requests carry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Whether `given` is the token, in a time that does not depend on how much of it is right.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < MIN_TOKEN_CHARS || text.len() > MAX_TOKEN_CHARS {
            return Err(format!("must hold {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must hold printable ASCII without spaces, in one line".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Settings {
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// Refuses settings with which no one could be let in, or everyone would be.
    pub fn check(&self) -> Result<(), StartError> {
        self.checked_trace_url()?;
        self.admission().map(drop)
    }

    /// Links of the page must lead to the web, not run a script.
    pub(crate) fn checked_trace_url(&self) -> Result<Option<&str>, StartError> {
        let Some(url) = &self.trace_url else { return Ok(None) };
        let leads_to_the_web = url.starts_with("http://") || url.starts_with("https://");
        if !leads_to_the_web || !url.contains(TRACE_ID_PLACE) {
            return Err(StartError::TraceUrl(url.clone()));
        }
        Ok(Some(url))
    }

    /// Reads the token and refuses to be open to other machines, or to other users of this one, without one.
    pub(crate) fn admission(&self) -> Result<Admission, StartError> {
        self.admission_where(owner::IS_KNOWN)
    }

    fn admission_where(&self, owner_is_known: bool) -> Result<Admission, StartError> {
        if let Some(path) = &self.token_file {
            return Ok(Admission { owner: false, token: Some(read_token(path)?) });
        }
        if !self.bind.is_loopback() {
            return Err(StartError::OpenToOthers(self.bind));
        }
        let token = self.local_token_file.as_deref().map(read_token).transpose()?;
        if token.is_none() && !owner_is_known {
            return Err(StartError::OwnerUnknown);
        }
        Ok(Admission { owner: owner_is_known, token })
    }
}

fn read_token(path: &Path) -> Result<Token, StartError> {
    let fail = |problem: String| StartError::Token { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    Token::new(&text).map_err(fail)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn other_machines_need_a_token() {
        let open = Settings { bind: "0.0.0.0".parse().unwrap(), ..Settings::default() };
        assert!(matches!(open.admission(), Err(StartError::OpenToOthers(_))));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "a-token-of-some-length").unwrap();
        let local = Settings { local_token_file: Some(file.path().to_owned()), ..open.clone() };
        assert!(matches!(local.admission(), Err(StartError::OpenToOthers(_))), "that one is for this machine");
        let guarded = Settings { token_file: Some(file.path().to_owned()), ..open }.admission().unwrap();
        assert!(!guarded.owner && guarded.token.unwrap().matches(b"a-token-of-some-length"));
    }

    #[test]
    fn on_loopback_the_owner_is_let_in_where_the_system_names_it() {
        let alone = Settings::default();
        assert_eq!(alone.admission_where(true).unwrap(), Admission { owner: true, token: None });
        assert!(matches!(alone.admission_where(false), Err(StartError::OwnerUnknown)));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "a-token-of-some-length").unwrap();
        let shared = Settings { local_token_file: Some(file.path().to_owned()), ..Settings::default() };
        for known in [true, false] {
            let admission = shared.admission_where(known).unwrap();
            assert!(admission.owner == known && admission.token.is_some());
        }
        let strict = Settings { token_file: shared.local_token_file.clone(), ..Settings::default() };
        assert!(!strict.admission_where(true).unwrap().owner, "who names a token wants it from everyone");
    }

    #[test]
    fn a_trace_url_is_of_the_web_and_has_a_place_for_the_id() {
        let with = |url: &str| Settings { trace_url: Some(url.into()), ..Settings::default() };
        let jaeger = with("http://127.0.0.1:16686/trace/{trace_id}");
        assert_eq!(jaeger.checked_trace_url().unwrap(), jaeger.trace_url.as_deref());
        for bad in ["javascript:alert(1)//{trace_id}", "http://127.0.0.1:16686/trace/", ""] {
            assert!(with(bad).check().unwrap_err().to_string().contains("{trace_id}"), "{bad}");
        }
        assert_eq!(Settings::default().checked_trace_url().unwrap(), None);
    }

    #[test]
    fn a_bad_token_file_is_named() {
        let missing = Settings { token_file: Some("no/such/file".into()), ..Settings::default() };
        assert!(missing.admission().unwrap_err().to_string().contains("no/such/file"));
        assert!(Token::new("short").unwrap_err().contains("16"));
        assert!(Token::new("sixteen characters with spaces").is_err());
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.matches(b"0123456789abcdef"));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdef0", b"0123456789abcdeF", b"0123456789abcdef0123456789abcdef"] {
            assert!(!token.matches(wrong));
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_port_in_use_names_the_flag() {
        let error = StartError::PortInUse { bind: "127.0.0.1".parse().unwrap(), port: 8080 };
        assert!(error.to_string().contains("8080") && error.to_string().contains("--port"));
    }
}
