//! Invalidations that Redis has not acknowledged: none is forgotten, and there are never too many.

use std::collections::VecDeque;

use super::{Reach, Strength};

/// The name of an invalidation until Redis has numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// Bounded: beyond its capacity it becomes one purge of everything.
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    capacity: usize,
    next: u64,
}

struct Entry {
    ticket: Ticket,
    reach: Reach,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sent, for the first time.
    Sent,
    /// Its caller was told that it is deferred.
    Deferred,
    /// Deferred, and sent again.
    Replayed,
}

/// What must be added to the overlay, and what taken out afterwards.
pub(crate) struct Overflow {
    pub(crate) added: Reach,
    pub(crate) dropped: Vec<Reach>,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity: capacity.max(1),
            next: 0,
        }
    }

    /// Enters an invalidation that is about to be sent.
    pub(crate) fn enter(&mut self, reach: Reach) -> Ticket {
        let ticket = self.ticket();
        self.entries.push_back(Entry {
            ticket,
            reach,
            state: State::Sent,
        });
        ticket
    }

    /// The invalidation could not be sent, or nobody knows whether it arrived.
    pub(crate) fn defer(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.ticket == ticket) {
            entry.state = State::Deferred;
        }
    }

    /// Replaces what is deferred by a purge of everything when there is too much of it.
    pub(crate) fn overflow(&mut self) -> Option<Overflow> {
        let deferred = |entry: &Entry| entry.state == State::Deferred;
        if self.entries.iter().filter(|entry| deferred(entry)).count() <= self.capacity {
            return None;
        }
        let entries = std::mem::take(&mut self.entries);
        let (dropped, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(deferred);
        self.entries = kept.into();
        // A soft purge among them is covered by a hard one: a miss too many.
        let added = Reach::Everything(Strength::Hard);
        let ticket = self.ticket();
        self.entries.push_back(Entry {
            ticket,
            reach: added.clone(),
            state: State::Deferred,
        });
        Some(Overflow {
            added,
            dropped: dropped.into_iter().map(|entry| entry.reach).collect(),
        })
    }

    /// The next one to send again.
    pub(crate) fn replay(&mut self) -> Option<(Ticket, Reach)> {
        let next = |entry: &&mut Entry| entry.state == State::Deferred;
        let entry = self.entries.iter_mut().find(next)?;
        entry.state = State::Replayed;
        Some((entry.ticket, entry.reach.clone()))
    }

    /// Redis has numbered it. `None` when it is gone already: it was replayed and both arrived.
    pub(crate) fn settle(&mut self, ticket: Ticket) -> Option<Reach> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.ticket == ticket)?;
        self.entries.remove(at).map(|entry| entry.reach)
    }

    /// What an unsettled invalidation reaches.
    pub(crate) fn reach(&self, ticket: Ticket) -> Option<&Reach> {
        let entry = self.entries.iter().find(|entry| entry.ticket == ticket)?;
        Some(&entry.reach)
    }

    /// How many are deferred.
    pub(crate) fn behind(&self) -> usize {
        let deferred = |entry: &&Entry| entry.state != State::Sent;
        self.entries.iter().filter(deferred).count()
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }
}
