//! Four processes with 50 callers each, who all want the same response at once.

use std::fs::{self, File};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::leases::{die_holding, subscribers, LASTS};
use super::processes::{eventually, now, process, Process, KEY};
use super::server::Server;
use crate::store::shared::lease::Taken;

const LIMIT: Duration = Duration::from_millis(500);
const PROCESSES: usize = 4;
const CALLERS: usize = 50;

/// Every command that the server carries out.
struct Monitor<'a> {
    server: &'a Server,
    cli: Child,
}

impl<'a> Monitor<'a> {
    async fn start(server: &'a Server) -> Self {
        let port = server.port.to_string();
        let output = File::create(server.dir().join("monitor")).unwrap();
        let cli = Command::new("redis-cli")
            .args(["-p", &port, "monitor"])
            .stdout(output)
            .spawn()
            .unwrap();
        let monitor = Self { server, cli };
        assert!(eventually(|| async { monitor.lines().contains("OK") }).await);
        monitor
    }

    fn lines(&self) -> String {
        fs::read_to_string(self.server.dir().join("monitor")).unwrap()
    }

    /// The calls with a name in them; what a script does inside is none.
    fn calls(&self, name: &str) -> Vec<String> {
        let lines = self.lines();
        let calls = lines
            .lines()
            .filter(|line| line.contains(name) && !line.contains(" lua]"));
        calls.map(str::to_owned).collect()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = self.cli.kill();
        let _ = self.cli.wait();
    }
}

impl Process {
    /// What one caller of a process does on behalf of the others: looks, and makes what is not there.
    async fn lead(&self, made: &AtomicUsize) {
        loop {
            let looked = Instant::now();
            if self.relaxed().await.is_ok() {
                return;
            }
            let mut taken = self.responses.lease(KEY, &[], looked, LIMIT).await;
            if let Taken::Theirs(waiting) = taken {
                taken = waiting.next().await;
            }
            let lease = match taken {
                Taken::Stored => continue,
                Taken::Mine(lease) => Some(lease),
                Taken::Theirs(_) | Taken::Unknown => None,
            };
            made.fetch_add(1, Ordering::Relaxed);
            let stored = self.make(&[], &HeaderMap::new());
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.responses.store(&stored, now(), lease);
            return;
        }
    }
}

/// Processes that have asked for a lease before, so that they listen and the server knows the script.
async fn processes(server: &Server) -> Vec<Arc<Process>> {
    let mut all = Vec::new();
    for _ in 0..PROCESSES {
        let process = process(server).await;
        let other = process
            .responses
            .lease(b"other", &[], Instant::now(), LIMIT);
        drop(other.await);
        all.push(Arc::new(process));
    }
    assert!(eventually(|| async { subscribers(server) == PROCESSES }).await);
    all
}

/// Lets all callers ask at once. How often the response was made, and what the slowest waited.
async fn rush(processes: &[Arc<Process>]) -> (usize, Duration) {
    let made = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut callers = Vec::new();
    for process in processes {
        // The collapsing within one process.
        let flight = Arc::new(OnceCell::new());
        for _ in 0..CALLERS {
            let (process, flight) = (Arc::clone(process), Arc::clone(&flight));
            let made = Arc::clone(&made);
            callers.push(tokio::spawn(async move {
                flight.get_or_init(|| process.lead(&made)).await;
                began.elapsed()
            }));
        }
    }
    let mut slowest = Duration::ZERO;
    for caller in callers {
        slowest = slowest.max(caller.await.unwrap());
    }
    (made.load(Ordering::Relaxed), slowest)
}

fn digest(process: &Process) -> String {
    let name = String::from_utf8(process.driver.keys().lease(KEY, &[])).unwrap();
    name[name.find('{').unwrap()..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rush_on_one_key_is_one_computation_and_few_calls() {
    let server = Server::start();
    let processes = processes(&server).await;
    let monitor = Monitor::start(&server).await;
    let (made, slowest) = rush(&processes).await;
    let digest = digest(&processes[0]);
    // The release is sent when nobody waits for it any more.
    assert!(eventually(|| async { monitor.calls("\"stored\"").len() == 1 }).await);
    let calls = monitor.calls(&digest);
    println!(
        "a rush: made {made} times, {} calls, slowest {slowest:?}",
        calls.len()
    );
    assert_eq!(made, 1);
    assert!(calls.len() <= 15, "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rush_behind_a_holder_that_dies_waits_for_its_lease_and_no_longer() {
    let server = Server::start();
    let processes = processes(&server).await;
    die_holding(&server);
    let monitor = Monitor::start(&server).await;
    let (made, slowest) = rush(&processes).await;
    let calls = monitor.calls(&digest(&processes[0])).len();
    println!("a dead holder: made {made} times more, {calls} calls, slowest {slowest:?}");
    assert_eq!(made, 1, "and once by the one that died");
    let making = Duration::from_millis(50);
    assert!(
        slowest < LASTS + making + Duration::from_millis(100),
        "{slowest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_succeed_releases_the_lease_to_the_next_one() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let lease = a.mine().await;
    let waiting = b.theirs(&server).await;
    let all_but_responses = ["resetkeys", "~test:c", "~test:l:*"];
    let user = ["acl", "setuser", "default"];
    server.cli(&[&user[..], &all_but_responses].concat());
    let stored = a.make(&[], &HeaderMap::new());
    a.responses.store(&stored, now(), Some(lease));
    assert!(matches!(waiting.next().await, Taken::Mine(_)));
}
