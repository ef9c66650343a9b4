//! One request through the proxy: received, answered by the cache or by what is behind it, logged.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderValue, COOKIE, HOST, MAX_FORWARDS, UPGRADE};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use larder::{cache, Cache, CacheLayer, CacheService, Profile};
use tower::{Layer, ServiceExt};

use crate::informational::{self, Interim};
use crate::origin::{self, append_via, Origin};
use crate::problem::Problem;
use crate::{access_log, hop_by_hop, upgrade};

/// Content from the cache or through it, or the proxy's own.
pub(crate) type Body = Either<cache::ResponseBody<origin::Body>, Full<Bytes>>;

#[derive(Clone)]
pub(crate) struct Proxy {
    cached: CacheService<Origin>,
    authority: Authority,
}

impl Proxy {
    pub(crate) fn new(
        cache: &Cache,
        profile: Profile,
        authority: Authority,
        origin: Origin,
    ) -> Self {
        Self {
            cached: cache_layer(cache, profile).layer(origin),
            authority,
        }
    }

    /// Answers one request, and says so on standard output.
    pub(crate) async fn answer(
        self,
        mut request: Request<Incoming>,
        interim: Interim,
    ) -> Result<Response<Body>, Infallible> {
        let asked = format!("{} {}", request.method(), request.uri());
        let mut response = match receive(&mut request, &self.authority) {
            Ok(()) => self.exchange(request, interim).await.map(Either::Left),
            Err(problem) => problem.into_response().map(Either::Right),
        };
        // hyper would write `<none>`.
        if response.status().canonical_reason().is_none() {
            let extensions = response.extensions_mut();
            extensions.get_or_insert_with(|| ReasonPhrase::from_static(b""));
        }
        access_log::tell(&asked, &response);
        Ok(response)
    }

    async fn exchange(
        self,
        mut request: Request<Incoming>,
        interim: Interim,
    ) -> Response<cache::ResponseBody<origin::Body>> {
        let upgrades = request.headers().contains_key(UPGRADE);
        let client = upgrades.then(|| hyper::upgrade::on(&mut request));
        let (sender, heads) = informational::channel();
        // HTTP/1.0 has none (RFC 9110 §15.2), and hyper's HTTP/2 no way to send them.
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(sender);
        }
        let answer = self.cached.oneshot(request);
        let Ok(mut response) = interim.before(answer, heads).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(client) = client {
                upgrade::tunnel(client, hyper::upgrade::on(&mut response));
            }
        }
        response
    }
}

/// What is cached, and how. There are no routes: responses say themselves how long they are fresh.
/// Codings are the origin's, stored as they came.
fn cache_layer(cache: &Cache, profile: Profile) -> CacheLayer {
    cache.layer().codings([]).profile(profile)
}

/// Makes of a request what may be looked up and forwarded, or refuses it.
fn receive(request: &mut Request<Incoming>, origin: &Authority) -> Result<(), Problem> {
    if *request.method() == Method::CONNECT {
        return Err(Problem::not_implemented(
            "this is a reverse proxy: it opens no tunnels",
        ));
    }
    hop_by_hop::settle_framing(request.headers_mut()).map_err(|_| {
        Problem::not_implemented("of the transfer codings, `chunked` is understood, alone")
    })?;
    settle_host(request, origin)?;
    count_forwards(request)?;
    let protocol = upgrade::offered(request);
    let version = request.version();
    let headers = request.headers_mut();
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    hop_by_hop::remove(headers);
    if let Some(protocol) = protocol {
        upgrade::offer(headers, protocol);
    }
    append_via(headers, version);
    Ok(())
}

/// Leaves a request one host, in its field, and a target without (RFC 9112 §3.2): the cache's key and
/// the origin then mean the same, whichever way it was said.
fn settle_host(request: &mut Request<Incoming>, origin: &Authority) -> Result<(), Problem> {
    let field = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let several = request.headers().get_all(HOST).iter().nth(1).is_some();
    let host = match (request.uri().authority(), field) {
        _ if several => return Err(Problem::bad_request("the request has several hosts")),
        // In HTTP/1.1 the target rules, in HTTP/2 they must agree (RFC 9113 §8.3.1).
        (Some(target), Some(field))
            if request.version() == Version::HTTP_2 && target.as_str().as_bytes() != field =>
        {
            return Err(Problem::bad_request("the request has two hosts"));
        }
        (Some(target), _) => target.as_str().as_bytes(),
        (None, Some(field)) => field,
        (None, None) if request.version() == Version::HTTP_10 => origin.as_str().as_bytes(),
        (None, None) => return Err(Problem::bad_request("the request has no host")),
    };
    let invalid = || Problem::bad_request("the host of the request is not one");
    let named = Authority::try_from(host).map_err(|_| invalid())?;
    if named.as_str().contains('@') || named.host().is_empty() {
        return Err(invalid());
    }
    let host = HeaderValue::from_bytes(host).map_err(|_| invalid())?;
    request.headers_mut().insert(HOST, host);
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
    Ok(())
}

/// HTTP/2 may send a line for each cookie, of which HTTP/1.1 makes one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1 {
        let line = HeaderValue::from_bytes(&lines.join(&b"; "[..]));
        headers.insert(
            COOKIE,
            line.expect("the bytes of field values, and two that are allowed"),
        );
    }
}

/// Counts down for the two methods that are asked of proxies on the way (RFC 9110 §7.6.2).
fn count_forwards(request: &mut Request<Incoming>) -> Result<(), Problem> {
    if !matches!(*request.method(), Method::OPTIONS | Method::TRACE) {
        return Ok(());
    }
    let said = request.headers().get(MAX_FORWARDS);
    let Some(left) = said.and_then(|value| value.to_str().ok()?.parse::<u32>().ok()) else {
        return Ok(());
    };
    match left.checked_sub(1) {
        Some(left) => {
            request.headers_mut().insert(MAX_FORWARDS, left.into());
            Ok(())
        }
        None => Err(Problem::not_implemented("the origin was not to be asked")),
    }
}
