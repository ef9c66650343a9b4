//! Writing answers: from store, and the fields that every answer gets.

use std::fmt::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::Response;
use http_body::Body;

use super::body::ResponseBody;
use super::service::Core;
use crate::clock::Timestamp;
use crate::header::cache_control::CacheControl;
use crate::policy::decision::Decision;
use crate::policy::stored::StoredResponse;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// An answer from store, for `GET` or (without the content) for `HEAD`.
pub(crate) fn from_store<B: Body>(
    core: &Core,
    stored: &StoredResponse,
    decision: &Decision,
    head_request: bool,
    now: Timestamp,
) -> Response<ResponseBody<B>> {
    let body = if head_request {
        bytes::Bytes::new()
    } else {
        stored.body()
    };
    let mut response = Response::new(ResponseBody::stored(body));
    *response.status_mut() = stored.status();
    let headers = response.headers_mut();
    headers.reserve(stored.lines().len() + 3);
    for (name, value) in stored.lines() {
        headers.append(name.clone(), value.clone());
    }
    if head_request && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, stored.body_length().into());
    }
    headers.insert(
        header::AGE,
        whole_seconds(now.since(stored.times().born).as_secs()),
    );
    settle(core, headers, decision);
    response
}

/// Writes `Cache-Status`, the event and the count of a decision.
pub(crate) fn settle(core: &Core, headers: &mut HeaderMap, decision: &Decision) {
    core.shared.counters.decided(decision);
    trace(core, decision);
    if core.route.cache_status {
        headers.append(CACHE_STATUS, cache_status(&core.shared.name, decision));
    }
}

fn trace(core: &Core, decision: &Decision) {
    tracing::debug!(
        cache = core.shared.name,
        ?decision,
        reason = decision.reason().map(|reason| reason.as_str()),
        "cache decision"
    );
}

fn cache_status(name: &str, decision: &Decision) -> HeaderValue {
    let mut value = Text(Vec::with_capacity(64));
    let written = value
        .write_str(name)
        .and_then(|()| decision.write_parameters(&mut value));
    written.expect("writing to memory cannot fail");
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value.0))
        .expect("the name is a token, and parameters are visible ASCII")
}

struct Text(Vec<u8>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Digits of 000 to 999, so that common ages need no memory of their own.
static DIGITS: [u8; 3000] = {
    let mut digits = [0; 3000];
    let mut n = 0;
    while n < 1000 {
        digits[3 * n] = b'0' + (n / 100) as u8;
        digits[3 * n + 1] = b'0' + (n / 10 % 10) as u8;
        digits[3 * n + 2] = b'0' + (n % 10) as u8;
        n += 1;
    }
    digits
};

fn whole_seconds(seconds: u64) -> HeaderValue {
    let Some(n) = usize::try_from(seconds).ok().filter(|n| *n < 1000) else {
        return HeaderValue::from(seconds.min(1 << 31));
    };
    let leading_zeros = usize::from(n < 100) + usize::from(n < 10);
    match std::str::from_utf8(&DIGITS[3 * n + leading_zeros..3 * n + 3]) {
        Ok(digits) => HeaderValue::from_static(digits),
        Err(_) => HeaderValue::from(seconds),
    }
}

/// What caches downstream are told, where the handler did not tell them (see
/// [`ClientCache`](super::ClientCache)). Answers that belong to one user are `private` in any case.
pub(crate) fn tell_downstream(core: &Core, headers: &mut HeaderMap) {
    let said = [header::CACHE_CONTROL, header::EXPIRES, CDN_CACHE_CONTROL];
    if !said.iter().any(|name| headers.contains_key(name)) {
        headers.insert(header::CACHE_CONTROL, core.default_cache_control.clone());
    } else if core.route.user.is_some() {
        headers.remove(CDN_CACHE_CONTROL);
        make_private(headers);
    }
}

/// Takes a response back from shared caches (RFC 9111 §5.2.2.7).
fn make_private(headers: &mut HeaderMap) {
    let said = CacheControl::parse(headers.get_all(header::CACHE_CONTROL));
    if said.no_store || said.private.is_some() {
        return;
    }
    let field = match (said.max_age, said.no_cache.is_some()) {
        (_, true) | (None, false) if !headers.contains_key(header::EXPIRES) => {
            HeaderValue::from_static("private, no-cache")
        }
        (Some(seconds), false) => HeaderValue::try_from(format!("private, max-age={seconds}"))
            .expect("directives and digits are visible ASCII"),
        _ => HeaderValue::from_static("private"),
    };
    headers.insert(header::CACHE_CONTROL, field);
}

/// Adds the route's own fields to `Vary`.
pub(crate) fn tell_vary(core: &Core, headers: &mut HeaderMap) {
    for field in &core.route.vary_on {
        headers.append(header::VARY, HeaderValue::from(field.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::whole_seconds;

    #[test]
    fn ages_are_whole_seconds_without_leading_zeros() {
        for seconds in (0..1200).chain([86_400, 1 << 40]) {
            let expected = seconds.min(1 << 31).to_string();
            assert_eq!(whole_seconds(seconds).to_str().unwrap(), expected);
        }
    }
}
