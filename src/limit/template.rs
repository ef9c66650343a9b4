//! How answers tell of limits, and the refusal that is always the same but for a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, CONTENT_TYPE, RETRY_AFTER};
use http::{request, Response};

use super::answer::{number, Refusal, PROBLEM};
use crate::clock::Clock;
use crate::header::rate_limit::{lasting, Fields, Profile, Standing, RATELIMIT};

pub(super) type Test = Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>;
pub(super) type Responder = Arc<dyn Fn(&Refusal) -> Response<Bytes> + Send + Sync>;

/// How answers tell of limits, and who is not asked.
#[derive(Clone, Default)]
pub(super) struct Answers {
    pub(super) skip: Vec<Test>,
    pub(super) profile: Profile,
    pub(super) tell_all: bool,
    pub(super) expose: bool,
    pub(super) verdicts: bool,
    pub(super) respond: Option<Responder>,
    pub(super) clock: Clock,
}

/// A refusal by one limit alone, but for the time to wait.
pub(super) struct Template {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Template {
    /// `None` where answers are not always the same.
    pub(super) fn new(answers: &Answers, name: &Arc<str>, fields: &Fields) -> Option<Self> {
        if answers.respond.is_some() || answers.expose || answers.verdicts {
            return None;
        }
        let violated = vec![Arc::clone(name)];
        let wait = Duration::ZERO;
        let refusal = Refusal::QuotaExceeded { violated, wait };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(RETRY_AFTER, number(1));
        if let Some(value) = fields.ratelimit(Standing { left: 0, reset: 1 }) {
            headers.insert(RATELIMIT, value);
        }
        headers.insert(CONTENT_TYPE, PROBLEM);
        fields.append_policy(&mut headers);
        let body = refusal.body();
        let lasting = std::str::from_utf8(&body).ok().and_then(lasting::text);
        Some(Self {
            headers,
            body: lasting.map_or(body, |text| Bytes::from_static(text.as_bytes())),
        })
    }
}
