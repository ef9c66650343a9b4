//! Who goes first.

use super::{begin, pacer, settle, upstream, SECOND};
use larder::limit::wait::Priority::{self, Background, Critical, Normal};
use larder::limit::Quota;

#[tokio::test]
async fn the_more_urgent_overtake_and_equals_keep_their_order() {
    let (pacer, clock) = pacer(Quota::per_second(1), |builder| builder);
    let (client, _) = upstream();
    begin(&pacer, &client, Critical)
        .await
        .answer()
        .await
        .unwrap();
    let mut calls = Vec::new();
    for priority in [Background, Normal, Background, Critical, Normal, Critical] {
        calls.push(begin(&pacer, &client, priority).await);
        settle().await;
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        clock.advance(SECOND);
        for (place, call) in calls.iter().enumerate() {
            if call.is_done().await && !order.contains(&place) {
                order.push(place);
            }
        }
    }
    assert_eq!(order, [3, 5, 1, 4, 0, 2]);
}

#[tokio::test]
async fn a_part_of_the_bucket_is_left_to_the_more_urgent() {
    let quota = Quota::per_second(1).capacity(20);
    let (pacer, _) = pacer(quota, |builder| builder);
    let (client, _) = upstream();
    let mut calls = Vec::new();
    for (priority, granted) in [
        (Background, [0, 0, 15]),
        (Normal, [0, 3, 15]),
        (Critical, [2, 3, 15]),
    ] {
        for _ in 0..20 {
            calls.push(begin(&pacer, &client, priority).await);
        }
        settle().await;
        assert_eq!(pacer.stats().granted, granted);
    }
}

#[tokio::test]
async fn a_more_urgent_one_does_not_wait_for_what_the_first_one_waits_for() {
    let (pacer, _) = pacer(Quota::per_second(1).capacity(4), |builder| builder);
    let (client, _) = upstream();
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(begin(&pacer, &client, Background).await);
        settle().await;
    }
    assert_eq!(
        pacer.stats().waiting,
        [0, 0, 1],
        "the last token is not its"
    );
    assert!(begin(&pacer, &client, Critical).await.is_done().await);
}

#[tokio::test]
async fn what_a_part_cannot_hold_may_use_the_whole_bucket() {
    let (pacer, _) = pacer(Quota::per_second(1).capacity(4), |builder| builder);
    let wait = pacer.ready_within("a", Background, 4, SECOND).await;
    assert!(wait.is_ok());
    // Of one token, nothing can be left to others.
    let small = larder::limit::wait::Pacer::new(Quota::per_second(1));
    assert!(small.ready("a", Background).await.is_ok());
}

#[tokio::test]
async fn one_who_waits_for_long_gets_its_share_of_the_rate_and_no_more() {
    let quota = Quota::per_second(10).capacity(10);
    let settings = |builder: larder::limit::wait::PacerBuilder| {
        builder
            .starvation(5 * SECOND, 0.1)
            .max_queue(5_000)
            .max_wait(10_000 * SECOND)
    };
    let (pacer, clock) = pacer(quota, settings);
    let (client, _) = upstream();
    let mut calls = Vec::new();
    for _ in 0..2_000 {
        calls.push(begin(&pacer, &client, Critical).await);
        if calls.len() % 20 == 0 {
            calls.push(begin(&pacer, &client, Background).await);
        }
    }
    let run = async |seconds: u32| {
        let before = pacer.stats().granted;
        for _ in 0..seconds * 20 {
            clock.advance(SECOND / 20);
            settle().await;
        }
        let after = pacer.stats().granted;
        [after[0] - before[0], after[2] - before[2]]
    };
    settle().await;
    let [_, background] = run(4).await;
    assert_eq!(background, 0, "nobody starves yet");
    run(2).await;
    let [critical, background] = run(50).await;
    println!("{critical} critical and {background} background calls in 50 s at 10 per second");
    assert!(
        (48..=52).contains(&background),
        "{background}: one per second"
    );
    assert!((499..=502).contains(&(critical + background)));
}

#[tokio::test]
async fn who_starves_gets_its_share_in_an_overload_that_does_not_end_however_long_it_waits_at_most()
{
    // After how long one starves, which share it gets, and how long it waits: seconds, the last by default 30.
    for (after, share, max_wait, expected) in [(1, 0.2, Some(5), 120), (5, 0.05, None, 30)] {
        let settings = |builder: larder::limit::wait::PacerBuilder| {
            let builder = builder.starvation(after * SECOND, share);
            max_wait.map_or(builder.clone(), |wait| builder.max_wait(wait * SECOND))
        };
        let (pacer, clock) = pacer(Quota::per_second(10).capacity(10), settings);
        let (client, _) = upstream();
        let mut calls = Vec::new();
        let mut at_a_minute = 0;
        for tick in 0..2 * 60 * 12 {
            if tick == 60 * 12 {
                at_a_minute = pacer.stats().granted[2];
            }
            // 12 a second of 10.
            calls.push(begin(&pacer, &client, Critical).await);
            calls.push(begin(&pacer, &client, Background).await);
            clock.advance(SECOND / 12);
            settle().await;
        }
        let served = pacer.stats().granted[2] - at_a_minute;
        println!("{served} of {expected} background calls in the second minute of an overload");
        assert!((expected - 5..=expected + 5).contains(&served), "{served}");
    }
}

#[tokio::test]
async fn a_full_queue_sheds_the_least_urgent_first() {
    let (pacer, _) = pacer(Quota::per_second(1), |builder| builder.max_queue(2));
    let (client, _) = upstream();
    begin(&pacer, &client, Critical)
        .await
        .answer()
        .await
        .unwrap();
    let kept = begin(&pacer, &client, Background).await;
    let shed = begin(&pacer, &client, Background).await;
    let comes = begin(&pacer, &client, Priority::default()).await;
    assert!(shed.is_done().await);
    let refused = begin(&pacer, &client, Background)
        .await
        .answer()
        .await
        .unwrap_err();
    assert!(refused.is_queue_full());
    assert!(!kept.is_done().await && !comes.is_done().await);
    assert_eq!(pacer.stats().shed, 2);
}
