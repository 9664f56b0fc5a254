//! What the kernel tells of a process, named by its number or `self`. `None` where it does not tell, or the process is gone.

use std::fmt::Display;
use std::fs::read_to_string;

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
        assert_eq!((kib(own, "Vm"), state(u32::MAX)), (None, None));
    }
}
