//! `RateLimit` and `RateLimit-Policy`, and what came before them: written, never read.
//!
//! The draft (draft-ietf-httpapi-ratelimit-headers) still moves, so each of its shapes is a [`Profile`], and nothing
//! outside this file knows how a field looks.

pub(crate) mod lasting;

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::lasting::Told;

pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const DRAFT_6: [&str; 3] = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
const X_RATELIMIT: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// The longest name of a policy.
pub(crate) const MAX_NAME: usize = 64;

/// In which fields answers tell what is left.
///
/// | profile | fields |
/// | --- | --- |
/// | `Draft` | `RateLimit-Policy: "default";q=120;w=60` and `RateLimit: "default";r=119;t=1` |
/// | `Draft7` | `RateLimit-Policy: 120;w=60` and `RateLimit: limit=120, remaining=119, reset=1` |
/// | `Draft6` | `RateLimit-Policy: 120;w=60` and `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` |
/// | `XRateLimit` | `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset` in seconds from now |
/// | `XRateLimitEpoch` | the same, the reset in seconds since 1970 |
/// | `None` | none; refusals still have `Retry-After` |
///
/// Seconds are rounded up. `t` or `reset` is when the bucket is full again, and in a refusal the same as
/// `Retry-After`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Since draft 8: named policies, structured fields.
    #[default]
    Draft,
    /// Draft 7: one dictionary.
    Draft7,
    /// Drafts 0 to 6: three fields.
    Draft6,
    /// What many services sent before there was a draft.
    XRateLimit,
    /// The same with a date.
    XRateLimitEpoch,
    /// Nothing is told.
    None,
}

/// The fields of one limit, as far as they can be written beforehand.
#[derive(Debug)]
pub(crate) struct Fields {
    profile: Profile,
    /// `"name";r=`, or as much of another profile's field.
    before: Box<[u8]>,
    limit: HeaderValue,
    policy: HeaderValue,
    /// Both fields as they were told before, in the profiles that have two.
    told: Option<lasting::Table>,
}

/// How a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) left: u64,
    /// Seconds.
    pub(crate) reset: u64,
}

impl Fields {
    /// Those of a quota of `capacity` tokens that is refilled in `window`. The name is visible ASCII without
    /// quotes and backslashes.
    pub(crate) fn new(profile: Profile, name: &str, capacity: u64, window: Duration) -> Self {
        let window = seconds(window).max(1);
        let policy = match profile {
            Profile::Draft => format!("\"{name}\";q={capacity};w={window}"),
            _ => format!("{capacity};w={window}"),
        };
        let before = match profile {
            Profile::Draft => format!("\"{name}\";r="),
            _ => format!("limit={capacity}, remaining="),
        };
        let has_two = matches!(profile, Profile::Draft | Profile::Draft7);
        Self {
            profile,
            before: before.into_bytes().into(),
            limit: HeaderValue::from(capacity),
            policy: match lasting::text(&policy) {
                Some(text) => HeaderValue::from_static(text),
                None => {
                    HeaderValue::try_from(policy).expect("a checked name and digits are visible")
                }
            },
            told: has_two.then(lasting::Table::default),
        }
    }

    /// All fields of a bucket that stands so, if they were written before or can be kept now.
    #[inline]
    pub(crate) fn told(&self, standing: Standing) -> Option<&'static Told> {
        self.told.as_ref()?.find(standing, self)
    }

    /// Appends what stands fast: behind what layers further in have said, not in its place.
    #[inline]
    pub(crate) fn append_policy(&self, headers: &mut HeaderMap) {
        match self.profile {
            Profile::Draft | Profile::Draft7 | Profile::Draft6 => {
                headers.append(POLICY, self.policy.clone());
            }
            Profile::XRateLimit | Profile::XRateLimitEpoch | Profile::None => {}
        }
    }

    /// Appends how a bucket stands. `epoch` is now, in seconds since 1970.
    #[inline]
    pub(crate) fn append_standing(
        &self,
        headers: &mut HeaderMap,
        standing: Standing,
        epoch: impl FnOnce() -> u64,
    ) {
        let Standing { left, reset } = standing;
        if let Some(value) = self.ratelimit(standing) {
            headers.append(RATELIMIT, value);
            return;
        }
        match self.profile {
            Profile::Draft | Profile::Draft7 => {}
            Profile::Draft6 => self.three(headers, DRAFT_6, left, reset),
            Profile::XRateLimit => self.three(headers, X_RATELIMIT, left, reset),
            Profile::XRateLimitEpoch => {
                self.three(headers, X_RATELIMIT, left, reset.saturating_add(epoch()));
            }
            Profile::None => {}
        }
    }

    /// `RateLimit`, in the profiles that have it.
    #[inline]
    pub(crate) fn ratelimit(&self, standing: Standing) -> Option<HeaderValue> {
        let Standing { left, reset } = standing;
        match self.profile {
            Profile::Draft => Some(self.joined(left, b";t=", reset)),
            Profile::Draft7 => Some(self.joined(left, b", reset=", reset)),
            _ => None,
        }
    }

    fn joined(&self, left: u64, between: &[u8], reset: u64) -> HeaderValue {
        let mut text = [0; MAX_NAME + 80];
        let mut length = 0;
        let mut write = |bytes: &[u8]| {
            text[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        write(&self.before);
        write(Digits::of(left).as_bytes());
        write(between);
        write(Digits::of(reset).as_bytes());
        HeaderValue::from_bytes(&text[..length]).expect("a checked name and digits are visible")
    }

    /// Single values: those of a layer further in stay if they are tighter.
    fn three(&self, headers: &mut HeaderMap, names: [&'static str; 3], left: u64, reset: u64) {
        let [limit, remaining, until] = names.map(HeaderName::from_static);
        let inner = headers
            .get(&remaining)
            .and_then(|inner| inner.to_str().ok());
        let inner: Option<u64> = inner.and_then(|inner| inner.parse().ok());
        if inner.is_some_and(|inner| inner <= left) {
            return;
        }
        headers.insert(limit, self.limit.clone());
        headers.insert(remaining, HeaderValue::from(left));
        headers.insert(until, HeaderValue::from(reset));
    }

    /// The names of the fields, for `Access-Control-Expose-Headers`.
    pub(crate) const fn names(profile: Profile) -> &'static str {
        match profile {
            Profile::Draft | Profile::Draft7 => "RateLimit, RateLimit-Policy, Retry-After",
            Profile::Draft6 => {
                "RateLimit-Policy, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
            }
            Profile::XRateLimit | Profile::XRateLimitEpoch => {
                "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
            }
            Profile::None => "Retry-After",
        }
    }
}

/// Whether this can be the name of a policy: visible ASCII that needs no escape in a structured string
/// (RFC 9651 §3.3.3).
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(fits)
}

/// Whole seconds, rounded up: whoever waits so long has waited long enough.
#[inline]
pub(crate) const fn seconds(time: Duration) -> u64 {
    let more = if time.subsec_nanos() > 0 { 1 } else { 0 };
    time.as_secs().saturating_add(more)
}

/// A number in decimal, without a call of the formatting machinery.
pub(crate) struct Digits {
    text: [u8; 20],
    start: usize,
}

impl Digits {
    #[inline]
    pub(crate) fn of(mut number: u64) -> Self {
        let mut text = [b'0'; 20];
        let mut start = 20;
        loop {
            start -= 1;
            text[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                return Self { text, start };
            }
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}
