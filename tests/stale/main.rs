//! Stale answers: when they are allowed, what refreshes them, and what never lets them come back.

#[path = "../support/drive.rs"]
mod drive;
#[path = "../support/mod.rs"]
mod support;

mod errors;
mod refresh;
mod requests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use drive::settle;
use http::Response;
use larder::CacheLayer;
use support::{get, send, Origin, TestBody};
use tokio::sync::Semaphore;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Answers its first call at once, and each later one when it gets a permit.
fn slow_to_refresh(
    respond: impl Fn(usize) -> Response<TestBody> + Send + Sync + 'static,
) -> (Origin, Arc<Semaphore>) {
    Origin::gated(1, respond)
}

/// Asks, and gives a refresh that this starts its turns.
async fn ask(layer: &CacheLayer, origin: &Origin, fields: &[(&str, &str)]) -> (String, String) {
    let answer = send(layer, origin, get("/", fields)).await;
    settle().await;
    (answer.text().to_owned(), answer.decision())
}

/// The text of an answer and what `Cache-Status` says of it.
fn is(text: &str, decision: &str) -> (String, String) {
    (text.to_owned(), decision.to_owned())
}
