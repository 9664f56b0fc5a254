//! A listener without limits in each account, also in those without users: whatever is sent in an account, by a client or by the server,
//! its spy hears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use faultline_tests::cluster::PATIENCE;
use futures::StreamExt as _;
use tokio::time::{Instant, sleep};

const PASSWORD: &str = "spy";
const MARKER: &str = "spies.marker";
/// Between two looks. The server sends answers and traces from queues of its own, which lag behind on a busy machine: what one key caused must
/// not be heard under the next one.
const ROUND: Duration = Duration::from_millis(400);

/// A message as a spy heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) account: String,
    pub(crate) subject: String,
    pub(crate) body: Vec<u8>,
}

/// The accounts of a configuration as `faultline nats-config` writes it.
fn accounts(config: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("  ")?.strip_suffix(" {")?.to_owned()).filter(|name| !name.starts_with([' ', '#']));
    config.lines().filter_map(name).collect()
}

/// The same configuration with a spy in each account but the server's own.
pub(crate) fn with_spies(config: &str) -> String {
    let mut text = config.to_owned();
    for account in accounts(config).iter().filter(|account| *account != "SYS") {
        let spy = format!("{{ user: spy_{account}, password: {PASSWORD} }}");
        let start = text.find(&format!("\n  {account} {{\n")).expect("the account is there") + 1;
        let end = start + text[start..].find("\n  }\n").expect("it ends") + 1;
        let block = &text[start..end];
        let block = if block.contains("    users: [\n") {
            block.replace("    users: [\n", &format!("    users: [\n      {spy}\n"))
        } else {
            format!("{block}    users: [ {spy} ]\n")
        };
        text.replace_range(start..end, &block);
    }
    text
}

pub(crate) struct Spies {
    clients: BTreeMap<String, Client>,
    heard: Arc<Mutex<Vec<Heard>>>,
    rounds: u64,
}

impl Spies {
    pub(crate) async fn connect(url: &str, config: &str) -> Spies {
        let (mut clients, heard) = (BTreeMap::new(), Arc::new(Mutex::new(Vec::new())));
        for account in accounts(config).into_iter().filter(|account| account != "SYS") {
            let options = ConnectOptions::with_user_and_password(format!("spy_{account}"), PASSWORD.into()).subscription_capacity(1 << 20);
            let client = options.connect(url).await.unwrap_or_else(|error| panic!("the spy in {account}: {error}"));
            let mut everything = client.subscribe(">").await.unwrap();
            client.flush().await.unwrap();
            let (note, here) = (Arc::clone(&heard), account.clone());
            tokio::spawn(async move {
                while let Some(message) = everything.next().await {
                    let (subject, body) = (message.subject.to_string(), message.payload.to_vec());
                    note.lock().unwrap().push(Heard { account: here.clone(), subject, body });
                }
            });
            clients.insert(account, client);
        }
        Spies { clients, heard, rounds: 0 }
    }

    /// The spy in an account, which may also say anything there.
    pub(crate) fn client(&self, account: &str) -> &Client {
        &self.clients[account]
    }

    /// Everything that was heard since the last call, once nothing more comes.
    pub(crate) async fn settled(&mut self) -> Vec<Heard> {
        let deadline = Instant::now() + PATIENCE;
        let mut quiet_rounds = 0;
        let mut all = Vec::new();
        while quiet_rounds < 3 {
            assert!(Instant::now() < deadline, "the accounts do not come to rest");
            let before = all.len();
            all.extend(self.round().await);
            quiet_rounds = if all.len() == before { quiet_rounds + 1 } else { 0 };
        }
        all
    }

    /// What every spy has heard up to a message of its own.
    async fn round(&mut self) -> Vec<Heard> {
        sleep(ROUND).await;
        self.rounds += 1;
        let mark = self.rounds.to_string().into_bytes();
        for client in self.clients.values() {
            client.publish(MARKER, mark.clone().into()).await.unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let marked: BTreeSet<String> =
                self.heard.lock().unwrap().iter().filter(|heard| heard.body == mark).map(|heard| heard.account.clone()).collect();
            if marked.len() == self.clients.len() {
                break;
            }
            assert!(Instant::now() < deadline, "some spies hear nothing: only {marked:?} do");
            sleep(Duration::from_millis(5)).await;
        }
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.retain(|heard| heard.subject != MARKER);
        heard
    }
}
