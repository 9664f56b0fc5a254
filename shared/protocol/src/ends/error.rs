//! Why a body says nothing.

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the body is empty; expected a version and entries")]
    Empty,
    #[error("unsupported version {found}: this build reads up to {known}; update it")]
    Version { found: u8, known: u8 },
    #[error("the body has {bytes} bytes, more than the {most} allowed")]
    TooLarge { bytes: usize, most: usize },
    #[error("the body cannot be decoded: {reason}")]
    Body { reason: String },
    #[error("the body is damaged: its checksum does not fit; read it again, or take an older one")]
    Damaged,
}
