//! Four processes and one bucket: with clocks that nobody should go by, and without their Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use larder::limit::{Decision, Fallback};
use larder::{Limiter, ManualClock, Quota, Redis};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ledger::{excess, Ledger};
use crate::server::Server;

const NODES: usize = 4;
const RATE: u64 = 2_000;
const CAPACITY: u64 = 200;
const CALLERS: usize = 16;

/// So many decisions, more where `LARDER_STEPS` says so.
fn decisions() -> u64 {
    let told = std::env::var("LARDER_STEPS").ok();
    told.and_then(|steps| steps.parse().ok()).unwrap_or(10_000)
}

/// What all processes together decided, and what each admitted.
#[derive(Default)]
struct Tally {
    decisions: AtomicU64,
    admitted: [AtomicU64; NODES],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_with_skewed_clocks_admit_what_one_bucket_holds_in_every_window() {
    let server = Server::start();
    let ledger = Ledger::of(&server, ":api");
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    let mut clocks = Vec::new();
    for node in 0..NODES {
        let clock = ManualClock::new();
        let limiter = limiter(&server, &clock, Fallback::Closed).await;
        clocks.push(clock);
        for caller in 0..CALLERS {
            let cost = 1 + caller as u64 % 3;
            callers.spawn(hammer(limiter.clone(), node, cost, Arc::clone(&tally)));
        }
    }
    let skewing = tokio::spawn(skew(clocks));
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    skewing.abort();
    let taken = ledger.taken(1e6 / RATE as f64);
    let granted: f64 = taken.iter().map(|one| one.tokens).sum();
    let admitted = [0, 1, 2, 3].map(|node: usize| tally.admitted[node].load(Ordering::Relaxed));
    let all: u64 = admitted.iter().sum();
    let shares = admitted.map(|one| one as f64 / all as f64);
    let excess = excess(&taken, CAPACITY as f64, RATE as f64);
    let lasted = taken.last().unwrap().at;
    println!(
        "{} decisions, {all} tokens admitted in {lasted:.1} s, window excess {excess:.4}, shares {shares:.2?}",
        tally.decisions.load(Ordering::Relaxed),
    );
    assert_eq!(
        granted.round() as u64,
        all,
        "who was admitted was granted it"
    );
    assert!(taken.iter().all(|one| one.tokens > 0.0), "nobody gave back");
    assert!(excess <= 0.01, "{excess} tokens");
    // Of few decisions, the shares say little.
    let even = shares.iter().all(|share| (share - 0.25).abs() <= 0.05);
    assert!(even || decisions() < 200_000, "{shares:?}");
}

async fn limiter(server: &Server, clock: &ManualClock, fallback: Fallback) -> Limiter {
    let minute = Duration::from_secs(60);
    let redis = Redis::builder(server.url()).deadline(minute);
    let redis = redis.clock(clock.clock()).build().unwrap();
    assert!(redis.connected(minute).await);
    let quota = Quota::per_second(RATE).capacity(CAPACITY);
    let limiter = Limiter::builder(quota).name("api").redis(redis);
    let limiter = limiter.clock(clock.clock()).fallback(fallback);
    limiter.build().unwrap()
}

async fn hammer(limiter: Limiter, node: usize, cost: u64, tally: Arc<Tally>) {
    while tally.decisions.fetch_add(1, Ordering::Relaxed) < decisions() {
        match limiter.take("ada", cost).await {
            Decision::Admitted { .. } => {
                tally.admitted[node].fetch_add(cost, Ordering::Relaxed);
            }
            // It comes again before that would help.
            Decision::Refused { .. } => tokio::time::sleep(Duration::from_millis(1)).await,
            other => panic!("{other:?}"),
        }
    }
}

/// Lets the clocks go on, each by up to a fifth of a second before or behind, sometimes back.
async fn skew(clocks: Vec<ManualClock>) {
    let began = Instant::now();
    let mut told = vec![0_i64; clocks.len()];
    for tick in 0_i64.. {
        let now = i64::try_from(began.elapsed().as_millis()).unwrap();
        for (node, clock) in clocks.iter().enumerate() {
            // One is always ahead, one always behind, the others swing.
            let skew = [200, -200, tick * 13 % 400 - 200, 200 - tick * 7 % 400][node];
            let step = now + 200 + skew - told[node];
            let by = Duration::from_millis(step.unsigned_abs());
            if step < 0 {
                clock.set_back(by);
            } else {
                clock.advance(by);
            }
            told[node] += step;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn four_processes_without_their_redis_admit_together_what_one_bucket_holds() {
    let mut server = Server::start();
    let clock = ManualClock::new();
    let share = Fallback::Local {
        share: NODES as u32,
    };
    let mut limiters = Vec::new();
    for _ in 0..NODES {
        limiters.push(limiter(&server, &clock, share).await);
    }
    // What was granted before counts.
    let mut admitted = 0;
    for _ in 0..CAPACITY / 8 {
        for limiter in &limiters {
            admitted += u64::from(limiter.take("ada", 1).await.is_admitted());
        }
    }
    assert_eq!(admitted, CAPACITY / 2);
    server.kill();
    let tick = Duration::from_millis(25);
    for ticks in 0..200 {
        for limiter in &limiters {
            while limiter.take("ada", 1).await.is_admitted() {
                admitted += 1;
            }
        }
        let refilled = RATE as f64 * (tick * ticks).as_secs_f64();
        let may = CAPACITY as f64 + refilled;
        assert!(admitted as f64 <= may * 1.1, "{admitted} of {may}");
        // What a share holds is not lost, but for what they had before.
        assert!(admitted as f64 >= may * 0.9, "{admitted} of {may}");
        clock.advance(tick);
    }
}
