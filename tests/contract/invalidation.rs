//! What one node invalidates, no node shows.

use std::time::Duration;

use larder::{user, Invalidate};

use crate::drive::{settle, spawn};
use crate::support::*;
use crate::world::{ask, eventually, landed, served, store, World};

const SECOND: Duration = Duration::from_secs(1);

everywhere! {
    a_tag_reaches_what_either_node_stored_under_it_and_nothing_else,
    a_soft_invalidation_lets_the_stale_response_answer_once_more,
    a_uri_reaches_all_of_its_users_variants_and_queries,
    everything_is_invalidated_on_both_nodes,
    a_response_whose_making_began_before_an_invalidation_is_not_shown_after_it,
    what_is_stored_after_an_invalidation_is_served_again,
}

async fn a_tag_reaches_what_either_node_stored_under_it_and_nothing_else(world: World) {
    let fixed = world.route(|layer| layer.ttl(MINUTE).tag("posts").tag("news"));
    let by_request = world.route(|layer| {
        layer
            .ttl(MINUTE)
            .tags_by(|parts| vec![parts.uri.path().replace('/', "page:")])
    });
    let of_response = world.route(|layer| {
        layer.ttl(MINUTE).tags_of_response(|answer| {
            let author = answer.headers.get("x-author").into_iter();
            author
                .map(|author| format!("by:{}", author.to_str().unwrap()))
                .collect()
        })
    });
    let origin = Origin::with_fields(&[("x-author", "ann")]);
    for (nodes, tag) in [
        (&fixed, "news"),
        (&by_request, "page:a"),
        (&of_response, "by:ann"),
    ] {
        for (on, invalidating) in [(0, &world.b), (1, &world.b), (0, &world.a)] {
            let made_by = [nodes[on].clone(), nodes[1 - on].clone()];
            let page = get("/a", &[]);
            store(&made_by, &origin, &page).await;
            let untouched = get("/untouched", &[]);
            let other = world.route(|layer| layer.ttl(MINUTE).tag("other"));
            if ask(&other[0], &untouched).await.is_none() {
                store(&other, &origin, &untouched).await;
            }
            let done = invalidating.invalidate_tags([tag, "unused"]).await;
            assert!(!done.deferred);
            assert_eq!(
                done.entries,
                (!world.is_shared()).then_some(1),
                "counted in memory"
            );
            world.is_gone(nodes, &page).await;
            for node in &other {
                served(node, &untouched).await;
            }
        }
    }
}

async fn a_soft_invalidation_lets_the_stale_response_answer_once_more(world: World) {
    let nodes = world.route(|layer| {
        layer
            .ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .tag("posts")
    });
    let (origin, posts) = (Origin::counting(), get("/posts", &[]));
    store(&nodes, &origin, &posts).await;
    world.clock.advance(SECOND); // a refresh tells what is new by its time
    let _ = world.a.invalidate(Invalidate::tag("posts").soft()).await;
    // What is begun before the push has arrived is soft as well, and made once more.
    landed().await;
    let softened = || async {
        let answer = send(&nodes[1], &origin, posts.clone()).await;
        assert!(answer.is_hit(), "{answer:?}");
        answer.decision().contains("stale-while-revalidate")
    };
    eventually(softened).await;
    for node in [&nodes[1], &nodes[0]] {
        let fresh = || async {
            let answer = send(node, &origin, posts.clone()).await;
            assert!(answer.is_hit(), "nobody waits for the refresh: {answer:?}");
            answer.text() == "call 2" && answer.decision().starts_with("hit; ttl=60")
        };
        eventually(fresh).await;
        landed().await;
    }
    assert_eq!(origin.calls(), 2, "what one has refreshed the other finds");
    // A hard one is not softened by a soft one that comes after it.
    let _ = world.b.invalidate_tag("posts").await;
    let _ = world.b.invalidate(Invalidate::all().soft()).await;
    world.is_gone(&nodes, &posts).await;
}

async fn a_uri_reaches_all_of_its_users_variants_and_queries(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).per_user(user::from_header("x-user")));
    let origin = Origin::with_fields(&[("vary", "accept")]);
    let asks = |uri: &str, user: &str, accept: &str| {
        get(
            uri,
            &[("x-user", user), ("accept", accept), ("host", "a.test")],
        )
    };
    let reached = [
        asks("/posts", "ann", "a"),
        asks("/posts", "ann", "b"),
        asks("/posts", "ben", "a"),
        asks("/posts?page=2&size=9", "ann", "a"),
    ];
    let others = [asks("/posts/1", "ann", "a"), asks("/", "ann", "a")];
    for request in reached.iter().chain(&others) {
        store(&nodes, &origin, request).await;
    }
    let _ = world.b.invalidate_uri("/posts?size=9&page=2").await;
    world.is_gone(&nodes, &reached[3]).await;
    served(&nodes[0], &reached[0]).await;
    let _ = world.b.invalidate_uri("http://a.test/posts").await;
    for request in &reached {
        world.is_gone(&nodes, request).await;
    }
    for node in &nodes {
        for request in &others {
            served(node, request).await;
        }
    }
}

async fn everything_is_invalidated_on_both_nodes(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let origin = Origin::counting();
    let requests: Vec<_> = (0..20).map(|n| get(&format!("/{n}"), &[])).collect();
    for request in &requests {
        store(&nodes, &origin, request).await;
    }
    let done = world.b.invalidate_all().await;
    assert_eq!(done.entries, (!world.is_shared()).then_some(20));
    for request in &requests {
        world.is_gone(&nodes, request).await;
    }
}

async fn a_response_whose_making_began_before_an_invalidation_is_not_shown_after_it(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).tag("posts"));
    let posts = get("/posts", &[]);
    for invalidating in [&world.a, &world.b] {
        let (origin, permits) = Origin::gated(0, numbered);
        let client = spawn(&nodes[0], &origin, posts.clone());
        eventually(|| async { origin.calls() == 1 }).await;
        let _ = invalidating.invalidate_tag("posts").await;
        permits.add_permits(1);
        let answer = client.await.unwrap();
        assert_eq!(answer.text(), "call 1", "its own client gets it");
        settle().await;
        landed().await;
        world.is_gone(&nodes, &posts).await;
    }
}

async fn what_is_stored_after_an_invalidation_is_served_again(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).tag("posts"));
    let (origin, posts) = (Origin::counting(), get("/posts", &[]));
    for round in 1..=5 {
        let made = store(&nodes, &origin, &posts).await;
        assert_eq!(made.text(), format!("call {round}"));
        let _ = world.b.invalidate_tag("posts").await;
        world.is_gone(&nodes, &posts).await;
    }
}
