//! An answer to `POST` that stands for `GET`, and what is invalidated while it is made.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use larder::{Cache, Profile};
use tower::{service_fn, Layer, ServiceExt};

/// The fence of what is stored is taken after the invalidation that `POST` is itself, so nothing else may
/// have happened since the call.
#[tokio::test]
async fn an_answer_to_post_is_not_stored_where_anything_was_invalidated_meanwhile() {
    for (meddles, expected) in [(false, "stored"), (true, "detail=overtaken")] {
        let cache = Cache::builder().build().unwrap();
        let handle = cache.clone();
        let service = service_fn(move |_: Request<Full<Bytes>>| {
            if meddles {
                drop(handle.invalidate_uri("/a"));
            }
            let response = Response::builder()
                .header("cache-control", "max-age=60")
                .header("content-location", "/a")
                .body(Full::new(Bytes::from_static(b"made before")));
            std::future::ready(Ok::<_, Infallible>(response.unwrap()))
        });
        let layered = cache.layer().profile(Profile::Rfc9111).layer(service);
        let mut request = Request::new(Full::default());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = "/a".parse().unwrap();
        let answer = layered.oneshot(request).await.unwrap();
        let status = answer.headers()["cache-status"].to_str().unwrap();
        assert_eq!(status, format!("larder; fwd=method; {expected}"));
    }
}
