//! The program, started for one test.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::client::{Answer, Client};
use crate::files::Files;
use crate::origin::Origin;
use crate::server::eventually;

pub struct Proxy {
    process: Child,
    pub address: String,
    /// What it prints.
    log: Mutex<Receiver<String>>,
}

impl Proxy {
    pub fn before(origin: &Origin) -> Self {
        Self::with(origin, &[])
    }

    pub fn with(origin: &Origin, flags: &[&str]) -> Self {
        Self::start(&origin.url(), flags)
    }

    pub fn before_files(files: &Files) -> Self {
        Self::start(&files.url(), &["--profile", "rfc9111"])
    }

    pub fn start(origin: &str, flags: &[&str]) -> Self {
        let mut process = program()
            .args(["--listen", "127.0.0.1:0", "--origin", origin])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the address comes first").unwrap();
        let address = first.strip_prefix("listening on http://").unwrap();
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            process,
            address: address.to_owned(),
            log: Mutex::new(log),
        }
    }

    pub fn connect(&self) -> Client {
        Client::open(&self.address)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    pub fn next_log_line(&self) -> String {
        let line = self
            .log
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(10));
        line.expect("each request is logged")
    }

    /// What it has logged and nobody has read.
    pub fn log_so_far(&self) -> Vec<String> {
        self.log.lock().unwrap().try_iter().collect()
    }

    /// Asks it to stop, as a supervisor does.
    pub fn ask_to_stop(&self) {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(kill.expect("`kill` is needed by this test").success());
    }

    /// How it ended, waiting for up to ten seconds.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        eventually(|| self.process.try_wait().unwrap().is_some());
        self.process.try_wait().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn program() -> Command {
    example("reverse_proxy")
}

pub fn example(name: &str) -> Command {
    Command::new(path(name))
}

/// Where cargo puts examples: beside the directory of this test.
fn path(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = target
        .join("examples")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "build it first: cargo build --example {name}"
    );
    program
}
