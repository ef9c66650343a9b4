//! Who was told what, and whether an answer may follow it.

use std::collections::BTreeMap;

use super::super::{Strength, Validity};
use super::server::Entry;
use super::{GRACE, LIMIT};
use crate::policy::tag::TagHash;

/// One invalidation, as its caller saw it.
struct Invalidation {
    process: usize,
    /// `None` for everything.
    tags: Option<Vec<TagHash>>,
    strength: Strength,
    began: u64,
    /// When its caller was told that it is done everywhere.
    acknowledged: Option<u64>,
}

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Strict,
    /// Vouched for by the mirror.
    Relaxed,
    /// By the grace alone.
    Graced,
}

#[derive(Default)]
pub(super) struct Oracle {
    history: Vec<Invalidation>,
    pub(super) violations: Vec<String>,
    /// Everything that happened, by name.
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// An answer that is to be judged.
pub(super) struct Answer<'a> {
    pub(super) process: usize,
    pub(super) mode: Mode,
    pub(super) began: u64,
    pub(super) validity: Validity,
    pub(super) entry: &'a Entry,
}

impl Oracle {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }

    pub(super) fn begin(
        &mut self,
        process: usize,
        tags: Option<Vec<TagHash>>,
        strength: Strength,
        now: u64,
    ) -> usize {
        self.history.push(Invalidation {
            process,
            tags,
            strength,
            began: now,
            acknowledged: None,
        });
        self.history.len() - 1
    }

    pub(super) fn acknowledge(&mut self, invalidation: usize, now: u64) {
        self.history[invalidation].acknowledged = Some(now);
    }

    pub(super) fn violate(&mut self, what: String) {
        if self.violations.len() < 5 {
            self.violations.push(what);
        }
    }

    pub(super) fn judge(&mut self, answer: &Answer<'_>) {
        let lag = match answer.mode {
            Mode::Strict => 0,
            Mode::Relaxed => LIMIT.as_micros() as u64 + 2_000,
            Mode::Graced => GRACE.max(LIMIT).as_micros() as u64 + 2_000,
        };
        let due = |one: &&Invalidation| {
            let told = one.acknowledged.is_some_and(|at| at + lag <= answer.began);
            told || (one.process == answer.process && one.began <= answer.began)
        };
        let broken = self
            .history
            .iter()
            .filter(due)
            .find(|one| one.is_ignored_by(answer));
        if let Some(one) = broken {
            let what = format!(
                "{:?} answer of process {} at {} is {:?}, made at {}; process {} invalidated at {}, acknowledged {:?}",
                answer.mode, answer.process, answer.began, answer.validity, answer.entry.made_at,
                one.process, one.began, one.acknowledged,
            );
            self.violate(what);
        }
    }

    /// Nothing may be left that any invalidation, acknowledged or not, should have reached.
    pub(super) fn sweep(&mut self, answer: &Answer<'_>) {
        if self.history.iter().any(|one| one.is_ignored_by(answer)) {
            let what = format!("left in process {}: {:?}", answer.process, answer.entry);
            self.violate(what);
        }
    }
}

impl Invalidation {
    fn is_ignored_by(&self, answer: &Answer<'_>) -> bool {
        let reaches = match &self.tags {
            None => true,
            Some(tags) => tags.iter().any(|tag| answer.entry.tags.contains(tag)),
        };
        let is_older = answer.entry.made_at < self.began;
        let is_marked = match self.strength {
            Strength::Hard => answer.validity == Validity::Hard,
            Strength::Soft => answer.validity != Validity::Valid,
        };
        reaches && is_older && !is_marked
    }
}
