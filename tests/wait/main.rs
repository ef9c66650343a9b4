//! The client's side of a quota: waiting for one's turn.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs them")]

#[cfg(feature = "redis")]
#[path = "../support/server.rs"]
mod server;

mod feedback;
mod priorities;
#[cfg(feature = "redis")]
mod processes;
mod readiness;
mod turns;
mod windows;

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use larder::limit::wait::{Error, Pacer, PacerBuilder, Priority};
use larder::limit::Quota;
use larder::ManualClock;
use tokio::task::JoinHandle;
use tower::util::BoxCloneService;
use tower::{service_fn, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

/// An upstream that counts its calls and answers `200`.
fn upstream() -> (Client, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let client = service_fn(move |_: Request<String>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    (BoxCloneService::new(client), calls)
}

type Client = BoxCloneService<Request<String>, Response<String>, Infallible>;
/// A call that waits or has been answered. Dropped, it does not wait any more.
struct Call(JoinHandle<Result<Response<String>, Error>>);

impl Call {
    /// The call has come as far as it can before the next one is made.
    async fn begin(
        call: impl Future<Output = Result<Response<String>, Error>> + Send + 'static,
    ) -> Self {
        let call = Self(tokio::spawn(call));
        tokio::task::yield_now().await;
        call
    }

    async fn answer(mut self) -> Result<Response<String>, Error> {
        (&mut self.0).await.unwrap()
    }

    async fn is_done(&self) -> bool {
        settle().await;
        self.0.is_finished()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A pacer whose clock stands still until it is moved.
fn pacer(quota: Quota, set: impl FnOnce(PacerBuilder) -> PacerBuilder) -> (Pacer, ManualClock) {
    let clock = ManualClock::new();
    let builder = Pacer::builder(quota).clock(clock.clock());
    (set(builder).build().unwrap(), clock)
}

/// One call through the layer.
async fn begin(pacer: &Pacer, client: &Client, priority: Priority) -> Call {
    let service = tower::Layer::layer(&pacer.layer().priority(priority), client.clone());
    Call::begin(service.oneshot(Request::new(String::new()))).await
}

/// Lets everything run that can without time going on.
async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}
