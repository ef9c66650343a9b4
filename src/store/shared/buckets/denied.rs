//! The deny cache: while a bucket cannot have refilled far enough, Redis is not asked again.
//!
//! What is remembered is a debt and when it was heard. Nothing but a change on purpose lowers a debt
//! faster than time does, so an answer from here is what Redis would say, unless tokens were given back
//! elsewhere meanwhile: then it refuses for a little longer, and never for longer than was announced.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::policy::{Answer, Ask};
use super::shards::Key;

/// So many buckets are remembered.
const MOST: usize = 16_384;

pub(super) struct Denied {
    buckets: Cache<Key, Heard>,
}

#[derive(Clone, Copy)]
struct Heard {
    debt: f64,
    at: Instant,
}

impl Default for Denied {
    fn default() -> Self {
        Self {
            buckets: Cache::new(MOST),
        }
    }
}

impl Denied {
    /// The refusal that is known already.
    pub(super) fn refusal(&self, key: &Key, ask: &Ask) -> Option<Answer> {
        let answer = ask.answered(self.debt(key)?);
        (!answer.granted).then_some(answer)
    }

    /// The debt of a bucket that is remembered, unless others took of it meanwhile.
    pub(super) fn debt(&self, key: &Key) -> Option<f64> {
        let heard = self.buckets.get(key)?;
        let refilled = heard.at.elapsed().as_secs_f64() * 1e6;
        Some((heard.debt - refilled).max(0.0))
    }

    /// Takes note of an answer: of a refusal, as only that is ever asked for.
    pub(super) fn heard(&self, key: &Key, answer: Answer) {
        if !answer.granted {
            self.stands(key, answer.debt);
        }
    }

    /// A bucket was changed on purpose, and this is its debt now.
    pub(super) fn changed(&self, key: &Key, debt: f64) {
        self.buckets.remove(key);
        self.stands(key, debt);
    }

    /// This is the debt of a bucket now. Whether it refuses depends on who asks.
    pub(super) fn stands(&self, key: &Key, debt: f64) {
        let at = Instant::now();
        self.buckets.insert(key.clone(), Heard { debt, at });
    }

    /// Nobody knows how a bucket stands.
    pub(super) fn forget(&self, key: &Key) {
        self.buckets.remove(key);
    }
}

impl std::fmt::Debug for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Denied")
            .field("buckets", &self.buckets.len())
            .finish()
    }
}

/// For how long a debt of microseconds is a debt.
pub(super) fn duration(debt: f64) -> Duration {
    // Rounded up: scripts round down.
    Duration::from_micros(debt.max(0.0).ceil() as u64 + u64::from(debt > 0.0))
}
