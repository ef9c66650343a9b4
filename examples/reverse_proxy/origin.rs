//! What is behind the cache: the origin, asked over HTTP/1.1.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, HeaderValue, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, VIA};
use hyper::http::uri::{Authority, Parts, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower::Service;

use crate::content::Upload;
use crate::problem::Problem;
use crate::{hop_by_hop, upgrade};

/// Content that came from the origin, or says why there is none.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// A service that asks the origin, once per request. It never fails: what goes wrong is a 502 or a
/// 504, so that the cache may answer with a stale response in its place.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Asking>);

struct Asking {
    client: Client<HttpConnector, Upload>,
    authority: Authority,
    patience: Duration,
}

impl Origin {
    /// `patience`: how long it may take from the end of a request to the head of its answer.
    pub(crate) fn new(authority: Authority, patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Servers close idle connections after five seconds or more. A request that meets the
            // close on its way is lost, so they are not kept for as long.
            .pool_idle_timeout(Duration::from_secs(4))
            // This sends again only what was never written: the pooled connection had gone before.
            // What was written may have been acted on, so it is never sent twice, though RFC 9110
            // §9.2.2 would allow it for idempotent methods.
            .retry_canceled_requests(true)
            // Host is forwarded as it came.
            .set_host(false)
            .build(connector);
        Self(Arc::new(Asking {
            client,
            authority,
            patience,
        }))
    }

    async fn forward(self, request: Request<Upload>) -> Response<Body> {
        match self.0.exchange(request).await {
            Ok(response) => response.map(Either::Left),
            Err(problem) => problem.into_response().map(Either::Right),
        }
    }
}

impl Asking {
    async fn exchange(&self, request: Request<Upload>) -> Result<Response<Incoming>, Problem> {
        let upgrades = request.headers().contains_key(UPGRADE);
        let (request, uploading) = self.outbound(request)?;
        let mut answer = self.client.request(request);
        let response = self.await_head(&mut answer, &uploading).await?;
        inbound(response, upgrades)
    }

    /// Waits for the head of the answer, for as long as content goes out, and `patience` beyond.
    async fn await_head(
        &self,
        answer: &mut ResponseFuture,
        uploading: &AtomicBool,
    ) -> Result<Response<Incoming>, Problem> {
        loop {
            match timeout(self.patience, &mut *answer).await {
                Ok(answered) => return answered.map_err(|failure| Problem::of(&failure)),
                Err(_) if uploading.swap(false, Ordering::Relaxed) => {}
                Err(_) => return Err(Problem::timeout()),
            }
        }
    }

    /// A request as it goes out, and whether some of its content did since that was last asked.
    fn outbound(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Request<Upload>, Arc<AtomicBool>), Problem> {
        let mut target = Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        target.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(target)
            .map_err(|_| Problem::bad_request("the target of the request has no path"))?;
        let received = request.version();
        append_via(request.headers_mut(), received);
        *request.version_mut() = Version::HTTP_11;
        say_that_content_comes(&mut request);
        let uploading = request.body_mut().watch();
        if let Some(informed) = request.body_mut().take_informed() {
            hyper::ext::on_informational(&mut request, move |head| {
                informed.send(head.status(), head.headers());
            });
        }
        Ok((request, uploading))
    }
}

/// With these methods, hyper would leave out content of which no length is said.
fn say_that_content_comes(request: &mut Request<Upload>) {
    let is_left_out = matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && !request.headers().contains_key(CONTENT_LENGTH);
    if is_left_out {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

/// An answer as the cache, and the client, may see it.
fn inbound(
    mut response: Response<Incoming>,
    upgrades: bool,
) -> Result<Response<Incoming>, Problem> {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !upgrades {
        return Err(Problem::broken("the origin changes the protocol unasked"));
    }
    let version = response.version();
    let headers = response.headers_mut();
    hop_by_hop::settle_framing(headers)
        .map_err(|_| Problem::broken("the origin's answer has no certain length"))?;
    let protocol = headers.get(UPGRADE).filter(|_| switches).cloned();
    hop_by_hop::remove(headers);
    if let Some(protocol) = protocol {
        upgrade::offer(headers, protocol);
    }
    append_via(headers, version);
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// Adds this proxy to those a message came through (RFC 9110 §7.6.3): the version is the one it was
/// received in.
fn append_via(headers: &mut HeaderMap, received: Version) {
    let via = match received {
        Version::HTTP_2 => "2 larder",
        Version::HTTP_10 => "1.0 larder",
        _ => "1.1 larder",
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

impl Service<Request<Upload>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Upload>) -> Self::Future {
        let answer = self.clone().forward(request);
        Box::pin(async { Ok(answer.await) })
    }
}
