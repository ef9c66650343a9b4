//! Buckets that processes share, and what happens without their Redis.

use std::time::Duration;

use crate::server::Server;
use crate::support::Origin;
use crate::{ask, from, passing};
use futures_util::future::FutureExt;
use larder::limit::{CallStats, Decision, Fallback};
use larder::{LimitLayer, Limiter, Quota, Redis};

/// Long enough for a busy machine: what anybody is told does not depend on when.
const LONG: Duration = Duration::from_secs(60);

/// A handle of its own, as a process has one.
async fn connected(server: &Server) -> Redis {
    waiting(server, LONG).await
}

/// One that waits for no answer for longer than this.
async fn waiting(server: &Server, deadline: Duration) -> Redis {
    let redis = Redis::builder(server.url()).deadline(deadline);
    let redis = redis.build().unwrap();
    assert!(redis.connected(LONG).await);
    redis
}

/// A limiter of its own.
async fn node(server: &Server, quota: Quota, fallback: Fallback) -> Limiter {
    let builder = Limiter::builder(quota).name("api");
    let builder = builder.redis(connected(server).await);
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
async fn nobodys_name_is_written_down_in_redis() {
    let server = Server::start();
    let quota = Quota::per_hour(10);
    let limiter = node(&server, quota, Fallback::Closed).await;
    assert!(limiter.take("ada@example.com", 1).await.is_admitted());
    let names = server.cli(&["keys", "*"]);
    assert!(names.ends_with(":api") && !names.contains("ada"), "{names}");
    assert!(!server.cli(&["get", &names]).contains("ada"));
}

#[tokio::test]
async fn a_layer_asks_redis_once_and_answers_as_without_it() {
    let server = Server::start();
    let layer = |redis: Redis| {
        LimitLayer::new(Quota::per_hour(100))
            .name("hour")
            .by_peer_ip()
            .redis(redis)
            .and(Quota::per_hour(3))
            .name("few")
    };
    let a = layer(connected(&server).await);
    let b = layer(connected(&server).await);
    let origin = Origin::counting();
    let answer = ask(&a, &origin, from("192.0.2.1")).await;
    assert_eq!(answer.field("ratelimit"), "\"few\";r=2;t=1200");
    assert_eq!(passing(&b, &origin, 5, "192.0.2.1").await, 2);
    let refused = ask(&a, &origin, from("192.0.2.1")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("[\"few\"]"), "{refused:?}");
    let wait: u64 = refused.field("retry-after").parse().unwrap();
    assert!((1_140..=1_200).contains(&wait), "{wait}");
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
    let redis = connected(&server).await;
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
    eventually(|| async {
        // Any decision that Redis answers will do.
        let _ = a.take("bob", 1).await;
        let told = b.peek("ada", 1).await;
        // Of 10, 5 are gone.
        matches!(told, Decision::Admitted { left: 4, .. })
    })
    .await;
}

/// Once this is so, which `ask` may need to be asked more than once.
async fn eventually<A: std::future::Future<Output = bool>>(ask: impl Fn() -> A) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(LONG, asking).await;
    asked.expect("it does not happen");
}

/// Whether Redis answers this limiter.
async fn answers(limiter: &Limiter) -> bool {
    let before = limiter.stats();
    let _ = limiter.take("nobody", 0).await;
    let after = limiter.stats();
    (before.alone, before.opened, before.closed) == (after.alone, after.opened, after.closed)
}

#[tokio::test]
async fn what_redis_never_charged_is_not_refunded_there() {
    let mut server = Server::start();
    let quota = Quota::per_hour(10);
    let a = node(&server, quota, Fallback::Open).await;
    server.kill();
    let mut reserved = Vec::new();
    for _ in 0..20 {
        reserved.push(a.reserve("ada", 1).await.unwrap());
    }
    server.restart();
    let b = node(&server, quota, Fallback::Closed).await;
    assert_eq!(admitted(&b, 20).await, 10);
    eventually(|| answers(&a)).await;
    for reservation in reserved {
        reservation.settle(0).await;
    }
    assert_eq!(admitted(&b, 20).await, 0);
    assert_eq!(admitted(&a, 20).await, 0);
}

#[tokio::test]
async fn what_an_answer_gives_back_is_not_refunded_where_it_was_never_charged() {
    let mut server = Server::start();
    let redis = connected(&server).await;
    let quota = Quota::per_hour(3);
    let layer = LimitLayer::new(quota)
        .name("api")
        .by(|_| Ok(Some("ada".into())))
        .redis(redis.clone())
        .fallback(Fallback::Open)
        .refund_when(|_| true);
    let origin = Origin::counting();
    let a = node(&server, quota, Fallback::Closed).await;
    server.kill();
    // The answers come when Redis is back.
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (asking, arrived) = tokio::sync::mpsc::unbounded_channel();
    let mut arrived = arrived;
    let held = {
        let (gate, origin) = (gate.clone(), origin.clone());
        tower::service_fn(move |request| {
            let (gate, origin, asking) = (gate.clone(), origin.clone(), asking.clone());
            async move {
                asking.send(()).unwrap();
                let _ = gate.acquire().await;
                tower::ServiceExt::oneshot(origin, request).await
            }
        })
    };
    let asked = tokio::spawn({
        let layer = layer.clone();
        async move { ask(&layer, &held, from("192.0.2.1")).await.status }
    });
    arrived.recv().await.unwrap();
    server.restart();
    eventually(|| answers(&a)).await;
    assert!(redis.connected(LONG).await);
    assert_eq!(admitted(&a, 20).await, 3);
    gate.add_permits(1);
    assert_eq!(asked.await.unwrap(), 200);
    // Time for what should not be given back.
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One that does not remember the last refusal.
    let b = node(&server, quota, Fallback::Closed).await;
    assert_eq!(admitted(&b, 20).await, 0);
}

#[tokio::test]
async fn nobody_waits_for_a_limit_in_shadow() {
    let server = Server::start();
    let forever = Duration::from_secs(3600);
    let redis = Redis::builder(server.url()).deadline(forever);
    let redis = redis.build().unwrap();
    assert!(redis.connected(LONG).await);
    let quota = Quota::per_hour(10);
    let shadow = Limiter::builder(quota).name("api").redis(redis);
    let shadow = shadow.build().unwrap();
    let layer = LimitLayer::new(quota)
        .by(|_| Ok(Some("ada".into())))
        .and(&shadow)
        .shadow()
        .cost(4)
        .refund_when(|_| true);
    let origin = Origin::counting();
    assert_eq!(ask(&layer, &origin, from("192.0.2.1")).await.status, 200);
    let counted = || async { shadow.stats().shadow_admitted > 0 };
    eventually(counted).await;
    server.freeze();
    let asking = ask(&layer, &origin, from("192.0.2.1"));
    let answer = tokio::time::timeout(LONG, asking);
    assert_eq!(answer.await.expect("nobody waits").status, 200);
    assert_eq!(shadow.stats().shadow_admitted, 1);
    server.thaw();
    eventually(|| async { shadow.stats().shadow_admitted == 2 }).await;
    // Settled as well, each of them.
    eventually(|| async {
        matches!(
            shadow.peek("ada", 0).await,
            Decision::Admitted { left: 10, .. }
        )
    })
    .await;
}

#[tokio::test]
async fn a_block_holds_everywhere_however_long_it_is() {
    let server = Server::start();
    let quota = Quota::per_minute(10);
    let a = node(&server, quota, Fallback::Closed).await;
    let b = node(&server, quota, Fallback::Closed).await;
    let year = Duration::from_secs(366 * 86_400);
    for time in [Duration::MAX, 40 * year, 20 * year, year] {
        let key = format!("{time:?}");
        a.block(&key, time).await;
        let said = b.take(&key, 1).await;
        assert!(
            matches!(said, Decision::Refused { .. }),
            "{time:?}: {said:?}"
        );
    }
}

#[tokio::test]
async fn a_block_that_redis_did_not_hear_of_holds_here_and_is_pushed_when_it_is_back() {
    let mut server = Server::start();
    let quota = Quota::per_minute(10);
    for fallback in [Fallback::Open, Fallback::Local { share: 1 }] {
        let a = node(&server, quota, fallback).await;
        server.kill();
        eventually(|| async { !answers(&a).await }).await;
        a.block("mallory", Duration::from_secs(3600)).await;
        assert!(!a.take("mallory", 1).await.is_admitted(), "{fallback:?}");
        server.restart();
        let b = node(&server, quota, Fallback::Closed).await;
        assert!(b.peek("mallory", 1).await.is_admitted());
        eventually(|| async {
            assert!(!a.take("mallory", 1).await.is_admitted(), "{fallback:?}");
            !b.peek("mallory", 1).await.is_admitted()
        })
        .await;
    }
}

#[tokio::test]
async fn a_penalty_that_redis_did_not_hear_of_is_charged_when_it_is_back() {
    let mut server = Server::start();
    let quota = Quota::per_hour(10);
    let a = node(&server, quota, Fallback::Closed).await;
    server.kill();
    eventually(|| async { !answers(&a).await }).await;
    a.charge("ada", 15).await;
    a.charge("bob", 15).await;
    a.refund("bob", 10).await;
    server.restart();
    let b = node(&server, quota, Fallback::Closed).await;
    eventually(|| async {
        let _ = a.take("eve", 1).await;
        !b.peek("ada", 1).await.is_admitted()
    })
    .await;
    eventually(|| async { matches!(b.peek("bob", 5).await, Decision::Admitted { left: 0, .. }) })
        .await;
}

#[tokio::test]
async fn a_crowd_at_one_key_does_not_open_a_limiter_while_redis_is_well() {
    let server = Server::start();
    let redis = connected(&server).await;
    let builder = Limiter::builder(Quota::per_hour(10))
        .name("api")
        .redis(redis);
    let limiter = builder.fallback(Fallback::Open).build().unwrap();
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
    let redis = Redis::builder(server.url()).deadline(LONG).in_flight(1);
    let redis = redis.build().unwrap();
    assert!(redis.connected(LONG).await);
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
    let redis = connected(&server).await;
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
    let redis = connected(&server).await;
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
        let wait: u64 = refused.field("retry-after").parse().unwrap();
        assert!((3_540..=3_600).contains(&wait), "{wait}");
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
    let fallback = Fallback::Local { share: 8 };
    let shared = node(&server, Quota::per_hour(4), fallback).await;
    assert!(local.take("ada", 1).await.is_admitted());
    let both = |cost| [(&local, "ada".into(), 1), (&shared, "ada".into(), cost)];
    let told = Limiter::take_all(&both(2)).await;
    assert!(matches!(told[0], Decision::Refused { .. }), "{told:?}");
    assert!(told[1].is_admitted(), "{told:?}");
    let told = Limiter::take_all(&both(5)).await;
    assert_eq!(told[1], Decision::Never);
    let impatient = waiting(&server, Duration::from_millis(50)).await;
    let builder = Limiter::builder(Quota::per_hour(4)).name("api");
    let builder = builder.redis(impatient).fallback(fallback);
    let impatient = builder.build().unwrap();
    server.freeze();
    let told = impatient.peek("ada", 2).await;
    assert!(matches!(told, Decision::Refused { .. }), "{told:?}");
    server.thaw();
}

#[tokio::test]
async fn limiters_of_one_redis_are_asked_in_one_trip() {
    let server = Server::start();
    let redis = connected(&server).await;
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
        .all(|told| matches!(told, Decision::Refused { wait } if *wait > Duration::from_secs(13)));
    assert!(told_wait, "{told:?}");
}

#[tokio::test]
async fn what_calls_to_redis_cost_is_counted() {
    let server = Server::start();
    // Longer than any machine is busy.
    let redis = Redis::builder(server.url()).deadline(Duration::from_secs(60));
    let redis = redis.build().unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    let limiter = Limiter::builder(Quota::per_hour(1_000)).name("api");
    let limiter = limiter.redis(redis.clone()).build().unwrap();
    let calls = |limiter: &Limiter| limiter.stats().redis.unwrap();
    assert_eq!(calls(&limiter), CallStats::default());

    assert_eq!(admitted(&limiter, 3).await, 3);
    let one_by_one = calls(&limiter);
    assert_eq!((one_by_one.answered, one_by_one.charges), (3, 3));
    assert!(!one_by_one.slowest.is_zero());
    assert!(one_by_one.slowest <= one_by_one.time && one_by_one.time <= 3 * one_by_one.slowest);

    let crowd = (0..100).map(|_| limiter.take("ada", 1));
    let told = futures_util::future::join_all(crowd).await;
    assert!(told.iter().all(Decision::is_admitted));
    let together = calls(&limiter);
    assert_eq!(together.charges, 103);
    // The first asks for itself, and those who came meanwhile together.
    assert!(together.answered < 20, "{together:?}");

    let other = Limiter::builder(Quota::per_hour(10)).name("other");
    let other = other.redis(redis).build().unwrap();
    assert_eq!(calls(&other), together, "the handle's");
    assert_eq!(together.failed, 0);

    let nowhere = Redis::open("redis://127.0.0.1:1").unwrap();
    let away = Limiter::builder(Quota::per_hour(10)).name("api");
    let away = away.redis(nowhere).build().unwrap();
    assert_eq!(admitted(&away, 3).await, 3);
    let failed = calls(&away);
    assert_eq!(
        (failed.answered, failed.failed, failed.time),
        (0, 3, Duration::ZERO)
    );
    assert_eq!(Limiter::new(Quota::per_hour(10)).stats().redis, None);
}

#[tokio::test]
async fn without_redis_a_share_of_few_tokens_begins_with_one() {
    let nowhere = Redis::open("redis://127.0.0.1:1").unwrap();
    let builder = || {
        let builder = Limiter::builder(Quota::per_hour(3)).name("api");
        let builder = builder.redis(nowhere.clone());
        builder.fallback(Fallback::Local { share: 4 })
    };
    let table = [
        (builder(), 1),
        (builder().initial_level(2), 1),
        (builder().initial_level(0), 0),
    ];
    for (builder, expected) in table {
        let limiter = builder.build().unwrap();
        assert_eq!(admitted(&limiter, 3).await, expected, "{limiter:?}");
    }
}

#[tokio::test]
async fn new_keys_begin_with_their_initial_level_here_and_in_redis() {
    let server = Server::start();
    let redis = Redis::builder(server.url()).deadline(Duration::from_secs(60));
    let redis = redis.build().unwrap();
    assert!(redis.connected(Duration::from_secs(5)).await);
    // Nothing is refilled while this lasts.
    let builder = || Limiter::builder(Quota::per_hour(10)).initial_level(2);
    let there = builder().name("api").redis(redis.clone()).build().unwrap();
    for limiter in [builder().build().unwrap(), there] {
        let of = |key: &'static str| {
            let limiter = limiter.clone();
            async move {
                let taken = (0..20).map(|_| limiter.take(key, 1));
                let told = futures_util::future::join_all(taken).await;
                told.iter().filter(|told| told.is_admitted()).count()
            }
        };
        assert!(limiter.peek("ada", 2).await.is_admitted());
        assert!(matches!(
            limiter.peek("ada", 3).await,
            Decision::Refused { .. }
        ));
        assert_eq!(of("ada").await, 2);
        limiter.refund("ada", 1).await;
        assert_eq!(of("ada").await, 1, "given back");
        limiter.refund("new", 5).await;
        assert_eq!(
            of("new").await,
            2,
            "nothing is given back to who took nothing"
        );
        limiter.charge("bob", 1).await;
        assert_eq!(of("bob").await, 1, "charged");
        limiter.reserve("eve", 2).await.unwrap().settle(1).await;
        assert_eq!(of("eve").await, 1, "settled");
        assert_eq!(limiter.take("ada", 11).await, Decision::Never);
        let both = [(&limiter, "one".into(), 2), (&limiter, "two".into(), 3)];
        let told = Limiter::take_all(&both).await;
        assert!(told[0].is_admitted() && !told[1].is_admitted(), "{told:?}");
        assert_eq!(
            (of("one").await, of("two").await),
            (2, 2),
            "nothing was taken"
        );
    }

    // From its first refusal on, a bucket fills.
    let quota = Quota::new(100, Duration::from_secs(10));
    let builder = || Limiter::builder(quota).initial_level(0);
    let there = builder().name("fills").redis(redis).build().unwrap();
    for limiter in [builder().build().unwrap(), there] {
        assert!(!limiter.peek("ada", 2).await.is_admitted());
        let Decision::Refused { wait } = limiter.take("ada", 2).await else {
            panic!("it begins empty");
        };
        assert!(wait < Duration::from_millis(201), "{wait:?}");
        tokio::time::sleep(wait + Duration::from_millis(2)).await;
        assert!(limiter.take("ada", 2).await.is_admitted());
    }
}
