//! A real NATS server with JetStream for one test: in a container where a Docker engine answers, else a local `nats-server`
//! process; the test sees no difference. It listens on loopback only, keeps its files through [`TestNats::kill9`] and
//! [`TestNats::restart`], and leaves nothing behind, even when the test process itself is killed.
//!
//! `FAULTLINE_TEST_NATS=docker|process` forces one of the two, and then a failure is a failure. Which one ran goes to standard
//! error and, when `FAULTLINE_TEST_NATS_REPORT` names a file, as one line to its end: `just test` prints the sum of those.
//! A cluster of three is always made of local processes. Accounts, users and keys are those that `faultline nats-config` writes
//! ([`Installation`]); a test of NATS itself takes the open server of docker/nats/test.conf.

mod cluster;
mod container;
mod error;
mod installation;
mod ports;
mod process;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use container::ContainerServer;
use error::START_LIMIT;
pub use error::TestNatsError;
pub use installation::Installation;
pub use ports::free_port;
use ports::{PORT_TRIES, server_name};
use process::ProcessServer;

/// One account in which every client may do everything.
pub const TEST_CONFIG: &str = include_str!("../../docker/nats/test.conf");

/// A server of a test's own. Dropping it ends and removes it with its data.
#[derive(Debug)]
pub struct TestNats {
    server: Server,
    port: u16,
    name: String,
    description: String,
    installation: Option<Arc<Installation>>,
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
    /// A fresh server with empty storage that answers, with the accounts of a real installation.
    ///
    /// # Panics
    /// When no server can be had: the test cannot say anything then. [`TestNats::try_start`] tells instead.
    pub async fn start() -> TestNats {
        Self::start_changed(str::to_owned).await
    }

    /// Like [`TestNats::start`], with a change to the configuration.
    ///
    /// # Panics
    /// When no server can be had.
    pub async fn start_changed(change: impl FnOnce(&str) -> String) -> TestNats {
        let installation = Installation::write();
        let config = change(installation.config());
        TestNats { installation: Some(Arc::new(installation)), ..Self::start_with_config(&config).await }
    }

    /// A fresh server on which every client may do everything.
    ///
    /// # Panics
    /// When no server can be had.
    pub async fn start_open() -> TestNats {
        Self::start_with_config(TEST_CONFIG).await
    }

    /// Three servers that form a cluster, each with its own storage, synced to disk before anything is acknowledged. Always local
    /// processes, whatever `FAULTLINE_TEST_NATS` says: containers would need a network of their own.
    ///
    /// # Panics
    /// When they cannot be had.
    pub async fn start_cluster() -> [TestNats; 3] {
        for _ in 0..PORT_TRIES {
            match Self::try_cluster().await {
                Ok(servers) => return servers.map(|server| server.announce("one of a cluster of three")),
                Err(error) if error.is_port_taken() => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free ports for three servers in {PORT_TRIES} tries")
    }

    async fn try_cluster() -> Result<[TestNats; 3], TestNatsError> {
        let (members, installation) = cluster::start()?;
        let mut servers = members.map(|member| TestNats {
            server: Server::Process(member.server),
            port: member.port,
            name: member.name,
            description: member.description,
            installation: Some(Arc::clone(&installation)),
        });
        for server in &mut servers {
            server.wait_until_ready().await?;
        }
        Ok(servers)
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

    /// The keys, where the server has the accounts of a real installation.
    pub fn installation(&self) -> Option<&Installation> {
        self.installation.as_deref()
    }

    /// What a service's program is given to connect as its user; nothing on an open server, or for another program.
    pub fn key_args(&self, program: &str) -> Vec<String> {
        let key = self.installation.as_ref().zip(program.strip_prefix("faultline-")).map(|(installation, user)| installation.key(user));
        key.map(|key| vec!["--nkey-file".to_owned(), key.to_string_lossy().into_owned()]).unwrap_or_default()
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

    /// The folder that stands for `"/data"`; `None` for a server in a container.
    pub fn data(&self) -> Option<PathBuf> {
        match &self.server {
            Server::Container(_) => None,
            Server::Process(process) => Some(process.data()),
        }
    }

    /// The process of a local server that runs.
    pub fn pid(&self) -> Option<u32> {
        match &self.server {
            Server::Container(_) => None,
            Server::Process(process) => process.pid(),
        }
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
        let sent = match &mut self.server {
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
        let mut nats = TestNats { server: server?, port, name, description: description.to_owned(), installation: None };
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
