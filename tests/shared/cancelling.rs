//! Clients that go away: nothing is stuck, and what was to be invalidated is.

use std::future::Future;
use std::pin::Pin;

use larder::{Cache, CacheLayer, Invalidate};
use tower::{Layer, ServiceExt};

use crate::drive::poll_once;
use crate::nodes::*;
use crate::support::*;

type Dropped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls up to so many times, with time for Redis in between, and drops; whether it was completed.
async fn leave(mut future: Dropped, polls: usize) -> bool {
    for _ in 0..polls {
        if poll_once(&mut future).await.is_ready() {
            return true;
        }
        tokio::time::sleep(TICK / 4).await;
    }
    false
}

/// Leaves after more and more polls, until one was completed.
async fn at_every_await<Then: Future<Output = ()>>(
    begin: impl Fn(usize) -> Dropped,
    then: impl Fn(usize) -> Then,
) {
    for polls in 0..100 {
        let completed = leave(begin(polls), polls).await;
        then(polls).await;
        if completed && polls > 5 {
            return;
        }
    }
    panic!("it is never completed");
}

fn asking(layer: &CacheLayer, uri: &str) -> Dropped {
    let (layer, uri) = (layer.clone(), uri.to_owned());
    Box::pin(async move {
        send(&layer, &Origin::new(|_| text("made")), get(&uri, &[])).await;
    })
}

/// A request that comes after those that were left is answered.
async fn is_answered(layer: &CacheLayer, uri: &str) {
    let origin = Origin::new(|_| text("made"));
    let answer = send(layer, &origin, get(uri, &[]));
    let answer = tokio::time::timeout(LONG / 2, answer).await;
    assert_eq!(answer.expect("something is stuck").text(), "made", "{uri}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_a_look_up_leaves_nothing_stuck() {
    let prefix = prefix();
    let (a, b) = (node(&prefix, |b| b).await, node(&prefix, |b| b).await);
    let far = node(&prefix, |b| b.near(false)).await;
    for (kind, layer_of_b) in [
        ("relaxed", layer(&b)),
        ("strict", layer(&b).strict(true)),
        ("far", layer(&far)),
        ("stale", layer(&b).stale_while_revalidate(MINUTE)),
    ] {
        for stored in [false, true] {
            let uri = |polls: usize| format!("/{kind}/{stored}/{polls}");
            if stored {
                for polls in 0..12 {
                    send(
                        &layer(&a),
                        &Origin::new(|_| text("made")),
                        get(&uri(polls), &[]),
                    )
                    .await;
                }
            }
            // Several at once, of which the one leaves whom the others follow.
            let begin = |polls: usize| asking(&layer_of_b, &uri(polls));
            at_every_await(begin, |polls| {
                let uri = uri(polls);
                let layer = layer_of_b.clone();
                async move {
                    let follower = tokio::spawn(asking(&layer, &uri));
                    is_answered(&layer, &uri).await;
                    follower.await.unwrap();
                }
            })
            .await;
        }
    }
    assert_eq!(shared(&b).redis.timeouts, 0);
}

/// What both nodes have in store is purged by a request that is left after its handler was called,
/// at once or some polls later.
async fn purged_though_left(handler: &Origin, purge: impl Fn(&Cache) -> Dropped) {
    let prefix = prefix();
    let (a, b) = (node(&prefix, |b| b).await, node(&prefix, |b| b).await);
    let posts = get("/posts", &[]);
    for polls in 0..5 {
        for node in [&a, &b] {
            send(&layer(node), &Origin::new(|_| text("old")), posts.clone()).await;
            served(&layer(node), &posts).await;
        }
        let (before, mut left) = (handler.calls(), purge(&b));
        let mut completed = false;
        while !completed && handler.calls() == before {
            completed = poll_once(&mut left).await.is_ready();
            if handler.calls() == before {
                tokio::time::sleep(TICK).await;
            }
        }
        // Redis may have answered within the very poll, if rarely.
        if !completed {
            leave(left, polls).await;
        }
        assert!(ask(&layer(&b), &posts).await.is_none(), "here at once");
        eventually(|| async { ask(&layer(&a), &posts).await.is_none() }).await;
        let strict = layer(&a).strict(true);
        eventually(|| async { ask(&strict, &posts).await.is_none() }).await;
        eventually(|| async { shared(&b).deferred == 0 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_reaches_the_other_node_though_its_client_has_left() {
    let handler = Origin::new(|_| {
        let mut response = status(204);
        let purged = Invalidate::tag("posts");
        response.extensions_mut().insert(purged);
        response
    });
    let put = || request("PUT", "/rename", &[], "");
    let watched = |cache: &Cache| -> Dropped {
        let service = cache.watch().layer(handler.clone());
        Box::pin(async move { drop(service.oneshot(put()).await) })
    };
    let bypassed = |cache: &Cache| -> Dropped {
        let service = cache.layer().ttl(MINUTE).layer(handler.clone());
        Box::pin(async move { drop(service.oneshot(put()).await) })
    };
    let missed = |cache: &Cache| -> Dropped {
        let service = cache.layer().ttl(MINUTE).layer(handler.clone());
        Box::pin(async move { drop(service.oneshot(get("/rename", &[])).await) })
    };
    purged_though_left(&handler, watched).await;
    purged_though_left(&handler, bypassed).await;
    purged_though_left(&handler, missed).await;
    let by_handle = |cache: &Cache| -> Dropped {
        let (cache, handler) = (cache.clone(), handler.clone());
        Box::pin(async move {
            handler.oneshot(put()).await.unwrap();
            let _ = cache.invalidate_tag("posts").await;
        })
    };
    purged_though_left(&handler, by_handle).await;
}
