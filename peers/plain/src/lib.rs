//! A handler under tower-http's compression, which encodes each answer anew.

use std::io;

use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, MethodRouter};
use axum::Router;
use bytes::Bytes;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

/// Where the handler is.
pub const TARGET: &str = "/posts";

/// Serves JSON of that many bytes, encoded each time.
pub async fn serve(listener: TcpListener, size: usize) -> io::Result<()> {
    let router = Router::new().route(TARGET, handler(text(size)));
    axum::serve(listener, router.layer(CompressionLayer::new())).await
}

/// A handler that answers with these bytes.
pub fn handler<S: Clone + Send + Sync + 'static>(body: Bytes) -> MethodRouter<S> {
    get(move || async move { ([(CONTENT_TYPE, "application/json")], body) })
}

/// JSON that becomes about a fifth, as answers of services do.
pub fn text(length: usize) -> Bytes {
    let mut state = 1_u64;
    let mut text = Vec::new();
    while text.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (id, views) = (state >> 50, (state >> 20) & 0xfff);
        let item = format!("{{\"id\":{id},\"title\":\"post number {id}\",\"views\":{views}}},");
        text.extend_from_slice(item.as_bytes());
    }
    text.truncate(length);
    text.into()
}
