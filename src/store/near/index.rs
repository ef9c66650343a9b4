//! Which places hold responses with a tag: for the count and the memory, never for validity.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::policy::tag::TagHash;

/// A sharded map from tag to the places that carry it.
///
/// Its size is bounded by that of the store: whatever leaves the store leaves the index.
pub(crate) struct TagIndex {
    shards: Box<[Mutex<HashMap<TagHash, Places>>]>,
}

/// Most tags of an API (`post:7`) are carried by one response only.
enum Places {
    One(u64),
    Many(HashSet<u64>),
}

impl TagIndex {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..16).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn add(&self, tag: TagHash, place: u64) {
        let mut shard = self.shard(tag).lock();
        match shard.entry(tag).or_insert(Places::One(place)) {
            Places::One(only) if *only == place => {}
            one @ Places::One(_) => {
                let Places::One(first) = *one else { return };
                *one = Places::Many(HashSet::from([first, place]));
            }
            Places::Many(places) => {
                places.insert(place);
            }
        }
    }

    pub(crate) fn remove(&self, tag: TagHash, place: u64) {
        let mut shard = self.shard(tag).lock();
        let empty = match shard.get_mut(&tag) {
            Some(Places::One(only)) => *only == place,
            Some(Places::Many(places)) => {
                places.remove(&place);
                places.is_empty()
            }
            None => false,
        };
        if empty {
            shard.remove(&tag);
        }
    }

    /// The places that carry the tag, and perhaps some that no longer do.
    pub(crate) fn places(&self, tag: TagHash) -> Vec<u64> {
        match self.shard(tag).lock().get(&tag) {
            Some(Places::One(place)) => vec![*place],
            Some(Places::Many(places)) => places.iter().copied().collect(),
            None => Vec::new(),
        }
    }

    fn shard(&self, tag: TagHash) -> &Mutex<HashMap<TagHash, Places>> {
        &self.shards[(tag.0 % 16) as usize]
    }
}
