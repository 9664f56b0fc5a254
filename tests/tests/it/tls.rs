//! TLS with certificates on both sides, made here: a job commits through a cluster that reaches NATS in no other way, and every way to
//! get it wrong is refused with words that help.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use faultline_tests::cluster::{PATIENCE, program};
use faultline_tests::nats::TestNats;
use faultline_tests::up::text;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// One that signs certificates, and leaves its own in the folder.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority(Issuer::new(params, key))
    }

    /// `<name>.pem` and `<name>.key`, the key for its owner alone.
    fn issue(&self, folder: &Path, name: &str, hosts: &[&str], purpose: ExtendedKeyUsagePurpose) {
        use std::os::unix::fs::PermissionsExt as _;
        let mut params = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        let path = folder.join(format!("{name}.key"));
        std::fs::write(&path, key.serialize_pem()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A folder with certificates and keys, and a server that wants both.
struct Secured {
    folder: TempDir,
    nats: TestNats,
}

impl Secured {
    async fn start() -> Secured {
        let folder = TempDir::new().unwrap();
        let ca = Authority::new(folder.path(), "ca");
        ca.issue(folder.path(), "server", &["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
        ca.issue(folder.path(), "client", &[], ExtendedKeyUsagePurpose::ClientAuth);
        let stranger = Authority::new(folder.path(), "strange-ca");
        stranger.issue(folder.path(), "stranger", &[], ExtendedKeyUsagePurpose::ClientAuth);
        let args = ["nats-config", "--out", ".data", "--server-cert", "server.pem", "--server-key", "server.key", "--client-ca", "ca.pem"];
        let written = faultline(folder.path(), &args).output().unwrap();
        assert!(written.status.success() && text(&written).contains("tls://127.0.0.1:4222"), "{}", text(&written));
        let config = std::fs::read_to_string(folder.path().join(".data/nats-server.conf")).unwrap();
        let nats = TestNats::start_local(&config).await;
        Secured { folder, nats }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.nats.port())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `[common]` for everything that is started in the folder from now on.
    fn settings(&self, url: &str, files: [Option<&str>; 3]) {
        let mut toml = format!("[common]\nnats_url = \"{url}\"\n");
        for (key, file) in ["tls_ca_file", "tls_cert_file", "tls_key_file"].into_iter().zip(files) {
            toml.extend(file.map(|file| format!("{key} = \"{file}\"\n")));
        }
        std::fs::write(self.path("faultline.toml"), toml).unwrap();
    }

    fn faultline(&self, args: &[&str]) -> Output {
        faultline(self.folder.path(), args).output().unwrap()
    }

    /// What a command says that must not get in.
    fn refusal(&self, url: &str, files: [Option<&str>; 3], code: i32) -> String {
        self.settings(url, files);
        let refused = self.faultline(&["rate", "get"]);
        assert_eq!(refused.status.code(), Some(code), "{}", text(&refused));
        text(&refused)
    }
}

fn faultline(folder: &Path, args: &[&str]) -> Command {
    command("faultline", folder, args)
}

fn command(name: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FAULTLINE_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("NO_COLOR", "1").current_dir(folder).stdin(Stdio::null());
    command
}

const RIGHT: [Option<&str>; 3] = [Some("ca.pem"), Some("client.pem"), Some("client.key")];

/// `faultline up`; ends with the value.
struct RunningUp(Child);

impl Drop for RunningUp {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn with_certificates_on_both_sides_a_job_commits() {
    let secured = Secured::start().await;
    secured.settings(&secured.url("tls"), RIGHT);
    let setup = secured.faultline(&["setup"]);
    assert!(setup.status.success(), "{}", text(&setup));
    let log = std::fs::File::create(secured.path("up.log")).unwrap();
    let args = ["--stop-with-parent", "up", "--workers", "1", "--schedulers", "1", "--faults", "off", "--no-generator", "--no-dashboard"];
    let up = faultline(secured.folder.path(), &args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _up = RunningUp(up);
    let deadline = Instant::now() + PATIENCE;
    while !text(&secured.faultline(&["nodes"])).contains("gpu-node-01") {
        let log = std::fs::read_to_string(secured.path("up.log")).unwrap();
        assert!(Instant::now() < deadline, "no node came:\n{log}");
        sleep(Duration::from_millis(100)).await;
    }
    let submitted = secured.faultline(&["submit", "--kind", "sleep", "--duration", "50ms", "--wait"]);
    assert!(submitted.status.success() && text(&submitted).contains("committed"), "{}", text(&submitted));
}

#[tokio::test]
async fn every_wrong_certificate_is_refused_with_words_that_help() {
    let secured = Secured::start().await;
    let (tls, nats) = (secured.url("tls"), secured.url("nats"));
    for (what, url, files) in [
        ("no client certificate", &tls, [Some("ca.pem"), None, None]),
        ("a client certificate of another CA", &tls, [Some("ca.pem"), Some("stranger.pem"), Some("stranger.key")]),
        ("another CA than the server's", &tls, [Some("strange-ca.pem"), Some("client.pem"), Some("client.key")]),
        ("no CA", &tls, [None, Some("client.pem"), Some("client.key")]),
        ("nothing at all, and a URL without TLS", &nats, [None, None, None]),
    ] {
        let said = secured.refusal(url, files, 3);
        for word in ["TLS", "--tls-ca-file", "--tls-cert-file"] {
            assert!(said.contains(word), "{what}: `{word}` is not in: {said}");
        }
    }
    let said = secured.refusal(&format!("tls://localhost:{}", secured.nats.port()), RIGHT, 3);
    assert!(said.contains("made for the host of the URL"), "{said}");

    let said = secured.refusal(&tls, [Some("nothing.pem"), None, None], 2);
    assert!(said.contains("tls_ca_file (nothing.pem)") && said.contains("cannot be read"), "{said}");
    let said = secured.refusal(&tls, [Some("ca.pem"), Some("client.pem"), None], 2);
    assert!(said.contains("tls_key_file must name its private key"), "{said}");

    // A certificate alone does not make a user.
    secured.settings(&tls, RIGHT);
    let stranger = TempDir::new().unwrap();
    std::fs::copy(secured.path("faultline.toml"), stranger.path().join("faultline.toml")).unwrap();
    for name in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(secured.path(name), stranger.path().join(name)).unwrap();
    }
    let refused = faultline(stranger.path(), &["rate", "get"]).output().unwrap();
    assert!(refused.status.code() == Some(3) && text(&refused).contains("refused this user"), "{}", text(&refused));
}

#[tokio::test]
async fn a_service_that_is_not_let_in_says_so_and_ends() {
    let secured = Secured::start().await;
    let url = secured.url("tls");
    let args = ["--nats-url", &url, "--nkey-file", ".data/nkeys/worker.nk", "--tls-ca-file", "strange-ca.pem", "--stop-with-parent"];
    let mut worker = command("faultline-worker", secured.folder.path(), &args);
    let mut worker = worker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while worker.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            worker.kill().unwrap();
        }
        sleep(Duration::from_millis(50)).await;
    }
    let output = worker.wait_with_output().unwrap();
    assert!(!output.status.success() && text(&output).contains("--tls-ca-file"), "{}", text(&output));
}
