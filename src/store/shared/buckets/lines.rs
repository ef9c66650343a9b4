//! Lines: those who ask for one bucket at once, and the one call that answers them.
//!
//! ```text
//! first ──► its own call ──────────► answered
//! second ─► a task's call ─────────► answered
//! others ─► wait ─────┐                  │
//!                     └─ one for all ◄───┘─► answered ─► and so on, until nobody waits
//! ```
//!
//! Whoever is first does not wait for company, so an idle bucket costs nobody anything; and nobody waits
//! for the first one's call, which is made only while that one is polled. A call for
//! several evaluates them one after the other, so it answers exactly what as many calls would have.
//! Who stops waiting is left out; what was granted for one who is gone already is given back by the next
//! call.

use std::collections::hash_map::Entry;
use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::policy::{Answer, Ask, Leasing};
use super::scripts::Run;
use super::shards::{Key, Shards};
use super::Unavailable;

/// So many wait for one bucket; who comes then is refused.
const LONGEST: usize = 1024;
/// So many are served by one call, so that no process takes all there is.
const TOGETHER: usize = 256;

/// The lines of all buckets that somebody asks for now.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Shards<Line>,
}

/// One is there for as long as a call is under way.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiter>,
    /// What was granted for nobody.
    spare: Option<Ask>,
    /// Whether a task serves it. Until then nobody waits.
    is_served: bool,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ask: Ask,
    pub(super) lease: Option<Leasing>,
    answer: Answering,
}

type Answering = oneshot::Sender<Result<Answer, Unavailable>>;
pub(super) type Answered = oneshot::Receiver<Result<Answer, Unavailable>>;

/// Where somebody stands who comes.
pub(super) enum Place {
    /// Nobody asks: make the call.
    First,
    /// Nobody serves the line: see to it.
    Second(Answered),
    Behind(Answered),
    /// Too many wait already, for so much together (microseconds).
    Nowhere {
        ahead: f64,
    },
}

/// Who is served by the next call.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) waiters: Vec<Waiter>,
    pub(super) spare: Option<Ask>,
}

impl Lines {
    pub(super) fn join(&self, key: &Key, ask: Ask, lease: Option<Leasing>) -> Place {
        match self.lines.of(key).entry(Key::clone(key)) {
            Entry::Vacant(place) => {
                place.insert(Line::default());
                Place::First
            }
            Entry::Occupied(mut line) => {
                let line = line.get_mut();
                let waiting = &mut line.waiting;
                if waiting.len() >= LONGEST {
                    waiting.retain(Waiter::is_there);
                }
                if waiting.len() >= LONGEST {
                    let ahead = waiting.iter().map(|waiter| waiter.ask.price).sum();
                    return Place::Nowhere { ahead };
                }
                let (answer, answered) = oneshot::channel();
                waiting.push_back(Waiter { ask, lease, answer });
                match std::mem::replace(&mut line.is_served, true) {
                    false => Place::Second(answered),
                    true => Place::Behind(answered),
                }
            }
        }
    }

    /// Who is served next. `None` when there is nothing to do: then there is no line any more.
    pub(super) fn next(&self, key: &Key) -> Option<Batch> {
        let mut lines = self.lines.of(key);
        let line = lines.get_mut(key)?;
        line.waiting.retain(Waiter::is_there);
        let together = line.waiting.len().min(TOGETHER);
        let batch = Batch {
            waiters: line.waiting.drain(..together).collect(),
            spare: line.spare.take(),
        };
        if batch.waiters.is_empty() && batch.spare.is_none() {
            lines.remove(key);
            return None;
        }
        Some(batch)
    }

    /// The first one's call has ended, or will not be made: ends the line, unless a task serves it or has to now,
    /// which is the answer.
    pub(super) fn end(&self, key: &Key) -> bool {
        let mut lines = self.lines.of(key);
        match lines.get_mut(key) {
            None
            | Some(Line {
                is_served: true, ..
            }) => false,
            Some(line) if line.spare.is_some() => {
                line.is_served = true;
                true
            }
            Some(_) => {
                lines.remove(key);
                false
            }
        }
    }

    /// Sends everybody away: nobody is left to call.
    pub(super) fn abandon(&self, key: &Key) {
        self.lines.of(key).remove(key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.all().all(|lines| lines.is_empty())
    }

    /// Something was granted for one who is gone. False when no call will follow.
    pub(super) fn spare(&self, key: &Key, granted: Ask) -> bool {
        match self.lines.of(key).get_mut(key) {
            Some(line) => {
                line.spare = Some(sum(line.spare, granted));
                true
            }
            None => false,
        }
    }
}

fn sum(spare: Option<Ask>, more: Ask) -> Ask {
    let price = more.price + spare.map_or(0.0, |spare| spare.price);
    Ask { price, ..more }
}

impl Batch {
    /// The same, as a script is asked it.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for Waiter { ask, .. } in &self.waiters {
            match runs.last_mut() {
                Some(last) if last.ask == *ask => last.number += 1,
                _ => runs.push(Run {
                    ask: *ask,
                    number: 1,
                }),
            }
        }
        runs
    }

    /// Tells everybody what a script granted, run by run, of a bucket that had this debt before. The
    /// debt afterwards, and what was granted for those who are gone.
    pub(super) fn answer(self, debt: f64, runs: &[Run], granted: &[u64]) -> (f64, Option<Ask>) {
        let (mut debt, mut spare) = (debt, None);
        let mut waiters = self.waiters.into_iter();
        for (run, granted) in runs.iter().zip(granted) {
            for (place, waiter) in (0..run.number).zip(&mut waiters) {
                let granted = place < *granted;
                if granted {
                    debt += run.ask.price;
                }
                let told = waiter.tell(Ok(Answer { granted, debt }));
                if granted && !told {
                    spare = Some(sum(spare, run.ask));
                }
            }
        }
        (debt, spare)
    }

    pub(super) fn fail(self, why: Unavailable) {
        for waiter in self.waiters {
            waiter.tell(Err(why));
        }
    }
}

impl Waiter {
    fn is_there(&self) -> bool {
        !self.answer.is_closed()
    }

    /// False when nobody listens any more.
    pub(super) fn tell(self, answer: Result<Answer, Unavailable>) -> bool {
        self.answer.send(answer).is_ok()
    }
}
