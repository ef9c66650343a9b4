//! Many who ask for one bucket at once.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join_all, FutureExt};

use super::{calls, charge, eventually, node, still, Duration, Server, HOUR, MINUTE, SECOND};
use crate::store::shared::buckets::{Change, Charge, Policy, SharedBuckets};

async fn left(buckets: &SharedBuckets, policy: &Policy) -> u64 {
    let (left, _) = buckets
        .take_up_to(&charge(1, policy, 1), 10_000)
        .await
        .unwrap();
    left
}

/// How many tokens were taken of a bucket that refills one an hour.
async fn taken(buckets: &SharedBuckets, charges: &[Charge<'_>]) -> u64 {
    let debt = buckets.peek(charges).await.unwrap().debts[0];
    (debt.as_secs_f64() / 3600.0).round() as u64
}

#[tokio::test]
async fn those_who_ask_at_once_share_calls_and_are_granted_exactly_what_there_is() {
    let server = Server::start();
    let (a, b) = (node(&server.url()).await, node(&server.url()).await);
    let policy = still("hot", 500);
    a.adjust(1, &policy, Change::Refund(1)).await.unwrap();
    let before = calls(&server);
    let all = (0..400).map(async |n| {
        let buckets = if n % 2 == 0 { &a } else { &b };
        let taken = buckets
            .take(&[charge(1, &policy, 1 + n % 3)])
            .await
            .unwrap();
        if taken.granted {
            1 + n % 3
        } else {
            0
        }
    });
    let granted: u64 = join_all(all).await.into_iter().sum();
    let made = calls(&server) - before;
    // Who asks for one token may pass where one who asks for three cannot: so nothing is left.
    assert_eq!(granted + left(&a, &policy).await, 500);
    assert!(granted > 497, "{granted}");
    println!("400 decisions of two processes in {made} calls");
    assert!(made < 20, "{made}");
}

#[tokio::test]
async fn one_who_asks_for_less_passes_where_one_before_could_not() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 11);
    // The first one makes a call of its own, before or after the one for those behind it.
    let costs = [1, 8, 5, 1, 5, 1];
    let take = async |cost| {
        let taken = buckets.take(&[charge(1, &policy, cost)]).await.unwrap();
        taken.granted
    };
    let answers = join_all(costs.map(take)).await;
    let expected = [true, true, false, true, false, true];
    assert_eq!(answers, expected, "as one after the other");
    assert_eq!(left(&buckets, &policy).await, 0);
}

#[tokio::test]
async fn who_stops_waiting_takes_nothing() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 5_000);
    let one = [charge(1, &policy, 1)];
    let told = AtomicU64::new(0);
    let take = async || {
        let taken = buckets.take(&one).await.unwrap();
        told.fetch_add(u64::from(taken.granted), Ordering::Relaxed);
    };
    for round in 0..60_u64 {
        let others = join_all((0..40).map(|_| take()));
        // The first one's call is answered, or nearly, and what the others asked is under way, or nearly.
        let brief = Duration::from_micros(100 * (round % 12));
        let _ = tokio::join!(take(), tokio::time::timeout(brief, others));
    }
    let told = told.into_inner();
    // What was granted for those who are gone is on its way back.
    eventually(async || taken(&buckets, &one).await <= told && buckets.inner.lines.is_empty())
        .await;
    println!("{told} tokens were taken by 2460 who asked");
    assert_eq!(5_000 - left(&buckets, &policy).await, told);
}

#[tokio::test]
async fn what_was_granted_for_nobody_is_given_back() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 1_000);
    let charges = [charge(1, &policy, 1)];
    let mut first = tokio::spawn({
        let (buckets, policy) = (buckets.clone(), policy.clone());
        async move { buckets.take(&[charge(1, &policy, 1)]).await }
    });
    tokio::task::yield_now().await;
    // They wait in line, the call for them is made, answered, and they have not looked yet.
    let mut others: Vec<_> = (0..20).map(|_| Box::pin(buckets.take(&charges))).collect();
    for other in &mut others {
        assert!(other.now_or_never().is_none());
    }
    assert!((&mut first).await.unwrap().unwrap().granted);
    eventually(async || taken(&buckets, &charges).await == 21).await;
    drop(others);
    eventually(async || taken(&buckets, &charges).await == 1).await;
}

#[tokio::test]
async fn a_first_one_who_goes_leaves_the_line_to_the_others() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = still("p", 100);
    let charges = [charge(1, &policy, 1)];
    assert!(buckets.take(&charges).await.unwrap().granted);
    let mut first = Box::pin(buckets.take(&charges));
    assert!((&mut first).now_or_never().is_none());
    let mut others: Vec<_> = (0..5).map(|_| Box::pin(buckets.take(&charges))).collect();
    for other in &mut others {
        assert!(other.now_or_never().is_none());
    }
    drop(first);
    for taken in join_all(others).await {
        assert!(taken.unwrap().granted);
    }
    assert!(buckets.inner.lines.is_empty());
}

#[tokio::test]
async fn a_line_is_bounded_and_who_finds_it_full_is_refused() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    for capacity in [100, 10_000] {
        let policy = still(&format!("of {capacity}"), capacity);
        let charges: [Charge<'_>; 1] = [charge(1, &policy, 1)];
        let answers = join_all((0..1_100).map(|_| buckets.take(&charges))).await;
        let crowded_out = answers.last().unwrap().as_ref().unwrap();
        assert!(!crowded_out.granted);
        // Those in line want more than there is, or will have gone once they were answered or are too late.
        let wait = crowded_out.debts[0] + HOUR - HOUR * capacity as u32;
        let expected = if capacity == 100 { HOUR } else { MINUTE };
        assert!(wait.abs_diff(expected) < SECOND / 100, "{wait:?}");
        let granted = answers
            .iter()
            .filter(|answer| answer.as_ref().unwrap().granted);
        // The first one, and those who found room.
        assert_eq!(granted.count() as u64, capacity.min(1_025));
        assert!(buckets.inner.lines.is_empty());
    }
}

#[test]
fn a_line_ends_with_the_runtime_that_served_it() {
    let server = Server::start();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (policy, first) = (still("p", 100), runtime());
    let buckets = first.block_on(node(&server.url()));
    server.freeze();
    for _ in 0..10 {
        let (buckets, policy) = (buckets.clone(), policy.clone());
        first.spawn(async move { buckets.take(&[charge(1, &policy, 1)]).await });
    }
    first.block_on(eventually(async || !buckets.inner.lines.is_empty()));
    drop(first);
    server.thaw();
    // Once there are connections of this runtime.
    runtime().block_on(eventually(async || {
        buckets.take(&[charge(1, &policy, 1)]).await.is_ok()
    }));
}
