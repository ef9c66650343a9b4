//! What an invalidation reaches, who may ask for one, and that it is never lost.

#[path = "support/drive.rs"]
mod drive;
mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use drive::*;
use http::{Request, Response};
use http_body_util::Full;
use larder::{user, Cache, CacheFor, CacheLayer, Invalidate, NoStore, Tags};
use support::*;
use tower::{Layer, Service, ServiceExt};

/// Whether an answer is in store for this request, which never reaches the origin.
async fn is_stored(layer: &CacheLayer, uri: &str, fields: &[(&str, &str)]) -> bool {
    let mut asked = get(uri, fields);
    let only = "only-if-cached".parse().unwrap();
    asked.headers_mut().insert("cache-control", only);
    let origin = Origin::new(|_| panic!("`only-if-cached` reached the origin"));
    send(layer, &origin, asked).await.status != 504
}

async fn store(layer: &CacheLayer, uris: &[&str]) {
    for uri in uris {
        assert!(send(layer, &Origin::counting(), get(uri, &[]))
            .await
            .decision()
            .ends_with("stored"));
    }
}

/// An inner service that answers at once.
fn answering(
    answer: impl Fn() -> Response<TestBody> + Clone + Send + 'static,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<TestBody>,
    Error = Infallible,
    Future: Send,
> + Clone
       + Send
       + 'static {
    tower::service_fn(move |_: Request<Full<Bytes>>| {
        let response = answer();
        async { Ok(response) }
    })
}

type Answered = std::pin::Pin<Box<dyn std::future::Future<Output = Result<(), Infallible>>>>;

fn with_field(code: u16, name: &'static str, value: &'static str) -> Response<TestBody> {
    let mut response = status(code);
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn with_extension<E: Clone + Send + Sync + 'static>(
    mut response: Response<TestBody>,
    extension: E,
) -> Response<TestBody> {
    response.extensions_mut().insert(extension);
    response
}

#[tokio::test]
async fn tags_reach_every_response_that_carries_one_of_them_and_count_each_once() {
    let (cache, _clock) = cache();
    let tagged = |tags: &[&'static str]| {
        tags.iter()
            .fold(cache.layer().ttl(MINUTE), |layer, tag| layer.tag(*tag))
    };
    let both = tagged(&["posts", "tech"]);
    let posts = tagged(&["posts"]);
    let none = tagged(&[]);
    store(&both, &["/a", "/b"]).await;
    store(&posts, &["/c"]).await;
    store(&none, &["/d"]).await;
    assert_eq!(cache.invalidate_tag("tags").await.entries, Some(0));
    assert_eq!(
        cache
            .invalidate_tags(["posts", "tech", "posts"])
            .await
            .entries,
        Some(3)
    );
    assert_eq!(cache.invalidate_tag("posts").await.entries, Some(0));
    assert!(!is_stored(&both, "/a", &[]).await && !is_stored(&posts, "/c", &[]).await);
    assert!(is_stored(&none, "/d", &[]).await);
}

#[tokio::test]
async fn a_response_that_was_replaced_many_times_is_one_response() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    for _ in 0..5 {
        store(&layer, &["/a", "/b"]).await;
        clock.advance(2 * MINUTE);
    }
    store(&layer, &["/a", "/b"]).await;
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.stored, stats.evicted), (2, 12, 0));
    assert_eq!(cache.invalidate_tag("posts").await.entries, Some(2));
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
}

#[tokio::test]
async fn a_tag_that_a_response_no_longer_has_does_not_reach_it() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let tag = ["old", "new"][calls.fetch_add(1, Ordering::SeqCst)];
        with_extension(text(tag), Tags::new([tag, "both"]))
    });
    send(&layer, &origin, get("/", &[])).await;
    clock.advance(MINUTE);
    send(&layer, &origin, get("/", &[])).await;
    assert_eq!(cache.invalidate_tag("old").await.entries, Some(0));
    assert!(is_stored(&layer, "/", &[]).await);
    assert_eq!(
        cache.invalidate_tags(["new", "both"]).await.entries,
        Some(1)
    );
    assert_eq!(cache.stats().bytes, 0);
}

#[tokio::test]
async fn each_variant_of_a_response_counts() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let origin = Origin::with_fields(&[("vary", "accept")]);
    for accept in ["a", "b", "c"] {
        send(&layer, &origin, get("/", &[("accept", accept)])).await;
    }
    assert_eq!(cache.stats().entries, 3);
    assert_eq!(cache.invalidate_tag("posts").await.entries, Some(3));
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
}

#[tokio::test]
async fn a_uri_reaches_every_user_every_variant_every_host_and_every_query() {
    let (cache, _clock) = cache();
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .per_user(user::from_header("x-user"));
    let origin = Origin::with_fields(&[("vary", "accept")]);
    let asks = [
        ("/posts", "ann", "a", "one"),
        ("/posts", "ben", "a", "one"),
        ("/posts", "ann", "b", "one"),
        ("/posts", "ann", "a", "two"),
        ("/posts?page=2", "ann", "a", "one"),
        ("/posts/", "ann", "a", "one"),
        ("/postsy", "ann", "a", "one"),
    ];
    for (uri, user, accept, host) in asks {
        let fields = [("x-user", user), ("accept", accept), ("host", host)];
        send(&layer, &origin, get(uri, &fields)).await;
    }
    assert_eq!(cache.stats().entries, 7);
    assert_eq!(cache.invalidate_uri("/posts").await.entries, Some(5));
    assert_eq!(cache.stats().entries, 2);
}

#[tokio::test]
async fn a_uri_may_name_a_query_in_any_order_and_a_host() {
    let rows: [(&str, u64); 10] = [
        ("/posts?page=2&size=9", 2),
        ("/posts?size=9&page=2#top", 2),
        ("/posts?size=9", 0),
        ("/posts", 6),
        ("//one/posts", 3),
        ("http://two/posts", 3),
        ("https://two/posts?page=2&size=9", 1),
        ("//three/posts", 0),
        ("//one", 0),
        ("/", 0),
    ];
    for (uri, reached) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        for host in ["one", "two"] {
            for query in ["", "?page=2&size=9", "?page=3"] {
                let asked = get(&format!("/posts{query}"), &[("host", host)]);
                send(&layer, &Origin::counting(), asked).await;
            }
        }
        assert_eq!(
            cache.invalidate_uri(uri).await.entries,
            Some(reached),
            "{uri}"
        );
        assert_eq!(cache.stats().entries, 6 - reached, "{uri}");
    }
}

#[tokio::test]
async fn a_uri_with_a_host_reaches_what_is_shown_at_that_host_however_it_is_spelled() {
    for (host, reached) in [
        ("api.test", true),
        ("API.Test", true),
        ("api.test:443", true),
        ("api.test:8443", false),
        ("other.test", false),
    ] {
        for uri in ["//api.test/posts", "https://Api.test:443/posts?page=2"] {
            let (cache, _clock) = cache();
            let each = cache.layer().ttl(MINUTE);
            let asked = || get("/posts?page=2", &[("host", host)]);
            send(&each, &Origin::counting(), asked()).await;
            let shared = cache.layer().ttl(MINUTE).any_host();
            send(&shared, &Origin::counting(), asked()).await;
            let expected = 1 + u64::from(reached);
            let invalidated = cache.invalidate_uri(uri).await;
            assert_eq!(invalidated.entries, Some(expected), "{host} {uri}");
        }
    }
}

#[tokio::test]
async fn everything_is_invalidated_counted_and_freed() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("{none}");
    let untagged = cache.layer().ttl(MINUTE);
    let uris: Vec<String> = (0..1000).map(|n| format!("/{n}")).collect();
    for uri in &uris {
        send(&untagged, &Origin::counting(), get(uri, &[])).await;
    }
    assert_eq!(
        cache.invalidate(Invalidate::all().soft()).await.entries,
        Some(1000)
    );
    assert_eq!(
        cache.stats().entries,
        1000,
        "soft: they may be used where stale ones are"
    );
    assert_eq!(cache.invalidate_all().await.entries, Some(1000));
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    assert_eq!(cache.invalidate_all().await.entries, Some(0));
    // A response whose tag has no value is not stored, rather than stored with fewer tags.
    let answer = send(&layer, &Origin::counting(), get("/", &[])).await;
    assert_eq!(answer.decision(), "fwd=uri-miss; detail=tags");
}

#[tokio::test]
async fn an_invalidation_holds_before_it_is_awaited_and_though_it_is_dropped() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let uris: Vec<String> = (0..1000).map(|n| format!("/{n}")).collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    for polls in 0..3 {
        store(&layer, &uris).await;
        let mut invalidating = Box::pin(cache.invalidate_tag("posts"));
        for _ in 0..polls {
            let _ = poll_once(&mut invalidating).await;
        }
        for uri in &uris {
            assert!(!is_stored(&layer, uri, &[]).await, "{uri} after {polls}");
        }
        drop(invalidating);
    }
    // What was not counted is still there to be freed, and only that.
    let left = cache.stats().entries;
    assert!(left > 0);
    assert_eq!(cache.invalidate_all().await.entries, Some(left));
    assert_eq!(cache.stats().bytes, 0);
}

#[tokio::test]
async fn without_an_index_invalidations_hold_and_are_not_counted() {
    let cache = Cache::builder().tag_index(false).build().unwrap();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    store(&layer, &["/a"]).await;
    let done = cache.invalidate_tag("posts").await;
    assert_eq!((done.entries, done.deferred), (None, false));
    assert!(!is_stored(&layer, "/a", &[]).await);
}

#[tokio::test]
async fn several_invalidations_in_one_are_as_hard_as_the_hardest() {
    let (cache, _clock) = cache();
    let stale = |tag| {
        cache
            .layer()
            .ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .tag(tag)
    };
    for (one, two) in [(false, true), (true, false), (true, true)] {
        let (a, b) = (stale("a"), stale("b"));
        let _ = cache.invalidate_all().await;
        store(&a, &["/a"]).await;
        store(&b, &["/b"]).await;
        let soften = |what: Invalidate, soft: bool| if soft { what.soft() } else { what };
        let what = soften(Invalidate::tag("a"), one).and(soften(Invalidate::tag("b"), two));
        assert_eq!(cache.invalidate(what).await.entries, Some(2));
        let usable = one && two;
        assert_eq!(is_stored(&a, "/a", &[]).await, usable, "{one} {two}");
        assert_eq!(is_stored(&b, "/b", &[]).await, usable, "{one} {two}");
        settle().await;
    }
}

#[tokio::test]
async fn an_answer_s_invalidations_are_carried_out_before_it_leaves_whatever_it_is() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    for code in [200, 404, 500] {
        for (method, fields) in [
            ("GET", &[][..]),
            ("GET", &[("authorization", "Bearer a")]),
            ("HEAD", &[]),
            ("POST", &[]),
        ] {
            for watched in [false, true] {
                store(&layer, &["/a"]).await;
                let inner =
                    answering(move || with_extension(status(code), Invalidate::tag("posts")));
                let uri = format!("/{method}/{code}/{watched}");
                let asked = request(method, &uri, fields, "");
                let other = cache.layer().ttl(MINUTE);
                let mut answer: Answered = if watched {
                    let service = cache.watch().layer(inner);
                    Box::pin(async { service.oneshot(asked).await.map(drop) })
                } else {
                    let service = other.layer(inner);
                    Box::pin(async { service.oneshot(asked).await.map(drop) })
                };
                // In one poll, so that nothing else can have run before the answer was there.
                assert!(poll_once(&mut answer).await.is_ready());
                assert!(
                    !is_stored(&layer, "/a", &[]).await,
                    "{method} {code} {watched}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_an_answer_invalidates_is_freed_while_nobody_waits_for_it() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let inner = answering(|| with_extension(status(500), Invalidate::tag("posts")));
    for watched in [false, true] {
        store(&layer, &["/a", "/b"]).await;
        let asked = request("POST", "/other", &[], "");
        if watched {
            cache
                .watch()
                .layer(inner.clone())
                .oneshot(asked)
                .await
                .unwrap();
        } else {
            layer.layer(inner.clone()).oneshot(asked).await.unwrap();
        }
        settle().await;
        assert_eq!(
            (cache.stats().entries, cache.stats().bytes),
            (0, 0),
            "{watched}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_a_stale_one_replaces_still_has_its_invalidations_carried_out() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let failing = cache.layer().ttl(MINUTE).stale_if_error(10 * MINUTE);
    store(&failing, &["/b"]).await;
    clock.advance(2 * MINUTE);
    store(&layer, &["/a"]).await;
    let inner = answering(|| with_extension(status(500), Invalidate::tag("posts")));
    let answer = read(failing.layer(inner).oneshot(get("/b", &[])).await.unwrap()).await;
    assert_eq!(answer.text(), "call 1");
    assert!(!is_stored(&layer, "/a", &[]).await);
}

#[tokio::test]
async fn an_invalidation_that_two_layers_see_is_carried_out_once() {
    let (cache, _clock) = cache();
    let inner = answering(|| with_extension(status(200), Invalidate::tag("posts")));
    let service = cache
        .watch()
        .layer(cache.watch().layer(cache.layer().ttl(MINUTE).layer(inner)));
    service
        .oneshot(request("POST", "/a", &[], ""))
        .await
        .unwrap();
    assert_eq!(cache.stats().invalidations, 1);
}

#[tokio::test]
async fn an_unsafe_method_that_succeeds_spoils_its_uri_and_a_failure_spoils_nothing() {
    let rows = [
        ("PUT", 200, true),
        ("POST", 201, true),
        ("PATCH", 204, true),
        ("DELETE", 303, true),
        ("PURR", 200, true),
        ("PUT", 400, false),
        ("POST", 404, false),
        ("DELETE", 500, false),
        ("OPTIONS", 200, false),
        ("QUERY", 200, false),
    ];
    for (method, code, spoils) in rows {
        for watched in [false, true] {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let stored = ["/posts/7", "/posts/7?full=1", "/posts/70", "/posts"];
            store(&layer, &stored).await;
            let inner = answering(move || status(code));
            let asked = request(method, "/posts/7?by=ann", &[], "");
            if watched {
                cache.watch().layer(inner).oneshot(asked).await.unwrap();
            } else {
                layer.layer(inner).oneshot(asked).await.unwrap();
            }
            for (uri, spoiled) in stored.into_iter().zip([spoils, spoils, false, false]) {
                let kept = is_stored(&layer, uri, &[]).await;
                assert_eq!(kept, !spoiled, "{method} {code} {uri} {watched}");
            }
        }
    }
}

#[tokio::test]
async fn an_unsafe_method_that_errs_spoils_nothing() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    store(&layer, &["/a"]).await;
    let inner =
        tower::service_fn(|_: Request<Full<Bytes>>| async { Err::<Response<TestBody>, _>("no") });
    let asked = || request("PUT", "/a", &[], "");
    assert!(layer.layer(inner).oneshot(asked()).await.is_err());
    assert!(cache.watch().layer(inner).oneshot(asked()).await.is_err());
    assert!(is_stored(&layer, "/a", &[]).await);
}

#[tokio::test]
async fn an_unsafe_method_spoils_where_its_answer_points_within_its_own_origin() {
    let rows = [
        ("location", "/posts/8", true),
        ("location", "/posts/8?new=1#top", true),
        ("location", "8", true),
        ("location", "http://api.test/posts/8", true),
        ("content-location", "/posts/8", true),
        ("content-location", "//api.test/posts/8", true),
        ("location", "http://evil.test/posts/8", false),
        ("content-location", "//evil.test/posts/8", false),
        ("link", "/posts/8", false),
    ];
    for (field, value, spoils) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let host = [("host", "api.test")];
        send(&layer, &Origin::counting(), get("/posts/8", &host)).await;
        let inner = answering(move || with_field(201, field, value));
        let asked = request("POST", "/posts/", &host, "");
        cache.watch().layer(inner).oneshot(asked).await.unwrap();
        assert_eq!(
            !is_stored(&layer, "/posts/8", &host).await,
            spoils,
            "{field}: {value}"
        );
    }
}

#[tokio::test]
async fn a_post_that_its_route_caches_spoils_nothing_whatever_comes_of_it() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(8);
    let plain = cache.layer().ttl(MINUTE);
    store(&plain, &["/ask"]).await;
    let asks: [(&[(&str, &str)], &'static str); 6] = [
        (&[], "why?"),
        (&[], "why?"),
        (&[("authorization", "Bearer a")], "why?"),
        (&[("cookie", "a=b")], "why?"),
        (&[("cache-control", "no-store")], "why?"),
        (&[], "longer than the limit"),
    ];
    for (fields, body) in asks {
        let inner = layer.layer(Origin::counting());
        let service = cache.watch().layer(inner);
        let asked = request("POST", "/ask", fields, body);
        read(service.oneshot(asked).await.unwrap()).await;
        assert!(is_stored(&plain, "/ask", &[]).await, "{fields:?} {body}");
    }
    // Another method of that route does spoil it.
    let service = cache.watch().layer(layer.layer(Origin::counting()));
    service
        .oneshot(request("PUT", "/ask", &[], ""))
        .await
        .unwrap();
    assert!(!is_stored(&plain, "/ask", &[]).await);
}

#[tokio::test]
async fn a_handler_that_returns_the_answer_of_a_cached_post_still_spoils_its_own_uri() {
    let (cache, _clock) = cache();
    let pages = cache.layer().ttl(MINUTE);
    let asks = cache.layer().ttl(MINUTE).key_body(8);
    let upstream = Origin::counting();
    for (method, uri) in [("PUT", "/ask"), ("POST", "/posts"), ("POST", "/posts")] {
        store(&pages, &[uri]).await;
        let asking = asks.layer(upstream.clone());
        let handler = tower::service_fn(move |_: http::Request<_>| {
            asking.clone().oneshot(request("POST", "/ask", &[], "why?"))
        });
        let service = cache.watch().layer(handler);
        let written = request(method, uri, &[], "");
        read(service.oneshot(written).await.unwrap()).await;
        assert!(!is_stored(&pages, uri, &[]).await, "{method} {uri}");
    }
}

#[tokio::test]
async fn writes_to_what_is_never_cached_wear_nothing_out() {
    let (cache, _clock) = cache();
    for n in 0..100 {
        let asked = request("POST", &format!("/webhook/{n}"), &[], "");
        cache
            .watch()
            .layer(Origin::counting())
            .oneshot(asked)
            .await
            .unwrap();
    }
    assert_eq!(cache.stats().invalidations, 0);
}

#[tokio::test]
async fn a_handler_s_tags_ttl_and_no_store_are_heeded_and_do_not_leave_with_the_answer() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("route");
    let origin = Origin::new(|request| {
        let mut response = with_extension(text("a"), Tags::new(["handler"]));
        if request.uri().path() == "/short" {
            response
                .extensions_mut()
                .insert(CacheFor(Duration::from_secs(1)));
        }
        if request.uri().path() == "/never" {
            response.extensions_mut().insert(NoStore);
        }
        response
    });
    for (path, decision) in [
        ("/", "fwd=uri-miss; stored"),
        ("/short", "fwd=uri-miss; stored"),
        ("/never", "fwd=uri-miss; detail=handler-no-store"),
    ] {
        for fields in [&[][..], &[("authorization", "Bearer a")]] {
            let reply = head(&layer, &origin, get(path, fields)).await;
            assert!(reply.extensions().get::<Tags>().is_none());
            assert!(reply.extensions().get::<CacheFor>().is_none());
            assert!(reply.extensions().get::<NoStore>().is_none());
            let answer = read(reply).await;
            assert!(
                !fields.is_empty() || answer.decision() == decision,
                "{path}"
            );
        }
    }
    clock.advance(Duration::from_secs(1));
    assert!(is_stored(&layer, "/", &[]).await && !is_stored(&layer, "/short", &[]).await);
    assert_eq!(cache.invalidate_tag("handler").await.entries, Some(2));
}
