//! One process's part of the protocol, as plain values: what happened goes in, what to do next comes
//! out. It does no I/O, and the time is handed in.
//!
//! ```text
//!  connected ─► Sync ─► beat ─┬─ same epoch ─► sound, while beats are reached
//!                             └─ another ────► nothing is valid ─► Load ─► loaded ─► sound
//!
//!  message ─┬─ follows the last one ─► applied, reached
//!           ├─ leaves a gap ─────────► applied, not reached ─► Load
//!           └─ of another epoch ─────► Sync
//! ```
//!
//! Everything that is learnt of one epoch is joined by its maximum, so messages, replies, beats and
//! arrays may come in any order, late and twice. What was asked on a former connection, or before the
//! clock was found to have begun another life, is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use super::correction::Correction;
use super::health::Doubt;
use super::journal::{Journal, Ticket};
use super::view::View;
use super::wire::{Header, Message};
use super::Reach;

/// The mirror of one process. It is kept under a lock; look-ups read its [`View`].
pub(crate) struct Mirror {
    view: Arc<View>,
    /// How many questions were asked.
    asked: u64,
    /// Answers to questions up to this one say how things were before what is known now: they were
    /// asked on a former connection, or before the clock was found to begin another life.
    outdated: u64,
    /// Whether this connection's server was compared with the clock's header.
    synced: bool,
    /// The highest number that Redis ever told in this epoch. If the clock is below, it went back.
    seen: u64,
    /// What was applied although something before it is missing.
    ahead: Option<Ahead>,
    /// Heartbeats that the mirror has not reached.
    beats: VecDeque<Beat>,
    journal: Journal,
    /// When the latest invalidation of this process was entered.
    invalidated_at: u64,
}

/// A run of messages that follow each other.
#[derive(Clone, Copy)]
struct Ahead {
    from: u64,
    to: u64,
}

struct Beat {
    s: u64,
    sent_at: u64,
}

/// When a question was sent, and which one it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    at: u64,
    number: u64,
}

/// What the driver does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    Nothing,
    /// Run `sync.lua` on the clock's master.
    Sync,
    /// Read the whole clock from its master.
    Load,
}

/// More beats than this are not waited for: the mirror is loading anyway.
const BEATS: usize = 8;

impl Mirror {
    pub(crate) fn new(view: Arc<View>, journal: usize) -> Self {
        Self {
            view,
            asked: 0,
            outdated: 0,
            synced: false,
            seen: 0,
            ahead: None,
            beats: VecDeque::new(),
            journal: Journal::new(journal),
            invalidated_at: 0,
        }
    }

    /// There is a new connection to the clock's master, or its slot moved.
    pub(crate) fn connected(&mut self) -> Next {
        self.outdated = self.asked;
        self.unsync()
    }

    /// The channel is heard from now on; what was said before is not.
    pub(crate) fn subscribed(&mut self) -> Next {
        if self.synced {
            Next::Load
        } else {
            Next::Nothing
        }
    }

    /// Marks a question that is being sent.
    pub(crate) fn asking(&mut self, now: u64) -> Asked {
        self.asked += 1;
        Asked {
            at: now,
            number: self.asked,
        }
    }

    /// What `sync.lua` compares the clock with: the epoch and the highest number known here.
    pub(crate) fn knows(&self) -> (u64, u64) {
        (self.view.clock.epoch(), self.seen)
    }

    /// `sync.lua` has answered: a heartbeat.
    pub(crate) fn beat(&mut self, asked: Asked, now: u64, reply: &[u8]) -> Next {
        if asked.number <= self.outdated && !self.undone(Correction::DropOutdated) {
            return Next::Nothing;
        }
        let Some(header) = Header::parse(reply) else {
            // A layout we do not know, or no clock: asked again with the next beat.
            let _ = self.unsync();
            return Next::Nothing;
        };
        self.synced = true;
        if header.epoch != self.view.clock.epoch() && !self.undone(Correction::CompareEpochs) {
            self.stop();
            return Next::Load;
        }
        if self.undone(Correction::CompareEpochs) && self.view.clock.epoch() == 0 {
            return Next::Load;
        }
        self.view.soundness.doubt(Doubt::Unsynced, false);
        self.seen = self.seen.max(header.s);
        self.view
            .clock
            .raise_floors(header.floor, header.soft_floor);
        let late = !self.beats.is_empty();
        let sent_at = if self.undone(Correction::CountFromSending) {
            now
        } else {
            asked.at
        };
        if self.undone(Correction::ReachFirst) {
            self.view.soundness.confirm(sent_at);
            return Next::Nothing;
        }
        if self.beats.len() == BEATS {
            self.beats.pop_front();
        }
        self.beats.push_back(Beat {
            s: header.s,
            sent_at,
        });
        self.confirm();
        if late && !self.beats.is_empty() {
            Next::Load
        } else {
            Next::Nothing
        }
    }

    /// The whole clock was read.
    pub(crate) fn loaded(&mut self, asked: Asked, reply: &[u8]) -> Next {
        let is_outdated = asked.number <= self.outdated && !self.undone(Correction::DropOutdated);
        if is_outdated || !self.synced {
            return Next::Nothing;
        }
        let Some((header, buckets)) = Header::parse_clock(reply) else {
            return self.unsync();
        };
        let buckets = self.understood(buckets);
        let clock = &self.view.clock;
        let is_new = header.epoch != clock.epoch()
            && !(self.undone(Correction::CompareEpochs) && clock.epoch() != 0);
        if is_new {
            clock.clear();
            self.seen = 0;
            self.ahead = None;
            self.beats.clear();
        }
        clock.merge(&buckets);
        clock.raise_floors(header.floor, header.soft_floor);
        self.seen = self.seen.max(header.s);
        self.reach(header.s);
        if is_new {
            self.view.clock.start(header.epoch);
        }
        self.view.soundness.doubt(Doubt::Unsynced, false);
        self.view.soundness.confirm(asked.at);
        Next::Nothing
    }

    /// Something was published on the channel.
    pub(crate) fn message(&mut self, bytes: &[u8]) -> Next {
        match Message::parse(bytes) {
            Some(message) => self.absorb(&message),
            None => self.unsync(),
        }
    }

    /// An invalidation of this process: from here on it holds here. Send it, then tell how it went.
    pub(crate) fn invalidate(&mut self, reach: Reach, now: u64) -> Ticket {
        self.invalidated_at = self.invalidated_at.max(now);
        if !self.undone(Correction::KeepOverlay) && !self.undone(Correction::InventNoNumber) {
            self.view.overlay.add(&reach, now);
        }
        self.journal.enter(reach)
    }

    /// Redis has numbered it. Unless the reply makes no sense, which defers it.
    pub(crate) fn acknowledged(&mut self, ticket: Ticket, reply: &[u8]) -> Result<Next, Next> {
        let Some(message) = Message::parse(reply) else {
            self.failed(ticket, 0);
            return Err(self.unsync());
        };
        if message.epoch != self.view.clock.epoch() && !self.undone(Correction::CompareEpochs) {
            // Its number means nothing to what is in the array, and perhaps to nobody: a master that was
            // replaced answers too. It is sent once more, to the life of the clock that goes on.
            self.failed(ticket, 0);
            self.stop();
            return Err(Next::Sync);
        }
        let next = self.absorb(&message);
        if let Some(reach) = self.journal.settle(ticket) {
            if !self.undone(Correction::KeepOverlay) && !self.undone(Correction::InventNoNumber) {
                self.view.overlay.remove(&reach);
            }
        }
        self.note_journal();
        Ok(next)
    }

    /// It could not be sent, or nobody knows whether it arrived: its caller is told that it is
    /// deferred. `wall` is only for a mistake that tests make on purpose.
    pub(crate) fn failed(&mut self, ticket: Ticket, wall: u64) {
        self.journal.defer(ticket);
        self.invent(ticket, wall);
        if let Some(overflow) = self.journal.overflow() {
            let overlay = &self.view.overlay;
            if self.undone(Correction::OverflowPurges) {
                let _ = self
                    .journal
                    .replay()
                    .and_then(|(all, _)| self.journal.settle(all));
            } else {
                overlay.add(&overflow.added, self.invalidated_at);
            }
            overflow
                .dropped
                .iter()
                .for_each(|reach| overlay.remove(reach));
        }
        self.note_journal();
    }

    /// The next deferred invalidation to send, as soon as anything can be sent.
    pub(crate) fn replay(&mut self) -> Option<(Ticket, Reach)> {
        self.journal.replay()
    }

    /// How many deferred invalidations wait for Redis.
    pub(crate) fn behind(&self) -> usize {
        self.journal.behind()
    }

    /// Applies an invalidation, whoever asked for it.
    fn absorb(&mut self, message: &Message) -> Next {
        let clock = &self.view.clock;
        if message.epoch != clock.epoch() {
            if self.undone(Correction::CompareEpochs) && message.n <= clock.reached() {
                return Next::Nothing;
            }
            if !self.undone(Correction::CompareEpochs) {
                return Next::Sync;
            }
        }
        clock.raise(&message.tags, message.n);
        clock.raise_floors(message.floor, message.soft_floor);
        self.seen = self.seen.max(message.n);
        let reached = clock.reached();
        if message.previous == reached || self.undone(Correction::DetectGaps) {
            self.reach(message.n);
            return Next::Nothing;
        }
        if message.n <= reached {
            return Next::Nothing; // known already
        }
        let Message { previous, n, .. } = *message;
        match &mut self.ahead {
            Some(ahead) if ahead.to == previous => ahead.to = n,
            Some(ahead) if ahead.from == n => ahead.from = previous,
            ahead => {
                *ahead = Some(Ahead {
                    from: previous,
                    to: n,
                })
            }
        }
        Next::Load
    }

    /// All up to `s` is in the array, and with it what was applied ahead and follows it.
    fn reach(&mut self, s: u64) {
        self.view.clock.reach(s);
        if let Some(ahead) = self.ahead {
            if ahead.from <= self.view.clock.reached() {
                self.view.clock.reach(ahead.to);
                self.ahead = None;
            }
        }
        self.confirm();
    }

    /// Counts the heartbeats that the mirror has reached by now.
    fn confirm(&mut self) {
        let reached = self.view.clock.reached();
        let soundness = &self.view.soundness;
        self.beats.retain(|beat| {
            if beat.s <= reached {
                soundness.confirm(beat.sent_at);
            }
            beat.s > reached
        });
    }

    /// The clock has begun another life: nothing is valid until it is loaded, by a question that is
    /// asked from here on. An older one could bring the former life back, and its gaps.
    fn stop(&mut self) {
        self.view.clock.stop();
        self.outdated = self.asked;
    }

    fn unsync(&mut self) -> Next {
        self.synced = false;
        self.beats.clear();
        self.view.soundness.doubt(Doubt::Unsynced, true);
        Next::Sync
    }

    fn note_journal(&self) {
        let behind = self.journal.behind() > 0;
        self.view.soundness.doubt(Doubt::Deferred, behind);
    }

    fn undone(&self, correction: Correction) -> bool {
        self.view.undone.is(correction)
    }
}

/// Mistakes that tests make on purpose.
impl Mirror {
    /// The buckets as they are meant.
    fn understood(&self, mut buckets: Vec<u64>) -> Vec<u64> {
        if self.undone(Correction::AdoptBits) {
            buckets.resize(self.view.clock.len(), 0);
        }
        buckets
    }

    /// Gives a deferred invalidation a number of our own.
    fn invent(&self, ticket: Ticket, wall: u64) {
        if self.undone(Correction::InventNoNumber) {
            if let Some(Reach::Tags(tags)) = self.journal.reach(ticket) {
                self.view.clock.raise(tags, wall.max(self.seen + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::correction::Undone;
    use super::super::health::Bounds;
    use super::super::wire::{CLOCK_MAGIC, MESSAGE_MAGIC};
    use super::super::{Strength, Validity};
    use super::*;
    use crate::policy::tag::TagHash;

    fn numbers(magic: [u8; 4], numbers: &[u64]) -> Vec<u8> {
        let mut bytes = [&magic[..], &[1, 10, 1, 0]].concat();
        numbers
            .iter()
            .for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
        bytes
    }

    fn clock(epoch: u64, s: u64) -> Vec<u8> {
        let mut bytes = numbers(CLOCK_MAGIC, &[epoch, s, s, 0]);
        bytes.extend_from_slice(&[b'a'; 40]);
        bytes.resize(80 + (8 << 10), 0);
        bytes
    }

    /// The reply to an invalidation comes from a master that was replaced meanwhile: the life of the
    /// clock that goes on does not have it.
    #[test]
    fn what_only_a_former_life_has_numbered_is_not_settled() {
        let bounds = Bounds {
            limit: Duration::from_secs(1),
            grace: Duration::ZERO,
        };
        let view = Arc::new(View::new(10, bounds, Undone::default()));
        let mut mirror = Mirror::new(Arc::clone(&view), 8);
        let greet = |mirror: &mut Mirror, epoch, s| {
            let _ = mirror.connected();
            let asked = mirror.asking(1);
            let _ = mirror.beat(asked, 1, &clock(epoch, s));
            let asked = mirror.asking(1);
            let _ = mirror.loaded(asked, &clock(epoch, s));
            assert_eq!(view.clock.epoch(), epoch);
        };
        greet(&mut mirror, 7, 100);
        let tag = TagHash::named("posts");
        let ticket = mirror.invalidate(Reach::tags(&[tag], Strength::Hard), 5);
        // The other processes live in epoch 8 since 150, and store there.
        greet(&mut mirror, 8, 150);
        let theirs = crate::policy::stored::Fence {
            epoch: 8,
            clock: 150,
            begun: 0,
        };
        assert_eq!(view.validity(theirs, &[tag]), Validity::Hard);
        // The reply of the former master, which sat in a buffer.
        let mut reply = numbers(MESSAGE_MAGIC, &[7, 100, 160, 0, 0]);
        reply.extend_from_slice(&tag.0.to_be_bytes());
        let told = mirror.acknowledged(ticket, &reply);
        let (epoch, seen) = mirror.knows();
        greet(&mut mirror, 8, 150);
        assert_eq!(
            (
                told.is_err(),
                mirror.behind(),
                view.validity(theirs, &[tag])
            ),
            (true, 1, Validity::Hard),
            "deferred, kept, and invalid here; {epoch} {seen}"
        );
    }
}
