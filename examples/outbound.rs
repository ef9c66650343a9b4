//! Four workers call one upstream, which allows 100 requests in any second: none is refused for coming too often,
//! what is critical never waits for what is not, and when the upstream asks for a pause, all of them pause.
//!
//! `cargo run --example outbound` lets them share a pacer in memory; `REDIS_URL=redis://127.0.0.1:6379 cargo run
//! --example outbound` gives each its own, as if they were four processes. Its last line says that no call came too
//! soon; it ends with 1 where one did.

#![allow(clippy::print_stdout, reason = "this is what the example is for")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{Request, Response, StatusCode};
use larder::limit::wait::{Pacer, Priority};
use larder::limit::{Fallback, Quota};
use larder::Redis;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{service_fn, Layer, ServiceExt};

const WORKERS: u32 = 4;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let upstream = Arc::new(Upstream::default());
    let waits = Arc::new(Mutex::new(Vec::new()));
    let shared = pacer()?;
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let pacer = match std::env::var_os("REDIS_URL") {
            Some(_) => pacer()?, // its own, as another process would have it
            None => shared.clone(),
        };
        workers.spawn(work(pacer, Arc::clone(&upstream), Arc::clone(&waits)));
    }
    workers.join_all().await;
    let violations = upstream.print();
    print(
        &waits
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    );
    if violations > 0 {
        return Err(format!("{violations} calls came too soon").into());
    }
    println!("\nno call came too soon");
    Ok(())
}

fn pacer() -> Result<Pacer, Box<dyn Error>> {
    // A little less than is allowed: not every call takes equally long to arrive.
    let builder = Pacer::builder(Quota::strict(95, SECOND)).name("outbound");
    let builder = match std::env::var("REDIS_URL") {
        Ok(url) => builder
            .redis(Redis::open(url)?)
            .fallback(Fallback::Local { share: WORKERS }),
        Err(_) => builder,
    };
    Ok(builder.build()?)
}

type Waits = Arc<Mutex<Vec<(Priority, Duration)>>>;

/// A critical call every 100 ms, and beside it as much background work as there is room for.
async fn work(pacer: Pacer, upstream: Arc<Upstream>, waits: Waits) {
    let client = service_fn(move |_: Request<()>| {
        let status = upstream.call();
        async move {
            let response = Response::builder()
                .status(status)
                .header("retry-after", "1");
            Ok::<_, Infallible>(response.body(()).unwrap_or_default())
        }
    });
    let client = pacer.layer().retry_idempotent(3).layer(client);
    let until = Instant::now() + 6 * SECOND;
    let mut calls = JoinSet::new();
    for _ in 0..9 {
        let priority = if calls.is_empty() {
            Priority::Critical
        } else {
            Priority::Background
        };
        let (client, waits) = (client.clone(), Arc::clone(&waits));
        calls.spawn(async move {
            while Instant::now() < until {
                let mut request = Request::new(());
                request.extensions_mut().insert(priority);
                let began = Instant::now();
                if client.clone().oneshot(request).await.is_ok() {
                    let mut waits = waits
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                    waits.push((priority, began.elapsed()));
                }
                if priority == Priority::Critical {
                    sleep(SECOND / 10).await;
                }
            }
        });
    }
    calls.join_all().await;
}

/// What is called. It keeps the books, and once it asks for a pause of a second.
#[derive(Default)]
struct Upstream {
    arrivals: Mutex<Vec<Arrival>>,
}

struct Arrival {
    at: Instant,
    refused: bool,
}

impl Upstream {
    fn call(&self) -> StatusCode {
        let mut arrivals = self
            .arrivals
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let refused = arrivals.len() == 200;
        arrivals.push(Arrival {
            at: Instant::now(),
            refused,
        });
        match refused {
            true => StatusCode::TOO_MANY_REQUESTS,
            false => StatusCode::OK,
        }
    }

    /// How many calls came that should not have.
    fn print(&self) -> usize {
        let arrivals = self
            .arrivals
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let in_second = |first: &Arrival| {
            let after = arrivals.iter().filter(|call| call.at >= first.at);
            after.take_while(|call| call.at < first.at + SECOND).count()
        };
        let most = arrivals.iter().map(in_second).max().unwrap_or_default();
        // What was on its way when the pause was asked for had 50 ms to arrive.
        let too_soon = arrivals.iter().find(|call| call.refused).map_or(0, |no| {
            let pause = no.at + SECOND / 20..no.at + SECOND;
            arrivals
                .iter()
                .filter(|call| pause.contains(&call.at))
                .count()
        });
        println!(
            "upstream     {:>6} calls, at most {most} of 100 in any second",
            arrivals.len()
        );
        let too_many = most.saturating_sub(100);
        println!("violations   {too_many:>6} too many, {too_soon} during the pause");
        too_many + too_soon
    }
}

fn print(waits: &[(Priority, Duration)]) {
    println!("\npriority      calls   wait p50   wait p99");
    for priority in [Priority::Critical, Priority::Background] {
        let mut waits: Vec<_> = waits
            .iter()
            .filter(|wait| wait.0 == priority)
            .map(|wait| wait.1)
            .collect();
        waits.sort();
        let part = |part: usize| {
            waits
                .get(waits.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        let name = format!("{priority:?}");
        println!(
            "{name:<12} {:>6} {:>8.1?} {:>10.1?}",
            waits.len(),
            part(50),
            part(99)
        );
    }
}
