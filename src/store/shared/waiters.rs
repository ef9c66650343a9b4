//! Who in this process waits for somebody else's lease to end.
//!
//! Bounded, and only a help: who is not woken polls.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::redis::Event;

/// More leases than this are not waited for, only polled.
const LEASES: usize = 4096;

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a response.
    Stored,
    /// Without one.
    Free,
}

#[derive(Default)]
pub(super) struct Waiters {
    by_lease: Mutex<HashMap<Vec<u8>, Place>>,
}

struct Place {
    waiting: usize,
    ended: watch::Sender<Option<End>>,
}

/// One that waits; until it is dropped.
pub(super) struct Waiter {
    waiters: Arc<Waiters>,
    lease: Vec<u8>,
    ended: watch::Receiver<Option<End>>,
}

impl Waiters {
    /// Hears of this lease from now on. `None` when too many are waited for.
    pub(super) fn register(self: &Arc<Self>, lease: &[u8]) -> Option<Waiter> {
        let mut by_lease = self.by_lease.lock();
        if by_lease.len() >= LEASES && !by_lease.contains_key(lease) {
            return None;
        }
        let place = by_lease.entry(lease.to_vec()).or_insert_with(|| Place {
            waiting: 0,
            ended: watch::Sender::new(None),
        });
        place.waiting += 1;
        Some(Waiter {
            waiters: Arc::clone(self),
            lease: lease.to_vec(),
            ended: place.ended.subscribe(),
        })
    }

    /// Wakes who waits for the lease that a message names: `stored <lease>` or `free <lease>`.
    pub(super) fn hear(&self, event: &Event) {
        let Event::Message(message) = event else {
            return; // what is missed costs a poll
        };
        let (end, lease) = match message.strip_prefix(b"stored ") {
            Some(lease) => (End::Stored, lease),
            None => match message.strip_prefix(b"free ") {
                Some(lease) => (End::Free, lease),
                None => return,
            },
        };
        if let Some(place) = self.by_lease.lock().get(lease) {
            place.ended.send_replace(Some(end));
        }
    }
}

impl Waiter {
    /// The next end of the lease that has not been heard of.
    pub(super) async fn ended(&mut self) -> End {
        loop {
            // The sender is there for as long as this waiter is.
            let _ = self.ended.changed().await;
            if let Some(end) = *self.ended.borrow_and_update() {
                return end;
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_lease = self.waiters.by_lease.lock();
        let Some(place) = by_lease.get_mut(&self.lease) else {
            return;
        };
        place.waiting -= 1;
        if place.waiting == 0 {
            by_lease.remove(&self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Event {
        Event::Message(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn everybody_who_waits_for_a_lease_hears_how_it_ended_and_nobody_else() {
        let waiters = Arc::new(Waiters::default());
        let mut all: Vec<_> = ["a", "a", "b"]
            .map(|lease| waiters.register(lease.as_bytes()).unwrap())
            .into();
        for odd in ["", "stored", "free", "freed a", "stored c"] {
            waiters.hear(&message(odd));
        }
        waiters.hear(&Event::Lost);
        assert!(all
            .iter()
            .all(|waiter| !waiter.ended.has_changed().unwrap()));

        waiters.hear(&message("stored a"));
        assert!(!all[2].ended.has_changed().unwrap());
        assert_eq!(all[0].ended().await, End::Stored);
        waiters.hear(&message("free a"));
        assert_eq!(all[0].ended().await, End::Free);
        assert_eq!(all[1].ended().await, End::Free, "the latest");
        waiters.hear(&message("free b"));
        assert_eq!(all[2].ended().await, End::Free);

        all.truncate(1);
        assert_eq!(waiters.by_lease.lock().len(), 1);
        all.clear();
        assert!(waiters.by_lease.lock().is_empty());
    }

    #[test]
    fn who_waits_is_bounded() {
        let waiters = Arc::new(Waiters::default());
        let all: Vec<_> = (0..LEASES)
            .map(|lease| waiters.register(&lease.to_be_bytes()).unwrap())
            .collect();
        assert!(waiters.register(b"another").is_none());
        assert!(waiters.register(&0_usize.to_be_bytes()).is_some());
        drop(all);
        assert!(waiters.register(b"another").is_some());
    }
}
