//! Keys whose answers lately could not be stored: requests for them do not wait for each other.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::clock::Timestamp;

/// How long a key is remembered.
const MEMORY: Duration = Duration::from_secs(5);

/// The most keys that are remembered.
const KEYS: usize = 8192;

/// A bounded memory of places (see [`Responses::place`](crate::store::near::Responses::place)).
/// Forgetting one, or taking one key for another, costs a wait and nothing else.
pub(crate) struct Uncacheable {
    until: Cache<u64, Timestamp>,
}

impl Uncacheable {
    pub(crate) fn new() -> Self {
        Self {
            until: Cache::new(KEYS),
        }
    }

    pub(crate) fn remember(&self, place: u64, now: Timestamp) {
        self.until.insert(place, now.plus(MEMORY));
    }

    pub(crate) fn is_remembered(&self, place: u64, now: Timestamp) -> bool {
        self.until.get(&place).is_some_and(|until| now < until)
    }

    pub(crate) fn forget(&self, place: u64) {
        self.until.remove(&place);
    }
}
