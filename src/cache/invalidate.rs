//! Carrying out an invalidation: the clock moves at once, then the responses are counted and freed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{ready, Context, Poll};
use std::time::Duration;
use std::vec;

use http::{request, Extensions, HeaderMap, Method, StatusCode};

use tokio::sync::oneshot;

use super::core::Shared;
use super::keyed;
use super::route::Route;
use super::signals::{Invalidate, Invalidations, Target};
use super::stats::Counted;
use crate::policy::groups;
use crate::policy::invalidation;
use crate::policy::key::{canonical_query, QueryRule};
use crate::policy::request::is_safe;
use crate::policy::stored::StoredResponse;
use crate::policy::tag::TagHash;
use crate::store::invalidation::{Reach, Strength, Validity};
use crate::store::shared::Deferral;

/// What an invalidation reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "say `let _ =` when neither the count nor the delay matters"]
pub struct Invalidated {
    /// How many stored responses were invalidated, each counted once. `None` without a tag index; with
    /// Redis also for everything and for a URI with a host or a query, which no index lists by
    /// themselves.
    ///
    /// With Redis, those of all processes: beyond a thousand an upper bound, which responses that have
    /// expired are part of; and while Redis does not answer, those of this process alone.
    pub entries: Option<u64>,
    /// Whether other processes will hear of it only later: Redis could not be told yet, and will be
    /// as soon as it is back. Here the responses are invalid in any case. Never in memory alone.
    pub deferred: bool,
}

/// An invalidation that has happened and is being counted; await it for the count, and to know that
/// other processes have it.
///
/// Dropping it changes nothing for correctness: the responses are invalid here already, Redis is
/// being told, and their memory is freed when they are next looked up or make room.
#[must_use = "await it for the count, or `drop` it: the responses are invalid already"]
pub struct Invalidating {
    shared: Arc<Shared>,
    /// What Redis has not answered yet, and who wants to know when it has.
    unheard: Vec<Deferral>,
    deferred: bool,
    heard: Option<oneshot::Sender<()>>,
    sweeps: Vec<Sweep>,
    /// What the sweeps have met so far, in this process.
    entries: Option<u64>,
    /// With a shared tier: what its index is asked for, the question, and the answer.
    listed: Vec<(Vec<TagHash>, Strength)>,
    counting: Option<Counting>,
    counted: Option<u64>,
}

type Counting = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

/// The places to work through for one invalidation.
struct Sweep {
    places: vec::IntoIter<u64>,
    /// Which responses count; all of them when empty.
    tags: Vec<TagHash>,
    strength: Strength,
}

/// How many tags Redis is told at once: it answers nobody else meanwhile.
const AT_ONCE: usize = 1024;
/// How often, before everything is invalidated instead.
const CHUNKS: usize = 16;
/// How long counting may take; what is not counted by then goes by its ttl.
const COUNTING: Duration = Duration::from_secs(1);

/// How many places are worked through before others get their turn.
const STRIDE: usize = 256;

/// Moves the clock for all of these at once.
pub(crate) fn start(shared: &Arc<Shared>, what: Vec<Invalidate>) -> Invalidating {
    let mut invalidating = Invalidating {
        shared: Arc::clone(shared),
        unheard: Vec::new(),
        deferred: false,
        heard: None,
        sweeps: Vec::new(),
        entries: Some(0),
        listed: Vec::new(),
        counting: None,
        counted: None,
    };
    for one in what {
        shared.counters.count(Counted::Invalidation);
        tracing::debug!(targets = ?one.targets, strength = ?one.strength, "cache invalidation");
        invalidating.bump(&one);
    }
    invalidating
}

/// The implicit tags that a URI names, and the one they are indexed under.
fn uri_tags(uri: &str) -> (Vec<TagHash>, TagHash) {
    let uri = uri.split('#').next().unwrap_or_default();
    let after_scheme = match uri.strip_prefix("//") {
        Some(rest) => Some(rest),
        None if uri.starts_with('/') => None,
        None => uri.split_once("://").map(|(_, rest)| rest),
    };
    let (host, target) = match after_scheme {
        Some(rest) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest.as_bytes()[..at]), &rest[at..])
        }
        None => (None, uri),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    let indexed_under = TagHash::path(None, path.as_bytes());
    let query = query.map(|query| canonical_query(query, &QueryRule::All));
    let path = path.as_bytes();
    // What is shared between hosts is shown at this one too.
    let hosts = std::iter::once(host).chain(host.map(|_| Some(&b""[..])));
    let tags = hosts.flat_map(|host| match &query {
        None => vec![TagHash::path(host, path)],
        // And what answers several queries, at this one.
        Some(query) => vec![
            TagHash::uri(host, path, query.as_deref().map(str::as_bytes)),
            TagHash::searches(host, path),
        ],
    });
    (tags.collect(), indexed_under)
}

impl Sweep {
    /// Works through one place.
    fn visit(&self, shared: &Shared, place: u64) -> u64 {
        let tagged = |stored: &StoredResponse| {
            self.tags.is_empty() || self.tags.iter().any(|tag| stored.tags().contains(tag))
        };
        match self.strength {
            Strength::Soft => shared.responses.count(place, |stored| {
                tagged(stored) && shared.validity(stored) == Validity::Soft
            }),
            // What was stored since under a newer clock is valid, and stays.
            Strength::Hard => shared.responses.remove(place, |stored| {
                tagged(stored) && shared.validity(stored) == Validity::Hard
            }),
        }
    }
}

impl Invalidating {
    /// The synchronous part: from here on the responses are invalid in this process.
    fn bump(&mut self, what: &Invalidate) {
        let (shared, strength) = (&self.shared, what.strength);
        if what.targets.contains(&Target::All) {
            self.unheard
                .extend(shared.invalidate(Reach::Everything(strength)));
            self.sweeps.push(Sweep {
                places: shared.responses.all_places().into_iter(),
                tags: Vec::new(),
                strength,
            });
            if shared.tier().is_some() {
                self.entries = None; // what is near is not all there is
            }
            return;
        }
        let (mut tags, mut listed, mut whole) = (Vec::new(), Vec::new(), true);
        for target in &what.targets {
            let (named, indexed_under) = match target {
                Target::Tag(name) => (vec![TagHash::named(name)], TagHash::named(name)),
                Target::Uri(uri) => uri_tags(uri),
                Target::Path(path) => {
                    let tag = TagHash::path(None, path.as_bytes());
                    (vec![tag], tag)
                }
                Target::Group(tag) => (vec![*tag], *tag),
                Target::All => continue,
            };
            // What is listed under a path is more than one of its queries, or one host.
            whole &= named == [indexed_under];
            tags.extend(named);
            listed.push(indexed_under);
        }
        tags.sort_unstable();
        tags.dedup();
        let reached = tags.chunks(AT_ONCE).take(CHUNKS);
        if tags.len() > AT_ONCE * CHUNKS && shared.tier().is_some() {
            self.unheard
                .extend(shared.invalidate(Reach::Everything(strength)));
        } else if shared.tier().is_some() {
            let deferrals =
                reached.filter_map(|tags| shared.invalidate(Reach::tags(tags, strength)));
            self.unheard.extend(deferrals);
        } else {
            shared.invalidate(Reach::tags(&tags, strength));
        }
        let near = shared.responses.places_of(&listed);
        if near.is_none() || (shared.tier().is_some() && !whole) {
            self.entries = None;
        }
        self.sweeps.extend(near.map(|places| Sweep {
            places: places.into_iter(),
            tags,
            strength,
        }));
        if self.shared.tier().is_some() && whole {
            self.listed.push((listed, strength));
        }
    }

    /// Counts and frees without anybody waiting for it. What is returned, if anything, is done when
    /// Redis has heard, or is known not to.
    pub(crate) fn in_background(mut self) -> Option<Heard> {
        let nothing_left = self.sweeps.iter().all(|sweep| sweep.places.len() == 0);
        if nothing_left && self.unheard.is_empty() {
            return None;
        }
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let heard = (!self.unheard.is_empty()).then(|| {
            let (tell, heard) = oneshot::channel();
            self.heard = Some(tell);
            Heard(heard)
        });
        runtime.spawn(self);
        heard
    }

    /// Asks the shared tier's index, which frees what it lists. Not before the clock has moved there:
    /// what a deferred invalidation has not reached yet must go on being listed.
    fn ask_index(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        if listed.is_empty() || self.deferred {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.counting = Some(Box::pin(async move {
            let tier = shared.tier()?;
            let count = async {
                let mut entries = Some(0);
                for (tags, strength) in listed {
                    let reached = tier.reached(&tags, strength).await;
                    entries = entries.zip(reached).map(|(sum, reached)| sum + reached);
                }
                entries
            };
            tokio::time::timeout(COUNTING, count).await.ok()?
        }));
    }

    /// Works through some more places; true at the end.
    fn sweep(&mut self) -> bool {
        let mut turn = STRIDE;
        while let Some(sweep) = self.sweeps.last_mut() {
            while let Some(place) = sweep.places.next() {
                let counted = sweep.visit(&self.shared, place);
                self.entries = self.entries.map(|entries| entries + counted);
                turn -= 1;
                if turn == 0 {
                    return false;
                }
            }
            self.sweeps.pop();
        }
        true
    }
}

/// Done when other processes can be told no better: their Redis has the invalidation, or it is
/// deferred.
pub(crate) struct Heard(oneshot::Receiver<()>);

impl Future for Heard {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Future for Invalidating {
    type Output = Invalidated;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Invalidated> {
        let this = &mut *self;
        while let Some(told) = this.unheard.last_mut() {
            this.deferred |= ready!(Pin::new(told).poll(cx));
            this.unheard.pop();
        }
        if let Some(heard) = this.heard.take() {
            let _ = heard.send(());
        }
        this.ask_index();
        if let Some(counting) = &mut this.counting {
            this.counted = ready!(counting.as_mut().poll(cx));
            this.counting = None;
        }
        if !this.sweep() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Invalidated {
            entries: this.entries.map(|near| this.counted.unwrap_or(near)),
            deferred: this.deferred,
        })
    }
}

impl std::fmt::Debug for Invalidating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invalidating").finish_non_exhaustive()
    }
}

/// Where a request went: kept while its answer is awaited.
pub(crate) struct Address {
    method: Method,
    /// Only of unsafe requests: others spoil nothing.
    host: Option<String>,
    path: String,
    /// Whether its answer may spoil groups (RFC 9875).
    groups: bool,
}

impl Address {
    pub(crate) fn of(parts: &request::Parts) -> Self {
        let method = parts.method.clone();
        if is_safe(&method) {
            return Self {
                method,
                host: None,
                path: String::new(),
                groups: false,
            };
        }
        let host = keyed::host(parts).ok().flatten();
        Self {
            method,
            host: host.map(|host| String::from_utf8_lossy(host).into_owned()),
            path: keyed::original_uri(parts).path().to_owned(),
            groups: false,
        }
    }

    /// The same, where the route's origin speaks of groups.
    pub(crate) fn on(route: &Route, parts: &request::Parts) -> Self {
        Self {
            groups: route.is_rfc9111(),
            ..Self::of(parts)
        }
    }

    /// Carries out what an answer asks for, and what its request spoiled (RFC 9111 §4.4).
    /// `None` when there is nothing to do, as for nearly every answer.
    pub(crate) fn settle(
        &self,
        shared: &Arc<Shared>,
        status: StatusCode,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Option<Invalidating> {
        let mut what = Invalidations::take_from(extensions);
        let exempt = extensions
            .get::<CachedMethod>()
            .is_some_and(|cached| cached.method == self.method && cached.path == self.path);
        let settled = extensions
            .get::<Settled>()
            .is_some_and(|settled| settled.is(self, shared));
        if !exempt && !settled && invalidation::spoils(&self.method, status) {
            let groups = self.spoiled_groups(headers);
            let paths = self.spoiled_paths(shared, headers);
            what.extend(paths.into_iter().chain(groups).reduce(Invalidate::and));
            extensions.insert(Settled {
                cache: Arc::downgrade(shared),
                method: self.method.clone(),
                path: self.path.clone(),
            });
        }
        (!what.is_empty()).then(|| start(shared, what))
    }

    fn spoiled_groups(&self, headers: &HeaderMap) -> Option<Invalidate> {
        let host = self.host.as_deref().unwrap_or_default();
        let groups = self
            .groups
            .then(|| groups::spoiled(host.as_bytes(), headers));
        groups
            .filter(|groups| !groups.is_empty())
            .map(Invalidate::groups)
    }

    /// The paths that an unsafe request spoiled, as far as anything was ever stored for them.
    fn spoiled_paths(&self, shared: &Shared, headers: &HeaderMap) -> Option<Invalidate> {
        let related = invalidation::related_paths(self.host.as_deref(), &self.path, headers);
        let paths = std::iter::once(&self.path).chain(&related);
        let begun = |path: &&String| shared.may_be_stored(TagHash::path(None, path.as_bytes()));
        paths
            .filter(begun)
            .map(|path| Invalidate::path(path))
            .reduce(Invalidate::and)
    }
}

/// In the answer to an unsafe request: what it spoiled is invalidated, and another layer of the same
/// cache further out need not do it again.
#[derive(Clone)]
struct Settled {
    cache: Weak<Shared>,
    method: Method,
    path: String,
}

impl Settled {
    fn is(&self, address: &Address, shared: &Arc<Shared>) -> bool {
        let this_cache = std::ptr::eq(self.cache.as_ptr(), Arc::as_ptr(shared));
        this_cache && self.method == address.method && self.path == address.path
    }
}

/// In the answer to an unsafe method that its route caches: such a method does not spoil its URI,
/// and a [`watch`](crate::Cache::watch) layer further out must know. It names the request, since a
/// handler may return the answer to another one that it sent itself.
#[derive(Clone, Debug)]
pub(crate) struct CachedMethod {
    method: Method,
    path: String,
}

impl CachedMethod {
    pub(crate) fn of(parts: &request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            path: keyed::original_uri(parts).path().to_owned(),
        }
    }
}
