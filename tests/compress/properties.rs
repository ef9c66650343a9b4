//! Whatever pieces content comes in: what is kept in codings, and what clients have encoded.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::compress::{DecompressLayer, RequestBody};
use proptest::prelude::*;
use tower::{service_fn, Layer, ServiceExt};

use crate::codings::{decoded, encoded, text_of, ALL};
use crate::support::*;

fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A body of these pieces, some of which have to be waited for; with its length, or without.
fn body(pieces: &[(Vec<u8>, bool)], sized: bool) -> TestBody {
    let mut steps = Vec::new();
    for (piece, waits) in pieces {
        steps.extend(waits.then_some(Step::Yield));
        steps.push(Step::Bytes(Bytes::copy_from_slice(piece)));
    }
    let length = pieces.iter().map(|(piece, _)| piece.len() as u64).sum();
    match sized {
        true => TestBody::sized(steps, length),
        false => TestBody::new(steps),
    }
}

fn pieces(longest: usize) -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let text = (0..longest, any::<u64>()).prop_map(|(length, seed)| text_of(length, seed));
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::vec((prop_oneof![3 => text, 1 => noise], any::<bool>()), 0..5)
}

/// Cuts content at these places.
fn cut(content: &[u8], mut places: Vec<prop::sample::Index>) -> Vec<Bytes> {
    places.truncate(content.len());
    let mut places: Vec<_> = places.iter().map(|at| at.index(content.len())).collect();
    places.extend([0, content.len()]);
    places.sort_unstable();
    let part = |pair: &[usize]| Bytes::copy_from_slice(&content[pair[0]..pair[1]]);
    places.windows(2).map(part).collect()
}

/// Sends content in parts to a handler that answers with what it has read of it.
async fn send_in_parts(layer: DecompressLayer, coding: &str, parts: Vec<Bytes>) -> Answer {
    let echo = service_fn(|request: Request<RequestBody<TestBody>>| async {
        let read = request.into_body().collect().await;
        let content = read.map(|content| content.to_bytes()).unwrap_or_default();
        Ok::<_, Infallible>(Response::new(Full::new(content)))
    });
    let steps = parts
        .into_iter()
        .flat_map(|part| [Step::Yield, Step::Bytes(part)]);
    let request = Request::post("/").header("content-encoding", coding);
    let request = request.body(TestBody::new(steps)).unwrap();
    read(layer.layer(echo).oneshot(request).await.unwrap()).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_kept_in_a_coding_is_what_the_handler_wrote(
        pieces in pieces(50_000),
        sized: bool,
        order in Just(["", "gzip", "br", "zstd"]).prop_shuffle(),
    ) {
        let content: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
        let once = Mutex::new(Some(body(&pieces, sized)));
        let origin = Origin::new(move |_| {
            let body = once.lock().unwrap().take().expect("it is asked once");
            let mut response = Response::new(body);
            let kind = "text/plain".parse().unwrap();
            response.headers_mut().insert("content-type", kind);
            response
        });
        now(async {
            let (cache, _clock) = cache();
            let layer = cache.layer().ttl(MINUTE);
            for coding in order.repeat(2) {
                let request = match coding {
                    "" => get("/", &[]),
                    coding => get("/", &[("accept-encoding", coding)]),
                };
                let answer = send(&layer, &origin, request).await;
                let got = answer.field("content-encoding");
                assert!(got.is_empty() || got == coding);
                assert!(decoded(&got, &answer.body) == content, "{coding}");
            }
        });
    }

    #[test]
    fn in_whatever_parts_it_comes_the_handler_reads_what_the_client_encoded(
        pieces in pieces(30_000),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        lost in any::<prop::sample::Index>(),
    ) {
        let content: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
        for coding in ALL {
            let whole = encoded(coding, &content);
            let answer = now(send_in_parts(DecompressLayer::new(), coding, cut(&whole, places.clone())));
            prop_assert_eq!(answer.status, 200);
            prop_assert!(answer.body == content, "{}", coding);

            // To the byte, whatever the parts.
            let layer = DecompressLayer::new().max_size(content.len() as u64);
            let answer = now(send_in_parts(layer, coding, cut(&whole, places.clone())));
            prop_assert_eq!(answer.status, 200);
            if let Some(less) = (content.len() as u64).checked_sub(1) {
                let layer = DecompressLayer::new().max_size(less);
                let answer = now(send_in_parts(layer, coding, cut(&whole, places.clone())));
                prop_assert_eq!(answer.status, 413);
            }

            // Of what breaks off, nobody is told that it was whole.
            let part = &whole[..lost.index(whole.len())];
            let answer = now(send_in_parts(DecompressLayer::new(), coding, cut(part, places.clone())));
            prop_assert_eq!(answer.status, if part.is_empty() { 200 } else { 400 });
        }
    }

    #[test]
    fn no_content_whatsoever_is_answered_with_anything_but_200_400_or_413(
        content in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for coding in ALL {
            let mut bytes = content.clone();
            if let Some((at, byte)) = damage {
                bytes = encoded(coding, &content);
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let answer = now(send_in_parts(DecompressLayer::new(), coding, cut(&bytes, places.clone())));
            prop_assert!([200, 400, 413].contains(&answer.status), "{}: {}", coding, answer.status);
        }
    }
}
