//! Three local servers that form one cluster. The settings are those of the single test server, but that everything is on disk before
//! it is acknowledged: with copies on three machines that costs next to nothing, and nothing is lost when all of them die at once.

use std::sync::Arc;

use super::error::TestNatsError;
use super::installation::Installation;
use super::ports::{free_port, server_name};
use super::process::{self, ProcessServer};

/// One of the three, started and not ready yet.
pub(super) struct Member {
    pub(super) server: ProcessServer,
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) description: String,
}

pub(super) fn start() -> Result<([Member; 3], Arc<Installation>), TestNatsError> {
    let program = process::find_program()?;
    let routes = [(); 3].map(|()| free_port());
    let cluster = server_name();
    let installation = Arc::new(Installation::write());
    let start = |index: usize| {
        let (port, name) = (free_port(), format!("{cluster}-{}", index + 1));
        let server = ProcessServer::run(&program, &config(installation.config(), &cluster, routes[index], &routes), port, &name)?;
        Ok::<_, TestNatsError>(Member { server, port, name, description: program.description() })
    };
    let members = [start(0)?, start(1)?, start(2)?];
    Ok((members, installation))
}

fn config(single: &str, cluster: &str, own_route: u16, routes: &[u16]) -> String {
    let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let synced = single.replace("sync_interval: \"1s\"", "sync_interval: always");
    assert_ne!(synced, single, "the configuration says when to sync");
    format!(
        "{synced}\ncluster {{\n  name: {cluster}\n  listen: \"127.0.0.1:{own_route}\"\n  routes: [{}]\n  no_advertise: true\n}}\n",
        urls.join(", ")
    )
}
