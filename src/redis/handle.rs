//! The handle: calls with a deadline, and what they tell the breaker.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{watch, Semaphore};
use tokio::task::AbortHandle;

use super::breaker::WriteBreaker;
use super::builder::{RedisBuilder, Settings};
use super::call::{Failure, Fresh, Meaning, NoAnswer, Request, Script};
use super::health::{Counters, RedisHealth};
use super::listen::{Event, Subscription};
use super::nodes::{self, Nodes, Set};
use super::supervisor::{self, Hook};
use crate::clock::Clock;
use crate::error::ConfigError;

/// A handle on Redis: one server, a Cluster, or what Sentinels watch. A clone is the same handle.
///
/// It connects by itself, in the background, at the first use; it never makes a request wait for
/// longer than its deadline, and never fails one. The [module](self) tells how.
///
/// ```
/// use larder::Redis;
///
/// let redis = Redis::open("redis://127.0.0.1:6379")?; // does not connect yet
/// assert!(!redis.health().up);
/// # Ok::<(), larder::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Redis {
    owner: Arc<Owner>,
}

/// Ends the supervisor when the last handle is gone.
struct Owner(Arc<Shared>);

/// What the handle and its supervisor share.
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
    storing: Arc<Semaphore>,
    supervisor: Mutex<Option<AbortHandle>>,
}

/// The most stores that are under way at once; more are dropped.
const STORES: usize = 64;

/// Stores have time: nobody waits for them.
const STORE_LIMIT: Duration = Duration::from_secs(1);

impl Redis {
    /// A handle on the Redis that a URL names: `redis://` for one server, `redis://a,b,c` or
    /// `redis+cluster://` for a Cluster, `redis+sentinel://host:26379/service` for the master that
    /// Sentinels know, `redis+unix://` for a socket; with `rediss` in place of `redis`, encrypted
    /// (feature `redis-tls`). It does not connect, so a dead server never stops a start-up.
    ///
    /// # Errors
    ///
    /// If the URL does not mean anything; the error says what to write instead.
    pub fn open(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        Self::builder(url).build()
    }

    /// Settings for a handle: its deadline, its bounds, its prefix.
    pub fn builder(url: impl AsRef<str>) -> RedisBuilder {
        RedisBuilder::new(url.as_ref())
    }

    /// How the connection is, and what did not work so far.
    pub fn health(&self) -> RedisHealth {
        let shared = &self.owner.0;
        let (nodes, up) = shared.nodes.read().count();
        RedisHealth {
            up: nodes > 0 && up == nodes,
            nodes,
            nodes_up: up,
            out_of_memory: shared.full.is_full(),
            ..shared.counters.snapshot()
        }
    }

    pub(super) fn new(settings: Settings) -> Self {
        let nodes = Nodes::of(&settings.address);
        let shared = Shared {
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
        };
        Self {
            owner: Arc::new(Owner(Arc::new(shared))),
        }
    }
}

/// What the shared tier asks. Every call decides its connection by a key, the `route`.
impl Redis {
    /// The value under a key: exactly one `GET`, and the answer's bytes are not copied.
    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, NoAnswer> {
        self.get_within(key, self.deadline()).await
    }

    /// As [`get`](Self::get), within what is left of the request's deadline.
    pub(crate) async fn get_within(
        &self,
        key: &[u8],
        limit: Duration,
    ) -> Result<Option<Bytes>, NoAnswer> {
        let shared = &self.owner.0;
        let set = shared.set(key)?;
        let request = Request::Command(get(key));
        match shared.ask(&set, key, &request, limit).await? {
            Value::BulkString(value) => Ok(Some(Bytes::from(value))),
            Value::Nil => Ok(None),
            other => Err(NoAnswer::Refused(format!("GET answered {other:?}"))),
        }
    }

    /// Sends a command or a pipeline to the server that has the key `route`.
    pub(crate) async fn run(
        &self,
        route: &[u8],
        request: impl Into<Request>,
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let shared = &self.owner.0;
        let set = shared.set(route)?;
        let request = request.into();
        Ok(shared.ask(&set, route, &request, limit).await?)
    }

    /// Runs a script on the server that has its first key: by its hash, and with its source when
    /// the server does not know it. Nothing else is ever asked twice.
    pub(crate) async fn script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let route = keys.first().copied().unwrap_or_default();
        let shared = &self.owner.0;
        let set = shared.set(route)?;
        let known = script.by_hash(keys, args);
        let started = tokio::time::Instant::now();
        match shared.ask(&set, route, &known, limit).await {
            Err(failure) if failure.meaning == Some(Meaning::NoScript) => {
                let unknown = script.by_source(keys, args);
                let left = limit.saturating_sub(started.elapsed());
                Ok(shared.ask(&set, route, &unknown, left).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Stores a value for `ttl`, off the request path. It is dropped, and counted, when Redis is
    /// down or full or too many others are under way.
    pub(crate) fn store(&self, key: impl Into<Bytes>, value: Bytes, ttl: Duration) {
        let key = key.into();
        let shared = &self.owner.0;
        let dropped = || shared.counters.dropped.add(1);
        if shared.full.is_open(shared.settings.clock.now()) {
            return dropped();
        }
        let (Ok(set), Ok(runtime)) = (shared.set(&key), Handle::try_current()) else {
            return dropped();
        };
        let Ok(permit) = Arc::clone(&shared.storing).try_acquire_owned() else {
            return dropped();
        };
        let shared = Arc::clone(shared);
        runtime.spawn(async move {
            let request = Request::Command(set_command(&key, &value, ttl));
            drop(value);
            match shared.ask(&set, &key, &request, STORE_LIMIT).await {
                Ok(_) if shared.full.accepted() => {
                    tracing::info!("redis takes writes again");
                }
                Ok(_) => {}
                Err(_) => shared.counters.dropped.add(1),
            }
            drop(permit);
        });
    }

    /// Listens to a channel for as long as the handle lives; the sink hears when the subscription
    /// begins, what is published, and when messages may have been lost. It is called on the
    /// supervisor's task and must not block.
    pub(crate) fn subscribe(
        &self,
        channel: impl Into<String>,
        sink: impl Fn(Event) + Send + Sync + 'static,
    ) {
        let shared = &self.owner.0;
        let subscription = Subscription::new(channel.into(), sink);
        shared.subscriptions.lock().push(Arc::new(subscription));
        shared.changed();
        shared.ensure_supervised();
    }

    /// Registers what must succeed on each new set of connections to the server that has `key`,
    /// before the set is used. In a Cluster a key that moved to another node counts as one. The
    /// hook must not hold this handle: that would keep it alive for ever.
    pub(crate) fn on_connect<F, Done>(&self, key: impl Into<Vec<u8>>, hook: F)
    where
        F: Fn(Fresh) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<(), NoAnswer>> + Send + 'static,
    {
        let shared = &self.owner.0;
        let hook = Arc::new(Hook::new(key.into(), hook));
        shared.hooks.lock().push(Arc::clone(&hook));
        // A set that is in use already has not seen this hook.
        if let Some(set) = shared
            .nodes
            .read()
            .of_key(&hook.key)
            .and_then(|node| node.set())
        {
            shared.give_up(&set, "something new must run first");
        }
        shared.ensure_supervised();
    }

    /// Waits until every server is connected, for tests and for start-ups that want to.
    pub(crate) async fn connected(&self, limit: Duration) -> bool {
        let shared = &self.owner.0;
        shared.ensure_supervised();
        let mut changes = shared.changes.subscribe();
        let connected = async { changes.wait_for(|_| self.health().up).await.is_ok() };
        tokio::time::timeout(limit, connected).await == Ok(true)
    }

    /// Whether one pipeline can ask for both keys: they live on one server.
    pub(crate) fn same_server(&self, a: &[u8], b: &[u8]) -> bool {
        let nodes = self.owner.0.nodes.read();
        match (nodes.of_key(a), nodes.of_key(b)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What all keys of this handle begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.owner.0.settings.prefix
    }

    /// The time that one request may spend on Redis.
    pub(crate) fn deadline(&self) -> Duration {
        self.owner.0.settings.deadline
    }

    /// The database of the URL. Channels are shared by all databases of a server, so their names
    /// must contain it.
    pub(crate) fn database(&self) -> i64 {
        self.owner.0.settings.address.db
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.owner.0.settings.clock
    }
}

fn get(key: &[u8]) -> redis::Cmd {
    let mut command = redis::Cmd::with_capacity(2, 3 + key.len());
    command.arg("GET").arg(key);
    command
}

fn set_command(key: &[u8], value: &[u8], ttl: Duration) -> redis::Cmd {
    let mut command = redis::Cmd::with_capacity(5, 32 + key.len() + value.len());
    command.arg("SET").arg(key).arg(value).arg("PX");
    // Redis refuses an expiry of zero and one beyond the range of its own clock.
    let ttl = crate::clock::millis(ttl).clamp(1, 1 << 52);
    command.arg(ttl);
    command
}

/// A call that was not answered, with the meaning of the error reply if there was one.
pub(crate) struct Unanswered {
    meaning: Option<Meaning>,
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
    /// The connections to the server that has this key. While there are none, this is all that a
    /// call costs.
    fn set(self: &Arc<Self>, key: &[u8]) -> Result<Arc<Set>, NoAnswer> {
        let set = self.nodes.read().of_key(key).and_then(|node| node.set());
        set.ok_or_else(|| {
            self.ensure_supervised();
            NoAnswer::Down
        })
    }

    /// Asks once, and tells the breaker how it went.
    async fn ask(
        &self,
        set: &Arc<Set>,
        route: &[u8],
        request: &Request,
        limit: Duration,
    ) -> Result<Value, Unanswered> {
        if set.breaker.is_open() {
            return Err(NoAnswer::Down.into());
        }
        let _slot = self.enter()?;
        let mut connection = set.connection(nodes::slot(route));
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

    /// Opens the breaker of a set; the supervisor will make another one.
    pub(crate) fn give_up(&self, set: &Arc<Set>, why: &str) {
        set.breaker.broke();
        let node = set.node.upgrade();
        if node.is_some_and(|node| node.forget(set)) {
            tracing::warn!(server = %set.server, error = why, "redis is down");
            self.changed();
        }
        set.gone.notify_one();
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn enter(&self) -> Result<InFlight<'_>, NoAnswer> {
        let slot = InFlight(&self.in_flight);
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.settings.in_flight {
            self.counters.skipped.add(1);
            return Err(NoAnswer::Busy);
        }
        Ok(slot)
    }

    /// Starts the supervisor on the current runtime, if it does not run or its runtime is gone.
    fn ensure_supervised(self: &Arc<Self>) {
        let mut supervisor = self.supervisor.lock();
        if supervisor.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(supervisor::supervise(Arc::clone(self)));
            *supervisor = Some(task.abort_handle());
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.supervisor.lock().take() {
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

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.owner.0.settings.address)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
