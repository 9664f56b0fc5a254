//! The test server as a container. The program `faultline-test-container` (tests/container) holds it, since testcontainers stays out of
//! the build of everything else; this side asks it in lines. Not here: ports and readiness.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::error::TestNatsError;
use crate::programs;

/// So long may the removal of a container take.
const REMOVAL: Duration = Duration::from_secs(20);

fn program() -> Result<PathBuf, String> {
    let path = programs::path("faultline-test-container");
    path.is_file().then_some(path).ok_or_else(|| "faultline-test-container is not built; `just test` builds it".to_owned())
}

/// Looks for an engine and the image once in a process, and describes them.
pub(super) async fn find_engine() -> Result<String, TestNatsError> {
    static FOUND: OnceCell<Result<String, String>> = OnceCell::const_new();
    FOUND.get_or_init(look_for_engine).await.clone().map_err(TestNatsError::Container)
}

async fn look_for_engine() -> Result<String, String> {
    let mut command = Command::new(program()?);
    let output = command.arg("find").stdin(Stdio::null()).stderr(Stdio::inherit()).output().await.map_err(|error| error.to_string())?;
    answer(String::from_utf8_lossy(&output.stdout).trim_end())
}

/// What a line of the program says.
fn answer(line: &str) -> Result<String, String> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("ok", text) => Ok(text.to_owned()),
        ("error", text) => Err(text.to_owned()),
        _ => Err(format!("unexpected line from faultline-test-container: {line:?}")),
    }
}

/// One server in one container; the container keeps the files through kill and start.
#[derive(Debug)]
pub(super) struct ContainerServer {
    program: Child,
    /// Its end has the container removed.
    questions: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl ContainerServer {
    pub(super) async fn run(config: &str, port: u16, name: &str) -> Result<ContainerServer, TestNatsError> {
        Self::spawn(config, port, name).await.map_err(|error| TestNatsError::Container(format!("start: {error}")))
    }

    async fn spawn(config: &str, port: u16, name: &str) -> Result<ContainerServer, String> {
        let mut file = NamedTempFile::new().map_err(|error| error.to_string())?;
        file.write_all(config.as_bytes()).map_err(|error| error.to_string())?;
        let mut program = Command::new(program()?)
            .arg("run")
            .arg(file.path())
            .args([&port.to_string(), name, &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let questions = program.stdin.take();
        let answers = BufReader::new(program.stdout.take().expect("piped")).lines();
        let mut server = ContainerServer { program, questions, answers };
        server.hear().await?;
        Ok(server)
    }

    async fn hear(&mut self) -> Result<String, String> {
        match self.answers.next_line().await {
            Ok(Some(line)) => answer(&line),
            Ok(None) => Err("faultline-test-container ended".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn ask(&mut self, words: &str) -> Result<String, String> {
        let questions = self.questions.as_mut().expect("open until the drop");
        questions.write_all(format!("{words}\n").as_bytes()).await.map_err(|error| error.to_string())?;
        self.hear().await
    }

    pub(super) async fn start(&mut self) -> Result<(), String> {
        self.ask("start").await.map(drop)
    }

    pub(super) async fn kill9(&mut self) -> Result<(), String> {
        self.ask("kill9").await.map(drop)
    }

    pub(super) async fn signal(&mut self, name: &str) -> Result<(), String> {
        self.ask(&format!("signal {name}")).await.map(drop)
    }

    /// The server's last words when it ended by itself.
    pub(super) async fn why_ended(&mut self) -> Option<String> {
        let words = self.ask("why-ended").await.unwrap_or_else(|error| error);
        (!words.is_empty()).then_some(words)
    }
}

impl Drop for ContainerServer {
    fn drop(&mut self) {
        drop(self.questions.take());
        let begin = Instant::now();
        while matches!(self.program.try_wait(), Ok(None)) && begin.elapsed() < REMOVAL {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
