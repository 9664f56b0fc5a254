//! When a simulated node fails, how, and for how long. Pure: time is an argument and the randomness is seeded.
//! What a fault does to the attempts on the node is the worker's business; noticing it is the detector's.

mod catalogue;
pub mod cause;
mod hazard;
mod injector;
mod kind;
mod observed;
mod order;
mod outage;
mod profile;
pub mod statistics;
mod truth;

pub use catalogue::{FaultEntry, catalogue, title};
pub use cause::interruption_words;
pub use hazard::{Hazard, Lemons, RepairTime, Surges};
pub use injector::{Fault, FaultInjector, FaultTransition, FaultyNode, Injection};
pub use kind::{AttemptEnd, FaultKind, FaultScope, Toll, UnknownFault};
pub use observed::{GpuNews, ObservedFaults};
pub use order::{
    FaultField, FaultOrderKind, FaultTerms, FaultWish, InvalidFault, MAX_ORDERED_MS, MAX_SLOW_FACTOR, MIN_SLOW_FACTOR, USUAL_FAULT_MS,
    USUAL_SLOW_FACTOR, fault_length_words, slow_factor_words,
};
pub use outage::{FailureDomain, Outage, OutageRates, SharedPart};
pub use profile::{
    Cause, FaultPreset, FaultProfile, FaultWeights, Fleet, GpuErrors, LLAMA_3_CAUSES, TRACE_INTER_ARRIVAL_CV, check_time_scale,
};
pub use truth::{FaultCause, FaultDepth, FaultTruth, experiment_signature, fault_id};
