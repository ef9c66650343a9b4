//! The two profiles beside each other.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use larder::{Cache, Profile};
use tower::{service_fn, Layer, ServiceExt};

/// A cookie that one may store must not come out of the other.
#[tokio::test]
async fn what_one_profile_stores_the_other_does_not_answer_with() {
    let cache = Cache::builder().build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let response = Response::builder()
            .header("cache-control", "max-age=60")
            .header("set-cookie", "session=1")
            .body(Full::new(Bytes::new()));
        std::future::ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let profiles = [
        Profile::Rfc9111,
        Profile::Rfc9111,
        Profile::Safe,
        Profile::Safe,
    ];
    for (profile, expected) in profiles.into_iter().zip([1, 1, 2, 3]) {
        let layered = cache.layer().profile(profile).layer(service.clone());
        let request = Request::new(Full::default());
        layered.oneshot(request).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), expected, "{profile:?}");
    }
}
