//! Invalidations that hold in this process although Redis has not given them a number yet.
//!
//! What is in here is invalid whatever the clock says, unless this process itself has begun to make
//! it since: what its handler read then was new. (So a long outage is cached all the same, after an
//! invalidation too.) Numbers come from Redis alone: one that was made up here could be older than the
//! fence of a response it must reach.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::{Reach, Strength, Validity};
use crate::policy::tag::TagHash;

/// The invalidations on their way.
#[derive(Default)]
pub(crate) struct Overlay {
    /// How many there are, so that a look-up takes no lock when there is none.
    size: AtomicUsize,
    within: RwLock<Within>,
}

#[derive(Default)]
struct Within {
    tags: HashMap<TagHash, OnTheWay>,
    all_hard: OnTheWay,
    all_soft: OnTheWay,
}

/// The invalidations that reach one thing.
#[derive(Clone, Copy, Default)]
struct OnTheWay {
    count: usize,
    /// When the latest of them was entered, in this process's own milliseconds.
    latest: u64,
}

impl OnTheWay {
    fn enter(&mut self, now: u64) {
        self.count += 1;
        self.latest = self.latest.max(now);
    }

    /// Whether one of them reaches what this process began to make at `begun` (0: another one did).
    fn reaches(&self, begun: u64) -> bool {
        self.count > 0 && begun <= self.latest
    }
}

impl Overlay {
    pub(crate) fn add(&self, reach: &Reach, now: u64) {
        let mut within = self.within.write();
        self.size.fetch_add(1, Ordering::SeqCst);
        match reach {
            Reach::Everything(Strength::Hard) => within.all_hard.enter(now),
            Reach::Everything(Strength::Soft) => within.all_soft.enter(now),
            Reach::Tags(tags) => {
                for tag in tags {
                    within.tags.entry(*tag).or_default().enter(now);
                }
            }
        }
    }

    /// The number of this invalidation is in the array by now.
    pub(crate) fn remove(&self, reach: &Reach) {
        let mut within = self.within.write();
        match reach {
            Reach::Everything(Strength::Hard) => within.all_hard.count -= 1,
            Reach::Everything(Strength::Soft) => within.all_soft.count -= 1,
            Reach::Tags(tags) => {
                for tag in tags {
                    if let Some(on_the_way) = within.tags.get_mut(tag) {
                        on_the_way.count -= 1;
                        if on_the_way.count == 0 {
                            within.tags.remove(tag);
                        }
                    }
                }
            }
        }
        self.size.fetch_sub(1, Ordering::SeqCst);
    }

    /// What the overlay says of a response with these tags, that this process began to make at
    /// `begun`.
    ///
    /// Ask it before the clock: an invalidation leaves here only after it has arrived there.
    pub(crate) fn validity(&self, begun: u64, tags: &[TagHash]) -> Validity {
        if self.size.load(Ordering::SeqCst) == 0 {
            return Validity::Valid;
        }
        let within = self.within.read();
        let reached = |tag| {
            let on_the_way = within.tags.get(&tag);
            on_the_way.is_some_and(|on_the_way| on_the_way.reaches(begun))
        };
        if within.all_hard.reaches(begun) || tags.iter().any(|tag| reached(*tag)) {
            Validity::Hard
        } else if within.all_soft.reaches(begun) || tags.iter().any(|tag| reached(tag.soft())) {
            Validity::Soft
        } else {
            Validity::Valid
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_before_or_elsewhere_is_reached_and_what_was_begun_here_since_is_not() {
        let tag = TagHash::named("posts");
        for strength in [Strength::Hard, Strength::Soft] {
            let expected = match strength {
                Strength::Hard => Validity::Hard,
                Strength::Soft => Validity::Soft,
            };
            for reach in [Reach::tags(&[tag], strength), Reach::Everything(strength)] {
                let overlay = Overlay::default();
                overlay.add(&reach, 5);
                overlay.add(&reach, 3); // entered by another thread, in between
                for (begun, validity) in [
                    (0, expected),
                    (4, expected),
                    (5, expected),
                    (6, Validity::Valid),
                ] {
                    assert_eq!(
                        overlay.validity(begun, &[tag]),
                        validity,
                        "{reach:?} {begun}"
                    );
                }
                overlay.remove(&reach);
                assert_eq!(overlay.validity(5, &[tag]), expected);
                overlay.remove(&reach);
                assert_eq!(overlay.validity(0, &[tag]), Validity::Valid);
            }
        }
    }
}
