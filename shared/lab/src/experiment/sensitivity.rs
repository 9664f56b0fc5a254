//! What a result depends on: a policy again, with one field that has another value, field by field. The runs share their seeds with the policy's own,
//! so that each difference is paired.

use serde::Deserialize;

use super::file::{File, PolicyTable};
use crate::tables::Varied;

/// More runs than people look at.
const MOST: usize = 100;

/// A policy that differs by one field from one of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variation {
    pub(super) varied: Varied,
    pub(super) table: PolicyTable,
}

/// All of them, or the field that is wrong and why.
pub(super) fn variations(file: &File) -> Result<Vec<Variation>, (String, String)> {
    let Some(sensitivity) = &file.sensitivity else { return Ok(Vec::new()) };
    let wrong = |field: &str, why: String| (if field.is_empty() { "sensitivity".to_owned() } else { format!("sensitivity.{field}") }, why);
    let Some(policy) = sensitivity.policy.as_ref().or(file.order.first()) else { return Ok(Vec::new()) };
    let Some(table) = file.policy.get(policy) else {
        return Err(wrong("policy", format!("unknown policy `{policy}`: the file has {}", file.order.join(", "))));
    };
    let mut vary = Vec::new();
    fields(&sensitivity.vary, "", &mut vary).map_err(|(field, why)| wrong(&format!("vary.{field}"), why))?;
    let number: usize = vary.iter().map(|(_, values)| values.len()).sum();
    if number == 0 {
        return Err(wrong(
            "vary",
            "nothing varies: give at least one field with its values, such as `jobs.checkpoint = [\"10 min\", \"2 h\"]`".to_owned(),
        ));
    }
    if number > MOST {
        return Err(wrong("vary", format!("{number} values are too many: at most {MOST}")));
    }
    // What is the file's is the policy's as well, and can be varied.
    let filled = file.filled();
    let own = &filled.policy[policy];
    let whole = PolicyTable {
        jobs: Some(own.jobs.as_ref().map_or_else(|| filled.jobs.clone(), |jobs| jobs.over(&filled.jobs))),
        faults: Some(own.faults.as_ref().map_or_else(|| filled.faults.clone(), |faults| faults.over(&filled.faults))),
        spares: own.spares.or(filled.cluster.spares),
        ..own.clone()
    };
    let mut found = Vec::new();
    for (field, values) in &vary {
        for value in *values {
            let path = format!("vary.{field}");
            let usual =
                at(&toml::Value::try_from(&whole).unwrap_or(toml::Value::Boolean(false)), field).map_or_else(|| "none".to_owned(), plain);
            let changed = with(table, field, value).map_err(|why| wrong(&path, why))?;
            let shown = plain(value);
            let name = format!("{policy}, {field} {shown}");
            if found.iter().any(|other: &Variation| other.varied.name == name) {
                return Err(wrong(&path, format!("{shown} is there twice: take one out")));
            }
            let varied = Varied { name, policy: policy.clone(), field: field.clone(), value: shown, usual };
            found.push(Variation { varied, table: changed });
        }
    }
    Ok(found)
}

/// The lists of a table and of the tables in it, by their paths.
fn fields<'a>(table: &'a toml::Table, before: &str, found: &mut Vec<(String, &'a Vec<toml::Value>)>) -> Result<(), (String, String)> {
    for (key, value) in table {
        let path = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
        match value {
            toml::Value::Array(values) => found.push((path, values)),
            toml::Value::Table(inner) => fields(inner, &path, found)?,
            _ => return Err((path, "one value varies nothing: write a list, such as `[\"10 min\", \"2 h\"]`".to_owned())),
        }
    }
    Ok(())
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn at<'a>(table: &'a toml::Value, field: &str) -> Option<&'a toml::Value> {
    field.split('.').try_fold(table, |value, part| value.get(part))
}

/// The table with another value in one place, if it still is one of a policy.
fn with(table: &PolicyTable, field: &str, value: &toml::Value) -> Result<PolicyTable, String> {
    let mut values = toml::Table::try_from(table).map_err(|error| error.to_string())?;
    let mut place = &mut values;
    let (last, before) = field.rsplit_once('.').map_or((field, None), |(before, last)| (last, Some(before)));
    for part in before.into_iter().flat_map(|before| before.split('.')) {
        let inner = place.entry(part).or_insert_with(|| toml::Table::new().into());
        place = inner
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` is no table of a policy: name a field of `[policy.NAME]`, such as jobs.checkpoint"))?;
    }
    place.insert(last.to_owned(), value.clone());
    PolicyTable::deserialize(values).map_err(|error| error.message().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Experiment, parse};

    const FILE: &str = r#"
title = "x"
[[cluster.nodes]]
count = 4
gpus = 8
[workload.job]
gpus = 16
work = "1 d"
[jobs]
checkpoint = "30 min"
[policy.usual]
placement = "best-fit"
[policy.other]
placement = "first-fit"
[sensitivity.vary]
jobs.checkpoint = ["10 min", "2 h"]
jobs.restore = ["10 min"]
spares = [0, 1]
"#;

    fn told(from: &str, to: &str) -> String {
        assert!(FILE.contains(from), "{from}");
        parse(&FILE.replacen(from, to, 1)).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_field_at_a_time_differs_from_the_policy() {
        let file = parse(FILE).unwrap_or_else(|problems| panic!("{problems:?}"));
        let experiment = Experiment::load(&file, FILE, &|path| Err(path.to_owned())).unwrap();
        let varied: Vec<(String, String)> =
            experiment.variants.iter().filter_map(|one| one.varied.clone()).map(|one| (one.name, one.usual)).collect();
        let expected = [
            ("usual, jobs.checkpoint 10 min", "30 min"),
            ("usual, jobs.checkpoint 2 h", "30 min"),
            ("usual, jobs.restore 10 min", "3 min"),
            ("usual, spares 0", "none"),
            ("usual, spares 1", "none"),
        ];
        assert_eq!(varied, expected.map(|(name, usual)| (name.to_owned(), usual.to_owned())));
        let restore = |name: &str| {
            let variant = experiment.variants.iter().find(|variant| variant.name == name).unwrap();
            experiment.setup(variant, 1).workload.jobs[0].checkpoint.as_ref().unwrap().restore_ms
        };
        assert_eq!((restore("usual, jobs.restore 10 min"), restore("usual, spares 1"), restore("other")), (600_000, 180_000, 180_000));
        // With every default written out it is the same experiment again.
        let again = parse(&experiment.written()).unwrap_or_else(|problems| panic!("{problems:?}\n{}", experiment.written()));
        let again = Experiment::load(&again, "", &|path| Err(path.to_owned())).unwrap();
        assert_eq!(again.variants.iter().filter_map(|one| one.varied.clone()).count(), 5);
    }

    #[test]
    fn what_cannot_vary_is_told_with_its_line() {
        let soon = told("[\"10 min\"]", "[\"soon\"]");
        assert!(soon.starts_with("line 17: sensitivity.vary.jobs.restore: invalid duration `soon`"), "{soon}");
        assert!(told("jobs.restore = ", "jobs.restart = ").contains("line 17: sensitivity.vary.jobs.restart: unknown field `restart`"));
        assert!(told("[\"10 min\"]", "\"10 min\"").contains("one value varies nothing: write a list"));
        assert!(told("[\"10 min\"]", "[\"10 min\", \"10 min\"]").contains("10 min is there twice"));
        assert!(
            told("jobs.restore = [\"10 min\"]", "jobs.estimate_error = [50.0]")
                .contains("line 17: sensitivity.vary.jobs.estimate_error: 50 is out of range")
        );
        let unknown = told("[sensitivity.vary]", "[sensitivity]\npolicy = \"best\"\n[sensitivity.vary]");
        assert_eq!(unknown, "line 16: sensitivity.policy: unknown policy `best`: the file has usual, other");
    }
}
