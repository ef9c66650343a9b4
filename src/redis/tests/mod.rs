//! The handle against real servers that are absent, killed, frozen, restarted, full, demoted and
//! replaced.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs them")]

#[path = "../../../tests/support/masters.rs"]
mod masters;
#[path = "../../../tests/support/server.rs"]
pub(super) mod server;
#[path = "../../../tests/support/watched.rs"]
mod watched;

mod calls;
mod cluster;
mod outages;
mod refusals;
mod sentinel;
mod subscriptions;
#[cfg(feature = "redis-tls")]
mod tls;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{NoAnswer, Redis, Request};

const SECOND: Duration = Duration::from_secs(1);

/// A handle that is connected.
async fn connected(url: &str) -> Redis {
    let redis = Redis::open(url).unwrap();
    assert!(redis.connected(10 * SECOND).await, "{redis:?}");
    redis
}

/// Waits for up to ten seconds; true once it happened.
async fn eventually<F, Happened>(mut happened: F) -> bool
where
    F: FnMut() -> Happened,
    Happened: Future<Output = bool>,
{
    for _ in 0..2000 {
        if happened().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn up_again(redis: &Redis) -> Duration {
    let began = Instant::now();
    assert!(
        eventually(|| async { redis.get(b"any").await.is_ok() }).await,
        "{redis:?}"
    );
    began.elapsed()
}

/// The time that one call takes, in nanoseconds, measured over many.
async fn cost_of_get(redis: &Redis) -> u128 {
    let calls = 10_000;
    let began = Instant::now();
    for _ in 0..calls {
        assert_eq!(redis.get(b"key").await, Err(NoAnswer::Down));
    }
    began.elapsed().as_nanos() / calls
}

/// Stores one value in the background.
fn store(redis: &Redis, key: &'static str, value: Bytes, ttl: Duration) {
    redis.store(key.as_bytes(), move |storing| async move {
        storing.set(key.as_bytes(), value, ttl).await;
    });
}

fn set(key: &str, value: &str) -> Request {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value);
    command.into()
}
