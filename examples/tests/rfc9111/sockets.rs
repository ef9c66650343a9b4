//! The proxy on sockets: before it a client, and behind it an origin that says what it is told.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::HeaderMap;
use larder::{Cache, ManualClock, Profile};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};
use crate::connections;
use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::script::{Asked, Heard, Player, Said};
use crate::scripted_origin::{self, Then};

/// An origin for row after row.
pub(crate) struct Behind {
    origin: scripted_origin::Origin,
    script: Arc<Mutex<Script>>,
}

/// What the origin is to answer, and what it was asked.
#[derive(Default)]
struct Script {
    clock: Option<ManualClock>,
    calls: usize,
    answers: VecDeque<Said>,
    asked: Vec<Asked>,
}

impl Behind {
    pub(crate) fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let told = Arc::clone(&script);
        let origin = scripted_origin::Origin::start(move |asked, stream| {
            let (said, number) = told.lock().unwrap().next(asked);
            let Some(said) = said.filter(|said| said.words[0] != "error") else {
                return Ok(Then::Close);
            };
            let is_head = asked.line().starts_with("HEAD ");
            stream.write_all(&written(&said, number, is_head))?;
            Ok(match said.is("cut") || said.is("open") {
                true => Then::Close,
                false => Then::Keep,
            })
        });
        Self { origin, script }
    }
}

impl Script {
    fn next(&mut self, asked: &scripted_origin::Asked) -> (Option<Said>, usize) {
        self.calls += 1;
        self.asked.push(Asked {
            method: asked.line().split(' ').next().unwrap().to_owned(),
            fields: fields(
                asked
                    .head
                    .lines()
                    .skip(1)
                    .filter_map(|l| l.split_once(": ")),
            ),
            content: String::from_utf8(asked.body.clone()).unwrap(),
        });
        let said = self.answers.pop_front();
        if let (Some(clock), Some(said)) = (&self.clock, &said) {
            clock.advance(Duration::from_secs(said.takes()));
        }
        (said, self.calls)
    }
}

/// An answer as it goes over the wire. Its content is of the length it has, unless it says another one.
fn written(said: &Said, number: usize, is_head: bool) -> Vec<u8> {
    let mut head = Vec::new();
    for (status, name, value) in said.interim() {
        head.extend(format!("HTTP/1.1 {status} Interim\r\n{name}: ").into_bytes());
        head.extend(value.as_bytes());
        head.extend(b"\r\n\r\n");
    }
    let fields = said.fields();
    head.extend(format!("HTTP/1.1 {} Said\r\n", said.words[0]).into_bytes());
    for (name, value) in &fields {
        head.extend(format!("{name}: ").into_bytes());
        head.extend(value.as_bytes());
        head.extend(b"\r\n");
    }
    let content = said
        .body()
        .map_or_else(|| number.to_string(), str::to_owned);
    let has_content = !matches!(said.status(), 204 | 304) && !is_head;
    let says_length = fields.contains_key("content-length") || said.is("open");
    if has_content && !says_length {
        // One that breaks off was to be longer.
        let length = content.len() + usize::from(said.is("cut"));
        head.extend(format!("content-length: {length}\r\n").into_bytes());
    }
    head.extend(b"\r\n");
    if has_content {
        head.extend(content.into_bytes());
    }
    head
}

pub(crate) struct OverSockets {
    cache: Cache,
    script: Arc<Mutex<Script>>,
    proxy: JoinHandle<bool>,
    address: String,
    /// Kept from exchange to exchange.
    client: Option<Client>,
    /// How many responses were stored before the exchange.
    stored: u64,
}

impl OverSockets {
    /// A proxy of its own, whose cache has this clock.
    pub(crate) async fn start(behind: &Behind, clock: &ManualClock) -> Self {
        *behind.script.lock().unwrap() = Script {
            clock: Some(clock.clone()),
            ..Script::default()
        };
        let cache = Cache::builder().clock(clock.clock()).build().unwrap();
        let authority: hyper::http::uri::Authority = behind
            .origin
            .url()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        let origin = Origin::new(authority.clone(), Duration::from_secs(20));
        let proxy = Proxy::new(&cache, Profile::Rfc9111, authority, origin);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = connections::serve(listener, proxy, std::future::pending());
        Self {
            cache,
            script: Arc::clone(&behind.script),
            proxy: tokio::spawn(serving),
            address,
            client: None,
            stored: 0,
        }
    }
}

impl Drop for OverSockets {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

impl Player for OverSockets {
    async fn play(&mut self, asked: &Said, said: Option<&Said>) -> Heard {
        self.script.lock().unwrap().answers = said.into_iter().cloned().collect();
        self.stored = self.cache.stats().stored;
        let mut client = self
            .client
            .take()
            .unwrap_or_else(|| Client::open(&self.address));
        let is_head = asked.words[0] == "HEAD";
        client.send(request(asked));
        let mut interim = Vec::new();
        let answer = loop {
            let answer = if is_head {
                client.head()
            } else {
                client.answer()
            };
            match answer.status {
                100..=199 => interim.push((answer.status, answer_fields(&answer))),
                _ => break answer,
            }
        };
        if answer.complete && answer.field("connection") != Some("close") {
            self.client = Some(client);
        }
        Heard {
            status: Some(answer.status),
            fields: answer_fields(&answer),
            body: String::from_utf8(answer.body).unwrap(),
            complete: answer.complete,
            interim,
        }
    }

    /// Until what the origin says is stored, where it can be.
    async fn settle(&mut self, said: &Said) {
        let fails = said.words[0] == "error" || said.status() >= 500;
        assert!(!fails, "from outside nobody can tell when it has failed");
        for _ in 0..1000 {
            if self.cache.stats().stored > self.stored {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn forwarded(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }
}

/// A request as it goes over the wire.
fn request(asked: &Said) -> Vec<u8> {
    let (method, target) = (
        &asked.words[0],
        asked.words.get(1).map_or("/", String::as_str),
    );
    let fields = asked.fields();
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !fields.contains_key("host") {
        head.push_str("host: a.test\r\n");
    }
    if asked.body().is_some() || ["POST", "PUT", "PATCH", "QUERY"].contains(&method.as_str()) {
        let length = asked.body().unwrap_or_default().len();
        let _ = write!(head, "content-length: {length}\r\n");
    }
    let mut head = head.into_bytes();
    for (name, value) in &fields {
        head.extend(format!("{name}: ").into_bytes());
        head.extend(value.as_bytes());
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    head.extend(asked.body().unwrap_or_default().bytes());
    head
}

fn answer_fields(answer: &Answer) -> HeaderMap {
    fields(
        answer
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

/// Fields as they were read, each byte a character of the same number.
fn fields<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let bytes = |value: &str| value.chars().map(|c| c as u8).collect::<Vec<u8>>();
    lines
        .map(|(name, value)| (name.parse().unwrap(), bytes(value).try_into().unwrap()))
        .collect::<Vec<(hyper::header::HeaderName, hyper::header::HeaderValue)>>()
        .into_iter()
        .collect()
}
