//! A process's cache: look-ups, calls that others follow, and what is derived from a response.

use super::super::correction::Correction;
use super::super::health::Health;
use super::super::strict::Before;
use super::super::Validity;
use super::node::{CacheRule, Follower};
use super::oracle::{Answer, Mode};
use super::server::Entry;
use super::world::{tags_of, Event, Mistake, Request, StrictLookup, Waiting, World, DERIVED, MS};

impl World {
    pub(super) fn look_up(&mut self, process: usize, key: u64, is_strict: bool) {
        let now = self.processes[process].now(self.now);
        let this = &self.processes[process];
        let near = this.near.get(&key).cloned();
        if is_strict {
            let Some(before) = Before::asking(&this.view).filter(|_| this.link.is_some()) else {
                return self.oracle.count("strict bypasses");
            };
            let ask = near.is_none().then_some(key);
            let lookup = StrictLookup {
                key,
                began: self.now,
                before,
                entry: near,
                first: None,
                follows: false,
            };
            return self.send(process, Request::Strict(ask), Waiting::Strict(lookup));
        }
        if let Some(entry) = near {
            let mode = self.mode(process);
            let this = &self.processes[process];
            match this.view.relaxed(entry.fence, &entry.tags, now) {
                Ok(Validity::Hard) => self.oracle.count("refusals"),
                Ok(validity) => return self.hit(process, key, mode, self.now, validity, &entry),
                Err(_) => self.oracle.count("unsound"),
            }
        }
        let began = self.now;
        self.send(process, Request::Get(key), Waiting::Lookup(key, began));
    }

    pub(super) fn mode(&self, process: usize) -> Mode {
        let this = &self.processes[process];
        match this.view.soundness.health(this.now(self.now)) {
            Health::Sound => Mode::Relaxed,
            Health::Unsound => Mode::Graced,
        }
    }

    pub(super) fn found(&mut self, process: usize, key: u64, began: u64, mut entry: Entry) {
        let mode = self.mode(process);
        let now = self.processes[process].now(self.now);
        if self.mistake == Some(Mistake::Protocol(Correction::GraceFromMirror)) {
            entry.fence.begun = now;
        }
        match self.processes[process]
            .view
            .relaxed(entry.fence, &entry.tags, now)
        {
            Ok(Validity::Hard) => self.oracle.count("refusals"),
            Ok(validity) => {
                self.oracle.count("hits from the server");
                self.processes[process].near.insert(key, entry.clone());
                return self.hit(process, key, mode, began, validity, &entry);
            }
            Err(_) => self.oracle.count("unsound"),
        }
        self.make(process, key, began, false);
    }

    pub(super) fn hit(
        &mut self,
        process: usize,
        key: u64,
        mode: Mode,
        began: u64,
        validity: Validity,
        entry: &Entry,
    ) {
        self.oracle.count(match mode {
            Mode::Strict => "strict hits",
            Mode::Relaxed => "relaxed hits",
            Mode::Graced => "graced hits",
        });
        let answer = Answer {
            process,
            mode,
            began,
            validity,
            entry,
        };
        self.oracle.judge(&answer);
        if key < DERIVED && self.chance(10) {
            let now = self.processes[process].now(self.now);
            let mut derived = entry.clone();
            if self.undone(CacheRule::InheritFence) {
                derived.fence = self.processes[process].view.fence(now);
            }
            self.oracle.count("derived");
            self.keep(process, key + DERIVED, derived);
        }
    }

    pub(super) fn make(&mut self, process: usize, key: u64, began: u64, is_strict: bool) {
        if key >= DERIVED {
            return;
        }
        if let Some(followers) = self.processes[process].flights.get_mut(&key) {
            followers.push(Follower { began, is_strict });
            return;
        }
        self.processes[process].flights.insert(key, Vec::new());
        let this = &self.processes[process];
        let entry = Entry {
            fence: this.view.fence(this.now(self.now)),
            tags: tags_of(key),
            made_at: self.now,
        };
        let delay = 200 + self.random(40 * MS);
        self.after(
            delay,
            Event::Made {
                process,
                key,
                entry,
            },
        );
    }

    pub(super) fn made(&mut self, process: usize, key: u64, mut entry: Entry) {
        if self.undone(CacheRule::FenceFirst) {
            let this = &self.processes[process];
            entry.fence = this.view.fence(this.now(self.now));
        }
        self.oracle.count("made");
        let followers = self.processes[process]
            .flights
            .remove(&key)
            .unwrap_or_default();
        if self.processes[process]
            .view
            .validity(entry.fence, &entry.tags)
            == Validity::Hard
        {
            self.oracle.count("overtaken");
        } else {
            self.keep(process, key, entry.clone());
        }
        for follower in followers {
            self.release(process, key, follower, &entry);
        }
    }

    pub(super) fn release(&mut self, process: usize, key: u64, follower: Follower, entry: &Entry) {
        self.oracle.count("followers");
        let mode = self.mode(process);
        let this = &self.processes[process];
        let now = this.now(self.now);
        if self.undone(CacheRule::CheckFollowers) {
            let mode = if follower.is_strict {
                Mode::Strict
            } else {
                mode
            };
            return self.hit(process, key, mode, follower.began, Validity::Valid, entry);
        }
        if follower.is_strict {
            let Some(before) = Before::asking(&this.view) else {
                return;
            };
            let lookup = StrictLookup {
                key,
                began: follower.began,
                before,
                entry: Some(entry.clone()),
                first: None,
                follows: true,
            };
            return self.send(process, Request::Strict(None), Waiting::Strict(lookup));
        }
        match this.view.relaxed(entry.fence, &entry.tags, now) {
            Ok(validity @ (Validity::Valid | Validity::Soft)) => {
                self.hit(process, key, mode, follower.began, validity, entry);
            }
            _ => self.oracle.count("followers refused"),
        }
    }

    pub(super) fn keep(&mut self, process: usize, key: u64, entry: Entry) {
        let mut stored = entry.clone();
        stored.fence.begun = 0;
        self.processes[process].near.insert(key, entry);
        self.send(process, Request::Set(key, stored), Waiting::Nobody);
    }
}
