//! Tokens taken in advance.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::{calls, charge, node, steps, Duration, Server, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::prepaid::{Prepaid, Turn};
use crate::store::shared::buckets::{Policy, SharedBuckets};

const TURN: Duration = Duration::from_millis(200);

fn key() -> Arc<[u8]> {
    Arc::from(&b"key"[..])
}

#[test]
fn a_lease_follows_the_demand_and_never_exceeds_what_it_may() {
    let quota = Quota::per_second(1_000).capacity(400);
    assert!(Policy::new("p", &quota)
        .leased(4, 0.005, false)
        .lease()
        .is_none());
    let lease = Policy::new("p", &quota)
        .leased(4, 0.25, false)
        .lease()
        .unwrap();
    assert_eq!((lease.most, lease.turn), (26, TURN));
    // What four processes may hold is not in a bucket that is capped.
    let capped = Policy::new("p", &quota).leased(4, 0.25, true);
    assert!(capped.ask(300).answered(0.0).granted && !capped.ask(301).answered(0.0).granted);
    let prepaid = Prepaid::default();
    let (key, mut now) = (key(), Instant::now());
    let first = prepaid.wanted(&key, 1, &lease, now);
    assert!(
        first.tokens == 0 && first.is_new,
        "nobody knows the demand yet"
    );
    // What a call asks for that brings nothing.
    let wanted = |now| {
        let tokens = prepaid.wanted(&key, 1, &lease, now).tokens;
        prepaid.came(&key, tokens);
        tokens
    };
    for demand in [5, 10, 20] {
        for _ in 0..demand {
            wanted(now);
        }
        now += TURN;
        assert_eq!(prepaid.turn(&key, TURN, now), Turn::Next);
    }
    assert!((8..20).contains(&wanted(now)), "{}", wanted(now));
    for _ in 0..1_000 {
        wanted(now);
    }
    now += TURN;
    assert_eq!(prepaid.turn(&key, TURN, now), Turn::Next);
    assert_eq!(prepaid.wanted(&key, 1, &lease, now).tokens, 25);
    let beside = prepaid.wanted(&key, 1, &lease, now).tokens;
    assert_eq!(beside, 0, "they may all be granted");
    prepaid.deposit(&key, 20, 0.0, TURN, now);
    prepaid.came(&key, 25);
    let more = prepaid.wanted(&key, 30, &lease, now).tokens;
    assert_eq!(more, 5, "with what is held");
}

#[test]
fn what_is_not_spent_goes_back_and_a_bucket_nobody_asks_for_is_forgotten() {
    let lease = Policy::new("p", &Quota::per_second(100))
        .leased(2, 0.2, false)
        .lease()
        .unwrap();
    let prepaid = Prepaid::default();
    let (key, now) = (key(), Instant::now());
    prepaid.wanted(&key, 1, &lease, now);
    prepaid.deposit(&key, 6, 0.0, TURN, now);
    assert!(prepaid.spend(&key, 4, now + TURN).unwrap().granted);
    assert!(prepaid.spend(&key, 3, now + TURN).is_none());
    assert_eq!(prepaid.turn(&key, TURN, now + TURN), Turn::Next);
    assert!(prepaid.spend(&key, 1, now + 2 * TURN).is_none(), "too late");
    let token = lease.token;
    let returned = Turn::Return { tokens: 2, token };
    assert_eq!(prepaid.turn(&key, TURN, now + 2 * TURN), returned);
    assert_eq!(prepaid.turn(&key, TURN, now + 3 * TURN), Turn::Last);
    assert!(prepaid.wanted(&key, 1, &lease, now + 3 * TURN).is_new);
}

/// Each process makes itself hold as much as it may, then all idle until the bucket is full, and then all
/// spend what they hold and what the bucket holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_all_who_hold_leases_exceeds_a_window_by_no_more_than_they_hold_and_capped_by_nothing(
) {
    let server = Server::start();
    let (rate, capacity, nodes) = (2_000_u64, 200_u64, 4);
    let rounds = steps(8_000) / 1_000;
    for capped in [false, true] {
        let name = if capped { "capped" } else { "leased" };
        let quota = Quota::per_second(rate).capacity(capacity);
        let policy = Policy::new(name, &quota).leased(nodes, 0.2, capped);
        let held = policy.lease().unwrap().most - 1;
        let bound = if capped { 0 } else { u64::from(nodes) * held };
        let ledger = Ledger::of(&server, &format!(":{name}"));
        let mut processes = Vec::new();
        for _ in 0..nodes {
            processes.push(node(&server.url()).await);
        }
        let (mut admitted, mut worst) = (0, f64::MIN);
        for _ in 0..rounds {
            let hoards = processes
                .iter()
                .map(|process| hoard(process, &policy, held));
            admitted += join_all(hoards).await.into_iter().sum::<u64>();
            tokio::time::sleep(quota.refill_time() + SECOND / 200).await;
            let began = Instant::now();
            let bursts = processes.iter().map(|process| burst(process, &policy));
            let passed: u64 = join_all(bursts).await.into_iter().sum();
            // From before the first one was admitted until after the last one was.
            let may = capacity as f64 + rate as f64 * began.elapsed().as_secs_f64();
            worst = f64::max(worst, passed as f64 - may);
            assert!(passed as f64 <= may + bound as f64, "{passed} of {may}");
            admitted += passed;
        }
        for process in &processes {
            process.return_leases().await;
        }
        let taken: f64 = ledger
            .taken(1e6 / rate as f64)
            .iter()
            .map(|one| one.tokens)
            .sum();
        println!("{name}: {rounds} bursts, {worst:.1} of at most {bound} beyond a window, {admitted} admitted, {taken:.0} paid");
        // In the long run, whoever was admitted was paid for.
        assert!(admitted as f64 <= taken + 1e-6, "{admitted} of {taken}");
    }
}

/// Asks until the process holds so many tokens in advance, if it ever does: several at a time, of whom the first two
/// make calls of their own. How many were admitted.
async fn hoard(process: &SharedBuckets, policy: &Policy, most: u64) -> u64 {
    let key = process.inner.key(1, policy);
    let (mut admitted, one) = (0, [charge(1, policy, 1)]);
    for _ in 0..50 {
        let told = join_all((0..3).map(|_| process.take(&one))).await;
        let passed = told.iter().filter(|taken| taken.as_ref().unwrap().granted);
        admitted += passed.count() as u64;
        let held = process.inner.prepaid.held(&key);
        assert!(held <= most, "{held} of at most {most}");
        if held == most {
            break;
        }
        tokio::time::sleep(SECOND / 250).await;
    }
    admitted
}

/// Asks until it is refused.
async fn burst(process: &SharedBuckets, policy: &Policy) -> u64 {
    let mut admitted = 0;
    let one = [charge(1, policy, 1)];
    while process.take(&one).await.unwrap().granted {
        admitted += 1;
    }
    admitted
}

#[tokio::test]
async fn a_steady_demand_below_the_rate_is_served_with_few_calls_and_loses_nothing() {
    let server = Server::start();
    let buckets = node(&server.url()).await;
    let policy = Policy::new("p", &Quota::per_second(400)).leased(2, 0.2, false);
    let before = calls(&server);
    let (mut decisions, began) = (0_u64, Instant::now());
    let mut tick = tokio::time::interval(SECOND / 300);
    // After a pause of the machine nobody catches up, which would be a burst.
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while began.elapsed() < 2 * SECOND {
        tick.tick().await;
        decisions += 1;
        assert!(
            buckets
                .take(&[charge(1, &policy, 1)])
                .await
                .unwrap()
                .granted
        );
    }
    let made = calls(&server) - before;
    println!("{decisions} decisions in {made} calls");
    assert!(made * 4 < decisions, "{made} of {decisions}");
    buckets.return_leases().await;
}
