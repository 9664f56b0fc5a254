//! What is said of one server in its configuration: its place in a cluster, and its certificate.

use std::net::Ipv4Addr;

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which one, from 0.
    pub index: usize,
    /// `HOST:PORT` on which it listens to the others.
    pub listen: String,
    /// `HOST:PORT` of all of them.
    pub routes: Vec<String>,
}

impl Member {
    /// One of several on this machine, with these ports.
    pub fn on_loopback(index: usize, ports: &[u16]) -> Self {
        let routes: Vec<String> = ports.iter().map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST)).collect();
        Self { index, listen: routes[index].clone(), routes }
    }

    /// One of several on machines of their own.
    pub fn on_hosts(index: usize, hosts: &[String]) -> Self {
        let routes = hosts.iter().map(|host| format!("{host}:{ROUTE_PORT}")).collect();
        Self { index, listen: format!("{}:{ROUTE_PORT}", Ipv4Addr::UNSPECIFIED), routes }
    }
}

/// The port that NATS' own examples use for routes.
const ROUTE_PORT: u16 = 6222;

/// The server's own certificate, and the CA of its clients'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub cert_file: String,
    pub key_file: String,
    pub ca_file: String,
}
