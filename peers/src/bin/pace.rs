//! What do critical calls wait while background work takes all that is left, in four processes?
//!
//! Each process has a handle and a pacer of its own; all share one quota of 200 per second, 40 at once, in one Redis.
//!
//! Beside them one asks for a bucket that always has enough, and nobody else asks for: what that one waits is what
//! the cores, the runtime and one call to Redis take, so only the rest is the pacer's.

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
    println!("| critical, of the rate | background, each | p50 | p99 | p50 and p99 with enough | used | excess | calls of Redis each | background |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (critical, background) in [(0.2, 8), (0.2, 64), (0.8, 8), (0.8, 64), (1.2, 8)] {
        runtime.block_on(measure(critical, background));
    }
}

/// Who passed, after what time, and when.
type Entry = (Priority, Duration, Duration);
type Log = Arc<Mutex<Vec<Entry>>>;

fn critical_waits(log: &[Entry]) -> Vec<Duration> {
    let critical = log.iter().filter(|one| one.0 == Priority::Critical);
    let mut waits: Vec<_> = critical.map(|one| one.1).collect();
    waits.sort();
    waits
}

async fn measure(critical: f64, background: usize) {
    let server = server::Server::start();
    let (log, enough) = (Log::default(), Log::default());
    let began = Instant::now();
    let mut callers = JoinSet::new();
    let pacer = pacer(&server, "enough", Quota::per_second(1_000_000)).await;
    callers.spawn(steadily(
        pacer,
        Duration::from_millis(5),
        Arc::clone(&enough),
        began,
    ));
    for _ in 0..4 {
        let quota = Quota::per_second(RATE).capacity(BURST);
        let pacer = self::pacer(&server, "pace", quota).await;
        for _ in 0..background {
            callers.spawn(ask(
                pacer.clone(),
                Priority::Background,
                Arc::clone(&log),
                began,
            ));
        }
        let apart = Duration::from_secs_f64(4.0 / (RATE as f64 * critical));
        callers.spawn(steadily(pacer, apart, Arc::clone(&log), began));
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
    // One each.
    let calls = calls.saturating_sub(enough.lock().expect("nobody panicked").len() as u64);
    print(
        &log.lock().expect("nobody panicked"),
        &enough.lock().expect("nobody panicked"),
        critical,
        background,
        calls,
        lasted,
    );
}

async fn pacer(server: &server::Server, name: &'static str, quota: Quota) -> Pacer {
    let redis = Redis::open(server.url()).expect("a URL");
    assert!(redis.connected(Duration::from_secs(5)).await);
    let pacer = Pacer::builder(quota).name(name).redis(redis);
    pacer.build().expect("the settings agree")
}

/// Critical calls, one each time.
async fn steadily(pacer: Pacer, apart: Duration, log: Log, began: Instant) {
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
    log: &[Entry],
    enough: &[Entry],
    critical: f64,
    background: usize,
    calls: u64,
    lasted: f64,
) {
    let (waits, enough) = (critical_waits(log), critical_waits(enough));
    let part = |waits: &[Duration], part: usize| {
        let place = waits.len() * part / 100;
        waits.get(place).copied().unwrap_or_default()
    };
    let most = BURST as f64 + RATE as f64 * lasted;
    let of_background = log.len() - waits.len();
    println!(
        "| {critical} | {background} | {:.1?} | {:.1?} | {:.1?}, {:.1?} | {:.3} | {:.1} | {:.1} | {:.3} of the rate |",
        part(&waits, 50),
        part(&waits, 99),
        part(&enough, 50),
        part(&enough, 99),
        log.len() as f64 / most,
        (log.len() as f64 - most).max(0.0),
        calls as f64 / log.len() as f64,
        of_background as f64 / (RATE as f64 * lasted),
    );
}
