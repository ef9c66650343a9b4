//! One request through the proxy: received, answered by the cache or by what is behind it, logged.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderValue, COOKIE, HOST, MAX_FORWARDS, UPGRADE};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use larder::cache::{self, BodyKeyed};
use larder::{Cache, CacheLayer, CacheService, Profile};
use tower::{Layer, ServiceExt};

use crate::access_log::AccessLog;
use crate::content::{Download, Upload};
use crate::informational::Interim;
use crate::origin::{self, Origin};
use crate::problem::Problem;
use crate::{hop_by_hop, upgrade};

/// Content from the cache or through it, or the proxy's own.
pub(crate) type Body = Download<Either<cache::ResponseBody<origin::Body>, Full<Bytes>>>;

pub(crate) struct Proxy {
    cached: CacheService<Origin, BodyKeyed>,
    authority: Authority,
    log: AccessLog,
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
            log: AccessLog::default(),
        }
    }

    /// Answers one request, and says so on standard output.
    pub(crate) async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        interim: Interim,
    ) -> Result<Response<Body>, Infallible> {
        let (method, target) = (request.method().clone(), request.uri().clone());
        let mut response = match receive(&mut request, &self.authority) {
            Ok(()) => {
                let response = self.exchange(request, interim).await;
                response.map(|content| Download::new(Either::Left(content)))
            }
            Err(problem) => {
                let response = problem.into_response();
                response.map(|content| Download::new(Either::Right(content)))
            }
        };
        // hyper would write `<none>`.
        if response.status().canonical_reason().is_none() {
            let extensions = response.extensions_mut();
            extensions.get_or_insert_with(|| ReasonPhrase::from_static(b""));
        }
        self.log.tell(&method, &target, &response);
        Ok(response)
    }

    async fn exchange(
        &self,
        mut request: Request<Incoming>,
        interim: Interim,
    ) -> Response<cache::ResponseBody<origin::Body>> {
        let upgrades = request.headers().contains_key(UPGRADE);
        let client = upgrades.then(|| hyper::upgrade::on(&mut request));
        // HTTP/1.0 has no interim answers (RFC 9110 §15.2), and hyper's HTTP/2 no way to send them.
        let informs = request.version() == Version::HTTP_11;
        let informed = informs.then(|| interim.sender());
        let request = request.map(|content| Upload::new(content, informed));
        let answer = self.cached.clone().oneshot(request);
        let Ok(mut response) = match informs {
            true => interim.before(answer).await,
            false => answer.await,
        };
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
fn cache_layer(cache: &Cache, profile: Profile) -> CacheLayer<BodyKeyed> {
    let layer = cache.layer().codings([]).profile(profile);
    layer.key_query(LONGEST_QUERY)
}

/// The longest content of a QUERY request that is read to be part of the key (RFC 10008 §2.7).
const LONGEST_QUERY: usize = 64 << 10;

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
    let is_http2 = request.version() == Version::HTTP_2;
    let headers = request.headers_mut();
    if is_http2 {
        join_cookies(headers);
    }
    hop_by_hop::remove(headers);
    if let Some(protocol) = protocol {
        upgrade::offer(headers, protocol);
    }
    Ok(())
}

/// Leaves a request one host, in its field, and a target without (RFC 9112 §3.2): the cache's key and
/// the origin then mean the same, whichever way it was said.
fn settle_host(request: &mut Request<Incoming>, origin: &Authority) -> Result<(), Problem> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next().map(HeaderValue::as_bytes);
    let several = fields.next().is_some();
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
    if !is_host(host) {
        return Err(Problem::bad_request("the host of the request is not one"));
    }
    // Nearly always it is said in its place alone.
    if field == Some(host) && request.uri().authority().is_none() {
        return Ok(());
    }
    let host = HeaderValue::from_bytes(host).expect("the characters of an authority");
    request.headers_mut().insert(HOST, host);
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
    Ok(())
}

/// A host, and perhaps a port.
fn is_host(text: &[u8]) -> bool {
    // Most are a name and a port, which is seen without making anything of them.
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let name = text.iter().take_while(|byte| in_name(byte)).count();
    if let (1.., [] | [b':', ..]) = (name, &text[name..]) {
        return text[name..].iter().skip(1).all(u8::is_ascii_digit);
    }
    Authority::try_from(text)
        .is_ok_and(|named| !named.as_str().contains('@') && !named.host().is_empty())
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
