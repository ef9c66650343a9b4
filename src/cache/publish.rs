//! From the head of an answer to a stored response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{response, StatusCode};

use super::collapse::{Leader, Outcome, PumpOffer};
use super::core::Core;
use super::core::Shared;
use super::parts;
use super::search;
use super::stats::Counted;
use crate::clock::Timestamp;
use crate::policy::decision::Reason;
use crate::policy::groups;
use crate::policy::key;
use crate::policy::profile::Profile;
use crate::policy::request::RequestFields;
use crate::policy::stored::{selecting_fields, Common, Fence, Head, StoredResponse};
use crate::policy::storing::is_stored;
use crate::policy::storing::Terms;
use crate::policy::tag::{self, TagHash};
use crate::policy::validation::Asked;
use crate::store::interned;
use crate::store::invalidation::Validity;
use crate::store::near::{Found, Insertion, Worth};
use crate::store::shared::Lease;

/// Everything about a call that its response is stored with, taken before the call.
#[derive(Clone)]
pub(crate) struct Filing {
    pub(crate) core: Arc<Core>,
    pub(crate) key: Arc<[u8]>,
    pub(crate) place: u64,
    pub(crate) fence: Fence,
    /// Implicit tags, then those of the request.
    pub(crate) tags: Vec<TagHash>,
    pub(crate) implicit: usize,
    /// The request's fields: a response may vary on any of them.
    pub(crate) request: HeaderMap,
}

impl Filing {
    /// Files a part of the representation, beside what is filed under the key of the whole.
    pub(crate) fn as_part(&mut self) {
        self.key = key::of_part(&self.key).into();
        self.place = self.core.shared.responses.place(&self.key);
    }

    /// The head as it will be stored, or why it cannot be.
    pub(crate) fn head(
        &mut self,
        response: &response::Parts,
        response_tags: &[String],
        terms: Terms,
    ) -> Result<Head, Reason> {
        let limits = &self.core.shared.limits;
        let mut tags = std::mem::take(&mut self.tags);
        for tag in response_tags {
            if tag.is_empty() || tag.len() > limits.tag_length {
                return Err(Reason::Tags);
            }
            tags.push(TagHash::named(tag));
        }
        if self.core.route.is_rfc9111() {
            let host = tag::host_of(&self.key);
            tags.extend(groups::of_response(host, &response.headers));
        }
        if self.core.route.heeds_no_vary_search() {
            tags.extend(search::tags(&self.key, &response.headers));
        }
        let explicit = &mut tags[self.implicit..];
        explicit.sort_unstable();
        tags.dedup();
        if tags.len() - self.implicit > limits.tags {
            return Err(Reason::Tags);
        }
        let profile = self.core.route.rules.profile;
        let (common, lines) = stored_lines(profile, &response.headers, &terms.withheld);
        let size: usize = lines
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if size > limits.head {
            return Err(Reason::HeadTooLarge);
        }
        Ok(Head {
            status: response.status,
            common,
            lines,
            vary: selecting_fields(&terms.vary, &self.request),
            tags,
            implicit: u8::try_from(self.implicit).unwrap_or(0),
            fence: self.fence,
            times: terms.times,
        })
    }
}

/// The fields that are stored; those in `withheld` are not.
pub(super) fn stored_lines(
    profile: Profile,
    headers: &HeaderMap,
    withheld: &[HeaderName],
) -> (&'static Common, Vec<(HeaderName, HeaderValue)>) {
    let listed: Vec<&str> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim))
        .collect();
    let kept = |name: &HeaderName| is_stored(profile, name, &listed) && !withheld.contains(name);
    let stored = headers.iter().filter(|(name, _)| kept(name));
    interned::split(stored.map(|(name, value)| (name.clone(), value.clone())))
}

/// The response as it was stored, or why it was not, where there is a reason to give.
pub(crate) type Published = Result<Arc<StoredResponse>, Option<Reason>>;

/// A response in the making, with the flight that waits for it.
pub(crate) struct Publication {
    filing: Filing,
    head: Head,
    declared: Option<u64>,
    leader: Option<Leader>,
}

impl Publication {
    pub(crate) fn new(
        filing: Filing,
        head: Head,
        declared: Option<u64>,
        leader: Option<Leader>,
    ) -> Self {
        Self {
            filing,
            head,
            declared,
            leader,
        }
    }

    pub(crate) fn declared_length(&self) -> Option<u64> {
        self.declared
    }

    pub(crate) fn body_limit(&self) -> u64 {
        self.filing.core.route.body_limit
    }

    /// Whether the end of the content may not be the end of the body (RFC 9110 §6.6.2).
    pub(crate) fn announces_trailers(&self) -> bool {
        let mut lines = self.head.lines.iter();
        lines.any(|(name, _)| *name == header::TRAILER)
    }

    pub(crate) fn pump_offer(&self) -> Option<PumpOffer> {
        self.leader.as_ref().map(Leader::pump_offer)
    }

    /// The body is complete: stores the response and hands it to whoever waits.
    pub(crate) fn publish(mut self, body: &[Bytes]) -> Published {
        let lease = self.leader.as_mut().and_then(Leader::take_lease);
        let (outcome, published) = match store(&self.filing, self.head, body, lease) {
            // Each of those who wait has to ask for itself.
            Ok(stored) if stored.times().is_stale_on_arrival() => (Outcome::Unstorable, Ok(stored)),
            Ok(stored) => (Outcome::Published(Arc::clone(&stored)), Ok(stored)),
            Err(reason) => (Outcome::Failed, Err(Some(reason))),
        };
        if let Some(leader) = self.leader {
            leader.finish(outcome);
        }
        published
    }

    /// The body cannot be stored, for a reason that lasts, or because it failed.
    pub(crate) fn abandon(self, reason: Option<Reason>) {
        let Filing { core, place, .. } = &self.filing;
        let outcome = match reason {
            Some(reason) => {
                tracing::debug!(reason = reason.as_str(), "response is not stored");
                core.shared
                    .uncacheable
                    .remember(*place, core.shared.clock.now());
                Outcome::Unstorable
            }
            None => Outcome::Failed,
        };
        if let Some(leader) = self.leader {
            leader.finish(outcome);
        }
    }
}

/// Stores a complete response, unless an invalidation has overtaken it.
fn store(
    filing: &Filing,
    head: Head,
    body: &[Bytes],
    lease: Option<Lease>,
) -> Result<Arc<StoredResponse>, Reason> {
    let shared = &filing.core.shared;
    let stored = StoredResponse::assemble(&filing.key, head, body).ok_or(Reason::BodyTooLarge)?;
    let stored = Arc::new(stored);
    if shared.validity(&stored) == Validity::Hard {
        tracing::debug!(
            reason = Reason::Overtaken.as_str(),
            "response is not stored"
        );
        return Err(Reason::Overtaken);
    }
    let is_part = stored.status() == StatusCode::PARTIAL_CONTENT;
    let joined = is_part.then(|| joined(filing, &stored)).flatten();
    keep(filing, filing.place, joined.as_ref().unwrap_or(&stored))?;
    let now = shared.clock.now();
    if filing.core.route.heeds_no_vary_search() {
        shared.searches.note(shared, &stored, filing.place);
    }
    match stored.times().is_stale_on_arrival() {
        true => shared.uncacheable.remember(filing.place, now),
        false => shared.uncacheable.forget(filing.place),
    }
    // Parts are looked for near alone.
    if let Some(tier) = shared.tier().filter(|_| !is_part) {
        tier.store(&stored, filing.place, now, lease);
    }
    Ok(stored)
}

/// What is kept of a part beside the one that is there: both of them, if they touch. The whole that they may
/// be is kept in its own place, unless a later one lies there already.
fn joined(filing: &Filing, part: &StoredResponse) -> Option<Arc<StoredResponse>> {
    let shared = &filing.core.shared;
    let joined = parts::joined(shared, part, filing.place, &filing.request)?;
    if joined.body_length() > filing.core.route.body_limit {
        return None;
    }
    let joined = Arc::new(joined);
    if joined.status() == StatusCode::PARTIAL_CONTENT {
        return Some(joined);
    }
    let place = shared.responses.place(joined.key());
    let request = RequestFields::read(&filing.request);
    let there = shared.responses.find(place, joined.key(), &request);
    let came = joined.times().response_time;
    if !matches!(there, Found::Response(whole) if whole.times().response_time > came) {
        let _ = keep(filing, place, &joined);
    }
    None
}

/// Keeps a response near.
fn keep(filing: &Filing, place: u64, stored: &Arc<StoredResponse>) -> Result<(), Reason> {
    let shared = &filing.core.shared;
    let now = shared.clock.now();
    let worth = |other: &StoredResponse| worth(shared, other, now);
    match shared.responses.insert(place, Arc::clone(stored), worth) {
        Insertion::Stored => {
            shared.counters.count(Counted::Stored);
            Ok(())
        }
        Insertion::Overtaken => Err(Reason::Overtaken),
        Insertion::TooManyVariants => Err(Reason::TooManyVariants),
        Insertion::TooLarge => Err(Reason::BodyTooLarge),
    }
}

/// What a stored response is still good for.
pub(crate) fn worth(shared: &Shared, stored: &StoredResponse, now: Timestamp) -> Worth {
    let times = stored.times();
    if shared.is_purged(stored) {
        Worth::Nothing
    } else if now < times.fresh_until.plus(times.stale_while_revalidate) {
        Worth::Answers
    } else if now < times.fresh_until.plus(times.stale_if_error) {
        Worth::StandsIn
    } else if Asked::of(Profile::Safe, |name| stored.field(name)).is_some() {
        Worth::Question
    } else {
        Worth::Nothing
    }
}

/// Whether a refusal is about the response, so that the next one will likely be refused too.
pub(crate) fn is_lasting(reason: Reason, status: StatusCode) -> bool {
    let by_request = matches!(
        reason,
        Reason::RequestNoStore | Reason::Authorization | Reason::Head
    ) || status == StatusCode::NOT_MODIFIED;
    !by_request && !status.is_server_error()
}
