//! One NATS server in a container for one test, through testcontainers. Needs an engine that answers and our own image, which is built
//! from docker/nats when it is missing; nothing is ever pulled.
//!
//! The harness (tests/src/nats/container.rs) starts this program and speaks with it in lines: a word goes in, and one line comes back,
//! `ok` or `error`, with a text. When the input ends, the container is removed; so it is when the test is killed.

mod engine;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use engine::{IMAGE, OWNER_LABEL};

/// Port of the server inside its container.
const INNER_PORT: u16 = 4222;

const USAGE: &str = "usage: faultline-test-container find | run CONFIGURATION PORT NAME OWNER-PID";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["find"] => engine::find().await.map(Some),
        ["run", configuration, port, name, owner] => run(configuration.into(), port, name, owner).await.map(|()| None),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(Some(text)) => println!("ok {text}"),
        Ok(None) => {}
        Err(error) => {
            println!("error {}", in_one_line(&format!("{error:#}")));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs the server, and does what the lines of standard input say until they end.
async fn run(configuration: PathBuf, port: &str, name: &str, owner: &str) -> anyhow::Result<()> {
    // A signal to the group of processes reaches the test as well; its end is the end of our input.
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let configuration = std::fs::read(&configuration).with_context(|| format!("cannot read {}", configuration.display()))?;
    let port: u16 = port.parse().context("invalid port")?;
    let container = start(configuration, port, name, owner).await?;
    let mut output = tokio::io::stdout();
    output.write_all(b"ok\n").await?;
    output.flush().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = interrupts.recv() => continue,
            _ = terminations.recv() => continue,
        };
        let Some(line) = line else { break };
        let answer = match act(&container, &line).await {
            Ok(text) => format!("ok {text}\n"),
            Err(error) => format!("error {}\n", in_one_line(&format!("{error:#}"))),
        };
        output.write_all(answer.as_bytes()).await?;
        output.flush().await?;
    }
    container.rm().await.context("cannot remove the container")
}

async fn start(configuration: Vec<u8>, port: u16, name: &str, owner: &str) -> anyhow::Result<ContainerAsync<GenericImage>> {
    GenericImage::new(IMAGE.0, IMAGE.1)
        .with_cmd(["-c", "/etc/nats/nats.conf", "-a", "0.0.0.0", "-p", &INNER_PORT.to_string(), "-n", name])
        .with_container_name(name)
        .with_label(OWNER_LABEL, owner)
        .with_copy_to("/etc/nats/nats.conf", configuration)
        .with_mapped_port(port, INNER_PORT.tcp())
        // A mapped port is open on every address of the machine unless it is said otherwise.
        .with_host_config_modifier(move |host| {
            let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port.to_string()) };
            host.port_bindings = Some([(format!("{INNER_PORT}/tcp"), Some(vec![binding]))].into());
        })
        .start()
        .await
        .context("cannot start the container")
}

async fn act(container: &ContainerAsync<GenericImage>, line: &str) -> anyhow::Result<String> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("start", "") => container.start().await?,
        ("kill9", "") => kill9(container).await?,
        ("signal", name) => send_signal(container, name).await?,
        ("why-ended", "") => return why_ended(container).await,
        _ => bail!("unknown word {line:?}: start, kill9, signal NAME or why-ended"),
    }
    Ok(String::new())
}

async fn kill9(container: &ContainerAsync<GenericImage>) -> anyhow::Result<()> {
    if !container.is_running().await? {
        return Ok(());
    }
    // Not `stop_with_timeout(0)`: that sends SIGTERM first, and the server would use the moment to tidy up.
    send_signal(container, "SIGKILL").await?;
    while container.is_running().await? {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn send_signal(container: &ContainerAsync<GenericImage>, name: &str) -> anyhow::Result<()> {
    let options = KillContainerOptionsBuilder::new().signal(name).build();
    Ok(docker_client_instance().await?.kill_container(container.id(), Some(options)).await?)
}

/// The server's last words when it ended by itself, else nothing.
async fn why_ended(container: &ContainerAsync<GenericImage>) -> anyhow::Result<String> {
    if container.is_running().await.unwrap_or(false) {
        return Ok(String::new());
    }
    let log = container.stderr_to_vec().await.unwrap_or_default();
    Ok(format!("the container ended: {}", String::from_utf8_lossy(&log).lines().last().unwrap_or("no output")))
}
