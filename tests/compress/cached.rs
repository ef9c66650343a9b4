//! Codings kept by the cache: made once, for all who want them, and gone with what they are of.

use std::future::{poll_fn, Future};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use larder::{Cache, CacheLayer, Coding, CompressLayer};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt};

use crate::codings::{decoded, text_of, ALL};
use crate::support::*;

const SMALL: usize = 20_000;
const LARGE: usize = 300_000;

/// Answers with text of its own for each call.
fn texts(length: usize) -> Origin {
    texts_with(length, &[])
}

fn texts_with(length: usize, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let number = std::sync::atomic::AtomicU64::new(0);
    Origin::new(move |request| {
        let accepted = request.headers().get("accept-encoding");
        assert!(accepted.is_none_or(|accepted| accepted == "identity"));
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let mut response = match request.method().as_str() {
            "HEAD" => text(""),
            _ => text(text_of(length, number)),
        };
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("content-length", length.into());
        headers.insert("etag", format!("\"{number}\"").parse().unwrap());
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        response
    })
}

fn accepting(coding: &str) -> Request<Full<Bytes>> {
    match coding {
        "" => get("/", &[]),
        _ => get("/", &[("accept-encoding", coding)]),
    }
}

fn route(cache: &Cache) -> CacheLayer {
    cache.layer().ttl(MINUTE).tag("texts")
}

/// Checks an answer against the text of this call, in this coding.
fn is_text(answer: &Answer, coding: &str, call: u64, length: usize) {
    assert_eq!(answer.field("content-encoding"), coding);
    assert!(
        decoded(coding, &answer.body) == text_of(length, call),
        "{coding}: text {call}"
    );
    assert_eq!(answer.field("vary"), "accept-encoding", "{coding}");
    let weak = if coding.is_empty() { "" } else { "W/" };
    assert_eq!(
        answer.field("etag"),
        format!("{weak}\"{call}\""),
        "{coding}"
    );
}

#[tokio::test]
async fn one_call_and_one_encoding_for_each_coding_serve_any_number_of_clients() {
    for length in [SMALL, LARGE] {
        let (cache, clock) = cache();
        let (layer, origin) = (route(&cache), texts(length));
        for _ in 0..4 {
            for coding in ["gzip", "", "br", "zstd"] {
                let answer = send(&layer, &origin, accepting(coding)).await;
                is_text(&answer, coding, 1, length);
                clock.advance(std::time::Duration::from_secs(1));
            }
        }
        let stats = cache.stats();
        assert_eq!((origin.calls(), stats.encoded, stats.hits), (1, 3, 15));
        assert_eq!(stats.entries, 1, "the forms are one response");
        let last = send(&layer, &origin, accepting("gzip")).await;
        assert_eq!(
            last.field("age"),
            "16",
            "a form is as old as what it was made of"
        );
        assert_eq!(last.decision(), "hit; ttl=44");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_ask_at_once_share_the_making() {
    for length in [SMALL, LARGE] {
        let (cache, _clock) = cache();
        let (layer, origin) = (route(&cache), texts(length));
        send(&layer, &origin, accepting("")).await;
        let start = Arc::new(Semaphore::new(0));
        let clients: Vec<_> = (0..64)
            .map(|n| {
                let (layer, origin, start) = (layer.clone(), origin.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    let _go = start.acquire().await.unwrap();
                    let coding = ALL[n % 3];
                    is_text(
                        &send(&layer, &origin, accepting(coding)).await,
                        coding,
                        1,
                        length,
                    );
                })
            })
            .collect();
        start.add_permits(64);
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!((origin.calls(), cache.stats().encoded), (1, 3));
    }
}

#[tokio::test]
async fn those_who_wait_for_one_call_each_get_the_coding_they_want() {
    let (cache, _clock) = cache();
    let (origin, gate) = Origin::gated(0, |_| {
        let mut response = text(text_of(SMALL, 1));
        let headers = response.headers_mut();
        headers.insert("content-type", "text/html".parse().unwrap());
        headers.insert("etag", "\"1\"".parse().unwrap());
        response
    });
    let layer = route(&cache);
    let clients: Vec<_> = ["gzip", "", "br", "zstd", "gzip"]
        .into_iter()
        .map(|coding| {
            let (layer, origin) = (layer.clone(), origin.clone());
            tokio::spawn(async move {
                is_text(
                    &send(&layer, &origin, accepting(coding)).await,
                    coding,
                    1,
                    SMALL,
                );
            })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(10);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (1, 3));
}

#[tokio::test]
async fn an_invalidation_takes_all_forms_along() {
    for length in [SMALL, LARGE] {
        let (cache, _clock) = cache();
        let (layer, origin) = (route(&cache), texts(length));
        for call in 1..4 {
            for coding in ["", "gzip", "br", "zstd"] {
                is_text(
                    &send(&layer, &origin, accepting(coding)).await,
                    coding,
                    call,
                    length,
                );
            }
            let count = cache.invalidate_tag("texts").await.entries;
            assert_eq!(count, Some(1));
            assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
        }
    }
}

#[tokio::test]
async fn what_is_invalidated_while_a_form_is_made_stays_invalid() {
    let (cache, _clock) = cache();
    let (layer, origin) = (route(&cache), texts(LARGE));
    send(&layer, &origin, accepting("")).await;
    let service = layer.layer(origin.clone());
    let making = service.oneshot(accepting("br")).await.unwrap();
    drop(cache.invalidate_tag("texts"));
    is_text(
        &send(&layer, &origin, accepting("br")).await,
        "br",
        2,
        LARGE,
    );
    // Who asked before gets what there was then, whole.
    is_text(&read(making).await, "br", 1, LARGE);
    is_text(
        &send(&layer, &origin, accepting("br")).await,
        "br",
        2,
        LARGE,
    );
}

#[tokio::test]
async fn forms_weigh_on_the_cache_and_respect_its_capacity() {
    let (cache, _clock) = cache();
    let (layer, origin) = (route(&cache), texts(SMALL));
    let mut last = 0;
    for coding in ["", "gzip", "br", "zstd"] {
        let answer = send(&layer, &origin, accepting(coding)).await;
        let bytes = cache.stats().bytes;
        let grown = bytes - last;
        assert!(
            grown >= answer.body.len() as u64,
            "{coding}: {grown} bytes more"
        );
        last = bytes;
    }

    let clock = larder::ManualClock::new();
    let small = Cache::builder()
        .capacity(100_000)
        .body_limit(40_000)
        .clock(clock.clock());
    let small = small.build().unwrap();
    let layer = route(&small);
    for n in 0..40 {
        for coding in ["", "gzip", "br", "zstd"] {
            let mut request = accepting(coding);
            *request.uri_mut() = format!("/{n}").parse().unwrap();
            send(&layer, &origin, request).await;
            assert!(small.stats().bytes <= 100_000);
        }
    }
    assert!(small.stats().evicted > 0);
}

#[tokio::test]
async fn a_form_without_room_is_not_made_again_and_again() {
    // A slot holds the response, and not much more.
    let cache = Cache::builder()
        .capacity(64_000)
        .body_limit(31_000)
        .build()
        .unwrap();
    let layer = route(&cache);
    let origin = Origin::new(|_| {
        let mut random = 1_u32;
        let content: Vec<u8> = (0..30_000)
            .map(|n| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if n % 64 == 0 {
                    b' '
                } else {
                    (random >> 24) as u8
                }
            })
            .collect();
        let mut response = text(content);
        response
            .headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        response
    });
    for _ in 0..5 {
        for coding in ["gzip", "zstd", "br"] {
            let answer = send(&layer, &origin, accepting(coding)).await;
            let coding = answer.field("content-encoding");
            assert_eq!(decoded(&coding, &answer.body).len(), 30_000);
        }
    }
    assert!(
        origin.calls() == 1 && cache.stats().encoded <= 3,
        "{:?}",
        cache.stats()
    );
}

#[tokio::test]
async fn content_that_a_coding_does_not_shorten_is_sent_as_it_is() {
    let (cache, _clock) = cache();
    let layer = route(&cache);
    let origin = Origin::new(|_| {
        let mut state = 7_u64;
        let content = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        });
        let mut response = text(content.take(5000).collect::<Vec<u8>>());
        response
            .headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        response
    });
    for _ in 0..3 {
        let answer = send(&layer, &origin, accepting("gzip")).await;
        assert_eq!(
            (answer.field("content-encoding").as_str(), answer.body.len()),
            ("", 5000)
        );
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (1, 1));
}

#[tokio::test]
async fn no_client_gets_a_coding_it_refused() {
    let (cache, _clock) = cache();
    let (layer, origin) = (route(&cache), texts(SMALL));
    for coding in ALL {
        send(&layer, &origin, accepting(coding)).await;
    }
    for (accepted, coding) in [
        ("gzip;q=0", ""),
        ("gzip;q=0, *", "br"),
        ("br;q=0, zstd;q=0, *;q=0.1", "gzip"),
        ("gzip;q=0.2, zstd;q=0.3", "zstd"),
        ("identity", ""),
        ("*;q=0", ""),
        ("deflate", ""),
    ] {
        is_text(
            &send(&layer, &origin, accepting(accepted)).await,
            coding,
            1,
            SMALL,
        );
    }
    // In several lines.
    let several = get(
        "/",
        &[("accept-encoding", "br;q=0"), ("accept-encoding", "zstd")],
    );
    is_text(&send(&layer, &origin, several).await, "zstd", 1, SMALL);
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn head_says_what_get_does() {
    for length in [SMALL, LARGE] {
        let (cache, _clock) = cache();
        let (layer, origin) = (route(&cache), texts(length));
        let head = |coding: &'static str| request("HEAD", "/", &[("accept-encoding", coding)], "");
        let without = |mut answer: Answer| {
            answer.headers.remove("content-length");
            answer.headers
        };
        let missed = send(&layer, &origin, head("gzip")).await;
        assert_eq!(missed.field("vary"), "accept-encoding");
        send(&layer, &origin, accepting("")).await;
        let early = send(&layer, &origin, head("gzip")).await;
        assert_ne!(early.field("content-length"), "0");
        let by_get = send(&layer, &origin, accepting("gzip")).await;
        let by_head = send(&layer, &origin, head("gzip")).await;
        assert_eq!(
            by_head.field("content-length"),
            by_get.body.len().to_string()
        );
        assert!(by_head.body.is_empty() && by_head.field("content-encoding") == "gzip");
        assert_eq!(without(by_head.clone()), without(by_get));
        assert_eq!(without(early), without(by_head));
    }
}

#[tokio::test]
async fn small_bodies_other_types_and_what_forbids_it_stay_as_they_are() {
    type Row = (&'static [(&'static str, &'static str)], usize);
    let rows: [Row; 4] = [
        (&[], 599),
        (&[("content-type", "image/png")], SMALL),
        (&[("cache-control", "max-age=60, no-transform")], SMALL),
        (&[("content-type", "application/octet-stream")], SMALL),
    ];
    for (fields, length) in rows {
        let (cache, _clock) = cache();
        let (layer, origin) = (route(&cache), texts_with(length, fields));
        for _ in 0..2 {
            for coding in ["", "gzip", "br"] {
                let answer = send(&layer, &origin, accepting(coding)).await;
                assert_eq!(answer.field("content-encoding") + &answer.field("vary"), "");
                assert_eq!(
                    (answer.body.len(), answer.field("etag").as_str()),
                    (length, "\"1\"")
                );
            }
        }
        assert_eq!(
            (origin.calls(), cache.stats().encoded),
            (1, 0),
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn what_the_handler_has_encoded_is_stored_as_it_came_for_those_who_asked_so() {
    let (cache, _clock) = cache();
    let layer = route(&cache);
    let origin = Origin::with_fields(&[
        ("content-type", "text/html"),
        ("content-encoding", "x-own"),
        ("vary", "accept-encoding"),
    ]);
    for (accepted, call) in [("x-own", "call 1"), ("", "call 2"), ("x-own", "call 1")] {
        let answer = send(&layer, &origin, accepting(accepted)).await;
        assert_eq!(
            (answer.text(), answer.field("content-encoding").as_str()),
            (call, "x-own")
        );
    }
    assert_eq!(cache.stats().entries, 2);
}

#[tokio::test]
async fn a_handlers_vary_on_other_fields_still_keeps_variants_apart() {
    let (cache, _clock) = cache();
    let layer = route(&cache);
    let origin = Origin::new(|request| {
        let language = request.headers()["accept-language"]
            .to_str()
            .unwrap()
            .to_owned();
        let mut response = text(language.repeat(500));
        let headers = response.headers_mut();
        headers.insert("content-type", "text/html".parse().unwrap());
        headers.insert("vary", "accept-language, accept-encoding".parse().unwrap());
        response
    });
    for _ in 0..2 {
        for language in ["de", "en"] {
            for coding in ["gzip", "", "br"] {
                let fields = [("accept-language", language), ("accept-encoding", coding)];
                let answer = send(&layer, &origin, get("/", &fields)).await;
                assert_eq!(
                    decoded(coding, &answer.body),
                    language.repeat(500).as_bytes()
                );
                assert_eq!(answer.field("vary"), "accept-language, accept-encoding");
            }
        }
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (2, 4));
}

#[tokio::test]
async fn with_no_codings_the_handler_decides() {
    let (cache, _clock) = cache();
    let layer = route(&cache).codings([]);
    let origin = Origin::new(|request| {
        let accepted = request.headers().get("accept-encoding");
        let mut response = text(format!("{accepted:?}").repeat(100));
        response
            .headers_mut()
            .insert("vary", "accept-encoding".parse().unwrap());
        response
            .headers_mut()
            .insert("content-type", "text/html".parse().unwrap());
        response
    });
    for _ in 0..2 {
        for coding in ["gzip", "", "br"] {
            let answer = send(&layer, &origin, accepting(coding)).await;
            assert!(answer
                .text()
                .contains(if coding.is_empty() { "None" } else { coding }));
        }
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (3, 0));
}

#[tokio::test]
async fn routes_per_user_are_not_encoded_by_anybody_unless_they_say_so() {
    let (cache, _clock) = cache();
    let origin = Origin::new(|_| {
        let mut response = text(text_of(SMALL, 1));
        response
            .headers_mut()
            .insert("content-type", "text/html".parse().unwrap());
        response
    });
    let alice = || {
        get(
            "/me",
            &[("accept-encoding", "gzip"), ("authorization", "alice")],
        )
    };
    let of_user = || route(&cache).per_user(larder::user::from_header("authorization"));
    let nobody = || get("/me", &[("accept-encoding", "gzip")]);
    for request in [alice(), alice(), nobody()] {
        let pile = CompressLayer::new().layer(of_user().layer(origin.clone()));
        let answer = read(pile.oneshot(request).await.unwrap()).await;
        assert_eq!(
            (answer.field("content-encoding").as_str(), answer.body.len()),
            ("", SMALL)
        );
    }
    assert_eq!(cache.stats().encoded, 0);
    let (other, _clock) = crate::support::cache();
    let willing = route(&other).per_user(larder::user::from_header("authorization"));
    let willing = willing.codings([Coding::Gzip]);
    let answer = send(&willing, &origin, alice()).await;
    assert_eq!(decoded("gzip", &answer.body), text_of(SMALL, 1));
}

#[tokio::test]
async fn under_a_router_wide_layer_a_hit_runs_no_encoder() {
    let (cache, _clock) = cache();
    let origin = texts(SMALL);
    let pile = CompressLayer::new().layer(route(&cache).layer(origin.clone()));
    for _ in 0..3 {
        for coding in ["gzip", "", "br", "zstd"] {
            let answer = pile.clone().oneshot(accepting(coding)).await.unwrap();
            let whole = http_body::Body::size_hint(answer.body()).exact().is_some();
            assert!(
                whole,
                "{coding}: bytes of known number, so they were there already"
            );
            is_text(&read(answer).await, coding, 1, SMALL);
        }
    }
    assert_eq!((origin.calls(), cache.stats().encoded), (1, 3));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_the_making() {
    let (cache, _clock) = cache();
    let (layer, origin) = (route(&cache), texts(LARGE));
    send(&layer, &origin, accepting("")).await;
    drop(
        layer
            .layer(origin.clone())
            .oneshot(accepting("gzip"))
            .await
            .unwrap(),
    );
    for _ in 0..2 {
        is_text(
            &send(&layer, &origin, accepting("gzip")).await,
            "gzip",
            1,
            LARGE,
        );
    }
    assert_eq!(cache.stats().encoded, 1);
}

#[test]
fn contradictory_codings_are_refused_with_the_line_to_write_instead() {
    let cache = Cache::builder().build().unwrap();
    let layer = cache.layer().vary_on(http::header::ACCEPT_ENCODING);
    assert!(layer.clone().try_validate().is_ok());
    let refused = layer.codings([Coding::Gzip]).try_validate().unwrap_err();
    assert!(refused
        .instead()
        .contains("without `.vary_on(ACCEPT_ENCODING)`"));
}

#[tokio::test]
async fn without_a_runtime_of_its_own_a_large_form_is_made_where_it_is_asked_for() {
    let (cache, _clock) = cache();
    let (layer, origin) = (route(&cache), texts(LARGE));
    send(&layer, &origin, accepting("")).await;
    let answer = std::thread::spawn(move || {
        futures_util::future::FutureExt::now_or_never(async {
            send(&layer, &origin, accepting("gzip")).await
        })
    });
    let answer = answer.join().unwrap().expect("nothing is waited for");
    is_text(&answer, "gzip", 1, LARGE);
    assert_eq!(StatusCode::OK, answer.status);
}

/// A coding that was made in between makes no other response of it (RFC 9111 §4.3.5, and `no-store`).
#[tokio::test]
async fn what_its_origin_takes_back_goes_with_the_forms_that_were_made_meanwhile() {
    for method in ["GET", "HEAD"] {
        let (cache, _) = cache();
        let layer = cache.layer().profile(larder::Profile::Rfc9111);
        let layer = layer.codings([Coding::Gzip]);
        let (origin, gate) = Origin::gated(1, |call| {
            let mut response = text(text_of(SMALL, call as u64));
            let said = if call == 2 { "no-store" } else { "max-age=60" };
            let fields = response.headers_mut();
            fields.insert("content-type", "application/json".parse().unwrap());
            fields.insert("etag", format!("\"{call}\"").parse().unwrap());
            fields.insert("cache-control", said.parse().unwrap());
            response
        });
        send(&layer, &origin, accepting("")).await;
        let reload = request(method, "/", &[("cache-control", "no-cache")], "");
        let mut reload = Box::pin(send(&layer, &origin, reload));
        let begun = poll_fn(|cx| Poll::Ready(reload.as_mut().poll(cx).is_pending()));
        assert!(begun.await);
        let coded = send(&layer, &origin, accepting("gzip")).await;
        assert_eq!(coded.field("content-encoding"), "gzip");
        gate.add_permits(2);
        reload.await;
        let after = send(&layer, &origin, accepting("")).await;
        assert!(after.body == text_of(SMALL, 3), "{method}");
    }
}
