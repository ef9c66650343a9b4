//! Misses stream: undelayed, copied up to a bound, and stored only when they ended as they should.

#[path = "support/drive.rs"]
mod drive;
mod support;

use std::convert::Infallible;
use std::task::Poll;

use bytes::Bytes;
use drive::*;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use larder::Cache;
use support::*;
use tower::{Layer, ServiceExt};

const BYTES: &str = "larder";

/// What a body says about its length.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Unknown,
    Hinted(u64),
    Field(u64),
}

impl Length {
    fn of(bytes: &str) -> [Self; 3] {
        let length = bytes.len() as u64;
        [Self::Unknown, Self::Hinted(length), Self::Field(length)]
    }

    fn answer(self, steps: impl IntoIterator<Item = Step>) -> Response<TestBody> {
        match self {
            Self::Unknown => Response::new(TestBody::new(steps)),
            Self::Hinted(length) => Response::new(TestBody::sized(steps, length)),
            Self::Field(length) => {
                let mut response = Response::new(TestBody::new(steps));
                response
                    .headers_mut()
                    .insert("content-length", length.into());
                response
            }
        }
    }
}

/// Each byte as a frame of its own; `paced` bodies make their reader wait before each of them.
fn bytewise(bytes: &'static str, paced: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for at in 0..bytes.len() {
        if paced {
            steps.push(Step::Yield);
        }
        steps.push(Step::Data(&bytes[at..=at]));
    }
    steps
}

/// An origin whose answers take their body from `steps`.
fn origin(length: Length, steps: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> Origin {
    Origin::new(move |_| length.answer(steps()))
}

/// An origin that answers once, with this body.
fn once(length: Length, steps: Vec<Step>) -> Origin {
    let steps = std::sync::Mutex::new(Some(steps));
    Origin::new(move |_| length.answer(steps.lock().unwrap().take().expect("one call only")))
}

#[tokio::test]
async fn a_miss_reaches_its_client_before_its_body_has_ended() {
    for length in Length::of("ab") {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let (open, wait) = gate();
        let origin = once(length, vec![Step::Data("a"), wait, Step::Data("b")]);
        let mut reply = head(&layer, &origin, get("/", &[])).await;
        assert_eq!(next_data(reply.body_mut()).await, Some(Ok("a".into())));
        assert!(poll_once(&mut Box::pin(reply.body_mut().frame()))
            .await
            .is_pending());
        open.send(()).unwrap();
        assert_eq!(next_data(reply.body_mut()).await, Some(Ok("b".into())));
        assert_eq!(next_data(reply.body_mut()).await, None);
        assert!(
            send(&layer, &origin, get("/", &[])).await.is_hit(),
            "{length:?}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_passes_whole_and_is_not_stored() {
    for (limit, stored) in [(5, false), (6, true)] {
        for length in Length::of(BYTES) {
            for paced in [false, true] {
                let (cache, _clock) = cache();
                let layer = cache.layer().ttl(MINUTE).body_limit(limit);
                let origin = origin(length, move || bytewise(BYTES, paced));
                for _ in 0..2 {
                    assert_eq!(send(&layer, &origin, get("/", &[])).await.text(), BYTES);
                }
                let calls = if stored { 1 } else { 2 };
                assert_eq!(origin.calls(), calls, "{limit} {length:?} {paced}");
                assert_eq!(cache.stats().entries, u64::from(stored));
            }
        }
    }
}

#[tokio::test]
async fn a_body_known_to_be_too_long_says_so_and_is_never_copied() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).body_limit(5);
    for length in [Length::Hinted(6), Length::Field(6)] {
        let origin = origin(length, || bytewise(BYTES, false));
        let reply = head(&layer, &origin, get("/", &[])).await;
        assert_eq!(format!("{:?}", reply.body()), "ResponseBody::Passed");
        let answer = read(reply).await;
        assert_eq!(answer.decision(), "fwd=uri-miss; detail=body-too-large");
    }
}

#[tokio::test]
async fn a_body_that_fails_at_any_byte_is_never_stored_and_fails_for_its_client() {
    for length in Length::of(BYTES) {
        // When the last declared byte is there, the body is complete.
        let last = BYTES.len() - usize::from(length != Length::Unknown);
        for (paced, cut) in both_ways(0..=last) {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = origin(length, move || {
                let mut steps = bytewise(&BYTES[..cut], paced);
                steps.push(Step::Fail);
                steps
            });
            let mut reply = head(&layer, &origin, get("/", &[])).await;
            for at in 0..cut {
                let data = next_data(reply.body_mut()).await;
                assert_eq!(
                    data,
                    Some(Ok(Bytes::from_static(&BYTES.as_bytes()[at..=at])))
                );
            }
            assert_eq!(next_data(reply.body_mut()).await, Some(Err(Broken)));
            assert_eq!(next_data(reply.body_mut()).await, None);
            assert_eq!(cache.stats().entries, 0, "{length:?} {paced} {cut}");
        }
    }
}

#[tokio::test]
async fn a_body_that_panics_at_any_byte_is_never_stored() {
    for length in Length::of(BYTES) {
        for (paced, cut) in both_ways(0..BYTES.len()) {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = origin(length, move || {
                let mut steps = bytewise(&BYTES[..cut], paced);
                steps.push(Step::Panic);
                steps
            });
            let ended = spawn(&layer, &origin, get("/", &[])).await;
            assert!(ended.unwrap_err().is_panic());
            assert_eq!(cache.stats().entries, 0, "{length:?} {paced} {cut}");
        }
    }
}

#[tokio::test]
async fn a_body_dropped_at_any_byte_is_never_stored() {
    for length in Length::of(BYTES) {
        for cut in 0..BYTES.len() {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            let origin = origin(length, || bytewise(BYTES, true));
            let mut reply = head(&layer, &origin, get("/", &[])).await;
            for _ in 0..cut {
                next_data(reply.body_mut()).await.unwrap().unwrap();
            }
            drop(reply);
            assert_eq!(cache.stats().entries, 0, "{length:?} {cut}");
            assert_eq!(send(&layer, &origin, get("/", &[])).await.text(), BYTES);
            assert_eq!((origin.calls(), cache.stats().entries), (2, 1));
        }
    }
}

#[tokio::test]
async fn a_body_shorter_or_longer_than_it_declared_is_never_stored() {
    let wrong = (0..20).filter(|length| *length != BYTES.len() as u64);
    for (paced, declared) in both_ways(wrong) {
        for length in [Length::Hinted(declared), Length::Field(declared)] {
            let origin = origin(length, move || {
                // Whole, since the last declared byte counts as the end once nothing follows it.
                let whole = paced.then_some(Step::Yield);
                whole.into_iter().chain([Step::Data(BYTES)]).collect()
            });
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            assert_eq!(send(&layer, &origin, get("/", &[])).await.text(), BYTES);
            assert_eq!(cache.stats().entries, 0, "{length:?} {paced}");
        }
    }
}

/// Each cut of a body, read in one go and read with waiting.
fn both_ways<T: Copy>(cuts: impl IntoIterator<Item = T>) -> Vec<(bool, T)> {
    let cuts = cuts.into_iter();
    cuts.flat_map(|cut| [(false, cut), (true, cut)]).collect()
}

#[tokio::test]
async fn two_lengths_that_contradict_each_other_are_not_stored() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    for field in ["5", "-6", "6, 6", "six", ""] {
        let origin = Origin::new(move |_| {
            let mut response = text(BYTES);
            let field = field.parse().unwrap();
            response.headers_mut().insert("content-length", field);
            response
        });
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(
            answer.decision(),
            "fwd=uri-miss; detail=content-length",
            "{field}"
        );
    }
}

#[tokio::test]
async fn trailers_reach_the_client_and_their_response_is_not_stored() {
    for length in Length::of("ab") {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = origin(length, || {
            vec![Step::Yield, Step::Data("ab"), Step::Trailers]
        });
        for _ in 0..2 {
            let reply = head(&layer, &origin, get("/", &[])).await;
            let collected = reply.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-checksum"], "1");
            assert_eq!(collected.to_bytes(), "ab");
        }
        assert_eq!(
            (origin.calls(), cache.stats().entries),
            (2, 0),
            "{length:?}"
        );
    }
}

/// RFC 9110 §6.6.2. Announced ones are waited for, though the content be there.
#[tokio::test]
async fn announced_trailers_that_come_late_are_not_lost_to_the_next_client() {
    for length in Length::of("ab") {
        let (cache, _clock) = cache();
        let layer = cache.layer().profile(larder::Profile::Rfc9111).ttl(MINUTE);
        let origin = Origin::new(move |_| {
            let mut response = length.answer([Step::Data("ab"), Step::Yield, Step::Trailers]);
            let announced = "x-checksum".parse().unwrap();
            response.headers_mut().insert("trailer", announced);
            response
        });
        for _ in 0..2 {
            let reply = head(&layer, &origin, get("/", &[])).await;
            let collected = reply.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-checksum"], "1");
        }
        assert_eq!(cache.stats().entries, 0, "{length:?}");
    }
}

#[tokio::test]
async fn an_event_stream_is_answered_at_once_and_never_copied() {
    let streams: [&[(&str, &str)]; 4] = [
        &[("content-type", "text/event-stream")],
        &[
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
        ],
        &[("content-type", "Text/Event-Stream;charset=utf-8")],
        &[("content-type", "application/json"), ("incremental", "?1")],
    ];
    for fields in streams {
        for method in ["GET", "POST"] {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE).key_body(1024);
            let (open, wait) = gate();
            let steps = std::sync::Mutex::new(Some(vec![wait, Step::Data("data: 1\n\n")]));
            let origin = Origin::new(move |_| {
                let mut response = Length::Unknown.answer(steps.lock().unwrap().take().unwrap());
                for (name, value) in fields {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                response
            });
            let service = layer.layer(origin.clone());
            let mut reply = Box::pin(service.oneshot(request(method, "/events", &[], "")));
            let Poll::Ready(Ok(mut reply)) = poll_once(&mut reply).await else {
                panic!("the head waited for its body: {method} {fields:?}");
            };
            assert_eq!(format!("{:?}", reply.body()), "ResponseBody::Passed");
            open.send(()).unwrap();
            assert_eq!(
                next_data(reply.body_mut()).await,
                Some(Ok("data: 1\n\n".into()))
            );
            assert_eq!(cache.stats().entries, 0);
        }
    }
}

#[tokio::test]
async fn an_upgrade_passes_with_the_extensions_of_both_sides() {
    #[derive(Clone, Debug, PartialEq)]
    struct Handle(u8);
    for fields in [
        &[][..],
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    ] {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::new(|request| {
            let mut response = status(101);
            let Handle(number) = request.extensions().get().unwrap();
            response.extensions_mut().insert(Handle(number + 1));
            response
        });
        let mut asked = get("/socket", fields);
        asked.extensions_mut().insert(Handle(1));
        let reply = head(&layer, &origin, asked).await;
        assert_eq!(reply.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(reply.extensions().get(), Some(&Handle(2)));
        assert_eq!(format!("{:?}", reply.body()), "ResponseBody::Passed");
        assert_eq!(cache.stats().entries, 0);
    }
}

#[tokio::test]
async fn what_a_body_says_of_its_size_and_its_end_is_true_at_every_frame() {
    for length in Length::of(BYTES) {
        for paced in [false, true] {
            for (limit, pumped) in [(100, false), (100, true), (3, false), (3, true)] {
                let (cache, _clock) = cache();
                let layer = cache.layer().ttl(MINUTE).body_limit(limit);
                let origin = origin(length, move || bytewise(BYTES, paced));
                let mut reply = head(&layer, &origin, get("/", &[])).await;
                let follower = pumped.then(|| spawn(&layer, &origin, get("/", &[])));
                let mut left = BYTES.len() as u64;
                loop {
                    let (hint, ended) = (reply.body().size_hint(), reply.body().is_end_stream());
                    assert!(hint.lower() <= left, "{hint:?}, {left} left");
                    assert!(
                        hint.upper().is_none_or(|upper| upper >= left),
                        "{hint:?}, {left} left"
                    );
                    assert_eq!(hint.exact().unwrap_or(left), left);
                    if matches!(length, Length::Hinted(_)) {
                        assert_eq!(hint.exact(), Some(left));
                    }
                    let Some(data) = next_data(reply.body_mut()).await else {
                        break;
                    };
                    assert!(!ended, "a frame came after the end");
                    left -= data.unwrap().len() as u64;
                    tokio::task::yield_now().await;
                }
                assert_eq!(left, 0);
                assert!(reply.body().is_end_stream() || limit == 3);
                if let Some(follower) = follower {
                    assert_eq!(follower.await.unwrap().text(), BYTES);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_length_of_a_hit_is_known() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = origin(Length::Unknown, || bytewise(BYTES, true));
    send(&layer, &origin, get("/", &[])).await;
    let hit = head(&layer, &origin, get("/", &[])).await;
    assert_eq!(hit.body().size_hint().exact(), Some(BYTES.len() as u64));
    assert!(!hit.body().is_end_stream());
    let head_of_hit = head(&layer, &origin, request("HEAD", "/", &[], "")).await;
    assert!(head_of_hit.body().is_end_stream());
    assert_eq!(head_of_hit.headers()["content-length"], "6");
}

#[tokio::test]
async fn a_client_that_has_the_last_byte_may_ask_again_and_finds_it_stored() {
    for length in Length::of("ab") {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        // A body whose end never comes, as when a client stops polling at the declared length.
        let (_never, wait) = gate();
        let known = length != Length::Unknown;
        let mut steps = vec![Step::Yield, Step::Data("a"), Step::Yield, Step::Data("b")];
        steps.extend(known.then_some(wait));
        let origin = once(length, steps);
        let mut reply = head(&layer, &origin, get("/", &[])).await;
        assert_eq!(next_data(reply.body_mut()).await, Some(Ok("a".into())));
        assert_eq!(cache.stats().entries, 0);
        assert_eq!(next_data(reply.body_mut()).await, Some(Ok("b".into())));
        if !known {
            assert_eq!(next_data(reply.body_mut()).await, None);
        }
        assert!(
            send(&layer, &origin, get("/", &[])).await.is_hit(),
            "{length:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_body_is_stored_before_its_client_has_the_head() {
    for length in Length::of("") {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = once(length, vec![]);
        let reply = head(&layer, &origin, get("/", &[])).await;
        assert!(reply.body().is_end_stream());
        assert!(
            send(&layer, &origin, get("/", &[])).await.is_hit(),
            "{length:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody() {
    for length in Length::of(BYTES) {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = origin(length, || bytewise(BYTES, true));
        let mut slow = head(&layer, &origin, get("/", &[])).await;
        assert_eq!(next_data(slow.body_mut()).await, Some(Ok("l".into())));
        let other = send(&layer, &origin, get("/", &[])).await;
        assert_eq!((other.text(), origin.calls()), (BYTES, 1), "{length:?}");
        assert_eq!(read(slow).await.text(), "arder");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_its_body_gets_it_although_somebody_else_began_to_read_it() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let (open, wait) = gate();
    let origin = once(
        Length::Unknown,
        vec![Step::Data("a"), wait, Step::Data("b")],
    );
    let first = spawn(&layer, &origin, get("/", &[]));
    settle().await; // the first client waits inside the body
    let second = spawn(&layer, &origin, get("/", &[]));
    settle().await; // and the second one has it read ahead
    open.send(()).unwrap();
    settle().await;
    assert!(first.is_finished() && second.is_finished());
    assert_eq!(first.await.unwrap().text(), "ab");
    assert_eq!(second.await.unwrap().text(), "ab");
}

#[tokio::test]
async fn a_body_that_outgrows_the_limit_while_others_wait_goes_on_for_its_client() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).body_limit(3);
    let origin = origin(Length::Unknown, || bytewise(BYTES, true));
    let slow = head(&layer, &origin, get("/", &[])).await;
    let other = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    assert_eq!(other.await.unwrap().text(), BYTES);
    assert_eq!(read(slow).await.text(), BYTES);
    assert_eq!((origin.calls(), cache.stats().entries), (2, 0));
}

#[tokio::test]
async fn a_body_that_breaks_off_while_others_wait_breaks_off_for_its_own_client_alone() {
    for breaks in [|| Step::Fail, || Step::Panic] {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let (open, wait) = gate();
        let steps = std::sync::Mutex::new(Some(vec![Step::Data("a"), wait, breaks()]));
        let origin = Origin::new(move |_| match steps.lock().unwrap().take() {
            Some(steps) => Length::Unknown.answer(steps),
            None => text("whole"),
        });
        let mut first = head(&layer, &origin, get("/", &[])).await;
        let others: Vec<_> = (0..3)
            .map(|_| spawn(&layer, &origin, get("/", &[])))
            .collect();
        settle().await;
        assert_eq!(next_data(first.body_mut()).await, Some(Ok("a".into())));
        let first = tokio::spawn(async move { first.into_body().collect().await.map(drop) });
        settle().await;
        open.send(()).unwrap();
        settle().await;
        assert!(
            first.is_finished(),
            "the client waits for a body that is gone"
        );
        assert!(
            !matches!(first.await, Ok(Ok(()))),
            "it looked like a clean end"
        );
        for other in others {
            assert!(other.is_finished());
            assert_eq!(other.await.unwrap().text(), "whole");
        }
        assert_eq!((origin.calls(), cache.stats().entries), (2, 1));
    }
}

/// A server takes an exact size for `Content-Length`: what broke off would then arrive as the whole, and trailers
/// would not arrive at all.
#[tokio::test]
async fn what_was_read_ahead_of_a_failure_or_of_trailers_is_not_said_to_be_all() {
    for last in [|| Step::Fail, || Step::Trailers] {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let steps = std::sync::Mutex::new(Some(vec![Step::Data("a"), last()]));
        let origin = Origin::new(move |_| match steps.lock().unwrap().take() {
            Some(steps) => Length::Unknown.answer(steps),
            None => text("whole"),
        });
        let reply = head(&layer, &origin, get("/", &[])).await;
        // It waits, and so has the body read to its end before the client begins.
        let other = spawn(&layer, &origin, get("/", &[]));
        assert_eq!(other.await.unwrap().text(), "whole");
        let hint = reply.body().size_hint();
        assert_eq!((hint.lower(), hint.exact()), (1, None));
        assert!(!reply.body().is_end_stream());
    }
}

#[tokio::test]
async fn a_body_that_panics_while_its_own_client_does_not_read_leaves_nobody_waiting() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let steps = std::sync::Mutex::new(Some(vec![Step::Yield, Step::Panic]));
    let origin = Origin::new(move |_| match steps.lock().unwrap().take() {
        Some(steps) => Length::Unknown.answer(steps),
        None => text("whole"),
    });
    let unread = head(&layer, &origin, get("/", &[])).await;
    let other = spawn(&layer, &origin, get("/", &[]));
    settle().await;
    assert!(other.is_finished());
    assert_eq!(other.await.unwrap().text(), "whole");
    drop(unread);
}

#[tokio::test]
async fn a_body_that_panics_just_before_it_is_read_ahead_leaves_nobody_waiting() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let steps = std::sync::Mutex::new(Some(vec![Step::Yield, Step::Panic]));
    let origin = Origin::new(move |_| match steps.lock().unwrap().take() {
        Some(steps) => Length::Unknown.answer(steps),
        None => text("whole"),
    });
    let mut reply = head(&layer, &origin, get("/", &[])).await;
    let (layer, inner) = (layer.clone(), origin.clone());
    let mut other = Box::pin(async move { read(head(&layer, &inner, get("/", &[])).await).await });
    // It waits, and has had the pump spawned, which has not run yet.
    assert!(poll_once(&mut other).await.is_pending());
    let reading = tokio::spawn(async move {
        let _ = poll_once(&mut Box::pin(next_data(reply.body_mut()))).await;
    });
    let first = std::panic::AssertUnwindSafe(reading);
    assert!(first.0.await.unwrap_err().is_panic());
    settle().await;
    match poll_once(&mut other).await {
        std::task::Poll::Ready(answer) => assert_eq!(answer.text(), "whole"),
        std::task::Poll::Pending => panic!("a request is stuck"),
    }
    assert_eq!(origin.calls(), 2);
}

/// A hit never reads what the client still has to send; the connection must survive that, or close.
#[tokio::test]
async fn a_request_whose_body_nobody_reads_is_not_taken_for_the_next_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn handler(request: http::Request<axum::body::Body>) -> String {
        format!("{} {};", request.method(), request.uri())
    }
    let cache = Cache::builder().build().unwrap();
    let layer = cache.layer().ttl(MINUTE).key_body(1024);
    let app = axum::Router::new().fallback(handler).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = format!("content-length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked = format!(
        "transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    );
    for method in ["GET", "HEAD", "POST", "PUT"] {
        for body in [&length, &chunked] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let warm = format!(
                "GET /a HTTP/1.1\r\nhost: a\r\n\r\n{method} /a HTTP/1.1\r\nhost: a\r\n{body}"
            );
            let next = "GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            // Twice, so that where the method is cached the second one is a hit.
            let again = format!("{method} /a HTTP/1.1\r\nhost: a\r\n{body}");
            let all = format!("{warm}{again}{next}");
            stream.write_all(all.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            // Where the server closes early this may end with an error; what came counts.
            let _ = stream.read_to_end(&mut read).await;
            let read = String::from_utf8_lossy(&read);
            assert!(!read.contains("smuggled"), "{method} {body}: {read}");
            let answers = read.matches("HTTP/1.1 200").count();
            let answered = read.ends_with("GET /next;") && answers == 4;
            let closed = answers < 4 && !read.contains("/next");
            assert!(answered || closed, "{method} {body}: {read}");
            // What is stored never answers a request whose content its key does not cover.
            let uncovered = matches!(method, "GET" | "HEAD");
            let bypassed = read.matches("fwd=bypass; detail=request-content").count();
            assert_eq!(bypassed, if uncovered { 2 } else { 0 }, "{read}");
        }
    }
    server.abort();
}

/// The compiler's word that bodies need not be `Sync`.
#[tokio::test]
async fn a_body_that_is_not_sync_streams_all_the_same() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let inner = tower::service_fn(|_: http::Request<http_body_util::Full<Bytes>>| async {
        let body = http_body_util::Full::new(Bytes::from_static(b"ab"));
        Ok::<_, Infallible>(Response::new(body.boxed_unsync()))
    });
    for hit in [false, true] {
        let response = layer.layer(inner).oneshot(get("/", &[])).await.unwrap();
        let answer = read(response).await;
        assert_eq!((answer.text(), answer.is_hit()), ("ab", hit));
    }
}
