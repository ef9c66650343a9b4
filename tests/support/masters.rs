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

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["cluster", "myid"])
    }
}
