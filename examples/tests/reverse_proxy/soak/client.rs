//! A client that knows what it may get.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::resources::{content, version_in, Kind, World};

/// How many answers there were of each sort.
#[derive(Debug, Default)]
pub struct Seen {
    pub whole: u64,
    pub hits: u64,
    pub parts: u64,
    pub confirmed: u64,
    pub heads: u64,
    pub posted: u64,
    pub broken: u64,
    /// Requests that their client left.
    pub left: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.whole += other.whole;
        self.hits += other.hits;
        self.parts += other.parts;
        self.confirmed += other.confirmed;
        self.heads += other.heads;
        self.posted += other.posted;
        self.broken += other.broken;
        self.left += other.left;
    }
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(address: &str, is_http2: bool) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            return Self::Http2(sender);
        }
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// One exchange: what is asked, and what the answer may be.
struct Asking {
    number: usize,
    variant: String,
    /// What a POST through this proxy is known to have made.
    least: u64,
    is_head: bool,
    held: Option<String>,
    range: Option<(usize, usize)>,
}

pub struct Checker {
    world: Arc<World>,
    address: String,
    /// Which of the proxies that is.
    proxy: usize,
    is_http2: bool,
    random: u64,
    connection: Option<Connection>,
    /// The last tag of each resource and variant.
    held: HashMap<(usize, String), String>,
    pub seen: Seen,
}

impl Checker {
    pub fn new(world: Arc<World>, address: String, proxy: usize, number: u64) -> Self {
        Self {
            world,
            address,
            proxy,
            is_http2: (number / 2).is_multiple_of(2),
            random: number + 1,
            connection: None,
            held: HashMap::new(),
            seen: Seen::default(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % bound
    }

    /// Asks for something, and panics if the answer is wrong.
    pub async fn ask(&mut self) {
        let number = self.below(self.world.count());
        match self.below(100) {
            0..=3 => self.post(number).await,
            4..=7 => self.leave(number).await,
            _ => self.get(number).await,
        }
    }

    async fn connection(&mut self) -> &mut Connection {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.address, self.is_http2).await);
        }
        self.connection.as_mut().expect("it was opened just now")
    }

    fn request(&self, method: &str, number: usize) -> Builder {
        let builder = Request::builder().method(method);
        if self.is_http2 {
            return builder.uri(format!("http://soak.example/{number}"));
        }
        builder
            .uri(format!("/{number}"))
            .header("host", "soak.example")
    }

    /// Changes a resource. From the answer on, this proxy may show nothing older.
    async fn post(&mut self, number: usize) {
        let request = self.request("POST", number).body(Full::from("new"));
        let sent = self.connection().await.send(request.unwrap()).await;
        let Ok(response) = sent else {
            self.connection = None;
            return;
        };
        if response.status() == StatusCode::OK {
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let version = std::str::from_utf8(&text).unwrap().parse().unwrap();
            self.world.changed_through(self.proxy, number, version);
            self.seen.posted += 1;
        }
    }

    /// Asks, and goes before the answer, or in the middle of it.
    async fn leave(&mut self, number: usize) {
        let patience = Duration::from_micros(self.below(2000) as u64);
        let (_, request) = self.prepare(number);
        let connection = self.connection().await;
        let _ = tokio::time::timeout(patience, connection.send(request)).await;
        if !self.is_http2 {
            self.connection = None;
        }
        self.seen.left += 1;
    }

    async fn get(&mut self, number: usize) {
        let (asking, request) = self.prepare(number);
        let sent = self.connection().await.send(request).await;
        let Ok(response) = sent else {
            // A connection that ended with the last answer.
            self.connection = None;
            return;
        };
        let (parts, mut body) = response.into_parts();
        let mut got = Vec::new();
        let mut is_complete = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => got.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Err(_) => is_complete = false,
            }
            if !is_complete {
                self.connection = None;
                break;
            }
        }
        self.check(asking, &Response::from_parts(parts, got), is_complete);
    }

    /// A request, and what is known of its answer before it is sent.
    fn prepare(&mut self, number: usize) -> (Asking, Request<Full<Bytes>>) {
        let least = self.world.least_through(self.proxy, number);
        let chosen_by = World::kind(number).chosen_by();
        let variant = match chosen_by {
            Some("accept-encoding") => ["gzip", "br", ""][self.below(3)].to_owned(),
            Some(_) => format!("user{}", self.below(4)),
            None => String::new(),
        };
        let mut asking = Asking {
            number,
            least,
            is_head: self.below(12) == 0,
            held: None,
            range: None,
            variant,
        };
        let method = if asking.is_head { "HEAD" } else { "GET" };
        let mut request = self.request(method, number);
        if let (Some(name), false) = (chosen_by, asking.variant.is_empty()) {
            request = request.header(name, &asking.variant);
        }
        let held = self.held.get(&(number, asking.variant.clone())).cloned();
        match (self.below(10), held) {
            (0..=2, Some(held)) => {
                request = request.header("if-none-match", &held);
                asking.held = Some(held);
            }
            (3..=5, held) => {
                let first = self.below(3000);
                let last = first + self.below(3000);
                request = request.header("range", format!("bytes={first}-{last}"));
                asking.range = Some((first, last));
                if let (Some(held), 0) = (held, self.below(3)) {
                    request = request.header("if-range", &held);
                    asking.held = Some(held);
                }
            }
            (6, _) => request = request.header("cache-control", "no-cache"),
            _ => {}
        }
        (asking, request.body(Full::default()).unwrap())
    }

    fn check(&mut self, asking: Asking, answer: &Response<Vec<u8>>, is_complete: bool) {
        let number = asking.number;
        let kind = World::kind(number);
        let status = answer.status().as_u16();
        let field = |name: &str| Some(answer.headers().get(name)?.to_str().unwrap());
        let place = || {
            let (variant, headers) = (&asking.variant, answer.headers());
            format!(
                "{kind:?} {number} {variant:?}, at least {}: {status} {headers:?}",
                asking.least
            )
        };
        if status == 502 {
            assert_eq!(kind, Kind::Breaking, "{}", place());
            assert!(answer.body().starts_with(b"{\"") || asking.is_head);
            self.seen.broken += 1;
            return;
        }
        let newest = self.world.version(number);
        if status == 416 {
            let (first, _) = asking.range.expect("a range was asked for");
            let ends_before = (asking.least..=newest).any(|version| {
                let length = content(number, &asking.variant, version).len();
                first >= length && field("content-range") == Some(&*format!("bytes */{length}"))
            });
            assert!(ends_before, "{}", place());
            return;
        }
        let tag = field("etag").unwrap_or_else(|| panic!("no tag: {}", place()));
        // A tag of somebody else's variant has none of these.
        let version = version_in(tag, number, &asking.variant);
        let version = version.unwrap_or_else(|| panic!("another one's: {}", place()));
        assert!(version >= asking.least, "older than was told: {}", place());
        assert!(version <= newest, "from the future: {}", place());
        let whole = content(number, &asking.variant, version);

        if !is_complete {
            assert_eq!(kind, Kind::Breaking, "cut short: {}", place());
            assert!(whole.starts_with(answer.body()), "{}", place());
            self.seen.broken += 1;
            return;
        }
        match status {
            304 => {
                assert_eq!(asking.held.as_deref(), Some(tag), "{}", place());
                assert!(answer.body().is_empty());
                self.seen.confirmed += 1;
            }
            206 => {
                let (first, last) = asking.range.expect("a range was asked for");
                let last = last.min(whole.len() - 1);
                let said = format!("bytes {first}-{last}/{}", whole.len());
                assert_eq!(field("content-range"), Some(&*said), "{}", place());
                assert!(asking.held.is_none_or(|held| held == tag));
                if !asking.is_head {
                    assert!(answer.body() == &whole[first..=last], "{said}");
                }
                self.seen.parts += 1;
            }
            200 if asking.is_head => {
                let length = whole.len().to_string();
                let said = field("content-length");
                assert!(said.is_none_or(|said| said == length), "{}", place());
                self.seen.heads += 1;
            }
            200 => {
                assert!(answer.body() == &whole, "{}", place());
                self.seen.whole += 1;
            }
            _ => panic!("{}", place()),
        }
        if field("cache-status").is_some_and(|said| said.contains("larder; hit")) {
            let own = matches!(kind, Kind::Unstored | Kind::Authorized | Kind::Private);
            assert!(!own, "not to be stored: {}", place());
            self.seen.hits += 1;
        }
        let tag = tag.to_owned();
        self.held.insert((number, asking.variant), tag);
    }
}
