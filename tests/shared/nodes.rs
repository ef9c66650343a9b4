//! Nodes of a service, and what can be seen of them in Redis.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use larder::{Cache, CacheBuilder, CacheLayer, Redis, SharedStats};

use crate::server::{for_all_tests, Server};
use crate::support::{send, status, text, Answer, Origin, MINUTE};

/// For all tests that do it no harm.
pub(crate) static SERVER: LazyLock<&Server> =
    LazyLock::new(|| for_all_tests(Server::start(), |server| vec![server]));

/// Long enough for a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(10);
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// A prefix that no other test uses.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("s{}-{number}", process::id())
}

/// A node that is connected, and patient with a busy machine.
pub(crate) async fn node(prefix: &str, say: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    let redis = Redis::builder(SERVER.url()).prefix(prefix).deadline(LONG);
    connected(redis.build().unwrap(), say).await
}

pub(crate) async fn connected(
    redis: Redis,
    say: impl FnOnce(CacheBuilder) -> CacheBuilder,
) -> Cache {
    let cache = say(Cache::builder().redis(redis.clone())).build().unwrap();
    assert!(redis.connected(LONG).await, "{redis:?}");
    eventually(|| async { shared(&cache).sound }).await;
    cache
}

pub(crate) fn shared(cache: &Cache) -> SharedStats {
    cache.stats().shared.unwrap()
}

pub(crate) fn layer(cache: &Cache) -> CacheLayer {
    cache.layer().ttl(MINUTE).tag("posts")
}

/// What the node has in store, if anything. It goes the whole way of a miss, and stores nothing.
pub(crate) async fn ask(node: &CacheLayer, request: &Request<Full<Bytes>>) -> Option<Answer> {
    let absent = Origin::new(|_| status(503));
    let answer = send(node, &absent, request.clone()).await;
    (answer.status != 503).then_some(answer)
}

/// Waits until the node has it in store.
pub(crate) async fn served(node: &CacheLayer, request: &Request<Full<Bytes>>) -> Answer {
    eventually(|| async { ask(node, request).await.is_some() }).await;
    ask(node, request).await.unwrap()
}

pub(crate) async fn eventually<F, Happened>(mut happened: F)
where
    F: FnMut() -> Happened,
    Happened: Future<Output = bool>,
{
    for _ in 0..5000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(TICK).await;
    }
    panic!("it does not happen");
}

/// What handlers read: it has a state that changes.
#[derive(Clone, Default)]
pub(crate) struct Database(Arc<AtomicUsize>);

impl Database {
    pub(crate) fn change(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// What a handler answers for this path now.
    pub(crate) fn now(&self, path: &str) -> String {
        format!("{path} of state {}", self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn handler(&self) -> Origin {
        let database = self.clone();
        Origin::new(move |request| text(database.now(request.uri().path())))
    }
}

/// A connection for looking at what lies in Redis.
pub(crate) fn raw(server: &Server) -> redis::Connection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_connection().unwrap()
}

/// The names of the responses under a prefix.
pub(crate) fn entries(redis: &mut redis::Connection, prefix: &str) -> Vec<String> {
    let pattern = format!("{prefix}:e:*");
    let keys = redis::cmd("KEYS").arg(pattern).query(redis);
    keys.unwrap()
}

/// Everything that clients ask a server, as `MONITOR` shows it.
pub(crate) struct Monitor {
    lines: Arc<Mutex<Vec<String>>>,
    prefix: String,
}

impl Monitor {
    /// Watches what concerns the responses and the clock under a prefix.
    pub(crate) fn watching(prefix: &str) -> Self {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, SERVER.port)).unwrap();
        socket.write_all(b"MONITOR\r\n").unwrap();
        let mut read = BufReader::new(socket);
        let mut line = String::new();
        read.read_line(&mut line).unwrap();
        assert_eq!(line, "+OK\r\n");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::downgrade(&lines);
        thread::spawn(move || {
            for line in read.lines().map_while(Result::ok) {
                let Some(seen) = seen.upgrade() else { return };
                seen.lock().unwrap().push(line);
            }
        });
        Self {
            lines,
            prefix: prefix.to_owned(),
        }
    }

    /// What was asked since the last time, but for what keeps a mirror up to date: `GET e` for a response, `GETRANGE c`
    /// for the clock.
    pub(crate) fn asked(&self) -> Vec<String> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("mark-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        SERVER.cli(&["echo", &mark]);
        let marked = || {
            let lines = self.lines.lock().unwrap();
            lines.iter().position(|line| line.contains(&mark))
        };
        assert!(crate::server::eventually(|| marked().is_some()));
        let at = marked().unwrap();
        let lines: Vec<_> = self.lines.lock().unwrap().drain(..=at).collect();
        lines.iter().filter_map(|line| self.command(line)).collect()
    }

    /// `+1700000000.000000 [0 127.0.0.1:1234] "GET" "prefix:e:1::{..}"`
    fn command(&self, line: &str) -> Option<String> {
        let mut words = line.split('"');
        let (client, command) = (words.next()?, words.next()?);
        // Of a script, the first key stands behind its hash and the number of keys.
        let at = if command.starts_with("EVAL") { 5 } else { 1 };
        let key = words
            .nth(at)?
            .strip_prefix(&self.prefix)?
            .strip_prefix(':')?;
        let asked = format!("{command} {}", &key[..1]);
        let background = ["GET c", "SUBSCRIBE i", "EVALSHA c", "EVAL c"];
        (!client.contains("lua") && !background.contains(&asked.as_str())).then_some(asked)
    }
}
