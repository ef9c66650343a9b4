//! Making a set of connections: finding the server, and being sure that it is the right one.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{socket2::TcpKeepalive, TcpSettings};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, Value,
};
use tokio::sync::Notify;

use super::address::{Host, Login, Place};
use super::breaker::Breaker;
use super::call::{Failure, Meaning, Request};
use super::nodes::{Node, Server, Set};
use super::settings::Settings;

/// The channel in front of each connection holds so many calls.
const BUFFER: usize = 512;

impl Settings {
    /// Connects to a node. The set answers, and its server takes writes, but no hook has run yet.
    pub(crate) async fn connect(&self, node: &Arc<Node>) -> Result<Arc<Set>, Failure> {
        let (address, server) = self.find(&node.server).await?;
        let client = self.client(address, &self.address.login, self.address.db)?;
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let mut connection = self.open(&client).await?;
            self.is_master(&mut connection).await?;
            connections.push(connection);
        }
        Ok(Arc::new(Set {
            node: Arc::downgrade(node),
            server,
            client,
            connections: connections.into_boxed_slice(),
            breaker: Breaker::default(),
            gone: Notify::new(),
        }))
    }

    async fn find(&self, server: &Server) -> Result<(ConnectionAddr, String), Failure> {
        let host = match server {
            Server::At(host) => host.clone(),
            Server::Socket(path) => {
                return Ok((
                    ConnectionAddr::Unix(path.clone()),
                    path.display().to_string(),
                ))
            }
            Server::Master => self.master().await?,
        };
        Ok((self.tcp(&host), host.to_string()))
    }

    fn tcp(&self, host: &Host) -> ConnectionAddr {
        let (host, port) = (host.name.clone(), host.port);
        if !self.address.tls {
            return ConnectionAddr::Tcp(host, port);
        }
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    }

    fn client(&self, at: ConnectionAddr, login: &Login, db: i64) -> Result<Client, RedisError> {
        let mut redis = RedisConnectionInfo::default()
            .set_db(db)
            .set_lib_name("larder", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &login.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &login.password {
            redis = redis.set_password(password);
        }
        let server = at.into_connection_info()?;
        let server = server
            .set_redis_settings(redis)
            .set_tcp_settings(tcp_settings());
        self.certificates.client(server, self.address.tls)
    }

    async fn open(&self, client: &Client) -> Result<MultiplexedConnection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFER);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        self.in_time(async { Ok(connection.await?) }).await
    }

    /// Whatever belongs to connecting takes no longer than the connect timeout.
    pub(crate) async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.connect_timeout, step).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(Meaning::Broken, "connecting took too long")),
        }
    }

    /// A server that is loading refuses `PING`, one that follows another tells so in `ROLE`: what is
    /// stored there would be refused, and what is read there may be behind.
    async fn is_master(&self, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        let ping = Request::from(redis::cmd("PING"));
        self.in_time(ping.send(connection)).await?;
        let role = Request::from(redis::cmd("ROLE"));
        let role = match self.in_time(role.send(connection)).await {
            Ok(Value::Array(role)) => role,
            // A user who may not ask is not told; the first READONLY will.
            Err(failure) if failure.meaning == Meaning::Refused => return Ok(()),
            Err(failure) => return Err(failure),
            Ok(_) => return Ok(()),
        };
        match role.first().map(text) {
            Some(Some("slave")) => Err(Failure::new(Meaning::Broken, "it is a replica")),
            Some(Some("sentinel")) => Err(Failure::new(
                Meaning::Broken,
                "it is a Sentinel; `redis+sentinel://host/service` is the URL for it",
            )),
            _ => Ok(()),
        }
    }

    /// Asks the Sentinels, one after the other, who the master is.
    pub(crate) async fn master(&self) -> Result<Host, Failure> {
        let Place::Sentinel {
            sentinels,
            service,
            login,
        } = &self.address.place
        else {
            return Err(Failure::new(Meaning::Refused, "there are no Sentinels"));
        };
        let mut failure = Failure::new(Meaning::Broken, "there are no Sentinels");
        let first = self.sentinel.load(Ordering::Relaxed);
        for turn in 0..sentinels.len() {
            let place = (first + turn) % sentinels.len();
            let sentinel = &sentinels[place];
            match self.ask_sentinel(sentinel, service, login).await {
                Ok(host) => {
                    self.sentinel.store(place, Ordering::Relaxed);
                    return Ok(host);
                }
                Err(why) => failure = Failure::new(why.meaning, format!("{sentinel}: {}", why.why)),
            }
        }
        Err(failure)
    }

    async fn ask_sentinel(
        &self,
        sentinel: &Host,
        service: &str,
        login: &Login,
    ) -> Result<Host, Failure> {
        let client = self.client(self.tcp(sentinel), login, 0)?;
        let mut connection = self.open(&client).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let question = Request::from(question);
        let answer = self.in_time(question.send(&mut connection)).await?;
        let host = match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [name, port] => text(name).zip(self::port(port)),
                _ => None,
            },
            _ => None,
        };
        let host = host.map(|(name, port)| Host {
            name: name.to_owned(),
            port,
        });
        host.ok_or_else(|| Failure::new(Meaning::Broken, "the Sentinel does not know the service"))
    }

    /// Asks some node of a Cluster, by a connection of its own, who has which slots.
    pub(crate) async fn ask_node(&self, host: &Host, question: &Request) -> Result<Value, Failure> {
        let client = self.client(self.tcp(host), &self.address.login, 0)?;
        let mut connection = self.open(&client).await?;
        self.in_time(question.send(&mut connection)).await
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::new(Meaning::Broken, error.to_string())
    }
}

/// A peer that vanished without a word is noticed within seconds, in use or not.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(5));
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let keepalive = keepalive.with_retries(3);
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(2));
    settings
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// A port as Redis tells it: a number, or a text.
pub(crate) fn port(value: &Value) -> Option<u16> {
    match value {
        Value::Int(port) => u16::try_from(*port).ok(),
        port => text(port)?.parse().ok(),
    }
}
