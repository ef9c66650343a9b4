//! A client with a cache of its own, as a browser has one: what it was told it may keep, it does not ask for again.
//!
//! ```sh
//! cargo run --example quickstart    # and beside it, three requests with one client:
//! cargo run --example client -- http://127.0.0.1:3000/posts
//! ```
//!
//! The quickstart wants to be asked each time, so that the second and the third request ask whether what is there
//! still holds, and are told so without its bytes: `fwd=stale; fwd-status=304`.

#![allow(clippy::print_stdout, reason = "this is what the example is for")]

use std::error::Error;

use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use larder::{Cache, Profile};
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("usage: client http://HOST:PORT/PATH")?;
    let url: Uri = url.parse()?;

    // Without `.private()` it is a shared cache: for a gateway, say, that asks in the name of many.
    let cache = Cache::builder().private().build()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = cache.layer().profile(Profile::Rfc9111).layer(client);

    for _ in 0..3 {
        let request = Request::builder()
            .uri(url.clone())
            .header("authorization", "Bearer anna")
            .body(Full::default())?;
        let answer = client.clone().oneshot(request).await?;
        let (head, body) = answer.into_parts();
        let length = body.collect().await?.to_bytes().len();
        let said = head.headers.get_all("cache-status").iter().next_back();
        println!("{}: {length} bytes, {said:?}", head.status);
    }
    Ok(())
}
