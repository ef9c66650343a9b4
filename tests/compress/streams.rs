//! Bodies that come in pieces: when their coding arrives, how it ends, and what it costs others.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use larder::CompressLayer;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt};

use crate::codings::{decoded, decoded_so_far, text_of, ALL};
use crate::support::*;

/// The answer to a client of this coding, of a handler with this body.
async fn coded(coding: &str, body: TestBody) -> Response<larder::compress::ResponseBody<TestBody>> {
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        let mut response = Response::new(body);
        let fields = response.headers_mut();
        fields.insert("content-type", "application/json".parse().unwrap());
        response
    });
    let service = CompressLayer::new().layer(origin);
    let answer = service
        .oneshot(get("/", &[("accept-encoding", coding)]))
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["content-encoding"], coding);
    answer
}

#[tokio::test]
async fn what_has_come_is_sent_before_the_rest_is_waited_for() {
    for coding in ALL {
        let (go_on, gate) = oneshot::channel();
        let steps = [
            Step::Data("first, "),
            Step::Data("second"),
            Step::Wait(gate),
            Step::Data(", third"),
        ];
        let mut body = pin!(coded(coding, TestBody::new(steps)).await.into_body());
        let mut sent = Vec::new();
        let waits = poll_fn(|cx| loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(frame)) => sent.extend(frame.unwrap().into_data().unwrap()),
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Ready(true),
            }
        });
        assert!(waits.await);
        assert_eq!(decoded_so_far(coding, &sent), b"first, second", "{coding}");
        go_on.send(()).unwrap();
        sent.extend(body.collect().await.unwrap().to_bytes());
        assert_eq!(decoded(coding, &sent), b"first, second, third", "{coding}");
    }
}

#[tokio::test]
async fn trailers_are_kept_but_for_digests() {
    for coding in ALL {
        let fields = [("x-checksum", "1"), ("repr-digest", "sha-256=:AAAA:")];
        let trailers = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let trailers = HeaderMap::from_iter(trailers);
        let inner = tower::service_fn(move |_: http::Request<()>| {
            let trailers = trailers.clone();
            async move {
                let body = Full::new(Bytes::from_static(b"content"));
                let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
                let answer = Response::builder().header("content-type", "text/plain");
                Ok::<_, std::convert::Infallible>(answer.body(body).unwrap())
            }
        });
        let service = CompressLayer::new().min_size(0).layer(inner);
        let request = http::Request::get("/").header("accept-encoding", coding);
        let answer = service.oneshot(request.body(()).unwrap()).await.unwrap();
        let collected = answer.into_body().collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(
            (trailers.len(), trailers["x-checksum"].as_bytes()),
            (1, &b"1"[..])
        );
        assert_eq!(decoded(coding, &collected.to_bytes()), b"content");
    }
}

#[tokio::test]
async fn an_error_is_the_bodys_own_and_nothing_looks_like_an_end() {
    for coding in ALL {
        let content = text_of(200_000, 3);
        let steps = [Step::Bytes(content.clone().into()), Step::Fail];
        let mut body = coded(coding, TestBody::new(steps)).await.into_body();
        let mut sent = Vec::new();
        let error = loop {
            match body
                .frame()
                .await
                .expect("there is an error before the end")
            {
                Ok(frame) => sent.extend(frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Broken);
        assert!(body.frame().await.is_none(), "and nothing after it");
        assert_eq!(
            decoded_so_far(coding, &sent),
            content,
            "all that came before it"
        );
        let reading = std::panic::catch_unwind(|| decoded(coding, &sent));
        assert!(reading.is_err(), "{coding}: no end");
    }
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn other_tasks_have_their_turn_after_each_64_kib() {
    const LENGTH: usize = 1 << 20;
    for coding in ALL {
        for pieces in [1, 64, 1024] {
            let content = Bytes::from(vec![b'x'; LENGTH]);
            let steps = (0..pieces).map(|n| {
                let length = LENGTH / pieces;
                Step::Bytes(content.slice(n * length..(n + 1) * length))
            });
            let mut body = pin!(coded(coding, TestBody::new(steps)).await.into_body());
            let woken = Arc::new(Woken(AtomicUsize::new(0)));
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            let mut sent = Vec::new();
            let mut yields = 0;
            loop {
                match body.as_mut().poll_frame(&mut cx) {
                    Poll::Pending => yields += 1,
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => sent.extend(frame.unwrap().into_data().unwrap()),
                }
                assert_eq!(
                    woken.0.load(Ordering::SeqCst),
                    yields,
                    "who yields is woken"
                );
            }
            assert_eq!(yields, LENGTH / (64 << 10), "{coding} in {pieces}");
            assert_eq!(decoded(coding, &sent), content);
        }
    }
}

#[tokio::test]
async fn a_body_is_not_polled_after_its_end() {
    struct Once(bool);
    impl Body for Once {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            assert!(
                !std::mem::replace(&mut self.0, true),
                "polled after its end"
            );
            Poll::Ready(None)
        }
    }
    let inner = tower::service_fn(|_: http::Request<()>| async {
        let answer = Response::builder().header("content-type", "text/plain");
        Ok::<_, std::convert::Infallible>(answer.body(Once(false)).unwrap())
    });
    let request = http::Request::builder()
        .header("accept-encoding", "gzip")
        .body(())
        .unwrap();
    let answer = CompressLayer::new()
        .layer(inner)
        .oneshot(request)
        .await
        .unwrap();
    let mut body = answer.into_body();
    let mut sent = Vec::new();
    while let Some(frame) = body.frame().await {
        sent.extend(frame.unwrap().into_data().unwrap());
    }
    assert!(body.is_end_stream() && body.frame().await.is_none());
    assert_eq!(decoded("gzip", &sent), b"");
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_a_client_decodes_is_what_the_handler_wrote(
        chunks in prop::collection::vec((0_usize..90_000, any::<bool>(), any::<bool>()), 0..6),
        seed in any::<u64>(),
    ) {
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|(length, waits, random)| {
                let mut chunk = text_of(length, seed);
                if random {
                    chunk.iter_mut().enumerate().for_each(|(at, byte)| {
                        *byte = byte.wrapping_mul(31).wrapping_add((at as u64 ^ seed) as u8);
                    });
                }
                (Bytes::from(chunk), waits)
            })
            .collect();
        let content: Vec<u8> = chunks.iter().flat_map(|(chunk, _)| chunk.to_vec()).collect();
        for coding in ALL {
            let steps = chunks.iter().flat_map(|(chunk, waits)| {
                let step = Step::Bytes(chunk.clone());
                waits.then_some(Step::Yield).into_iter().chain([step])
            });
            let body = TestBody::new(steps.collect::<Vec<_>>());
            let answer = now(async { read(coded(coding, body).await).await });
            prop_assert_eq!(decoded(coding, &answer.body), &content[..]);
        }
    }
}
