//! How urgent a call is.

/// How urgent a call is. The more urgent one always goes first, also before those of other processes.
///
/// Put it into the extensions of a request; one without has that of the layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits for it. May use the whole bucket.
    Critical,
    /// What most calls are. Leaves a tenth of the bucket, unless told otherwise.
    #[default]
    Normal,
    /// Whatever is as good tomorrow. Leaves a quarter of the bucket, unless told otherwise.
    Background,
}

impl Priority {
    pub(super) const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Background];

    pub(super) const fn place(self) -> usize {
        self as usize
    }

    /// So many are served by one call, so that one process does not take what all wait for.
    pub(super) const fn together(self) -> u64 {
        match self {
            Self::Critical | Self::Normal => 64,
            Self::Background => 8,
        }
    }
}
