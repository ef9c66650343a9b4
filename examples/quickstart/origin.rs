//! What the cache spares: a pretend database that takes its time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{sleep, Instant};

/// One post, as it is stored and as it is sent.
#[derive(Clone, Serialize)]
pub(crate) struct Post {
    pub(crate) id: u32,
    pub(crate) title: String,
    pub(crate) category: &'static str,
}

/// The pretend database.
pub(crate) struct Origin {
    delay: Duration,
    calls: AtomicU64,
    posts: Mutex<Vec<Post>>,
    visits: Mutex<HashMap<String, u64>>,
    jobs: Mutex<HashMap<String, Instant>>,
}

impl Origin {
    pub(crate) fn new(delay: Duration) -> Self {
        let posts = (1..=500).map(|id| Post {
            id,
            title: format!("Post {id}"),
            category: if id % 2 == 0 { "tech" } else { "life" },
        });
        Self {
            delay,
            calls: AtomicU64::new(0),
            posts: Mutex::new(posts.collect()),
            visits: Mutex::default(),
            jobs: Mutex::default(),
        }
    }

    /// What every cached handler does once, and an answer from the cache saves: it is counted, and
    /// takes `times` the delay.
    pub(crate) async fn work(&self, times: u32) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        sleep(self.delay * times).await;
    }

    /// How often a cached handler was called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// All posts, or those of one category.
    pub(crate) fn posts(&self, category: Option<&str>) -> Vec<Post> {
        let posts = lock(&self.posts);
        let wanted = posts
            .iter()
            .filter(|post| category.is_none_or(|category| post.category == category));
        wanted.cloned().collect()
    }

    pub(crate) fn post(&self, id: u32) -> Option<Post> {
        let posts = lock(&self.posts);
        posts.iter().find(|post| post.id == id).cloned()
    }

    /// Renames a post; `None` when there is no such post.
    pub(crate) fn rename(&self, id: u32, title: String) -> Option<Post> {
        let mut posts = lock(&self.posts);
        let post = posts.iter_mut().find(|post| post.id == id)?;
        post.title = title;
        Some(post.clone())
    }

    /// How often this user was here, this time included.
    pub(crate) fn visit(&self, user: &str) -> u64 {
        let mut visits = lock(&self.visits);
        make_room(&mut visits);
        let count = visits.entry(user.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// How long ago this job was first asked for.
    pub(crate) fn age_of_job(&self, id: &str) -> Duration {
        let mut jobs = lock(&self.jobs);
        make_room(&mut jobs);
        jobs.entry(id.to_owned())
            .or_insert_with(Instant::now)
            .elapsed()
    }
}

/// Forgets everything rather than growing without a bound: any name may be asked for.
fn make_room<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.len() >= 10_000 {
        table.clear();
    }
}

/// A handler that panicked has left these tables whole, so its poison is ignored.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
