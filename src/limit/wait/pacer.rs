//! [`Pacer`]: the handle on who waits, for code that is no HTTP as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::builder::PacerBuilder;
use super::error::{Error, Refusal};
use super::line::{Joined, Line, Permit};
use super::stats::{Counters, WaitStats};
use super::tokens::Tokens;
use super::{Priority, WaitLayer};
use crate::limit::Key;
use crate::policy::bucket::Quota;

/// Nobody is paused for longer, whatever an upstream says.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Lets calls pass at the pace of a quota: whoever comes too soon waits. Its clones are the same queues.
///
/// ```
/// use larder::limit::wait::{Pacer, Priority};
/// use larder::limit::Quota;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::limit::wait::Error> {
/// let github = Pacer::new(Quota::per_second(50));
/// github.ready("search", Priority::Critical).await?; // now it may be called
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Pacer {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) tokens: Tokens,
    pub(super) max_queue: usize,
    pub(super) max_wait: Duration,
    /// Nanoseconds.
    pub(super) max_starve: u64,
    pub(super) max_keys: usize,
    pub(super) stats: Counters,
    pub(super) lines: Mutex<HashMap<u128, Arc<Line>>>,
}

impl Pacer {
    /// In this process, with the defaults of [`builder`](Self::builder).
    ///
    /// # Panics
    ///
    /// If the quota contradicts itself; the builder tells it as an error.
    pub fn new(quota: Quota) -> Self {
        match Self::builder(quota).build() {
            Ok(pacer) => pacer,
            Err(error) => panic!("{error}"),
        }
    }

    /// With settings of its own.
    pub fn builder(quota: Quota) -> PacerBuilder {
        PacerBuilder::new(quota)
    }

    /// A layer whose services wait here before they call.
    pub fn layer(&self) -> WaitLayer {
        WaitLayer::from(self.clone())
    }

    /// Waits for its turn to make one call. It is paid when this returns `Ok`; dropped before, it costs
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the turn does not come in time, or could not: the error says why.
    pub async fn ready(&self, key: impl Into<Key<'_>>, priority: Priority) -> Result<(), Error> {
        let max_wait = self.inner.max_wait;
        self.ready_within(key, priority, 1, max_wait).await
    }

    /// As [`ready`](Self::ready), for a call that costs `cost` tokens and would not wait for longer than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// As `ready`, also if it costs more than the bucket can hold.
    pub async fn ready_within(
        &self,
        key: impl Into<Key<'_>>,
        priority: Priority,
        cost: u64,
        limit: Duration,
    ) -> Result<(), Error> {
        let key = digest(&key.into());
        let permit = self.inner.permit(key, priority, cost, limit).await?;
        permit.into_iter().for_each(Permit::spend);
        Ok(())
    }

    /// Lets nobody pass for this long, in no process: an upstream said so. Ten minutes at most.
    pub async fn pause(&self, key: impl Into<Key<'_>>, time: Duration) {
        let key = digest(&key.into());
        let pausing = self.inner.pause(key, time);
        pausing.await;
    }

    /// What it did so far, and who waits now.
    pub fn stats(&self) -> WaitStats {
        let lines = self.inner.lines.lock();
        let states = lines.values().map(|line| line.state.lock());
        let mut waiting = [0; 3];
        for state in states {
            for priority in Priority::ALL {
                waiting[priority.place()] += state.queue.waiting(priority);
            }
        }
        self.inner.stats.snapshot(waiting)
    }

    /// The quota of each bucket.
    pub fn quota(&self) -> Quota {
        self.inner.tokens.quota
    }
}

impl Inner {
    /// Waits for the right to make a call; what costs nothing needs none.
    pub(super) async fn permit(
        self: &Arc<Self>,
        key: u128,
        priority: Priority,
        cost: u64,
        limit: Duration,
    ) -> Result<Option<Permit>, Refusal> {
        if cost == 0 {
            return Ok(None);
        }
        let turn = self.turn(key, priority, cost, limit).await;
        turn.map(Some).map_err(|why| self.refused(why))
    }

    /// Counts what somebody is told.
    pub(super) fn refused(&self, why: Refusal) -> Refusal {
        self.stats.refused(why);
        why
    }

    async fn turn(
        self: &Arc<Self>,
        key: u128,
        priority: Priority,
        cost: u64,
        limit: Duration,
    ) -> Result<Permit, Refusal> {
        if cost > self.tokens.quota.tokens() {
            return Err(Refusal::TooExpensive);
        }
        let clock = &self.tokens.clock;
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let until = clock.nanos().saturating_add(nanos);
        loop {
            let line = self.line(key)?;
            let ticket = match line.join(self, priority, cost, until)? {
                Joined::Now(permit) => return Ok(permit),
                Joined::Line(ticket) => ticket,
            };
            let left = Duration::from_nanos(until.saturating_sub(clock.nanos()));
            match clock.within(left, ticket.turn()).await {
                Some(Some(answer)) => return answer,
                // Whoever served it is gone: once more.
                Some(None) => {}
                None => {
                    let wait = line.state.lock().at_least(self, priority, cost, until);
                    return Err(Refusal::TooLate(wait));
                }
            }
        }
    }

    /// The line of a key. One that is in use is never replaced; of the others, the one whose bucket is nearest
    /// to full is forgotten first.
    fn line(&self, key: u128) -> Result<Arc<Line>, Refusal> {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get(&key) {
            return Ok(Arc::clone(line));
        }
        if lines.len() >= self.max_keys {
            let is_idle = |line: &Arc<Line>| Arc::strong_count(line) == 1;
            let lost = |line: &Arc<Line>| self.tokens.lost_with(&line.state.lock().held);
            lines.retain(|_, line| !is_idle(line) || lost(line) > (0, 0));
            if lines.len() >= self.max_keys {
                let idle = lines.iter().filter(|(_, line)| is_idle(line));
                let least = idle.min_by_key(|(_, line)| lost(line));
                let least = *least.ok_or(Refusal::Full)?.0;
                lines.remove(&least);
            }
        }
        let line = Line::new(key);
        lines.insert(key, Arc::clone(&line));
        Ok(line)
    }

    /// Pauses here at once; what is returned pauses the other processes. A pause of no time empties the bucket.
    pub(super) fn pause(
        self: &Arc<Self>,
        key: u128,
        time: Duration,
    ) -> impl std::future::Future<Output = ()> + Send + 'static {
        let time = time.min(LONGEST_PAUSE);
        if !time.is_zero() {
            self.stats.paused();
        }
        if let Ok(line) = self.line(key) {
            self.tokens.pause_here(&line, time);
        }
        let inner = Arc::clone(self);
        async move { inner.tokens.pause_everywhere(key, time).await }
    }

    /// Whether the bucket holds a token, as far as that is known.
    pub(super) fn holds_one(&self, key: u128) -> bool {
        let line = self.line(key);
        line.is_ok_and(|line| self.tokens.holds_one(&line.state.lock().held))
    }
}

/// What a key is called, in all processes alike.
pub(super) fn digest(key: &Key<'_>) -> u128 {
    let mut digest = Sha256::new();
    key.feed(&mut |bytes| digest.update(bytes));
    let mut first = [0; 16];
    first.copy_from_slice(&digest.finalize()[..16]);
    u128::from_be_bytes(first)
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacer")
            .field("quota", &self.inner.tokens.quota)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
