//! Fresh, stale but allowed, or not to be used (RFC 9111 §4).

use std::time::Duration;

use super::stored::Times;
use crate::clock::Timestamp;
use crate::header::cache_control::{CacheControl, MaxStale};

/// How far into the future a stored response may lie before it counts as another clock's nonsense.
const SKEW: Duration = Duration::from_secs(5);

/// Whether a stored response may answer a request, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Fresh for this much longer.
    Fresh { left: Duration },
    /// Stale for this long; usable at once only with an allowance.
    Stale {
        overdue: Duration,
        allowance: Option<Allowance>,
    },
    /// The request's own directives do not take it, fresh or stale as it is.
    Refused { fresh: bool },
    /// The clock was set back since it was stored: its age is unknown.
    FromTheFuture,
}

/// What allows a stale response to answer (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    WhileRevalidate,
    MaxStale,
}

/// Whether a stored response may answer (RFC 9111 §4), as of `now`. `softly_invalid` means that it
/// was marked stale ahead of its time.
#[inline]
pub(crate) fn reuse(
    times: &Times,
    request: Option<&CacheControl>,
    softly_invalid: bool,
    now: Timestamp,
) -> Reuse {
    if times.response_time > now.plus(SKEW) {
        return Reuse::FromTheFuture;
    }
    let fresh = now < times.fresh_until && !softly_invalid;
    if request.is_some_and(|request| refuses(request, times, fresh, now)) {
        return Reuse::Refused { fresh };
    }
    if fresh {
        return Reuse::Fresh {
            left: times.fresh_until.since(now),
        };
    }
    let overdue = now.since(times.fresh_until);
    let allowance = if overdue < times.stale_while_revalidate {
        Some(Allowance::WhileRevalidate)
    } else if !softly_invalid && request.is_some_and(|request| takes_stale(request, times, overdue))
    {
        Some(Allowance::MaxStale)
    } else {
        None
    };
    Reuse::Stale { overdue, allowance }
}

/// Whether a stale response may stand in for a failed call (RFC 5861 §4).
pub(crate) fn usable_on_error(times: &Times, now: Timestamp) -> bool {
    now.since(times.fresh_until) < times.stale_if_error
}

/// Whether this request should refresh a response that is still fresh, so that nobody has to wait
/// when it expires. `fraction` of the lifetime before its end is the window; `jitter` (any hash of
/// the response) moves its start, so that responses stored together are not refreshed together.
pub(crate) fn refreshes_early(times: &Times, fraction: f32, jitter: u64, now: Timestamp) -> bool {
    let lifetime = times.fresh_until.since(times.response_time);
    let window = lifetime.mul_f32(fraction);
    // Between half of the window and all of it.
    let share = 0.5 + (jitter % 1024) as f32 / 2048.0;
    now < times.fresh_until && times.fresh_until.since(now) < window.mul_f32(share)
}

/// `no-cache`, `max-age` and `min-fresh` of the request (RFC 9111 §5.2.1). Who names the greatest age
/// wants nothing stale, unless `max-stale` says so too; who names a freshness never does.
fn refuses(request: &CacheControl, times: &Times, fresh: bool, now: Timestamp) -> bool {
    let age = now.since(times.born);
    let left = times.fresh_until.since(now);
    let too_old = |limit: u64| match request.max_stale {
        Some(MaxStale::Any) => false,
        Some(MaxStale::Seconds(_)) => age > Duration::from_secs(limit),
        None => !fresh || age > Duration::from_secs(limit),
    };
    let too_short = |wanted: u64| !fresh || left < Duration::from_secs(wanted);
    request.no_cache.is_some()
        || request.max_age.is_some_and(too_old)
        || request.min_fresh.is_some_and(too_short)
}

/// `max-stale` of the request (RFC 9111 §5.2.1.2), within the windows that the response or the route
/// opened: a ttl is a promise about how old an answer may be, and a client cannot loosen it.
fn takes_stale(request: &CacheControl, times: &Times, overdue: Duration) -> bool {
    let open = overdue < times.stale_while_revalidate.max(times.stale_if_error);
    open && match request.max_stale {
        Some(MaxStale::Any) => true,
        Some(MaxStale::Seconds(limit)) => overdue <= Duration::from_secs(limit),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const STORED: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    /// Stored with age 10, fresh for 60 s, then 20 s while refreshing and 100 s on errors.
    fn times() -> Times {
        Times {
            response_time: STORED,
            born: STORED.minus(Duration::from_secs(10)),
            fresh_until: STORED.plus(Duration::from_secs(60)),
            stale_while_revalidate: Duration::from_secs(20),
            stale_if_error: Duration::from_secs(100),
        }
    }

    fn after(secs: u64) -> Timestamp {
        STORED.plus(Duration::from_secs(secs))
    }

    #[test]
    fn freshness_ends_to_the_millisecond_and_stale_use_needs_an_allowance() {
        let rows = [
            (
                59_999,
                "",
                Reuse::Fresh {
                    left: Duration::from_millis(1),
                },
            ),
            (60_000, "", stale(0, Some(Allowance::WhileRevalidate))),
            (79_999, "", stale(19_999, Some(Allowance::WhileRevalidate))),
            (80_000, "", stale(20_000, None)),
            (
                80_000,
                "max-stale",
                stale(20_000, Some(Allowance::MaxStale)),
            ),
            (80_000, "max-stale=19", stale(20_000, None)),
            (
                80_000,
                "max-stale=20",
                stale(20_000, Some(Allowance::MaxStale)),
            ),
            (160_000, "max-stale", stale(100_000, None)),
            (0, "no-cache", Reuse::Refused { fresh: true }),
            (60_000, "no-cache", Reuse::Refused { fresh: false }),
            (0, "max-age=9", Reuse::Refused { fresh: true }),
            (
                0,
                "max-age=10",
                Reuse::Fresh {
                    left: Duration::from_secs(60),
                },
            ),
            (
                30_000,
                "min-fresh=30",
                Reuse::Fresh {
                    left: Duration::from_secs(30),
                },
            ),
            (30_000, "min-fresh=31", Reuse::Refused { fresh: true }),
            // In the window, but not for those who ask for something fresh.
            (60_000, "max-age=70", Reuse::Refused { fresh: false }),
            (60_000, "min-fresh=0", Reuse::Refused { fresh: false }),
            (
                60_000,
                "max-age=70, max-stale=1",
                stale(0, Some(Allowance::WhileRevalidate)),
            ),
        ];
        for (millis, request, expected) in rows {
            let line = HeaderValue::from_static(request);
            let parsed = CacheControl::parse([&line]);
            let now = STORED.plus(Duration::from_millis(millis));
            assert_eq!(
                reuse(&times(), Some(&parsed), false, now),
                expected,
                "{millis} {request}"
            );
        }
    }

    fn stale(overdue: u64, allowance: Option<Allowance>) -> Reuse {
        Reuse::Stale {
            overdue: Duration::from_millis(overdue),
            allowance,
        }
    }

    #[test]
    fn a_softly_invalid_response_is_stale_ahead_of_its_time() {
        let marked = reuse(&times(), None, true, after(1));
        assert_eq!(marked, stale(0, Some(Allowance::WhileRevalidate)));
        let closed = Times {
            stale_while_revalidate: Duration::ZERO,
            ..times()
        };
        assert_eq!(reuse(&closed, None, true, after(1)), stale(0, None));
    }

    #[test]
    fn a_response_from_the_future_is_not_used() {
        let before = STORED.minus(Duration::from_secs(6));
        assert_eq!(reuse(&times(), None, false, before), Reuse::FromTheFuture);
        assert!(matches!(
            reuse(&times(), None, false, STORED.minus(SKEW)),
            Reuse::Fresh { .. }
        ));
    }

    #[test]
    fn early_refresh_starts_at_different_moments_for_different_responses() {
        // The window is a tenth of a minute: six seconds at most, three at least.
        for jitter in [0, 511, 1023] {
            assert!(
                !refreshes_early(&times(), 0.1, jitter, after(53)),
                "{jitter}"
            );
            assert!(
                refreshes_early(&times(), 0.1, jitter, after(58)),
                "{jitter}"
            );
            assert!(
                !refreshes_early(&times(), 0.1, jitter, after(60)),
                "{jitter}"
            );
        }
        assert!(!refreshes_early(&times(), 0.1, 0, after(55)));
        assert!(refreshes_early(&times(), 0.1, 1023, after(55)));
    }
}
