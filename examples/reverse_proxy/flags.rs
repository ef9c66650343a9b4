//! What the command line says.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::http::uri::{Authority, Scheme, Uri};

pub(crate) const USAGE: &str = "\
usage: reverse_proxy --origin http://HOST:PORT [option ..]

  --origin URL     where requests go: scheme http, host and port
  --listen A:P     where to listen; 127.0.0.1:8080 by default, port 0 takes a free one
  --redis URL      shares stored responses with other proxies, redis://127.0.0.1:6379;
                   none by default: in memory alone
  --profile NAME   safe (default), or rfc9111: all that RFC 9111 lets a shared cache do
  --timeout SECS   how long the origin may take to begin its answer; 30 by default";

pub(crate) struct Flags {
    pub(crate) listen: SocketAddr,
    pub(crate) origin: Authority,
    pub(crate) redis: Option<String>,
    pub(crate) profile: Profile,
    pub(crate) timeout: Duration,
}

/// How much the cache dares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What is safe for an origin that never thought of caches.
    Safe,
    /// What is allowed for one that knows RFC 9111.
    Rfc9111,
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
        let mut origin = None;
        let mut flags = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            origin: Authority::from_static("localhost"),
            redis: None,
            profile: Profile::Safe,
            timeout: Duration::from_secs(30),
        };
        while let Some(flag) = words.next() {
            let mut value = || {
                let missing = || Refusal::Mistake(format!("{flag} needs a value"));
                words.next().ok_or_else(missing)
            };
            let mistake = |problem: &str| Refusal::Mistake(format!("{flag}: {problem}"));
            match flag.as_str() {
                "--origin" => origin = Some(authority(&value()?).map_err(mistake)?),
                "--listen" => {
                    let address = value()?.parse();
                    flags.listen = address
                        .map_err(|_| mistake("not an address and a port: 127.0.0.1:8080"))?;
                }
                "--redis" => flags.redis = Some(value()?),
                "--profile" => {
                    flags.profile = match value()?.as_str() {
                        "safe" => Profile::Safe,
                        "rfc9111" => Profile::Rfc9111,
                        _ => return Err(mistake("there are two: safe, rfc9111")),
                    }
                }
                "--timeout" => {
                    let seconds = value()?.parse().ok().filter(|seconds| *seconds > 0);
                    let seconds = seconds.ok_or_else(|| mistake("not a number of seconds: 30"))?;
                    flags.timeout = Duration::from_secs(seconds);
                }
                "--help" | "-h" => return Err(Refusal::HelpWanted),
                _ => return Err(Refusal::Mistake(format!("{flag}: no such flag"))),
            }
        }
        flags.origin = origin
            .ok_or_else(|| Refusal::Mistake("--origin is needed: http://HOST:PORT".into()))?;
        Ok(flags)
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
