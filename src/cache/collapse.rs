//! Collapsing: one call of the inner service per key, however many requests wait for it.
//!
//! The first request that misses *leads* a flight; those that come while it flies *follow*. What
//! followers get is never a partial body: they wait until the leader has published a complete
//! response, or until it is clear that it will not.
//!
//! ```text
//!                ┌ Published(response) ─► each follower checks that it may have it
//! Flying ── end ─┼ Unstorable ──────────► followers call by themselves, side by side
//!                └ Failed ──────────────► followers elect a new leader, once
//! ```
//!
//! `Failed` is also what a leader leaves behind that was dropped: the guard's `Drop` says so. A
//! follower waits no longer than its deadline, and never where waiting could not end: a flight whose
//! leader waits, however indirectly, for a flight that the follower leads itself.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::policy::stored::StoredResponse;
use crate::store::shared::Lease;

/// How a flight ended.
#[derive(Clone)]
pub(crate) enum Outcome {
    /// The response is complete and stored; it is handed over even if the store has dropped it.
    Published(Arc<StoredResponse>),
    /// The response cannot be shared.
    Unstorable,
    /// There is no response: an error, a broken body, a leader that went away.
    Failed,
}

/// What a request becomes when it joins.
pub(crate) enum Join {
    Leader(Leader),
    Follower(Follower),
    /// The flight has as many followers as the limit.
    Full,
    /// Waiting could never end.
    Cycle,
}

/// The flights of one cache.
pub(crate) struct Flights {
    shards: Box<[Mutex<Table>]>,
    /// Guards the `waits_for` lists of all flights, which only nested calls touch.
    edges: Mutex<()>,
}

type Table = HashMap<Arc<[u8]>, Arc<Flight>, DefaultHashBuilder>;

struct Flight {
    outcome: OnceLock<Outcome>,
    ended: Notify,
    followers: AtomicUsize,
    pump: Mutex<Pump>,
    waits_for: Mutex<Vec<Arc<Flight>>>,
}

/// Who drives the leader's body once somebody else waits for its end.
enum Pump {
    NotOffered { wanted: bool },
    Offered(Box<dyn FnOnce() + Send>),
    Started,
}

impl Flights {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..16).map(|_| Mutex::default()).collect(),
            edges: Mutex::new(()),
        })
    }

    /// Leads the flight of `key`, or follows the one under way.
    pub(crate) fn join(self: &Arc<Self>, key: &Arc<[u8]>, place: u64, limit: usize) -> Join {
        let mut table = self.shards[(place % 16) as usize].lock();
        let flight = match table.entry(Arc::clone(key)) {
            Entry::Occupied(listed) => Arc::clone(listed.get()),
            Entry::Vacant(free) => {
                let flight = Arc::clone(free.insert(Arc::new(Flight::new())));
                return Join::Leader(Leader {
                    flights: Arc::clone(self),
                    key: Arc::clone(key),
                    place,
                    flight,
                    lease: None,
                });
            }
        };
        drop(table);
        self.follow(flight, key, place, limit)
    }

    fn follow(
        self: &Arc<Self>,
        flight: Arc<Flight>,
        key: &Arc<[u8]>,
        place: u64,
        limit: usize,
    ) -> Join {
        let Some(edge) = self.edge_to(&flight) else {
            return Join::Cycle;
        };
        if flight.followers.fetch_add(1, Ordering::SeqCst) >= limit {
            flight.followers.fetch_sub(1, Ordering::SeqCst);
            return Join::Full;
        }
        flight.want_pump();
        Join::Follower(Follower {
            flights: Arc::clone(self),
            key: Arc::clone(key),
            place,
            flight,
            _edge: edge,
        })
    }

    /// Takes a flight off the table, if it is still there.
    fn retire(&self, key: &Arc<[u8]>, place: u64, flight: &Arc<Flight>) {
        let mut table = self.shards[(place % 16) as usize].lock();
        if table
            .get(key)
            .is_some_and(|listed| Arc::ptr_eq(listed, flight))
        {
            table.remove(key);
        }
    }

    /// Notes that the flights this task leads wait for `target`; `None` if `target` waits for one of
    /// them already.
    fn edge_to(self: &Arc<Self>, target: &Arc<Flight>) -> Option<Edge> {
        let led = LEADING
            .try_with(|chain| chain.flights())
            .unwrap_or_default();
        if led.is_empty() {
            return Some(Edge {
                flights: None,
                from: led,
                to: Arc::clone(target),
            });
        }
        let _guard = self.edges.lock();
        if led.iter().any(|own| target.reaches(own)) {
            return None;
        }
        for own in &led {
            own.waits_for.lock().push(Arc::clone(target));
        }
        Some(Edge {
            flights: Some(Arc::clone(self)),
            from: led,
            to: Arc::clone(target),
        })
    }
}

impl Flight {
    fn new() -> Self {
        Self {
            outcome: OnceLock::new(),
            ended: Notify::new(),
            followers: AtomicUsize::new(0),
            pump: Mutex::new(Pump::NotOffered { wanted: false }),
            waits_for: Mutex::default(),
        }
    }

    fn want_pump(&self) {
        let mut pump = self.pump.lock();
        match std::mem::replace(&mut *pump, Pump::Started) {
            Pump::Offered(start) => {
                drop(pump);
                start();
            }
            Pump::NotOffered { .. } => *pump = Pump::NotOffered { wanted: true },
            Pump::Started => {}
        }
    }

    fn reaches(self: &Arc<Self>, goal: &Arc<Self>) -> bool {
        let mut seen: Vec<Arc<Self>> = vec![Arc::clone(self)];
        let mut next = 0;
        while let Some(flight) = seen.get(next).map(Arc::clone) {
            if Arc::ptr_eq(&flight, goal) {
                return true;
            }
            for beyond in flight.waits_for.lock().iter() {
                if !seen.iter().any(|known| Arc::ptr_eq(known, beyond)) {
                    seen.push(Arc::clone(beyond));
                }
            }
            next += 1;
        }
        false
    }
}

/// A wait that others must know of, so that they do not close a circle.
struct Edge {
    flights: Option<Arc<Flights>>,
    from: Vec<Arc<Flight>>,
    to: Arc<Flight>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let Some(flights) = &self.flights else { return };
        let _guard = flights.edges.lock();
        for own in &self.from {
            let mut waits = own.waits_for.lock();
            if let Some(at) = waits
                .iter()
                .position(|flight| Arc::ptr_eq(flight, &self.to))
            {
                waits.swap_remove(at);
            }
        }
    }
}

/// The promise to end a flight, kept by [`Drop`] if by nothing else.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Arc<[u8]>,
    place: u64,
    flight: Arc<Flight>,
    /// The right to call for all processes, where the route asks for it.
    lease: Option<Lease>,
}

impl Leader {
    /// Leads for other processes as well, until the lease is taken away or the flight ends.
    pub(crate) fn keep(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    pub(crate) fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take()
    }

    /// Ends the flight. Later requests find the store, or lead anew.
    pub(crate) fn finish(self, outcome: Outcome) {
        self.end(outcome);
    }

    /// Where a way to drive the body without the leader's client can be left.
    pub(crate) fn pump_offer(&self) -> PumpOffer {
        PumpOffer(Arc::clone(&self.flight))
    }

    /// Runs the leader's own call such that nested calls know what they are nested in.
    pub(crate) async fn scope<F: Future>(&self, call: F) -> F::Output {
        let outer = LEADING.try_with(Arc::clone).ok();
        let chain = Arc::new(Chain {
            flight: Arc::clone(&self.flight),
            outer,
        });
        LEADING.scope(chain, call).await
    }

    fn end(&self, outcome: Outcome) {
        self.flights.retire(&self.key, self.place, &self.flight);
        if self.flight.outcome.set(outcome).is_ok() {
            self.flight.ended.notify_waiters();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end(Outcome::Failed);
    }
}

/// A place for the leader's pump.
pub(crate) struct PumpOffer(Arc<Flight>);

impl PumpOffer {
    /// Has `start` called when the first follower waits, or at once if one does already. It must not
    /// keep the leader alive, which holds the flight that keeps `start`.
    pub(crate) fn offer(self, start: impl FnOnce() + Send + 'static) {
        let mut pump = self.0.pump.lock();
        if matches!(*pump, Pump::NotOffered { wanted: true }) {
            *pump = Pump::Started;
            drop(pump);
            start();
        } else if matches!(*pump, Pump::NotOffered { .. }) {
            *pump = Pump::Offered(Box::new(start));
        }
    }
}

/// A request that waits for another one's call.
pub(crate) struct Follower {
    flights: Arc<Flights>,
    key: Arc<[u8]>,
    place: u64,
    flight: Arc<Flight>,
    _edge: Edge,
}

impl Follower {
    /// Waits for the end of the flight; `None` when the deadline passes first. Then nobody joins it
    /// any more: a call that hangs costs those who wait for it one deadline, and not each later request.
    pub(crate) async fn wait(self, clock: &Clock, deadline: Duration) -> Option<Outcome> {
        let ended = async {
            let mut ended = pin!(self.flight.ended.notified());
            // From here on the end is not missed; before, it has left its outcome.
            ended.as_mut().enable();
            if self.flight.outcome.get().is_none() {
                ended.await;
            }
            self.flight
                .outcome
                .get()
                .cloned()
                .unwrap_or(Outcome::Failed)
        };
        let ended = clock.within(deadline, ended).await;
        if ended.is_none() {
            self.flights.retire(&self.key, self.place, &self.flight);
        }
        ended
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.flight.followers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The flights that the running task leads, innermost first.
struct Chain {
    flight: Arc<Flight>,
    outer: Option<Arc<Chain>>,
}

impl Chain {
    fn flights(&self) -> Vec<Arc<Flight>> {
        let mut flights = vec![Arc::clone(&self.flight)];
        let mut outer = self.outer.as_deref();
        while let Some(chain) = outer {
            flights.push(Arc::clone(&chain.flight));
            outer = chain.outer.as_deref();
        }
        flights
    }
}

/// Whether the running task leads a flight: others may wait for it, so it must not wait for long.
pub(crate) fn is_leading() -> bool {
    LEADING.try_with(|_| ()).is_ok()
}

tokio::task_local! {
    static LEADING: Arc<Chain>;
}
