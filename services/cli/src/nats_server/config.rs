//! The text of a nats-server configuration: a pure function of its inputs. Nothing is read or written here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use faultline_protocol::codec::MAX_BODY_BYTES;
use faultline_protocol::subjects;

use super::permissions::{ADMIN, ROWS, Row};
use super::{Member, ServerTls};

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
}

/// With copies on three servers, syncing before each acknowledgement costs next to nothing, and a power cut takes nothing away. Alone it
/// would cost a hundred times the throughput; the server's default of 2 minutes loses all of them when the operating system dies.
fn sync_interval(settings: &ServerSettings) -> &'static str {
    if settings.member.is_some() { "always" } else { "\"1s\"" }
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

/// The account that everything of Faultline lives in.
const ACCOUNT: &str = "APP";

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

system_account: SYS
accounts {{
  SYS {{
    exports: [
      {{ stream: "$SYS.ACCOUNT.*.CONNECT" }}
      {{ stream: "$SYS.ACCOUNT.*.DISCONNECT" }}
    ]
  }}
  {ACCOUNT} {{
    jetstream: enabled
    # The moment a process dies its connection ends: the fastest hint there is.
    imports: [
      {{ stream: {{ account: SYS, subject: "$SYS.ACCOUNT.{ACCOUNT}.CONNECT" }}, to: {connect} }}
      {{ stream: {{ account: SYS, subject: "$SYS.ACCOUNT.{ACCOUNT}.DISCONNECT" }}, to: {disconnect} }}
    ]
    users: [
"#,
        name = settings.member.as_ref().map_or("faultline".to_owned(), |member| format!("faultline-{}", member.index + 1)),
        sync = sync_interval(settings),
        host = quoted(&settings.host.to_string()),
        port = settings.port,
        store_dir = quoted(&settings.store_dir),
        connect = quoted(subjects::SYSTEM_CONNECT),
        disconnect = quoted(subjects::SYSTEM_DISCONNECT),
    );
    if let Some(key) = settings.public_keys.get(ADMIN) {
        let _ = writeln!(text, "      # {ADMIN}\n      {{ nkey: {key} }}");
    }
    for row in ROWS {
        if let Some(key) = settings.public_keys.get(row.user) {
            user_block(&mut text, &row, key);
        }
    }
    text.push_str("    ]\n  }\n}\n");
    if let Some(tls) = &settings.tls {
        text.push_str(&tls_block(tls));
    }
    if let Some(member) = &settings.member {
        text.push_str(&cluster_block(member, &settings.route_secret));
    }
    text
}

fn user_block(text: &mut String, row: &Row, key: &str) {
    let list = |subjects: Vec<String>| subjects.iter().map(|subject| quoted(subject)).collect::<Vec<_>>().join(", ");
    let deny = match row.deaf_to {
        [] => String::new(),
        deaf_to => format!(", deny: [{}]", list(deaf_to.iter().map(|&subject| subject.to_owned()).collect())),
    };
    let _ = write!(
        text,
        "      # {user}\n      {{ nkey: {key}, permissions: {{\n          publish: {{ allow: [{publish}] }}\n          \
         subscribe: {{ allow: [{subscribe}]{deny} }}\n          allow_responses: true\n      }} }}\n",
        user = row.user,
        publish = list(row.publish_allowed()),
        subscribe = list(row.subscribe_allowed()),
    );
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
        let public_keys = users().map(|user| (user.to_owned(), format!("U{}", user.to_uppercase().replace('-', "")))).collect();
        let (host, store_dir, route_secret) = ([127, 0, 0, 1].into(), "/tmp/a \"b\"".into(), "0123abcd".into());
        render(&ServerSettings { host, port: 4333, store_dir, member, tls: None, public_keys, route_secret })
    }

    #[test]
    fn every_user_has_a_key_and_the_imports_name_the_account() {
        let text = sample();
        assert_eq!(text.matches("nkey: U").count(), users().count());
        assert!(text.contains("nkey: UADMIN }"));
        assert!(text.contains(r#"subject: "$SYS.ACCOUNT.APP.DISCONNECT" }, to: "sysev.disconnect""#));
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
    fn a_member_of_a_cluster_has_its_own_name_and_routes_to_all_and_syncs_always() {
        let text = sample_of(Some(Member::on_loopback(1, &[6333, 6334, 6335])));
        for line in [
            "server_name: faultline-2",
            "sync_interval: always",
            "listen: \"127.0.0.1:6334\"",
            "nats://route:0123abcd@127.0.0.1:6335",
            "no_advertise",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches(['{', '[']).count(), text.matches(['}', ']']).count());
    }
}
