//! [`LimitLayer`]: what is limited, and how.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{request, response, Response};
use tower_layer::Layer;

use super::answer::Refusal;
use super::fallback::Fallback;
use super::key::{AsyncKeyFn, Part};
use super::list::List;
use super::route::Route;
use super::rule::{Missing, Rule, Source};
use super::service::Limit;
use super::template::{Answers, Test};
use crate::clock::Clock;
use crate::error::{ConfigError, KeyError};
use crate::header::rate_limit::Profile;
use crate::policy::client_address::ClientAddress;

/// A [`Layer`] that refuses with 429 what is over a quota, before the inner service is touched.
///
/// ```
/// use larder::{LimitLayer, Quota};
///
/// LimitLayer::new(Quota::per_minute(120)).by_peer_ip();
/// // Ten at once and a thousand an hour, of which both must hold:
/// LimitLayer::new(Quota::per_second(10)).by_peer_ip().and(Quota::per_hour(1_000));
/// // For everybody together, and for each user:
/// LimitLayer::new(Quota::per_second(500)).name("all").by_everyone()
///     .and(Quota::per_second(5)).name("user").by(larder::user::from_header("authorization"));
/// ```
///
/// The [module](crate::limit) tells the rest. Setters up to `shadow` are about the quota named last. Contradictory
/// settings panic when the layer is put around a service; [`try_validate`](Self::try_validate) tells them as
/// an error. Clones share their buckets, and so do all services made by them.
#[derive(Clone)]
#[must_use]
pub struct LimitLayer {
    done: Vec<Rule>,
    last: Rule,
    answers: Answers,
    #[cfg(feature = "redis")]
    shared: Option<crate::store::shared::buckets::SharedBuckets>,
}

impl LimitLayer {
    /// Limits by this quota, with buckets of its own, or by a [`Limiter`](crate::Limiter) that others use too.
    pub fn new(quota: impl Into<Source>) -> Self {
        Self {
            done: Vec::new(),
            last: Rule::new(quota.into()),
            answers: Answers::default(),
            #[cfg(feature = "redis")]
            shared: None,
        }
    }

    /// Limits by one more quota: a request passes if all grant, and takes from none if one refuses. Until it is
    /// told otherwise, it has the key of the quota before it.
    pub fn and(mut self, quota: impl Into<Source>) -> Self {
        let mut next = Rule::new(quota.into());
        next.inherits = true;
        #[cfg(feature = "redis")]
        if let (Some(shared), super::rule::Plan::Build(..)) = (&self.shared, &next.plan) {
            let shared = shared.clone();
            next.configure(|builder| builder.shared(shared));
        }
        self.done.push(std::mem::replace(&mut self.last, next));
        self
    }

    /// What this limit is called in `RateLimit`, in refusals and in Redis. 1 to 64 visible ASCII characters
    /// without `"` and `\`. Default: `default`, and `default-2` and so on for those that follow; needed with Redis.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        self.last.configure(|builder| builder.name(name));
        self
    }

    fn keyed(mut self, part: Part) -> Self {
        self.last.parts.push(part);
        self
    }

    /// A bucket for each address that connections come from; of IPv6, for each /64. Several `by` in a row make
    /// a key of several parts.
    pub fn by_peer_ip(self) -> Self {
        self.by_client_ip(ClientAddress::peer())
    }

    /// A bucket for each client address, behind proxies.
    pub fn by_client_ip(self, address: ClientAddress) -> Self {
        self.keyed(Part::Address(Arc::new(address)))
    }

    /// A bucket for each value of a request field. Anybody can make up values, so let something further out
    /// have checked them. Several lines, or none, are no key.
    ///
    /// # Panics
    ///
    /// If `name` is not a header name in lower case.
    pub fn by_header(self, name: &'static str) -> Self {
        self.keyed(Part::Header(HeaderName::from_static(name)))
    }

    /// A bucket for each name that this function finds: [`user::from_extension`](crate::user::from_extension),
    /// [`user::from_header`](crate::user::from_header), or any other.
    pub fn by<F>(self, name: F) -> Self
    where
        F: Fn(&request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync + 'static,
    {
        self.keyed(Part::Name(Arc::new(name)))
    }

    /// The same, where somebody else has to be asked first. What it needs of the request it takes along.
    pub fn by_async<F, A>(self, name: F) -> Self
    where
        F: Fn(&request::Parts) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Option<String>, KeyError>> + Send + 'static,
    {
        let name: AsyncKeyFn = Arc::new(move |parts| Box::pin(name(parts)));
        self.keyed(Part::Asked(name))
    }

    /// A bucket for each method and matched route (axum's template, not the path): usually beside another
    /// `by`. HEAD counts as GET, and methods that RFC 9110 and RFC 5789 do not know are one. Needs the feature `axum`, and a place inside the router.
    pub fn by_route(self) -> Self {
        self.keyed(Part::Route)
    }

    /// One bucket for everybody.
    pub fn by_everyone(mut self) -> Self {
        self.last.everyone = true;
        self
    }

    /// What happens to requests without a key. Default: 400, and 500 where the server tells no peer address.
    pub fn when_missing(mut self, missing: Missing) -> Self {
        self.last.missing = Some(missing);
        self
    }

    /// How many tokens a request costs. Default: 1.
    pub fn cost(mut self, tokens: u64) -> Self {
        self.last.cost = tokens;
        self
    }

    /// How many tokens this request costs; 0 for none.
    pub fn cost_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&request::Parts) -> u64 + Send + Sync + 'static,
    {
        self.last.cost_by = Some(Arc::new(cost));
        self
    }

    /// How many tokens the request did cost, by its answer; `None` for what was taken before. The difference is
    /// given back, or taken as well. It is taken first, so that requests at the same time cannot
    /// all pass; one that goes away unanswered costs what was taken.
    ///
    /// A hit of the cache may cost less than a miss, see [`is_hit`](crate::limit::is_hit); so may what
    /// a handler leaves in the extensions of its answer.
    pub fn settle_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&response::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.last.settle = Some(Arc::new(cost));
        self
    }

    /// Gives back what requests with such an answer have taken: `|answer| answer.status.is_success()` counts
    /// failures alone, as for passwords.
    pub fn refund_when<F>(self, refund: F) -> Self
    where
        F: Fn(&response::Parts) -> bool + Send + Sync + 'static,
    {
        self.settle_by(move |answer| refund(answer).then_some(0))
    }

    /// Who is on this list passes this limit unseen.
    pub fn allow(mut self, list: List) -> Self {
        self.last.allow = Some(list);
        self
    }

    /// Who is on this list is refused with 403, and costs nothing. Here it goes before [`allow`](Self::allow).
    pub fn deny(mut self, list: List) -> Self {
        self.last.deny = Some(list);
        self
    }

    /// Decides and counts as ever, and refuses nobody: to see what a limit would do. Neither other limits
    /// nor answers know of it, and nobody waits for what it has to ask Redis.
    pub fn shadow(mut self) -> Self {
        self.last.shadow = true;
        self
    }

    /// For how many keys there is room in memory at once ([more](crate::limit::LimiterBuilder::max_keys)).
    /// Default: 65 536.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.last.configure(|builder| builder.max_keys(keys));
        self
    }

    /// How many tokens the bucket of a new key holds ([more](crate::limit::LimiterBuilder::initial_level)).
    /// Default: it is full.
    pub fn initial_level(mut self, tokens: u64) -> Self {
        self.last.configure(|builder| builder.initial_level(tokens));
        self
    }

    /// What happens while Redis does not answer ([more](crate::limit::LimiterBuilder::fallback)).
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.last.configure(|builder| builder.fallback(fallback));
        self
    }

    /// Shares the buckets of this quota, and of those that follow, with all processes that use this Redis. A
    /// request is one round trip, whatever the number of quotas with its key.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: crate::Redis) -> Self {
        let shared = crate::store::shared::buckets::SharedBuckets::new(redis);
        self.shared = Some(shared.clone());
        self.last.configure(|builder| builder.shared(shared));
        self
    }

    /// Where the time is taken from, for all quotas named so far.
    pub fn clock(mut self, clock: Clock) -> Self {
        for rule in self.done.iter_mut().chain([&mut self.last]) {
            rule.configure(|builder| builder.clock(clock.clone()));
        }
        self.answers.clock = clock;
        self
    }

    /// Requests that no limit sees: they cost nothing and their answers get no fields.
    pub fn skip_if<F>(mut self, skip: F) -> Self
    where
        F: Fn(&request::Parts) -> bool + Send + Sync + 'static,
    {
        let skip: Test = Arc::new(skip);
        self.answers.skip.push(skip);
        self
    }

    /// In which fields answers tell what is left. Default: those of the current draft.
    pub fn fields(mut self, profile: Profile) -> Self {
        self.answers.profile = profile;
        self
    }

    /// Tells of every limit. Default: all policies, and how the tightest of them stands.
    pub fn tell_all(mut self) -> Self {
        self.answers.tell_all = true;
        self
    }

    /// Lets scripts of other origins read the fields (`Access-Control-Expose-Headers`). Default: no.
    pub fn expose_fields(mut self) -> Self {
        self.answers.expose = true;
        self
    }

    /// Leaves a [`Verdict`](super::Verdict) in the extensions: of the request, for handlers, and of
    /// refusals, for layers further out. Default: no, since it takes memory for each request.
    pub fn with_verdict(mut self) -> Self {
        self.answers.verdicts = true;
        self
    }

    /// Answers refusals in its own way. `Retry-After` and the fields of the profile are added if they are not
    /// there. Default: `application/problem+json` (RFC 9457).
    pub fn respond_with<F, B>(mut self, respond: F) -> Self
    where
        F: Fn(&Refusal) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes>,
    {
        self.answers.respond = Some(Arc::new(move |refusal| respond(refusal).map(Into::into)));
        self
    }

    /// Looks for contradictions in the settings.
    ///
    /// ```
    /// use larder::{LimitLayer, Quota};
    ///
    /// let refused = LimitLayer::new(Quota::per_minute(120)).try_validate().unwrap_err();
    /// assert_eq!(refused.instead(), "`.by_peer_ip()`, or `.by_everyone()` for one bucket for all");
    /// ```
    ///
    /// # Errors
    ///
    /// The first contradiction, with the line to write instead.
    pub fn try_validate(&self) -> Result<(), ConfigError> {
        super::route::rules(&self.done, &self.last).map(|_| ())
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    /// # Panics
    ///
    /// If the settings contradict each other.
    fn layer(&self, inner: S) -> Limit<S> {
        let route = super::route::rules(&self.done, &self.last)
            .and_then(|rules| Route::new(rules, self.answers.clone()));
        match route {
            Ok(route) => Limit::new(inner, Arc::new(route)),
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.done.iter().chain([&self.last]);
        let quotas: Vec<_> = rules.map(Rule::quota).collect();
        f.debug_struct("LimitLayer")
            .field("quotas", &quotas)
            .field("fields", &self.answers.profile)
            .finish_non_exhaustive()
    }
}
