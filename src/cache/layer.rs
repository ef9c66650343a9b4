//! [`CacheLayer`]: what a route says about caching.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{request, response, StatusCode};
use tower_layer::Layer;

use super::core::Core;
use super::core::Shared;
use super::keyed::{BodyKeyed, HeadKeyed};
use super::route::{ClientCache, Route};
use super::service::CacheService;
use crate::error::{ConfigError, KeyError};
use crate::policy::key::QueryRule;
use crate::policy::profile::Profile;
use crate::policy::tag::TagTemplate;

/// A [`Layer`] that caches the answers of the service it is put around; made by
/// [`Cache::layer`](crate::Cache::layer).
///
/// The [module](crate::cache) tells what is stored by default. Contradictory settings panic when the
/// layer is put around a service; [`try_validate`](Self::try_validate) tells them as an error.
///
/// `K` says what keys a request: its head, or (after [`key_body`](Self::key_body) or
/// [`key_query`](Self::key_query)) its content too.
#[must_use]
pub struct CacheLayer<K = HeadKeyed> {
    shared: Arc<Shared>,
    route: Route,
    keyed: PhantomData<fn() -> K>,
}

impl CacheLayer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let route = Route::new(&shared.limits, shared.audience);
        Self {
            shared,
            route,
            keyed: PhantomData,
        }
    }

    /// Caches `POST` and `QUERY` (RFC 10008) as well, keyed by their content and `Content-Type`.
    ///
    /// Content longer than `limit` bytes, or of unknown length, bypasses the cache. Such a method
    /// does not invalidate its own URI. The request body must be one that can be made of bytes, as
    /// axum's is.
    pub fn key_body(mut self, limit: usize) -> CacheLayer<BodyKeyed> {
        self.route.key_post = true;
        self.key_query(limit)
    }

    /// As [`key_body`](Self::key_body), for `QUERY` alone: `POST` is forwarded, and what it changes is
    /// invalidated.
    pub fn key_query(mut self, limit: usize) -> CacheLayer<BodyKeyed> {
        self.route.key_body = Some(limit);
        CacheLayer {
            shared: self.shared,
            route: self.route,
            keyed: PhantomData,
        }
    }
}

impl<K> CacheLayer<K> {
    /// How far the cache goes; [`Profile`] lists the differences. Default: [`Profile::Safe`].
    ///
    /// ```
    /// # let cache = larder::Cache::builder().build()?;
    /// use larder::Profile;
    /// let proxied = cache.layer().profile(Profile::Rfc9111); // around a client of the origin
    /// # assert!(proxied.try_validate().is_ok());
    /// # Ok::<(), larder::ConfigError>(())
    /// ```
    pub fn profile(mut self, profile: Profile) -> Self {
        self.route.rules.profile = profile;
        self
    }

    /// How long responses are reused: the smaller of this and the response's own lifetime
    /// (`max-age` and its like). Without a ttl only responses with a lifetime of their own are
    /// stored. Default: none.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.route.rules.ttl = Some(ttl);
        self
    }

    /// A ttl chosen by the response; `None` leaves the route's. A [`CacheFor`](crate::CacheFor) of the
    /// handler comes first. It does not widen what is stored: a status that the route does not store
    /// is not stored for having a ttl (see [`status_ttl`](Self::status_ttl)).
    pub fn ttl_by<F>(mut self, ttl: F) -> Self
    where
        F: Fn(&response::Parts) -> Option<Duration> + Send + Sync + 'static,
    {
        self.route.ttl_by = Some(Arc::new(ttl));
        self
    }

    /// Stores answers of this status too, for this long. Default: 200, 203, 301, 308 and 410, for
    /// the ttl. 206, 304, 428, 429, 431 and 511 are refused (RFC 9111 §3, RFC 6585), and 401 and 403
    /// but on a route [per user](Self::per_user).
    ///
    /// # Panics
    ///
    /// If `status` is not a `StatusCode` or a number from 100 to 999.
    pub fn status_ttl(mut self, status: impl TryInto<StatusCode>, ttl: Duration) -> Self {
        let Ok(status) = status.try_into() else {
            panic!("a status is a number from 100 to 999; write instead: `.status_ttl(404, ..)`");
        };
        self.route
            .rules
            .status_ttl
            .retain(|(known, _)| *known != status);
        self.route.rules.status_ttl.push((status, ttl));
        self
    }

    /// Stores 404 too, for this (short) time. Default: not at all.
    pub fn not_found_ttl(self, ttl: Duration) -> Self {
        self.status_ttl(StatusCode::NOT_FOUND, ttl)
    }

    /// A tag of every response of this route. `{name}` stands for a parameter of the route's path:
    /// `.tag("post:{id}")` on `/posts/{id}`. A response whose parameter is missing is not stored.
    ///
    /// The tag takes the parameter's text, percent-decoded and else as the client spelled it:
    /// `/posts/007` is stored under `post:007`, and invalidating `post:7` does not reach it. Where the
    /// handler reads several spellings as one, let it answer with [`Tags`](crate::Tags) made of what it
    /// read. (The patterns of routes are axum's: without feature `axum` no parameter is known.)
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        self.route.tags.extend(TagTemplate::parse(&tag));
        self.route.tag_names.push(tag);
        self
    }

    /// Tags made of the request.
    pub fn tags_by<F>(mut self, tags: F) -> Self
    where
        F: Fn(&request::Parts) -> Vec<String> + Send + Sync + 'static,
    {
        self.route.tags_by.push(Arc::new(tags));
        self
    }

    /// Tags made of the response; a handler can also return [`Tags`](crate::Tags).
    pub fn tags_of_response<F>(mut self, tags: F) -> Self
    where
        F: Fn(&response::Parts) -> Vec<String> + Send + Sync + 'static,
    {
        self.route.tags_of.push(Arc::new(tags));
        self
    }

    /// Keeps each user's responses apart. Requests without a user, or whose user is the empty string,
    /// bypass the cache; credentials and cookies no longer do; downstream is told `private`
    /// (RFC 9111 §5.2.2.7). [`user`](crate::user) has ready-made functions.
    pub fn per_user<F>(mut self, user: F) -> Self
    where
        F: Fn(&request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync + 'static,
    {
        self.route.user = Some(Arc::new(user));
        self
    }

    /// One more part of the key, such as a tenant or a language. A request without it (`None`) has a
    /// key of its own; an error bypasses the cache.
    pub fn key_part<F>(mut self, part: F) -> Self
    where
        F: Fn(&request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync + 'static,
    {
        self.route.extra.push(Arc::new(part));
        self
    }

    /// Varies on a request field as if each response named it in `Vary`, and names it there.
    pub fn vary_on(mut self, field: HeaderName) -> Self {
        self.route.vary_on.push(field);
        self
    }

    /// Shares responses between hosts. Default: each host has its own.
    pub fn any_host(mut self) -> Self {
        self.route.host = false;
        self
    }

    /// The query parameters that matter, by name; others are not part of the key. Default: all.
    pub fn query_only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.route.query = QueryRule::Only(names.into_iter().map(Into::into).collect());
        self.route.query_rules += 1;
        self
    }

    /// Query parameters that do not matter, by name, such as `utm_source`. Default: none.
    pub fn query_except<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.route.query = QueryRule::Except(names.into_iter().map(Into::into).collect());
        self.route.query_rules += 1;
        self
    }

    /// Lets a response say, by `No-Vary-Search`, which parameters of the query it does not depend on
    /// (draft-ietf-httpbis-no-vary-search): while it is fresh it answers every query that means the same,
    /// with `detail=no-vary-search`. What is malformed says nothing. An invalidation by any of these URIs,
    /// or by the path, reaches them all. Default: off, and on in [`Profile::Rfc9111`].
    pub fn no_vary_search(mut self) -> Self {
        self.route.no_vary_search = true;
        self
    }

    /// Cookies that do not change the answer, by name; a `*` at the end stands for any ending. A
    /// request with any other cookie bypasses the cache. Default: none.
    pub fn ignore_cookies<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.route
            .ignored_cookies
            .extend(names.into_iter().map(Into::into));
        self
    }

    /// Answers requests with `Authorization` or cookies from responses that everybody shares: for
    /// routes that check who asks in an outer layer and answer all alike. It takes the place of the
    /// `public` with which a response would allow that itself (RFC 9111 §3.5).
    pub fn shared_despite_credentials(mut self) -> Self {
        self.route.shared_despite_credentials = true;
        self
    }

    /// Leaves requests alone for which this is true.
    pub fn skip_if<F>(mut self, skip: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        self.route.skip_if.push(Arc::new(skip));
        self
    }

    /// Stores only responses for which this is true, and which nothing else forbids to store.
    pub fn store_if<F>(mut self, store: F) -> Self
    where
        F: Fn(&response::Parts) -> bool + Send + Sync + 'static,
    {
        self.route.store_if.push(Arc::new(store));
        self
    }

    /// The longest body that is stored, in bytes; longer ones pass through. Default: that of the
    /// cache, 1 MiB.
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.route.body_limit = bytes;
        self
    }

    /// How long after its lifetime a response may answer while one request refreshes it
    /// (RFC 5861 §3), where the response does not say. Default: not at all.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.route.rules.stale_while_revalidate = Some(window);
        self
    }

    /// How long after its lifetime a response may answer when the service fails: with 500, 502, 503,
    /// 504 or an error (RFC 5861 §4), where the response does not say. Default: not at all, in
    /// [`Profile::Rfc9111`] a day.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.route.rules.stale_if_error = Some(window);
        self
    }

    /// Lets a request refresh a response in the background before it expires, in the last `fraction`
    /// of its lifetime; when exactly differs from response to response. Default: off.
    pub fn early_refresh(mut self, fraction: f32) -> Self {
        self.route.early_refresh = Some(fraction);
        self
    }

    /// How long a request waits for the call of another one with its key before it calls by itself.
    /// Default: 10 s.
    pub fn collapse_timeout(mut self, deadline: Duration) -> Self {
        self.route.collapse = Some(deadline);
        self
    }

    /// Lets every request that misses call by itself. Default: one call for all who miss one key.
    pub fn no_collapsing(mut self) -> Self {
        self.route.collapse = None;
        self
    }

    /// With Redis: whether one process of all calls for a key, while the others wait for what it stores,
    /// as long as the [collapse deadline](Self::collapse_timeout) allows; stale responses that may be
    /// used answer meanwhile. Worth its two questions to Redis per miss where a call costs much more
    /// than they do. If the process that calls dies, another one does after 1.5 s. Default: no, each
    /// process calls once.
    pub fn collapse_processes(mut self, on: bool) -> Self {
        self.route.collapse_processes = on;
        self
    }

    /// With Redis: whether the shared invalidation clock is asked before each answer from store, near
    /// ones included. Then an answer never shows what any process had invalidated before the request
    /// came; it costs a round trip, and while Redis is away the handler answers every request.
    /// Otherwise other processes' invalidations arrive with a push, usually within milliseconds.
    /// Default: what [`CacheBuilder::strict`](crate::CacheBuilder::strict) says. In memory alone every
    /// look-up is strict as it is.
    pub fn strict(mut self, strict: bool) -> Self {
        self.route.strict = Some(strict);
        self
    }

    /// What clients and caches downstream may do, where the handler's `Cache-Control` does not say.
    /// Default: `no-cache`, so that a purge here is a purge everywhere; in [`Profile::Rfc9111`] nothing
    /// is added.
    pub fn client(mut self, client: ClientCache) -> Self {
        self.route.client = Some(client);
        self
    }

    /// Removes from a request, before it is forwarded, what its key does not cover: query parameters
    /// that are not kept, cookies, and all fields but those of [`vary_on`](Self::vary_on), `Host` and
    /// those that describe content. Then nothing unkeyed can reach another client through a stored
    /// response. (Extensions, such as the peer's address, stay.) Where a key part is read from a field,
    /// name that field in `vary_on` too, or the handler does not see it.
    pub fn narrow(mut self) -> Self {
        self.route.narrow = true;
        self
    }

    /// Answers from store, and stores, whatever the request's `Cache-Control` and `Pragma` say
    /// (RFC 9111 §5.2.1, §5.4), so that a storm of reloads is answered as well. Default: they are
    /// heeded.
    pub fn ignore_client_directives(mut self) -> Self {
        self.route.ignore_client_directives = true;
        self
    }

    /// The codings that this route's responses are kept in, the most wanted first. Default: those of
    /// [`CacheBuilder::codings`](crate::CacheBuilder::codings), and none in [`Profile::Rfc9111`] or on a
    /// route [per user](Self::per_user): name them here if no answer of it
    /// [holds a secret](crate::compress#secrets) beside what a stranger can choose.
    ///
    /// The handler is asked for `Accept-Encoding: identity`, and each coding is made of its answer the
    /// first time that a client wants it. None are made of content below 600 bytes, of types that are
    /// not text or its like, or against `no-transform`; what the handler has encoded is stored as it came. With
    /// `.codings([])` codings are left to the handler: its responses are stored for each
    /// `Accept-Encoding` if their `Vary` names it.
    #[cfg(feature = "compress")]
    pub fn codings(mut self, codings: impl IntoIterator<Item = crate::Coding>) -> Self {
        self.route.codings = Some(codings.into_iter().collect());
        self
    }

    /// Whether answers carry `Cache-Status` (RFC 9211). Default: yes.
    pub fn cache_status(mut self, on: bool) -> Self {
        self.route.cache_status = on;
        self
    }

    /// Whether `Cache-Status` tells the key that was looked up (RFC 9211 §2.7), as method, host, path and
    /// query, at most 512 bytes of it; of a user and of other parts it tells that there is one. It makes
    /// it easy to see why two requests do not share a response, for strangers too. Default: no.
    pub fn cache_status_key(mut self, on: bool) -> Self {
        self.route.cache_status_key = on;
        self
    }

    /// Looks for contradictions in the settings.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let cache = larder::Cache::builder().build()?;
    /// let refused = cache.layer().ttl(Duration::ZERO).try_validate().unwrap_err();
    /// assert!(refused.to_string().starts_with("a ttl of zero stores nothing; write instead:"));
    /// # Ok::<(), larder::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first contradiction, with the line to write instead.
    pub fn try_validate(&self) -> Result<(), ConfigError> {
        self.route.validate(&self.shared.limits)
    }
}

impl<K> Clone for CacheLayer<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            route: self.route.clone(),
            keyed: PhantomData,
        }
    }
}

impl<K> fmt::Debug for CacheLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

impl<S, K> Layer<S> for CacheLayer<K> {
    type Service = CacheService<S, K>;

    /// # Panics
    ///
    /// If the settings contradict each other.
    fn layer(&self, inner: S) -> Self::Service {
        if let Err(error) = self.try_validate() {
            panic!("{error}");
        }
        CacheService::new(
            inner,
            Core::new(Arc::clone(&self.shared), self.route.clone()),
        )
    }
}
