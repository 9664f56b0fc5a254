//! Size classes of jobs by how many GPUs they hold.

use std::fmt;

/// A job's size class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    None,
    Share,
    One,
    PartOfNode,
    Eight,
    Tens,
    Hundreds,
    More,
}

impl SizeClass {
    pub const ALL: [SizeClass; 8] =
        [Self::None, Self::Share, Self::One, Self::PartOfNode, Self::Eight, Self::Tens, Self::Hundreds, Self::More];

    /// Of a job that holds so many thousandths of GPUs with all its tasks.
    pub fn of(gpu_milli: u64) -> Self {
        match gpu_milli {
            0 => Self::None,
            1..1_000 => Self::Share,
            1_000 => Self::One,
            1_001..8_000 => Self::PartOfNode,
            8_000 => Self::Eight,
            8_001..64_000 => Self::Tens,
            64_000..512_000 => Self::Hundreds,
            _ => Self::More,
        }
    }

    /// GPUs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Share => "below 1",
            Self::One => "1",
            Self::PartOfNode => "2 to 7",
            Self::Eight => "8",
            Self::Tens => "9 to 63",
            Self::Hundreds => "64 to 511",
            Self::More => "512 and more",
        }
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
