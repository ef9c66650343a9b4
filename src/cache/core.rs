//! What the parts of this room share: one cache, and one route of it.

use std::sync::Arc;

use http::header::HeaderValue;

use super::coded::Codings;
use super::collapse::Flights;
use super::limits::Limits;
use super::route::Route;
use super::searches::Searches;
use super::stats::Counters;
use super::status::CacheStatus;
use super::uncacheable::Uncacheable;
use crate::clock::Clock;
use crate::policy::key::QueryRule;
use crate::policy::profile::Audience;
use crate::policy::stored::{Fence, StoredResponse};
use crate::policy::tag::TagHash;
use crate::store::invalidation::{InvalidationClock, Reach, Validity};
use crate::store::near::Responses;
use crate::store::shared::{Deferral, Tier};

/// One route of one cache.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) route: Route,
    /// None where downstream is told what the handler says, and nothing else.
    pub(crate) default_cache_control: Option<HeaderValue>,
    pub(crate) codings: Codings,
}

impl Core {
    pub(crate) fn new(shared: Arc<Shared>, mut route: Route) -> Arc<Self> {
        if route.is_rfc9111() && route.query == QueryRule::All {
            route.query = QueryRule::Verbatim;
        }
        let default_cache_control = route.default_cache_control();
        let codings = Codings::of(&shared, &route);
        Arc::new(Self {
            shared,
            route,
            default_cache_control,
            codings,
        })
    }

    /// The tier that must be asked before anything answers, where one must.
    #[inline]
    pub(crate) fn strict_tier(&self) -> Option<&Tier> {
        let strict = self.route.strict.unwrap_or(self.shared.strict);
        self.shared.tier().filter(|_| strict)
    }

    /// What a response that is here may do for a request of this route.
    pub(crate) async fn validity(&self, stored: &Arc<StoredResponse>) -> Validity {
        match self.strict_tier() {
            Some(tier) => {
                let said = tier.confirm(stored, &tier.budget()).await;
                said.unwrap_or(Validity::Hard)
            }
            None => self.shared.validity(stored),
        }
    }
}

/// What all layers and handles of one cache share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) namespace: String,
    pub(crate) audience: Audience,
    pub(crate) status: CacheStatus,
    pub(crate) clock: Clock,
    pub(crate) responses: Responses,
    pub(crate) authority: Authority,
    /// Whether look-ups are strict where a route does not say.
    pub(crate) strict: bool,
    pub(crate) flights: Arc<Flights>,
    pub(crate) uncacheable: Uncacheable,
    pub(crate) searches: Searches,
    pub(crate) counters: Counters,
    #[cfg(feature = "compress")]
    pub(crate) codings: Vec<crate::coding::Coding>,
    #[cfg(feature = "compress")]
    pub(crate) levels: crate::coding::Levels,
    #[cfg(feature = "compress")]
    pub(crate) makings: super::coded::Makings,
}

/// Who says which responses still hold.
pub(crate) enum Authority {
    /// This process alone.
    Here(InvalidationClock),
    /// The clock in Redis, through the tier that mirrors it.
    Shared(Tier),
}

impl Shared {
    /// What a response that is here may do for a relaxed look-up.
    #[inline]
    pub(crate) fn validity(&self, stored: &StoredResponse) -> Validity {
        match &self.authority {
            Authority::Here(clock) => clock.validity(stored.fence(), stored.tags()),
            Authority::Shared(tier) => tier.answers(stored),
        }
    }

    /// Whether an invalidation has reached a response, so that it is not worth its memory any more.
    pub(crate) fn is_purged(&self, stored: &StoredResponse) -> bool {
        let known = match &self.authority {
            Authority::Here(clock) => clock.validity(stored.fence(), stored.tags()),
            Authority::Shared(tier) => tier.keeps(stored),
        };
        known == Validity::Hard
    }

    /// The clock as it stands, for a response of this path whose making begins now.
    pub(crate) fn fence(&self, path: Option<TagHash>) -> Fence {
        match &self.authority {
            Authority::Here(clock) => {
                if let Some(path) = path {
                    clock.begin(path);
                }
                clock.fence()
            }
            Authority::Shared(tier) => tier.fence(),
        }
    }

    /// Invalidates here and now; what is returned tells when others have heard of it.
    pub(crate) fn invalidate(&self, reach: Reach) -> Option<Deferral> {
        match &self.authority {
            Authority::Here(clock) => {
                clock.invalidate(&reach);
                None
            }
            Authority::Shared(tier) => tier.invalidate(reach),
        }
    }

    /// Whether a response for this path may lie anywhere.
    pub(crate) fn may_be_stored(&self, path: TagHash) -> bool {
        match &self.authority {
            Authority::Here(clock) => clock.was_begun(path),
            Authority::Shared(_) => true, // other processes store too
        }
    }

    pub(crate) fn tier(&self) -> Option<&Tier> {
        match &self.authority {
            Authority::Here(_) => None,
            Authority::Shared(tier) => Some(tier),
        }
    }
}
