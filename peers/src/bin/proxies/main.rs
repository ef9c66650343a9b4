//! Requests per second of a hit of 4 KiB over loopback: the reverse proxy of the examples, nginx and Varnish before
//! one origin, and hyper sending a constant. Each server has one core, `wrk` the other one, with 64 connections.
//!
//! ```sh
//! apt-get install nginx varnish wrk
//! cargo build --release -p larder-examples --example reverse_proxy
//! cargo run --release -p larder-peers --bin proxies
//! ```
//!
//! All but `nginx, logging` and the reverse proxy write no log of requests; the proxy has no such choice.

mod programs;

use std::convert::Infallible;
use std::io;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_peers::origin::Origin;
use larder_peers::served::{need, need_tools, Server};
use larder_peers::stats::{median, median_ratio};
use tokio::net::TcpListener;

use crate::programs::Programs;

/// The origin itself: a connection loop of hyper that answers a constant.
const HYPER: &str = "hyper";
const TARGET: &str = "/posts?limit=20&offset=0";
const ACCEPTS: &str = "gzip, br";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(9),
        ["--rounds", rounds] => compare(rounds.parse().map_err(io::Error::other)?),
        ["--serve"] => serve(),
        _ => Err(io::Error::other("usage: proxies [--rounds N | --serve]")),
    }
}

fn origin() -> &'static Origin {
    Origin::prebuilt(4 << 10)
}

fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let origin = origin();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let answer = service_fn(move |_| async { Ok::<_, Infallible>(origin.answer().await) });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    })
}

fn compare(rounds: usize) -> io::Result<()> {
    need_tools()?;
    need(&[("nginx", "nginx"), ("varnishd", "varnish")])?;
    let programs = Programs::new()?;
    let hyper = Server::start(HYPER, &["--serve"], TARGET, ACCEPTS)?;
    let behind = hyper.address().to_owned();
    let mut servers = vec![
        programs.nginx("nginx", &behind, "off")?,
        programs.nginx("nginx, logging", &behind, "access.log combined buffer=64k")?,
        programs.varnish("Varnish", &behind)?,
        programs.reverse_proxy("reverse_proxy, safe", &behind, "safe")?,
        programs.reverse_proxy("reverse_proxy, rfc9111", &behind, "rfc9111")?,
        hyper,
    ];
    servers.iter().try_for_each(answers_hits)?;
    for _ in 0..rounds {
        servers.iter_mut().try_for_each(Server::measure)?;
    }
    servers.iter().try_for_each(answers_hits)?;
    print(&servers);
    Ok(())
}

/// Makes sure that a server answers with the origin's bytes, and after the first time by itself.
fn answers_hits(server: &Server) -> io::Result<()> {
    let first = server.get()?;
    let again = server.get()?;
    for answer in [&first, &again] {
        let whole = answer.ends_with(origin().body());
        assert!(
            answer.starts_with(b"HTTP/1.1 200") && whole,
            "{}",
            server.name
        );
    }
    let head = String::from_utf8_lossy(&again).to_lowercase();
    let is_hit = match server.name.split(',').next() {
        Some("nginx") => head.contains("\r\nx-cache: hit\r\n"),
        // The number of this request, and of the one whose answer was stored.
        Some("Varnish") => head.lines().any(|line| {
            line.strip_prefix("x-varnish: ")
                .is_some_and(|numbers| numbers.contains(' '))
        }),
        Some("reverse_proxy") => head.contains("\r\ncache-status: larder; hit;"),
        _ => true,
    };
    assert!(is_hit, "{}: {}", server.name, &head[..500]);
    Ok(())
}

fn print(servers: &[Server]) {
    let named = |name: &str| {
        let mut found = servers.iter().filter(|server| server.name == name);
        found.next().map(|server| &server.rates[..]).unwrap()
    };
    let bases = [
        named("nginx"),
        named("nginx, logging"),
        named("Varnish"),
        named(HYPER),
    ];
    println!(
        "| | requests/s | over nginx | over nginx, logging | over Varnish | over hyper | p99 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for server in servers {
        let ratios = bases.map(|base| format!("{:.2}", median_ratio(&server.rates, base)));
        let rate = median(server.rates.clone());
        let p99 = median(server.p99s.clone());
        let ratios = ratios.join(" | ");
        println!("| {} | {rate:.0} | {ratios} | {p99:.2} ms |", server.name);
    }
}
