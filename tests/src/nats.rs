//! A real NATS server with JetStream for one test: in a container where a Docker engine answers, else a local `nats-server`
//! process; the test sees no difference. It listens on loopback only, keeps its files through [`TestNats::kill9`] and
//! [`TestNats::restart`], and leaves nothing behind, even when the test process itself is killed.
//!
//! `FAULTLINE_TEST_NATS=docker|process` forces one of the two, and then a failure is a failure. Which one ran goes to standard
//! error and, when `FAULTLINE_TEST_NATS_REPORT` names a file, as one line to its end: `just test` prints the sum of those.
//! A cluster of three is always made of local processes. Not here: users and permissions; the settings are those of
//! docker/nats/test.conf.

mod cluster;
mod container;
mod process;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use container::ContainerServer;
use process::ProcessServer;

/// The configuration that every test server gets unless the test brings its own.
pub const TEST_CONFIG: &str = include_str!("../../docker/nats/test.conf");

/// Image name and tag, as docker/nats/Dockerfile and `just test` build it.
pub const IMAGE: (&str, &str) = ("faultline/nats", "2.15.1");

/// How long a server may take from its start to its first `INFO`. Milliseconds usually; minutes only on a machine that swaps.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often a start is tried again because somebody else took the port between our look and the server's bind.
const PORT_TRIES: u32 = 5;

/// Why there is no NATS for a test.
#[derive(Debug, thiserror::Error)]
pub enum TestNatsError {
    /// `FAULTLINE_TEST_NATS` holds something else than `docker` or `process`.
    #[error("FAULTLINE_TEST_NATS is '{0}': it takes docker or process, or is left unset")]
    UnknownChoice(String),
    /// No usable engine or image.
    #[error("no NATS in a container: {0}")]
    Container(String),
    /// No usable local server.
    #[error("no local nats-server: {0}")]
    Process(String),
    /// It started and ended by itself: a bad configuration, or somebody else took the port.
    #[error("nats-server on port {port} ended: {detail}")]
    Ended {
        /// The loopback port.
        port: u16,
        /// Its last words.
        detail: String,
    },
    /// It started and never answered.
    #[error("nats-server on port {port} did not answer within {} s: {detail}", START_LIMIT.as_secs())]
    Silent {
        /// The loopback port.
        port: u16,
        /// What was seen last.
        detail: String,
    },
}

impl TestNatsError {
    /// Did somebody else take the port between our look and the server's bind? The words are the server's and the engine's.
    fn is_port_taken(&self) -> bool {
        let text = self.to_string();
        ["address already in use", "port is already allocated"].iter().any(|words| text.contains(words))
    }
}

/// A server of a test's own. Dropping it ends and removes it with its data.
#[derive(Debug)]
pub struct TestNats {
    server: Server,
    port: u16,
    name: String,
    description: String,
}

#[derive(Debug)]
enum Server {
    Container(Box<ContainerServer>),
    Process(ProcessServer),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Docker,
    Process,
    Either,
}

impl TestNats {
    /// A fresh server with empty storage that answers.
    ///
    /// # Panics
    /// When no server can be had: the test cannot say anything then. [`TestNats::try_start`] tells instead.
    pub async fn start() -> TestNats {
        Self::start_with_config(TEST_CONFIG).await
    }

    /// Three servers that form a cluster, each with its own storage, synced to disk before anything is acknowledged. Always local
    /// processes, whatever `FAULTLINE_TEST_NATS` says: containers would need a network of their own.
    ///
    /// # Panics
    /// When they cannot be had.
    pub async fn start_cluster() -> [TestNats; 3] {
        match cluster::start().await {
            Ok(servers) => servers.map(|server| server.announce("one of a cluster of three")),
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`TestNats::start`], with another server configuration. Data belongs into `"/data"`, written exactly so: a local process gets
    /// its own folder in that place. Port, address and server name come from here.
    ///
    /// # Panics
    /// When no server can be had.
    pub async fn start_with_config(config: &str) -> TestNats {
        match Self::try_start(config).await {
            Ok(nats) => nats,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`TestNats::start_with_config`], always as a local process: for a configuration that names files of this machine.
    ///
    /// # Panics
    /// When no server can be had.
    pub async fn start_local(config: &str) -> TestNats {
        match Self::start_process(config).await {
            Ok(nats) => nats.announce("its configuration names files of this machine"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`TestNats::start_with_config`], and the reason when there is none.
    pub async fn try_start(config: &str) -> Result<TestNats, TestNatsError> {
        let choice = choice()?;
        let mut why_no_container = String::new();
        if choice != Choice::Process {
            match Self::start_container(config).await {
                Ok(nats) => return Ok(nats.announce("")),
                Err(error) if choice == Choice::Docker => return Err(error),
                Err(error) => why_no_container = error.to_string(),
            }
        }
        Ok(Self::start_process(config).await?.announce(&why_no_container))
    }

    /// Where clients connect, `nats://127.0.0.1:<port>`; the same after a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The loopback port; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Engine and image, or the path and version of the local server.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Ends the server with SIGKILL and returns when it is gone. Its files stay for [`TestNats::restart`].
    pub async fn kill9(&mut self) {
        let killed = match &mut self.server {
            Server::Container(container) => container.kill9().await,
            Server::Process(process) => process.kill9().map_err(|error| error.to_string()),
        };
        if let Err(error) = killed {
            panic!("kill -9 of nats-server on port {}: {error}", self.port);
        }
    }

    /// SIGSTOP: it neither answers nor closes a connection, as a machine that hangs. [`TestNats::thaw`] ends it.
    pub async fn freeze(&mut self) {
        self.signal("SIGSTOP", Signal::STOP).await;
    }

    pub async fn thaw(&mut self) {
        self.signal("SIGCONT", Signal::CONT).await;
    }

    async fn signal(&mut self, name: &str, signal: Signal) {
        let sent = match &self.server {
            Server::Container(container) => container.signal(name).await,
            Server::Process(process) => process.signal(signal).map_err(|error| error.to_string()),
        };
        if let Err(error) = sent {
            panic!("{name} to nats-server on port {}: {error}", self.port);
        }
    }

    /// Starts the server again on the same port and files, killing it first when it runs, and returns when it answers.
    pub async fn restart(&mut self) {
        self.kill9().await;
        let started = match &mut self.server {
            Server::Container(container) => container.start().await,
            Server::Process(process) => process.start().map_err(|error| error.to_string()),
        };
        if let Err(error) = started {
            panic!("restart of nats-server on port {}: {error}", self.port);
        }
        if let Err(error) = self.wait_until_ready().await {
            panic!("restart: {error}");
        }
    }

    async fn start_container(config: &str) -> Result<TestNats, TestNatsError> {
        let engine = container::find_engine().await?;
        let mut last = TestNatsError::Container("never tried".into());
        for _ in 0..PORT_TRIES {
            let (port, name) = (free_port(), server_name());
            let started = ContainerServer::run(config, port, &name).await;
            match Self::ready(started.map(|container| Server::Container(Box::new(container))), port, name, &engine).await {
                Err(error) if error.is_port_taken() => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    async fn start_process(config: &str) -> Result<TestNats, TestNatsError> {
        let program = process::find_program()?;
        let mut last = TestNatsError::Process("never tried".into());
        for _ in 0..PORT_TRIES {
            let (port, name) = (free_port(), server_name());
            let started = ProcessServer::run(&program, config, port, &name);
            match Self::ready(started.map(Server::Process), port, name, &program.description()).await {
                Err(error) if error.is_port_taken() => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    async fn ready(server: Result<Server, TestNatsError>, port: u16, name: String, description: &str) -> Result<TestNats, TestNatsError> {
        let mut nats = TestNats { server: server?, port, name, description: description.to_owned() };
        nats.wait_until_ready().await?;
        Ok(nats)
    }

    /// Waits for the `INFO` line that carries our server's name: on a port that another server took first, the answer is a stranger's.
    async fn wait_until_ready(&mut self) -> Result<(), TestNatsError> {
        let wanted = format!("\"server_name\":\"{}\"", self.name);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let detail = match first_line(self.port).await {
                Ok(info) if info.starts_with("INFO ") && info.contains(&wanted) => return Ok(()),
                Ok(other) => format!("another server answers there: '{}'", other.chars().take(80).collect::<String>()),
                Err(error) => error.to_string(),
            };
            let ended = match &mut self.server {
                Server::Container(container) => container.why_ended().await,
                Server::Process(process) => process.why_ended(),
            };
            if let Some(why) = ended {
                return Err(TestNatsError::Ended { port: self.port, detail: why });
            }
            if Instant::now() >= deadline {
                return Err(TestNatsError::Silent { port: self.port, detail });
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn announce(self, why_no_container: &str) -> TestNats {
        let reason = if why_no_container.is_empty() { String::new() } else { format!(" ({why_no_container})") };
        eprintln!("test NATS: {} on port {}{reason}", self.description, self.port);
        if let Some(path) = std::env::var_os("FAULTLINE_TEST_NATS_REPORT") {
            // One short write in append mode: lines of test processes that run side by side do not mix.
            let appended = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(format!("{}\n", self.description).as_bytes()));
            if let Err(error) = appended {
                eprintln!("test NATS: cannot write {}: {error}", path.display());
            }
        }
        self
    }
}

fn choice() -> Result<Choice, TestNatsError> {
    match std::env::var("FAULTLINE_TEST_NATS").unwrap_or_default().as_str() {
        "" => Ok(Choice::Either),
        "docker" => Ok(Choice::Docker),
        "process" => Ok(Choice::Process),
        other => Err(TestNatsError::UnknownChoice(other.to_owned())),
    }
}

/// A port below the range that the system hands out to outgoing connections: nobody takes it by accident while its server is down
/// between a kill and the restart. Test processes start looking at different places.
pub fn free_port() -> u16 {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 15_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("30,000 fits");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).is_ok() {
            return candidate;
        }
    }
    panic!("no free loopback port between {FIRST} and {}", FIRST + COUNT);
}

fn server_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("faultline-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The greeting on a loopback port; with a limit, since a port forwarder accepts before its server does.
async fn first_line(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let greeting = async {
        let mut line = String::new();
        BufReader::new(TcpStream::connect(address).await?).read_line(&mut line).await?;
        Ok(line)
    };
    timeout(Duration::from_secs(2), greeting).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
