//! How long a response answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use crate::world::{ask, eventually, landed, served, store, World};

const TICK: Duration = Duration::from_millis(1);

everywhere! {
    a_response_answers_on_both_nodes_for_its_ttl_and_no_longer,
    the_lifetime_that_a_response_names_ends_it_before_the_ttl,
    statuses_have_ttls_of_their_own,
    a_stale_response_answers_while_one_request_of_both_nodes_refreshes_it,
    a_stale_response_stands_in_for_a_failing_handler_on_either_node,
    a_client_may_ask_for_what_is_in_store_or_nothing,
}

async fn a_response_answers_on_both_nodes_for_its_ttl_and_no_longer(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let (origin, posts) = (Origin::counting(), get("/posts", &[]));
    store(&nodes, &origin, &posts).await;
    world.clock.advance(MINUTE - TICK);
    for node in &nodes {
        let answer = send(node, &origin, posts.clone()).await;
        assert!(answer.is_hit(), "{answer:?}");
        assert_eq!(
            (answer.text(), answer.field("cache-control")),
            ("call 1", "no-cache".to_owned())
        );
    }
    world.clock.advance(TICK);
    for node in &nodes {
        assert!(ask(node, &posts).await.is_none());
    }
    assert_eq!(send(&nodes[1], &origin, posts).await.text(), "call 2");
    assert_eq!(origin.calls(), 2);
}

async fn the_lifetime_that_a_response_names_ends_it_before_the_ttl(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let origin = Origin::with_fields(&[("cache-control", "max-age=10"), ("age", "2")]);
    let posts = get("/posts", &[]);
    store(&nodes, &origin, &posts).await;
    world.clock.advance(Duration::from_secs(5));
    for node in &nodes {
        let answer = served(node, &posts).await;
        assert_eq!(answer.field("age"), "7");
        assert_eq!(answer.field("cache-control"), "max-age=10");
    }
    world.clock.advance(Duration::from_secs(3));
    for node in &nodes {
        assert!(ask(node, &posts).await.is_none());
    }
}

async fn statuses_have_ttls_of_their_own(world: World) {
    let nodes = world.route(|layer| {
        let short = Duration::from_secs(2);
        layer
            .ttl(MINUTE)
            .not_found_ttl(short)
            .status_ttl(302, 2 * short)
    });
    let rows = [(404, 2), (302, 4), (410, 60), (301, 60)];
    for (code, lives) in rows {
        let origin = Origin::new(move |_| status(code));
        let request = get(&format!("/{code}"), &[]);
        store(&nodes, &origin, &request).await;
        world.clock.advance(Duration::from_secs(lives) - TICK);
        for node in &nodes {
            assert_eq!(served(node, &request).await.status, code);
        }
        world.clock.advance(TICK);
        for node in &nodes {
            assert!(ask(node, &request).await.is_none(), "{code}");
        }
    }
    for code in [307, 401, 403, 429, 500] {
        let origin = Origin::new(move |_| status(code));
        let request = get(&format!("/{code}"), &[]);
        for _ in 0..2 {
            for node in &nodes {
                send(node, &origin, request.clone()).await;
            }
        }
        assert_eq!(origin.calls(), 4, "{code}");
    }
}

async fn a_stale_response_answers_while_one_request_of_both_nodes_refreshes_it(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).stale_while_revalidate(MINUTE));
    let (origin, posts) = (Origin::counting(), get("/posts", &[]));
    store(&nodes, &origin, &posts).await;
    world.clock.advance(MINUTE + TICK);
    let stale = send(&nodes[1], &origin, posts.clone()).await;
    assert_eq!(stale.text(), "call 1");
    assert_eq!(
        stale.decision(),
        "hit; ttl=-1; detail=stale-while-revalidate"
    );
    for node in [&nodes[1], &nodes[0]] {
        // The first request on the other node may still meet its own stale copy, whose refresh finds
        // what this one has made.
        let fresh = || async { send(node, &origin, posts.clone()).await.text() == "call 2" };
        eventually(fresh).await;
        landed().await;
    }
    assert_eq!(origin.calls(), 2, "one call for both");
    world.clock.advance(3 * MINUTE);
    for node in &nodes {
        assert!(ask(node, &posts).await.is_none(), "beyond its window");
    }
}

async fn a_stale_response_stands_in_for_a_failing_handler_on_either_node(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).stale_if_error(MINUTE).tag("posts"));
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let origin = Origin::new(move |_| match fails.load(Ordering::SeqCst) {
        true => status(500),
        false => text("posts"),
    });
    let posts = get("/posts", &[]);
    store(&nodes, &origin, &posts).await;
    failing.store(true, Ordering::SeqCst);
    world.clock.advance(MINUTE + TICK);
    for node in &nodes {
        let answer = send(node, &origin, posts.clone()).await;
        assert_eq!((answer.status, answer.text()), (200, "posts"));
        assert!(
            answer.decision().contains("detail=stale-if-error"),
            "{answer:?}"
        );
    }
    // What was purged stands in for nothing.
    assert!(!world.b.invalidate_tag("posts").await.deferred);
    world.is_gone(&nodes, &posts).await;
    for node in &nodes {
        assert_eq!(send(node, &origin, posts.clone()).await.status, 500);
    }
}

async fn a_client_may_ask_for_what_is_in_store_or_nothing(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let posts = get("/posts", &[]);
    let only = get("/posts", &[("cache-control", "only-if-cached")]);
    let never = Origin::new(|_| panic!("`only-if-cached` reached the handler"));
    for node in &nodes {
        assert_eq!(send(node, &never, only.clone()).await.status, 504);
    }
    send(&nodes[0], &Origin::counting(), posts.clone()).await;
    for node in &nodes {
        let there = || async { send(node, &never, only.clone()).await.status == 200 };
        eventually(there).await;
    }
    let own = get("/posts", &[("cache-control", "no-cache")]);
    let own = send(&nodes[1], &Origin::counting(), own).await;
    assert!(own.decision().starts_with("fwd=") && own.decision().ends_with("; stored"));
}
