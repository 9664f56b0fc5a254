//! The test server as a container, through testcontainers. Needs an engine that answers and our own image, which is built from
//! docker/nats when it is missing; nothing is ever pulled. Not here: ports and readiness.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{IMAGE, TestNatsError};

/// Port of the server inside its container.
const INNER_PORT: u16 = 4222;

/// On every container of ours: the process that it belongs to.
const OWNER_LABEL: &str = "faultline.test.owner-pid";

/// An engine that does not answer a ping by then counts as none.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// Looks for an engine and the image once in a process, and describes them.
pub(super) async fn find_engine() -> Result<String, TestNatsError> {
    static FOUND: OnceCell<Result<String, String>> = OnceCell::const_new();
    FOUND.get_or_init(look_for_engine).await.clone().map_err(TestNatsError::Container)
}

async fn look_for_engine() -> Result<String, String> {
    let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
    let version = match timeout(PING_LIMIT, docker.version()).await {
        Ok(Ok(version)) => version.version.unwrap_or_default(),
        Ok(Err(error)) => return Err(format!("no engine answers: {error}")),
        Err(_) => return Err(format!("the engine did not answer within {} s", PING_LIMIT.as_secs())),
    };
    let image = format!("{}:{}", IMAGE.0, IMAGE.1);
    if docker.inspect_image(&image).await.is_err() {
        tokio::task::spawn_blocking(build_image).await.map_err(|error| error.to_string())??;
    }
    remove_leftovers().await;
    Ok(format!("docker engine {version}, image {image}"))
}

/// Builds the image with the classic builder, which needs no plugin. Twice at once does no harm: the second finds every layer there.
fn build_image() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("docker")
        .args(["build", "--quiet", "--tag", &format!("{}:{}", IMAGE.0, IMAGE.1), "--file", "docker/nats/Dockerfile", "."])
        .env("DOCKER_BUILDKIT", "0")
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("docker build: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "docker build: {}; `just nats-server pinned` puts the binary where it looks",
        text.trim().lines().last().unwrap_or_default()
    ))
}

/// Removes the containers of test processes that were killed before they could do it themselves.
async fn remove_leftovers() {
    let Ok(docker) = docker_client_instance().await else { return };
    let filters = std::collections::HashMap::from([("label", vec![OWNER_LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let owner = container.labels.and_then(|labels| labels.get(OWNER_LABEL).cloned()).unwrap_or_default();
        // Only where the system shows processes as folders can we tell; elsewhere nothing is removed.
        let gone = Path::new("/proc/self").exists() && !owner.is_empty() && !Path::new("/proc").join(&owner).exists();
        if let (true, Some(id)) = (gone, container.id) {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            // Another test process may remove it at the same moment; then it is gone, as wanted.
            if docker.remove_container(&id, Some(options)).await.is_ok() {
                eprintln!("test NATS: removed container {id}, left behind by process {owner}");
            }
        }
    }
}

/// One server in one container; the container keeps the files through kill and start.
#[derive(Debug)]
pub(super) struct ContainerServer {
    container: ContainerAsync<GenericImage>,
}

impl ContainerServer {
    pub(super) async fn run(config: &str, port: u16, name: &str) -> Result<ContainerServer, TestNatsError> {
        let container = GenericImage::new(IMAGE.0, IMAGE.1)
            .with_cmd(["-c", "/etc/nats/nats.conf", "-a", "0.0.0.0", "-p", &INNER_PORT.to_string(), "-n", name])
            .with_container_name(name)
            .with_label(OWNER_LABEL, std::process::id().to_string())
            .with_copy_to("/etc/nats/nats.conf", config.as_bytes().to_vec())
            .with_mapped_port(port, INNER_PORT.tcp())
            // A mapped port is open on every address of the machine unless it is said otherwise.
            .with_host_config_modifier(move |host| {
                let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port.to_string()) };
                host.port_bindings = Some([(format!("{INNER_PORT}/tcp"), Some(vec![binding]))].into());
            })
            .start()
            .await
            .map_err(|error| TestNatsError::Container(format!("start: {error}")))?;
        Ok(ContainerServer { container })
    }

    pub(super) async fn start(&mut self) -> Result<(), String> {
        self.container.start().await.map_err(|error| error.to_string())
    }

    pub(super) async fn kill9(&mut self) -> Result<(), String> {
        if !self.container.is_running().await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        // Not `stop_with_timeout(0)`: that sends SIGTERM first, and the server would use the moment to tidy up.
        self.signal("SIGKILL").await?;
        while self.container.is_running().await.map_err(|error| error.to_string())? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    pub(super) async fn signal(&self, name: &str) -> Result<(), String> {
        let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
        let options = KillContainerOptionsBuilder::new().signal(name).build();
        docker.kill_container(self.container.id(), Some(options)).await.map_err(|error| error.to_string())
    }

    /// The server's last words when it ended by itself.
    pub(super) async fn why_ended(&mut self) -> Option<String> {
        if self.container.is_running().await.unwrap_or(false) {
            return None;
        }
        let log = self.container.stderr_to_vec().await.unwrap_or_default();
        Some(format!("the container ended: {}", String::from_utf8_lossy(&log).lines().last().unwrap_or("no output")))
    }
}
