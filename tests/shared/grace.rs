//! Without Redis: whom nobody vouches for.

use std::time::Duration;

use larder::{Cache, Redis};

use crate::drive::spawn;
use crate::nodes::*;
use crate::server::Server;
use crate::support::*;

async fn patient(
    server: &Server,
    say: impl FnOnce(larder::CacheBuilder) -> larder::CacheBuilder,
) -> Cache {
    let redis = Redis::builder(server.url()).deadline(LONG).build().unwrap();
    connected(redis, say).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_route_without_redis_calls_for_each_request_and_none_waits_for_another() {
    let mut server = Server::start();
    for near in [true, false] {
        let cache = patient(&server, |b| b.strict(true).near(near)).await;
        let posts = get("/posts", &[]);
        send(&layer(&cache), &Origin::counting(), posts.clone()).await;
        served(&layer(&cache), &posts).await;
        server.kill();
        eventually(|| async { !shared(&cache).redis.up }).await;
        let (origin, permits) = Origin::gated(0, numbered);
        let crowd: Vec<_> = (0..64)
            .map(|_| spawn(&layer(&cache), &origin, posts.clone()))
            .collect();
        eventually(|| async { origin.calls() == 64 }).await;
        permits.add_permits(64);
        for client in crowd {
            let decision = client.await.unwrap().decision();
            assert!(
                decision.starts_with("fwd=") && decision.contains("detail=unconfirmed"),
                "{decision}"
            );
        }
        // A value that is computed is no different.
        let compute = || async { Ok::<_, std::convert::Infallible>(7) };
        for _ in 0..2 {
            let value = cache
                .get_or_compute("seven", MINUTE, ["posts"], compute)
                .await;
            assert_eq!(value, Ok(7));
        }
        server.restart();
        eventually(|| async {
            ask(&layer(&cache), &posts).await.is_none() || shared(&cache).sound
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relaxed_route_answers_for_the_grace_and_after_it_what_it_has_just_made() {
    let mut server = Server::start();
    let grace = Duration::from_millis(700);
    let cache = patient(&server, |b| b.grace(grace)).await;
    let (origin, posts) = (Origin::counting(), get("/posts", &[]));
    send(&layer(&cache), &origin, posts.clone()).await;
    server.kill();
    eventually(|| async { !shared(&cache).redis.up }).await;
    assert!(
        send(&layer(&cache), &origin, posts.clone()).await.is_hit(),
        "within the grace"
    );
    eventually(|| async { ask(&layer(&cache), &posts).await.is_none() }).await;
    // A crowd calls once, and what that made answers for as long again.
    let crowd: Vec<_> = (0..64)
        .map(|_| spawn(&layer(&cache), &origin, posts.clone()))
        .collect();
    for client in crowd {
        assert_eq!(client.await.unwrap().text(), "call 2");
    }
    assert!(ask(&layer(&cache), &posts).await.is_some());
    assert_eq!(origin.calls(), 2);
    eventually(|| async { ask(&layer(&cache), &posts).await.is_none() }).await;
    server.restart();
    eventually(|| async { shared(&cache).sound }).await;
    send(&layer(&cache), &origin, posts.clone()).await;
    served(&layer(&cache), &posts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_request_is_not_given_what_began_before_an_invalidation_that_it_came_after() {
    let server = Server::start();
    let a = patient(&server, |b| b.strict(true)).await;
    let b = patient(&server, |b| b).await;
    let posts = get("/posts", &[]);
    for _ in 0..20 {
        let (origin, permits) = Origin::gated(0, numbered);
        let first = spawn(&layer(&a), &origin, posts.clone());
        eventually(|| async { origin.calls() == 1 }).await;
        // The first node will not be told, and is none the wiser for a moment.
        server.cli(&["client", "kill", "type", "pubsub"]);
        let _ = b.invalidate_tag("posts").await;
        let second = spawn(&layer(&a), &origin, posts.clone());
        let misses = shared(&a).misses;
        for _ in 0..20 {
            if shared(&a).misses > misses {
                break;
            }
            tokio::task::yield_now().await;
        }
        permits.add_permits(9);
        assert_eq!(first.await.unwrap().text(), "call 1");
        assert_eq!(second.await.unwrap().text(), "call 2");
        let _ = b.invalidate_tag("posts").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_after_an_invalidation_that_redis_could_not_hear_is_kept_and_collapsed() {
    let mut server = Server::start();
    let (a, b) = (patient(&server, |b| b).await, patient(&server, |b| b).await);
    let (posts, origin) = (get("/posts", &[]), Origin::counting());
    send(&layer(&a), &origin, posts.clone()).await;
    served(&layer(&b), &posts).await;
    server.kill();
    // Both notice: what is back before anybody saw it go is not known to be another one.
    eventually(|| async { !shared(&a).redis.up && !shared(&b).redis.up }).await;
    assert!(a.invalidate_tag("posts").await.deferred);
    tokio::time::sleep(TICK).await; // a millisecond tells what was begun before from what was since
    let (slow, permits) = Origin::gated(0, numbered);
    let crowd: Vec<_> = (0..32)
        .map(|_| spawn(&layer(&a), &slow, posts.clone()))
        .collect();
    eventually(|| async { slow.calls() == 1 }).await;
    permits.add_permits(1);
    for client in crowd {
        client.await.unwrap();
    }
    assert_eq!(slow.calls(), 1);
    assert!(ask(&layer(&a), &posts).await.is_some(), "it is kept");
    // And when the others hear of it, everybody makes it anew.
    server.restart();
    let has_heard = |node| {
        let shared = shared(node);
        shared.redis.up && shared.sound && shared.deferred == 0
    };
    let heard = || async { has_heard(&a) && has_heard(&b) };
    eventually(heard).await;
    for node in [&a, &b] {
        assert!(ask(&layer(node), &posts).await.is_none());
    }
}
