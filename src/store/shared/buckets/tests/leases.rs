//! Tokens taken in advance.

use std::sync::Arc;

use tokio::time::Instant;

use super::nodes::{excess, hammer, Log};
use super::{calls, charge, node, Duration, Server, SECOND};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::prepaid::{Prepaid, Turn};
use crate::store::shared::buckets::Policy;

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
    for demand in [5, 10, 20] {
        for _ in 0..demand {
            prepaid.wanted(&key, 1, &lease, now);
        }
        now += TURN;
        assert_eq!(prepaid.turn(&key, TURN, now), Turn::Next);
    }
    let wanted = prepaid.wanted(&key, 1, &lease, now).tokens;
    assert!((8..20).contains(&wanted), "{wanted}");
    for _ in 0..1_000 {
        prepaid.wanted(&key, 1, &lease, now);
    }
    now += TURN;
    assert_eq!(prepaid.turn(&key, TURN, now), Turn::Next);
    assert_eq!(prepaid.wanted(&key, 1, &lease, now).tokens, 25);
    prepaid.deposit(&key, 20, 0.0, TURN, now);
    assert_eq!(
        prepaid.wanted(&key, 30, &lease, now).tokens,
        5,
        "with what is held"
    );
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

/// G7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_exceed_a_window_by_no_more_than_what_they_hold_and_capped_ones_by_nothing() {
    let server = Server::start();
    let (rate, capacity, nodes) = (500_u64, 200_u64, 4);
    for capped in [false, true] {
        let name = if capped { "capped" } else { "leased" };
        let quota = Quota::per_second(rate).capacity(capacity);
        let policy = Policy::new(name, &quota).leased(nodes, 0.2, capped);
        let most = policy.lease().unwrap().most;
        let log = Log::default();
        let mut processes = Vec::new();
        for _ in 0..nodes {
            processes.push(node(&server.url()).await);
        }
        let (before, began) = (calls(&server), Instant::now());
        let callers: Vec<_> = (0..16)
            .map(|n| {
                let buckets = processes[n % 4].clone();
                tokio::spawn(hammer(
                    buckets,
                    n % 4,
                    policy.clone(),
                    Arc::clone(&log),
                    began,
                ))
            })
            .collect();
        let mut decisions = 0;
        for caller in callers {
            decisions += caller.await.unwrap();
        }
        let admitted = log.lock().len() as u64;
        let made = calls(&server) - before;
        let bound = if capped {
            0
        } else {
            u64::from(nodes) * (most - 1)
        };
        let all = capacity as f64 + rate as f64 * began.elapsed().as_secs_f64();
        let excess = excess(&log, capacity as f64, rate as f64);
        println!("{name}: {decisions} decisions, {admitted} of {all:.0} admitted, {made} calls, window excess {excess:.1}, bound {bound}");
        assert!(admitted as f64 <= all + bound as f64, "{admitted} of {all}");
    }
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
