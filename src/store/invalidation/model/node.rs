//! A process of the model: a near tier, flights, and the protocol.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::correction::Undone;
use super::super::health::Bounds;
use super::super::protocol::Mirror;
use super::super::view::View;
use super::server::Entry;
use super::{GRACE, LIMIT};
use crate::clock::Elapsed;

/// Rules of whoever uses the protocol that a test may undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheRule {
    /// The fence is taken before the inner service is called.
    FenceFirst,
    /// A follower takes only what holds when it is released.
    CheckFollowers,
    /// What is made from a stored response inherits its fence.
    InheritFence,
    /// An invalidation runs to its end, whatever becomes of its caller.
    SurviveCaller,
    /// Time asleep has passed.
    CountSleep,
}

/// A look-up that waits for another one's call.
#[derive(Clone, Copy)]
pub(super) struct Follower {
    pub(super) began: u64,
    pub(super) is_strict: bool,
}

pub(super) struct Process {
    pub(super) view: Arc<View>,
    pub(super) mirror: Mirror,
    pub(super) near: HashMap<u64, Entry>,
    pub(super) flights: HashMap<u64, Vec<Follower>>,
    /// The number of the connection; `None` while there is none.
    pub(super) link: Option<u64>,
    pub(super) links: u64,
    /// Whether published messages arrive.
    pub(super) hears: bool,
    pub(super) deaf_until: u64,
    /// Until then its replies sit in a buffer for `slow_by`.
    pub(super) slow_until: u64,
    pub(super) slow_by: u64,
    /// Until then it reaches the entries, which another server may hold, and not the clock.
    pub(super) clockless_until: u64,
    pub(super) cut_until: u64,
    pub(super) asleep_until: u64,
    /// Microseconds that its monotonic clock has missed.
    pub(super) slept: u64,
    pub(super) elapsed: Elapsed,
    pub(super) bits: u8,
    pub(super) syncing: bool,
    pub(super) loading: bool,
    pub(super) counts_sleep: bool,
}

impl Process {
    pub(super) fn new(bits: u8, undone: Undone, counts_sleep: bool, now: u64) -> Self {
        let bounds = Bounds {
            limit: LIMIT,
            grace: GRACE,
        };
        let view = Arc::new(View::new(u32::from(bits), bounds, undone));
        Self {
            mirror: Mirror::new(Arc::clone(&view), 6),
            view,
            near: HashMap::new(),
            flights: HashMap::new(),
            link: None,
            links: 0,
            hears: false,
            deaf_until: 0,
            slow_until: 0,
            slow_by: 0,
            clockless_until: 0,
            cut_until: 0,
            asleep_until: 0,
            slept: 0,
            elapsed: Elapsed::since(now / 1000, now / 1000),
            bits,
            syncing: false,
            loading: false,
            counts_sleep,
        }
    }

    /// The time that this process has lived, in milliseconds.
    pub(super) fn now(&self, world: u64) -> u64 {
        let monotonic = (world - self.slept) / 1000;
        if self.counts_sleep {
            self.elapsed.at(monotonic, world / 1000)
        } else {
            monotonic
        }
    }
}
