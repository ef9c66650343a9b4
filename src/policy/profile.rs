//! How far a cache goes: as far as is safe without a second thought, or as far as RFC 9111 lets it.

/// Whom the answers of a cache may reach (RFC 9111 §1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A shared cache.
    #[default]
    Everybody,
    /// A private cache.
    OneUser,
}

/// What a route's cache may do; the code is the same, and these are all its differences.
///
/// | | [`Safe`](Self::Safe) | [`Rfc9111`](Self::Rfc9111) |
/// | --- | --- | --- |
/// | a request with `Cookie` | bypasses, but for ignored cookies | is looked up |
/// | a request with `Authorization` | bypasses | is looked up, calls by itself; stored with `public`, `must-revalidate` or `s-maxage` (§3.5) |
/// | the query in the key | names in any order | byte for byte |
/// | statuses stored by themselves | 200, 203, 301, 308, 410 | all final ones with an explicit lifetime, but 304, 428, 429, 431, 511 (§3) |
/// | no explicit lifetime, and no ttl | not stored | a tenth of the time since `Last-Modified`, at most a day, for 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501 and whatever is `public` (§4.2.2); else validated each time, where it can be |
/// | 206, one range | not stored | stored; the same range or a part of it is answered from it (§3.3); those that touch and have one strong `ETag` are put together (§3.4) |
/// | `Trailer`, and no trailers behind it | not stored | stored |
/// | `Set-Cookie`, CSP nonces | not stored | stored as they came |
/// | `Retry-After`, `Server-Timing`, request ids | their own client's alone | stored as they came |
/// | `no-cache="field"` | validated each time | stored without that field (§5.2.2.4) |
/// | `private="field"` | not stored | stored without that field (§5.2.2.7) |
/// | `must-understand` with `no-store`, a status HTTP defines | not stored | stored (§5.2.2.3) |
/// | `no-store` or `private`, and a valid `CDN-Cache-Control` without | not stored | `CDN-Cache-Control` rules (RFC 9213 §2.2) |
/// | stale, when the service fails | where the response or the route says so | the same, and for a day where neither speaks, the response was fresh once and is no 5xx |
/// | `max-stale` of a request | within the windows for stale answers | the same, those of the line above included |
/// | a 304 (§3.2) | replaces fields but `Content-Length`, `Content-Encoding`, `Content-Range`, `ETag` | replaces `Content-Encoding` and `Content-Range` too |
/// | an `ETag` that is no entity tag | asks nothing | asks as it is |
/// | 200 to `HEAD`, and a stored answer to `GET` | changes nothing | freshens it where it is about the same content, else removes it (§4.3.5) |
/// | an answer with `no-store` or `private`, where another one is stored | leaves it | removes it from memory |
/// | 200 to `POST` whose `Content-Location` is its target, with an explicit lifetime | not stored | in memory: stored for `GET`, where nothing was invalidated meanwhile (RFC 9110 §9.3.3) |
/// | `Cache-Groups`, `Cache-Group-Invalidation` (RFC 9875) | mean nothing | an answer to an unsafe method invalidates groups of its origin |
/// | `No-Vary-Search` | means nothing, but where the route asks | a fresh response answers every query that it says means the same |
/// | `Cache-Control` for downstream, where the handler is silent | `no-cache` | none |
/// | codings | those of the cache | those that the route names |
/// | `Date`, where there is none | not added | added (RFC 9110 §6.6.1) |
///
/// What a setter of the route says holds in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// For a route of an application, whose handlers need not know what a shared cache would make of
    /// their answers.
    #[default]
    Safe,
    /// All that a shared cache may do (RFC 9111), for an origin that speaks HTTP caching: a reverse
    /// proxy.
    Rfc9111,
}
