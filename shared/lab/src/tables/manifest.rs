//! What a folder of tables was made from: enough to make it again, and to see that nothing differs.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 of `contents` as JSON: equal for equal inputs, whenever and on however many processors.
    pub hash: String,
    pub contents: Contents,
    pub took: Took,
}

/// All that the hash covers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Of the program.
    pub version: String,
    pub title: String,
    /// What the experiment asks, in a sentence; may be empty.
    pub question: String,
    /// The metric by which policies are judged.
    pub judge: String,
    /// The experiment with everything that its file leaves to defaults, in TOML.
    pub experiment: String,
    pub inputs: Vec<Input>,
    /// Names of the policies, in the order of the file.
    pub policies: Vec<String>,
    pub runs: Vec<RunHash>,
    /// SHA-256 of each table, by file name.
    pub tables: BTreeMap<String, String>,
    /// What a reader must know: rows that were dropped, defaults that were assumed.
    pub notes: Vec<String>,
    pub expectations: Vec<Expectation>,
    /// Whether all runs are there; not so after Ctrl-C.
    pub complete: bool,
    /// Whether anything is drawn, so that seeds can differ.
    #[serde(default = "yes")]
    pub draws: bool,
    /// What `[sensitivity]` varies.
    #[serde(default)]
    pub varied: Vec<Varied>,
}

/// A policy with one field that has another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Varied {
    /// As the runs are called.
    pub name: String,
    /// The policy that it differs from.
    pub policy: String,
    pub field: String,
    pub value: String,
    /// What the policy itself has.
    pub usual: String,
}

fn yes() -> bool {
    true
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

/// One line of `[expect]`, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    pub text: String,
    pub holds: bool,
    /// The figures that decided.
    pub because: String,
}

/// What a run came to, in one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHash {
    pub policy: String,
    pub seed: u64,
    pub hash: String,
}

/// How long it took here, which the hash leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Took {
    pub wall_ms: u64,
    /// Runs at once.
    pub jobs: usize,
}

impl Manifest {
    pub fn new(contents: Contents, took: Took) -> Self {
        Self { hash: contents.hash(), contents, took }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings, numbers, and lists");
        text.push(b'\n');
        text
    }
}

impl Contents {
    /// SHA-256 of its JSON, in hexadecimal.
    pub fn hash(&self) -> String {
        sha256(&serde_json::to_vec(self).expect("strings, numbers, and lists"))
    }
}

impl Input {
    /// Of a file of any size.
    pub(crate) fn of_file(path: &str) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let (mut hash, mut bytes, mut part) = (Sha256::new(), 0, vec![0; 64 << 10]);
        loop {
            match file.read(&mut part)? {
                0 => return Ok(Self { path: path.to_owned(), bytes, sha256: hexadecimal(&hash.finalize()) }),
                read => {
                    hash.update(&part[..read]);
                    bytes += read as u64;
                }
            }
        }
    }
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_contents_and_not_of_the_time() {
        let contents = Contents {
            version: "0.1.0".to_owned(),
            title: "Test".to_owned(),
            question: String::new(),
            judge: "goodput".to_owned(),
            experiment: "[run]\nseeds = [1]\n".to_owned(),
            inputs: vec![Input { path: "a.csv".to_owned(), bytes: 3, sha256: sha256(b"abc") }],
            policies: vec!["fgd".to_owned()],
            runs: vec![RunHash { policy: "fgd".to_owned(), seed: 1, hash: "00".to_owned() }],
            tables: BTreeMap::from([("jobs.csv".to_owned(), sha256(b""))]),
            notes: Vec::new(),
            expectations: Vec::new(),
            complete: true,
            draws: true,
            varied: Vec::new(),
        };
        let manifest = Manifest::new(contents.clone(), Took { wall_ms: 5, jobs: 2 });
        assert_eq!(manifest.hash, Manifest::new(contents.clone(), Took::default()).hash);
        assert_ne!(manifest.hash, Contents { complete: false, ..contents }.hash());
        assert_eq!(serde_json::from_slice::<Manifest>(&manifest.to_json()).unwrap(), manifest);
    }

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn sha256_is_the_standards() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
