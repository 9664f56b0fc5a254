//! Slurm's lists of resources: `billing=4,cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=62.50G,node=1`.

use super::settings::MAX_GPUS;
use super::table::short;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tres {
    pub(super) gpus: u32,
    /// Of the GPUs, where the list names them.
    pub(super) models: Vec<String>,
    pub(super) memory_mib: u64,
    pub(super) cpus: u64,
}

impl Tres {
    /// What is neither GPUs, processors, nor memory is left alone. GPUs may be counted in all, by model, or both.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tres = Self::default();
        let mut in_all = None;
        let mut by_model: u32 = 0;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let unexpected = || format!("unexpected `{}`", short(item, 40));
            let (name, value) = item.split_once('=').ok_or_else(unexpected)?;
            let gpus = || value.parse::<u32>().ok().filter(|gpus| *gpus <= MAX_GPUS).ok_or_else(unexpected);
            match name {
                "cpu" => tres.cpus = value.parse::<u32>().map_err(|_| unexpected())?.into(),
                "mem" => tres.memory_mib = memory_mib(value).ok_or_else(unexpected)?,
                "gres/gpu" => in_all = Some(gpus()?),
                _ => {
                    if let Some(model) = name.strip_prefix("gres/gpu:") {
                        by_model = by_model.saturating_add(gpus()?);
                        tres.models.push(model.to_owned());
                    }
                }
            }
        }
        tres.gpus = in_all.unwrap_or(by_model);
        if tres.gpus > MAX_GPUS {
            return Err(format!("more than {MAX_GPUS} GPUs"));
        }
        Ok(tres)
    }

    /// What a job got, with the models that it asked for: Slurm names the model of each GPU that it hands out, which the job did not ask for. A job that
    /// got nothing, or whose file does not say what it got, counts as it asked.
    pub(super) fn asked_as(self, asked: Self) -> Self {
        match (self == Self::default(), asked == Self::default()) {
            (true, _) => asked,
            (false, true) => self,
            (false, false) => Self { models: asked.models, ..self },
        }
    }
}

/// `8G`, `62.50G`, `500M`, `8388608K`, `1T`; MiB without a letter. Rounded up.
fn memory_mib(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['K', 'M', 'G', 'T', 'P']);
    let mib = match &text[number.len()..] {
        "K" => 1.0 / 1024.0,
        "" | "M" => 1.0,
        "G" => 1024.0,
        "T" => 1024.0 * 1024.0,
        "P" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    (0.0..=1e12).contains(&number).then(|| (number * mib).ceil() as u64)
}
