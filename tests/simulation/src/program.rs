//! A policy program that mostly answers, on any node where the task fits; and sometimes late, wrongly, or not at all. It lives in the detector's
//! process and shares its fate.

use std::time::Duration;

use async_nats::Message;
use faultline_protocol::subjects;
use faultline_runtime::connection::Connection;
use faultline_runtime::wire::Post;
use futures::StreamExt;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use super::world::World;

/// As in `service:NAME`.
pub(crate) const NAME: &str = "mine";

pub(crate) async fn answer_all(world: World, nats: Connection) {
    let Ok(mut requests) = nats.hear(subjects::policy(NAME)).await else { return };
    let mut rng = Pcg64Mcg::seed_from_u64(nats.random_u128() as u64);
    while let Some(request) = requests.next().await {
        world.lock().net.stats.asked += 1;
        answer(&nats, &request, &mut rng).await;
    }
}

async fn answer(nats: &Connection, request: &Message, rng: &mut Pcg64Mcg) {
    let Some(reply) = request.reply.clone() else { return };
    let body = match rng.random_range(0..20) {
        0..=1 => return,
        2 => "{\"type\": \"unknown_world\"}\n".to_owned(),
        3 => "no JSON".to_owned(),
        4 => "{\"type\": \"error\", \"message\": \"drawn\"}\n".to_owned(),
        5..=6 => answers(request, |_| rng.random_range(0..9)),
        7..=8 => {
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..3_000))).await;
            answers(request, |fits| fits[rng.random_range(0..fits.len())])
        }
        _ => answers(request, |fits| fits[rng.random_range(0..fits.len())]),
    };
    let _ = nats.send(Post::bare(reply, body)).await;
}

/// A line for each task.
fn answers(request: &Message, mut choose: impl FnMut(&[u64]) -> u64) -> String {
    let lines = String::from_utf8_lossy(&request.payload);
    let asked = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|said| said["type"] == "ask");
    let one = |said: Value| {
        let fits: Vec<u64> = said["fits"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        format!("{}\n", json!({"id": said["id"], "node": choose(&fits)}))
    };
    asked.map(one).collect()
}
