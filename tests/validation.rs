//! A stale response is validated with the inner service before it is made anew (RFC 9111 §4.3).

mod support;

#[path = "support/drive.rs"]
mod drive;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Response};
use larder::{user, Cache, CacheLayer, Invalidate};

use drive::{settle, spawn};
use support::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SECOND: Duration = Duration::from_secs(1);

type Fields = &'static [(&'static str, &'static str)];

/// What the origin has at the moment, and what it was asked.
#[derive(Clone)]
struct Resource {
    now: Arc<Mutex<(&'static str, Fields, Fields)>>,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Resource {
    /// A text, the fields of its 200, and those of its 304.
    fn new(text: &'static str, fields: Fields, confirmed: Fields) -> Self {
        Self {
            now: Arc::new(Mutex::new((text, fields, confirmed))),
            asked: Arc::default(),
        }
    }

    fn becomes(&self, text: &'static str, fields: Fields, confirmed: Fields) {
        *self.now.lock().unwrap() = (text, fields, confirmed);
    }

    /// What the latest request said in this field.
    fn was_asked(&self, name: &str) -> String {
        let asked = self.asked.lock().unwrap();
        let lines = asked.last().unwrap().get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect();
        lines.join(", ")
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn origin(&self) -> Origin {
        let this = self.clone();
        Origin::new(move |request| this.answer(request.headers()))
    }

    fn answer(&self, request: &HeaderMap) -> Response<TestBody> {
        self.asked.lock().unwrap().push(request.clone());
        let (content, fields, confirmed) = *self.now.lock().unwrap();
        let of = |name: &str| fields.iter().find(|(known, _)| *known == name);
        let field = |name: &str| {
            request
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let held = match (field("if-none-match"), field("if-modified-since")) {
            (Some(held), _) => of("etag").is_some_and(|(_, tag)| held.contains(tag)),
            (None, Some(since)) => of("last-modified").is_some_and(|(_, date)| since == *date),
            (None, None) => false,
        };
        let (mut response, fields) = match held {
            true => (status(304), confirmed),
            false => (text(content), fields),
        };
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }
}

fn route(cache: &Cache) -> CacheLayer {
    cache.layer().ttl(10 * SECOND)
}

async fn ask(layer: &CacheLayer, resource: &Resource, fields: &[(&str, &str)]) -> Answer {
    send(layer, &resource.origin(), get("/", fields)).await
}

const TAGGED: Fields = &[("etag", "\"a\""), ("content-type", "text/plain")];

#[tokio::test]
async fn a_304_makes_a_stale_response_fresh_again() {
    for (fields, question, said) in [
        (TAGGED, "if-none-match", "\"a\""),
        (&[("etag", "W/\"a\"")], "if-none-match", "W/\"a\""),
        (
            &[("last-modified", MODIFIED)],
            "if-modified-since",
            MODIFIED,
        ),
    ] {
        let (cache, clock) = cache();
        let layer = route(&cache);
        let resource = Resource::new("first", fields, &[]);
        ask(&layer, &resource, &[]).await;
        for round in 2..5 {
            clock.advance(11 * SECOND);
            let answer = ask(&layer, &resource, &[]).await;
            assert_eq!((answer.status, answer.text()), (200, "first"));
            assert_eq!(answer.decision(), "fwd=stale; fwd-status=304; stored");
            assert_eq!(answer.field("age"), "0");
            assert_eq!(answer.field("content-length"), "");
            assert_eq!(resource.was_asked(question), said);
            assert_eq!(resource.calls(), round);
            clock.advance(3 * SECOND);
            let answer = ask(&layer, &resource, &[]).await;
            assert_eq!(answer.decision(), "hit; ttl=7");
            assert_eq!(
                (answer.text(), answer.field("age").as_str()),
                ("first", "3")
            );
        }
    }
}

#[tokio::test]
async fn another_response_takes_the_place_of_a_stale_one() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    resource.becomes("second", &[("etag", "\"b\"")], &[]);
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "second"));
    assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!(
        (answer.text(), answer.field("etag").as_str()),
        ("second", "\"b\"")
    );
    assert!(answer.is_hit());
}

#[tokio::test]
async fn the_fields_of_a_304_replace_the_stored_ones() {
    let (cache, clock) = cache();
    let layer = cache.layer();
    let fields = &[
        ("etag", "\"a\""),
        ("cache-control", "max-age=10"),
        ("content-length", "5"),
        ("x-old", "1"),
        ("x-both", "1"),
    ];
    let confirmed = &[
        ("cache-control", "max-age=100"),
        ("content-length", "7"),
        ("x-both", "2"),
        ("x-both", "3"),
        ("x-new", "1"),
        ("set-cookie", "a=b"),
    ];
    let resource = Resource::new("first", fields, &confirmed[..5]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    let validated = ask(&layer, &resource, &[]).await;
    let hit = ask(&layer, &resource, &[]).await;
    assert_eq!(hit.decision(), "hit; ttl=100");
    for answer in [validated, hit] {
        assert_eq!(answer.text(), "first");
        let line = |name| answer.field(name);
        assert_eq!(line("cache-control"), "max-age=100");
        assert_eq!(line("content-length"), "5");
        assert_eq!(
            (line("x-old"), line("x-both"), line("x-new")),
            ("1".into(), "2, 3".into(), "1".into())
        );
    }
    // What may not be stored ends the matter for the store, not for the client.
    clock.advance(101 * SECOND);
    resource.becomes("first", fields, &confirmed[5..]);
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "first"));
    assert_eq!(
        answer.decision(),
        "fwd=stale; fwd-status=304; detail=set-cookie"
    );
}

#[tokio::test]
async fn a_client_that_holds_the_confirmed_response_gets_304() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let resource = Resource::new("first", TAGGED, &[("etag", "\"a\"")]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    let answer = ask(&layer, &resource, &[("if-none-match", "\"x\", \"a\"")]).await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    assert_eq!(answer.field("etag"), "\"a\"");
    assert!(
        ask(&layer, &resource, &[]).await.is_hit(),
        "it is fresh for all"
    );

    clock.advance(11 * SECOND);
    let answer = ask(&layer, &resource, &[("range", "bytes=1-2")]).await;
    assert_eq!((answer.status, answer.text()), (206, "ir"));
    assert_eq!(resource.was_asked("range"), "");
}

#[tokio::test]
async fn the_cache_asks_about_what_it_has_and_not_for_the_client() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    resource.becomes("second", &[("etag", "\"b\"")], &[]);
    let held = &[("if-none-match", "\"b\""), ("if-modified-since", MODIFIED)];
    let answer = ask(&layer, &resource, held).await;
    assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
    assert_eq!(resource.was_asked("if-modified-since"), "");
    assert_eq!((answer.status, answer.text()), (200, "second"));
    let answer = ask(&layer, &resource, held).await;
    assert_eq!((answer.status, answer.is_hit()), (304, true));
}

/// Answers 304 with these fields to every question.
fn confirming(fields: Fields) -> Origin {
    Origin::new(move |request| {
        let asks = ["if-none-match", "if-modified-since"];
        let asked = asks
            .iter()
            .any(|name| request.headers().contains_key(*name));
        assert!(asked, "nothing was asked");
        let mut response = status(304);
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

#[tokio::test]
async fn a_304_that_names_another_response_makes_nothing_fresh_and_reaches_who_holds_that_alone() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    let other = confirming(&[("etag", "\"b\"")]);
    for _ in 0..2 {
        let answer = send(&layer, &other, get("/", &[])).await;
        assert_eq!((answer.status, answer.text()), (200, "first"));
        assert!(
            !answer.decision().contains("stored"),
            "{}",
            answer.decision()
        );
        assert_eq!(answer.field("etag"), "\"a\"");
    }
    let answer = send(&layer, &other, get("/", &[("if-none-match", "\"b\"")])).await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    assert!(!answer.is_hit());
}

#[tokio::test]
async fn a_304_never_loosens_what_a_response_varies_on() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let fields = &[("etag", "\"a\""), ("vary", "accept-language")];
    let resource = Resource::new("deutsch", fields, &[("vary", "origin")]);
    let asking = |language| [("accept-language", language)];
    ask(&layer, &resource, &asking("de")).await;
    clock.advance(11 * SECOND);
    ask(&layer, &resource, &asking("de")).await;
    let answer = ask(&layer, &resource, &asking("de")).await;
    assert!(answer.is_hit());
    assert_eq!(answer.field("vary"), "accept-language, origin");
    resource.becomes("english", &[("vary", "accept-language")], &[]);
    let answer = ask(&layer, &resource, &asking("en")).await;
    assert_eq!((answer.text(), answer.is_hit()), ("english", false));
}

#[tokio::test]
async fn nothing_holds_for_longer_by_being_confirmed() {
    let (cache, clock) = cache();
    let long = Duration::from_secs(3600);
    let minute = larder::ClientCache::public(MINUTE);
    let rows: [(CacheLayer, Fields); 3] = [
        (
            cache.layer().ttl(long).client(minute),
            &[("etag", "\"a\""), ("cache-control", "public, max-age=60")],
        ),
        (
            cache
                .layer()
                .ttl(long)
                .per_user(user::from_header("x-user")),
            &[
                ("etag", "\"a\""),
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "max-age=9999"),
            ],
        ),
        (
            cache.layer().ttl(long).status_ttl(200, MINUTE),
            &[("etag", "\"a\"")],
        ),
    ];
    for (n, (layer, fields)) in rows.into_iter().enumerate() {
        let resource = Resource::new("first", fields, &[]);
        let uri = format!("/{n}");
        let asking = || get(&uri, &[("x-user", "ada")]);
        send(&layer, &resource.origin(), asking()).await;
        for _ in 0..2 {
            clock.advance(MINUTE);
            let answer = send(&layer, &resource.origin(), asking()).await;
            assert_eq!(
                answer.decision(),
                "fwd=stale; fwd-status=304; stored",
                "{n}"
            );
            let answer = send(&layer, &resource.origin(), asking()).await;
            assert_eq!(answer.decision(), "hit; ttl=60", "{n}");
        }
    }
}

#[tokio::test]
async fn fields_about_the_content_of_a_304_are_not_about_the_stored_one() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let fields = &[
        ("last-modified", MODIFIED),
        ("content-type", "application/json"),
    ];
    let resource = Resource::new(
        "{}",
        fields,
        &[
            ("content-type", "text/plain"),
            ("repr-digest", "x"),
            ("etag", "\"x\""),
        ],
    );
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    ask(&layer, &resource, &[]).await;
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!(answer.decision(), "hit; ttl=10");
    assert_eq!(answer.field("content-type"), "application/json");
    assert_eq!(
        (answer.field("repr-digest"), answer.field("etag")),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn what_is_no_success_is_not_asked_about() {
    let (cache, clock) = cache();
    let layer = route(&cache).not_found_ttl(SECOND);
    let missing = Origin::new(|request| {
        assert!(!request.headers().contains_key("if-modified-since"));
        let mut response = status(404);
        response
            .headers_mut()
            .insert("last-modified", MODIFIED.parse().unwrap());
        response
    });
    for _ in 0..2 {
        let answer = send(&layer, &missing, get("/", &[])).await;
        assert_eq!(answer.status, 404);
        clock.advance(2 * SECOND);
    }
}

#[tokio::test]
async fn what_must_be_validated_each_time_is_and_nobody_waits_for_another_one() {
    for said in [
        "no-cache",
        "max-age=0",
        "max-age=0, must-revalidate",
        "no-cache=\"x-a\"",
    ] {
        let (cache, _clock) = cache();
        let layer = route(&cache);
        let fields: Fields = Box::leak(Box::new([("etag", "\"a\""), ("cache-control", said)]));
        let resource = Resource::new("first", fields, &[]);
        ask(&layer, &resource, &[]).await;
        for calls in 2..5 {
            let answer = ask(&layer, &resource, &[]).await;
            assert_eq!((answer.status, answer.text()), (200, "first"), "{said}");
            assert_eq!(answer.decision(), "fwd=stale; fwd-status=304; stored");
            assert_eq!(answer.field("cache-control"), said);
            assert_eq!(resource.calls(), calls, "{said}");
        }
        // Without a validator there is nothing to ask.
        let fields: Fields = Box::leak(Box::new([("cache-control", said)]));
        let resource = Resource::new("first", fields, &[]);
        let request = || get("/other", &[]);
        for _ in 0..2 {
            let answer = send(&layer, &resource.origin(), request()).await;
            assert!(
                !answer.decision().contains("stored"),
                "{}",
                answer.decision()
            );
            assert_eq!(resource.was_asked("if-none-match"), "");
        }
    }
}

#[tokio::test]
async fn those_who_must_all_validate_do_so_side_by_side() {
    let (cache, _clock) = cache();
    let layer = route(&cache);
    let (origin, gate) = Origin::gated(0, |_| {
        let mut response = text("first");
        let headers = response.headers_mut();
        headers.insert("etag", "\"a\"".parse().unwrap());
        headers.insert("cache-control", "no-cache".parse().unwrap());
        response
    });
    let all: Vec<_> = (0..10)
        .map(|_| spawn(&layer, &origin, get("/", &[])))
        .collect();
    settle().await;
    assert_eq!(origin.calls(), 1, "it might have been for all");
    gate.add_permits(1);
    settle().await;
    assert_eq!(origin.calls(), 10, "nobody waits for another one's answer");
    let late = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    assert_eq!(origin.calls(), 11);
    gate.add_permits(10);
    late.await.unwrap();
    for one in all {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_wants_no_stored_answer_makes_the_cache_ask() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    for said in ["no-cache", "max-age=0"] {
        clock.advance(SECOND);
        let answer = ask(&layer, &resource, &[("cache-control", said)]).await;
        assert_eq!((answer.status, answer.text()), (200, "first"));
        assert_eq!(answer.decision(), "fwd=request; fwd-status=304; stored");
        assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
    }
}

#[tokio::test]
async fn what_was_invalidated_is_not_asked_about_and_what_is_softly_invalid_is() {
    // Without an index what is invalidated stays where it is.
    let cache = Cache::builder().tag_index(false).build().unwrap();
    let layer = route(&cache).tag("posts");
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    let _ = cache.invalidate_tag("posts").await;
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!(resource.was_asked("if-none-match"), "");
    assert_eq!((answer.status, answer.text()), (200, "first"));

    let _ = cache.invalidate(Invalidate::tag("posts").soft()).await;
    let answer = ask(&layer, &resource, &[]).await;
    assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
    assert_eq!(answer.decision(), "fwd=stale; fwd-status=304; stored");
    assert!(ask(&layer, &resource, &[]).await.is_hit());
}

#[tokio::test]
async fn what_a_304_confirms_keeps_its_tags() {
    let (cache, clock) = cache();
    let layer = route(&cache).tags_of_response(|parts| {
        let tag = parts.headers.get("x-tag").and_then(|tag| tag.to_str().ok());
        tag.map(str::to_owned).into_iter().collect::<Vec<_>>()
    });
    let fields = &[("etag", "\"a\""), ("x-tag", "old")];
    let resource = Resource::new("first", fields, &[("x-tag", "new")]);
    for tag in ["old", "new"] {
        ask(&layer, &resource, &[]).await;
        clock.advance(11 * SECOND);
        ask(&layer, &resource, &[]).await;
        assert!(ask(&layer, &resource, &[]).await.is_hit());
        let _ = cache.invalidate_tag(tag).await;
        assert!(!ask(&layer, &resource, &[]).await.is_hit(), "{tag}");
    }
}

#[tokio::test]
async fn an_invalidation_reaches_what_is_being_validated() {
    let (cache, clock) = cache();
    let layer = route(&cache).tag("posts");
    let purging = cache.clone();
    let origin = Origin::later(move |request| {
        let asked = request.headers().contains_key("if-none-match");
        let cache = purging.clone();
        Box::pin(async move {
            if !asked {
                let mut response = text("first");
                let headers = response.headers_mut();
                headers.insert("etag", "\"a\"".parse().unwrap());
                return response;
            }
            let _ = cache.invalidate_tag("posts").await;
            status(304)
        })
    });
    send(&layer, &origin, get("/", &[])).await;
    clock.advance(11 * SECOND);
    let answer = send(&layer, &origin, get("/", &[])).await;
    assert_eq!(
        answer.decision(),
        "fwd=stale; fwd-status=304; detail=overtaken"
    );
    assert!(!send(&layer, &origin, get("/", &[])).await.is_hit());
}

#[tokio::test]
async fn what_the_cache_tells_downstream_does_not_grow_nor_turn_against_it() {
    let (cache, clock) = cache();
    let routes = [
        (route(&cache).vary_on(http::header::ACCEPT), ""),
        (route(&cache).per_user(user::from_header("x-user")), ""),
        (
            route(&cache).per_user(user::from_header("x-user")),
            "public, max-age=10",
        ),
        (
            route(&cache).per_user(user::from_header("x-user")),
            "max-age=10, s-maxage=20",
        ),
    ];
    for (n, (layer, said)) in routes.into_iter().enumerate() {
        let fields: Fields = match said {
            "" => &[("etag", "\"a\""), ("vary", "accept-language")],
            said => Box::leak(Box::new([("etag", "\"a\""), ("cache-control", said)])),
        };
        let resource = Resource::new("first", fields, &[]);
        let uri = format!("/{n}");
        let asking = || get(&uri, &[("x-user", "ada"), ("accept", "a/b")]);
        let first = send(&layer, &resource.origin(), asking()).await;
        for _ in 0..3 {
            clock.advance(11 * SECOND);
            let answer = send(&layer, &resource.origin(), asking()).await;
            assert_eq!(
                answer.decision(),
                "fwd=stale; fwd-status=304; stored",
                "{n}"
            );
            for name in ["cache-control", "vary", "etag"] {
                assert_eq!(answer.field(name), first.field(name), "{n} {name}");
            }
            assert!(
                send(&layer, &resource.origin(), asking()).await.is_hit(),
                "{n}"
            );
        }
    }
}

#[tokio::test]
async fn a_refresh_asks_too() {
    let (cache, clock) = cache();
    let layer = route(&cache).stale_while_revalidate(MINUTE);
    let resource = Resource::new("first", TAGGED, &[]);
    ask(&layer, &resource, &[]).await;
    clock.advance(11 * SECOND);
    assert!(ask(&layer, &resource, &[]).await.is_hit());
    settle().await;
    assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
    assert_eq!(ask(&layer, &resource, &[]).await.decision(), "hit; ttl=10");
    assert_eq!((resource.calls(), cache.stats().misses), (2, 1));
}

#[tokio::test]
async fn a_failing_validation_is_a_failed_call() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let generous = route(&cache).stale_if_error(MINUTE);
    let resource = Resource::new("first", TAGGED, &[]);
    let failing = Origin::new(|request| {
        assert!(request.headers().contains_key("if-none-match"));
        status(503)
    });
    for (layer, uri, expected) in [(&layer, "/a", (503, "")), (&generous, "/b", (200, "first"))] {
        send(layer, &resource.origin(), get(uri, &[])).await;
        clock.advance(11 * SECOND);
        let answer = send(layer, &failing, get(uri, &[])).await;
        assert_eq!((answer.status, answer.text()), expected);
    }
}

#[tokio::test]
async fn other_variants_heads_and_strangers_are_not_asked_about() {
    let (cache, clock) = cache();
    let layer = route(&cache);
    let fields = &[("etag", "\"a\""), ("vary", "accept")];
    let resource = Resource::new("first", fields, &[]);
    ask(&layer, &resource, &[("accept", "a/b")]).await;
    clock.advance(11 * SECOND);
    ask(&layer, &resource, &[("accept", "c/d")]).await;
    assert_eq!(resource.was_asked("if-none-match"), "");
    send(
        &layer,
        &resource.origin(),
        request("HEAD", "/", &[("accept", "a/b")], ""),
    )
    .await;
    assert_eq!(resource.was_asked("if-none-match"), "");
    ask(
        &layer,
        &resource,
        &[("accept", "a/b"), ("authorization", "me")],
    )
    .await;
    assert_eq!(resource.was_asked("if-none-match"), "");
    ask(&layer, &resource, &[("accept", "a/b")]).await;
    assert_eq!(resource.was_asked("if-none-match"), "\"a\"");
}
