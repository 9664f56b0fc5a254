//! Examples for every command: in its `--help` and on its manual page. A test parses each line, so that none is out of date.

use clap::Command;

/// A command line and what it does. What follows ` | ` or ` >` in it is the shell's.
type Example = (&'static str, &'static str);

/// A job's id as the examples have it.
macro_rules! id {
    () => {
        "01JD7Y3K5V8QW2M4N6P8R0S2T4"
    };
}

/// By the words of the command. Parents of commands have their own.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("faultline up", "the whole cluster, until Ctrl-C"),
            ("faultline submit --kind sleep --duration 20s", "a job"),
            ("faultline kill worker-03", "and see it run elsewhere"),
            ("faultline top", "watch it"),
            ("faultline audit", "was any job lost?"),
        ],
    ),
    (
        "up",
        &[
            ("faultline up", "8 workers with a node each, 60 % of their GPU time taken, faults as in a classroom"),
            ("faultline up --workers 4 --faults off --no-generator", "a quiet cluster for experiments"),
            ("faultline up --workers 8 --nodes-per-worker 125", "a thousand nodes"),
            ("faultline up --nats-servers 3", "a NATS cluster that survives the death of a server"),
            ("faultline up --nats-url nats://10.0.0.1:4222 --nkey-file admin.nk", "on a NATS that runs elsewhere"),
        ],
    ),
    ("down", &[("faultline down", "stops what runs on .data"), ("faultline down --data-dir other", "another cluster")]),
    ("status", &[("faultline status", "processes with their pids"), ("faultline status -o json", "the same for a program")]),
    (
        "scale",
        &[("faultline scale workers 12", "four more than usual"), ("faultline scale workers 4", "leaving workers finish their jobs first")],
    ),
    (
        "kill",
        &[
            ("faultline kill worker-03", "kill -9; `up` starts it again"),
            ("faultline kill worker-02 --signal stop", "frozen"),
            ("faultline kill worker-02 --signal cont", "and thawed"),
            ("faultline kill nats", "the NATS server; all services reconnect"),
            ("faultline kill worker-03 --watch", "and what comes of it, until all its jobs have ended"),
        ],
    ),
    (
        "incidents",
        &[
            ("faultline incidents", "what failed, how it was noticed, where the work went"),
            ("faultline incidents --follow", "the same as it happens, until Ctrl-C"),
            ("faultline incidents --limit 1 -o json", "the last one for a program"),
        ],
    ),
    (
        "goodput",
        &[
            ("faultline goodput", "where the GPU time of the last hour went, and what failures cost"),
            ("faultline goodput --last 5m -o json", "the last five minutes for a program, with rows of ten seconds"),
        ],
    ),
    (
        "report",
        &[
            ("faultline report", "a post-mortem of the last incident"),
            ("faultline report --format html --out incident.html", "as a file that opens in a browser"),
        ],
    ),
    (
        "record",
        &[
            ("faultline record", "the last 10 minutes, into faultline-recording.html"),
            ("faultline record --last 2m --out incident.html", "what just happened, as a file to send"),
            ("faultline record --dashboard http://10.0.0.5:8080 --token-file token", "of a dashboard that runs elsewhere"),
        ],
    ),
    (
        "link",
        &[
            ("faultline link", "what is wrong with whose network"),
            ("faultline link worker-03 stall", "a partition: connections stay, no byte passes"),
            ("faultline link all heal", "the network works again"),
        ],
    ),
    ("link cut", &[("faultline link scheduler-1 cut", "its connections are reset, and new ones too")]),
    (
        "link stall",
        &[
            ("faultline link worker-03 stall", "both ways"),
            ("faultline link worker-03 stall --direction up", "it receives, but cannot send"),
        ],
    ),
    ("link heal", &[("faultline link worker-03 heal", "what was held back arrives now")]),
    ("link delay", &[("faultline link all-workers delay 200ms --jitter 50ms", "a network far away")]),
    ("link limit", &[("faultline link worker-03 limit 100KiB/s", "a slow line")]),
    ("link loss", &[("faultline link worker-03 loss 2%", "late chunks, as lost packets make them")]),
    (
        "setup",
        &[
            ("faultline setup --nats-url nats://10.0.0.1:4222 --nkey-file admin.nk", "creates what is missing"),
            ("faultline setup --replicas 3", "three copies, on a cluster of three servers"),
            ("faultline setup --jobs-max-bytes 4294967296 --results-max-bytes 8589934592", "a queue of 4 GiB"),
        ],
    ),
    (
        "nats-config",
        &[
            ("faultline nats-config --out nats", "nats/nats-server.conf and a key for each user"),
            ("faultline nats-config --out nats --port 4333", "on another port"),
            ("faultline nats-config --apart --servers nats-1,nats-2,nats-3", "a cluster on three hosts, a folder for each user's key"),
        ],
    ),
    (
        "demo",
        &[
            ("faultline demo", "a minute to watch; then kill something"),
            ("faultline demo --headless --scene 5s", "the same without a page, for scripts: ends with the books checked"),
        ],
    ),
    (
        "scenario",
        &[
            ("faultline scenario ls", "what comes with the program"),
            ("faultline scenario run rack-power-loss --seed 1", "run and judge one"),
        ],
    ),
    (
        "scenario run",
        &[
            ("faultline scenario run rack-power-loss --seed 1", "the same seed draws the same jobs and targets"),
            ("faultline scenario run mine.toml --keep", "and leave its logs"),
        ],
    ),
    (
        "lab",
        &[
            ("faultline lab run which-policy", "three policies on 64 nodes that fail, as a report"),
            ("faultline lab compare --trace jobs.csv --nodes nodes.csv --policies fgd,best-fit,first-fit", "policies on your trace"),
            ("faultline lab repro all", "published figures beside those computed here"),
        ],
    ),
    (
        "lab run",
        &[
            ("faultline lab run experiment.toml", "all policies and seeds, into lab-experiment"),
            ("faultline lab run llama3 --seeds 1..2 --out llama", "one that comes with the program, with two seeds"),
            ("faultline lab run experiment.toml -o json >result.json", "verdict and expectations for a program"),
        ],
    ),
    ("lab check", &[("faultline lab check experiment.toml", "everything that is wrong, with lines")]),
    (
        "lab compare",
        &[
            ("faultline lab compare --trace jobs.swf --gpu-nodes 32 --policies best-fit+fifo+easy,best-fit+sjf", "two orders"),
            (
                "faultline lab compare --trace jobs.csv --nodes nodes.csv --policies fgd,best-fit --tie first --scale-time 0.1",
                "at ten times the load",
            ),
        ],
    ),
    (
        "lab import",
        &[
            ("faultline lab import sacct.txt", "what is in it; the format shows itself"),
            ("faultline lab import jobs.csv --format helios --gpus 512", "and its load on 512 GPUs"),
        ],
    ),
    (
        "lab replay",
        &[
            ("faultline lab replay sacct.txt --cluster cluster.toml --what-if easy", "today's policy with backfilling, on your cluster"),
            ("faultline lab replay jobs.csv --cluster nodes.csv --policy best-fit --what-if fgd,sjf,sjf+easy", "several at once"),
        ],
    ),
    (
        "lab record",
        &[
            ("faultline lab record --out jobs.csv", "the jobs whose ends are still known"),
            ("faultline lab record --for 8h --out jobs.csv", "and those that end in the next eight hours"),
        ],
    ),
    (
        "lab formats",
        &[("faultline lab formats", "what a trace can look like"), ("faultline lab formats -o json", "the same for a program")],
    ),
    ("lab report", &[("faultline lab report lab-experiment", "report.html from the tables")]),
    (
        "lab repro",
        &[("faultline lab repro ettr", "one result"), ("faultline lab repro all --full --traces traces", "all of them with every seed")],
    ),
    ("lab policies", &[("faultline lab policies", "placements, ties, orders, and ways to block")]),
    (
        "lab cross-check",
        &[
            ("faultline lab cross-check", "the scenario that comes with the program: some seven minutes"),
            ("faultline lab cross-check --show >mine.toml", "its file, to change"),
            ("faultline lab cross-check mine.toml --seeds 1..2 -o json", "with two seeds, for a program"),
        ],
    ),
    ("lab replay-decisions", &[("faultline lab replay-decisions decisions", "the terms of all leaders that were recorded there")]),
    ("lab presets", &[("faultline lab presets", "the questions"), ("faultline lab presets spares >mine.toml", "a file to change")]),
    (
        "lab fill",
        &[
            ("faultline lab fill --nodes nodes.csv --tasks tasks.csv --policy best-fit --tie random", "equal nodes drawn"),
            ("faultline lab fill --nodes nodes.csv --tasks tasks.csv --policy fgd --seeds 42..51 -o json", "ten runs, for a program"),
        ],
    ),
    ("scenario check", &[("faultline scenario check mine.toml", "without starting anything")]),
    ("scenario ls", &[("faultline scenario ls", "names and what they show"), ("faultline scenario ls -o json", "for a program")]),
    ("scenario show", &[("faultline scenario show partition >mine.toml", "to make one of your own")]),
    (
        "top",
        &[
            ("faultline top", "live, in the whole terminal"),
            ("faultline top --interval 5s", "looks less often"),
            ("faultline top --once", "one picture as plain text"),
            ("faultline top --once -o json", "the same figures for a program"),
        ],
    ),
    (
        "doctor",
        &[
            ("faultline doctor", "the cluster of this folder"),
            ("faultline doctor --nats-url nats://10.0.0.1:4222 --nkey-file cli.nk", "another one"),
            ("faultline doctor -o json", "for a program; exit code 5 when a check failed"),
        ],
    ),
    (
        "config",
        &[("faultline config show --origin", "what counts, and why"), ("faultline config check faultline.toml", "before it is used")],
    ),
    (
        "config show",
        &[
            ("faultline config show", "every key of every section"),
            ("faultline config show --origin --section worker", "one section, with where each value comes from"),
            ("faultline config show --config other.toml -o json", "with another file, for a program"),
        ],
    ),
    ("config check", &[("faultline config check faultline.toml", "exit code 2 when something is wrong with it")]),
    (
        "completions",
        &[
            ("faultline completions bash >~/.local/share/bash-completion/completions/faultline", "for bash"),
            ("faultline completions zsh >~/.zfunc/_faultline", "for zsh, in a folder of $fpath"),
            ("faultline completions fish >~/.config/fish/completions/faultline.fish", "for fish"),
        ],
    ),
    (
        "man",
        &[
            ("faultline man | man -l -", "this program's page"),
            ("faultline man --out ~/.local/share/man/man1", "a page a command: man faultline-submit"),
        ],
    ),
    (
        "submit",
        &[
            ("faultline submit --kind sleep --duration 20s", "holds a tenth of a GPU for 20 s"),
            ("faultline submit --kind matrix --size 512 --priority urgent --gpus 0.5 --count 100 --wait", "until all have ended"),
            ("faultline submit --kind fault --param fail_odds=0.5 --count 20", "they fail by themselves, and are retried"),
            ("faultline submit --kind compute --size 200000 --gpus 2 --model H100-80GB", "on certain GPUs"),
            ("faultline submit --kind service:greet --param-text name=42", "text, although it looks like a number"),
        ],
    ),
    (
        "jobs",
        &[
            ("faultline jobs", "the newest 50"),
            ("faultline jobs --state running --node gpu-node-03", "what runs there"),
            ("faultline jobs --state dead --limit 1000 -o jsonl", "for a program, one a line"),
        ],
    ),
    (
        "job",
        &[
            (concat!("faultline job ", id!()), "what was submitted, every attempt, and why it ran there"),
            ("faultline job M4N6P8R0S2T4", "the end of an id is enough where it is the only one"),
        ],
    ),
    (
        "explain",
        &[
            (concat!("faultline explain ", id!()), "why it waits, or why it runs there"),
            (concat!("faultline explain ", id!(), " -o json"), "the same with the numbers behind it"),
        ],
    ),
    (
        "would-fit",
        &[
            ("faultline would-fit --gpus 8", "would it start now, and where?"),
            ("faultline would-fit --gpus 2 --model H100-80GB --count 16", "how many of them would?"),
            ("faultline would-fit --gpus 0.5 --gpu-memory 20000 -o json", "exit code 0 when it would start, for scripts"),
        ],
    ),
    (
        "what-if",
        &[
            ("faultline what-if", "every policy beside the cluster as it is"),
            ("faultline what-if --policy best-fit --policy fgd", "two of them"),
        ],
    ),
    (
        "resubmit",
        &[
            (concat!("faultline resubmit ", id!()), "the same job once more"),
            (concat!("faultline resubmit ", id!(), " --priority urgent"), "and first in the queue"),
        ],
    ),
    ("nodes", &[("faultline nodes", "all of them"), ("faultline nodes -o json", "with the telemetry of each GPU")]),
    ("node", &[("faultline node gpu-node-03", "its GPUs, and what runs on them")]),
    (
        "events",
        &[
            ("faultline events --limit 20", "what happened last"),
            ("faultline events --follow --node gpu-node-03", "what happens there, until Ctrl-C"),
            ("faultline events --kind node_dead --since 10m", "who died"),
        ],
    ),
    (
        "rate",
        &[
            ("faultline rate get", "how many jobs a minute are generated"),
            ("faultline rate load 90", "as many as keep 90 % of the GPUs busy"),
        ],
    ),
    ("rate get", &[("faultline rate get", "and who set it")]),
    (
        "rate set",
        &[
            ("faultline rate set 12.5", "jobs a minute"),
            ("faultline rate set 6000 --unbounded", "for load tests, after `faultline up --unbounded-rate`"),
        ],
    ),
    (
        "rate load",
        &[
            ("faultline rate load 60", "of the cluster's GPU time, however many nodes there are"),
            ("faultline rate load 120", "more than it can do"),
        ],
    ),
    ("glossary", &[("faultline glossary", "every word"), ("faultline glossary | grep -A2 epoch", "one of them")]),
    ("options", &[("faultline options", "settings, NATS, output, logs")]),
    ("rate preset", &[("faultline rate preset High Load", "10 jobs a minute")]),
    ("mix", &[("faultline mix get", "which kinds are generated"), ("faultline mix set sleep=4,matrix=1", "no others")]),
    ("mix get", &[("faultline mix get", "the weights")]),
    ("mix set", &[("faultline mix set sleep=4,compute=3,matrix=2,fault=1", "the usual")]),
    ("cancel", &[(concat!("faultline cancel ", id!()), "one job"), ("faultline cancel --all-queued", "all waiting jobs")]),
    ("drain", &[("faultline drain gpu-node-01 --reason 'new cooler'", "nothing new is placed there")]),
    ("undrain", &[("faultline undrain gpu-node-01", "it takes jobs again")]),
    (
        "fault",
        &[
            ("faultline fault gpu-node-05 crash --for 10s", "the node is gone for so long"),
            ("faultline fault gpu-node-01 xid-79 --gpu 3", "a GPU falls off the bus"),
            ("faultline fault gpu-node-02 slow --factor 4 --for 1m", "a straggler"),
            ("faultline fault gpu-node-01 restore", "ends all faults"),
        ],
    ),
    ("faults", &[("faultline faults", "what each means, does here, and asks of an operator")]),
    (
        "chaos",
        &[
            ("faultline chaos ls", "what there is"),
            ("faultline chaos run kill-busy-worker --for 4s --hypothesis lost=0", "break, watch, judge"),
        ],
    ),
    (
        "chaos run",
        &[
            ("faultline chaos run kill-busy-worker --for 4s --hypothesis 'lost=0,recovery_p99<5s' --seed 7", "with claims"),
            ("faultline chaos run kill-service scheduler-1", "who leads then?"),
            ("faultline chaos run gpu-error 79 --target gpu-node-02", "a GPU falls off the bus"),
        ],
    ),
    ("chaos abort", &[("faultline chaos abort", "repairs everything at once")]),
    ("chaos ls", &[("faultline chaos ls", "kinds, and the runs so far"), ("faultline chaos ls -o json", "with all figures")]),
    ("chaos metrics", &[("faultline chaos metrics", "metrics for a hypothesis")]),
    ("decode", &[("faultline decode <message.bin", "one message as JSON"), ("faultline decode -o json <message.bin", "the same")]),
    (
        "audit",
        &[
            ("faultline audit", "exit code 5 when a job was lost or ended twice"),
            ("faultline audit --watch --for 5m", "live, for so long"),
            ("faultline audit --wait 60s -o json", "patient, for a program"),
        ],
    ),
];

/// The examples of one command, by its words without `faultline`.
fn of(path: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == path).map_or(&[], |(_, examples)| examples)
}

/// As they stand in a help text: what they do stands in one column where the lines are short enough for that.
pub(crate) fn text(path: &str) -> Option<String> {
    let examples = of(path);
    let width = examples.iter().map(|(line, _)| line.len()).filter(|&len| len <= 56).max().unwrap_or(0);
    let lines = examples.iter().map(|(line, what)| format!("  {line:<width$}  # {what}"));
    (!examples.is_empty()).then(|| lines.collect::<Vec<_>>().join("\n"))
}

/// Adds the examples to the help of a command and of all below it.
pub(crate) fn add(command: Command) -> Command {
    add_below(command, "")
}

/// The words of a command below another one.
pub(crate) fn path_of(parent: &str, name: &str) -> String {
    format!("{parent} {name}").trim_start().to_owned()
}

fn add_below(command: Command, path: &str) -> Command {
    let before = command.get_after_help().map(|text| format!("\n\n{text}")).unwrap_or_default();
    let command = match text(path) {
        Some(examples) => command.after_help(format!("EXAMPLES\n{examples}{before}")),
        None => command,
    };
    command.mut_subcommands(|below| {
        let path = path_of(path, below.get_name());
        add_below(below, &path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::definition;

    /// Words as a shell makes them, for the little that examples use of it.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" | ").next().unwrap_or_default();
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for letter in line.chars() {
            match letter {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                letter => words.last_mut().unwrap().push(letter),
            }
        }
        words.retain(|word| !word.is_empty() && !word.starts_with(['>', '<']));
        words
    }

    fn each(command: &Command, path: &str, seen: &mut Vec<String>, look: &impl Fn(&Command, &str)) {
        look(command, path);
        seen.push(path.to_owned());
        for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            each(below, &path_of(path, below.get_name()), seen, look);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_parses() {
        let command = definition();
        let mut seen = Vec::new();
        each(&command, "", &mut seen, &|below, path| {
            let help = below.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("EXAMPLES\n"), "`faultline {path}` has no examples");
            for (line, what) in of(path) {
                let words = words(line);
                let parsed = definition().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                let (mut matches, mut found) = (parsed.as_ref().unwrap(), Vec::new());
                while let Some((name, below)) = matches.subcommand() {
                    found.push(name);
                    matches = below;
                }
                assert!(found.join(" ").starts_with(path) && !what.is_empty(), "{line} is not an example of `faultline {path}`");
            }
        });
        for (path, _) in EXAMPLES {
            assert!(seen.iter().any(|known| known == path), "there is no `faultline {path}`");
        }
    }

    #[test]
    fn every_argument_and_option_says_what_it_is() {
        each(&definition(), "", &mut Vec::new(), &|below, path| {
            for argument in below.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "`{}` of `faultline {path}` has no help", argument.get_id());
            }
        });
    }

    #[test]
    fn what_they_do_stands_in_a_column() {
        assert_eq!(text("scale").unwrap().lines().map(|line| line.find("# ")).collect::<Vec<_>>(), [Some(30), Some(30)]);
        assert_eq!(text("no such"), None);
        let root = definition().get_after_help().unwrap().to_string();
        assert!(root.contains("\n\nExit codes: 0 ok"), "{root}");
    }
}
