//! Several quotas for one request: all of them or none.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use larder::limit::{Decision, Key};
use larder::{LimitLayer, Limiter, Quota};

use crate::support::Origin;
use crate::{ask, by_peer, from, passing};

#[tokio::test]
async fn a_request_needs_all_quotas_and_the_refusal_names_those_that_refuse() {
    let (layer, clock) = by_peer(Quota::per_second(2));
    let layer = layer
        .name("burst")
        .and(Quota::per_minute(3))
        .name("minute")
        .clock(clock.clock());
    let origin = Origin::counting();
    let first = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(
        first.field("ratelimit-policy"),
        "\"burst\";q=2;w=1, \"minute\";q=3;w=60"
    );
    assert_eq!(
        first.field("ratelimit"),
        "\"burst\";r=1;t=1",
        "the tightest"
    );
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.1").await, 1);
    let refused = ask(&layer, &origin, from("192.0.2.1")).await;
    assert!(refused.text().contains("\"violated-policies\":[\"burst\"]"));

    clock.advance(Duration::from_secs(1));
    assert_eq!(
        passing(&layer, &origin, 5, "192.0.2.1").await,
        1,
        "refusals took nothing"
    );
    let refused = ask(&layer, &origin, from("192.0.2.1")).await;
    assert!(refused
        .text()
        .contains("\"violated-policies\":[\"minute\"]"));
    assert_eq!(refused.field("retry-after"), "19");
    assert_eq!(refused.field("ratelimit"), "\"minute\";r=0;t=19");

    let all = ask(&layer.tell_all(), &origin, from("192.0.2.1")).await;
    assert_eq!(
        all.field("ratelimit"),
        "\"burst\";r=0;t=1, \"minute\";r=0;t=19"
    );
}

#[tokio::test]
async fn the_longest_wait_is_told() {
    let (layer, clock) = by_peer(Quota::new(1, Duration::from_secs(5)));
    let layer = layer
        .and(Quota::new(1, Duration::from_secs(50)))
        .and(Quota::new(1, Duration::from_secs(20)))
        .clock(clock.clock());
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 1);
    let refused = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.field("retry-after"), "50");
    assert!(refused
        .text()
        .contains("[\"default\",\"default-2\",\"default-3\"]"));
    assert_eq!(refused.field("ratelimit"), "\"default-2\";r=0;t=50");
}

#[tokio::test]
async fn one_bucket_named_twice_is_asked_for_the_sum() {
    let limiter = Limiter::new(Quota::per_minute(5));
    let twice = [
        (&limiter, Key::from("ada"), 3),
        (&limiter, Key::from("ada"), 3),
    ];
    let told = Limiter::take_all(&twice).await;
    assert!(told.iter().all(|told| *told == Decision::Never), "{told:?}");
    let fits = [
        (&limiter, Key::from("ada"), 2),
        (&limiter, Key::from("ada"), 3),
    ];
    assert!(Limiter::take_all(&fits)
        .await
        .iter()
        .all(Decision::is_admitted));
    assert!(!limiter.take("ada", 1).await.is_admitted());
}

#[tokio::test]
async fn a_new_bucket_that_refuses_beside_others_fills_from_then_on() {
    let clock = larder::ManualClock::new();
    let limiter = |tokens| {
        let builder = Limiter::builder(Quota::per_second(10)).clock(clock.clock());
        builder.initial_level(tokens).build().unwrap()
    };
    let (empty, full) = (limiter(0), limiter(10));
    let both = [(&empty, Key::from("ada"), 1), (&full, Key::from("ada"), 10)];
    let told = Limiter::take_all(&both).await;
    let Decision::Refused { wait } = told[0] else {
        panic!("it begins empty: {told:?}");
    };
    clock.advance(wait);
    let told = Limiter::take_all(&both).await;
    assert!(told.iter().all(Decision::is_admitted), "{told:?}");

    // So it does where an answer settles what its request cost.
    let layer = LimitLayer::new(Quota::per_second(10)).clock(clock.clock());
    let layer = layer.initial_level(0).by_peer_ip();
    let layer = layer.refund_when(|answer| answer.status.is_server_error());
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 3, "192.0.2.1").await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(passing(&layer, &origin, 3, "192.0.2.1").await, 3);
}

#[tokio::test]
async fn random_refusals_take_nothing_from_any_bucket() {
    let clock = larder::ManualClock::new();
    let limiter = |quota| {
        Limiter::builder(quota)
            .clock(clock.clock())
            .build()
            .unwrap()
    };
    let (small, large) = (
        limiter(Quota::per_hour(10)),
        limiter(Quota::per_hour(1_000)),
    );
    assert!(small.take("ada", 10).await.is_admitted());
    assert!(large.take("ada", 400).await.is_admitted());
    let before = large.peek("ada", 1).await;
    for n in 0..10_000_u64 {
        let charges = [
            (&large, Key::from("ada"), n % 600),
            (&small, Key::from("ada"), 1 + n % 9),
        ];
        let told = Limiter::take_all(&charges).await;
        assert!(!told[1].is_admitted());
    }
    assert_eq!(large.peek("ada", 1).await, before);
}

/// Each round two threads race for one token in each of two buckets, in opposite order.
#[test]
fn whoever_loses_a_race_for_one_of_two_buckets_gives_the_other_back() {
    const ROUNDS: u64 = 5_000;
    let limiter = || {
        let builder = Limiter::builder(Quota::per_hour(1));
        builder.max_keys(ROUNDS as usize).build().unwrap()
    };
    let (a, b) = (limiter(), limiter());
    let start = Barrier::new(2);
    let race = |reversed: bool| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            let key = || Key::from(round.to_string());
            let mut charges = [(&a, key(), 1), (&b, key(), 1)];
            if reversed {
                charges.reverse();
            }
            start.wait();
            let told = runtime.block_on(Limiter::take_all(&charges));
            won.push(told.iter().all(Decision::is_admitted));
        }
        won
    };
    let (mine, theirs) = thread::scope(|scope| {
        let other = scope.spawn(|| race(true));
        (race(false), other.join().unwrap())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for round in 0..ROUNDS {
        let won = (mine[round as usize], theirs[round as usize]);
        assert_ne!(won, (true, true), "both");
        // Both may have been in the other's way, but then nothing is taken.
        let left = u64::from(won == (false, false));
        for limiter in [&a, &b] {
            let key = round.to_string();
            let told = runtime.block_on(limiter.take(&key, left));
            assert!(told.is_admitted(), "{won:?}");
            assert!(
                !runtime.block_on(limiter.take(&key, 1)).is_admitted(),
                "{won:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_for_all_and_one_for_each() {
    let origin = Origin::counting();
    let layer = LimitLayer::new(Quota::per_hour(5))
        .name("all")
        .by_everyone()
        .and(Quota::per_hour(2))
        .name("each")
        .by_peer_ip();
    let mut passed = Vec::new();
    for peer in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        passed.push(passing(&layer, &origin, 4, peer).await);
    }
    assert_eq!(passed, [2, 2, 1]);
}
