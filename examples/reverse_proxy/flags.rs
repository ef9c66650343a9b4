//! What the command line says.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::http::uri::{Authority, Scheme, Uri};
use larder::Profile;

pub(crate) const USAGE: &str = "\
usage: reverse_proxy --origin http://HOST:PORT [option ..]

  --origin URL     where requests go: scheme http, host and port
  --listen A:P     where to listen; 127.0.0.1:8080 by default, port 0 takes a free one
  --redis URL      shares stored responses with other proxies, redis://127.0.0.1:6379;
                   none by default: in memory alone
  --memory MIB     what stored responses may take; 64 by default. The longest that is stored is
                   an eighth of it, or with --redis 1 MiB
  --profile NAME   safe (default), or rfc9111: all that RFC 9111 lets a shared cache do
  --timeout SECS   how long the origin may take to begin its answer; 30 by default";

pub(crate) struct Flags {
    pub(crate) listen: SocketAddr,
    pub(crate) origin: Authority,
    pub(crate) redis: Option<String>,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) profile: Profile,
    pub(crate) timeout: Duration,
}

/// Why the program does not start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    HelpWanted,
    /// A flag, and what is wrong with it.
    Mistake(String),
}

impl Flags {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Refusal> {
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut origin = None;
        let mut redis = None;
        let mut memory = 64 << 20;
        let mut profile = Profile::Safe;
        let mut timeout = Duration::from_secs(30);
        while let Some(flag) = words.next() {
            if matches!(flag.as_str(), "--help" | "-h") {
                return Err(Refusal::HelpWanted);
            }
            let mistake = |problem: &str| Refusal::Mistake(format!("{flag}: {problem}"));
            let mut value = || words.next().ok_or_else(|| mistake("needs a value"));
            match flag.as_str() {
                "--listen" => listen = address(&value()?).map_err(mistake)?,
                "--origin" => origin = Some(authority(&value()?).map_err(mistake)?),
                "--redis" => redis = Some(value()?),
                "--memory" => memory = mebibytes(&value()?).map_err(mistake)?,
                "--profile" => profile = self::profile(&value()?).map_err(mistake)?,
                "--timeout" => timeout = seconds(&value()?).map_err(mistake)?,
                _ => return Err(mistake("no such flag")),
            }
        }
        let missing = || Refusal::Mistake("--origin is needed: http://HOST:PORT".to_owned());
        Ok(Self {
            listen,
            origin: origin.ok_or_else(missing)?,
            redis,
            memory,
            profile,
            timeout,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let parsed = text.parse();
    parsed.map_err(|_| "not an address and a port: 127.0.0.1:8080")
}

fn profile(name: &str) -> Result<Profile, &'static str> {
    match name {
        "safe" => Ok(Profile::Safe),
        "rfc9111" => Ok(Profile::Rfc9111),
        _ => Err("there are two: safe, rfc9111"),
    }
}

fn mebibytes(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(mebibytes @ 2..0x1000_0000) => Ok(mebibytes << 20),
        _ => Err("not a number of MiB, two or more: 64"),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("not a number of seconds: 30"),
    }
}

/// The host and port of a URL that says nothing else. A path would have to be put before that of each
/// request, and then no target were forwarded as it came.
fn authority(url: &str) -> Result<Authority, &'static str> {
    const FORM: &str = "not of the form http://HOST:PORT";
    let uri: Uri = url.parse().map_err(|_| FORM)?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => {
            return Err("only origins with cleartext HTTP: http://HOST:PORT");
        }
        _ => return Err(FORM),
    }
    match uri.authority() {
        Some(host)
            if uri.path() == "/" && uri.query().is_none() && !host.as_str().contains('@') =>
        {
            Ok(host.clone())
        }
        _ => Err(FORM),
    }
}
