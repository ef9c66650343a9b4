//! What a Redis URL says, parsed once and without connecting.
//!
//! | URL | what it names |
//! | --- | --- |
//! | `redis://[user:password@]host[:6379][/db]` | one server |
//! | `redis+unix:///run/redis.sock[?db=2]` | one server, behind a socket |
//! | `redis://a,b:6380,c` or `redis+cluster://a` | a Cluster, by some of its nodes |
//! | `redis+sentinel://a,b:26379/service[/db]` | the master of a service that Sentinels watch |
//!
//! With `rediss` in place of `redis` the connections are encrypted. What a user name or a password
//! contains besides letters and digits is percent-encoded. Sentinels that want a login of their own
//! take it from `?sentinel_user=..&sentinel_password=..`.

use std::fmt;
use std::path::PathBuf;

use crate::error::ConfigError;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is and how to log in to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) login: Login,
    pub(crate) db: i64,
    pub(crate) tls: bool,
}

/// Which servers a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Single(Host),
    Socket(PathBuf),
    Cluster(Vec<Host>),
    Sentinel {
        sentinels: Vec<Host>,
        service: String,
        login: Login,
    },
}

/// A host name or IP address, with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// A user and a password. `Debug` does not print the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown_scheme)?;
        let (kind, tls) = Kind::of(scheme)?;
        let (rest, query) = split(rest, '?');
        let mut query = Query::parse(query)?;
        let (authority, path) = split(rest, '/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Login::parse(login)?, hosts),
            None => (Login::default(), authority),
        };
        let (place, db) = match kind {
            Kind::Socket => {
                let path = PathBuf::from(format!("/{}", decode(path)?));
                (Place::Socket(path), None)
            }
            Kind::Sentinel => sentinel(hosts, path, &mut query)?,
            Kind::Server | Kind::Cluster => servers(kind, hosts, path)?,
        };
        let db = match (db, query.take("db")) {
            (Some(_), Some(_)) => return Err(database_twice()),
            (Some(db), None) | (None, Some(db)) => number(&db)?,
            (None, None) => 0,
        };
        query.nothing_left()?;
        if matches!(place, Place::Cluster(_)) && db != 0 {
            return Err(ConfigError::new(
                "a Redis Cluster has no database but 0",
                "the URL without its database",
            ));
        }
        Ok(Self {
            place,
            login,
            db,
            tls,
        })
    }
}

/// What the scheme of a URL says about the servers it names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Socket,
    Cluster,
    Sentinel,
}

impl Kind {
    fn of(scheme: &str) -> Result<(Self, bool), ConfigError> {
        Ok(match scheme {
            "redis" => (Self::Server, false),
            "rediss" => (Self::Server, true),
            "redis+cluster" => (Self::Cluster, false),
            "rediss+cluster" => (Self::Cluster, true),
            "redis+sentinel" => (Self::Sentinel, false),
            "rediss+sentinel" => (Self::Sentinel, true),
            "redis+unix" | "unix" => (Self::Socket, false),
            _ => return Err(unknown_scheme()),
        })
    }
}

type Placed = (Place, Option<String>);

fn servers(kind: Kind, hosts: &str, path: &str) -> Result<Placed, ConfigError> {
    let mut hosts = self::hosts(hosts, REDIS_PORT)?;
    let place = if kind == Kind::Cluster || hosts.len() > 1 {
        Place::Cluster(hosts)
    } else {
        Place::Single(hosts.remove(0))
    };
    Ok((place, (!path.is_empty()).then(|| path.to_owned())))
}

fn sentinel(hosts: &str, path: &str, query: &mut Query) -> Result<Placed, ConfigError> {
    let (service, db) = split(path, '/');
    if service.is_empty() {
        return Err(ConfigError::new(
            "the URL does not say which service the Sentinels watch",
            "`redis+sentinel://host:26379/mymaster`",
        ));
    }
    let place = Place::Sentinel {
        sentinels: self::hosts(hosts, SENTINEL_PORT)?,
        service: decode(service)?,
        login: Login {
            user: query.take("sentinel_user"),
            password: query.take("sentinel_password"),
        },
    };
    Ok((place, (!db.is_empty()).then(|| db.to_owned())))
}

fn hosts(list: &str, port: u16) -> Result<Vec<Host>, ConfigError> {
    list.split(',')
        .map(|host| Host::parse(host, port))
        .collect()
}

impl Host {
    /// `name`, `name:port`, `[v6]` or `[v6]:port`.
    fn parse(host: &str, default: u16) -> Result<Self, ConfigError> {
        let (name, port) = match host.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((name, "")) => (name, None),
                Some((name, port)) => (name, Some(port.strip_prefix(':').unwrap_or("-"))),
                None => return Err(bad_host()),
            },
            None => match host.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (host, None),
            },
        };
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(bad_host)?,
            None => default,
        };
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '[' || c == ']') {
            return Err(bad_host());
        }
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Login {
    fn parse(login: &str) -> Result<Self, ConfigError> {
        let part = |part: &str| match part {
            "" => Ok(None),
            part => decode(part).map(Some),
        };
        let (user, password) = split(login, ':');
        Ok(Self {
            user: part(user)?,
            password: part(password)?,
        })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .finish()
    }
}

/// The pairs of the query; each may be taken once, and all of them must be.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Result<Self, ConfigError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = split(pair, '=');
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(place).1)
    }

    fn nothing_left(self) -> Result<(), ConfigError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ConfigError::new(
                format!("the URL has a parameter that means nothing here, `{name}`"),
                "only `db`, and with Sentinels `sentinel_user` and `sentinel_password`",
            )),
        }
    }
}

fn split(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

fn number(db: &str) -> Result<i64, ConfigError> {
    let number = db.parse().ok().filter(|db| *db >= 0);
    number.ok_or_else(|| {
        ConfigError::new(
            "the database in the URL is not a number",
            "`redis://host:6379/0`",
        )
    })
}

/// Resolves percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(bad_encoding)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad_encoding())
}

// What is wrong is said without quoting the URL: it may hold a password, and errors are logged.

fn unknown_scheme() -> ConfigError {
    ConfigError::new(
        "the URL does not begin with a scheme that means Redis",
        "`redis://host:6379`, `rediss://..`, `redis+sentinel://host:26379/service`, `redis+cluster://..` or `redis+unix://..`",
    )
}

fn bad_host() -> ConfigError {
    ConfigError::new(
        "the URL names a host or a port that cannot be one",
        "`redis://host:6379`, or several hosts with commas in between",
    )
}

fn bad_encoding() -> ConfigError {
    ConfigError::new(
        "the URL is not percent-encoded as it should be",
        "`%25` for `%`, `%40` for `@`, `%3A` for `:` and `%2F` for `/` in user names and passwords",
    )
}

fn database_twice() -> ConfigError {
    ConfigError::new(
        "the URL names a database twice",
        "the database as the path alone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        let name = name.to_owned();
        Host { name, port }
    }

    fn login(user: Option<&str>, password: Option<&str>) -> Login {
        Login {
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
        }
    }

    fn parsed(url: &str) -> (Place, Login, i64, bool) {
        let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        (address.place, address.login, address.db, address.tls)
    }

    #[test]
    fn a_url_names_one_server_a_socket_a_cluster_or_a_service() {
        let none = Login::default;
        let single = |name, port| Place::Single(host(name, port));
        let cluster = |hosts: &[(&str, u16)]| {
            Place::Cluster(hosts.iter().map(|(name, port)| host(name, *port)).collect())
        };
        let service = |hosts: &[(&str, u16)], login| Place::Sentinel {
            sentinels: hosts.iter().map(|(name, port)| host(name, *port)).collect(),
            service: "mymaster".to_owned(),
            login,
        };
        let table = [
            (
                "redis://localhost",
                (single("localhost", 6379), none(), 0, false),
            ),
            (
                "redis://10.0.0.1:7000/",
                (single("10.0.0.1", 7000), none(), 0, false),
            ),
            ("rediss://h:1/3", (single("h", 1), none(), 3, true)),
            ("redis://h?db=3", (single("h", 6379), none(), 3, false)),
            ("redis://[::1]:7/2", (single("::1", 7), none(), 2, false)),
            ("redis://[::1]", (single("::1", 6379), none(), 0, false)),
            (
                "redis://:s%40c@h",
                (single("h", 6379), login(None, Some("s@c")), 0, false),
            ),
            (
                "redis://ann:s:@c@h",
                (
                    single("h", 6379),
                    login(Some("ann"), Some("s:@c")),
                    0,
                    false,
                ),
            ),
            (
                "redis://ann@h",
                (single("h", 6379), login(Some("ann"), None), 0, false),
            ),
            (
                "redis://a,b:7000,c",
                (
                    cluster(&[("a", 6379), ("b", 7000), ("c", 6379)]),
                    none(),
                    0,
                    false,
                ),
            ),
            (
                "redis+cluster://a/0",
                (cluster(&[("a", 6379)]), none(), 0, false),
            ),
            (
                "rediss+cluster://a",
                (cluster(&[("a", 6379)]), none(), 0, true),
            ),
            (
                "redis+unix:///run/my%20redis.sock?db=1",
                (
                    Place::Socket(PathBuf::from("/run/my redis.sock")),
                    none(),
                    1,
                    false,
                ),
            ),
            (
                "redis+sentinel://a,b:7/mymaster?db=2",
                (service(&[("a", 26379), ("b", 7)], none()), none(), 2, false),
            ),
            (
                "rediss+sentinel://u:p@a/mymaster/4?sentinel_user=w&sentinel_password=%26",
                (
                    service(&[("a", 26379)], login(Some("w"), Some("&"))),
                    login(Some("u"), Some("p")),
                    4,
                    true,
                ),
            ),
        ];
        for (url, expected) in table {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_means_nothing_is_refused_without_quoting_it() {
        let refused = [
            "",
            "localhost:6379",
            "http://secret@localhost",
            "redis://",
            "redis://:secret@",
            "redis://secret:0",
            "redis://secret:70000",
            "redis://secret:port",
            "redis://[::1",
            "redis://[::1]7",
            "redis://a,,secret",
            "redis://h/secret",
            "redis://h/-1",
            "redis://h/1?db=1",
            "redis://h?database=secret",
            "redis://u:%zz@secret",
            "redis://u:secret%f",
            "redis://u:%ffsecret@h",
            "redis://a,secret/1",
            "redis+cluster://secret/1",
            "redis+sentinel://secret",
            "redis+sentinel://secret/",
            "redis://h?sentinel_user=secret",
        ];
        for url in refused {
            let error = Address::parse(url).expect_err(url).to_string();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let address = Address::parse("redis://ann:secret@h").unwrap();
        let printed = format!("{address:?}");
        assert!(
            printed.contains("ann") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
