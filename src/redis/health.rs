//! How the connection is: what `stats()` shows and operators ask for.

use std::sync::atomic::{AtomicU64, Ordering};

/// How the connection to Redis is, and what did not work so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisHealth {
    /// Whether every server that is needed is connected and answers. False before the first use.
    pub up: bool,
    /// The servers that are needed: one, or the masters of a Cluster as far as they are known.
    pub nodes: usize,
    /// How many of them are connected and answer.
    pub nodes_up: usize,
    /// Whether the last write was refused for lack of memory. Reads go on meanwhile.
    pub out_of_memory: bool,
    /// Connections that were made anew after one had been lost.
    pub reconnects: u64,
    /// Calls that were given up at the deadline.
    pub timeouts: u64,
    /// Calls that failed, or that Redis answered with an error.
    pub errors: u64,
    /// Calls that were not made because too many were under way.
    pub skipped: u64,
    /// Stores that were dropped: Redis was down or full, or too many were under way.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what goes wrong, so that what goes well costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reconnects: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) errors: Counter,
    pub(crate) skipped: Counter,
    pub(crate) dropped: Counter,
}

impl Counters {
    /// The counts so far, and nothing of what is connected.
    pub(crate) fn snapshot(&self) -> RedisHealth {
        RedisHealth {
            reconnects: self.reconnects.total(),
            timeouts: self.timeouts.total(),
            errors: self.errors.total(),
            skipped: self.skipped.total(),
            dropped: self.dropped.total(),
            ..RedisHealth::default()
        }
    }
}
