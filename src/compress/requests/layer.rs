//! [`DecompressLayer`], its service and its future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{Limits, RequestBody, Verdict};
use crate::coding::{self, Coding, Decoder};
use crate::header::list;
use crate::policy::encoding;

/// A [`Layer`] that decodes the content of requests (RFC 9110 §8.4), so that the handler reads it as if
/// it had come without a coding.
///
/// Ten kilobytes can decode to ten gigabytes; so the content is decoded as the handler reads it, a few
/// kilobytes at a time, and what exceeds the limits is answered with 413, whatever the handler makes
/// of the broken body. Content that cannot be decoded is answered with 400, a coding that is not
/// available (or several in a row) with 415 and an `Accept-Encoding` that names those that are
/// (RFC 9110 §15.5.16).
///
/// ```
/// use larder::compress::DecompressLayer;
///
/// let layer = DecompressLayer::new().max_size(1 << 20).max_ratio(50);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DecompressLayer {
    limits: Limits,
}

impl DecompressLayer {
    /// Decodes every coding whose feature is on, within the default limits.
    pub fn new() -> Self {
        Self {
            limits: Limits::default(),
        }
    }

    /// The most bytes that the content of a request may decode to. Default: 8 MiB.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.limits.size = bytes;
        self
    }

    /// How many bytes one byte of content may decode to, on average; counted beyond the first 64 KiB of
    /// what comes out. Default: 200.
    pub fn max_ratio(mut self, ratio: u32) -> Self {
        self.limits.ratio = ratio;
        self
    }
}

impl Default for DecompressLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DecompressLayer {
    type Service = Decompress<S>;

    fn layer(&self, inner: S) -> Decompress<S> {
        Decompress {
            inner,
            limits: self.limits,
        }
    }
}

/// The service of a [`DecompressLayer`].
#[derive(Clone, Debug)]
pub struct Decompress<S> {
    inner: S,
    limits: Limits,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Decompress<S>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<RefusalBody<ResBody>>;
    type Error = S::Error;
    type Future = DecompressFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let coding = match coding_of(&parts.headers) {
            Ok(coding) => coding.filter(|_| !body.is_end_stream()),
            Err(Unknown) => return DecompressFuture::refused(),
        };
        let (body, verdict) = match coding {
            None => (RequestBody::passed(body), None),
            Some(decoder) => {
                parts.headers.remove(header::CONTENT_ENCODING);
                encoding::UNTRUE.iter().for_each(|name| {
                    parts.headers.remove(name);
                });
                let verdict = Arc::new(Verdict::default());
                let body = RequestBody::decoded(body, decoder, self.limits, Arc::clone(&verdict));
                (body, Some(verdict))
            }
        };
        let future = self.inner.call(Request::from_parts(parts, body));
        DecompressFuture {
            stage: Stage::Calling { future, verdict },
        }
    }
}

/// A coding that cannot be undone here.
struct Unknown;

/// What undoes the coding of a request's content, if it has one.
fn coding_of(headers: &HeaderMap) -> Result<Option<Decoder>, Unknown> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = lines
        .flat_map(|line| list::members(line.as_bytes()))
        .filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(None),
        (Some(token), None) => {
            let decoder = Coding::of(token).and_then(Decoder::new);
            decoder.map(Some).ok_or(Unknown)
        }
        (Some(_), Some(_)) => Err(Unknown),
    }
}

pin_project! {
    /// The future of [`Decompress`].
    pub struct DecompressFuture<F> {
        #[pin]
        stage: Stage<F>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        Calling { #[pin] future: F, verdict: Option<Arc<Verdict>> },
        Refused,
    }
}

impl<F> DecompressFuture<F> {
    fn refused() -> Self {
        Self {
            stage: Stage::Refused,
        }
    }
}

impl<F, B, E> Future for DecompressFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<RefusalBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (future, verdict) = match self.project().stage.project() {
            StageProjection::Calling { future, verdict } => (future, verdict),
            StageProjection::Refused => {
                let mut response = refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE);
                let headers = response.headers_mut();
                headers.insert(header::ACCEPT_ENCODING, what_is_accepted());
                return Poll::Ready(Ok(response));
            }
        };
        let answer = ready!(future.poll(cx));
        let refused = verdict.as_ref().and_then(|verdict| verdict.status());
        Poll::Ready(match refused {
            Some(status) => Ok(refusal(status)),
            None => answer.map(|response| response.map(|body| RefusalBody { body: Some(body) })),
        })
    }
}

impl<F> fmt::Debug for DecompressFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecompressFuture").finish_non_exhaustive()
    }
}

fn refusal<B>(status: StatusCode) -> Response<RefusalBody<B>> {
    let mut response = Response::new(RefusalBody { body: None });
    *response.status_mut() = status;
    response
}

fn what_is_accepted() -> HeaderValue {
    let available = coding::available();
    let names: Vec<_> = available.iter().map(|coding| coding.as_str()).collect();
    let value = match names.is_empty() {
        true => "identity".to_owned(),
        false => names.join(", "),
    };
    HeaderValue::try_from(value).expect("these are tokens")
}

pin_project! {
    /// The body of an answer of [`Decompress`]: the inner service's, or none where it was refused.
    #[derive(Debug)]
    pub struct RefusalBody<B> {
        #[pin]
        body: Option<B>,
    }
}

impl<B: Body> Body for RefusalBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B> Default for RefusalBody<B> {
    fn default() -> Self {
        Self { body: None }
    }
}
