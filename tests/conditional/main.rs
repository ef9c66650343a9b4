//! Clients that hold an answer already: 304 where it still is the one, 412 where a change came between,
//! by the conditional layer alone and by the cache.

#[path = "../support/drive.rs"]
mod drive;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "axum")]
mod axum;
mod bodies;
mod orders;
mod ranges;
mod reading;
mod stored;
mod writing;

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use support::{read, Answer, Origin};
use tower::{Layer, Service, ServiceExt};

/// Sends a request through any layers.
async fn ask<L, B>(layer: &L, origin: &Origin, request: Request<Full<Bytes>>) -> Answer
where
    L: Layer<Origin>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
    B::Error: std::fmt::Debug,
{
    let service = layer.layer(origin.clone());
    read(service.oneshot(request).await.unwrap()).await
}

/// The tag that the layer makes of this content.
fn tag_of(content: &str) -> String {
    let validator = larder::conditional::Validator::of_content(content);
    validator.etag().unwrap().to_str().unwrap().to_owned()
}
