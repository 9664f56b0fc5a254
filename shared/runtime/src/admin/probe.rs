//! Asks a process of this machine whether it is ready: what a container's health check runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::readiness::ReadyReport;
use crate::http;

const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Why a probe says no.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("missing address: give --admin-bind or admin_bind as the running process has it")]
    NoAddress,
    #[error("no service answers on {address}: {reason}")]
    NoAnswer { address: SocketAddr, reason: String },
    #[error("unexpected service on {address}: {process} is a {service}, not a {asked}; give --admin-bind as the running process has it")]
    OtherService { address: SocketAddr, process: String, service: String, asked: String },
    #[error("not ready: {0}")]
    NotReady(String),
}

/// Asks `/readyz` where a process of this service with this setting listens. Fails within 3 s.
pub async fn probe(asked: &str, admin_bind: Option<SocketAddr>) -> Result<ReadyReport, ProbeError> {
    let address = loopback_for(admin_bind.filter(|bind| bind.port() != 0).ok_or(ProbeError::NoAddress)?);
    let fail = |reason: String| ProbeError::NoAnswer { address, reason };
    let answer = http::request(&address.to_string(), "GET /readyz", b"", PROBE_LIMIT).await;
    let (_, body) = answer.map_err(|error| fail(error.to_string()))?;
    let report: ReadyReport = serde_json::from_str(&body).map_err(|_| fail("unexpected answer: not a service of Faultline".into()))?;
    if !report.service.is_empty() && report.service != asked {
        let ReadyReport { process, service, .. } = report;
        return Err(ProbeError::OtherService { address, process, service, asked: asked.to_owned() });
    }
    if report.ready { Ok(report) } else { Err(ProbeError::NotReady(report.reasons.join("; "))) }
}

/// A listener on all addresses listens on the loopback, too.
fn loopback_for(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_on_the_loopback() {
        for (bind, asked) in [
            ("0.0.0.0:9100", "127.0.0.1:9100"),
            ("[::]:9100", "[::1]:9100"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("10.0.0.7:9100", "10.0.0.7:9100"),
        ] {
            assert_eq!(loopback_for(bind.parse().unwrap()).to_string(), asked);
        }
    }
}
