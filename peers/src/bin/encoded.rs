//! Requests per second of an answer in gzip, over loopback: kept by the cache, beside what a service does that encodes
//! each answer, and beside hyper sending a constant that was encoded before.
//!
//! The service that encodes is there twice. Once as its users build it, a program that knows nothing of larder; and once
//! in this build, where larder has chosen another encoder (zlib-rs) for all, which takes about half the time.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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
use larder_peers_plain::{handler, text, TARGET};
use tokio::net::TcpListener;

const ROUNDS: usize = 5;
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// An axum handler under tower-http's layer, as its users have it and in this build.
const PLAIN: &str = "axum + CompressionLayer";
const UNIFIED: &str = "the same with zlib-rs";
/// The cache under our layer.
const LARDER: &str = "larder";
/// A connection loop that answers a constant.
const CONSTANT: &str = "hyper, a constant";

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
    let plain = build_plain()?;
    println!("| body | | requests/s | over {PLAIN} | over {UNIFIED} |");
    println!("| --- | --- | --- | --- | --- |");
    for size in SIZES {
        let mut servers = vec![start_plain(&plain, size)?];
        for name in [UNIFIED, LARDER, CONSTANT] {
            servers.push(start(name, size)?);
        }
        for _ in 0..ROUNDS {
            servers.iter_mut().try_for_each(Server::measure)?;
        }
        let (plain, unified) = (&servers[0].rates, &servers[1].rates);
        for server in &servers {
            let over_plain = median_ratio(&server.rates, plain);
            let over_unified = median_ratio(&server.rates, unified);
            let (name, rate) = (&server.name, median(server.rates.clone()));
            println!("| {size} B | {name} | {rate:.0} | {over_plain:.1} | {over_unified:.1} |");
        }
    }
    Ok(())
}

/// Builds the service that encodes, by itself: in one build with larder it would have larder's features.
fn build_plain() -> io::Result<PathBuf> {
    let package = "larder-peers-plain";
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    let built = build.args(["build", "--release", "-p", package]).status()?;
    if !built.success() {
        return Err(io::Error::other(format!("{package} was not built")));
    }
    Ok(std::env::current_exe()?.with_file_name(package))
}

fn start_plain(program: &Path, size: usize) -> io::Result<Server> {
    let server = Server::start_other(PLAIN, program, &[&size.to_string()], TARGET, "gzip")?;
    check(&server, size)?;
    Ok(server)
}

fn start(name: &'static str, size: usize) -> io::Result<Server> {
    let server = Server::start(name, &["--serve", name, &size.to_string()], TARGET, "gzip")?;
    check(&server, size)?;
    Ok(server)
}

/// Makes sure that a miss and hits are answered with the bytes in gzip.
fn check(server: &Server, size: usize) -> io::Result<()> {
    for _ in 0..3 {
        let answer = server.get()?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.expect("a head ends") + 4);
        let head = String::from_utf8_lossy(head).to_lowercase();
        let name = &server.name;
        assert!(head.contains("content-encoding: gzip"), "{name}: {head}");
        if head.contains("content-length") {
            let mut decoded = Vec::new();
            GzDecoder::new(body).read_to_end(&mut decoded)?;
            assert!(decoded == text(size), "{name}");
        }
    }
    Ok(())
}

fn serve(name: &str, size: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        match name {
            UNIFIED => larder_peers_plain::serve(listener, size).await,
            LARDER => serve_cached(listener, text(size)).await,
            _ => serve_constant(listener, encoded(&text(size))?).await,
        }
    })
}

async fn serve_cached(listener: TcpListener, body: Bytes) -> io::Result<()> {
    let cache = Cache::builder().build().map_err(io::Error::other)?;
    let layer = cache.layer().ttl(Duration::from_secs(3600)).tag("posts");
    let router = Router::new()
        .route(TARGET, handler(body).layer(layer))
        .layer(CompressLayer::new());
    axum::serve(listener, router).await
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
