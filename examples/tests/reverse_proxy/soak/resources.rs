//! What there is at the origin, and what it says of it. Content follows from the resource, its variant and its version
//! alone, so that whoever gets it can tell whether it is right.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::origin::{Asked, Origin, Then};

/// How many there are of each [`Kind`].
const OF_EACH: usize = 4;
const KINDS: [Kind; 8] = [
    Kind::Plain,
    Kind::Brief,
    Kind::Coded,
    Kind::Unstored,
    Kind::Authorized,
    Kind::Private,
    Kind::PerCookie,
    Kind::Breaking,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fresh for a minute; some answer ranges by themselves.
    Plain,
    /// Fresh for a second.
    Brief,
    /// Varies on `Accept-Encoding`.
    Coded,
    /// `no-store`.
    Unstored,
    /// Each user's own, which nothing but their `Authorization` says.
    Authorized,
    /// Each user's own, by cookie, and `private`.
    Private,
    /// Each user's own, by cookie, and varies on it.
    PerCookie,
    /// Breaks off, or answers nonsense, every other time.
    Breaking,
}

impl Kind {
    /// The field by which its variants are chosen.
    pub const fn chosen_by(self) -> Option<&'static str> {
        match self {
            Self::Coded => Some("accept-encoding"),
            Self::Authorized => Some("authorization"),
            Self::Private | Self::PerCookie => Some("cookie"),
            Self::Plain | Self::Brief | Self::Unstored | Self::Breaking => None,
        }
    }

    const fn fields(self) -> &'static str {
        match self {
            Self::Plain | Self::Authorized | Self::Breaking => "Cache-Control: max-age=60\r\n",
            Self::Brief => "Cache-Control: max-age=1\r\n",
            Self::Coded => "Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n",
            Self::Unstored => "Cache-Control: no-store\r\n",
            Self::Private => "Cache-Control: private, max-age=60\r\n",
            Self::PerCookie => "Cache-Control: max-age=60\r\nVary: Cookie\r\n",
        }
    }
}

pub struct World {
    origin: Origin,
    versions: Arc<Vec<AtomicU64>>,
    /// For each of two proxies and each resource, the newest version that was told to be there.
    told: [Vec<AtomicU64>; 2],
}

impl World {
    pub fn start() -> Arc<Self> {
        let versions = (0..KINDS.len() * OF_EACH).map(|_| AtomicU64::new(1));
        let versions: Arc<Vec<_>> = Arc::new(versions.collect());
        let state = Arc::clone(&versions);
        let turns = AtomicU64::new(0);
        let origin = Origin::start(move |asked, stream| {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            answer(&state, turn, asked, stream)
        });
        let told = [(); 2].map(|()| versions.iter().map(|_| AtomicU64::new(1)).collect());
        Arc::new(Self {
            origin,
            versions,
            told,
        })
    }

    pub fn url(&self) -> String {
        self.origin.url()
    }

    pub fn forget_requests(&self) {
        self.origin.forget();
    }

    pub fn count(&self) -> usize {
        self.versions.len()
    }

    pub fn kind(number: usize) -> Kind {
        KINDS[number % KINDS.len()]
    }

    /// The newest version: no answer may be newer.
    pub fn version(&self, number: usize) -> u64 {
        self.versions[number].load(Ordering::SeqCst)
    }

    /// A POST through this proxy was answered with the version that it made.
    pub fn changed_through(&self, proxy: usize, number: usize, version: u64) {
        self.told[proxy][number].fetch_max(version, Ordering::SeqCst);
    }

    /// The oldest version that a request may be answered with that is sent to this proxy now.
    pub fn least_through(&self, proxy: usize, number: usize) -> u64 {
        self.told[proxy][number].load(Ordering::SeqCst)
    }

    pub fn targets_of_public_resources(&self) -> Vec<String> {
        let public = |number: &usize| matches!(Self::kind(*number), Kind::Plain | Kind::Brief);
        let numbers = (0..self.count()).filter(public);
        numbers.map(|number| format!("/{number}")).collect()
    }

    pub fn is_current(&self, target: &str, body: &[u8]) -> bool {
        let number = target[1..].parse().unwrap();
        body == content(number, "", self.version(number))
    }
}

/// The bytes of one version of one variant: from none to many.
pub fn content(number: usize, variant: &str, version: u64) -> Vec<u8> {
    let seed = format!("{number} {variant} {version}");
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let length = match state % 50 {
        0 => 0,
        1 => 300_000,
        _ => state % 6000,
    };
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// Says which bytes they are, so that a part can be compared too.
pub fn tag(number: usize, variant: &str, version: u64) -> String {
    format!("\"{number} {variant} {version}\"")
}

/// The version that a tag of this variant tells.
pub fn version_in(tag: &str, number: usize, variant: &str) -> Option<u64> {
    let rest = tag.strip_prefix(&format!("\"{number} {variant} "))?;
    rest.strip_suffix('"')?.parse().ok()
}

fn answer(
    versions: &[AtomicU64],
    turn: u64,
    asked: &Asked,
    stream: &mut TcpStream,
) -> io::Result<Then> {
    let number: usize = asked.target()[1..].parse().map_err(io::Error::other)?;
    let kind = World::kind(number);
    if asked.line().starts_with("POST ") {
        let version = versions[number].fetch_add(1, Ordering::SeqCst) + 1;
        let text = version.to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
        return Ok(Then::Keep);
    }
    let version = versions[number].load(Ordering::SeqCst);
    let variant = kind.chosen_by().and_then(|name| asked.fields(name).next());
    let variant = variant.unwrap_or_default();
    let tag = tag(number, variant, version);
    let fields = format!("{}ETag: {tag}\r\n", kind.fields());
    if asked
        .fields("if-none-match")
        .any(|held| held.contains(&tag))
    {
        write!(stream, "HTTP/1.1 304 Not Modified\r\n{fields}\r\n")?;
        return Ok(Then::Keep);
    }
    let content = content(number, variant, version);
    let is_head = asked.line().starts_with("HEAD ");
    if kind == Kind::Breaking && !is_head {
        return break_off(turn, &fields, &content, stream);
    }
    let range = asked.fields("range").next().and_then(|text| {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // Some know no ranges, and then the whole is right.
        let known = number < KINDS.len() * OF_EACH / 2 && !asked.has("if-range");
        (known && first < content.len()).then(|| first..content.len().min(last + 1))
    });
    let (status, part) = match range {
        Some(range) => {
            let said = format!(
                "206 Partial Content\r\nContent-Range: bytes {}-{}/{}",
                range.start,
                range.end - 1,
                content.len()
            );
            (said, &content[range])
        }
        None => ("200 OK".to_owned(), &content[..]),
    };
    let length = part.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n"
    )?;
    if !is_head {
        stream.write_all(part)?;
    }
    Ok(Then::Keep)
}

const EVIL: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nevil";

/// Answers in one of several ways, two of which are right.
fn break_off(turn: u64, fields: &str, content: &[u8], stream: &mut TcpStream) -> io::Result<Then> {
    let length = content.len();
    let half = &content[..length / 2];
    match turn % 9 {
        0 => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
                length + 1
            )?;
            stream.write_all(content)?;
        }
        1 => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
            )?;
            write!(stream, "{:x}\r\n", length + 1)?;
            stream.write_all(half)?;
        }
        2 => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
            )?;
            if !half.is_empty() {
                write!(stream, "{:x}\r\n", half.len())?;
                stream.write_all(half)?;
            }
            stream.write_all(b"\r\nnonsense\r\n")?;
        }
        3 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-")?,
        4 => stream.write_all(b"nonsense\r\n\r\n")?,
        5 => {}
        // With what somebody may take for the answer to the next request. In one piece: what comes when that
        // request is under way, nobody can tell from its answer.
        6 if length < 6000 => {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
            let mut said = head.into_bytes();
            said.extend_from_slice(content);
            said.extend_from_slice(EVIL);
            stream.write_all(&said)?;
            return Ok(Then::Keep);
        }
        7 => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"
            )?;
            stream.write_all(half)?;
        }
        _ => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"
            )?;
            stream.write_all(content)?;
            return Ok(Then::Keep);
        }
    }
    Ok(Then::Close)
}
