//! Asking the tier behind the near one, on behalf of one request.
//!
//! ```text
//!  relaxed ── near ─── (a miss) ──► shared: GET ───────────────► near, answer
//!  strict ─┬─ near ──► shared: does this one hold? ────────────► answer
//!          └─ (a miss) ──► shared: GET, and does it hold? ─────► near, answer
//! ```
//!
//! What is found is judged by the same rules as what is near, and kept near from then on.

use std::sync::Arc;

use http::header::HeaderName;
use http::HeaderMap;

use super::core::Shared;
use super::lookup::{judge, Lookup};
use super::publish::worth;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::Reason;
use crate::policy::request::RequestFields;
use crate::policy::stored::StoredResponse;
use crate::store::invalidation::Validity;
use crate::store::near::Found;
use crate::store::shared::{Asked, Budget, Question, Tier};

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) place: u64,
    pub(crate) key: &'a [u8],
    pub(crate) request: &'a HeaderMap,
    pub(crate) directives: Option<&'a CacheControl>,
    pub(crate) strict: bool,
}

/// What came of it.
pub(crate) enum Word {
    /// A response, although perhaps not a usable one; and what `Cache-Status` says of its origin.
    Found(Lookup, Option<Reason>),
    Nothing,
    /// There is nobody to ask, or no answer: not even what is near may answer a strict look-up.
    Silence,
}

impl Word {
    /// What may answer.
    pub(crate) fn usable(self) -> Option<(Lookup, Option<Reason>)> {
        match self {
            Self::Found(found @ (Lookup::Fresh { .. } | Lookup::Stale { .. }), origin) => {
                Some((found, origin))
            }
            _ => None,
        }
    }
}

impl Wanted<'_> {
    /// Asks for what is near and, if that is nothing, for what is shared.
    pub(crate) async fn ask(self, sample: Option<&StoredResponse>) -> Word {
        let Some(tier) = self.shared.tier() else {
            return Word::Nothing;
        };
        let budget = tier.budget();
        if self.strict {
            match self.confirm_near(tier, &budget).await {
                Word::Found(Lookup::Missing(_), _) | Word::Nothing => {}
                word => return word,
            }
        }
        self.ask_tier(tier, sample, &budget).await
    }

    /// What is near, if the clock itself says that it holds.
    pub(crate) async fn confirm_near(self, tier: &Tier, budget: &Budget) -> Word {
        let near =
            self.shared
                .responses
                .find(self.place, self.key, &RequestFields::read(self.request));
        let Found::Response(stored) = near else {
            return Word::Nothing;
        };
        if self.shared.is_purged(&stored) {
            return Word::Nothing;
        }
        match tier.confirm(&stored, budget).await {
            Some(validity) => Word::Found(self.judge(stored, validity), None),
            None => Word::Silence,
        }
    }

    /// What is shared; it is near afterwards.
    pub(crate) async fn ask_tier(
        self,
        tier: &Tier,
        sample: Option<&StoredResponse>,
        budget: &Budget,
    ) -> Word {
        let vary = sample.map(|sample| sample.vary().iter().map(|field| field.name.clone()));
        let now = self.shared.clock.now();
        let asked = tier.ask(Question {
            place: self.place,
            key: self.key,
            request: self.request,
            vary: vary.map(Iterator::collect::<Arc<[HeaderName]>>),
            now,
            strict: self.strict,
            budget,
        });
        match asked.await {
            Asked::Found(stored, validity) => {
                if !self.is_behind_near(&stored, now) {
                    let worth = |other: &StoredResponse| worth(self.shared, other, now);
                    let near = &self.shared.responses;
                    near.insert(self.place, Arc::clone(&stored), worth);
                }
                Word::Found(self.judge(stored, validity), Some(Reason::Shared))
            }
            Asked::Nothing => Word::Nothing,
            Asked::Silence => Word::Silence,
        }
    }

    /// Whether what is near was made later than what is shared: its own way to Redis was too long, or it
    /// never arrived there.
    fn is_behind_near(self, stored: &StoredResponse, now: Timestamp) -> bool {
        let near =
            self.shared
                .responses
                .find(self.place, self.key, &RequestFields::read(self.request));
        let made = stored.times().response_time;
        matches!(near, Found::Response(near)
            if near.times().response_time > made
                && near.times().response_time <= now
                && !self.shared.is_purged(&near))
    }

    fn judge(self, stored: Arc<StoredResponse>, validity: Validity) -> Lookup {
        judge(stored, validity, self.directives, self.shared.clock.now())
    }
}
