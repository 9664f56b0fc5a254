//! Where the dashboard listens and who may talk to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

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
}

impl Default for Settings {
    fn default() -> Self {
        Self { port: DEFAULT_PORT, bind: IpAddr::V4(Ipv4Addr::LOCALHOST), token_file: None }
    }
}

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

    /// Reads the token and refuses to be open to other machines without one.
    pub fn token(&self) -> Result<Option<Token>, StartError> {
        match &self.token_file {
            Some(path) => read_token(path).map(Some),
            None if self.bind.is_loopback() => Ok(None),
            None => Err(StartError::OpenToOthers(self.bind)),
        }
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
        assert!(matches!(open.token(), Err(StartError::OpenToOthers(_))));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "a-token-of-some-length").unwrap();
        let guarded = Settings { token_file: Some(file.path().to_owned()), ..open };
        assert!(guarded.token().unwrap().unwrap().matches(b"a-token-of-some-length"));
        assert_eq!(Settings::default().token().unwrap(), None);
    }

    #[test]
    fn a_bad_token_file_is_named() {
        let missing = Settings { token_file: Some("no/such/file".into()), ..Settings::default() };
        assert!(missing.token().unwrap_err().to_string().contains("no/such/file"));
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
