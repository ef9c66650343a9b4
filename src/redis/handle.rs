//! The handle: what can be asked of Redis, and what is asked of it off the request path.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::builder::RedisBuilder;
use super::call::{Fresh, Meaning, NoAnswer, Request, Script};
use super::health::RedisHealth;
use super::listen::{Event, Subscription};
use super::settings::Settings;
use super::shared::{Importance, Shared};
use super::supervisor::Hook;
use crate::error::ConfigError;

/// A handle on Redis: one server, a Cluster, or what Sentinels watch. A clone is the same handle.
///
/// It connects by itself, in the background, at the first use; it never makes a request wait for
/// longer than its deadline, and never fails one. The [module](crate::redis) tells how.
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

    /// Waits until every server is connected, for at most `limit`; false if that was not enough. For
    /// tests, and for start-ups that would rather not begin without: nothing needs it.
    pub async fn connected(&self, limit: Duration) -> bool {
        let shared = &self.owner.0;
        shared.ensure_supervised();
        let mut changes = shared.changes.subscribe();
        let connected = async { changes.wait_for(|_| self.health().up).await.is_ok() };
        tokio::time::timeout(limit, connected).await == Ok(true)
    }

    pub(super) fn new(settings: Settings) -> Self {
        let shared = Shared::new(settings);
        Self {
            owner: Arc::new(Owner(Arc::new(shared))),
        }
    }
}

/// What the shared tier asks. Every call decides its connection by a key, the `route`.
impl Redis {
    /// As [`get_within`](Self::get_within), within the deadline.
    #[cfg(test)]
    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, NoAnswer> {
        self.get_within(key, self.deadline()).await
    }

    /// The value under a key: exactly one `GET`, and the answer's bytes are not copied. `limit` is
    /// what is left of the request's deadline.
    pub(crate) async fn get_within(
        &self,
        key: &[u8],
        limit: Duration,
    ) -> Result<Option<Bytes>, NoAnswer> {
        self.value(key, limit, Importance::Common).await
    }

    /// As [`get_within`](Self::get_within), however many calls are under way.
    pub(crate) async fn vital_get(
        &self,
        key: &[u8],
        limit: Duration,
    ) -> Result<Option<Bytes>, NoAnswer> {
        self.value(key, limit, Importance::Vital).await
    }

    async fn value(
        &self,
        key: &[u8],
        limit: Duration,
        importance: Importance,
    ) -> Result<Option<Bytes>, NoAnswer> {
        let shared = &self.owner.0;
        let set = shared.set(key)?;
        let request = Request::Command(get(key));
        match shared.ask(&set, key, &request, limit, importance).await? {
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
        Ok(shared
            .ask(&set, route, &request, limit, Importance::Common)
            .await?)
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
        let importance = Importance::Common;
        self.run_script(script, keys, args, limit, importance).await
    }

    /// As [`script`](Self::script), however many calls are under way.
    pub(crate) async fn vital_script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, NoAnswer> {
        let importance = Importance::Vital;
        self.run_script(script, keys, args, limit, importance).await
    }

    async fn run_script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
        limit: Duration,
        importance: Importance,
    ) -> Result<Value, NoAnswer> {
        let route = keys.first().copied().unwrap_or_default();
        let shared = &self.owner.0;
        let set = shared.set(route)?;
        let known = script.by_hash(keys, args);
        let started = tokio::time::Instant::now();
        match shared.ask(&set, route, &known, limit, importance).await {
            Err(failure) if failure.meaning == Some(Meaning::NoScript) => {
                let unknown = script.by_source(keys, args);
                let left = limit.saturating_sub(started.elapsed());
                Ok(shared.ask(&set, route, &unknown, left, importance).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Does `work`, which stores, off the request path: nobody waits for it. It is dropped, and
    /// counted, when the server of `route` is down or full or too many others are under way.
    pub(crate) fn store<Work>(&self, route: &[u8], work: impl FnOnce(Storing) -> Work)
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        let shared = &self.owner.0;
        let runtime = match (shared.set(route), Handle::try_current()) {
            (Ok(_), Ok(runtime)) if !shared.full.is_open(shared.settings.clock.now()) => runtime,
            _ => return shared.counters.dropped.add(1),
        };
        let Ok(permit) = Arc::clone(&shared.storing).try_acquire_owned() else {
            return shared.counters.dropped.add(1);
        };
        runtime.spawn(work(Storing {
            shared: Arc::clone(shared),
            _permit: permit,
        }));
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
            shared.renew(&set, "something new must run first");
        }
        shared.ensure_supervised();
    }

    /// Whether one pipeline can ask for both keys: they live on one server.
    pub(crate) fn same_server(&self, a: &[u8], b: &[u8]) -> bool {
        let nodes = self.owner.0.nodes.read();
        match (nodes.of_key(a), nodes.of_key(b)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether both are the same handle.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
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

/// A place among the stores that are under way.
pub(crate) struct Storing {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Storing {
    /// Stores a value for `ttl`; whether it lies there now. (Perhaps it does all the same.)
    pub(crate) async fn set(&self, key: &[u8], value: Bytes, ttl: Duration) -> bool {
        let shared = &self.shared;
        let request = Request::Command(set_command(key, &value, ttl));
        drop(value);
        let answer = match shared.set(key) {
            Ok(set) => {
                let importance = Importance::Common;
                shared
                    .ask(&set, key, &request, STORE_LIMIT, importance)
                    .await
            }
            Err(why) => Err(why.into()),
        };
        match &answer {
            Ok(_) if shared.full.accepted() => tracing::info!("redis takes writes again"),
            Ok(_) => {}
            Err(_) => shared.counters.dropped.add(1),
        }
        answer.is_ok()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
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
