//! One limit of a layer: which bucket, what it costs, and what becomes of it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::{request, response, StatusCode};

use super::builder::LimiterBuilder;
use super::key::{named, peer, Head, Key, Naming, NoKey, Part, Whose};
use super::limiter::Limiter;
use super::list::List;
use crate::error::ConfigError;
use crate::header::structured::{parse_list, BareItem, Member};
use crate::policy::bucket::Quota;
use crate::policy::client_address::ClientAddress;
use crate::store::interned::CACHE_STATUS;

pub(super) type Cost = Arc<dyn Fn(&request::Parts) -> u64 + Send + Sync>;
pub(super) type Settle = Arc<dyn Fn(&response::Parts) -> Option<u64> + Send + Sync>;

/// Whether a stored response answered, and no handler worked: what `Cache-Status` says (RFC 9211), larder's
/// or any other cache's. For [`settle_by`](crate::LimitLayer::settle_by).
///
/// ```
/// use larder::{limit, LimitLayer, Quota};
///
/// LimitLayer::new(Quota::per_minute(600)).by_peer_ip().cost(10)
///     .settle_by(|answer| limit::is_hit(answer).then_some(1));
/// ```
pub fn is_hit(answer: &response::Parts) -> bool {
    let is_hit =
        |(name, value): &(String, BareItem)| name == "hit" && *value == BareItem::Boolean(true);
    let caches = parse_list(answer.headers.get_all(CACHE_STATUS)).unwrap_or_default();
    caches.iter().any(|cache| match cache {
        Member::Item(cache) => cache.params.iter().any(is_hit),
        Member::InnerList(..) => false,
    })
}

/// What happens to a request that does not say who is asking. It is never put into a bucket that all such
/// requests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// It is refused with this status: 400, or 401 where somebody should have signed in.
    Refuse(StatusCode),
    /// It is limited by the address of its connection.
    PeerIp,
    /// This limit lets it pass unseen.
    Skip,
}

/// What a layer is given to limit by: a quota of its own, or a limiter that others use too.
#[derive(Clone, Debug)]
pub struct Source(pub(super) Plan);

#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Made when the first service is, once for all clones of the layer.
    Build(LimiterBuilder, Arc<OnceLock<Limiter>>),
    Given(Limiter),
}

impl From<Quota> for Source {
    fn from(quota: Quota) -> Self {
        Self(Plan::Build(LimiterBuilder::new(quota), Arc::default()))
    }
}

impl From<Limiter> for Source {
    fn from(limiter: Limiter) -> Self {
        Self(Plan::Given(limiter))
    }
}

impl From<&Limiter> for Source {
    fn from(limiter: &Limiter) -> Self {
        Self(Plan::Given(limiter.clone()))
    }
}

/// The settings of one limit.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) plan: Plan,
    pub(super) parts: Vec<Part>,
    pub(super) everyone: bool,
    pub(super) missing: Option<Missing>,
    pub(super) cost: u64,
    pub(super) cost_by: Option<Cost>,
    pub(super) settle: Option<Settle>,
    pub(super) allow: Option<List>,
    pub(super) deny: Option<List>,
    pub(super) shadow: bool,
    /// Whether it has the key of the rule before it unless it has one of its own.
    pub(super) inherits: bool,
    /// A setting that a limiter has already.
    pub(super) too_late: bool,
}

impl Rule {
    pub(super) fn new(source: Source) -> Self {
        Self {
            plan: source.0,
            parts: Vec::new(),
            everyone: false,
            missing: None,
            cost: 1,
            cost_by: None,
            settle: None,
            allow: None,
            deny: None,
            shadow: false,
            inherits: false,
            too_late: false,
        }
    }

    /// Changes the limiter to be made.
    pub(super) fn configure(&mut self, change: impl FnOnce(LimiterBuilder) -> LimiterBuilder) {
        match &mut self.plan {
            Plan::Build(builder, built) => {
                *builder = change(builder.clone());
                *built = Arc::default();
            }
            Plan::Given(_) => self.too_late = true,
        }
    }

    pub(super) fn quota(&self) -> Quota {
        match &self.plan {
            Plan::Build(builder, _) => builder.settings.quota,
            Plan::Given(limiter) => limiter.core.quota,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        match &self.plan {
            Plan::Build(builder, _) => builder.settings.name.as_deref(),
            Plan::Given(limiter) => Some(limiter.name()),
        }
    }

    /// Looks for contradictions.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let refuse =
            |problem: &'static str, instead: &'static str| Err(ConfigError::new(problem, instead));
        if let Plan::Build(builder, _) = &self.plan {
            builder.validate()?;
        }
        if self.too_late {
            return refuse(
                "a limiter that is there already has its settings",
                "`Limiter::builder(quota).name(..).redis(..).build()?` with them",
            );
        }
        if self.parts.is_empty() && !self.everyone {
            return refuse(
                "a limit needs to know whose bucket it takes from",
                "`.by_peer_ip()`, or `.by_everyone()` for one bucket for all",
            );
        }
        if self.everyone && !self.parts.is_empty() {
            return refuse(
                "one bucket for everyone has no other key",
                "`.by_peer_ip()` without `.by_everyone()`",
            );
        }
        for part in &self.parts {
            if let Part::Address(address) = part {
                address.validate()?;
            }
        }
        if self.cost > self.quota().tokens() {
            return refuse(
                "a request that costs more than the capacity never passes",
                "`.cost(1)`, or a quota with a larger `.capacity(..)`",
            );
        }
        if self.missing == Some(Missing::PeerIp) && matches!(self.parts[..], [Part::Address(_)]) {
            return refuse(
                "a peer address that is missing cannot be replaced by itself",
                "`.when_missing(Missing::Skip)`, or no such line",
            );
        }
        Ok(())
    }

    /// The limiter, made now if nobody did before. The settings have been validated.
    pub(super) fn limiter(&self) -> Result<Limiter, ConfigError> {
        match &self.plan {
            Plan::Given(limiter) => Ok(limiter.clone()),
            Plan::Build(builder, built) => {
                if let Some(limiter) = built.get() {
                    return Ok(limiter.clone());
                }
                let limiter = builder.clone().build()?;
                Ok(built.get_or_init(|| limiter).clone())
            }
        }
    }

    /// Whose bucket. `Err(None)` where somebody has to be asked first.
    #[inline]
    pub(super) fn key<'a>(&self, head: Head<'a>) -> Result<Key<'a>, Option<NoKey>> {
        match &self.parts[..] {
            [] => Ok(Key::Everyone),
            [one] => one.read(head).ok_or(None)?.map_err(Some),
            several => {
                let read = |part: &Part| part.read(head).ok_or(None)?.map_err(Some);
                several
                    .iter()
                    .map(read)
                    .collect::<Result<_, _>>()
                    .map(Key::All)
            }
        }
    }

    /// The addresses of a key, as lists are asked them.
    #[inline]
    pub(super) fn addresses(&self, head: Head<'_>) -> Vec<IpAddr> {
        if self.allow.is_none() && self.deny.is_none() {
            return Vec::new();
        }
        let exactly = |part: &Part| match part {
            Part::Address(rule) => rule.exactly(peer(head.extensions), head.headers),
            _ => None,
        };
        self.parts.iter().filter_map(exactly).collect()
    }

    /// The parts of the key, from those who have to be asked as well.
    pub(super) fn ask(&self, parts: &request::Parts) -> Vec<Asking> {
        let ask = |part: &Part| match part {
            Part::Asked(ask) => Asking::Asked(ask(parts)),
            other => {
                let read = other.read(Head::whole(parts));
                Asking::Known(read.unwrap_or(Err(NoKey::NoName)).map(Key::into_owned))
            }
        };
        self.parts.iter().map(ask).collect()
    }

    pub(super) fn asks(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Asked(_)))
    }

    /// Whether one of its functions is given the whole head.
    pub(super) fn needs_parts(&self) -> bool {
        self.cost_by.is_some() || self.parts.iter().any(Part::needs_parts)
    }

    #[inline]
    pub(super) fn cost_of(&self, head: Head<'_>) -> u64 {
        match (&self.cost_by, head.parts) {
            (Some(cost), Some(parts)) => cost(parts),
            _ => self.cost,
        }
    }

    /// What to do without a key: a key after all, nothing, or a refusal.
    #[cold]
    pub(super) fn without(
        &self,
        why: NoKey,
        head: Head<'_>,
    ) -> Result<Whose<'static>, Option<StatusCode>> {
        let missing = self.missing.unwrap_or(match why {
            // Not the client's fault.
            NoKey::NoPeer => Missing::Refuse(StatusCode::INTERNAL_SERVER_ERROR),
            NoKey::NoName => Missing::Refuse(StatusCode::BAD_REQUEST),
        });
        if why == NoKey::NoPeer && missing != Missing::Skip {
            tell_of_connect_info();
        }
        match missing {
            Missing::Skip => Err(None),
            Missing::Refuse(status) => Err(Some(status)),
            Missing::PeerIp => {
                let rule = ClientAddress::peer();
                let peer = peer(head.extensions);
                let Some(found) = rule.find(peer, head.headers) else {
                    tell_of_connect_info();
                    return Err(Some(StatusCode::INTERNAL_SERVER_ERROR));
                };
                Ok(Whose {
                    key: Key::Address(found),
                    addresses: peer.into_iter().collect(),
                })
            }
        }
    }
}

/// A part of a key that is known, or being asked for.
pub(super) enum Asking {
    Known(Result<Key<'static>, NoKey>),
    Asked(Naming),
}

/// The key, once all parts are known.
pub(super) async fn answered(asking: Vec<Asking>) -> Result<Key<'static>, NoKey> {
    let mut parts = Vec::with_capacity(asking.len());
    for part in asking {
        parts.push(match part {
            Asking::Known(key) => key?,
            Asking::Asked(naming) => named(naming.await.map(|name| name.map(Into::into)))?,
        });
    }
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => Ok(Key::All(parts)),
    }
}

fn tell_of_connect_info() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    TOLD.call_once(|| {
        tracing::error!(
            "limiting by address, and the requests carry none: serve with \
             `app.into_make_service_with_connect_info::<SocketAddr>()`, or put a `larder::limit::PeerAddr` into \
             their extensions, or write `.when_missing(Missing::Skip)`"
        );
    });
}
