//! What a first version of the protocol got wrong, each of them a schedule that served purged data.
//!
//! The code asks [`Undone`] at the place of each correction. Outside of tests the answer is no at
//! compile time; the model undoes one at a time and must find such a schedule again.

/// A rule that may not be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// Read an array by the number of buckets in its own header.
    AdoptBits,
    /// An entry, a message or a header of another epoch is of another life.
    CompareEpochs,
    /// An answer to a question of a former connection or life is dropped.
    DropOutdated,
    /// A message that does not follow the last one means that one was lost.
    DetectGaps,
    /// A heartbeat vouches for the time it was sent at, not for the time it arrived.
    CountFromSending,
    /// A heartbeat vouches only for a mirror that has reached it.
    ReachFirst,
    /// A response from Redis has the grace of the mirror, not one of its own.
    #[cfg_attr(not(test), allow(dead_code, reason = "only the model asks"))]
    GraceFromMirror,
    /// A deferred invalidation holds in its own process at once.
    KeepOverlay,
    /// Numbers come from Redis alone.
    InventNoNumber,
    /// A journal that runs over becomes a purge of everything.
    OverflowPurges,
    /// What was softly invalidated later may be purged all the same.
    HardBeatsSoft,
    /// A missing or foreign clock never reads as "nothing was invalidated".
    EmptyIsMiss,
}

/// The correction that a test has undone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undone(#[cfg(test)] Option<Correction>);

impl Undone {
    #[cfg(test)]
    pub(crate) fn only(correction: Correction) -> Self {
        Self(Some(correction))
    }

    #[cfg(test)]
    pub(crate) fn is(self, correction: Correction) -> bool {
        self.0 == Some(correction)
    }

    #[cfg(not(test))]
    pub(crate) const fn is(self, _: Correction) -> bool {
        false
    }
}
