//! Requests per second of an answer in gzip, over loopback: kept by the cache, beside what a service does that encodes
//! each answer, and beside hyper sending a constant that was encoded before.

use std::convert::Infallible;
use std::io::{self, Read};
use std::time::Duration;

use axum::routing::get;
use axum::Router;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{HeaderValue, CONTENT_ENCODING, CONTENT_TYPE};
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder::{Cache, CompressLayer};
use larder_peers::served::{need_tools, Server};
use larder_peers::stats::{median, median_ratio};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

const ROUNDS: usize = 5;
const TARGET: &str = "/posts";
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// An axum handler under tower-http's layer, the cache under ours, and a connection loop that answers a constant.
const NAMES: [&str; 3] = ["axum + CompressionLayer", "larder", "hyper"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(),
        ["--serve", name, size] => serve(name, size.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other("usage: encoded [--serve NAME SIZE]")),
    }
}

fn compare() -> io::Result<()> {
    need_tools()?;
    println!(
        "| body | | requests/s | over {} |\n| --- | --- | --- | --- |",
        NAMES[0]
    );
    for size in SIZES {
        let started = NAMES.map(|name| start(name, size));
        let mut servers = started.into_iter().collect::<io::Result<Vec<_>>>()?;
        for _ in 0..ROUNDS {
            servers.iter_mut().try_for_each(Server::measure)?;
        }
        let base = servers[0].rates.clone();
        for server in &servers {
            let ratio = median_ratio(&server.rates, &base);
            let rate = median(server.rates.clone());
            println!("| {size} B | {} | {rate:.0} | {ratio:.1} |", server.name);
        }
    }
    Ok(())
}

/// Starts a server, and makes sure that a miss and hits are answered with the bytes in gzip.
fn start(name: &'static str, size: usize) -> io::Result<Server> {
    let server = Server::start(name, &["--serve", name, &size.to_string()], TARGET, "gzip")?;
    for _ in 0..3 {
        let answer = server.get()?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.expect("a head ends") + 4);
        let head = String::from_utf8_lossy(head).to_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{name}: {head}");
        if head.contains("content-length") {
            let mut decoded = Vec::new();
            GzDecoder::new(body).read_to_end(&mut decoded)?;
            assert!(decoded == text(size), "{name}");
        }
    }
    Ok(server)
}

fn serve(name: &str, size: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        if name == NAMES[2] {
            return serve_constant(listener, encoded(&text(size))?).await;
        }
        let body = text(size);
        let handler = get(move || async move { ([(CONTENT_TYPE, "application/json")], body) });
        let router = if name == NAMES[0] {
            Router::new()
                .route(TARGET, handler)
                .layer(CompressionLayer::new())
        } else {
            let cache = Cache::builder().build().map_err(io::Error::other)?;
            let layer = cache.layer().ttl(Duration::from_secs(3600)).tag("posts");
            Router::new()
                .route(TARGET, handler.layer(layer))
                .layer(CompressLayer::new())
        };
        axum::serve(listener, router).await
    })
}

async fn serve_constant(listener: TcpListener, body: Bytes) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let body = body.clone();
        let answer = service_fn(move |_request| {
            let mut response = Response::new(Full::new(body.clone()));
            let fields = response.headers_mut();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
    }
}

fn encoded(text: &[u8]) -> io::Result<Bytes> {
    let mut encoded = Vec::new();
    flate2::read::GzEncoder::new(text, flate2::Compression::new(6)).read_to_end(&mut encoded)?;
    Ok(encoded.into())
}

/// JSON that becomes about a fifth, as answers of services do.
fn text(length: usize) -> Bytes {
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
