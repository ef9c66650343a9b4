//! The tables of `tests/rfc9111`, through the reverse proxy: its own modules between an origin and a client
//! that write and read bytes on sockets. Only the clock is ours.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses the part of the support it needs"
)]

#[path = "../reverse_proxy/client.rs"]
mod client;
#[path = "../../reverse_proxy/connections.rs"]
mod connections;
#[path = "../../reverse_proxy/content.rs"]
mod content;
#[path = "../../reverse_proxy/hop_by_hop.rs"]
mod hop_by_hop;
#[path = "../../reverse_proxy/informational.rs"]
mod informational;
#[path = "../../reverse_proxy/origin.rs"]
mod origin;
#[path = "../../reverse_proxy/problem.rs"]
mod problem;
#[path = "../../reverse_proxy/proxy.rs"]
mod proxy;
#[path = "../../../tests/rfc9111/rows.rs"]
mod rows;
#[path = "../../../tests/rfc9111/script/mod.rs"]
mod script;
#[path = "../reverse_proxy/origin.rs"]
mod scripted_origin;
mod sockets;
#[path = "../../reverse_proxy/upgrade.rs"]
mod upgrade;

/// The log of requests, which nobody reads here.
mod access_log {
    use hyper::{Method, Response, Uri};

    #[derive(Default)]
    pub(crate) struct AccessLog {}

    impl AccessLog {
        pub(crate) fn tell<B>(&self, _: &Method, _: &Uri, _: &Response<B>) {}
    }
}

use crate::script::Runner;
use crate::sockets::{Behind, OverSockets};

/// Where the tables are, seen from the package.
const TABLES: &str = "../tests/rfc9111";

fn check(table: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let behind = Behind::start();
    let player = async |clock: &_| OverSockets::start(&behind, clock).await;
    let rows = script::check(table, Runner::OverSockets, player);
    runtime.unwrap().block_on(rows);
}
