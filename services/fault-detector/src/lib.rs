//! fault-detector
