//! What do critical calls wait while background work takes all that is left, in four processes? (RATE-LIMIT goal G8.)
//!
//! Each process has a handle and a pacer of its own; all share one quota of 200 per second, 40 at once, in one Redis.

#[path = "../../../tests/support/server.rs"]
mod server;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use larder::limit::wait::{Pacer, Priority};
use larder::limit::Quota;
use larder::Redis;
use tokio::task::JoinSet;

const RATE: u64 = 200;
const BURST: u64 = 40;
const LASTS: Duration = Duration::from_secs(8);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    println!("| critical, of the rate | background, each | p50 | p99 | used | excess | calls of Redis each | background |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (critical, background) in [(0.2, 8), (0.2, 64), (0.8, 8), (0.8, 64), (1.2, 8)] {
        runtime.block_on(measure(critical, background));
    }
}

type Log = Arc<Mutex<Vec<(Priority, Duration, Duration)>>>;

async fn measure(critical: f64, background: usize) {
    let server = server::Server::start();
    let log = Log::default();
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let redis = Redis::open(server.url()).expect("a URL");
        assert!(redis.connected(Duration::from_secs(5)).await);
        let pacer = Pacer::builder(Quota::per_second(RATE).capacity(BURST))
            .name("pace")
            .redis(redis);
        let pacer = pacer.build().expect("the settings agree");
        for _ in 0..background {
            callers.spawn(ask(
                pacer.clone(),
                Priority::Background,
                Arc::clone(&log),
                began,
            ));
        }
        let apart = Duration::from_secs_f64(4.0 / (RATE as f64 * critical));
        let log = Arc::clone(&log);
        callers.spawn(async move {
            let mut ticks = tokio::time::interval(apart);
            let mut calls = JoinSet::new();
            while began.elapsed() < LASTS {
                ticks.tick().await;
                calls.spawn(once(
                    pacer.clone(),
                    Priority::Critical,
                    Arc::clone(&log),
                    began,
                ));
            }
            calls.join_all().await;
        });
    }
    callers.join_all().await;
    let lasted = began.elapsed().as_secs_f64();
    let stats = server.cli(&["info", "commandstats"]);
    let calls = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"));
    let calls: u64 = calls
        .filter_map(|line| {
            line.split_once("calls=")?
                .1
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum();
    print(
        &log.lock().expect("nobody panicked"),
        critical,
        background,
        calls,
        lasted,
    );
}

async fn ask(pacer: Pacer, priority: Priority, log: Log, began: Instant) {
    while began.elapsed() < LASTS {
        once(pacer.clone(), priority, Arc::clone(&log), began).await;
    }
}

async fn once(pacer: Pacer, priority: Priority, log: Log, began: Instant) {
    let asked = Instant::now();
    let left = LASTS.saturating_sub(began.elapsed());
    if pacer.ready_within("a", priority, 1, left).await.is_ok() {
        let entry = (priority, asked.elapsed(), began.elapsed());
        log.lock().expect("nobody panicked").push(entry);
    }
}

fn print(
    log: &[(Priority, Duration, Duration)],
    critical: f64,
    background: usize,
    calls: u64,
    lasted: f64,
) {
    let mut waits: Vec<_> = log
        .iter()
        .filter(|one| one.0 == Priority::Critical)
        .map(|one| one.1)
        .collect();
    waits.sort();
    let part = |part: usize| {
        waits
            .get(waits.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    let most = BURST as f64 + RATE as f64 * lasted;
    let of_background = log.len() - waits.len();
    println!(
        "| {critical} | {background} | {:.1?} | {:.1?} | {:.3} | {:.1} | {:.1} | {:.3} of the rate |",
        part(50),
        part(99),
        log.len() as f64 / most,
        (log.len() as f64 - most).max(0.0),
        calls as f64 / log.len() as f64,
        of_background as f64 / (RATE as f64 * lasted),
    );
}
