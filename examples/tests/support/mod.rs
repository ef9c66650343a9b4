//! The quickstart as a process, and a client for it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses the part it needs"
)]

pub mod client;
#[path = "../../../tests/support/server.rs"]
pub mod server;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use client::{Answer, Connection};
use server::{eventually, Server};

/// The program, in an environment of its own.
pub fn program() -> Command {
    let mut command = Command::new(path());
    for name in [
        "REDIS_URL",
        "REDIS_DEADLINE_MS",
        "ORIGIN_DELAY_MS",
        "WEBHOOK_SECRET",
        "LIMIT",
        "LIMIT_PERIOD_MS",
    ] {
        command.env_remove(name);
    }
    command.env("LISTEN", "127.0.0.1:0");
    command
}

/// Where cargo puts examples: beside the directory of this test.
fn path() -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = target
        .join("examples")
        .join(format!("quickstart{}", env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "build it first: cargo build --example quickstart"
    );
    program
}

/// A running quickstart, on a port of its own; it ends with this.
pub struct Quickstart {
    process: Child,
    pub address: String,
    /// One that nobody else uses. It ends after the process.
    redis: Option<Server>,
}

/// What a route does, it does in memory alone and with Redis: runs a test's body for each.
pub fn in_both_modes(origin_delay_ms: u32) -> impl Iterator<Item = Quickstart> {
    let delay = origin_delay_ms.to_string();
    [false, true].into_iter().map(move |with_redis| {
        let redis = with_redis.then(Server::start);
        let url = redis.as_ref().map(Server::url).unwrap_or_default();
        let mut service = Quickstart::start(&[("REDIS_URL", &url), ("ORIGIN_DELAY_MS", &delay)]);
        service.redis = redis;
        service
    })
}

impl Quickstart {
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let mut process = program()
            .env("ORIGIN_DELAY_MS", "0")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // The rest is read too, or the program would fail to print it.
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let address = line.trim().strip_prefix("listening on http://");
        Self {
            address: address.expect("the address comes first").to_owned(),
            process,
            redis: None,
        }
    }

    /// One of several nodes that share a Redis.
    pub fn node(redis: &Server) -> Self {
        Self::start(&[("REDIS_URL", &redis.url())])
    }

    pub fn has_redis(&self) -> bool {
        self.redis.is_some()
    }

    /// Asks it to stop, as a supervisor does, and waits for up to ten seconds.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(kill.expect("`kill` is needed by this test").success());
        eventually(|| self.process.try_wait().unwrap().is_some());
        self.process.try_wait().unwrap()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.address).unwrap()
    }

    pub fn send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> Answer {
        let exchanged = self.connect().exchange(method, target, fields, content);
        exchanged.unwrap()
    }

    pub fn send_json(&self, method: &str, target: &str, content: &str) -> Answer {
        let fields = [("Content-Type", "application/json")];
        self.send(method, target, &fields, content)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "")
    }

    pub fn rename(&self, id: u32, title: &str) -> Answer {
        let content = serde_json::json!({ "title": title }).to_string();
        self.send_json("PUT", &format!("/posts/{id}"), &content)
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.get("/stats").json()[name].as_u64().unwrap()
    }

    /// Whether it says that Redis is up.
    pub fn redis_is_up(&self) -> bool {
        match self.get("/stats").json()["redis"].as_str() {
            Some("up") => true,
            Some("down") => false,
            other => panic!("redis is {other:?}"),
        }
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        // Gently, so that it takes its files along. It may have ended by itself already.
        if let Ok(None) = self.process.try_wait() {
            let pid = self.process.id().to_string();
            let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
            eventually(|| !matches!(self.process.try_wait(), Ok(None)));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether something comes true before the time is over, and how long that took.
pub fn within(limit: Duration, mut happened: impl FnMut() -> bool) -> Option<Duration> {
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        if happened() {
            return Some(start.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
