//! Redis killed and frozen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use tokio::time::Instant;

use super::{charge, node, still, Duration, Server, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::{Policy, SharedBuckets, Unavailable};

/// What other processes on a busy machine may do to a measurement.
const SLACK: Duration = Duration::from_millis(500);

/// Asks all the time, on keys of its own and one that all share; the slowest answer.
async fn ask(buckets: SharedBuckets, caller: u128, until: Instant) -> (Duration, u64) {
    let policy = Policy::new("p", &Quota::per_second(1_000_000));
    let (mut slowest, mut unanswered) = (Duration::ZERO, 0);
    while Instant::now() < until {
        for principal in [0, caller] {
            let began = Instant::now();
            let taken = buckets.take(&[charge(principal, &policy, 1)]).await;
            slowest = slowest.max(began.elapsed());
            unanswered += u64::from(taken.is_err());
        }
        tokio::time::sleep(SECOND / 1_000).await;
    }
    (slowest, unanswered)
}

async fn load(buckets: &SharedBuckets, lasts: Duration) -> (Duration, u64) {
    let until = Instant::now() + lasts;
    let callers: Vec<_> = (1..=32)
        .map(|caller| tokio::spawn(ask(buckets.clone(), caller, until)))
        .collect();
    let (mut slowest, mut unanswered) = (Duration::ZERO, 0);
    for caller in callers {
        let (slow, errors) = caller.await.unwrap();
        slowest = slowest.max(slow);
        unanswered += errors;
    }
    (slowest, unanswered)
}

/// G10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_a_deadline_and_limits_again_within_a_second() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 10);
    let (slowest, unanswered) = load(&buckets, SECOND / 5).await;
    println!("healthy: the slowest decision took {slowest:?}");
    assert_eq!(unanswered, 0);
    server.freeze();
    let (slowest, unanswered) = load(&buckets, SECOND / 2).await;
    println!("frozen: {unanswered} without an answer, the slowest took {slowest:?}");
    assert!(slowest < Duration::from_millis(60) + SLACK && unanswered > 0);
    let began = Instant::now();
    for _ in 0..1_000 {
        let taken = buckets.take(&[charge(7, &policy, 1)]).await;
        assert_eq!(taken, Err(Unavailable::Down), "once the breaker is open");
    }
    println!("open: a decision takes {:?}", began.elapsed() / 1_000);
    server.thaw();
    let back = back(&buckets, &policy).await;
    println!("thawed: limits again after {back:?}");
    assert!(back < SECOND, "{back:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_costs_nothing_and_limits_again_within_a_second() {
    let mut server = Server::start();
    let buckets = node(&server.url()).await;
    server.kill();
    let (slowest, unanswered) = load(&buckets, SECOND / 2).await;
    println!("killed: {unanswered} without an answer, the slowest took {slowest:?}");
    assert!(slowest < Duration::from_millis(60) + SLACK && unanswered > 0);
    server.restart();
    server.wait();
    let back = back(&buckets, &still("p", 10)).await;
    println!("restarted: limits again after {back:?}");
    assert!(back < SECOND, "{back:?}");
}

async fn back(buckets: &SharedBuckets, policy: &Policy) -> Duration {
    let began = Instant::now();
    while buckets.take(&[charge(8, policy, 1)]).await.is_err() {
        tokio::time::sleep(SECOND / 1_000).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_answered_is_applied_at_most_once() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 10_000);
    assert!(
        buckets
            .take(&[charge(1, &policy, 1)])
            .await
            .unwrap()
            .granted
    );
    let asked = Arc::new(AtomicU64::new(1));
    server.freeze();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (buckets, policy, asked) = (buckets.clone(), policy.clone(), Arc::clone(&asked));
            tokio::spawn(async move {
                let taken = buckets.take(&[charge(1, &policy, 1)]).await;
                asked.fetch_add(1, Ordering::Relaxed);
                assert!(taken.is_err());
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    server.thaw();
    back(&buckets, &policy).await;
    tokio::time::sleep(SECOND / 5).await;
    let (left, _) = buckets
        .take_up_to(&charge(1, &policy, 1), 10_000)
        .await
        .unwrap();
    let (taken, asked) = (10_000 - left, asked.load(Ordering::Relaxed));
    println!("{taken} taken, {asked} asked");
    assert!((1..=asked).contains(&taken), "{taken} of {asked}");
}
