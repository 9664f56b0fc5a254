//! Recomputes the figures of the calibrated fault profile from a published trace: `fault-statistics FILE [NODES DAYS]`.
//! FILE is a CSV with the columns start_day, end_day, node, level, class, description, as in InfiniteHBD-Trace; NODES and DAYS are the
//! size of the fleet and the length of the observation, 400 and 174 for that trace's first half.

use std::fmt::Write as _;
use std::process::ExitCode;

use faultline_engine::fault::statistics::{FaultRecord, FaultStatistics};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let (file, nodes, days) = match arguments {
        [file] => (file, 400, 174.0),
        [file, nodes, days] => (file, number(nodes, "NODES")?, number(days, "DAYS")?),
        _ => return Err("usage: fault-statistics FILE [NODES DAYS]".into()),
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    let statistics = FaultStatistics::of(&records(&text)?, nodes, days).map_err(|error| format!("{file}: {error}"))?;
    Ok(report(&statistics))
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: invalid number `{text}`"))
}

/// The trace quotes nothing; a description may hold commas, but nothing behind it is read.
fn records(text: &str) -> Result<Vec<FaultRecord>, String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if !header.starts_with("start_day,end_day,node,level,class,") {
        return Err(format!("the first line must name the columns start_day,end_day,node,level,class,description, not `{header}`"));
    }
    let record = |(index, line): (usize, &str)| {
        let fields: Vec<&str> = line.splitn(6, ',').collect();
        let [start_day, end_day, node, _level, class, _description] = fields[..] else {
            return Err(format!("line {}: six fields are expected: `{line}`", index + 2));
        };
        let day = |text: &str| text.parse::<f64>().map_err(|_| format!("line {}: invalid day `{text}`", index + 2));
        Ok(FaultRecord { start_day: day(start_day)?, end_day: day(end_day)?, node: node.into(), class: class.into() })
    };
    lines.enumerate().filter(|(_, line)| !line.trim().is_empty()).map(record).collect()
}

fn report(statistics: &FaultStatistics) -> String {
    let s = statistics;
    let mut text = format!(
        "faults                     {}\nnode-days                  {:.0}\nper 1,000 node-days        {:.2}\n\
         repair p50 / p90 / max     {:.1} h / {:.1} h / {:.1} h\ninter-arrival CV           {:.2}\n\
         begin with the one before  {:.1} %\nper node mean / variance   {:.2} / {:.2}\nshares by class\n",
        s.faults,
        s.node_days,
        s.per_1000_node_days,
        s.repair_p50_h,
        s.repair_p90_h,
        s.repair_max_h,
        s.inter_arrival_cv,
        s.simultaneous * 100.0,
        s.per_node_mean,
        s.per_node_variance,
    );
    for (class, share) in &s.classes {
        let _ = writeln!(text, "  {:<24} {:.1} %", class, share * 100.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "start_day,end_day,node,level,class,description\n\
        1.0,1.5,n1,Hardware Failure,GPU,one, with a comma\n2.0,3.0,n1,Hardware Failure,GPU,x\n6.0,8.0,n2,Hardware Failure,NIC,y\n";

    #[test]
    fn a_made_up_trace_is_read_and_reported() {
        let statistics = FaultStatistics::of(&records(TRACE).unwrap(), 10, 10.0).unwrap();
        let text = report(&statistics);
        for line in [
            "per 1,000 node-days        30.00",
            "repair p50 / p90 / max     24.0 h / 43.2 h / 48.0 h",
            "inter-arrival CV           0.60",
            "GPU                      66.7 %",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_no_trace_is_refused_by_line() {
        assert!(records("a,b\n1,2\n").unwrap_err().contains("the first line"));
        assert!(records(&TRACE.replace("2.0,3.0", "two,3.0")).unwrap_err().starts_with("line 3: invalid day `two`"));
        assert!(records(&format!("{TRACE}7.0,8.0\n")).unwrap_err().starts_with("line 5: six fields"));
        assert!(run(&[]).unwrap_err().starts_with("usage:"));
    }
}
