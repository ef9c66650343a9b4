//! [`Wait`]: waits, then calls.

use std::fmt;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::runtime::Handle;
use tower_service::Service;

use super::error::{Error, Refusal};
use super::feedback;
use super::layer::{Config, MaxWait};
use super::line::Permit;
use super::pacer::digest;
use super::retry::{Never, Retry};
use super::Priority;
use crate::limit::Key;

/// The service of [`WaitLayer`](super::WaitLayer).
///
/// It is always ready: those who wait here hold nothing of the inner service, so that what is urgent is never kept
/// out by what is not. Its readiness is awaited when the turn has come.
#[derive(Clone)]
pub struct Wait<S, Retry = Never> {
    pub(super) inner: S,
    pub(super) config: Arc<Config>,
    pub(super) retry: Retry,
}

impl<S, B, Body, R> Service<Request<B>> for Wait<S, R>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: Send + 'static,
    Body: 'static,
    R: Retry<B> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture<Body>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (config, retry) = (Arc::clone(&self.config), self.retry);
        let calls = calls(self.inner.clone(), config, retry, request);
        ResponseFuture {
            calls: Box::pin(calls),
        }
    }
}

/// Makes the call, and makes it again while it may be and the upstream does not want to answer it yet.
async fn calls<S, B, Body, R>(
    mut inner: S,
    config: Arc<Config>,
    retry: R,
    request: Request<B>,
) -> Result<Response<Body>, Error>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: Retry<B>,
{
    let clock = &config.pacer.inner.tokens.clock;
    let began = clock.nanos();
    let (facts, mut request) = config.read(request);
    let mut left = config.retries;
    loop {
        let waited = Duration::from_nanos(clock.nanos().saturating_sub(began));
        let limit = facts.max_wait.saturating_sub(waited);
        let permit = config.permit(&facts, limit).await?;
        let ready = poll_fn(|cx| inner.poll_ready(cx)).await;
        ready.map_err(Error::inner)?;
        let again = if left > 0 { retry.copy(&request) } else { None };
        permit.into_iter().for_each(Permit::spend);
        let response = inner.call(request).await.map_err(Error::inner)?;
        let pause = feedback::pause(response.status(), response.headers(), clock.now());
        if let Some(pause) = pause {
            config.pause(facts.key, pause);
        }
        match again {
            Some(same) if pause.is_some() && !response.status().is_success() => request = same,
            _ => return Ok(response),
        }
        left -= 1;
    }
}

/// What is read of a request once.
struct Facts {
    key: u128,
    priority: Priority,
    cost: u64,
    max_wait: Duration,
}

impl Config {
    fn read<B>(&self, request: Request<B>) -> (Facts, Request<B>) {
        let (parts, body) = request.into_parts();
        let key = match &self.key {
            Some(key) => digest(&Key::from(key(&parts))),
            None => digest(&Key::Everyone),
        };
        let told = parts.extensions.get::<MaxWait>().map(|told| told.0);
        let max_wait = told.or(self.max_wait).unwrap_or(self.pacer.inner.max_wait);
        let facts = Facts {
            key,
            priority: parts.extensions.get().copied().unwrap_or(self.priority),
            cost: self.cost.as_ref().map_or(1, |cost| cost(&parts)),
            max_wait,
        };
        (facts, Request::from_parts(parts, body))
    }

    async fn permit(&self, facts: &Facts, limit: Duration) -> Result<Option<Permit>, Refusal> {
        let pacer = &self.pacer.inner;
        pacer
            .permit(facts.key, facts.priority, facts.cost, limit)
            .await
    }

    /// Here before the response is seen; elsewhere soon, also if nobody waits for the response.
    fn pause(&self, key: u128, time: Duration) {
        let elsewhere = self.pacer.inner.pause(key, time);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(elsewhere);
        }
    }
}

/// Waits for its turn, and then for the response.
pub struct ResponseFuture<Body> {
    calls: Calls<Body>,
}

// The longest part of a call is its wait: a box costs nothing beside it.
type Calls<Body> = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

impl<Body> Future for ResponseFuture<Body> {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.calls.as_mut().poll(cx)
    }
}

impl<Body> fmt::Debug for ResponseFuture<Body> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture { .. }")
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Wait<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("inner", &self.inner)
            .field("pacer", &self.config.pacer)
            .finish()
    }
}
