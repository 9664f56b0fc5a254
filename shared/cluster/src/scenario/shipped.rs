//! The scenarios that come with the program.

/// A scenario inside the binary.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(Shipped { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

/// In the order in which they teach best.
pub const ALL: [Shipped; 11] = shipped![
    "worker-crash",
    "scheduler-failover",
    "nats-restart",
    "frozen-worker",
    "partition",
    "zombie",
    "gray-failure",
    "rack-power-loss",
    "lemon-node",
    "poison-job",
    "retry-storm",
];

pub fn find(name: &str) -> Option<Shipped> {
    ALL.into_iter().find(|shipped| shipped.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn each_has_its_own_name_and_says_what_it_shows() {
        for shipped in ALL {
            let scenario = file::parse(shipped.text).unwrap_or_else(|problem| panic!("{}: {problem}", shipped.name));
            assert_eq!(scenario.name, shipped.name);
            assert!(shipped.text.starts_with("[scenario]\nname"), "{} opens with what it shows and what to look for", shipped.name);
            assert!(scenario.limit <= std::time::Duration::from_secs(60), "{} is short", shipped.name);
            let clauses: String = shipped.text.lines().filter(|line| line.starts_with("that = ")).collect();
            assert!(clauses.contains("lost=0") && clauses.contains("duplicates=0") && clauses.contains("committed"), "{}", shipped.name);
        }
    }
}
