//! Invalidations that hold in this process although Redis has not given them a number yet.
//!
//! What is in here is invalid whatever the clock says. Numbers come from Redis alone: one that was
//! made up here could be older than the fence of a response it must reach.

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
    tags: HashMap<TagHash, usize>,
    all_hard: usize,
    all_soft: usize,
}

impl Overlay {
    pub(crate) fn add(&self, reach: &Reach) {
        let mut within = self.within.write();
        self.size.fetch_add(1, Ordering::SeqCst);
        match reach {
            Reach::Everything(Strength::Hard) => within.all_hard += 1,
            Reach::Everything(Strength::Soft) => within.all_soft += 1,
            Reach::Tags(tags) => {
                for tag in tags {
                    *within.tags.entry(*tag).or_insert(0) += 1;
                }
            }
        }
    }

    /// The number of this invalidation is in the array by now.
    pub(crate) fn remove(&self, reach: &Reach) {
        let mut within = self.within.write();
        match reach {
            Reach::Everything(Strength::Hard) => within.all_hard -= 1,
            Reach::Everything(Strength::Soft) => within.all_soft -= 1,
            Reach::Tags(tags) => {
                for tag in tags {
                    if let Some(count) = within.tags.get_mut(tag) {
                        *count -= 1;
                        if *count == 0 {
                            within.tags.remove(tag);
                        }
                    }
                }
            }
        }
        self.size.fetch_sub(1, Ordering::SeqCst);
    }

    /// What the overlay says of a response with these tags.
    ///
    /// Ask it before the clock: an invalidation leaves here only after it has arrived there.
    pub(crate) fn validity(&self, tags: &[TagHash]) -> Validity {
        if self.size.load(Ordering::SeqCst) == 0 {
            return Validity::Valid;
        }
        let within = self.within.read();
        let reached = |tag: TagHash| within.tags.contains_key(&tag);
        if within.all_hard > 0 || tags.iter().any(|tag| reached(*tag)) {
            Validity::Hard
        } else if within.all_soft > 0 || tags.iter().any(|tag| reached(tag.soft())) {
            Validity::Soft
        } else {
            Validity::Valid
        }
    }
}
