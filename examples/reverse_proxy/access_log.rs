//! The log of requests: a line for each on standard output.

use std::io::Write;

use hyper::header::{HeaderName, CONTENT_LENGTH};
use hyper::Response;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// One line: method, target, status, length, and what the cache did.
pub(crate) fn tell<B>(asked: &str, response: &Response<B>) {
    // The last line of a field is the nearest: origins may have caches of their own (RFC 9211 §2).
    let field = |name: HeaderName| {
        let value = response.headers().get_all(name).iter().next_back();
        value.and_then(|value| value.to_str().ok()).unwrap_or("-")
    };
    let status = response.status().as_u16();
    let (length, cache) = (field(CONTENT_LENGTH), field(CACHE_STATUS));
    // Whoever read the log may have gone, and answers go on.
    let _ = writeln!(std::io::stdout(), "{asked} {status} {length} {cache}");
}
