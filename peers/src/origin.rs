//! The inner service under every cache, and the requests sent through it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    HeaderMap, HeaderValue, ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, HOST, VARY,
};
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{service_fn, Service};

/// The fields of the answer whose hit is timed.
pub const FIELDS: [(http::HeaderName, &str); 3] = [
    (CONTENT_TYPE, "application/json"),
    (VARY, "accept-encoding"),
    (CACHE_CONTROL, "public, max-age=3600"),
];

/// What is done for each request that no cache answered.
///
/// Handed about as `&'static`: some caches clone the inner service on every hit, and that clone shall cost nothing here.
pub struct Origin {
    fields: HeaderMap,
    body: Bytes,
    work: Work,
}

enum Work {
    /// Clones the prebuilt fields and the prebuilt body: the limit.
    Prebuilt,
    /// Copies the body, as a handler that has just made it would.
    Copied,
    /// Takes 20 ms and is counted.
    Slow(AtomicUsize),
}

impl Origin {
    /// Answers with a prebuilt JSON body of `length` bytes.
    pub fn prebuilt(length: usize) -> &'static Self {
        let fields = FIELDS.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Self::leak(fields.into_iter().collect(), length, Work::Prebuilt)
    }

    /// Answers with a body of its own each time, and with no field but `Content-Type`.
    pub fn copied(length: usize) -> &'static Self {
        let json = HeaderValue::from_static("application/json");
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        Self::leak(fields, length, Work::Copied)
    }

    /// Answers after 20 ms, and counts how often it was asked.
    pub fn slow() -> &'static Self {
        let json = HeaderValue::from_static("application/json");
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        Self::leak(fields, 4096, Work::Slow(AtomicUsize::new(0)))
    }

    fn leak(fields: HeaderMap, length: usize, work: Work) -> &'static Self {
        let body = json(length);
        Box::leak(Box::new(Self { fields, body, work }))
    }

    /// The bytes that every answer carries.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How often a slow origin was asked; 0 for the others, which do not count.
    pub fn calls(&self) -> usize {
        match &self.work {
            Work::Slow(calls) => calls.load(Ordering::Relaxed),
            Work::Prebuilt | Work::Copied => 0,
        }
    }

    /// Does the work for one answer and returns its body.
    pub async fn work(&self) -> Bytes {
        match &self.work {
            Work::Prebuilt => self.body.clone(),
            Work::Copied => Bytes::copy_from_slice(&self.body),
            Work::Slow(calls) => {
                calls.fetch_add(1, Ordering::Relaxed);
                // Boxed so that the timer does not widen the future of the prebuilt answer.
                Box::pin(tokio::time::sleep(Duration::from_millis(20))).await;
                self.body.clone()
            }
        }
    }

    /// The answer to any request.
    pub async fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.work().await));
        *response.headers_mut() = self.fields.clone();
        response
    }

    /// This origin as the service that a cache wraps.
    pub fn service<B: Send + 'static>(
        &'static self,
    ) -> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
           + Clone
           + Send
           + Sync
           + 'static {
        service_fn(move |_request| async move { Ok(self.answer().await) })
    }
}

/// Makes requests that differ in their URI alone.
///
/// A thread wants one of its own: clones of a URI share a reference count, and threads would fight over it.
pub struct Requests {
    uri: Uri,
}

impl Requests {
    /// Requests for one page of posts, the key of every hit.
    pub fn for_one_page() -> Self {
        Self::for_page(0)
    }

    /// Requests for the page of posts that begins at `offset`.
    pub fn for_page(offset: usize) -> Self {
        let uri = format!("/posts?limit=20&offset={offset}");
        let uri = uri.parse().expect("a path and a query of ASCII letters");
        Self { uri }
    }

    /// One request.
    pub fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        let fields = request.headers_mut();
        fields.insert(HOST, HeaderValue::from_static("localhost"));
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        request
    }

    /// `count` requests, made ahead so that making them is not measured.
    pub fn batch(&self, count: usize) -> Vec<Request<Body>> {
        std::iter::repeat_with(|| self.request())
            .take(count)
            .collect()
    }
}

/// A JSON string of exactly `length` bytes.
fn json(length: usize) -> Bytes {
    Bytes::from(format!("\"{}\"", "x".repeat(length - 2)))
}
