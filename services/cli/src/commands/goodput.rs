//! `goodput`: where GPU time went.

use std::time::Duration;

use faultline_client::{ClientError, Leader};
use faultline_protocol::goodput::{GoodputView, gpu_time};
use faultline_protocol::messages::GoodputHistory;
use faultline_protocol::streams::{KEY_GOODPUT, KV_LEDGER};
use faultline_runtime::clock::ms;
use faultline_runtime::connect::{Nats, kv_get};

use super::link::Link;
use super::parse;
use crate::exit::Failure;
use crate::output::table;

const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GoodputFlags {
    /// How far back, at most an hour; in steps of ten seconds
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse::positive_duration)]
    last: Duration,
}

impl GoodputFlags {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.last > LONGEST || self.last < Duration::from_secs(10) {
            return Err(Failure::Usage("--last is out of range: an hour is kept, in rows of ten seconds; give 10s to 60m".to_owned()));
        }
        Ok(())
    }
}

pub(crate) async fn run(link: &Link, flags: &GoodputFlags) -> Result<(), Failure> {
    let history = match Leader::of(&link.nats).goodput().await {
        Err(ClientError::NoLeader { reason }) => {
            let history = stored(&link.nats).await?;
            note!("no scheduler leads ({reason}): this is what the last leader stored");
            history
        }
        asked => asked?,
    };
    link.out.one(&GoodputView::of(&history, ms(flags.last)), |view| words(link, view))
}

async fn stored(nats: &Nats) -> Result<GoodputHistory, Failure> {
    let failed = |error: String| Failure::Failed(anyhow::anyhow!("the GPU time that the last leader stored cannot be read: {error}"));
    let store = nats.bucket(KV_LEDGER).await.map_err(|error| failed(error.to_string()))?;
    Ok(kv_get(&store, KEY_GOODPUT).await.map_err(|error| failed(error.to_string()))?.unwrap_or_default())
}

fn words(link: &Link, view: &GoodputView) -> String {
    let mut classes = table(&["CODE", "CLASS", "GPU TIME", "SHARE"]);
    for class in view.classes.iter().filter(|class| class.gpu_seconds > 0.0) {
        classes.add_row([class.code.clone(), class.class.to_owned(), gpu_time(class.gpu_seconds), format!("{:.2} %", 100.0 * class.share)]);
        if class.class == "lost" {
            for lost in view.lost.iter().filter(|lost| lost.gpu_seconds > 0.0) {
                classes.add_row([String::new(), format!("  {}", lost.cause), gpu_time(lost.gpu_seconds), String::new()]);
            }
        }
    }
    let mut ratios = table(&["RATIO", "VALUE", "FORMULA"]);
    for ratio in &view.ratios {
        let value = ratio.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        ratios.add_row([ratio.name.to_owned(), value, ratio.formula.to_owned()]);
    }
    format!("{}\n\n{}\n\n{}", view.words.join("\n"), link.out.render(classes).trim_end(), link.out.render(ratios).trim_end())
}
