//! What is known of each post's titles: which of them were acknowledged, and when.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The titles of all posts, by version; the first one is 0.
pub(crate) struct Titles {
    writers: usize,
    posts: Mutex<HashMap<u32, Post>>,
}

#[derive(Default)]
struct Post {
    last: u64,
    acknowledged: Vec<Renamed>,
}

struct Renamed {
    version: u64,
    at: Instant,
    node: usize,
}

impl Titles {
    pub(crate) fn new(writers: usize) -> Self {
        Self {
            writers,
            posts: Mutex::default(),
        }
    }

    /// A post that this writer alone may rename, near `id`, and the version of its next title.
    pub(crate) fn next(&self, writer: usize, id: u32) -> Option<(u32, u64)> {
        let id = id - id % self.writers as u32 + writer as u32;
        (1..=500).contains(&id).then(|| {
            let mut posts = self.posts.lock().unwrap();
            let post = posts.entry(id).or_default();
            post.last += 1;
            (id, post.last)
        })
    }

    /// Somebody was told that this is the title now.
    pub(crate) fn acknowledged(&self, id: u32, version: u64, node: usize) {
        let at = Instant::now();
        let mut posts = self.posts.lock().unwrap();
        let post = posts.entry(id).or_default();
        post.acknowledged.push(Renamed { version, at, node });
    }

    /// If an answer asked for at `asked` showed this version although a newer one was acknowledged
    /// before: by which node, and how long before.
    pub(crate) fn behind(
        &self,
        id: u32,
        version: u64,
        asked: Instant,
    ) -> Option<(usize, Duration)> {
        let posts = self.posts.lock().unwrap();
        let mut newer = posts.get(&id)?.acknowledged.iter();
        let newer = newer.find(|renamed| renamed.version > version)?;
        let behind = asked.checked_duration_since(newer.at)?;
        Some((newer.node, behind))
    }
}
