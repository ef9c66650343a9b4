//! A map by bucket, in parts that are locked apart.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// The name of a bucket in Redis.
pub(super) type Key = Arc<[u8]>;

const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Shards<Value> {
    parts: [Mutex<HashMap<Key, Value>>; SHARDS],
    hasher: RandomState,
}

impl<Value> Default for Shards<Value> {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl<Value> Shards<Value> {
    /// The part that has this bucket, if any has.
    pub(super) fn of(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Value>> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        self.parts[place].lock()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, HashMap<Key, Value>>> {
        self.parts.iter().map(Mutex::lock)
    }
}
