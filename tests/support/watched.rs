//! A master, a replica and three Sentinels that replace the master.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::fs;

use super::server::{eventually, free_port, Server};

pub struct Watched {
    pub master: Server,
    pub replica: Server,
    pub sentinels: Vec<Server>,
}

impl Watched {
    pub fn start() -> Self {
        let master = Server::with(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port.to_string();
        let replica = Server::with(&["--replicaof", "127.0.0.1", &port]);
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(&port)).collect();
        let watched = Self {
            master,
            replica,
            sentinels,
        };
        for sentinel in &watched.sentinels {
            let knows = || {
                let state = sentinel.cli(&["sentinel", "master", "shop"]);
                let lines: Vec<_> = state.lines().collect();
                let is = |name, value| lines.windows(2).any(|pair| pair == [name, value]);
                is("num-slaves", "1") && is("num-other-sentinels", "2")
            };
            assert!(
                eventually(knows),
                "{}",
                sentinel.cli(&["sentinel", "master", "shop"])
            );
        }
        watched
    }

    /// Also names a Sentinel that is not there, first.
    pub fn url(&self) -> String {
        let ports = self.sentinels.iter().map(|sentinel| sentinel.port);
        let hosts: Vec<_> = [free_port()]
            .into_iter()
            .chain(ports)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis+sentinel://{}/shop", hosts.join(","))
    }
}

/// A Sentinel rewrites its file, so each has one of its own.
pub fn sentinel(master: &str) -> Server {
    let port = free_port();
    let name = format!("larder-sentinel-{}-{port}.conf", std::process::id());
    let file = std::env::temp_dir().join(name);
    let config = format!(
        "sentinel monitor shop 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds shop 500\n\
         sentinel failover-timeout shop 2000\n"
    );
    fs::write(&file, config).unwrap();
    let server = Server::from_file(port, &file, &["--sentinel"]);
    let _ = fs::remove_file(&file);
    server
}
