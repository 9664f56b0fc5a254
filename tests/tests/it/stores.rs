//! Every stream and every bucket is deleted and set up again, purged, and put back from an older copy, while the services go on
//! running; and all of them are lost at once. Each time the cluster works again by itself within a bounded time: a new job commits, the
//! nodes are listed, what was set is still set, the feed goes on, and `doctor` says how it is.

mod stand;

use std::path::{Path, PathBuf};

use faultline_protocol::streams::{self, Provision};
use stand::Stand;
use tokio::time::Instant;

/// By name: the streams, and the buckets' streams.
fn all() -> Vec<String> {
    let provision = Provision::default();
    let buckets = streams::bucket_configs(provision).into_iter().map(|bucket| format!("KV_{}", bucket.bucket));
    streams::stream_configs(provision).into_iter().map(|stream| stream.name).chain(buckets).collect()
}

#[tokio::test]
async fn what_is_deleted_and_set_up_again_is_filled_again() {
    let stand = Stand::raise().await;
    for name in all() {
        let began = Instant::now();
        stand.cluster.nats.jetstream.delete_stream(&name).await.unwrap_or_else(|error| panic!("deleting {name}: {error}"));
        stand.doctor_names_missing(&name).await;
        stand.set_up();
        stand.works_again(&format!("{name} deleted"), began).await;
    }
}

#[tokio::test]
async fn what_is_purged_is_filled_again() {
    let stand = Stand::raise().await;
    for name in all() {
        let began = Instant::now();
        let stream = stand.cluster.nats.jetstream.get_stream(&name).await.expect("it is there");
        stream.purge().await.unwrap_or_else(|error| panic!("purging {name}: {error}"));
        stand.works_again(&format!("{name} purged"), began).await;
    }
}

/// The server is stopped, some folder of its store is put back as it was a while ago, and the server is started again.
#[tokio::test]
async fn an_older_copy_that_is_put_back_is_noticed() {
    let mut stand = Stand::raise().await;
    let Some(data) = stand.cluster.server.data() else { unreachable!("a local server has a folder") };
    let copies = tempfile::tempdir().expect("a temporary folder");
    let copy = copies.path().join("copy");
    stand.cluster.server.kill9().await;
    copy_folder(&data, &copy);
    stand.cluster.server.restart().await;
    stand.works_again("copied", Instant::now()).await;
    // One by one, and then all of it.
    for name in all().into_iter().map(Some).chain([None]) {
        let label = format!("an older copy of {}", name.as_deref().unwrap_or("everything"));
        stand.outgrow_copy().await;
        let began = Instant::now();
        stand.cluster.server.kill9().await;
        let part = name.as_deref().map_or_else(PathBuf::new, |name| folder_of(&data, name));
        std::fs::remove_dir_all(data.join(&part)).expect("the folder can be removed");
        copy_folder(&copy.join(&part), &data.join(&part));
        stand.cluster.server.restart().await;
        stand.works_again(&label, began).await;
    }
}

#[tokio::test]
async fn an_empty_store_is_filled_again() {
    let mut stand = Stand::raise().await;
    let Some(data) = stand.cluster.server.data() else { unreachable!("a local server has a folder") };
    let began = Instant::now();
    stand.cluster.server.kill9().await;
    std::fs::remove_dir_all(&data).expect("the folder can be removed");
    stand.cluster.server.restart().await;
    stand.set_up();
    stand.forget_drained();
    stand.works_again("everything lost", began).await;
}

/// Where a server keeps one stream, below its folder: the account's name is between.
fn folder_of(data: &Path, stream: &str) -> PathBuf {
    let jetstream = data.join("jetstream");
    let accounts = std::fs::read_dir(&jetstream).expect("the server's folder").flatten().map(|entry| entry.path());
    let found = accounts.map(|account| account.join("streams").join(stream)).find(|folder| folder.is_dir());
    let found = found.unwrap_or_else(|| panic!("no folder of {stream} below {}", jetstream.display()));
    found.strip_prefix(data).expect("it is below").to_owned()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            std::fs::copy(&path, &copy).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

#[tokio::test]
async fn a_leader_whose_epoch_is_below_what_workers_have_heard_of_gets_above_it() {
    let stand = Stand::raise().await;
    let led = stand.cluster.stats().await.expect("a leader");
    // As from a leader of a store that is lost.
    let newest = led.epoch + 3_600_000;
    let order = faultline_protocol::messages::SyncOrder { epoch: newest };
    stand.cluster.nats.publish(faultline_protocol::subjects::CTL_ALL_SYNC, &order).await.expect("it is published");
    let began = Instant::now();
    stand.works_again("a higher epoch heard of", began).await;
    let now = stand.cluster.stats().await.expect("a leader");
    assert!(now.epoch > newest && now.refused_total > 0, "{now:?}");
    assert_eq!((now.refusal.as_str(), now.violations_total, now.leader_since_ms), ("", 0, led.leader_since_ms), "in the same term");
}
