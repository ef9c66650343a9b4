//! What is stored, and that it is read back as it was.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use larder::{CacheFor, NoStore};

use crate::support::*;
use crate::world::{ask, served, store, World};

everywhere! {
    what_is_read_back_on_the_other_node_is_what_was_made,
    a_body_over_the_limit_passes_and_is_not_stored,
    what_may_not_be_stored_is_stored_nowhere,
    a_handler_chooses_the_ttl_or_that_there_is_none,
    a_body_that_breaks_off_is_stored_nowhere,
}

async fn what_is_read_back_on_the_other_node_is_what_was_made(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let bodies = [
        Bytes::from_static(b""),
        Bytes::from((0..=255).collect::<Vec<u8>>()),
        Bytes::from("lorem ".repeat(30_000)),
    ];
    for (i, body) in bodies.into_iter().enumerate() {
        let made = body.clone();
        let origin = Origin::new(move |_| {
            let mut response = text(made.clone());
            let fields = response.headers_mut();
            for (name, value) in [
                ("x-word", &b"b"[..]),
                ("content-type", b"application/octet-stream"),
                ("x-word", b"a"),
                ("x-latin", b"caf\xe9"),
                ("x-empty", b""),
                ("etag", b"\"1\""),
                ("link", b"</a>; rel=prev"),
                ("link", b"</b>; rel=next"),
            ] {
                fields.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            response
        });
        let request = get(&format!("/{i}"), &[]);
        let made = store(&nodes, &origin, &request).await;
        for node in &nodes {
            let answer = served(node, &request).await;
            assert_eq!((answer.status, &answer.body), (200, &body));
            for (name, _) in &made.headers {
                // Those are the cache's own words about this one answer.
                if name == "cache-status" || name == "age" {
                    continue;
                }
                let lines = |answer: &Answer| -> Vec<HeaderValue> {
                    answer.headers.get_all(name).iter().cloned().collect()
                };
                assert_eq!(lines(&answer), lines(&made), "{name}");
            }
        }
    }
}

async fn a_body_over_the_limit_passes_and_is_not_stored(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE).body_limit(8));
    store(
        &nodes,
        &Origin::new(|_| text("12345678")),
        &get("/fits", &[]),
    )
    .await;
    let known = Origin::new(|_| text("123456789"));
    let streamed = Origin::new(|_| {
        Response::new(TestBody::new([
            Step::Data("12345"),
            Step::Yield,
            Step::Data("6789"),
        ]))
    });
    for (uri, origin) in [("/known", known), ("/streamed", streamed)] {
        for node in &nodes {
            for _ in 0..2 {
                let answer = send(node, &origin, get(uri, &[])).await;
                assert_eq!(answer.text(), "123456789");
            }
        }
        assert_eq!(origin.calls(), 4, "{uri}");
    }
}

async fn what_may_not_be_stored_is_stored_nowhere(world: World) {
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let fields = [
        ("cache-control", "no-store"),
        ("cache-control", "private"),
        ("set-cookie", "session=1"),
        ("vary", "*"),
        ("cdn-cache-control", "no-store"),
    ];
    for (i, (name, value)) in fields.into_iter().enumerate() {
        let origin = Origin::new(move |_| {
            let mut response = text("mine");
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        });
        let request = get(&format!("/{i}"), &[]);
        for node in nodes.iter().chain(&nodes) {
            assert!(
                !send(node, &origin, request.clone()).await.is_hit(),
                "{name}: {value}"
            );
        }
    }
    let origin = Origin::counting();
    for fields in [[("authorization", "Bearer a")], [("cookie", "session=1")]] {
        for node in nodes.iter().chain(&nodes) {
            assert!(!send(node, &origin, get("/", &fields)).await.is_hit());
        }
    }
    assert_eq!(origin.calls(), 8);
}

async fn a_handler_chooses_the_ttl_or_that_there_is_none(world: World) {
    let nodes = world.route(|layer| {
        layer.ttl(MINUTE).ttl_by(|answer| {
            let pending = answer.headers.contains_key("x-pending");
            pending.then_some(Duration::from_secs(1))
        })
    });
    let second = Duration::from_secs(1);
    let for_a_second = Origin::new(move |_| {
        let mut response = text("for a second");
        response.extensions_mut().insert(CacheFor(second));
        response
    });
    let pending = Origin::with_fields(&[("x-pending", "1")]);
    let ready = Origin::counting();
    for (uri, origin, lives) in [
        ("/for", for_a_second, second),
        ("/pending", pending, second),
        ("/ready", ready, MINUTE),
    ] {
        let request = get(uri, &[]);
        store(&nodes, &origin, &request).await;
        world.clock.advance(lives - Duration::from_millis(1));
        served(&nodes[1], &request).await;
        world.clock.advance(Duration::from_millis(1));
        for node in &nodes {
            assert!(ask(node, &request).await.is_none(), "{uri}");
        }
    }
    let never = Origin::new(|_| {
        let mut response = text("never");
        response.extensions_mut().insert(NoStore);
        response
    });
    for node in nodes.iter().chain(&nodes) {
        assert!(!send(node, &never, get("/never", &[])).await.is_hit());
    }
}

async fn a_body_that_breaks_off_is_stored_nowhere(world: World) {
    use http_body_util::BodyExt;
    use tower::{Layer, ServiceExt};
    let nodes = world.route(|layer| layer.ttl(MINUTE));
    let broken = Origin::new(|_| {
        Response::new(TestBody::new([Step::Data("half"), Step::Yield, Step::Fail]))
    });
    for node in nodes.iter().chain(&nodes) {
        let answer = node
            .layer(broken.clone())
            .oneshot(get("/", &[]))
            .await
            .unwrap();
        assert!(answer.into_body().collect().await.is_err());
    }
    assert_eq!(broken.calls(), 4);
    for node in &nodes {
        assert!(ask(node, &get("/", &[])).await.is_none());
    }
}
