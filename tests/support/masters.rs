//! A Cluster of three masters.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::process::Command;

use super::server::{eventually, free_port, Server};

/// Three masters, each with a third of the slots.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// The arguments of a node.
    pub const NODE: &[&str] = &[
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
        "--repl-diskless-sync-delay",
        "0",
    ];

    pub fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| Server::on(free_port(), Self::NODE))
            .collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create", "--cluster-yes"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = create.output().expect("redis-cli is needed by this test");
        assert!(output.status.success(), "{output:?}");
        let cluster = Self { nodes };
        cluster.settle(3);
        cluster
    }

    /// Waits until all nodes know all masters.
    pub fn settle(&self, masters: usize) {
        for node in &self.nodes {
            let knows = || {
                let state = node.cli(&["cluster", "info"]);
                let nodes = node.cli(&["cluster", "nodes"]);
                let masters_known = nodes.lines().filter(|line| line.contains("master")).count();
                state.contains("cluster_state:ok") && masters_known == masters
            };
            assert!(eventually(knows), "{}", node.cli(&["cluster", "nodes"]));
        }
    }

    /// Not the first node, so that a dead seed is met too.
    pub fn url(&self) -> String {
        format!(
            "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
            free_port(),
            self.nodes[1].port
        )
    }

    /// Moves the slot of a key from one master to another, with all that lies in it, as `redis-cli --cluster reshard`
    /// does: for a while the slot has two masters.
    pub fn migrate(&self, key: &str, from: usize, to: usize) {
        let slot = self.nodes[from].cli(&["cluster", "keyslot", key]);
        let set = |node: usize, state: &[&str]| {
            let command = [&["cluster", "setslot", &slot], state].concat();
            assert_eq!(self.nodes[node].cli(&command), "OK");
        };
        set(to, &["importing", &self.id(from)]);
        set(from, &["migrating", &self.id(to)]);
        let port = self.nodes[to].port.to_string();
        loop {
            let names = self.nodes[from].cli(&["cluster", "getkeysinslot", &slot, "100"]);
            if names.is_empty() {
                break;
            }
            for name in names.lines() {
                let command = ["migrate", "127.0.0.1", &port, name, "0", "10000", "replace"];
                let moved = self.nodes[from].cli(&command);
                assert!(["OK", "NOKEY"].contains(&&*moved), "{moved}");
            }
        }
        for node in [to, from] {
            set(node, &["node", &self.id(to)]);
        }
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["cluster", "myid"])
    }
}
