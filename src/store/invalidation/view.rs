//! What look-ups see of the mirror: read by every thread, without a lock in the steady state.

use super::correction::{Correction, Undone};
use super::health::{Bounds, Health, Soundness};
use super::overlay::Overlay;
use super::{InvalidationClock, Validity};
use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;

/// The mirror of the shared clock, for its readers.
pub(crate) struct View {
    pub(crate) clock: InvalidationClock,
    pub(crate) overlay: Overlay,
    pub(crate) soundness: Soundness,
    pub(crate) undone: Undone,
}

/// Nobody vouches for the mirror, and the response is too old to answer without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsound;

impl View {
    pub(crate) fn new(bits: u32, bounds: Bounds, undone: Undone) -> Self {
        Self {
            clock: InvalidationClock::new(bits),
            overlay: Overlay::default(),
            soundness: Soundness::new(bounds),
            undone,
        }
    }

    /// The clock as it stands, for a response whose making begins now.
    pub(crate) fn fence(&self, now: u64) -> Fence {
        Fence {
            begun: now,
            ..self.clock.fence()
        }
    }

    /// What is known here of a response.
    pub(crate) fn validity(&self, fence: Fence, tags: &[TagHash]) -> Validity {
        let fence = if self.undone.is(Correction::CompareEpochs) {
            Fence {
                epoch: self.clock.fence().epoch,
                ..fence
            }
        } else {
            fence
        };
        // The overlay first: an invalidation leaves it only after the clock has it.
        let on_the_way = self.overlay.validity(fence.begun, tags);
        let soft_hides = self.undone.is(Correction::HardBeatsSoft);
        match (on_the_way, self.clock.validity(fence, tags)) {
            (Validity::Soft, _) if soft_hides => Validity::Soft,
            (Validity::Hard, _) | (_, Validity::Hard) => Validity::Hard,
            (Validity::Soft, _) | (_, Validity::Soft) => Validity::Soft,
            (Validity::Valid, Validity::Valid) => Validity::Valid,
        }
    }

    /// The relaxed answer: what is known here, as long as that is known to be recent.
    ///
    /// # Errors
    ///
    /// If nobody vouches for the mirror any more and the grace has passed.
    pub(crate) fn relaxed(
        &self,
        fence: Fence,
        tags: &[TagHash],
        now: u64,
    ) -> Result<Validity, Unsound> {
        // Health first: a heartbeat that is reached in between vouches for what is read after it.
        let vouched = match self.soundness.health(now) {
            Health::Sound => true,
            Health::Unsound => self.soundness.within_grace(fence.begun, now),
        };
        let validity = self.validity(fence, tags);
        match vouched || validity == Validity::Hard {
            true => Ok(validity),
            false => Err(Unsound),
        }
    }
}
