//! [`Cache::get_or_compute`]: cache-aside for what is not a response.

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::runtime::Handle;

use super::ask::{Wanted, Word};
use super::collapse::{Join, Leader, Outcome};
use super::core::Shared;
use super::handle::Cache;
use super::lookup::Lookup;
use super::stats::Counted;
use crate::policy::key::{Class, KeyWriter, Label};
use crate::policy::request::RequestFields;
use crate::policy::reuse::{reuse, Reuse};
use crate::policy::stored::{Fence, Head, StoredResponse, Times};
use crate::policy::tag::TagHash;
use crate::store::interned;
use crate::store::invalidation::Validity;
use crate::store::near::{Found, Worth};
use crate::store::shared::Tier;

/// A key is all that a typed value is asked by.
static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// How long a caller waits for another one's computation before it computes by itself.
const DEADLINE: Duration = Duration::from_secs(10);

impl Cache {
    /// The stored value of `key`, or what `compute` makes of it, stored for `ttl` under these tags.
    ///
    /// Values are kept serialised (as JSON), share the capacity and the tags of stored responses, and
    /// are collapsed like them: concurrent callers of one key wait for one computation. A computation
    /// that an invalidation overtakes is returned to its own caller and not stored. If it fails, its
    /// error goes to its caller alone and the others elect one of them to try again. Nested calls may
    /// name any key, their own included: whoever would wait for itself computes instead.
    ///
    /// A key has one type of value. If a stored value does not read as `T`, it is computed anew.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::Cache;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let load = || async { Ok::<_, std::io::Error>(vec![1, 2, 3]) };
    /// let ids: Vec<u64> = cache.get_or_compute("ids", Duration::from_secs(60), ["posts"], load).await?;
    /// assert_eq!(ids, [1, 2, 3]);
    ///
    /// let load = || async { unreachable!("the ids are stored") };
    /// let again: Result<Vec<u64>, std::io::Error> =
    ///     cache.get_or_compute("ids", Duration::from_secs(60), ["posts"], load).await;
    /// assert_eq!(again?, [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// What `compute` returns.
    pub async fn get_or_compute<T, E, F, C, G>(
        &self,
        key: &str,
        ttl: Duration,
        tags: G,
        compute: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
        G: IntoIterator,
        G::Item: AsRef<str>,
    {
        let tags: Vec<TagHash> = tags
            .into_iter()
            .map(|tag| TagHash::named(tag.as_ref()))
            .collect();
        let Some(entry) = Entry::new(&self.shared, key, ttl, tags) else {
            return compute().await;
        };
        let Ok(known) = entry.known().await else {
            return entry.lead(None, compute).await; // nor could anybody take another one's value
        };
        if let Some(value) = known.and_then(|stored| read(&stored)) {
            self.shared.counters.count(Counted::Hit);
            return Ok(value);
        }
        match entry.join().await {
            Turn::Given(stored) => match read(&stored) {
                Some(value) => {
                    self.shared.counters.count(Counted::Collapsed);
                    Ok(value)
                }
                None => entry.lead(None, compute).await,
            },
            Turn::Lead(leader) => {
                if let Some(stored) = entry.known_meanwhile().await {
                    if let Some(value) = read(&stored) {
                        self.shared.counters.count(Counted::Hit);
                        leader.finish(Outcome::Published(stored));
                        return Ok(value);
                    }
                }
                entry.lead(Some(leader), compute).await
            }
            Turn::Alone => entry.lead(None, compute).await,
        }
    }
}

/// One typed value: its key, and on what terms it is stored.
struct Entry<'a> {
    shared: &'a Arc<Shared>,
    key: Arc<[u8]>,
    place: u64,
    ttl: Duration,
    tags: Vec<TagHash>,
}

/// Nobody says whether a stored value holds.
struct Unconfirmed;

/// What a caller does after it has joined.
enum Turn {
    Lead(Leader),
    Given(Arc<StoredResponse>),
    Alone,
}

impl<'a> Entry<'a> {
    /// `None` when the value cannot be stored at all: its key or its tags are over the limit.
    fn new(shared: &'a Arc<Shared>, name: &str, ttl: Duration, tags: Vec<TagHash>) -> Option<Self> {
        if tags.len() > shared.limits.tags {
            return None;
        }
        let mut key = Vec::new();
        let mut writer = KeyWriter::new(&mut key, Class::Typed, shared.limits.key);
        writer.part(Label::Namespace, shared.namespace.as_bytes());
        writer.part(Label::Name, name.as_bytes());
        writer.finish().ok()?;
        let place = shared.responses.place(&key);
        Some(Self {
            shared,
            key: key.into(),
            place,
            ttl,
            tags,
        })
    }

    /// What may answer at once: what is near, or for a strict cache what the shared clock confirms.
    ///
    /// # Errors
    ///
    /// If the clock must confirm it, and cannot be asked.
    async fn known(&self) -> Result<Option<Arc<StoredResponse>>, Unconfirmed> {
        match self.strict_tier() {
            Some(_) => match self.wanted().ask(None).await {
                Word::Silence => Err(Unconfirmed),
                word => Ok(self.fresh(word)),
            },
            None => Ok(self.near()),
        }
    }

    /// What may answer the leader of a flight: what another one has just stored, or what is shared.
    async fn known_meanwhile(&self) -> Option<Arc<StoredResponse>> {
        if let Some(tier) = self.strict_tier() {
            let near = self.wanted().confirm_near(tier, &tier.budget()).await;
            return self.fresh(near);
        }
        match self.near() {
            Some(stored) => Some(stored),
            None => self.fresh(self.wanted().ask(None).await),
        }
    }

    fn near(&self) -> Option<Arc<StoredResponse>> {
        let shared = self.shared;
        match shared
            .responses
            .find(self.place, &self.key, &RequestFields::read(&NO_FIELDS))
        {
            Found::Response(stored)
                if self.is_fresh(&stored) && shared.validity(&stored) == Validity::Valid =>
            {
                Some(stored)
            }
            _ => None,
        }
    }

    fn fresh(&self, word: Word) -> Option<Arc<StoredResponse>> {
        match word {
            Word::Found(Lookup::Fresh { stored, .. }, _) => Some(stored),
            _ => None,
        }
    }

    fn is_fresh(&self, stored: &StoredResponse) -> bool {
        let reuse = reuse(stored.times(), None, false, self.shared.clock.now());
        matches!(reuse, Reuse::Fresh { .. })
    }

    /// Whether another caller's value may answer this one.
    async fn accepts(&self, stored: &Arc<StoredResponse>) -> bool {
        let validity = match self.strict_tier() {
            Some(tier) => tier.confirm(stored, &tier.budget()).await,
            None => Some(self.shared.validity(stored)),
        };
        validity == Some(Validity::Valid) && self.is_fresh(stored)
    }

    fn strict_tier(&self) -> Option<&Tier> {
        self.shared.tier().filter(|_| self.shared.strict)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            shared: self.shared,
            place: self.place,
            key: &self.key,
            request: &NO_FIELDS,
            directives: None,
            strict: self.shared.strict,
        }
    }

    async fn join(&self) -> Turn {
        if Handle::try_current().is_err() {
            return Turn::Alone;
        }
        let limit = self.shared.limits.waiters;
        for _ in 0..2 {
            let follower = match self.shared.flights.join(&self.key, self.place, limit) {
                Join::Leader(leader) => return Turn::Lead(leader),
                Join::Follower(follower) => follower,
                Join::Full | Join::Cycle => return Turn::Alone,
            };
            match follower.wait(&self.shared.clock, DEADLINE).await {
                Some(Outcome::Published(stored)) => {
                    if self.accepts(&stored).await {
                        return Turn::Given(stored);
                    }
                }
                Some(Outcome::Failed) => {}
                Some(Outcome::Unstorable) | None => return Turn::Alone,
            }
        }
        Turn::Alone
    }

    /// Computes, and stores what came of it.
    async fn lead<T, E, F, C>(&self, leader: Option<Leader>, compute: F) -> Result<T, E>
    where
        T: Serialize,
        F: FnOnce() -> C,
        C: Future<Output = Result<T, E>>,
    {
        self.shared.counters.count(Counted::Miss);
        // Before `compute` is called, which may read at once.
        let fence = self.shared.fence(None);
        let value = match &leader {
            Some(leader) => leader.scope(compute()).await?,
            None => compute().await?,
        };
        let outcome = self.store(fence, &value);
        if let Some(leader) = leader {
            leader.finish(outcome);
        }
        Ok(value)
    }

    fn store<T: Serialize>(&self, fence: Fence, value: &T) -> Outcome {
        if self.ttl.is_zero() {
            return Outcome::Unstorable;
        }
        let bytes = match serde_json::to_vec(value) {
            Ok(bytes) if bytes.len() as u64 <= self.shared.limits.body => bytes,
            Ok(_) => return Outcome::Unstorable,
            Err(error) => {
                tracing::warn!(%error, "a computed value cannot be serialised, and is not stored");
                return Outcome::Unstorable;
            }
        };
        let now = self.shared.clock.now();
        let head = Head {
            status: StatusCode::OK,
            common: interned::split(std::iter::empty()).0,
            lines: Vec::new(),
            vary: Vec::new(),
            tags: self.tags.clone(),
            implicit: 0,
            fence,
            times: Times {
                response_time: now,
                born: now,
                fresh_until: now.plus(self.ttl),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
        };
        let Some(stored) = StoredResponse::assemble(&self.key, head, &[Bytes::from(bytes)]) else {
            return Outcome::Unstorable;
        };
        let stored = Arc::new(stored);
        if self.shared.validity(&stored) != Validity::Valid {
            return Outcome::Failed;
        }
        self.shared
            .responses
            .insert(self.place, Arc::clone(&stored), |_| Worth::Nothing);
        if let Some(tier) = self.shared.tier() {
            tier.store(&stored, self.place, now, None);
        }
        self.shared.counters.count(Counted::Stored);
        Outcome::Published(stored)
    }
}

fn read<T: DeserializeOwned>(stored: &StoredResponse) -> Option<T> {
    serde_json::from_slice(&stored.body()).ok()
}
