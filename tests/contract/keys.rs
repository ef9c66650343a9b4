//! Which requests share a response.

use std::borrow::Cow;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use larder::user;

use crate::support::*;
use crate::world::{ask, served, store, World};

everywhere! {
    every_user_has_responses_of_their_own,
    a_part_of_the_key_keeps_responses_apart,
    the_order_of_a_query_does_not_matter_and_its_values_do,
    parameters_that_are_not_kept_do_not_matter,
    hosts_have_responses_of_their_own_unless_told_otherwise,
    each_variant_answers_those_who_ask_for_it,
    a_route_may_vary_where_its_responses_do_not_say_so,
    content_and_its_type_key_a_post,
    a_head_is_answered_from_what_a_get_stored_on_another_node,
}

/// Answers with the whole request, so that an answer shows whom it was made for.
fn mirror(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |request| {
        let mut response = text(format!("{} {:?}", request.uri(), request.headers()));
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

/// Whether each node answers each request with what was made for it, and not for another one.
async fn are_apart<K>(
    nodes: &[larder::CacheLayer<K>; 2],
    origin: &Origin,
    requests: &[Request<Full<Bytes>>],
) where
    K: larder::cache::KeyedBy<Full<Bytes>> + 'static,
{
    let mut made: Vec<Answer> = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        assert!(ask(&nodes[1], request).await.is_none(), "{request:?}");
        // Each node makes some of them.
        let made_by = [nodes[i % 2].clone(), nodes[1 - i % 2].clone()];
        made.push(store(&made_by, origin, request).await);
    }
    for node in nodes {
        for (request, made) in requests.iter().zip(&made) {
            assert_eq!(served(node, request).await.text(), made.text());
        }
    }
}

async fn every_user_has_responses_of_their_own(world: World) {
    let nodes = world.route(|layer| {
        layer
            .ttl(MINUTE)
            .per_user(user::from_header("authorization"))
    });
    let origin = mirror(&[]);
    let users = ["ann", "ben", "Ann", "an", "n"];
    let requests = users.map(|user| get("/me", &[("authorization", user)]));
    are_apart(&nodes, &origin, &requests).await;
    for node in &nodes {
        let nobody = send(node, &origin, get("/me", &[])).await;
        assert_eq!(nobody.decision(), "fwd=bypass; detail=no-user");
        let ann = served(node, &requests[0]).await;
        assert_eq!(ann.field("cache-control"), "private, no-cache");
    }
}

async fn a_part_of_the_key_keeps_responses_apart(world: World) {
    let nodes = world.route(|layer| {
        layer.ttl(MINUTE).key_part(|parts| {
            let tenant = parts.headers.get("x-tenant");
            Ok(tenant.map(|tenant| Cow::Borrowed(tenant.to_str().unwrap())))
        })
    });
    let requests = [
        get("/", &[]),
        get("/", &[("x-tenant", "")]),
        get("/", &[("x-tenant", "a")]),
        get("/", &[("x-tenant", "b")]),
    ];
    are_apart(&nodes, &mirror(&[]), &requests).await;
}

async fn the_order_of_a_query_does_not_matter_and_its_values_do(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let uris = [
        "/posts",
        "/posts?a=1&b=2",
        "/posts?a=2&b=1",
        "/posts?a=1",
        "/posts/?a=1",
    ];
    are_apart(&nodes, &mirror(&[]), &uris.map(|uri| get(uri, &[]))).await;
    let turned = get("/posts?b=2&a=1", &[]);
    for node in &nodes {
        assert!(served(node, &turned)
            .await
            .text()
            .starts_with("/posts?a=1&b=2"));
    }
}

async fn parameters_that_are_not_kept_do_not_matter(world: World) {
    let only = world.route(|layer| layer.ttl(MINUTE).query_only(["page"]));
    let except = world.route(|layer| layer.ttl(MINUTE).query_except(["utm"]));
    for (nodes, path) in [(only, "/only"), (except, "/except")] {
        let page = |query: &str| get(&format!("{path}{query}"), &[]);
        let requests = [page(""), page("?page=1"), page("?page=2")];
        are_apart(&nodes, &mirror(&[]), &requests).await;
        for node in &nodes {
            let same = served(node, &page("?utm=x&page=1&utm=y")).await;
            assert!(
                same.text().starts_with(&format!("{path}?page=1 ")),
                "{same:?}"
            );
        }
    }
}

async fn hosts_have_responses_of_their_own_unless_told_otherwise(world: World) {
    let hosts = ["one.test", "two.test", "one.test:8080"];
    let requests = hosts.map(|host| get("/", &[("host", host)]));
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    are_apart(&nodes, &mirror(&[]), &requests).await;
    let nodes = world.route(|layer| layer.ttl(MINUTE).any_host());
    store(&nodes, &mirror(&[]), &requests[0]).await;
    assert!(served(&nodes[1], &requests[1])
        .await
        .text()
        .contains("one.test"));
}

async fn each_variant_answers_those_who_ask_for_it(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let origin = mirror(&[("vary", "accept-language, x-unit")]);
    let requests = [
        get("/", &[("accept-language", "de")]),
        get("/", &[("accept-language", "en")]),
        get("/", &[("accept-language", "de"), ("x-unit", "km")]),
        get("/", &[("accept-language", "")]),
        get("/", &[]),
    ];
    are_apart(&nodes, &origin, &requests).await;
    for node in &nodes {
        let other = get("/", &[("accept-language", "fr")]);
        assert!(ask(node, &other).await.is_none());
        let same = get("/", &[("accept-language", "de"), ("x-colour", "red")]);
        assert!(!served(node, &same).await.text().contains("red"));
    }
    assert_eq!(origin.calls(), 5);
    let _ = world.a.invalidate_uri("/").await;
    for request in &requests {
        world.is_gone(&nodes, request).await;
    }
}

async fn a_route_may_vary_where_its_responses_do_not_say_so(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).vary_on(http::header::ACCEPT));
    let requests = ["a", "b"].map(|accept| get("/", &[("accept", accept)]));
    are_apart(&nodes, &mirror(&[]), &requests).await;
    for node in &nodes {
        assert_eq!(served(node, &requests[0]).await.field("vary"), "accept");
    }
}

async fn content_and_its_type_key_a_post(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).key_body(16));
    let number = std::sync::atomic::AtomicUsize::new(0);
    let origin =
        Origin::new(move |_| numbered(number.fetch_add(1, std::sync::atomic::Ordering::SeqCst)));
    let json = [("content-type", "application/json")];
    let requests = [
        request("POST", "/ask", &json, "{\"q\":1}"),
        request("POST", "/ask", &json, "{\"q\":2}"),
        request(
            "POST",
            "/ask",
            &[("content-type", "text/plain")],
            "{\"q\":1}",
        ),
        request("POST", "/other", &json, "{\"q\":1}"),
        request("QUERY", "/ask", &json, "{\"q\":1}"),
        request("GET", "/ask", &[], ""),
    ];
    are_apart(&nodes, &origin, &requests).await;
    assert_eq!(origin.calls(), requests.len());
    let long = request("POST", "/ask", &json, "{\"q\":12345678901}");
    for node in &nodes {
        let bypassed = send(node, &origin, long.clone()).await;
        assert_eq!(bypassed.decision(), "fwd=bypass; detail=request-body-size");
    }
    // Another node's copy of it goes with the path.
    let _ = world.b.invalidate_uri("/ask").await;
    world.is_gone(&nodes, &requests[0]).await;
    assert!(ask(&nodes[0], &requests[3]).await.is_some());
}

async fn a_head_is_answered_from_what_a_get_stored_on_another_node(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let origin = mirror(&[("x-kind", "post")]);
    let head = request("HEAD", "/posts", &[], "");
    send(&nodes[1], &origin, head.clone()).await;
    assert!(
        ask(&nodes[0], &get("/posts", &[])).await.is_none(),
        "a HEAD fills nothing"
    );
    let made = store(&nodes, &origin, &get("/posts", &[])).await;
    for node in &nodes {
        let answer = served(node, &head).await;
        assert_eq!((answer.status, answer.text()), (200, ""));
        assert_eq!(answer.field("x-kind"), "post");
        assert_eq!(answer.field("content-length"), made.body.len().to_string());
    }
}
