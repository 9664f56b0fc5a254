//! The text of a nats-server configuration: a pure function of its inputs. Nothing is read or written here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use faultline_protocol::codec::MAX_BODY_BYTES;

use super::accounts::{self, Crossing, Kind, QUEUE, RECORDS, SYSTEM};
use super::fsync::Fsync;
use super::member::{Member, ServerTls};
use super::permissions::{ADMIN, ROWS, Row};

/// What differs between servers.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    /// Folder of JetStream's files.
    pub(crate) store_dir: String,
    /// None for a single server.
    pub(crate) member: Option<Member>,
    /// None without TLS.
    pub(crate) tls: Option<ServerTls>,
    /// The users' public nkeys.
    pub(crate) public_keys: BTreeMap<String, String>,
    /// What the servers of a cluster know one another by.
    pub(crate) route_secret: String,
    pub(crate) fsync: Fsync,
}

/// The routes to the other servers; nothing for a single one.
fn cluster_block(member: &Member, secret: &str) -> String {
    let routes: Vec<String> = member.routes.iter().map(|address| quoted(&format!("nats://{ROUTE_USER}:{secret}@{address}"))).collect();
    format!(
        "\ncluster {{\n  name: faultline\n  listen: {}\n  authorization {{ user: {ROUTE_USER}, password: {} }}\n  routes: [{}]\n  \
         # Clients name all servers, or go through a proxy: nothing to tell them.\n  no_advertise: true\n}}\n",
        quoted(&member.listen),
        quoted(secret),
        routes.join(", "),
    )
}

/// Whom servers of a cluster say they are to one another.
const ROUTE_USER: &str = "route";
/// Encryption, and a certificate from each client; without one it is not let in, whatever key it has.
fn tls_block(tls: &ServerTls) -> String {
    format!(
        "\ntls {{\n  cert_file: {}\n  key_file: {}\n  ca_file: {}\n  verify: true\n  timeout: 5\n}}\n",
        quoted(&tls.cert_file),
        quoted(&tls.key_file),
        quoted(&tls.ca_file),
    )
}

/// The whole file.
pub(crate) fn render(settings: &ServerSettings) -> String {
    let mut text = format!(
        r#"# Written by `faultline`; changes are lost at its next start.
server_name: {name}
host: {host}
port: {port}

jetstream {{
  store_dir: {store_dir}
  # The default of 2 minutes loses everything since then when the operating system dies.
  sync_interval: {sync}
  # The streams have limits of their own; a small disk must not refuse to make them.
  max_file_store: 64GB
}}

# A client that vanished without a word is noticed after about 4 s, not after minutes.
ping_interval: "2s"
ping_max: 2
write_deadline: "2s"
max_payload: {MAX_BODY_BYTES}
max_connections: 65536

system_account: {SYSTEM}
"#,
        name = settings.member.as_ref().map_or("faultline".to_owned(), |member| format!("faultline-{}", member.index + 1)),
        sync = quoted(settings.fsync.as_str()),
        host = quoted(&settings.host.to_string()),
        port = settings.port,
        store_dir = quoted(&settings.store_dir),
    );
    accounts_block(&mut text, &settings.public_keys);
    if let Some(tls) = &settings.tls {
        text.push_str(&tls_block(tls));
    }
    if let Some(member) = &settings.member {
        text.push_str(&cluster_block(member, &settings.route_secret));
    }
    text
}

/// The settings of a file that its flags decide.
const FLAGGED: [&str; 7] = ["host", "port", "store_dir", "sync_interval", "cert_file", "key_file", "ca_file"];

/// Which of those settings another file has otherwise; none where there was no file.
pub(crate) fn changes(before: &str, after: &str) -> Vec<String> {
    let value = |text: &str, key: &str| {
        let value = text.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": ").map(str::to_owned));
        value.unwrap_or_else(|| "none".to_owned())
    };
    let differing = FLAGGED.iter().map(|key| (key, value(before, key), value(after, key))).filter(|(_, before, after)| before != after);
    if before.is_empty() { Vec::new() } else { differing.map(|(key, before, after)| format!("{key}: {before} -> {after}")).collect() }
}

/// One account a user, and two without users for the streams; what crosses between them is named on both sides.
fn accounts_block(text: &mut String, public_keys: &BTreeMap<String, String>) {
    let crossings: Vec<Crossing> = accounts::crossings().into_iter().collect();
    text.push_str("accounts {\n");
    account_block(text, SYSTEM, &crossings, "");
    for stores in [QUEUE, RECORDS] {
        account_block(text, stores, &crossings, "    jetstream: enabled\n");
    }
    let admin = public_keys.get(ADMIN).map(|key| (ADMIN, format!("      {{ nkey: {key} }}\n")));
    let others = ROWS.iter().filter_map(|row| public_keys.get(row.user).map(|key| (row.user, user_line(row, key))));
    for (user, line) in admin.into_iter().chain(others) {
        account_block(text, &accounts::account_of(user), &crossings, &format!("    users: [\n{line}    ]\n"));
    }
    text.push_str("}\n");
}

fn account_block(text: &mut String, name: &str, crossings: &[Crossing], inside: &str) {
    let _ = writeln!(text, "  {name} {{");
    let mut exports: BTreeMap<(Kind, &str), Vec<&str>> = BTreeMap::new();
    for crossing in crossings.iter().filter(|crossing| crossing.from == name) {
        exports.entry((crossing.kind, export_subject(crossing))).or_default().push(&crossing.to);
    }
    let exports = exports.iter().map(|((kind, subject), to)| {
        let (word, answers) = match kind {
            Kind::Told => ("stream", String::new()),
            Kind::Asked => ("service", String::new()),
            Kind::AskedForMany { quiet: None } => ("service", ", response_type: stream".to_owned()),
            Kind::AskedForMany { quiet: Some(quiet) } => {
                ("service", format!(", response_type: stream, response_threshold: {}", quoted(quiet)))
            }
        };
        format!("{{ {word}: {}{answers}, accounts: [{}] }}", quoted(subject), to.join(", "))
    });
    list_block(text, "exports", exports);
    let imports = crossings.iter().filter(|crossing| crossing.to == name).map(|crossing| {
        let word = if crossing.kind == Kind::Told { "stream" } else { "service" };
        let renamed = crossing.renamed.map(|to| format!(", to: {}", quoted(to))).unwrap_or_default();
        format!("{{ {word}: {{ account: {}, subject: {} }}{renamed} }}", crossing.from, quoted(&crossing.subject))
    });
    list_block(text, "imports", imports);
    text.push_str(inside);
    text.push_str("  }\n");
}

/// The server finds the account in the events' subjects by the place of the wildcard.
fn export_subject(crossing: &Crossing) -> &str {
    match crossing.subject.strip_prefix("$SYS.ACCOUNT.").and_then(|rest| rest.split_once('.')) {
        Some((_, "CONNECT")) => "$SYS.ACCOUNT.*.CONNECT",
        Some((_, "DISCONNECT")) => "$SYS.ACCOUNT.*.DISCONNECT",
        _ => &crossing.subject,
    }
}

fn list_block(text: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|line| format!("      {line}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(text, "    {name}: [\n{}    ]\n", lines.concat());
    }
}

fn user_line(row: &Row, key: &str) -> String {
    let list = |subjects: Vec<String>| subjects.iter().map(|subject| quoted(subject)).collect::<Vec<_>>().join(", ");
    let deny = match row.deaf_to {
        [] => String::new(),
        deaf_to => format!(", deny: [{}]", list(deaf_to.iter().map(|&subject| subject.to_owned()).collect())),
    };
    // The server takes an empty list for no limits.
    let publish = match row.publish_allowed() {
        nothing if nothing.is_empty() => "deny: [\">\"]".to_owned(),
        allowed => format!("allow: [{}]", list(allowed)),
    };
    format!(
        "      {{ nkey: {key}, permissions: {{\n          publish: {{ {publish} }}\n          \
         subscribe: {{ allow: [{subscribe}]{deny} }}\n          allow_responses: true\n      }} }}\n",
        subscribe = list(row.subscribe_allowed()),
    )
}

/// A double-quoted string of the configuration's language, which knows these escapes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::permissions::users;
    use super::*;

    fn sample() -> String {
        sample_of(None)
    }

    fn sample_of(member: Option<Member>) -> String {
        render(&settings_of(member))
    }

    fn settings_of(member: Option<Member>) -> ServerSettings {
        let public_keys = users().map(|user| (user.to_owned(), format!("U{}", user.to_uppercase().replace('-', "")))).collect();
        let (host, store_dir, route_secret) = ([127, 0, 0, 1].into(), "/tmp/a \"b\"".into(), "0123abcd".into());
        ServerSettings {
            host,
            port: 4333,
            store_dir,
            fsync: Fsync::default_for(member.is_some()),
            member,
            tls: None,
            public_keys,
            route_secret,
        }
    }

    #[test]
    fn every_user_has_a_key_and_an_account_of_its_own_and_workers_ends_are_told_to_the_detector() {
        let text = sample();
        assert_eq!(text.matches("nkey: U").count(), users().count());
        assert_eq!(text.matches("    users: [").count(), users().count());
        assert!(text.contains("nkey: UADMIN }"));
        assert!(text.contains(r#"{ stream: { account: SYS, subject: "$SYS.ACCOUNT.WORKER.DISCONNECT" }, to: "sysev.disconnect" }"#));
        assert!(text.contains(r#"{ stream: "$SYS.ACCOUNT.*.DISCONNECT", accounts: [FAULT_DETECTOR] }"#));
        assert_eq!(text.matches("jetstream: enabled").count(), 2);
        assert_eq!(text.matches("allow_responses: true").count(), ROWS.len());
    }

    #[test]
    fn listens_where_it_is_told_and_syncs_every_second() {
        let text = sample();
        for line in
            ["host: \"127.0.0.1\"", "port: 4333", "sync_interval: \"1s\"", "ping_interval: \"2s\"", "ping_max: 2", "max_payload: 1048576"]
        {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.contains(r#"store_dir: "/tmp/a \"b\"""#));
        assert!(!text.contains("0123abcd"), "a single server has no routes");
        assert_eq!(text.matches(['{', '[']).count(), text.matches(['}', ']']).count());
    }

    #[test]
    fn a_file_that_is_written_again_tells_what_changed() {
        let before = render(&ServerSettings { fsync: Fsync::Always, port: 4333, ..settings_of(None) });
        let tls = ServerTls { cert_file: "/c.pem".into(), key_file: "/k.pem".into(), ca_file: "/ca.pem".into() };
        let after = render(&ServerSettings { port: 4222, tls: Some(tls), ..settings_of(None) });
        let told = [
            "port: 4333 -> 4222",
            r#"sync_interval: "always" -> "1s""#,
            r#"cert_file: none -> "/c.pem""#,
            r#"key_file: none -> "/k.pem""#,
            r#"ca_file: none -> "/ca.pem""#,
        ];
        assert_eq!(changes(&before, &after), told);
        assert_eq!((changes("", &after), changes(&after, &after)), (vec![], vec![]));
    }

    #[test]
    fn a_single_server_syncs_always_when_it_is_told_to() {
        let settings = ServerSettings { fsync: Fsync::Always, ..settings_of(None) };
        assert!(render(&settings).contains("sync_interval: \"always\""));
    }

    #[test]
    fn a_member_of_a_cluster_has_its_own_name_and_routes_to_all_and_syncs_always() {
        let text = sample_of(Some(Member::on_loopback(1, &[6333, 6334, 6335])));
        for line in [
            "server_name: faultline-2",
            "sync_interval: \"always\"",
            "listen: \"127.0.0.1:6334\"",
            "nats://route:0123abcd@127.0.0.1:6335",
            "no_advertise",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches(['{', '[']).count(), text.matches(['}', ']']).count());
    }
}
