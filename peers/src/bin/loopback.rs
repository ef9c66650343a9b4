//! Requests per second over loopback: a server on one core, `wrk` on the other, 64 connections, a 4 KiB hit.

use std::io;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_peers::origin::Origin;
use larder_peers::served::{need_tools, Server};
use larder_peers::stats::{median, median_ratio};
use larder_peers::subjects::{self, axum_handler};
use tokio::net::TcpListener;

const ROUNDS: usize = 9;
const BASE: &str = "axum-handler";
/// A connection loop of hyper that answers a constant: what a server costs without a router.
const HYPER: &str = "hyper";
const TARGET: &str = "/posts?limit=20&offset=0";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(),
        ["--serve", name] => serve(name),
        _ => Err(io::Error::other("usage: loopback [--serve SUBJECT]")),
    }
}

fn origin() -> &'static Origin {
    Origin::prebuilt(4 << 10)
}

fn serve(name: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    if name == HYPER {
        return runtime.block_on(serve_constant(listener));
    }
    let router = router(name)?;
    runtime.block_on(async { axum::serve(listener, router).await })
}

fn router(name: &str) -> io::Result<Router> {
    // Its service is a router already; inside another one it would be routed twice.
    if name == BASE {
        return Ok(axum_handler::service(origin()));
    }
    let unknown = || io::Error::other(format!("no subject is called {name}"));
    let subject = subjects::find(name).ok_or_else(unknown)?;
    Ok((subject.start)(origin()).into_router())
}

async fn serve_constant(listener: TcpListener) -> io::Result<()> {
    let origin = origin();
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = service_fn(move |_request| async move {
            Ok::<_, std::convert::Infallible>(origin.answer().await)
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
    }
}

fn compare() -> io::Result<()> {
    need_tools()?;
    let names = subjects::ALL.iter().map(|subject| subject.name);
    let started = names.chain([HYPER]).map(start);
    let mut servers = started.collect::<io::Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        servers.iter_mut().try_for_each(Server::measure)?;
    }
    let base = servers.iter().find(|server| server.name == BASE);
    let base = base.map(|server| server.rates.clone()).unwrap_or_default();
    println!("| | requests/s | over {BASE} |\n| --- | --- | --- |");
    for server in &servers {
        let (rate, ratio) = (
            median(server.rates.clone()),
            median_ratio(&server.rates, &base),
        );
        println!("| {} | {rate:.0} | {ratio:.2} |", server.name);
    }
    Ok(())
}

/// Starts a server, and makes sure that a miss and a hit are both answered with the origin's bytes.
fn start(name: &'static str) -> io::Result<Server> {
    let server = Server::start(name, &["--serve", name], TARGET, "gzip, br")?;
    for _ in 0..2 {
        let answer = server.get()?;
        let whole = answer.ends_with(origin().body());
        assert!(answer.starts_with(b"HTTP/1.1 200 OK") && whole, "{name}");
    }
    Ok(server)
}
