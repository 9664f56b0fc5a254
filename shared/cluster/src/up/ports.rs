//! Whether a port on the loopback is free, asked before anything is started.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::error::Error;

const ASK_EVERY: Duration = Duration::from_millis(100);

/// A port that will be listened on: what for, and the flag that changes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) purpose: &'static str,
    pub(crate) flag: &'static str,
}

impl Port {
    fn check(self) -> Result<(), (ErrorKind, Error)> {
        let Self { number, purpose, flag } = self;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err((
                error.kind(),
                Error::Failed(anyhow::anyhow!(
                    "port {number} for {purpose} is in use by another program: stop that, or choose another port with {flag}"
                )),
            )),
            Err(error) => Err((
                error.kind(),
                Error::Failed(anyhow::anyhow!("port {number} for {purpose} cannot be used ({error}): choose another with {flag}")),
            )),
        }
    }
}

/// Checks all ports. A port in use is given `patience`: after a kill -9 of `up` its children need a moment to notice.
pub(crate) async fn check_all(ports: &[Port], patience: Duration) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + patience;
    for port in ports {
        while let Err((kind, failure)) = port.check() {
            if kind != ErrorKind::AddrInUse || tokio::time::Instant::now() >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_flag() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = Port { number: holder.local_addr().unwrap().port(), purpose: "the dashboard", flag: "--dashboard-port" };
        let text = check_all(&[port], Duration::ZERO).await.unwrap_err().to_string();
        assert!(text.contains(&port.number.to_string()) && text.contains("--dashboard-port"), "{text}");
        drop(holder);
        assert!(check_all(&[port], Duration::ZERO).await.is_ok());
    }
}
