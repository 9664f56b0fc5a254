//! Who gives an order, for the history: the command or page, and the user of this machine.

/// The users of this machine, <https://man7.org/linux/man-pages/man5/passwd.5.html>.
const USERS: &str = "/etc/passwd";

/// Such as "`faultline kill`, user root".
pub fn by(command: &str, user: &str) -> String {
    format!("`{command}`, user {user}")
}

/// This process and its user.
pub fn me(command: &str) -> String {
    by(command, &user_name(rustix::process::geteuid().as_raw()))
}

/// The name of a user; the number where no name is known.
pub fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    name_in(&users, uid).unwrap_or_else(|| format!("number {uid}"))
}

fn name_in(users: &str, uid: u32) -> Option<String> {
    let line = users.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(uid))?;
    let name = line.split(':').next().filter(|name| !name.is_empty() && name.len() <= 64)?;
    name.chars().all(|letter| letter.is_ascii_graphic()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_at_least_a_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nb\u{1b}d:x:1001:1::/:\n";
        assert_eq!(name_in(users, 0).as_deref(), Some("root"));
        assert_eq!(name_in(users, 1000).as_deref(), Some("ann"));
        assert_eq!((name_in(users, 1001), name_in(users, 7)), (None, None));
        assert_eq!(by("faultline kill", "ann"), "`faultline kill`, user ann");
    }
}
