//! The tag index: how many responses an invalidation reached, and their memory back.
//!
//! It is never asked whether a response is valid: the clock says that, before anybody looks here.
//! So it may be late, incomplete, evicted or gone, and all that suffers is a count.
//!
//! Each tag has a sorted set of the responses that carry it, by the time at which they end. What an
//! invalidation does on a request's path does not depend on how many they are:
//!
//! ```text
//!                  ┌─ up to 1000 ──► list them, forget the set ─► UNLINK each: the count is exact
//! one script a tag ┤
//!                  └─ more ────────► RENAME the set, answer its length ─► freed in the background,
//!                                                                         100 at a time
//! ```
//!
//! **The count.** Up to 1000 responses, over all tags of the invalidation together, are counted
//! exactly: each once, and only if it was still there. Beyond that the lengths of the sets are
//! added, which is an upper bound: a response with two of the tags counts twice, and one that was
//! evicted, or freed under another tag, counts although it is gone. What counts is what lay there:
//! so do responses that an invalidation of everything, or of one query of a path, had made invalid
//! before. Processes of another application version have an index of their own.
//!
//! **The memory.** Few are freed at once. Long lists are freed one after another, and what was stored
//! anew meanwhile is left alone, because it ends later than its list says. (Of few nobody looks: one
//! that was made within that millisecond is lost, which is a miss.) If the process ends, or Redis
//! does not answer, the rest goes by its ttl; so does the record of what a key varies on.
//!
//! A server that holds tags of very many responses wants `lazyfree-lazy-expire yes`: it pauses to
//! delete a long set that ends by its ttl otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Pipeline, Value};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::driver::Driver;
use super::keys::EntryDigest;
use crate::clock::millis;
use crate::policy::tag::TagHash;
use crate::redis::{NoAnswer, Script};
use crate::store::invalidation::Strength;

static INDEX: Script = Script::new(include_str!("index.lua"));

/// So many responses are counted exactly.
const FEW: usize = 1000;
/// So many are asked for, or freed, in one trip.
const BATCH: usize = 100;
/// Between two batches that are freed, for the others.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a set is kept that is being freed. Each batch begins this anew.
const KEPT: Duration = Duration::from_secs(600);
/// No more sets than this wait to be freed.
const QUEUE: usize = 256;
/// How long each trip may take.
const LIMIT: Duration = Duration::from_millis(250);

/// The tag index of one cache.
pub(super) struct Index {
    driver: Arc<Driver>,
    freeing: Mutex<Freeing>,
}

/// Sets that were taken away, and the one task that works them off.
#[derive(Default)]
struct Freeing {
    queue: VecDeque<Vec<u8>>,
    task: Option<AbortHandle>,
}

/// The responses that carry a tag.
enum Carriers {
    Few(Vec<EntryDigest>),
    /// So many.
    Many(u64),
}

impl Index {
    pub(super) fn new(driver: Arc<Driver>) -> Arc<Self> {
        Arc::new(Self {
            driver,
            freeing: Mutex::default(),
        })
    }

    /// Enters a response that has just been stored. What fails is not entered.
    pub(super) async fn add(&self, response: EntryDigest, tags: &[TagHash], lasts: Duration) {
        // Of a time that lies so far ahead, Redis and Lua could not tell the milliseconds.
        let lasts = millis(lasts).clamp(1, 1 << 52).to_string();
        for tag in tags {
            let index = self.driver.keys().index(*tag);
            let args: [&[u8]; 3] = [b"add", &response, lasts.as_bytes()];
            let keys = [index.as_slice()];
            let added = self.driver.redis().script(&INDEX, &keys, &args, LIMIT);
            if added.await.is_err() {
                return;
            }
        }
    }

    /// How many responses an invalidation of these tags reached.
    pub(super) async fn reached(
        self: &Arc<Self>,
        tags: &[TagHash],
        strength: Strength,
    ) -> Option<u64> {
        let (mut few, mut many) = (BTreeSet::new(), 0);
        for tag in tags.iter().collect::<BTreeSet<_>>() {
            let carriers = self.carriers(*tag, strength, FEW - few.len()).await;
            match carriers.ok()? {
                Carriers::Few(listed) => few.extend(listed),
                Carriers::Many(number) => many += number,
            }
        }
        let names: Vec<_> = few.iter().map(|one| self.driver.keys().of(*one)).collect();
        let command = match strength {
            Strength::Hard => "UNLINK",
            Strength::Soft => "EXISTS",
        };
        let there = self.each(command, &names).await.ok()?;
        Some(many + there.iter().sum::<i64>().unsigned_abs())
    }

    /// Who carries a tag, listed if there are not more than `room`. Hard, nobody finds them here
    /// again.
    async fn carriers(
        self: &Arc<Self>,
        tag: TagHash,
        strength: Strength,
        room: usize,
    ) -> Result<Carriers, NoAnswer> {
        let index = self.driver.keys().index(tag);
        let random = RandomState::new().hash_one(tag);
        let trash = [&index[..], format!(":trash:{random:016x}").as_bytes()].concat();
        let what: &[u8] = match strength {
            Strength::Hard => b"take",
            Strength::Soft => b"count",
        };
        let (room, kept) = (room.to_string(), KEPT.as_millis().to_string());
        let args = [what, room.as_bytes(), kept.as_bytes()];
        let redis = self.driver.redis();
        let keys = [index.as_slice(), &trash];
        match redis.script(&INDEX, &keys, &args, LIMIT).await? {
            Value::Array(listed) => Ok(Carriers::Few(listed.iter().filter_map(digest).collect())),
            Value::Int(number) => {
                if strength == Strength::Hard {
                    self.free_later(trash);
                }
                Ok(Carriers::Many(number.unsigned_abs()))
            }
            other => Err(NoAnswer::Refused(format!("an index answered {other:?}"))),
        }
    }

    /// Says the same to every name, on its own server; the answers in the order of the names.
    async fn each(&self, command: &str, names: &[Vec<u8>]) -> Result<Vec<i64>, NoAnswer> {
        let redis = self.driver.redis();
        let mut answers = vec![0; names.len()];
        let mut left: Vec<usize> = (0..names.len()).collect();
        while let Some(&first) = left.first() {
            let server = &names[first];
            let (here, elsewhere): (Vec<_>, Vec<_>) = left
                .into_iter()
                .partition(|at| *at == first || redis.same_server(server, &names[*at]));
            left = elsewhere;
            for batch in here.chunks(BATCH) {
                // One command a name: those of a Cluster's server lie in many slots.
                let mut pipeline = Pipeline::with_capacity(batch.len());
                for at in batch {
                    pipeline.cmd(command).arg(&names[*at]);
                }
                let said = array(redis.run(server, pipeline, LIMIT).await?);
                for (at, answer) in batch.iter().zip(said) {
                    if let Value::Int(answer) = answer {
                        answers[*at] = answer;
                    }
                }
            }
        }
        Ok(answers)
    }

    /// Frees what a set lists, later.
    fn free_later(self: &Arc<Self>, trash: Vec<u8>) {
        let mut freeing = self.freeing.lock();
        if freeing.queue.len() >= QUEUE {
            return; // it goes by its ttl
        }
        freeing.queue.push_back(trash);
        let runs = freeing
            .task
            .as_ref()
            .is_some_and(|task| !task.is_finished());
        if let (false, Ok(runtime)) = (runs, Handle::try_current()) {
            let task = runtime.spawn(free_all(Arc::downgrade(self)));
            freeing.task = Some(task.abort_handle());
        }
    }

    /// Frees up to 100 responses of a set. False when it lists no more.
    async fn free_some(&self, trash: &[u8]) -> Result<bool, NoAnswer> {
        let redis = self.driver.redis();
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("TIME");
        pipeline.cmd("ZPOPMIN").arg(trash).arg(BATCH);
        pipeline.cmd("PEXPIRE").arg(trash).arg(millis(KEPT));
        let mut said = array(redis.run(trash, pipeline, LIMIT).await?).into_iter();
        let now = time(said.next());
        let popped = said.next().map(array).unwrap_or_default();
        let mut listed = Vec::new();
        for pair in popped.chunks_exact(2) {
            if let (Some(response), Some(ends)) = (digest(&pair[0]), number(&pair[1])) {
                listed.push((self.driver.keys().of(response), ends.saturating_sub(now)));
            }
        }
        let names: Vec<_> = listed.iter().map(|(name, _)| name.clone()).collect();
        let left = self.each("PTTL", &names).await?;
        // What lasts longer than it was entered with was stored anew since; what is gone has no ttl.
        let old = listed.into_iter().zip(left);
        let old = old.filter(|((_, entered), left)| (0..=*entered).contains(left));
        let old: Vec<_> = old.map(|((name, _), _)| name).collect();
        self.each("UNLINK", &old).await?;
        Ok(!popped.is_empty())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Some(task) = self.freeing.get_mut().task.take() {
            task.abort();
        }
    }
}

/// Works off what was taken away, for as long as the index lives.
async fn free_all(index: Weak<Index>) {
    loop {
        let Some(this) = index.upgrade() else { return };
        let next = {
            let mut freeing = this.freeing.lock();
            let next = freeing.queue.front().cloned();
            if next.is_none() {
                // Said under the lock: what comes from now on starts another task.
                freeing.task = None;
            }
            next
        };
        let Some(trash) = next else { return };
        // Where Redis does not answer the rest goes by its ttl.
        if !this.free_some(&trash).await.unwrap_or(false) {
            this.freeing.lock().queue.pop_front();
        }
        drop(this);
        tokio::time::sleep(PAUSE).await;
    }
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    }
}

fn digest(value: &Value) -> Option<EntryDigest> {
    match value {
        Value::BulkString(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// The milliseconds of what `TIME` answered: seconds and microseconds.
fn time(value: Option<Value>) -> i64 {
    let parts = value.map(array).unwrap_or_default();
    let part = |at: usize| parts.get(at).and_then(number).unwrap_or_default();
    part(0) * 1000 + part(1) / 1000
}
