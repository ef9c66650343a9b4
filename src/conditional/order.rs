//! Orders of layers in which this one works in vain. The answers are right in them, so they are told
//! once per process and no more.

use std::sync::Once;

use http::header::{self, HeaderMap};
use http_body::Body;

/// Looks at an answer that is hashed for its tag. One with an `Age` was not made for this request
/// (RFC 9111 §5.1): whoever has kept it has no tag to keep with it, and each hit is hashed again.
pub(super) fn look_at_hashed(headers: &HeaderMap) {
    static TOLD: Once = Once::new();
    if headers.contains_key(header::AGE) {
        TOLD.call_once(|| {
            tracing::warn!(
                "an answer from a cache is hashed for its `ETag`, and so is every hit; put the \
                 `ConditionalLayer` inside the cache: `.layer((cache.layer(), ConditionalLayer::new()))`"
            );
        });
    }
}

/// Looks at a whole answer that gets no tag although it has none. If a coding is all that is known
/// of its length, a compressing layer stands between this one and the handler. (A cache that is
/// just making a coding knows the length the next time.)
pub(super) fn look_at_untagged<B: Body>(headers: &HeaderMap, body: &B) {
    static TOLD: Once = Once::new();
    let is_streamed = headers.contains_key(header::CONTENT_ENCODING)
        && body.size_hint().exact().is_none()
        && !headers.contains_key(header::AGE);
    if is_streamed && !headers.contains_key(header::ETAG) {
        TOLD.call_once(|| {
            tracing::warn!(
                "an answer is encoded before its `ETag` could be made, so no client gets 304 for it; \
                 put the `ConditionalLayer` inside the compressing layer: \
                 `.layer((CompressLayer::new(), ConditionalLayer::new()))`"
            );
        });
    }
}
