//! Real redis-server processes that can be stopped, killed and started again.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A redis-server of its own, on a free port, with its files in a directory of its own. It ends with
/// this value.
pub struct Server {
    child: Child,
    pub port: u16,
    dir: PathBuf,
    args: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with further arguments, `["--requirepass", "secret"]`.
    pub fn with(args: &[&str]) -> Self {
        let port = free_port();
        Self::on(port, args)
    }

    /// A server on a port that was chosen before.
    pub fn on(port: u16, args: &[&str]) -> Self {
        Self::within(directory(port), port, args)
    }

    fn within(dir: PathBuf, port: u16, args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let child = spawn(&dir, port, &args);
        let server = Self {
            child,
            port,
            dir,
            args,
        };
        server.wait();
        server
    }

    /// A server with a configuration file, of which it gets a copy.
    pub fn from_file(port: u16, file: &Path, args: &[&str]) -> Self {
        let dir = directory(port);
        let copy = dir.join("server.conf");
        fs::copy(file, &copy).expect("the file can be copied");
        let mut all = vec![copy.to_str().expect("a path of letters and digits")];
        all.extend(args);
        Self::within(dir, port, &all)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Freezes the process (SIGSTOP): connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, without its data.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.port, &self.args);
    }

    pub fn config(&self, name: &str, value: &str) {
        assert_eq!(self.cli(&["config", "set", name, value]), "OK");
    }

    /// What redis-cli prints for a command.
    pub fn cli(&self, command: &[&str]) -> String {
        cli(self.port, command)
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(kill.expect("`kill` is needed by this test").success());
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        assert!(
            eventually(|| answers(self.port)),
            "redis-server does not answer on port {}",
            self.port
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn cli(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(command)
        .output()
        .expect("redis-cli is needed by this test");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A port that nobody listens on, nor on the one 10,000 above it, which is a Cluster's.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let port = free(0).and_then(|socket| socket.local_addr().ok());
        let Some(port) = port.map(|address| address.port()) else {
            continue;
        };
        // Below the ephemeral ports, also with 10,000 added, so that no client takes it meanwhile.
        let port = port % 12_000 + 10_000;
        if free(port).is_some() && free(port + 10_000).is_some() {
            return port;
        }
    }
    panic!("there is no free port");
}

/// Waits for up to ten seconds.
pub fn eventually(mut happened: impl FnMut() -> bool) -> bool {
    for _ in 0..2000 {
        if happened() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

fn spawn(dir: &Path, port: u16, args: &[String]) -> Child {
    // A file comes before all options.
    let (file, args) = match args.first() {
        Some(file) if !file.starts_with("--") => args.split_at(1),
        _ => args.split_at(0),
    };
    Command::new("redis-server")
        .args(file)
        .args(["--port", &port.to_string()])
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is needed by this test")
}

fn directory(port: u16) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("larder-test-{}-{port}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(&dir).expect("the temporary directory can be written");
    dir
}

/// Any answer will do: a server that wants a password is up, too.
fn answers(port: u16) -> bool {
    let Ok(mut socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut answer = [0; 1];
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).is_ok()
        && socket.write_all(b"PING\r\n").is_ok()
        && socket.read_exact(&mut answer).is_ok()
}

/// Lets a value with servers live for as long as this process, which runs no destructors at its end:
/// a shell that waits for it ends them.
pub fn for_all_tests<T>(value: T, servers: impl Fn(&T) -> Vec<&Server>) -> &'static T {
    let value: &'static T = Box::leak(Box::new(value));
    for server in servers(value) {
        let pid = server.child.id().to_string();
        let guard = Command::new("sh")
            .args([
                "-c",
                "read -r _; kill -9 \"$1\"; rm -rf \"$2\"",
                "guard",
                &pid,
            ])
            .arg(&server.dir)
            .stdin(Stdio::piped()) // closed when this process ends
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        std::mem::forget(guard.expect("`sh` is needed by this test"));
    }
    value
}

/// A server that answers every command with the same line, `-LOADING Redis is loading`.
pub struct Scripted {
    pub port: u16,
}

impl Scripted {
    pub fn answering(line: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { return };
                thread::spawn(move || answer_all(&mut socket, line));
            }
        });
        Self { port }
    }
}

fn answer_all(socket: &mut TcpStream, line: &str) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        let commands = buffer[..read].iter().filter(|byte| **byte == b'*').count();
        let answer = format!("{line}\r\n").repeat(commands);
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A Cluster of three masters, each with a third of the slots.
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
    fn settle(&self, masters: usize) {
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
