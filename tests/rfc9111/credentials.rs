//! Requests with credentials that come at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{Cache, Profile};
use tokio::sync::Barrier;
use tower::{service_fn, Layer, ServiceExt};

/// What one of them gets is likely its user's own, and whoever waited for it would wait in vain.
#[tokio::test]
async fn each_calls_by_itself_and_gets_its_own_answer() {
    // Nobody is answered before both have called.
    let both = Arc::new(Barrier::new(2));
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            let user = Bytes::copy_from_slice(request.headers()["authorization"].as_bytes());
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok::<_, Infallible>(response.body(Full::new(user)).unwrap())
        }
    });
    let cache = Cache::builder().build().unwrap();
    let layered = cache.layer().profile(Profile::Rfc9111).layer(service);
    let ask = |user: &'static str| {
        let request = Request::builder().header("authorization", user);
        let answer = layered
            .clone()
            .oneshot(request.body(Full::default()).unwrap());
        async move { answer.await.unwrap().into_body().collect().await }
    };
    let asked = async { tokio::join!(ask("anna"), ask("ben")) };
    let answered = tokio::time::timeout(Duration::from_secs(5), asked).await;
    let (anna, ben) = answered.expect("neither waits for the other");
    assert_eq!(anna.unwrap().to_bytes(), "anna");
    assert_eq!(ben.unwrap().to_bytes(), "ben");
}
