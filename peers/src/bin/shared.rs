//! What does a hit in Redis cost, over a raw `GET` of the same value?
//!
//! Both ask one server over one connection, 64 at a time, in turns; the ratio of their rates is taken
//! round by round, and its median printed. The near tier has room for a small part of the keys, which
//! are asked for one after another, so that nearly every request goes to Redis; how many did is
//! printed too. The route has its default settings, with three tags. An argument picks one of the
//! sizes.

#[path = "../../../tests/support/server.rs"]
mod server;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use larder::{Cache, CacheLayer, Redis};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
use tower::{service_fn, Layer, Service};

const CONCURRENCY: usize = 64;
const ROUNDS: usize = 15;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let server = server::Server::start();
        println!("| body | raw GET, per second | relaxed | strict | asked of Redis |");
        println!("| --- | --- | --- | --- | --- |");
        let only = std::env::args()
            .nth(1)
            .and_then(|length| length.parse().ok());
        for (length, keys) in [(256, 16_384), (4 << 10, 8192), (64 << 10, 2048)] {
            if only.is_some_and(|only: usize| only != length) {
                continue;
            }
            measure(&server, length, keys).await;
            server.cli(&["flushall"]);
        }
    });
}

async fn measure(server: &server::Server, length: usize, keys: usize) {
    let filler = cache(server, &length.to_string(), 512 << 20).await;
    let paths: Arc<[String]> = (0..keys).map(|n| format!("/posts/{n}")).collect();
    // Fewer at a time: stores that are too many are dropped.
    ask(&route(&filler), length, &paths, CONCURRENCY / 4).await;
    let raw = raw(server).await;
    let names = names(raw.clone(), keys).await;

    let small = cache(
        server,
        &length.to_string(),
        (length as u64 * 8).max(2 << 20),
    )
    .await;
    let (relaxed, strict) = (route(&small), route(&small).strict(true));
    let before = small.stats().shared.expect("it is shared").hits;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let raw = get(&raw, &names).await;
        let relaxed = ask(&relaxed, length, &paths, CONCURRENCY).await;
        let strict = ask(&strict, length, &paths, CONCURRENCY).await;
        rounds.push((raw, relaxed / raw, strict / raw));
    }
    let asked = small.stats().shared.expect("it is shared").hits - before;
    let median = |pick: fn(&(f64, f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "| {length} B | {:.0} | {:.2} | {:.2} | {:.1} % |",
        median(|r| r.0),
        median(|r| r.1),
        median(|r| r.2),
        asked as f64 * 100.0 / (2 * ROUNDS * keys) as f64,
    );
}

async fn cache(server: &server::Server, prefix: &str, capacity: u64) -> Cache {
    let redis = Redis::builder(server.url())
        .connections(1)
        .deadline(Duration::from_secs(1))
        .prefix(format!("bench{prefix}"))
        .build()
        .expect("the settings agree");
    let cache = Cache::builder()
        .redis(redis.clone())
        .capacity(capacity)
        .body_limit(capacity / 8);
    let cache = cache.build().expect("the settings agree");
    assert!(redis.connected(Duration::from_secs(5)).await);
    while !cache.stats().shared.is_some_and(|shared| shared.sound) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cache
}

fn route(cache: &Cache) -> CacheLayer {
    let layer = cache.layer().ttl(Duration::from_secs(3600));
    layer.tag("posts").tag("posts:all").tag("site")
}

/// Requests per second, each path once, this many at a time.
async fn ask(route: &CacheLayer, length: usize, paths: &Arc<[String]>, lanes: usize) -> f64 {
    let body = Bytes::from(vec![b'x'; length]);
    let service = route.layer(service_fn(move |_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Full::new(body.clone()));
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    // What is measured is the service: requests are there before.
    let lanes: Vec<Vec<_>> = (0..lanes)
        .map(|lane| {
            paths
                .iter()
                .skip(lane)
                .step_by(lanes)
                .map(|path| request(path))
                .collect()
        })
        .collect();
    let start = Instant::now();
    let tasks = lanes.into_iter().map(|requests| {
        let mut service = service.clone();
        tokio::spawn(async move {
            for request in requests {
                let answer = service.call(request).await;
                let mut body = answer.expect("the service does not fail").into_body();
                let frame = body.frame().await.expect("it is not empty");
                let bytes = frame.expect("bodies are whole").into_data();
                assert_eq!(bytes.map(|bytes| bytes.len()).ok(), Some(length));
            }
        })
    });
    all(tasks).await;
    paths.len() as f64 / start.elapsed().as_secs_f64()
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse().expect("a path");
    let host = http::HeaderValue::from_static("localhost");
    request.headers_mut().insert("host", host);
    request
}

async fn raw(server: &server::Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    let config = redis::AsyncConnectionConfig::new().set_pipeline_buffer_size(1024);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.expect("the server answers")
}

/// What the cache's values are called; waits until all of them are stored.
async fn names(mut raw: MultiplexedConnection, keys: usize) -> Arc<[Vec<u8>]> {
    for _ in 0..200 {
        let mut scan = redis::cmd("KEYS");
        let names: Vec<Vec<u8>> = scan
            .arg("bench*:e:*")
            .query_async(&mut raw)
            .await
            .expect("an answer");
        if names.len() * 100 >= keys * 99 {
            return names.into();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the responses were not stored");
}

async fn get(raw: &MultiplexedConnection, names: &Arc<[Vec<u8>]>) -> f64 {
    let start = Instant::now();
    let tasks = (0..CONCURRENCY).map(|lane| {
        let (mut raw, names) = (raw.clone(), Arc::clone(names));
        tokio::spawn(async move {
            for name in names.iter().skip(lane).step_by(CONCURRENCY) {
                let mut get = redis::cmd("GET");
                let value: redis::Value = get.arg(name).query_async(&mut raw).await.expect("it");
                assert!(matches!(value, redis::Value::BulkString(_)));
            }
        })
    });
    all(tasks).await;
    names.len() as f64 / start.elapsed().as_secs_f64()
}

/// Waits for all of them, which run side by side once they are spawned.
async fn all(tasks: impl Iterator<Item = JoinHandle<()>>) {
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task does not panic");
    }
}
