//! The cache around reqwest's client, as the documentation of `larder::cache` shows it.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder::{Cache, Profile};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

/// Answers any request with content that is one user's, and fresh for a minute.
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let answer = service_fn(|_| async {
            let response = http::Response::builder().header("cache-control", "private, max-age=60");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from("ok"))).unwrap())
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
    }
}

#[tokio::test]
async fn the_second_answer_comes_from_store() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(serve(listener));

    let client = reqwest::Client::new();
    let client = tower::service_fn(move |request: http::Request<reqwest::Body>| {
        let client = client.clone();
        async move {
            let answer = client.execute(request.try_into()?).await?;
            Ok::<http::Response<reqwest::Body>, reqwest::Error>(answer.into())
        }
    });
    let cache = Cache::builder().private().build().unwrap();
    let client = cache.layer().profile(Profile::Rfc9111).layer(client);

    for expected in ["larder; fwd=uri-miss; stored", "larder; hit; ttl=59"] {
        let request = http::Request::get(&url).body(reqwest::Body::default());
        let answer = client.clone().oneshot(request.unwrap()).await.unwrap();
        let said = answer.headers()["cache-status"].to_str().unwrap();
        assert_eq!(said.split("ttl=").next(), expected.split("ttl=").next());
        let content = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(content, "ok");
    }
}
