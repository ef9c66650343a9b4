//! The rooms, every order of them, and a handler at the bottom.

use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder::{CompressLayer, ConditionalLayer};
use tower::util::BoxCloneService;
use tower::{service_fn, Layer, Service, ServiceExt};
use tower_http::compression::CompressionLayer;

use crate::codings::text_of;
use crate::support::*;

pub(crate) type Stack =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, String>>, Infallible>;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Room {
    /// Stands for whatever refuses some requests and adds a field to the answers of others.
    Limit,
    Conditional,
    Compress,
    TowerHttp,
    Cache,
}

use Room::*;

/// Some of the rooms, the innermost first.
#[derive(Clone, Debug)]
pub(crate) struct Order(pub(crate) Vec<Room>);

impl Order {
    /// Every subset of the rooms in every order.
    pub(crate) fn all() -> Vec<Self> {
        let mut orders = vec![Self(Vec::new())];
        let mut from = 0;
        while from < orders.len() {
            for room in [Limit, Conditional, Compress, TowerHttp, Cache] {
                if !orders[from].has(room) {
                    let longer = [&orders[from].0[..], &[room]].concat();
                    orders.push(Self(longer));
                }
            }
            from += 1;
        }
        orders
    }

    pub(crate) fn has(&self, room: Room) -> bool {
        self.0.contains(&room)
    }

    /// Whether one room stands around another one.
    pub(crate) fn has_around(&self, outer: Room, inner: Room) -> bool {
        let at = |room| self.0.iter().position(|one| *one == room);
        at(inner).is_some_and(|inner| at(outer) > Some(inner))
    }

    /// Whether clients get codings here.
    pub(crate) fn encodes(&self) -> bool {
        self.has(Cache) || self.has(Compress) || self.has(TowerHttp)
    }

    /// Whether somebody compares what clients hold.
    pub(crate) fn judges(&self) -> bool {
        self.has(Cache) || self.has(Conditional)
    }

    /// Whether no strong tag stands on bytes that tower-http has made of others. A cache around it asks
    /// it for the identity form.
    pub(crate) fn tags_are_true(&self) -> bool {
        !self.has(TowerHttp) || self.has_around(Cache, TowerHttp)
    }

    pub(crate) fn around(&self, cache: &larder::Cache, origin: &Origin) -> Stack {
        let layered = |inner: Stack, room: &Room| match room {
            Limit => limited(inner),
            Conditional => boxed(ConditionalLayer::new().layer(inner)),
            Compress => boxed(CompressLayer::new().layer(inner)),
            TowerHttp => boxed(CompressionLayer::new().layer(inner)),
            Cache => boxed(cache.layer().ttl(MINUTE).layer(inner)),
        };
        self.0.iter().fold(boxed(origin.clone()), layered)
    }
}

/// Erases the types and nothing else: a body still says how long it is.
fn boxed<S, B>(service: S) -> Stack
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + 'static,
{
    let erased = |body: B| body.map_err(|error| error.to_string()).boxed_unsync();
    BoxCloneService::new(service.map_response(move |response| response.map(erased)))
}

/// The field by which a request asks to be refused.
pub(crate) const REFUSED: &str = "x-refused";

fn limited(inner: Stack) -> Stack {
    boxed(service_fn(move |request: Request<Full<Bytes>>| {
        let inner = inner.clone();
        async move {
            if request.headers().contains_key(REFUSED) {
                let refusal = Full::new(Bytes::from_static(b"too many"));
                let refusal = refusal.map_err(|never| match never {}).boxed_unsync();
                let mut refusal = Response::new(refusal);
                *refusal.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
                return Ok(refusal);
            }
            let mut answer = inner.oneshot(request).await?;
            let left = "\"minute\";r=9".parse().unwrap();
            answer.headers_mut().insert("ratelimit", left);
            Ok(answer)
        }
    }))
}

/// How long the handler's answers are: too short for a coding, worth one at once, worth one on a
/// thread of its own.
pub(crate) const LENGTHS: [usize; 3] = [100, 2_000, 70_000];

pub(crate) fn content(length: usize) -> Bytes {
    static LONGEST: LazyLock<Bytes> = LazyLock::new(|| text_of(LENGTHS[2], 1).into());
    LONGEST.slice(..length)
}

/// A handler that answers with as much text as the path says, and without content to `HEAD`. It
/// names what it makes, or leaves that to others.
pub(crate) fn origin(names: bool) -> Origin {
    Origin::new(move |request| {
        let length = request.uri().path()[1..].parse().unwrap();
        let mut response = match request.method().as_str() {
            "HEAD" => text(""),
            _ => text(content(length)),
        };
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("content-length", length.into());
        if names {
            headers.insert("etag", format!("\"{length}\"").parse().unwrap());
        }
        response
    })
}
