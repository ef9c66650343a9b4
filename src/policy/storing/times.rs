//! How long a response is fresh here, and how long it may answer after that.

use std::time::Duration;

use http::StatusCode;

use super::{has_validator, never_stored, stored_by_default, Exchange, Rules};
use crate::policy::decision::Reason;
use crate::policy::freshness::{heuristic, initial_age, Directives};
use crate::policy::part::Part;
use crate::policy::profile::Profile;
use crate::policy::stored::Times;

/// How long a response may stand in for a failed call, or answer who asks for stale ones, where
/// nobody said and the profile allows it.
const STALE_BY_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetimes of a response, in the order of who speaks first.
struct Lifetimes {
    /// What its own fields come to, from when it was made.
    own: Option<Duration>,
    /// What the route or the handler gives it, from now on.
    ttl: Option<Duration>,
}

/// The earlier end of the route's ttl and the response's own lifetime.
pub(super) fn times(
    rules: &Rules,
    exchange: &Exchange<'_>,
    directives: &Directives,
    validated_each_time: bool,
) -> Result<Times, Reason> {
    let now = exchange.response_time;
    let lifetimes = lifetimes(rules, exchange, directives)?;
    let age = initial_age(exchange.headers, exchange.request_time, now);
    let own = lifetimes.own.map(|own| now.plus(own).minus(age));
    let ttl = lifetimes.ttl.map(|ttl| now.plus(ttl));
    let fresh_until = match (own, ttl) {
        _ if validated_each_time => now,
        (Some(own), Some(ttl)) => own.min(ttl),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return Err(Reason::NoLifetime),
    };
    let window = |said: Option<u64>, route: Option<Duration>| {
        if directives.forbids_stale() {
            return Duration::ZERO;
        }
        said.map(Duration::from_secs).or(route).unwrap_or_default()
    };
    let was_fresh_once = lifetimes.own.is_some_and(|own| !own.is_zero());
    // An error that is stored is no better than the one it would stand in for.
    let stands_in = was_fresh_once && !exchange.status.is_server_error();
    let by_default = rules.profile == Profile::Rfc9111 && stands_in;
    let on_error = rules.stale_if_error;
    let on_error = on_error.or(by_default.then_some(STALE_BY_DEFAULT));
    let ruling = &directives.ruling;
    let times = Times {
        response_time: now,
        born: now.minus(age),
        fresh_until,
        stale_while_revalidate: window(ruling.stale_while_revalidate, rules.stale_while_revalidate),
        stale_if_error: window(ruling.stale_if_error, on_error),
    };
    if times.is_never_used_as_it_is() && !has_validator(rules.profile, exchange.headers) {
        return Err(Reason::NoLifetime);
    }
    Ok(times)
}

fn lifetimes(
    rules: &Rules,
    exchange: &Exchange<'_>,
    directives: &Directives,
) -> Result<Lifetimes, Reason> {
    let (status, now) = (exchange.status, exchange.response_time);
    let explicit = directives.lifetime(exchange.headers, now);
    let listed = rules
        .status_ttl
        .iter()
        .find(|(listed, _)| *listed == status);
    let ttl = match listed {
        Some((_, ttl)) => exchange.handler_ttl.or(Some(*ttl)),
        None if stored_by_default(status) => exchange.handler_ttl.or(rules.ttl),
        None => None,
    };
    let by_route = listed.is_some() || stored_by_default(status);
    if never_stored(status) && !is_a_part(rules, exchange, explicit) {
        return Err(Reason::Status);
    }
    if rules.profile == Profile::Safe {
        let own = explicit;
        return match by_route {
            true => Ok(Lifetimes { own, ttl }),
            false => Err(Reason::Status),
        };
    }
    if explicit.is_some() {
        let ttl = ttl.or(exchange.handler_ttl).or(rules.ttl);
        return Ok(Lifetimes { own: explicit, ttl });
    }
    if !is_heuristically_cacheable(status) && !directives.ruling.public && !by_route {
        return Err(Reason::Status);
    }
    let own = match (heuristic(exchange.headers, now), ttl) {
        // Without any lifetime it may still be asked about.
        (None, None) => Some(Duration::ZERO),
        (own, _) => own,
    };
    Ok(Lifetimes { own, ttl })
}

/// Statuses that may be reused without an explicit lifetime (RFC 9110 §15.1, but for 206).
const fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Whether this is one part of a representation, of a kind that is stored: of known place, and with an
/// explicit lifetime (RFC 9111 §3.3).
fn is_a_part(rules: &Rules, exchange: &Exchange<'_>, explicit: Option<Duration>) -> bool {
    rules.profile == Profile::Rfc9111
        && exchange.status == StatusCode::PARTIAL_CONTENT
        && explicit.is_some()
        && Part::declared(exchange.headers).is_some()
}
