//! What the parts of this room share: one cache, and one route of it.

use std::sync::Arc;

use http::header::HeaderValue;

use super::collapse::Flights;
use super::limits::Limits;
use super::route::Route;
use super::stats::Counters;
use super::status::CacheStatus;
use super::uncacheable::Uncacheable;
use crate::clock::Clock;
use crate::policy::stored::StoredResponse;
use crate::store::invalidation::{InvalidationClock, Validity};
use crate::store::near::Responses;

/// One route of one cache.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: Route,
    pub(crate) default_cache_control: HeaderValue,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, route: Route) -> Arc<Self> {
        let default_cache_control = route.default_cache_control();
        Arc::new(Self {
            shared,
            route,
            default_cache_control,
        })
    }
}

/// What all layers and handles of one cache share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) namespace: String,
    pub(crate) status: CacheStatus,
    pub(crate) clock: Clock,
    pub(crate) responses: Responses,
    pub(crate) invalidation: InvalidationClock,
    pub(crate) flights: Arc<Flights>,
    pub(crate) uncacheable: Uncacheable,
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn validity(&self, stored: &StoredResponse) -> Validity {
        self.invalidation.validity(stored.fence(), stored.tags())
    }
}
