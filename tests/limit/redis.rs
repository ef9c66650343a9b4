//! Buckets that processes share, and what happens without their Redis.

#[path = "../support/server.rs"]
mod server;

use std::time::Duration;

use futures_util::future::FutureExt;
use larder::limit::{Decision, Fallback};
use larder::{LimitLayer, Limiter, Quota, Redis};
use server::Server;

use crate::support::Origin;
use crate::{ask, from, passing};

/// A limiter of its own, as a process has one.
async fn node(server: &Server, quota: Quota, fallback: Fallback) -> Limiter {
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let builder = Limiter::builder(quota).name("api").redis(redis);
    builder.fallback(fallback).build().unwrap()
}

async fn admitted(limiter: &Limiter, times: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..times {
        admitted += usize::from(limiter.take("ada", 1).await.is_admitted());
    }
    admitted
}

#[tokio::test]
async fn processes_share_their_buckets() {
    let server = Server::start();
    let quota = Quota::per_hour(10);
    let local = Fallback::Local { share: 2 };
    let (a, b) = (
        node(&server, quota, local).await,
        node(&server, quota, local).await,
    );
    assert_eq!(admitted(&a, 4).await, 4);
    assert!(matches!(
        b.take("ada", 1).await,
        Decision::Admitted { left: 5, .. }
    ));
    assert_eq!(admitted(&b, 20).await, 5);
    assert!(matches!(a.take("ada", 1).await, Decision::Refused { .. }));
    assert_eq!(a.take("ada", 11).await, Decision::Never);
    b.refund("ada", 3).await;
    assert!(matches!(
        a.peek("ada", 3).await,
        Decision::Admitted { left: 0, .. }
    ));
    a.reserve("bob", 5).await.unwrap().settle(1).await;
    assert!(matches!(
        b.take("bob", 1).await,
        Decision::Admitted { left: 8, .. }
    ));
}

#[tokio::test]
async fn a_layer_asks_redis_once_and_answers_as_without_it() {
    let server = Server::start();
    let layer = |redis: Redis| {
        LimitLayer::new(Quota::per_hour(100))
            .name("hour")
            .by_peer_ip()
            .redis(redis)
            .and(Quota::per_minute(3))
            .name("minute")
    };
    let redis = || Redis::open(server.url()).unwrap();
    let (first, second) = (redis(), redis());
    assert!(first.connected(Duration::from_secs(5)).await);
    assert!(second.connected(Duration::from_secs(5)).await);
    let (a, b) = (layer(first), layer(second));
    let origin = Origin::counting();
    let answer = ask(&a, &origin, from("192.0.2.1")).await;
    assert_eq!(answer.field("ratelimit"), "\"minute\";r=2;t=20");
    assert_eq!(passing(&b, &origin, 5, "192.0.2.1").await, 2);
    let refused = ask(&a, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("[\"minute\"]"), "{refused:?}");
    assert!(["19", "20"].contains(&&*refused.field("retry-after")));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test]
async fn alone_a_process_goes_on_from_what_it_was_granted_and_grants_its_share() {
    let mut server = Server::start();
    let quota = Quota::per_hour(10);
    let a = node(&server, quota, Fallback::Local { share: 2 }).await;
    assert_eq!(admitted(&a, 3).await, 3);
    server.kill();
    // Its share is 5, of which 3 are gone.
    assert_eq!(admitted(&a, 20).await, 2);
    assert_eq!(a.stats().alone, 20);
}

#[tokio::test]
async fn without_redis_a_limiter_opens_or_closes_where_it_is_set_to() {
    let mut server = Server::start();
    let open = node(&server, Quota::per_hour(1), Fallback::Open).await;
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let closed = LimitLayer::new(Quota::per_hour(9))
        .name("closed")
        .by_peer_ip()
        .redis(redis);
    let closed = closed.fallback(Fallback::Closed);
    let origin = Origin::counting();
    assert_eq!(passing(&closed, &origin, 1, "192.0.2.1").await, 1);
    server.kill();
    assert_eq!(admitted(&open, 20).await, 20);
    assert_eq!(open.stats().opened, 20);
    let refused = ask(&closed, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("#temporary-reduced-capacity"));
    let wait: u64 = refused.field("retry-after").parse().unwrap();
    assert!((1..=3).contains(&wait));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn what_was_admitted_alone_is_charged_when_redis_is_back() {
    let mut server = Server::start();
    let quota = Quota::per_hour(10);
    let a = node(&server, quota, Fallback::Local { share: 2 }).await;
    server.kill();
    assert_eq!(admitted(&a, 20).await, 5);
    server.restart();
    let b = node(&server, quota, Fallback::Closed).await;
    let bucket = || async {
        // Any decision that Redis answers will do.
        let _ = a.take("bob", 1).await;
        b.peek("ada", 1).await
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !matches!(bucket().await, Decision::Admitted { left: 4, .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("of 10, 5 are gone");
}

#[tokio::test]
async fn a_crowd_at_one_key_does_not_open_a_limiter_while_redis_is_well() {
    let server = Server::start();
    let quota = Quota::per_hour(10);
    let limiter = node(&server, quota, Fallback::Open).await;
    let crowd = (0..3_000).map(|_| limiter.take("ada", 1));
    let told = futures_util::future::join_all(crowd).await;
    // Those in the middle of the crowd, or behind it: none may find it open.
    assert!(told.iter().skip(1_100).all(|told| !told.is_admitted()));
    let stats = limiter.stats();
    assert_eq!(stats.admitted - stats.opened, 10);
}

#[tokio::test]
async fn too_many_calls_to_redis_do_not_open_a_limiter() {
    let server = Server::start();
    let redis = Redis::builder(server.url()).in_flight(1).build().unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let builder = Limiter::builder(Quota::per_hour(1)).name("api");
    let builder = builder.redis(redis).fallback(Fallback::Open);
    let limiter = builder.build().unwrap();
    let crowd = (0..50).map(|n| limiter.take(n.to_string(), 1));
    let told = futures_util::future::join_all(crowd).await;
    let refused = |told: &&Decision| matches!(told, Decision::Refused { .. });
    assert!(told.iter().filter(refused).count() > 40, "{told:?}");
    assert_eq!(limiter.stats().opened, 0);
}

#[tokio::test]
async fn capped_leases_tell_what_their_bucket_holds() {
    let server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let builder = Limiter::builder(Quota::per_hour(10)).name("api");
    // Two for each of four processes are left in the bucket.
    let limiter = builder.redis(redis).capped_leases(4, 0.8).build().unwrap();
    let told = limiter.take("ada", 1).await;
    assert!(
        matches!(told, Decision::Admitted { left: 1, .. }),
        "{told:?}"
    );
    let told = limiter.take("ada", 1).await;
    assert!(
        matches!(told, Decision::Admitted { left: 0, .. }),
        "{told:?}"
    );
    let told = limiter.take("ada", 1).await;
    let Decision::Refused { wait } = told else {
        panic!("{told:?}");
    };
    assert!(
        wait.abs_diff(Duration::from_secs(360)) < Duration::from_secs(30),
        "{wait:?}"
    );
    assert!(matches!(
        limiter.peek("ada", 2).await,
        Decision::Refused { .. }
    ));
    assert_eq!(limiter.take("bob", 3).await, Decision::Never);
    assert_eq!(limiter.peek("bob", 3).await, Decision::Never);
}

#[tokio::test]
async fn a_first_one_who_is_not_polled_keeps_nobody_from_an_answer() {
    let server = Server::start();
    let quota = Quota::per_hour(10);
    let limiter = node(&server, quota, Fallback::Open).await;
    let mut first = Box::pin(limiter.take("ada", 1));
    assert!((&mut first).now_or_never().is_none());
    let others = admitted(&limiter, 20).await;
    let all = others + usize::from(first.await.is_admitted());
    assert_eq!(all, 10, "its call may come before or after");
    assert_eq!(limiter.stats().opened, 0);
}

/// How often the server was asked to run a script.
fn calls(server: &Server) -> u64 {
    let stats = server.cli(&["info", "commandstats"]);
    let scripts = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"));
    let calls = scripts.filter_map(|line| line.split(['=', ',']).nth(1)?.parse::<u64>().ok());
    calls.sum()
}

#[tokio::test]
async fn a_refusal_of_several_quotas_that_is_known_is_not_asked_again() {
    let server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let layer = LimitLayer::new(Quota::per_hour(1))
        .name("hour")
        .by_peer_ip()
        .redis(redis)
        .and(Quota::per_hour(100))
        .name("more")
        .and(Quota::per_hour(50))
        .name("all")
        .by_everyone();
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 3, "192.0.2.1").await, 1);
    let before = calls(&server);
    for _ in 0..50 {
        let refused = ask(&layer.clone().tell_all(), &origin, from("192.0.2.1")).await;
        assert_eq!(refused.field("retry-after"), "3600");
        assert!(
            refused.field("ratelimit").contains("\"more\";r=98"),
            "{refused:?}"
        );
        assert!(
            refused.field("ratelimit").contains("\"all\";r=48"),
            "{refused:?}"
        );
    }
    assert_eq!(calls(&server), before);
    assert_eq!(passing(&layer, &origin, 1, "192.0.2.2").await, 1);
}

#[tokio::test]
async fn what_was_not_asked_is_not_told_to_refuse() {
    let server = Server::start();
    let local = Limiter::new(Quota::per_hour(1));
    let shared = node(&server, Quota::per_hour(4), Fallback::Local { share: 8 }).await;
    assert!(local.take("ada", 1).await.is_admitted());
    let both = |cost| [(&local, "ada".into(), 1), (&shared, "ada".into(), cost)];
    let told = Limiter::take_all(&both(2)).await;
    assert!(matches!(told[0], Decision::Refused { .. }), "{told:?}");
    assert!(told[1].is_admitted(), "{told:?}");
    let told = Limiter::take_all(&both(5)).await;
    assert_eq!(told[1], Decision::Never);
    server.freeze();
    let told = shared.peek("ada", 2).await;
    assert!(matches!(told, Decision::Refused { .. }), "{told:?}");
    server.thaw();
}

#[tokio::test]
async fn limiters_of_one_redis_are_asked_in_one_trip() {
    let server = Server::start();
    let redis = Redis::open(server.url()).unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let limiter = |name: &'static str, quota| {
        let builder = Limiter::builder(quota).name(name).redis(redis.clone());
        builder.fallback(Fallback::Closed).build().unwrap()
    };
    let (hour, minute) = (
        limiter("hour", Quota::per_hour(9)),
        limiter("minute", Quota::per_minute(5)),
    );
    let both = |cost| [(&hour, "ada".into(), cost), (&minute, "ada".into(), cost)];
    let told = Limiter::take_all(&both(3)).await;
    assert!(told.iter().all(Decision::is_admitted), "{told:?}");
    let before = calls(&server);
    let told = Limiter::take_all(&both(4)).await;
    assert!(matches!(told[1], Decision::Refused { .. }), "{told:?}");
    assert_eq!(calls(&server), before + 1);
    assert!(hour.take("ada", 6).await.is_admitted(), "nothing was taken");
    // Of one bucket, whoever asks for it, the sum is asked for.
    let same = limiter("minute", Quota::per_minute(5));
    let told = Limiter::take_all(&[(&same, "bob".into(), 3), (&minute, "bob".into(), 3)]).await;
    assert_eq!(told, [Decision::Never, Decision::Never]);
    let told = Limiter::take_all(&[(&same, "bob".into(), 2), (&minute, "bob".into(), 3)]).await;
    assert!(told.iter().all(Decision::is_admitted), "{told:?}");
    let told = Limiter::take_all(&[(&same, "bob".into(), 1), (&minute, "bob".into(), 1)]).await;
    let told_wait = told
        .iter()
        .all(|told| matches!(told, Decision::Refused { wait } if *wait > Duration::from_secs(20)));
    assert!(told_wait, "{told:?}");
}
