//! Asking the store: may what is kept under a key answer this request?

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::handle::Shared;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::Forward;
use crate::policy::reuse::{reuse, Allowance, Reuse};
use crate::policy::stored::StoredResponse;
use crate::store::invalidation::Validity;
use crate::store::near::Found;

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

/// There is no answer in store.
pub(crate) struct Missing {
    pub(crate) why: Forward,
    /// A stored response of this key: it tells what the key's responses vary on.
    pub(crate) sample: Option<Arc<StoredResponse>>,
    /// Whether the sample may stand in for a failed call, if it is not too old by then.
    pub(crate) usable_on_error: bool,
}

/// Looks up a key for a request with these fields.
pub(crate) fn look_up(
    shared: &Shared,
    place: u64,
    key: &[u8],
    request: &HeaderMap,
    directives: Option<&CacheControl>,
    now: Timestamp,
) -> Lookup {
    let missing = |why, sample, usable_on_error| {
        Lookup::Missing(Missing {
            why,
            sample,
            usable_on_error,
        })
    };
    let stored = match shared.responses.find(place, key, request) {
        Found::Response(stored) => stored,
        Found::OtherVariant(latest) => return missing(Forward::VaryMiss, Some(latest), false),
        Found::Nothing => return missing(Forward::UriMiss, None, false),
    };
    let validity = shared.validity(&stored);
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
