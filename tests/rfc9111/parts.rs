//! Parts that are put together, and what else happens meanwhile.

use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use larder::{Profile, Tags};
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt};

use crate::support::{cache, get, read, send, text, Answering, Origin, Step, TestBody};

const FIRST: &[(&str, &str)] = &[("range", "bytes=0-4")];
const SECOND: &[(&str, &str)] = &[("range", "bytes=5-9")];

/// `0123456789` with the tag `"a"`, or a half of it.
fn part(request: &HeaderMap) -> Response<TestBody> {
    let (content, place) = match request.get("range").map(HeaderValue::as_bytes) {
        Some(b"bytes=0-4") => ("01234", "bytes 0-4/10"),
        Some(_) => ("56789", "bytes 5-9/10"),
        None => return of("abcdefghij", "\"b\""),
    };
    let mut response = of(content, "\"a\"");
    *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
    let place = HeaderValue::from_static(place);
    response.headers_mut().insert("content-range", place);
    response
}

fn is_for(request: &HeaderMap, range: &str) -> bool {
    request.get("range").is_some_and(|line| line == range)
}

fn of(content: &'static str, tag: &'static str) -> Response<TestBody> {
    let mut response = text(content);
    let fields = response.headers_mut();
    fields.insert("cache-control", HeaderValue::from_static("max-age=60"));
    fields.insert("etag", HeaderValue::from_static(tag));
    response
}

/// What was purged by the tag of one part is not shown again as a piece of the whole.
#[tokio::test]
async fn a_purge_of_one_part_is_one_of_what_it_was_put_into() {
    for second in ["first", "second"] {
        let (cache, _) = cache();
        let layer = cache.layer().profile(Profile::Rfc9111);
        let origin = Origin::new(move |request| {
            let tag = match is_for(request.headers(), "bytes=0-4") {
                true => "first",
                false => second,
            };
            let mut response = part(request.headers());
            response.extensions_mut().insert(Tags::new([tag]));
            response
        });
        send(&layer, &origin, get("/a", FIRST)).await;
        send(&layer, &origin, get("/a", SECOND)).await;
        drop(cache.invalidate_tag("first"));
        let whole = send(&layer, &origin, get("/a", &[])).await;
        assert_eq!(whole.text(), "abcdefghij", "{second}");
    }
}

/// RFC 9111 §4: the most recent response answers.
#[tokio::test]
async fn a_whole_that_came_while_a_part_was_on_its_way_stays() {
    let (cache, clock) = cache();
    let layer = cache.layer().profile(Profile::Rfc9111);
    let (open, gate) = oneshot::channel();
    let gate = Mutex::new(Some(gate));
    let origin = Origin::later(move |request| {
        let mut response = part(request.headers());
        if is_for(request.headers(), "bytes=5-9") {
            let gate = gate.lock().unwrap().take().unwrap();
            let slow = [Step::Wait(gate), Step::Data("56789")];
            *response.body_mut() = TestBody::sized(slow, 5);
        }
        Box::pin(async move { response }) as Answering
    });
    send(&layer, &origin, get("/a", FIRST)).await;
    let slow = layer.layer(origin.clone()).oneshot(get("/a", SECOND)).await;
    clock.advance(Duration::from_secs(1));
    let whole = send(&layer, &origin, get("/a", &[])).await;
    assert_eq!(whole.text(), "abcdefghij");
    open.send(()).unwrap();
    assert_eq!(read(slow.unwrap()).await.text(), "56789");
    let whole = send(&layer, &origin, get("/a", &[])).await;
    assert_eq!(whole.text(), "abcdefghij");
    assert!(whole.is_hit());
}
