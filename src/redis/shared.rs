//! What the handle and its supervisor share: calls with a deadline, and what they tell the breaker.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{watch, Semaphore};
use tokio::task::AbortHandle;

use super::breaker::WriteBreaker;
use super::call::{Failure, Meaning, NoAnswer, Request};
use super::health::Counters;
use super::listen::Subscription;
use super::nodes::{Nodes, Set};
use super::settings::Settings;
use super::supervisor::{self, Hook};

/// The state of one handle.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) nodes: RwLock<Arc<Nodes>>,
    pub(crate) hooks: Mutex<Vec<Arc<Hook>>>,
    pub(crate) subscriptions: Mutex<Vec<Arc<Subscription>>>,
    pub(crate) counters: Counters,
    pub(crate) full: WriteBreaker,
    /// Counts what the supervisor's tasks wait for: connections made and lost, nodes that moved,
    /// subscriptions that were added.
    pub(crate) changes: watch::Sender<u64>,
    /// Whether the map of a Cluster is known to be out of date.
    pub(crate) moved: AtomicBool,
    in_flight: AtomicUsize,
    pub(crate) storing: Arc<Semaphore>,
    supervisor: Mutex<Option<AbortHandle>>,
}

/// The most stores that are under way at once; more are dropped.
const STORES: usize = 64;

/// Whether a call may be left out when too many are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    /// It is one of many, and without its answer a request goes on.
    Common,
    /// There are few of these, and what other processes learn depends on them.
    Vital,
}

/// A call that was not answered, with the meaning of the error reply if there was one.
pub(crate) struct Unanswered {
    pub(crate) meaning: Option<Meaning>,
    why: NoAnswer,
}

impl From<Unanswered> for NoAnswer {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.why
    }
}

impl From<NoAnswer> for Unanswered {
    fn from(why: NoAnswer) -> Self {
        Self { meaning: None, why }
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let nodes = Nodes::of(&settings.address);
        Self {
            settings,
            nodes: RwLock::new(Arc::new(nodes)),
            hooks: Mutex::default(),
            subscriptions: Mutex::default(),
            counters: Counters::default(),
            full: WriteBreaker::default(),
            changes: watch::Sender::new(0),
            moved: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            storing: Arc::new(Semaphore::new(STORES)),
            supervisor: Mutex::default(),
        }
    }

    /// The connections to the server that has this key. While there are none, this is all that a
    /// call costs.
    pub(crate) fn set(self: &Arc<Self>, key: &[u8]) -> Result<Arc<Set>, NoAnswer> {
        let set = self.nodes.read().of_key(key).and_then(|node| node.set());
        set.ok_or_else(|| {
            self.ensure_supervised();
            NoAnswer::Down
        })
    }

    /// Asks once, and tells the breaker how it went.
    pub(crate) async fn ask(
        &self,
        set: &Arc<Set>,
        route: &[u8],
        request: &Request,
        limit: Duration,
        importance: Importance,
    ) -> Result<Value, Unanswered> {
        if set.breaker.is_open() {
            return Err(NoAnswer::Down.into());
        }
        let _slot = self.enter(importance)?;
        let mut connection = set.connection(route);
        match tokio::time::timeout(limit, request.send(&mut connection)).await {
            Ok(Ok(value)) => {
                set.breaker.answered();
                Ok(value)
            }
            Ok(Err(failure)) => Err(self.failed(set, failure)),
            Err(_) => {
                self.timed_out(set, limit);
                Err(NoAnswer::TimedOut.into())
            }
        }
    }

    fn failed(&self, set: &Arc<Set>, failure: Failure) -> Unanswered {
        let meaning = failure.meaning;
        self.counters
            .errors
            .add(u64::from(meaning != Meaning::NoScript));
        match meaning {
            Meaning::Broken => self.give_up(set, &failure.why),
            Meaning::Full => {
                set.breaker.answered();
                if self.full.refused(self.settings.clock.now()) {
                    tracing::warn!(error = %failure.why, "redis takes no writes; reads go on");
                }
            }
            Meaning::Moved => {
                set.breaker.answered();
                self.moved.store(true, Ordering::Release);
                self.changed();
            }
            Meaning::NoScript | Meaning::Refused => set.breaker.answered(),
        }
        Unanswered {
            meaning: Some(meaning),
            why: failure.into(),
        }
    }

    pub(crate) fn timed_out(&self, set: &Arc<Set>, limit: Duration) {
        self.counters.timeouts.add(1);
        // Whoever came with the rest of a deadline learnt nothing about the server.
        let fair = limit >= self.settings.deadline / 2;
        if fair && set.breaker.timed_out() {
            self.give_up(set, "it does not answer");
        }
    }

    /// Opens the breaker of a set that does not work; the supervisor will make another one.
    pub(crate) fn give_up(&self, set: &Arc<Set>, why: &str) {
        if self.let_go(set) {
            tracing::warn!(server = %set.server, error = why, "redis is down");
        }
    }

    /// Has the supervisor replace a set that works.
    pub(crate) fn renew(&self, set: &Arc<Set>, why: &str) {
        if self.let_go(set) {
            tracing::debug!(server = %set.server, why, "redis connections are made anew");
        }
    }

    fn let_go(&self, set: &Arc<Set>) -> bool {
        set.breaker.broke();
        let node = set.node.upgrade();
        let mine = node.is_some_and(|node| node.forget(set));
        if mine {
            self.changed();
        }
        set.gone.notify_one();
        mine
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes a place among the calls that are under way.
    fn enter(&self, importance: Importance) -> Result<InFlight<'_>, NoAnswer> {
        let slot = InFlight(&self.in_flight);
        let under_way = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if importance == Importance::Common && under_way >= self.settings.in_flight {
            self.counters.skipped.add(1);
            return Err(NoAnswer::Busy);
        }
        Ok(slot)
    }

    /// Starts the supervisor on the current runtime, if it does not run or its runtime is gone.
    pub(crate) fn ensure_supervised(self: &Arc<Self>) {
        let mut supervisor = self.supervisor.lock();
        if supervisor.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(supervisor::supervise(Arc::clone(self)));
            *supervisor = Some(task.abort_handle());
        }
    }

    /// Ends the supervisor, for good: nobody is left to start it again.
    pub(crate) fn stop(&self) {
        if let Some(supervisor) = self.supervisor.lock().take() {
            supervisor.abort();
        }
    }
}

/// A place among the calls that are under way, given back also when the call is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
