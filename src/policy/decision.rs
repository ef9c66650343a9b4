//! The one enum of outcomes and reasons (RFC 9211).
//!
//! A [`Decision`] says what the cache did with one request. It is written to the `Cache-Status`
//! field, to the `tracing` event and to the counters, so that they can never disagree.

use std::fmt::{self, Write};
use std::time::Duration;

use http::StatusCode;

/// What the cache did with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// A stored response answered and the inner service was not called.
    Hit {
        /// The freshness lifetime that was left, in seconds; negative when stale.
        ttl: i64,
        /// Why the answer is not simply a fresh stored one, if so.
        detail: Option<Reason>,
    },
    /// The inner service was asked, by this request or by one it was collapsed with.
    Forward {
        /// Why the request went forward (RFC 9211 §2.2).
        why: Forward,
        /// The status of the inner service, where the answer sent is another one.
        status: Option<StatusCode>,
        /// Whether the response was stored.
        stored: bool,
        /// Whether the answer is that of another request's call.
        collapsed: bool,
        /// The rule that decided.
        detail: Option<Reason>,
    },
    /// The layer answered by itself: with 504 where the client wants a stored response or none and
    /// there is none, with 400 where the content that keys the request broke off.
    Refused {
        /// The rule that decided.
        detail: Reason,
    },
}

/// Why a request went forward to the inner service (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// The cache was told, or chose, not to handle this request.
    Bypass,
    /// The method's meaning requires the request to be forwarded.
    Method,
    /// No response is stored under this key.
    UriMiss,
    /// A response is stored, but for other values of the fields it varies on.
    VaryMiss,
    /// The stored response was stale or invalidated.
    Stale,
    /// The stored response was fresh, but the request's own directives did not allow it.
    Request,
}

impl Forward {
    /// Whether the cache was asked for a stored response at all.
    pub(crate) const fn was_looked_up(self) -> bool {
        !matches!(self, Self::Bypass | Self::Method)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// The rule behind a decision, as `detail` of `Cache-Status` spells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ #[doc = ""] #[doc = concat!("`detail=", $text, "`")] $name,)+
        }

        impl Reason {
            /// The token that stands in `Cache-Status` and in events.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

reasons! {
    // Requests that are not looked up.
    /// The request carries `Authorization` and nothing in the route covers it, nor says its answer that
    /// it may be shared.
    Authorization => "authorization",
    /// The request carries a cookie that the route neither ignores nor covers.
    Cookie => "cookie",
    /// A `GET` or `HEAD` request with content (RFC 9110 §9.3.1).
    RequestContent => "request-content",
    /// The request asks for a range in a unit other than bytes, or with a method other than `GET` or `HEAD`.
    Range => "range",
    /// The request has a precondition that only the origin can evaluate.
    Precondition => "precondition",
    /// The request asks to switch protocols.
    Upgrade => "upgrade",
    /// The request carries a method override field.
    MethodOverride => "method-override",
    /// The route is per user, and the request has none.
    NoUser => "no-user",
    /// A key function failed.
    KeyError => "key-error",
    /// The key is longer than the limit.
    KeyTooLong => "key-too-long",
    /// The request names its host twice, or in two ways.
    HostConflict => "host-conflict",
    /// The route's own predicate said to leave this request alone.
    Skipped => "skipped",
    /// The content that keys the request is of unknown length or over the limit.
    RequestBodySize => "request-body-size",
    /// The content that keys the request broke off, or is longer than it said; nothing was called.
    RequestBodyBroken => "request-body-broken",
    /// Too many requests already wait for this key.
    TooManyWaiters => "too-many-waiters",
    /// The call that this request waited for took longer than the collapse deadline.
    CollapseTimeout => "collapse-timeout",
    /// The call that this request waited for came to nothing, twice.
    CollapseFailed => "collapse-failed",
    /// The request has `Cache-Control: only-if-cached` and nothing usable is stored.
    OnlyIfCached => "only-if-cached",

    /// The look-up is strict, and nobody could confirm that what is stored still holds.
    Unconfirmed => "unconfirmed",

    // Answers from store.
    /// The response came from the tier that processes share.
    Shared => "shared",
    /// The response is stored for another query, which it says means the same (`No-Vary-Search`).
    NoVarySearch => "no-vary-search",

    // Responses that are not stored.
    /// The request has `Cache-Control: no-store`.
    RequestNoStore => "request-no-store",
    /// The answer to a `HEAD` request is not stored.
    Head => "head",
    /// The handler answered with `NoStore`, or the route's predicate refused the response.
    HandlerNoStore => "handler-no-store",
    /// The response has `no-store`.
    NoStore => "no-store",
    /// The response has `private`.
    Private => "private",
    /// The response has `no-cache`.
    NoCache => "no-cache",
    /// The response sets a cookie.
    SetCookie => "set-cookie",
    /// The status is not one that this route stores.
    Status => "status",
    /// The response has no freshness lifetime left, or none at all.
    NoLifetime => "no-lifetime",
    /// The response varies on everything, or on more fields than the limit.
    Vary => "vary",
    /// The key already has as many variants as the limit.
    TooManyVariants => "too-many-variants",
    /// The response has more tags, or longer ones, than the limit, or a tag could not be made.
    Tags => "tags",
    /// The body is longer than the limit.
    BodyTooLarge => "body-too-large",
    /// The declared length of the body is not a number, or not that of the body.
    ContentLength => "content-length",
    /// The head is longer than the limit.
    HeadTooLarge => "head-too-large",
    /// The response is a stream of events, or asks for incremental delivery.
    EventStream => "event-stream",
    /// The response announces or carries trailers.
    Trailers => "trailers",
    /// The response carries a nonce, which must not be used twice.
    Nonce => "nonce",
    /// An invalidation overtook the response while it was made.
    Overtaken => "overtaken",

    // Answers from store that are not simply fresh.
    /// Stale, within its `stale-while-revalidate` window; a refresh runs.
    StaleWhileRevalidate => "stale-while-revalidate",
    /// Stale, within its `stale-if-error` window; the inner service failed.
    StaleIfError => "stale-if-error",
    /// Stale, and the client said that it takes that (`max-stale`).
    MaxStale => "max-stale",
    /// Fresh, and old enough that this request refreshes it early.
    EarlyRefresh => "early-refresh",
}

impl Decision {
    pub(crate) const fn forward(why: Forward) -> Self {
        Self::Forward {
            why,
            status: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    pub(crate) const fn because(why: Forward, reason: Reason) -> Self {
        Self::Forward {
            why,
            status: None,
            stored: false,
            collapsed: false,
            detail: Some(reason),
        }
    }

    /// Whether a request bypassed the cache although its method is one that is looked up, and nobody
    /// asked to leave it alone.
    pub(crate) const fn was_ours_to_look_up(&self) -> bool {
        matches!(
            self,
            Self::Forward { why: Forward::Bypass, detail: Some(reason), .. }
                if !matches!(reason, Reason::Skipped | Reason::Upgrade)
        )
    }

    /// The rule that decided, where there is more to say than hit or miss.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Hit { detail, .. } | Self::Forward { detail, .. } => *detail,
            Self::Refused { detail } => Some(*detail),
        }
    }

    /// Writes the members of `Cache-Status` that follow the cache's name (RFC 9211 §2).
    pub(crate) fn write_parameters(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Hit { ttl, detail } => {
                write!(out, "; hit; ttl={ttl}")?;
                write_detail(out, *detail)
            }
            Self::Forward {
                why,
                status,
                stored,
                collapsed,
                detail,
            } => {
                write!(out, "; fwd={}", why.as_str())?;
                if let Some(status) = status {
                    write!(out, "; fwd-status={}", status.as_u16())?;
                }
                if *stored {
                    out.write_str("; stored")?;
                }
                if *collapsed {
                    out.write_str("; collapsed")?;
                }
                write_detail(out, *detail)
            }
            // Neither `hit` nor `fwd`: there was no stored response, and nothing was called.
            Self::Refused { detail } => write_detail(out, Some(*detail)),
        }
    }
}

fn write_detail(out: &mut impl Write, detail: Option<Reason>) -> fmt::Result {
    match detail {
        Some(reason) => write!(out, "; detail={}", reason.as_str()),
        None => Ok(()),
    }
}

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const MOST: u64 = 999_999_999_999_999;

/// `remaining` as RFC 9211's `ttl`: whole seconds, negative when `overdue`.
pub(crate) fn ttl_parameter(remaining: Result<Duration, Duration>) -> i64 {
    let signed = |duration: Duration| duration.as_secs().min(MOST).cast_signed();
    match remaining {
        Ok(left) => signed(left),
        Err(overdue) => -signed(overdue).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(decision: Decision) -> String {
        let mut out = String::from("larder");
        decision.write_parameters(&mut out).unwrap();
        out
    }

    #[test]
    fn decisions_are_spelled_as_rfc_9211_says() {
        let rows = [
            (
                Decision::Hit {
                    ttl: 42,
                    detail: None,
                },
                "larder; hit; ttl=42",
            ),
            (
                Decision::Hit {
                    ttl: -3,
                    detail: Some(Reason::StaleWhileRevalidate),
                },
                "larder; hit; ttl=-3; detail=stale-while-revalidate",
            ),
            (Decision::forward(Forward::UriMiss), "larder; fwd=uri-miss"),
            (
                Decision::because(Forward::Bypass, Reason::Authorization),
                "larder; fwd=bypass; detail=authorization",
            ),
            (
                Decision::Forward {
                    why: Forward::Stale,
                    status: Some(StatusCode::BAD_GATEWAY),
                    stored: false,
                    collapsed: true,
                    detail: Some(Reason::StaleIfError),
                },
                "larder; fwd=stale; fwd-status=502; collapsed; detail=stale-if-error",
            ),
            (
                Decision::Refused {
                    detail: Reason::OnlyIfCached,
                },
                "larder; detail=only-if-cached",
            ),
        ];
        for (decision, expected) in rows {
            assert_eq!(rendered(decision), expected);
        }
    }

    #[test]
    fn every_reason_is_a_token_of_its_own() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            let text = reason.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
            assert!(
                Reason::ALL[..i].iter().all(|other| other.as_str() != text),
                "{text} twice"
            );
        }
    }

    #[test]
    fn ttl_is_negative_as_soon_as_the_response_is_stale() {
        assert_eq!(ttl_parameter(Ok(Duration::from_millis(1999))), 1);
        assert_eq!(ttl_parameter(Err(Duration::from_millis(10))), -1);
        assert_eq!(ttl_parameter(Err(Duration::from_secs(7))), -7);
    }

    #[test]
    fn ttl_has_no_more_digits_than_an_integer_of_a_structured_field() {
        let most = 999_999_999_999_999;
        assert_eq!(ttl_parameter(Ok(Duration::MAX)), most);
        assert_eq!(ttl_parameter(Err(Duration::MAX)), -most);
    }
}
