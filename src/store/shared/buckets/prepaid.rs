//! Tokens taken in advance: leases, for policies that ask for them.
//!
//! A process that takes some tokens more than it needs at the moment answers the next requests itself. They
//! are taken from the bucket like any others, so in the long run nothing more is admitted; but they are
//! spent later than they were taken, so a window may see what *all* processes hold beyond what it would
//! otherwise. That is what `most` bounds.
//!
//! How many are taken follows the demand: what one turn will probably need. What is not spent within two
//! turns goes back to the bucket. A process that dies loses what it holds, which is too little for somebody.

use std::time::Duration;

use tokio::time::Instant;

use super::policy::{Answer, Ask, Leasing};
use super::shards::{Key, Shards};

/// So many buckets may be leased from; of any other each request asks Redis.
const MOST: usize = 16_384 / 16;

#[derive(Debug, Default)]
pub(super) struct Prepaid {
    holds: Shards<Hold>,
}

/// What is held of one bucket.
#[derive(Debug)]
struct Hold {
    tokens: u64,
    /// Tokens that calls under way ask for: their answers may all be yes.
    coming: u64,
    until: Instant,
    token: Ask,
    /// Of the bucket, when the tokens were taken (microseconds).
    debt: f64,
    heard: Instant,
    /// Tokens that were asked for in this turn, and per second in those before.
    asked: u64,
    began: Instant,
    rate: f64,
}

/// How many tokens to take in advance.
pub(super) struct Wanted {
    pub(super) tokens: u64,
    /// Whether nobody ends the turns of this bucket yet.
    pub(super) is_new: bool,
}

/// What there is to do at the end of a turn.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    Next,
    /// Give these back, and the next.
    Return {
        tokens: u64,
        token: Ask,
    },
    /// Nobody asks any more.
    Last,
}

impl Prepaid {
    /// Spends what is held; `None` if that is too little.
    pub(super) fn spend(&self, key: &Key, cost: u64, now: Instant) -> Option<Answer> {
        let mut shard = self.holds.of(key);
        let hold = shard.get_mut(key)?;
        if hold.tokens < cost || now >= hold.until {
            return None;
        }
        hold.tokens -= cost;
        hold.asked += cost;
        let refilled = now.duration_since(hold.heard).as_secs_f64() * 1e6;
        Some(Answer {
            granted: true,
            debt: (hold.debt - refilled).max(0.0),
        })
    }

    /// How many tokens to ask for beside `cost`, which are needed now. They count as held until they
    /// [came](Self::came).
    pub(super) fn wanted(&self, key: &Key, cost: u64, lease: &Leasing, now: Instant) -> Wanted {
        let mut shard = self.holds.of(key);
        if !shard.contains_key(key) && shard.len() >= MOST {
            return Wanted {
                tokens: 0,
                is_new: false,
            };
        }
        let is_new = !shard.contains_key(key);
        let hold = shard.entry(key.clone()).or_insert_with(|| Hold {
            tokens: 0,
            coming: 0,
            until: now,
            token: lease.token,
            debt: 0.0,
            heard: now,
            asked: 0,
            began: now,
            rate: 0.0,
        });
        hold.asked += cost;
        let room = (lease.most - 1).saturating_sub(hold.tokens + hold.coming);
        // Expired ones are on their way back, and may still be counted.
        let tokens = (hold.demand(lease.turn, now) - 1).min(room);
        hold.coming += tokens;
        Wanted { tokens, is_new }
    }

    /// A call that asked for so many tokens has ended, and brought those that are deposited.
    pub(super) fn came(&self, key: &Key, asked: u64) {
        if let Some(hold) = self.holds.of(key).get_mut(key) {
            hold.coming = hold.coming.saturating_sub(asked);
        }
    }

    /// Keeps what was taken, of a bucket with this debt afterwards.
    pub(super) fn deposit(&self, key: &Key, tokens: u64, debt: f64, turn: Duration, now: Instant) {
        if let Some(hold) = self.holds.of(key).get_mut(key) {
            hold.tokens += tokens;
            hold.until = now + 2 * turn;
            (hold.debt, hold.heard) = (debt, now);
        }
    }

    /// Ends a turn.
    pub(super) fn turn(&self, key: &Key, turn: Duration, now: Instant) -> Turn {
        let mut shard = self.holds.of(key);
        let Some(hold) = shard.get_mut(key) else {
            return Turn::Last;
        };
        if hold.asked == 0 && hold.tokens == 0 && hold.coming == 0 {
            shard.remove(key);
            return Turn::Last;
        }
        let rate = hold.asked as f64 / turn.as_secs_f64();
        hold.rate = f64::midpoint(hold.rate, rate);
        (hold.asked, hold.began) = (0, now);
        if hold.tokens > 0 && now >= hold.until {
            let tokens = std::mem::take(&mut hold.tokens);
            return Turn::Return {
                tokens,
                token: hold.token,
            };
        }
        Turn::Next
    }

    /// Takes everything that is held, to give it back.
    pub(super) fn all(&self) -> Vec<(Key, u64, Ask)> {
        let mut all = Vec::new();
        for mut shard in self.holds.all() {
            // What is coming still counts, should the process go on.
            all.extend(shard.iter_mut().map(|(key, hold)| {
                let tokens = std::mem::take(&mut hold.tokens);
                (Key::clone(key), tokens, hold.token)
            }));
        }
        all.retain(|(_, tokens, _)| *tokens > 0);
        all
    }

    #[cfg(test)]
    pub(super) fn held(&self, key: &Key) -> u64 {
        self.holds.of(key).get(key).map_or(0, |hold| hold.tokens)
    }

    /// Nobody ends the turns of this bucket any more.
    pub(super) fn forget(&self, key: &Key) {
        self.holds.of(key).remove(key);
    }
}

impl Hold {
    /// What one turn will need, at least 1.
    fn demand(&self, turn: Duration, now: Instant) -> u64 {
        let elapsed = now.duration_since(self.began);
        // Of a turn that has only begun nobody can tell.
        let current = if elapsed > turn / 4 {
            self.asked as f64 / elapsed.as_secs_f64()
        } else {
            0.0
        };
        let needed = self.rate.max(current) * turn.as_secs_f64();
        (needed as u64).max(1)
    }
}
