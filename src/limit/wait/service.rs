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
use super::feedback::{self, Told};
use super::layer::{Config, MaxWait};
use super::line::Permit;
use super::pacer::digest;
use super::retry::{Never, Retry};
use super::Priority;
use crate::clock::Clock;
use crate::limit::Key;

/// The service of [`WaitLayer`](super::WaitLayer).
///
/// It is always ready: those who wait here hold nothing of the inner service, so that what is urgent is never kept
/// out by what is not. Its readiness is asked for when the turn has come. Whoever finds it not ready waits until it is,
/// and then for another turn, as long as it may wait at all.
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
    Body: Send + 'static,
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
    let (facts, mut request) = config.read(request);
    let mut left = config.retries;
    let mut permit = config.turn(&facts, &mut inner).await?;
    loop {
        let again = if left > 0 { retry.copy(&request) } else { None };
        permit.into_iter().for_each(Permit::spend);
        let response = inner.call(request).await.map_err(Error::inner)?;
        let told = feedback::told(response.status(), response.headers(), config.clock().now());
        if let Some(told) = told {
            config.heed(facts.key, told);
        }
        match again {
            Some(same) if matches!(told, Some(Told::Pause(_))) => request = same,
            _ => return Ok(response),
        }
        permit = match config.turn(&facts, &mut inner).await {
            // The upstream's own answer says more than that there is no time for another.
            Err(error) if error.is_refused() => return Ok(response),
            turn => turn?,
        };
        left -= 1;
    }
}

/// What is read of a request once.
struct Facts {
    key: u128,
    priority: Priority,
    cost: u64,
    /// Nanoseconds of the clock.
    until: u64,
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
        let nanos = u64::try_from(max_wait.as_nanos()).unwrap_or(u64::MAX);
        let facts = Facts {
            key,
            priority: parts.extensions.get().copied().unwrap_or(self.priority),
            cost: self.cost.as_ref().map_or(1, |cost| cost(&parts)),
            until: self.clock().nanos().saturating_add(nanos),
        };
        (facts, Request::from_parts(parts, body))
    }

    fn clock(&self) -> &Clock {
        &self.pacer.inner.tokens.clock
    }

    /// Waits until it may call a service that is ready to be called.
    ///
    /// A token is used when it is granted or not at all: kept until the service is ready, all that were granted
    /// meanwhile would be used at once. So whoever finds the service not ready gives it back, and waits for another
    /// one when it is.
    async fn turn<S, B>(&self, facts: &Facts, inner: &mut S) -> Result<Option<Permit>, Error>
    where
        S: Service<Request<B>>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let pacer = &self.pacer.inner;
        let left = || Duration::from_nanos(facts.until.saturating_sub(self.clock().nanos()));
        loop {
            let permit = pacer.permit(facts.key, facts.priority, facts.cost, left());
            let permit = permit.await?;
            match poll_fn(|cx| Poll::Ready(inner.poll_ready(cx))).await {
                Poll::Ready(Ok(())) => return Ok(permit),
                Poll::Ready(Err(error)) => return Err(Error::inner(error)),
                Poll::Pending => drop(permit),
            }
            let ready = poll_fn(|cx| inner.poll_ready(cx));
            match self.clock().within(left(), ready).await {
                Some(ready) => ready.map_err(Error::inner)?,
                None => return Err(pacer.refused(Refusal::TooLate(Duration::ZERO)).into()),
            }
        }
    }

    /// Here before the response is seen; elsewhere soon, also if nobody waits for the response.
    fn heed(&self, key: u128, told: Told) {
        let pacer = &self.pacer.inner;
        let time = match told {
            Told::Pause(time) => time,
            Told::NothingLeft if pacer.holds_one(key) => Duration::ZERO,
            // The next token comes when it would have.
            Told::NothingLeft => return,
        };
        let elsewhere = pacer.pause(key, time);
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
