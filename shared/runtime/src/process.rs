//! Which process this is, in a form that another process can read: so that one that finds a name taken can say by whom, and sees whether
//! the holder still runs when it is on the same machine.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::clock::random_u128;

/// One process of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub host: String,
    pub pid: u32,
    /// When it started, in the kernel's ticks since the machine did: a process id alone may be another process' by now. 0 when unknown.
    started: u64,
    /// Within which process ids mean the same processes: a boot of a machine, and a namespace of it. `-` when unknown.
    space: String,
    /// Told apart from all others.
    unique: u128,
}

/// Whether a process still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Runs,
    Dead,
    /// It is, or was, on another machine, or this system does not say.
    Unknown,
}

impl ProcessIdentity {
    /// That of this process.
    pub fn own() -> &'static Self {
        static OWN: OnceLock<ProcessIdentity> = OnceLock::new();
        OWN.get_or_init(|| {
            let pid = std::process::id();
            let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
            let host = read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
            let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
            let space = read("/proc/sys/kernel/random/boot_id")
                .zip(namespace)
                .map(|(boot, namespace)| format!("{boot}:{}", namespace.to_string_lossy()));
            Self {
                host: host.map(|host| token(&host)).unwrap_or_else(|| "unknown-host".to_owned()),
                pid,
                started: stat(pid).map_or(0, |(_, started)| started),
                space: space.map_or_else(|| "-".to_owned(), |space| token(&space)),
                unique: random_u128(),
            }
        })
    }

    /// Whether that process still runs, as far as this one can see.
    pub fn standing(&self) -> Standing {
        let own = Self::own();
        if own.space == "-" || self.space != own.space || self.started == 0 {
            return Standing::Unknown;
        }
        match stat(self.pid) {
            Some((state, started)) if started == self.started && !matches!(state, 'Z' | 'X') => Standing::Runs,
            Some(_) | None => Standing::Dead,
        }
    }
}

/// One word.
fn token(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

/// The state of a process and when it started, <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may contain anything; the state is the third field and the start the 22nd.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, pid, started, space, unique } = self;
        write!(f, "process {pid} on {host} started {started} in {space} run {unique:032x}")
    }
}

impl FromStr for ProcessIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let ["process", pid, "on", host, "started", started, "in", space, "run", unique] = words[..] else { return Err(()) };
        Ok(Self {
            host: host.to_owned(),
            pid: pid.parse().map_err(drop)?,
            started: started.parse().map_err(drop)?,
            space: space.to_owned(),
            unique: u128::from_str_radix(unique, 16).map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_back_as_it_was_written() {
        let own = ProcessIdentity::own();
        assert_eq!(own.to_string().parse::<ProcessIdentity>().as_ref(), Ok(own));
        assert!("scheduler-1".parse::<ProcessIdentity>().is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_dead_process_is_told_from_one_that_runs_and_from_one_elsewhere() {
        let own = ProcessIdentity::own();
        assert_eq!(own.standing(), Standing::Runs);
        // Its number may be another one's by now.
        assert_eq!(ProcessIdentity { started: own.started + 1, ..own.clone() }.standing(), Standing::Dead);
        assert_eq!(ProcessIdentity { space: "another-boot".into(), ..own.clone() }.standing(), Standing::Unknown);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (_, started) = stat(child.id()).unwrap();
        let of_child = ProcessIdentity { pid: child.id(), started, ..own.clone() };
        child.wait().unwrap();
        assert_eq!(of_child.standing(), Standing::Dead);
    }
}
