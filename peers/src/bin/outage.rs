//! What a request pays while Redis is killed, frozen or gone, when it is back in use, and how long
//! another node goes on showing what was invalidated.
//!
//! Each request asks for another path, so that none is answered near: it asks Redis, if there is one,
//! and then a handler that answers at once. The same requests through a cache in memory alone are what
//! the added time is counted from.

#[path = "../../../tests/support/server.rs"]
mod server;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use larder::{Cache, Redis};
use tower::{service_fn, Layer, Service};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut server = server::Server::start();
    let shared = node(&server).await;
    let alone = Cache::builder().build().expect("the defaults agree");
    println!("| | µs per request |");
    println!("| --- | --- |");

    let (sound, _) = misses(&shared, "sound", 2000).await;
    println!(
        "| in memory alone | {:.1} |",
        misses(&alone, "warm", 2000).await.0
    );
    println!("| with Redis | {sound:.1} |");

    server.kill();
    let (_, first) = misses(&shared, "killed", 100).await;
    println!("| killed: the worst of the next 100 | {first:.0} |");
    gone(&shared, &alone, "down").await;
    server.restart();
    println!(
        "| restarted: back in use after, ms | {:.0} |",
        back(&shared).await.as_millis()
    );

    server.freeze();
    let (_, first) = misses(&shared, "frozen", 100).await;
    println!("| frozen: the worst of the next 100 (the deadline is 50,000) | {first:.0} |");
    gone(&shared, &alone, "still").await;
    server.thaw();
    println!(
        "| thawed: back in use after, ms | {:.0} |",
        back(&shared).await.as_millis()
    );

    let other = node(&server).await;
    let mut lags = Vec::new();
    for round in 0..500 {
        lags.push(lag(&shared, &other, round).await);
    }
    lags.sort_unstable();
    let at = |part: usize| lags[(lags.len() * part / 100).min(lags.len() - 1)].as_secs_f64() * 1e6;
    println!(
        "| an invalidation reaches another node: median | {:.0} |",
        at(50)
    );
    println!("| 99th percentile of 500 | {:.0} |", at(99));
    println!("| the longest | {:.0} |", at(100));
}

async fn node(server: &server::Server) -> Cache {
    let redis = Redis::open(server.url()).expect("a URL");
    let cache = Cache::builder().redis(redis.clone()).build();
    let cache = cache.expect("the settings agree");
    assert!(redis.connected(Duration::from_secs(5)).await);
    back(&cache).await;
    cache
}

/// How long it takes until Redis is up and the invalidation clock is known.
async fn back(cache: &Cache) -> Duration {
    let start = Instant::now();
    let is_back = || {
        let stats = cache.stats().shared.expect("it is shared");
        stats.redis.up && stats.sound
    };
    while !is_back() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

/// The mean and the worst of requests that find nothing, in microseconds.
async fn misses(cache: &Cache, name: &str, count: u32) -> (f64, f64) {
    let layer = cache.layer().ttl(Duration::from_secs(60)).tag("posts");
    let mut service = layer.layer(service_fn(|_: Request<Empty<Bytes>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(
            Bytes::from_static(b"[]"),
        ))))
    }));
    let (mut sum, mut worst) = (Duration::ZERO, Duration::ZERO);
    for n in 0..count {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = format!("/{name}/{n}").parse().expect("a path");
        let start = Instant::now();
        let answer = service.call(request).await;
        let took = start.elapsed();
        assert!(answer
            .expect("the service does not fail")
            .status()
            .is_success());
        (sum, worst) = (sum + took, worst.max(took));
    }
    (
        sum.as_secs_f64() * 1e6 / f64::from(count),
        worst.as_secs_f64() * 1e6,
    )
}

/// What is added once the breaker is open, in turns with a cache in memory alone.
async fn gone(shared: &Cache, alone: &Cache, name: &str) {
    let mut added = Vec::new();
    for round in 0..21 {
        let (alone, _) = misses(alone, &format!("{name}{round}"), 1000).await;
        let (gone, _) = misses(shared, &format!("{name}{round}"), 1000).await;
        added.push(gone - alone);
    }
    added.sort_by(f64::total_cmp);
    println!(
        "| gone: added, median of 21 rounds | {:.2} |",
        added[added.len() / 2]
    );
}

/// From the end of an invalidation to the first answer of another node that is made anew.
async fn lag(a: &Cache, b: &Cache, round: u64) -> Duration {
    let made = move || async move { Ok::<_, Infallible>(round) };
    let minute = Duration::from_secs(60);
    let of = |cache: &Cache, value: u64| {
        let cache = cache.clone();
        async move {
            let make = move || async move { Ok::<_, Infallible>(value) };
            cache
                .get_or_compute("round", minute, ["lag"], make)
                .await
                .expect("it does not fail")
        }
    };
    let _ = a.get_or_compute("round", minute, ["lag"], made).await;
    // Both have what this round made.
    while of(b, round).await != round {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert!(!a.invalidate_tag("lag").await.deferred);
    let start = Instant::now();
    while of(b, round + 1).await == round {
        tokio::task::yield_now().await;
    }
    start.elapsed()
}
