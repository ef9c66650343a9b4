//! What holds while nobody can be asked.

/// What a limiter does while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// Goes on alone, with one `share`th of rate and capacity: the number of processes. It knows what it
    /// admitted through Redis, so it does not begin with full buckets.
    Local {
        /// How many processes there are.
        share: u32,
    },
    /// Admits everything.
    Open,
    /// Refuses everything (503).
    Closed,
}

impl Default for Fallback {
    /// Each process grants the whole quota.
    fn default() -> Self {
        Self::Local { share: 1 }
    }
}
