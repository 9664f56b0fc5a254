//! The container engine, the image of the tests, and what earlier tests left behind.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use testcontainers::core::client::docker_client_instance;
use tokio::time::timeout;

/// Image name and tag, as docker/nats/Dockerfile and `just test` build it.
pub(super) const IMAGE: (&str, &str) = ("faultline/nats", "2.15.1");

/// On every container of ours: the process that it belongs to.
pub(super) const OWNER_LABEL: &str = "faultline.test.owner-pid";

/// An engine that does not answer a ping by then counts as none.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// Looks for an engine and the image, which is built when it is missing, and describes them.
pub(super) async fn find() -> anyhow::Result<String> {
    let docker = docker_client_instance().await?;
    let answer = timeout(PING_LIMIT, docker.version()).await;
    let version = answer.map_err(|_| anyhow!("the engine did not answer within {} s", PING_LIMIT.as_secs()))?;
    let version = version.context("no engine answers")?.version.unwrap_or_default();
    let image = format!("{}:{}", IMAGE.0, IMAGE.1);
    if docker.inspect_image(&image).await.is_err() {
        build_image(&image)?;
    }
    remove_leftovers(&docker).await;
    Ok(format!("docker engine {version}, image {image}"))
}

/// Builds the image with the classic builder, which needs no plugin. Twice at once does no harm: the second finds every layer there.
fn build_image(image: &str) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("docker")
        .args(["build", "--quiet", "--tag", image, "--file", "docker/nats/Dockerfile", "."])
        .env("DOCKER_BUILDKIT", "0")
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("docker build")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.trim().lines().last().unwrap_or_default();
        bail!("docker build: {last}; `just nats-server pinned` puts the binary where it looks");
    }
    Ok(())
}

/// Removes the containers of tests that ended together with the program that holds their container.
async fn remove_leftovers(docker: &Docker) {
    let filters = HashMap::from([("label", vec![OWNER_LABEL])]);
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
