//! Answers that are no one's but ours: refusals, and the fields of those that passed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, CONTENT_TYPE, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::header::rate_limit::{seconds, Digits, Standing};
use crate::policy::bucket::{Decision, Quota};

pub(super) const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request was refused, as a [responder](crate::LimitLayer::respond_with) is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A quota is used up (429).
    QuotaExceeded {
        /// The policies that refuse.
        violated: Vec<Arc<str>>,
        /// When all of them would admit, if nobody else asked.
        wait: Duration,
    },
    /// It costs more than a quota holds, so no waiting helps (429, without `Retry-After`).
    TooExpensive {
        /// The policies that it costs too much for.
        violated: Vec<Arc<str>>,
    },
    /// Redis does not answer, and the limiter is set to refuse then (503).
    Unavailable {
        /// The policies that nobody can tell of.
        violated: Vec<Arc<str>>,
        /// When to ask again.
        wait: Duration,
    },
    /// The key is on the deny list (403).
    Denied,
    /// The request does not say who is asking.
    NoKey {
        /// As the limit says for this case.
        status: StatusCode,
    },
}

impl Refusal {
    /// The status that says so.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::QuotaExceeded { .. } | Self::TooExpensive { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NoKey { status } => *status,
        }
    }

    /// Whole seconds, at least 1, after which asking again makes sense.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QuotaExceeded { wait, .. } | Self::Unavailable { wait, .. } => {
                Some(seconds(*wait).max(1))
            }
            Self::TooExpensive { .. } | Self::Denied | Self::NoKey { .. } => None,
        }
    }

    fn violated(&self) -> &[Arc<str>] {
        match self {
            Self::QuotaExceeded { violated, .. }
            | Self::TooExpensive { violated }
            | Self::Unavailable { violated, .. } => violated,
            Self::Denied | Self::NoKey { .. } => &[],
        }
    }

    /// The problem type (RFC 9457), of which the draft registers two, and what it is called.
    const fn problem(&self) -> (&'static str, &'static str) {
        match self {
            Self::QuotaExceeded { .. } => (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Request cannot be satisfied as assigned quota has been exceeded",
            ),
            Self::TooExpensive { .. } => (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Request costs more than its quota ever holds",
            ),
            Self::Unavailable { .. } => (
                "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
                "Request cannot be satisfied due to temporary server capacity constraints",
            ),
            Self::Denied => ("about:blank", "Forbidden"),
            Self::NoKey { .. } => ("about:blank", "Request does not say who is asking"),
        }
    }

    /// `application/problem+json` (RFC 9457).
    pub(super) fn to_response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.reserve(4);
        headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, number(seconds));
        }
        response
    }

    pub(super) fn body(&self) -> Bytes {
        let (kind, title) = self.problem();
        let violated = self.violated();
        let names: usize = violated.iter().map(|name| name.len() + 3).sum();
        let mut body = Vec::with_capacity(kind.len() + title.len() + names + 64);
        let mut write = |text: &str| body.extend_from_slice(text.as_bytes());
        write("{\"type\":\"");
        write(kind);
        write("\",\"title\":\"");
        write(title);
        write("\",\"status\":");
        write(self.status().as_str());
        if !violated.is_empty() {
            write(",\"violated-policies\":[");
            for (n, name) in violated.iter().enumerate() {
                // Names of policies need no escapes.
                write(if n > 0 { ",\"" } else { "\"" });
                write(name);
                write("\"");
            }
            write("]");
        }
        write("}");
        Bytes::from(body)
    }
}

pub(super) fn number(seconds: u64) -> HeaderValue {
    HeaderValue::from_bytes(Digits::of(seconds).as_bytes()).expect("digits are visible")
}

/// What is told of a decision: when the bucket is full again, or, if nothing is left, when there is a token.
#[inline]
pub(super) fn standing(decision: Decision, quota: &Quota) -> Option<Standing> {
    match decision {
        Decision::Admitted { left: 0, full_in } => {
            let others = quota.capacity(quota.tokens().saturating_sub(1));
            let wait = full_in.saturating_sub(others.refill_time());
            Some(Standing {
                left: 0,
                reset: seconds(wait).max(1),
            })
        }
        Decision::Admitted { left, full_in } => Some(Standing {
            left,
            reset: seconds(full_in),
        }),
        Decision::Refused { wait } => Some(Standing {
            left: 0,
            reset: seconds(wait).max(1),
        }),
        Decision::Never | Decision::Unavailable => None,
    }
}
