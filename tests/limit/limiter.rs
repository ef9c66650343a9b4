//! The limiter by itself, without HTTP.

use std::time::Duration;

use larder::limit::Decision;
use larder::{Limiter, ManualClock, Quota};

use crate::log::Log;

fn limiter(quota: Quota) -> (Limiter, ManualClock) {
    let clock = ManualClock::new();
    let limiter = Limiter::builder(quota).clock(clock.clock()).build();
    (limiter.unwrap(), clock)
}

fn left(decision: Decision) -> u64 {
    match decision {
        Decision::Admitted { left, .. } => left,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn looking_takes_nothing() {
    let (limiter, _) = limiter(Quota::per_minute(3));
    for _ in 0..5 {
        assert_eq!(left(limiter.peek("ada", 1).await), 2);
    }
    assert_eq!(left(limiter.take("ada", 1).await), 2);
    assert_eq!(left(limiter.peek("ada", 2).await), 0);
    assert!(matches!(
        limiter.peek("ada", 3).await,
        Decision::Refused { .. }
    ));
    assert_eq!(limiter.peek("ada", 4).await, Decision::Never);
}

#[tokio::test]
async fn what_was_reserved_is_settled_and_what_was_dropped_is_paid() {
    let (limiter, _) = limiter(Quota::per_minute(100));
    let reserved = limiter.reserve("ada", 60).await.unwrap();
    assert_eq!(left(reserved.decision()), 40);
    assert!(limiter.reserve("ada", 60).await.is_err());
    reserved.settle(10).await;
    assert_eq!(left(limiter.peek("ada", 0).await), 90);
    drop(limiter.reserve("ada", 50).await.unwrap());
    assert_eq!(left(limiter.peek("ada", 0).await), 40);
    // More than there is: the bucket owes it.
    limiter.reserve("ada", 40).await.unwrap().settle(70).await;
    assert_eq!(
        limiter.take("ada", 1).await,
        Decision::Refused {
            wait: Duration::from_millis(31 * 600)
        }
    );
}

#[tokio::test]
async fn refunds_end_at_full_and_penalties_at_the_limit_of_debt() {
    let clock = ManualClock::new();
    let builder = Limiter::builder(Quota::per_second(10)).clock(clock.clock());
    let limiter = builder.max_debt(20).build().unwrap();
    limiter.refund("ada", 1_000).await;
    assert_eq!(left(limiter.take("ada", 10).await), 0);
    assert!(!limiter.take("ada", 1).await.is_admitted());
    limiter.charge("ada", 1_000_000).await;
    clock.advance(Duration::from_secs(2));
    assert!(!limiter.take("ada", 1).await.is_admitted());
    clock.advance(Duration::from_millis(101));
    assert!(limiter.take("ada", 1).await.is_admitted());
}

#[tokio::test]
async fn a_blocked_key_waits_until_its_time_is_over() {
    let (limiter, clock) = limiter(Quota::per_second(10));
    limiter.block("mallory", Duration::from_secs(60)).await;
    assert!(limiter.take("ada", 1).await.is_admitted());
    clock.advance(Duration::from_secs(60));
    assert!(!limiter.take("mallory", 1).await.is_admitted());
    clock.advance(Duration::from_millis(101));
    assert!(limiter.take("mallory", 1).await.is_admitted());
    // A shorter one does not shorten it.
    limiter.block("mallory", Duration::from_secs(60)).await;
    limiter.block("mallory", Duration::from_secs(1)).await;
    clock.advance(Duration::from_secs(59));
    assert!(!limiter.take("mallory", 1).await.is_admitted());
}

#[tokio::test]
async fn decisions_are_counted() {
    let (limiter, _) = limiter(Quota::per_hour(2));
    for _ in 0..5 {
        let _ = limiter.take("ada", 1).await;
    }
    let _ = limiter.take("bob", 3).await;
    let stats = limiter.stats();
    assert_eq!((stats.admitted, stats.refused, stats.never), (2, 3, 1));
    assert_eq!((stats.live, stats.evicted), (1, 0));
    assert!(stats.slots as f64 >= 65_536.0 / 0.7);
    assert_eq!(stats.bytes, stats.slots * 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_admitted_the_capacity_and_no_more() {
    let (limiter, _clock) = limiter(Quota::per_hour(1_000));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..1_000 {
                    admitted += usize::from(limiter.take("hot", 1).await.is_admitted());
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted, 1_000);
}

#[tokio::test]
async fn what_costs_nothing_takes_nobodys_place() {
    let limiter = Limiter::builder(Quota::per_hour(5)).max_keys(4);
    let limiter = limiter.build().unwrap();
    for n in 0..16 {
        let _ = limiter.take(format!("dear {n}"), 5).await;
    }
    let before = limiter.stats();
    for n in 0..1_000 {
        assert!(limiter.take(format!("free {n}"), 0).await.is_admitted());
    }
    let after = limiter.stats();
    assert_eq!((after.evicted, after.live), (before.evicted, before.live));
}

#[tokio::test]
async fn a_block_without_end_is_a_long_one() {
    let limiter = Limiter::new(Quota::per_minute(10));
    limiter.block("mallory", Duration::MAX).await;
    let Decision::Refused { wait } = limiter.take("mallory", 1).await else {
        panic!("blocked");
    };
    let year = Duration::from_secs(365 * 86_400);
    assert!((19 * year..21 * year).contains(&wait), "{wait:?}");
}

#[test]
fn a_limiter_made_for_each_connection_is_warned_about_once() {
    let log = Log::default();
    let _collecting = tracing::subscriber::set_default(log.clone());
    // One that no other test has.
    let quota = Quota::new(977, Duration::from_secs(13));
    let make = || Limiter::builder(quota).max_keys(1).build().unwrap();
    for _ in 0..1_000 {
        drop(make());
    }
    let few: Vec<_> = (0..100).map(|_| make()).collect();
    assert_eq!(log.warnings_about("quota"), [] as [String; 0], "of a few");
    let many: Vec<_> = (0..200).map(|_| make()).collect();
    let told = log.warnings_about("quota");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("make it once, and clone it"));
    drop((few, many));
}
