//! What the kernel tells of a process, named by its number or `self`. `None` where it does not tell, or the process is gone.

use std::fmt::Display;
use std::fs::read_to_string;
use std::time::Duration;

/// Ticks a second of the times in `/proc`: `USER_HZ`, which is the same on every kernel for x86 and Arm, <https://man7.org/linux/man-pages/man7/time.7.html>.
const USER_HZ: u64 = 100;

/// One size of `/proc/PID/status` in KiB, such as `VmRSS`; <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>.
pub fn kib(pid: impl Display, field: &str) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The letter of its state, such as `T` for a stopped one and `Z` for one that has ended.
pub fn state(pid: impl Display) -> Option<char> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The processor time that all its threads took, in its own code and in the kernel, to a hundredth of a second.
pub fn cpu(pid: impl Display) -> Option<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The 14th and 15th field; the first two are before the space.
    let ticks: Vec<u64> = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    let [own, kernel] = ticks[..] else { return None };
    Some(Duration::from_millis((own + kernel) * 1_000 / USER_HZ))
}

/// Those that its first thread started.
pub fn children(pid: u64) -> Vec<u64> {
    let children = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_has_memory() {
        if !std::path::Path::new("/proc/self/status").exists() {
            return println!("SKIPPED: there is no /proc here");
        }
        let own = std::process::id();
        assert!(kib(own, "VmRSS") > Some(0) && kib(own, "VmPeak") >= kib(own, "VmRSS"));
        assert!(state(own).is_some_and(|state| "RSD".contains(state)));
        assert_eq!((kib(own, "Vm"), state(u32::MAX), cpu(u32::MAX)), (None, None, None));
        let (before, began) = (cpu(own).expect("it has taken some"), tokio::time::Instant::now());
        while cpu(own) == Some(before) {
            assert!(began.elapsed() < Duration::from_secs(30), "a busy process takes processor time");
        }
    }
}
