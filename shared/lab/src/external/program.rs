//! The program as a child process. One thread reads its lines, so that an answer can be waited for with a limit.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use faultline_engine::program::{Answer, Node, Said, VERSION};
use faultline_planner::{Chosen, NodeState, Outside, OutsideFailed, TaskClass};

use super::{Command, InvalidProgram};

/// The longest line that is read; also how much of a line that makes no sense is shown.
const LONGEST_LINE: u64 = 1 << 20;
const SHOWN: usize = 80;

/// How often is looked whether a program has ended once nothing more comes, and how many times: 2 s in all.
const LOOK: Duration = Duration::from_millis(10);
const ENDS_WITHIN_LOOKS: u32 = 200;

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    command: Command,
    child: Child,
    /// `None` once it is told that nothing more comes.
    says: Option<BufWriter<ChildStdin>>,
    hears: Receiver<std::io::Result<String>>,
    /// Nodes that changed since the last question; `None` for those that left.
    changed: BTreeMap<u32, Option<Node>>,
    asked: u64,
}

impl Program {
    pub fn start(command: &Command) -> Result<Self, InvalidProgram> {
        let failed = |error| InvalidProgram::Start { command: command.words.join(" "), error };
        let (name, arguments) = command.words.split_first().ok_or_else(|| InvalidProgram::NoCommand(command.to_string()))?;
        let mut child =
            std::process::Command::new(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let says = child.stdin.take().map(BufWriter::new);
        let (heard, hears) = sync_channel(16);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let mut output = BufReader::new(output);
                while let Some(line) = read_line(&mut output).transpose() {
                    if heard.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { command: command.clone(), child, says, hears, changed: BTreeMap::new(), asked: 0 })
    }

    fn say(&mut self, said: &Said<'_>) -> Result<(), OutsideFailed> {
        let Some(says) = &mut self.says else { return Err(OutsideFailed("it was told that nothing more comes".to_owned())) };
        says.write_all(said.line().as_bytes()).map_err(|_| self.ended())
    }

    fn answer(&mut self) -> Result<String, OutsideFailed> {
        let limit = self.command.answer_within;
        match self.hears.recv_timeout(limit) {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => Err(OutsideFailed(format!("its answer cannot be read: {error}; write one JSON object in a line, in UTF-8"))),
            Err(RecvTimeoutError::Timeout) => Err(OutsideFailed(format!(
                "no answer to question {} within {} s; answer each `ask` with one line, and flush standard output after it",
                self.asked,
                limit.as_secs_f64()
            ))),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// It closed its output or its input.
    fn ended(&mut self) -> OutsideFailed {
        let status = self.end().map_or_else(|error| error.to_string(), |status| status.to_string());
        OutsideFailed(format!(
            "it ended before the run did ({status}); see what it wrote on standard error, and let it read until the end of its input"
        ))
    }

    /// It sees the end of its input, and has a moment to end by itself.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.says = None;
        for _ in 0..ENDS_WITHIN_LOOKS {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
        self.child.kill()?;
        self.child.wait()
    }

    /// Tells it of all that has changed: the world first, then node by node.
    fn tell_changes(&mut self) -> Result<(), OutsideFailed> {
        let changed = std::mem::take(&mut self.changed);
        if self.asked == 0 {
            let nodes: Vec<Node> = changed.into_values().flatten().collect();
            return self.say(&Said::World { version: VERSION, nodes: &nodes });
        }
        changed.into_iter().try_for_each(|(number, node)| match node {
            Some(node) => self.say(&Said::Node(&node)),
            None => self.say(&Said::Left { node: number }),
        })
    }
}

impl Outside for Program {
    fn node(&mut self, number: u32, node: Option<NodeState<'_>>) -> Result<(), OutsideFailed> {
        self.changed.insert(number, node.map(|state| Node::new(number, &state)));
        Ok(())
    }

    fn choose(&mut self, task: &TaskClass, fitting: &[u32]) -> Result<Option<Chosen>, OutsideFailed> {
        self.tell_changes()?;
        self.asked += 1;
        let id = self.asked;
        self.say(&Said::Ask { id, task: task.into(), fits: fitting })?;
        if self.says.as_mut().is_some_and(|says| says.flush().is_err()) {
            return Err(self.ended());
        }
        let line = self.answer()?;
        let shown: String = line.chars().take(SHOWN).collect();
        let answer: Answer = serde_json::from_str(&line).map_err(|error| {
            OutsideFailed(format!("invalid answer `{shown}`: {error}; answer such as {{\"id\": {id}, \"node\": {}}}", fitting[0]))
        })?;
        if answer.id != id {
            let text = format!("answer `{shown}` has the id {} and not {id}; answer each `ask` once, with its id", answer.id);
            return Err(OutsideFailed(text));
        }
        Ok(answer.node.map(|node| Chosen { node, gpus: answer.gpus }))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, or nothing can be done about it.
        let _ = self.end();
    }
}

/// A line without its end; `None` after the last one.
fn read_line(output: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let read = std::io::Read::take(output, LONGEST_LINE).read_line(&mut line)?;
    if read as u64 == LONGEST_LINE {
        return Err(std::io::Error::other("the line is longer than 1 MiB"));
    }
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}
