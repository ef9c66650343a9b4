//! Redis killed and frozen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use tokio::time::Instant;

use super::{charge, eventually, node, still, waiting, Duration, Server, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::{Policy, SharedBuckets, Unavailable};

/// How long one waits for an answer, which is the subject here.
const DEADLINE: Duration = Duration::from_millis(50);
/// What a decision may take beyond it.
const MORE: Duration = Duration::from_millis(10);

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

/// What a decision takes is told by a clock that moves only when nobody has anything to do, so that a busy
/// machine does not count.
#[tokio::test]
async fn a_frozen_server_costs_a_deadline_and_then_nothing_and_limits_again_once_it_answers() {
    let server = Server::start();
    let buckets = waiting(&server.url(), DEADLINE).await;
    let policy = still("p", 10);
    let (slowest, _) = load(&buckets, SECOND / 5).await;
    println!("healthy: the slowest decision took {slowest:?}");
    server.freeze();
    tokio::time::pause();
    let (slowest, unanswered) = load(&buckets, SECOND / 2).await;
    println!("frozen: {unanswered} without an answer, the slowest took {slowest:?}");
    assert!(slowest <= DEADLINE + MORE && unanswered > 0, "{slowest:?}");
    let began = Instant::now();
    for _ in 0..1_000 {
        let taken = buckets.take(&[charge(7, &policy, 1)]).await;
        assert_eq!(taken, Err(Unavailable::Down), "once the breaker is open");
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits");
    tokio::time::resume();
    server.thaw();
    println!(
        "thawed: limits again after {:?}",
        back(&buckets, &policy).await
    );
}

#[tokio::test]
async fn a_killed_server_costs_no_more_and_limits_again_once_it_is_there() {
    let mut server = Server::start();
    let buckets = waiting(&server.url(), DEADLINE).await;
    server.kill();
    tokio::time::pause();
    let (slowest, unanswered) = load(&buckets, SECOND / 2).await;
    println!("killed: {unanswered} without an answer, the slowest took {slowest:?}");
    assert!(slowest <= DEADLINE + MORE && unanswered > 0, "{slowest:?}");
    tokio::time::resume();
    server.restart();
    server.wait();
    let back = back(&buckets, &still("p", 10)).await;
    println!("restarted: limits again after {back:?}");
}

/// After how long there are answers again: at most half a second between two attempts to connect, on a quiet
/// machine.
async fn back(buckets: &SharedBuckets, policy: &Policy) -> Duration {
    let began = Instant::now();
    eventually(async || buckets.take(&[charge(8, policy, 1)]).await.is_ok()).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_answered_is_applied_at_most_once() {
    let server = Server::start();
    let buckets = waiting(&server.url(), DEADLINE).await;
    let policy = still("p", 10_000);
    let asked = Arc::new(AtomicU64::new(0));
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
    // Time for whatever is still on its way: a second application would come late.
    tokio::time::sleep(SECOND / 5).await;
    let other = node(&server.url()).await;
    let all = charge(1, &policy, 1);
    let (left, _) = other.take_up_to(&all, 10_000).await.unwrap();
    let (taken, asked) = (10_000 - left, asked.load(Ordering::Relaxed));
    println!("{taken} taken, {asked} asked");
    assert!(taken <= asked, "{taken} of {asked}");
}
