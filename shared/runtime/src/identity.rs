//! Who a process says that it is, where a job states its submitter. NATS does not tell a reader whose key a message was published with, so
//! this is a statement and no proof.

/// The longest name of a user or a host that is told.
const MAX_CHARS: usize = 40;

/// Such as `command, user ann@login-1`.
pub fn stated(program: &str) -> String {
    let (user, host) = (user(), host());
    match host {
        Some(host) => format!("{program}, user {user}@{host}"),
        None => format!("{program}, user {user}"),
    }
}

fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().and_then(|name| plain(&name)));
    named.unwrap_or_else(|| format!("with uid {}", rustix::process::getuid().as_raw()))
}

fn host() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    kernel.or_else(|| std::env::var("HOSTNAME").ok()).and_then(|name| plain(&name))
}

/// Printable and short; `None` when nothing is left.
fn plain(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Origin;

    use super::*;

    #[test]
    fn a_statement_is_short_and_printable() {
        assert_eq!(plain(" login-1\n"), Some("login-1".to_owned()));
        assert_eq!((plain(" \n"), plain(&"x".repeat(99)).map(|text| text.len())), (None, Some(MAX_CHARS)));
        assert!(stated("command").starts_with("command, user "));
        assert!(!Origin::by(stated("command")).is_unstated());
    }
}
