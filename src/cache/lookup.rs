//! Asking the store: may what is kept under a key answer this request?

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::{header, request, HeaderMap, Method};

use super::core::{Core, Shared};
use super::keyed;
use super::route::Route;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::{Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::{Fact, RequestFacts, RequestFields};
use crate::policy::reuse::{refreshes_early, reuse, Allowance, Reuse};
use crate::policy::stored::StoredResponse;
use crate::policy::tag::TagHash;
use crate::store::invalidation::Validity;
use crate::store::near::Found;

/// What the store says of a request.
pub(crate) enum Consulted {
    /// A fresh response, and nothing else to do.
    Fresh {
        stored: Arc<StoredResponse>,
        left: Duration,
        now: Timestamp,
    },
    Otherwise(Lookup, Box<Plan>),
}

/// Makes the key of a request and asks the store; an error is the reason to bypass the cache.
#[inline]
pub(crate) fn consult(
    core: &Core,
    parts: &request::Parts,
    class: Class,
    fields: &RequestFields<'_>,
    content: Option<&[u8; 32]>,
) -> Result<Consulted, Reason> {
    let (shared, route) = (&core.shared, &core.route);
    with_scratch(|key| {
        let asking = Asking {
            core,
            parts,
            fields,
            directives: request_directives(route, fields.facts, &parts.headers),
            now: shared.clock.now(),
        };
        keyed::draft_key(shared, route, parts, fields, class, content, key)?;
        let place = shared.responses.place(key);
        let found = asking.look_up(place, key);
        Ok(asking
            .at_once(found)
            .unwrap_or_else(|found| asking.otherwise(place, key, found)))
    })
}

/// A request for which the store is asked.
struct Asking<'a> {
    core: &'a Core,
    parts: &'a request::Parts,
    fields: &'a RequestFields<'a>,
    directives: Option<CacheControl>,
    now: Timestamp,
}

impl Asking<'_> {
    #[inline]
    fn look_up(&self, place: u64, key: &[u8]) -> Lookup {
        let (shared, directives) = (&self.core.shared, self.directives.as_ref());
        look_up(shared, place, key, self.fields, directives, self.now)
    }

    /// A fresh response with which there is nothing to do but to send it.
    #[inline]
    fn at_once(&self, found: Lookup) -> Result<Consulted, Lookup> {
        let (core, now) = (self.core, self.now);
        match found {
            Lookup::Fresh { stored, left }
                if core.strict_tier().is_none()
                    && !is_due(core, &stored, &self.parts.method, now) =>
            {
                Ok(Consulted::Fresh { stored, left, now })
            }
            found => Err(found),
        }
    }

    /// Where nothing lies under the draft of a key, that may be because its query is in another order.
    #[cold]
    fn otherwise(self, place: u64, key: &mut [u8], found: Lookup) -> Consulted {
        let (mut place, mut found) = (place, found);
        if found.is_nothing() && keyed::put_in_order(&self.core.route, key) {
            place = self.core.shared.responses.place(key);
            found = match self.at_once(self.look_up(place, key)) {
                Ok(fresh) => return fresh,
                Err(found) => found,
            };
        }
        let plan = Plan {
            key: Arc::from(&*key),
            place,
            facts: self.fields.facts,
            directives: self.directives,
            now: self.now,
        };
        Consulted::Otherwise(found, Box::new(plan))
    }
}

/// Whether a response, although fresh, is to be refreshed by this request.
pub(crate) fn is_due(
    core: &Core,
    stored: &StoredResponse,
    method: &Method,
    now: Timestamp,
) -> bool {
    let Some(fraction) = core.route.early_refresh else {
        return false;
    };
    let mix = |mixed, tag: &TagHash| mixed ^ tag.0;
    let jitter = stored.tags().iter().fold(stored.fence().clock, mix);
    *method != Method::HEAD && refreshes_early(stored.times(), fraction, jitter, now)
}

/// What is known of a request that was looked up.
pub(crate) struct Plan {
    pub(crate) key: Arc<[u8]>,
    pub(crate) place: u64,
    pub(crate) facts: RequestFacts,
    pub(crate) directives: Option<CacheControl>,
    pub(crate) now: Timestamp,
}

/// What a look-up found.
pub(crate) enum Lookup {
    Fresh {
        stored: Arc<StoredResponse>,
        left: Duration,
    },
    Stale {
        stored: Arc<StoredResponse>,
        overdue: Duration,
        allowance: Allowance,
    },
    Missing(Missing),
}

impl Lookup {
    /// Whether nothing at all lies under the key.
    #[inline]
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Missing(Missing { sample: None, .. }))
    }
}

/// There is no answer in store.
pub(crate) struct Missing {
    pub(crate) why: Forward,
    /// A stored response of this key: it tells what the key's responses vary on.
    pub(crate) sample: Option<Arc<StoredResponse>>,
    /// Whether the sample may stand in for a failed call, if it is not too old by then.
    pub(crate) usable_on_error: bool,
}

impl Missing {
    /// Nothing was looked up.
    pub(crate) fn of_another_method() -> Self {
        Self {
            why: Forward::Method,
            sample: None,
            usable_on_error: false,
        }
    }

    /// There is a response, and another one is wanted in its place.
    pub(crate) fn stale(stored: Arc<StoredResponse>) -> Self {
        Self {
            why: Forward::Stale,
            sample: Some(stored),
            usable_on_error: false,
        }
    }
}

/// Looks up a key in the near tier, for a request with these fields.
#[inline]
pub(crate) fn look_up(
    shared: &Shared,
    place: u64,
    key: &[u8],
    request: &RequestFields<'_>,
    directives: Option<&CacheControl>,
    now: Timestamp,
) -> Lookup {
    match shared.responses.find(place, key, request) {
        Found::Response(stored) => {
            let validity = shared.validity(&stored);
            judge(stored, validity, directives, now)
        }
        Found::OtherVariant(latest) => missing(Forward::VaryMiss, Some(latest), false),
        Found::Nothing => missing(Forward::UriMiss, None, false),
    }
}

/// What a response of this validity is to a request with these directives.
#[inline]
pub(crate) fn judge(
    stored: Arc<StoredResponse>,
    validity: Validity,
    directives: Option<&CacheControl>,
    now: Timestamp,
) -> Lookup {
    if validity == Validity::Hard {
        return missing(Forward::Stale, Some(stored), false);
    }
    match reuse(stored.times(), directives, validity == Validity::Soft, now) {
        Reuse::Fresh { left } => Lookup::Fresh { stored, left },
        Reuse::Stale {
            overdue,
            allowance: Some(allowance),
        } => Lookup::Stale {
            stored,
            overdue,
            allowance,
        },
        Reuse::Stale {
            allowance: None, ..
        } => missing(Forward::Stale, Some(stored), true),
        Reuse::Refused { fresh: true } => missing(Forward::Request, Some(stored), false),
        Reuse::Refused { fresh: false } | Reuse::FromTheFuture => {
            missing(Forward::Stale, Some(stored), false)
        }
    }
}

fn missing(why: Forward, sample: Option<Arc<StoredResponse>>, usable_on_error: bool) -> Lookup {
    Lookup::Missing(Missing {
        why,
        sample,
        usable_on_error,
    })
}

/// The request's own directives, where it has any and the route heeds them.
#[inline]
pub(crate) fn request_directives(
    route: &Route,
    facts: RequestFacts,
    headers: &HeaderMap,
) -> Option<CacheControl> {
    if route.ignore_client_directives || !(facts.has(Fact::CacheControl) || facts.has(Fact::Pragma))
    {
        return None;
    }
    if facts.has(Fact::CacheControl) {
        return Some(CacheControl::parse(headers.get_all(header::CACHE_CONTROL)));
    }
    // `Pragma: no-cache` from clients that know nothing else (RFC 9111 §5.4).
    let pragma = CacheControl::parse(headers.get_all(header::PRAGMA));
    Some(CacheControl {
        no_cache: pragma.no_cache,
        ..CacheControl::default()
    })
}

/// Boxed, so that it is lent by moving one word.
#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends a buffer for a key, so that a hit allocates none.
#[inline]
fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch.key);
    SCRATCH.set(Some(scratch));
    result
}
