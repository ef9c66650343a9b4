//! Requests per second over loopback: a server on one core, `wrk` on the other, 64 connections, a 4 KiB hit.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_peers::origin::Origin;
use larder_peers::stats::{median, median_ratio};
use larder_peers::subjects::{self, axum_handler};
use tokio::net::TcpListener;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
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
    for (tool, package) in [("wrk", "wrk"), ("taskset", "util-linux")] {
        let found = Command::new(tool)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.map_err(|_| {
            io::Error::other(format!("{tool} is missing: apt-get install {package}"))
        })?;
    }
    let names = subjects::ALL
        .iter()
        .map(|subject| subject.name)
        .chain([HYPER]);
    let mut servers = names.map(Server::start).collect::<io::Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for server in &mut servers {
            let rate = server.requests_per_second()?;
            server.rates.push(rate);
        }
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

/// A child process that serves one subject, ended when dropped.
struct Server {
    name: &'static str,
    process: Child,
    address: String,
    rates: Vec<f64>,
}

impl Server {
    /// Starts it, and makes sure that a miss and a hit are both answered with the origin's bytes.
    fn start(name: &'static str) -> io::Result<Self> {
        let mut process = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .arg(std::env::current_exe()?)
            .args(["--serve", name])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut address)?;
        let server = Self {
            name,
            process,
            address: address.trim().to_owned(),
            rates: Vec::new(),
        };
        for _ in 0..2 {
            let answer = server.get()?;
            let whole =
                answer.ends_with(std::str::from_utf8(origin().body()).expect("JSON is UTF-8"));
            assert!(
                answer.starts_with("HTTP/1.1 200 OK") && whole,
                "{name} answered {answer}"
            );
        }
        Ok(server)
    }

    fn get(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn requests_per_second(&self) -> io::Result<f64> {
        let output = Command::new("taskset")
            .args(["-c", LOAD_CORE, "wrk", "-t1", "-c64", "-d2s"])
            .args([
                "-H",
                "Accept: application/json",
                "-H",
                "Accept-Encoding: gzip, br",
            ])
            .arg(format!("http://{}{TARGET}", self.address))
            .output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        let failed = report.contains("Non-2xx") || report.contains("Socket errors");
        let rate = report
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        match rate.and_then(|rate| rate.trim().parse().ok()) {
            Some(rate) if !failed => Ok(rate),
            _ => Err(io::Error::other(format!("wrk on {}: {report}", self.name))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end and nothing to wait for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
