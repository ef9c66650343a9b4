//! How often Redis is asked.

use std::convert::Infallible;
use std::time::Duration;

use crate::drive::spawn;
use crate::nodes::*;
use crate::support::*;

/// Waits for stores that are under way.
async fn asked(monitor: &Monitor, expected: &[&str]) {
    let mut all = Vec::new();
    eventually(|| {
        all.extend(monitor.asked());
        all.sort();
        std::future::ready(all.len() >= expected.len())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    all.extend(monitor.asked());
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(all, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_is_one_get_and_one_set_and_a_hit_in_redis_one_get_and_a_near_hit_nothing() {
    let prefix = prefix();
    let clock = larder::ManualClock::new();
    let a = node(&prefix, |b| b.clock(clock.clock())).await;
    let b = node(&prefix, |b| b.clock(clock.clock())).await;
    let monitor = Monitor::watching(&prefix);
    let (posts, origin) = (get("/posts", &[]), Origin::counting());
    send(&layer(&a), &origin, posts.clone()).await;
    asked(&monitor, &["GET e", "SET e"]).await;
    for (asks, decision) in [
        (&["GET e"][..], "hit; ttl=60; detail=shared"),
        (&[], "hit; ttl=60"),
    ] {
        let answer = send(&layer(&b), &origin, posts.clone()).await;
        assert_eq!(answer.decision(), decision);
        asked(&monitor, asks).await;
    }
    // A crowd asks once.
    let users = get("/users", &[]);
    send(&layer(&a), &origin, users.clone()).await;
    asked(&monitor, &["GET e", "SET e"]).await;
    let crowd: Vec<_> = (0..64)
        .map(|_| spawn(&layer(&b), &origin, users.clone()))
        .collect();
    for client in crowd {
        assert_eq!(client.await.unwrap().text(), "call 2");
    }
    asked(&monitor, &["GET e"]).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_varying_hit_is_one_get_for_whoever_knows_what_it_varies_on_also_after_an_eviction() {
    let prefix = prefix();
    let a = node(&prefix, |b| b).await;
    let small = |builder: larder::CacheBuilder| builder.capacity(64 << 10).body_limit(2 << 10);
    let b = node(&prefix, small).await;
    let monitor = Monitor::watching(&prefix);
    let origin = Origin::with_fields(&[("vary", "accept")]);
    let [de, en] = ["de", "en"].map(|accept| get("/posts", &[("accept", accept)]));
    send(&layer(&a), &origin, de.clone()).await;
    asked(&monitor, &["GET e", "SET e", "SET e"]).await; // the record, too
    send(&layer(&a), &origin, en.clone()).await;
    asked(&monitor, &["GET e", "SET e", "SET e"]).await;
    // The first one to hear of it asks for the record as well.
    assert!(ask(&layer(&b), &de).await.is_some());
    asked(&monitor, &["GET e", "GET e"]).await;
    assert!(ask(&layer(&b), &en).await.is_some());
    asked(&monitor, &["GET e"]).await;

    let large = Origin::new(|_| text("x".repeat(2 << 10)));
    for n in 0..200 {
        send(&layer(&b), &large, get(&format!("/{n}"), &[])).await;
    }
    asked(&monitor, &["GET e", "SET e"].repeat(200)).await;
    for request in [&de, &en] {
        let answer = ask(&layer(&b), request).await.unwrap();
        assert!(
            answer.decision().ends_with("detail=shared"),
            "it was evicted: {answer:?}"
        );
        asked(&monitor, &["GET e"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_hit_asks_the_clock_alone_for_what_is_near_and_with_the_response_for_what_is_not()
{
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |b| b).await,
        node(&prefix, |b| b.near(false)).await,
    );
    let strict = |cache| layer(cache).strict(true);
    let monitor = Monitor::watching(&prefix);
    let (posts, origin) = (get("/posts", &[]), Origin::counting());
    send(&strict(&a), &origin, posts.clone()).await;
    asked(&monitor, &["GET e", "GETRANGE c", "SET e"]).await;
    for _ in 0..2 {
        assert!(ask(&strict(&a), &posts).await.is_some());
        asked(&monitor, &["GETRANGE c"]).await;
    }
    for _ in 0..2 {
        assert!(ask(&layer(&b), &posts).await.is_some());
        assert_eq!(
            monitor.asked(),
            ["GET e", "GETRANGE c"],
            "the clock after the response"
        );
    }
    // A relaxed route of the same cache asks nothing.
    assert!(ask(&layer(&a), &posts).await.is_some());
    asked(&monitor, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_value_costs_what_a_response_costs() {
    let prefix = prefix();
    let (a, b) = (node(&prefix, |b| b).await, node(&prefix, |b| b).await);
    let far = node(&prefix, |b| b.near(false)).await;
    let monitor = Monitor::watching(&prefix);
    let rows = [
        (&a, &["GET e", "SET e"][..]),
        (&b, &["GET e"]),
        (&b, &[]),
        (&far, &["GET e", "GETRANGE c"]),
    ];
    for (node, expected) in rows {
        let compute = || async { Ok::<_, Infallible>(7) };
        let value = node
            .get_or_compute("seven", MINUTE, ["posts"], compute)
            .await;
        assert_eq!(value, Ok(7));
        asked(&monitor, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_lies_in_redis_for_as_long_as_it_may_answer_and_no_longer() {
    let prefix = prefix();
    let a = node(&prefix, |b| b).await;
    let stale = layer(&a)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(3 * MINUTE);
    let mut redis = raw(&SERVER);
    for (uri, layer, minutes) in [("/a", layer(&a), 1), ("/b", stale, 4)] {
        let before = entries(&mut redis, &prefix);
        send(&layer, &Origin::counting(), get(uri, &[])).await;
        eventually(|| std::future::ready(entries(&mut redis, &prefix).len() > before.len())).await;
        let all = entries(&mut redis, &prefix);
        let key = all.iter().find(|key| !before.contains(key));
        let left: u64 = redis::cmd("PTTL").arg(key).query(&mut redis).unwrap();
        let expected = minutes * 60_000;
        assert!(
            left <= expected && left > expected - 10_000,
            "{uri}: {left}"
        );
    }
}
