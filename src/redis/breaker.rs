//! When to stop asking: plain values, told what happened and what time it is.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;

/// So many timeouts in a row open a breaker. One alone may be a slow moment.
pub(crate) const TIMEOUTS: u32 = 3;

/// The breaker of one set of connections.
///
/// It opens once and never closes: the supervisor makes a new set, with a new breaker, when the
/// server answers again. So no late answer can close it, and no late timeout can open the next one.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    timeouts: AtomicU32,
    open: AtomicBool,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// An answer came, whatever it said.
    pub(crate) fn answered(&self) {
        // Written only after a timeout, so that calls do not fight for this cache line.
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// No answer came in time. True for the one call that opens the breaker.
    pub(crate) fn timed_out(&self) -> bool {
        let before = self.timeouts.fetch_add(1, Ordering::Relaxed);
        before + 1 >= TIMEOUTS && self.broke()
    }

    /// The connection is of no use any more. True for the one call that opens the breaker.
    pub(crate) fn broke(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }
}

/// How long to wait before the next attempt to connect: 10 ms, doubling to 500 ms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
}

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);
const PROVED: Duration = Duration::from_secs(1);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Backoff {
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }

    /// A connection lasted so long. A server that accepts and then fails at once is no better than
    /// one that does not accept, so only a second of health makes the waits short again.
    pub(crate) fn lasted(&mut self, lasted: Duration) {
        if lasted >= PROVED {
            *self = Self::default();
        }
    }
}

/// Whether it is worth storing: a server that is full refuses writes and still answers reads.
#[derive(Debug, Default)]
pub(crate) struct WriteBreaker {
    full_until: Mutex<Option<Timestamp>>,
}

/// For so long nothing is stored after a server said that it is full.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

impl WriteBreaker {
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        self.full_until.lock().is_some_and(|until| {
            // A clock that was set back must not stop stores for longer than the pause.
            now < until && until.since(now) <= PAUSE
        })
    }

    /// The server is full. True when that is news.
    pub(crate) fn refused(&self, now: Timestamp) -> bool {
        self.full_until.lock().replace(now.plus(PAUSE)).is_none()
    }

    /// The server took a write. True when that is news.
    pub(crate) fn accepted(&self) -> bool {
        self.full_until.lock().take().is_some()
    }

    /// Whether the last write was refused for lack of memory.
    pub(crate) fn is_full(&self) -> bool {
        self.full_until.lock().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Happened {
        Answer,
        Timeout,
        Break,
    }
    use Happened::{Answer, Break, Timeout};

    #[test]
    fn three_timeouts_in_a_row_or_one_break_open_the_breaker_once() {
        let table: &[(&[Happened], usize)] = &[
            (&[], 0),
            (&[Answer, Answer], 0),
            (&[Timeout, Timeout], 0),
            (&[Timeout, Timeout, Answer, Timeout, Timeout], 0),
            (&[Timeout, Timeout, Timeout], 1),
            (&[Answer, Timeout, Timeout, Timeout, Timeout, Break], 1),
            (&[Break], 1),
            (&[Break, Answer, Break, Timeout, Timeout, Timeout], 1),
        ];
        for (story, openings) in table {
            let breaker = Breaker::default();
            let opened = story.iter().filter(|happened| match happened {
                Answer => {
                    breaker.answered();
                    false
                }
                Timeout => breaker.timed_out(),
                Break => breaker.broke(),
            });
            assert_eq!(opened.count(), *openings, "{story:?}");
            assert_eq!(breaker.is_open(), *openings == 1, "{story:?}");
        }
    }

    #[test]
    fn waits_double_to_half_a_second_until_a_connection_has_lasted() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 500, 500]);
        backoff.lasted(Duration::from_millis(999));
        assert_eq!(backoff.wait(), LONGEST);
        backoff.lasted(Duration::from_secs(1));
        assert_eq!(backoff.wait(), SHORTEST);
    }

    #[test]
    fn a_full_server_is_left_alone_for_a_second() {
        let at = Timestamp::from_millis;
        let breaker = WriteBreaker::default();
        assert!(!breaker.is_open(at(10_000)));
        assert!(breaker.refused(at(10_000)));
        for (now, open) in [
            (10_000, true),
            (10_999, true),
            (11_000, false),
            (9_000, false),
        ] {
            assert_eq!(breaker.is_open(at(now)), open, "{now}");
        }
        assert!(!breaker.refused(at(11_000)), "no news");
        assert!(breaker.is_full() && breaker.is_open(at(11_500)));
        assert!(breaker.accepted());
        assert!(!breaker.accepted() && !breaker.is_full() && !breaker.is_open(at(11_500)));
    }
}
