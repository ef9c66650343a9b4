//! A counting origin, requests in one line, and answers that are easy to ask about.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use larder::{Cache, CacheLayer, ManualClock};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A cache whose clock stands still until it is moved.
pub fn cache() -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    (
        Cache::builder().clock(clock.clock()).build().unwrap(),
        clock,
    )
}

type Handler = Arc<dyn Fn(Request<Full<Bytes>>) -> Answering + Send + Sync>;
pub type Answering = Pin<Box<dyn Future<Output = Response<TestBody>> + Send>>;

/// An inner service that counts its calls and does what the test says.
#[derive(Clone)]
pub struct Origin {
    handler: Handler,
    calls: Arc<AtomicUsize>,
}

impl Origin {
    /// Answers at once.
    pub fn new(
        handler: impl Fn(&Request<Full<Bytes>>) -> Response<TestBody> + Send + Sync + 'static,
    ) -> Self {
        Self::later(move |request| {
            let response = handler(&request);
            Box::pin(async move { response })
        })
    }

    /// Answers when its future does.
    pub fn later(
        handler: impl Fn(Request<Full<Bytes>>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        Self {
            handler: Arc::new(handler),
            calls: Arc::default(),
        }
    }

    /// Answers `200` with the number of the call.
    pub fn counting() -> Self {
        Self::with_fields(&[])
    }

    /// Answers `200` with these fields and the number of the call.
    pub fn with_fields(fields: &'static [(&'static str, &'static str)]) -> Self {
        let number = AtomicUsize::new(0);
        Self::new(move |_| {
            let mut response = text(format!(
                "call {}",
                number.fetch_add(1, Ordering::SeqCst) + 1
            ));
            for (name, value) in fields {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
            response
        })
    }

    /// Answers each call when it gets a permit, of which `permits` are there; calls are numbered from
    /// one and answered by `respond`.
    pub fn gated(
        permits: usize,
        respond: impl Fn(usize) -> Response<TestBody> + Send + Sync + 'static,
    ) -> (Self, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(permits));
        let (gate, respond) = (Arc::clone(&permits), Arc::new(respond));
        let number = AtomicUsize::new(0);
        let origin = Self::later(move |_| {
            let (gate, respond) = (Arc::clone(&gate), Arc::clone(&respond));
            let number = number.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                respond(number)
            })
        });
        (origin, permits)
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Full<Bytes>>> for Origin {
    type Response = Response<TestBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = (self.handler)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// A body made of frames that a test lists, each of which may have to be waited for.
pub struct TestBody {
    frames: std::collections::VecDeque<Step>,
    exact: Option<u64>,
}

pub enum Step {
    Data(&'static str),
    Bytes(Bytes),
    Trailers,
    Fail,
    Panic,
    /// Pending until the receiver gets a message.
    Wait(tokio::sync::oneshot::Receiver<()>),
    /// Pending once, and woken at once.
    Yield,
}

/// The body's own error.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for Broken {}

impl TestBody {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            frames: steps.into_iter().collect(),
            exact: None,
        }
    }

    /// A body that says how long it is, truly or not.
    pub fn sized(steps: impl IntoIterator<Item = Step>, exact: u64) -> Self {
        Self {
            exact: Some(exact),
            ..Self::new(steps)
        }
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(step) = self.frames.front_mut() else {
            return Poll::Ready(None);
        };
        match step {
            Step::Wait(gate) => {
                if Pin::new(gate).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.frames.pop_front();
                return self.poll_frame(cx);
            }
            Step::Yield => {
                self.frames.pop_front();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => {}
        }
        let frame = match self.frames.pop_front() {
            Some(Step::Data(text)) => {
                if let Some(exact) = &mut self.exact {
                    *exact = exact.saturating_sub(text.len() as u64);
                }
                Ok(Frame::data(Bytes::from_static(text.as_bytes())))
            }
            Some(Step::Bytes(bytes)) => {
                if let Some(exact) = &mut self.exact {
                    *exact = exact.saturating_sub(bytes.len() as u64);
                }
                Ok(Frame::data(bytes))
            }
            Some(Step::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", "1".parse().unwrap());
                Ok(Frame::trailers(trailers))
            }
            Some(Step::Panic) => panic!("the body panicked, as its test wanted"),
            _ => Err(Broken),
        };
        Poll::Ready(Some(frame))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.exact
            .map_or_else(Default::default, http_body::SizeHint::with_exact)
    }
}

/// `200` with the number of its call.
pub fn numbered(number: usize) -> Response<TestBody> {
    text(format!("call {number}"))
}

/// `200` with a body of known length.
pub fn text(body: impl Into<Bytes>) -> Response<TestBody> {
    let body = body.into();
    let length = body.len() as u64;
    Response::new(TestBody::sized([Step::Bytes(body)], length))
}

/// An empty answer of this status.
pub fn status(code: u16) -> Response<TestBody> {
    let mut response = text("");
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// `GET` with these fields.
pub fn get(uri: &str, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    request("GET", uri, fields, "")
}

pub fn request(
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
    body: &'static str,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// All lines of a field, joined.
    pub fn field(&self, name: &str) -> String {
        let lines: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        lines.join(", ")
    }

    /// What `Cache-Status` says after the cache's name.
    pub fn decision(&self) -> String {
        let field = self.field("cache-status");
        field.strip_prefix("larder; ").unwrap_or(&field).to_owned()
    }

    pub fn is_hit(&self) -> bool {
        self.decision().starts_with("hit")
    }
}

/// Sends a request through the layer and reads the answer. A service is made for each request, as
/// routers do; what they share is in the layer.
pub async fn send<K, S, B>(
    layer: &CacheLayer<K>,
    inner: &S,
    request: Request<Full<Bytes>>,
) -> Answer
where
    CacheLayer<K>: Layer<S>,
    S: Clone,
    <CacheLayer<K> as Layer<S>>::Service:
        Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
    B::Error: std::fmt::Debug,
{
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    read(response).await
}

/// Reads an answer to its end.
pub async fn read<B>(response: Response<B>) -> Answer
where
    B: Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    }
}
