//! One GPU of a node in the scheduler's books.

use crate::node::GpuDescriptor;

/// One GPU and what is booked on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSlot {
    pub gpu: GpuDescriptor,
    pub used_milli: u32,
    pub reserved_mib: u32,
    /// The node says that nothing can run on it now.
    pub out_of_service: bool,
}

impl GpuSlot {
    pub(super) fn new(gpu: GpuDescriptor) -> Self {
        Self { gpu, used_milli: 0, reserved_mib: 0, out_of_service: false }
    }
}
