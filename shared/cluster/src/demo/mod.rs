//! A cluster of its own that is broken while a viewer watches: what is shown when (`script`), and how it is carried out (`run`). Everything
//! is broken for real; what has become of the jobs is what the history folded by cause says of it.

pub mod run;
mod script;

pub use script::{Caption, Facts, Scene, Wish};
