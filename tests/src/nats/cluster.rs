//! Three local servers that form one cluster. The settings are those of the single test server, but that everything is on disk before
//! it is acknowledged: with copies on three machines that costs next to nothing, and nothing is lost when all of them die at once.

use super::process::{self, ProcessServer};
use super::{PORT_TRIES, Server, TEST_CONFIG, TestNats, TestNatsError, free_port, server_name};

pub(super) async fn start() -> Result<[TestNats; 3], TestNatsError> {
    let mut last = TestNatsError::Process("never tried".into());
    for _ in 0..PORT_TRIES {
        match try_start().await {
            Err(error) if error.is_port_taken() => last = error,
            decided => return decided,
        }
    }
    Err(last)
}

async fn try_start() -> Result<[TestNats; 3], TestNatsError> {
    let program = process::find_program()?;
    let routes = [(); 3].map(|()| free_port());
    let name = server_name();
    let start = |index: usize| {
        let port = free_port();
        let server_name = format!("{name}-{}", index + 1);
        let server = ProcessServer::run(&program, &config(&name, routes[index], &routes), port, &server_name)?;
        Ok(TestNats { server: Server::Process(server), port, name: server_name, description: program.description() })
    };
    let mut servers = [start(0)?, start(1)?, start(2)?];
    for server in &mut servers {
        server.wait_until_ready().await?;
    }
    Ok(servers)
}

fn config(cluster: &str, own_route: u16, routes: &[u16]) -> String {
    let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let synced = TEST_CONFIG.replace("sync_interval: \"1s\"", "sync_interval: always");
    assert_ne!(synced, TEST_CONFIG, "docker/nats/test.conf says when to sync");
    format!(
        "{synced}\ncluster {{\n  name: {cluster}\n  listen: \"127.0.0.1:{own_route}\"\n  routes: [{}]\n  no_advertise: true\n}}\n",
        urls.join(", ")
    )
}
