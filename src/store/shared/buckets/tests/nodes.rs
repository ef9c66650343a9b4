//! Several processes and one bucket.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{charge, node, Server, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::{Policy, SharedBuckets};

/// When a process was told that it may, in seconds, and which process.
pub(super) type Log = Arc<Mutex<Vec<(f64, usize)>>>;

/// Asks for one bucket all the time.
pub(super) async fn hammer(
    buckets: SharedBuckets,
    who: usize,
    policy: Policy,
    log: Log,
    began: Instant,
) -> u64 {
    let mut decisions = 0;
    while began.elapsed() < 2 * SECOND {
        let taken = buckets.take(&[charge(1, &policy, 1)]).await.unwrap();
        decisions += 1;
        if taken.granted {
            log.lock().push((began.elapsed().as_secs_f64(), who));
        } else {
            // Those who are refused come again before it would help.
            tokio::time::sleep(SECOND / 2_000).await;
        }
    }
    decisions
}

/// The most by which any window exceeds what it may admit, as far as callers can tell. A grant is logged after
/// it was made, so a window may seem shorter than it was by what that takes: a figure, not a proof.
pub(super) fn excess(log: &Log, capacity: f64, rate: f64) -> f64 {
    let mut times: Vec<_> = log.lock().iter().map(|(time, _)| *time).collect();
    times.sort_by(f64::total_cmp);
    let (mut worst, mut lowest) = (f64::MIN, f64::MAX);
    for (number, time) in times.iter().enumerate() {
        let number = number as f64;
        lowest = lowest.min(number - rate * time);
        worst = worst.max(number + 1.0 - rate * time - lowest);
    }
    worst - capacity
}

/// G6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_admit_together_what_one_bucket_holds() {
    let server = Server::start();
    let (rate, capacity) = (500_u64, 100_u64);
    let policy = Policy::new("p", &Quota::per_second(rate).capacity(capacity));
    let log = Log::default();
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(node(&server.url()).await);
    }
    let began = Instant::now();
    let callers: Vec<_> = (0..32)
        .map(|n| {
            let (buckets, policy, log) = (nodes[n % 4].clone(), policy.clone(), Arc::clone(&log));
            tokio::spawn(hammer(buckets, n % 4, policy, log, began))
        })
        .collect();
    let mut decisions = 0;
    for caller in callers {
        decisions += caller.await.unwrap();
    }
    let admitted = log.lock().len() as f64;
    let most = capacity as f64 + rate as f64 * began.elapsed().as_secs_f64();
    let share = |who| log.lock().iter().filter(|(_, of)| *of == who).count() as f64 / admitted;
    let shares = [0, 1, 2, 3].map(share);
    let excess = excess(&log, capacity as f64, rate as f64);
    println!("{decisions} decisions, {admitted} of {most:.1} admitted, window excess {excess:.2}, shares {shares:.2?}");
    assert!(admitted <= most, "{admitted} of {most}");
}
