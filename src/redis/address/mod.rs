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

mod encoding;

use std::fmt;
use std::path::PathBuf;

use self::encoding::{decode, split, Query};
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

fn number(db: &str) -> Result<i64, ConfigError> {
    let number = db.parse().ok().filter(|db| *db >= 0);
    number.ok_or_else(|| {
        ConfigError::new(
            "the database in the URL is not a number",
            "`redis://host:6379/0`",
        )
    })
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

fn database_twice() -> ConfigError {
    ConfigError::new(
        "the URL names a database twice",
        "the database as the path alone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address in one line: place, login, database, encryption.
    fn line(url: &str) -> String {
        let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let list = |hosts: &[Host]| {
            let hosts: Vec<_> = hosts.iter().map(Host::to_string).collect();
            hosts.join(" ")
        };
        let login = |login: &Login| match (&login.user, &login.password) {
            (None, None) => String::new(),
            (user, password) => format!(
                ", login {}/{}",
                user.as_deref().unwrap_or("-"),
                password.as_deref().unwrap_or("-")
            ),
        };
        let place = match &address.place {
            Place::Single(host) => host.to_string(),
            Place::Socket(path) => format!("socket {}", path.display()),
            Place::Cluster(hosts) => format!("cluster {}", list(hosts)),
            Place::Sentinel {
                sentinels,
                service,
                login: own,
            } => format!("sentinels {}{} for {service}", list(sentinels), login(own)),
        };
        let tls = if address.tls { ", encrypted" } else { "" };
        format!("{place}{}, db {}{tls}", login(&address.login), address.db)
    }

    #[test]
    fn a_url_names_one_server_a_socket_a_cluster_or_a_service() {
        let table = [
            ("redis://localhost", "localhost:6379, db 0"),
            ("redis://10.0.0.1:7000/", "10.0.0.1:7000, db 0"),
            ("rediss://h:1/3", "h:1, db 3, encrypted"),
            ("redis://h?db=3", "h:6379, db 3"),
            ("redis://[::1]:7/2", "[::1]:7, db 2"),
            ("redis://[::1]", "[::1]:6379, db 0"),
            ("redis://:s%40c@h", "h:6379, login -/s@c, db 0"),
            ("redis://ann:s:@c@h", "h:6379, login ann/s:@c, db 0"),
            ("redis://ann@h", "h:6379, login ann/-, db 0"),
            ("redis://a,b:7,c", "cluster a:6379 b:7 c:6379, db 0"),
            ("redis+cluster://a/0", "cluster a:6379, db 0"),
            ("rediss+cluster://a", "cluster a:6379, db 0, encrypted"),
            (
                "redis+unix:///run/my%20r.sock?db=1",
                "socket /run/my r.sock, db 1",
            ),
            (
                "redis+sentinel://a,b:7/m?db=2",
                "sentinels a:26379 b:7 for m, db 2",
            ),
            (
                "rediss+sentinel://u:p@a/m/4?sentinel_user=w&sentinel_password=%26",
                "sentinels a:26379, login w/& for m, login u/p, db 4, encrypted",
            ),
        ];
        for (url, expected) in table {
            assert_eq!(line(url), expected, "{url}");
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
