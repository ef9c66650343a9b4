//! Where a request goes: its host, its path, and what routers make of them.

use super::*;

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn the_answer_to_a_path_is_the_one_the_handler_would_give(
        paths in prop::collection::vec("/([aA/.;~]|%2e|%2E|%2f|%61|%00|%0a|\\\\){0,4}", 2..24),
    ) {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        block_on(async {
            let origin = mirror();
            for path in &paths {
                let answer = send(&layer, &origin, get(path, &[])).await;
                prop_assert_eq!(answer.text(), everything(&get(path, &[])));
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_part_of_a_key_runs_into_another(
        asked in prop::collection::vec(
            ("[ab:/]{1,2}", "[ab/]{0,2}", "[ab=&]{0,3}", "[ab]{0,2}", "[ab]{0,2}", "[ab]{1,2}"), 2..24,
        ),
    ) {
        let (cache, _clock) = cache();
        let layer = cache
            .layer()
            .ttl(MINUTE)
            .per_user(by_user())
            .key_part(user::from_header("x-first"))
            .key_part(user::from_header("x-second"));
        block_on(async {
            let origin = mirror();
            for (host, path, query, first, second, user) in &asked {
                let uri = format!("/{path}?{query}");
                let mut fields = vec![("host", &**host), ("x-first", &**first)];
                if !second.is_empty() {
                    fields.push(("x-second", second));
                }
                let request = || as_user(get(&uri, &fields), user);
                let answer = send(&layer, &origin, request()).await;
                prop_assert_eq!(answer.text(), everything(&request()));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn each_host_has_its_own_responses_unless_the_route_shares_them() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let any = cache.layer().ttl(MINUTE).any_host();
    let at = |host: &'static str| get("/", &[("host", host)]);
    assert!(share(&layer, at("a.test"), at("a.test")).await);
    assert!(!share(&layer, at("b.test"), at("c.test")).await);
    assert!(!share(&layer, at("d.test"), at("d.test:8080")).await);
    assert!(!share(&layer, at("e.test"), get("http://f.test/", &[])).await);
    assert!(
        !share(
            &layer,
            get("http://g.test/", &[]),
            get("https://g.test/", &[])
        )
        .await
    );
    assert!(share(&any, at("a.test"), at("b.test")).await);
}

#[tokio::test]
async fn a_request_that_names_two_hosts_bypasses() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::counting();
    let requests = || {
        [
            get("/", &[("host", "a.test"), ("host", "b.test")]),
            get("http://a.test/", &[("host", "b.test")]),
        ]
    };
    for request in requests().into_iter().chain(requests()) {
        let answer = send(&layer, &origin, request).await;
        assert_eq!(answer.decision(), "fwd=bypass; detail=host-conflict");
    }
    assert_eq!((origin.calls(), cache.stats().entries), (4, 0));
}

#[tokio::test]
async fn a_target_that_was_rewritten_on_its_way_here_is_part_of_the_key() {
    // An outer layer rewrites by a header that no key knows; the router remembers where the
    // request came in.
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = mirror();
    let rewritten = |to: &str| {
        let mut request = get(to, &[]);
        let came_in = axum::extract::OriginalUri("/front/posts".parse().unwrap());
        request.extensions_mut().insert(came_in);
        request
    };
    for to in [
        "/front/posts",
        "/posts",
        "/admin",
        "/posts?a=1",
        "/posts?a=2",
        "/posts",
    ] {
        let answer = send(&layer, &origin, rewritten(to)).await;
        assert_eq!(answer.text(), everything(&rewritten(to)));
    }
    assert_eq!(origin.calls(), 5);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn nested_routers_that_share_a_layer_never_answer_for_each_other() {
    use axum::{routing::get as on_get, Router};
    use tower::ServiceExt;

    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let inner = |name: &'static str| Router::new().route("/x", on_get(move || async move { name }));
    let around_routes = Router::new()
        .nest("/a", inner("a").layer(layer.clone()))
        .nest("/b", inner("b").layer(layer.clone()))
        .nest(
            "/c/d",
            Router::new().nest("/a", inner("deep").layer(layer.clone())),
        );
    let around_all = Router::new()
        .nest("/e", inner("e"))
        .nest("/f", inner("f"))
        .layer(layer);
    let app = around_routes.merge(around_all);
    for round in ["miss", "hit"] {
        for (path, body) in [
            ("/a/x", "a"),
            ("/b/x", "b"),
            ("/c/d/a/x", "deep"),
            ("/e/x", "e"),
            ("/f/x", "f"),
        ] {
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            let answer = read(app.clone().oneshot(request).await.unwrap()).await;
            assert_eq!(
                (answer.text(), answer.is_hit()),
                (body, round == "hit"),
                "{path}"
            );
        }
    }
}
