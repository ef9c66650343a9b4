//! What the cache spares: a pretend database that takes its time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::journal::Journal;

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
    tables: Mutex<Tables>,
}

struct Tables {
    posts: Vec<Post>,
    visits: HashMap<String, u64>,
    /// When each job was first asked for.
    jobs: HashMap<String, SystemTime>,
    /// Where changes go that other nodes are to see, and theirs come from.
    journal: Option<Journal>,
}

/// One line of the journal.
#[derive(Serialize, Deserialize)]
enum Change {
    Renamed { id: u32, title: String },
    Visited { user: String },
    Started { job: String, at: SystemTime },
}

impl Origin {
    pub(crate) fn new(delay: Duration, journal: Option<Journal>) -> Self {
        let posts = (1..=500).map(|id| Post {
            id,
            title: format!("Post {id}"),
            category: if id % 2 == 0 { "tech" } else { "life" },
        });
        Self {
            delay,
            calls: AtomicU64::new(0),
            tables: Mutex::new(Tables {
                posts: posts.collect(),
                visits: HashMap::new(),
                jobs: HashMap::new(),
                journal,
            }),
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
        let tables = self.tables();
        let wanted = tables
            .posts
            .iter()
            .filter(|post| category.is_none_or(|category| post.category == category));
        wanted.cloned().collect()
    }

    pub(crate) fn post(&self, id: u32) -> Option<Post> {
        self.tables().post(id).cloned()
    }

    /// Renames a post; `None` when there is no such post.
    pub(crate) fn rename(&self, id: u32, title: String) -> Option<Post> {
        let mut tables = self.tables();
        tables.post(id)?;
        tables.change(Change::Renamed { id, title });
        tables.post(id).cloned()
    }

    /// How often this user was here, this time included.
    pub(crate) fn visit(&self, user: &str) -> u64 {
        let mut tables = self.tables();
        let user = user.to_owned();
        tables.change(Change::Visited { user: user.clone() });
        tables.visits.get(&user).copied().unwrap_or_default()
    }

    /// How long ago this job was first asked for.
    pub(crate) fn age_of_job(&self, id: &str) -> Duration {
        let mut tables = self.tables();
        if !tables.jobs.contains_key(id) {
            tables.change(Change::Started {
                job: id.to_owned(),
                at: SystemTime::now(),
            });
        }
        let started = tables.jobs.get(id);
        started.and_then(|at| at.elapsed().ok()).unwrap_or_default()
    }

    /// The tables as they are now. A handler that panicked has left them whole, so its poison is ignored.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.catch_up();
        tables
    }
}

impl Tables {
    fn post(&self, id: u32) -> Option<&Post> {
        self.posts.iter().find(|post| post.id == id)
    }

    /// Makes a change, here and for all nodes.
    fn change(&mut self, change: Change) {
        let told = self.journal.as_mut().is_some_and(|journal| {
            let line = serde_json::to_string(&change);
            line.is_ok_and(|line| journal.append(line).is_ok())
        });
        if told {
            // In the order in which all nodes read it.
            self.catch_up();
        } else {
            self.apply(change);
        }
    }

    fn catch_up(&mut self) {
        let lines = self.journal.as_mut().map(Journal::read);
        for line in lines.and_then(Result::ok).unwrap_or_default() {
            if let Ok(change) = serde_json::from_str(&line) {
                self.apply(change);
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Renamed { id, title } => {
                if let Some(post) = self.posts.iter_mut().find(|post| post.id == id) {
                    post.title = title;
                }
            }
            Change::Visited { user } => {
                make_room(&mut self.visits);
                *self.visits.entry(user).or_default() += 1;
            }
            Change::Started { job, at } => {
                make_room(&mut self.jobs);
                self.jobs.entry(job).or_insert(at);
            }
        }
    }
}

/// Forgets everything rather than growing without a bound: any name may be asked for.
fn make_room<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.len() >= 10_000 {
        table.clear();
    }
}
