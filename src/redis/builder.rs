//! The setters of a handle.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::address::Address;
use super::handle::Redis;
use super::settings::Settings;
use super::tls::Certificates;
use crate::clock::Clock;
use crate::error::ConfigError;

/// Settings for a [`Redis`] handle. None of them connects.
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisBuilder {
    url: Url,
    deadline: Duration,
    connect_timeout: Duration,
    connections: usize,
    in_flight: usize,
    prefix: String,
    certificates: Certificates,
    clock: Clock,
}

/// A URL that may hold a password.
#[derive(Clone)]
struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl RedisBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: Url(url.to_owned()),
            deadline: Duration::from_millis(50),
            connect_timeout: Duration::from_millis(500),
            connections: 2,
            in_flight: 256,
            prefix: "larder".to_owned(),
            certificates: Certificates::default(),
            clock: Clock::system(),
        }
    }

    /// How long a request may wait for Redis, all that it asks taken together. Default: 50 ms.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long an attempt to connect may take; no request waits for one. Default: 500 ms.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many connections each server gets. Calls share them, so a second one is only there for
    /// those who would wait behind a large answer. Default: 2.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How many calls may be under way at once; beyond it, Redis is not asked. Default: 256.
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.in_flight = calls;
        self
    }

    /// What all keys and channels in Redis begin with: services with the same prefix share their
    /// invalidations. Default: `larder`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The certificates, as PEM, of the authorities that a `rediss://` server's certificate is
    /// checked against. Default: the public ones (webpki-roots).
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.roots = Some(pem.into());
        self
    }

    /// The certificate and the private key, as PEM, by which a `rediss://` server knows this client.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// Where the handle takes the time from; for tests. Deadlines and reconnects follow the system's
    /// clock nevertheless. Default: the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the handle. It does not connect.
    ///
    /// # Errors
    ///
    /// If the URL means nothing, a bound is zero, the prefix cannot be one, or encryption is asked
    /// for without the feature `redis-tls`; the error says what to write instead.
    pub fn build(self) -> Result<Redis, ConfigError> {
        let address = Address::parse(&self.url.0)?;
        self.validate()?;
        self.certificates.validate(address.tls)?;
        Ok(Redis::new(Settings {
            address,
            deadline: self.deadline,
            connect_timeout: self.connect_timeout,
            connections: self.connections,
            in_flight: self.in_flight,
            prefix: self.prefix,
            certificates: self.certificates,
            clock: self.clock,
            sentinel: AtomicUsize::new(0),
        }))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let zero = [
            (
                self.deadline.is_zero(),
                "a deadline of zero",
                "`.deadline(Duration::from_millis(50))`",
            ),
            (
                self.connect_timeout.is_zero(),
                "a connect timeout of zero",
                "`.connect_timeout(Duration::from_millis(500))`",
            ),
            (self.connections == 0, "no connection", "`.connections(2)`"),
            (
                self.in_flight == 0,
                "no call under way",
                "`.in_flight(256)`",
            ),
        ];
        for (is_zero, what, instead) in zero {
            if is_zero {
                return Err(ConfigError::new(
                    format!("with {what}, Redis would never answer"),
                    instead,
                ));
            }
        }
        // A colon ends the prefix in a key, and braces say which slot of a Cluster a key is in.
        let fits = |c: char| c.is_ascii_graphic() && !":{}".contains(c);
        let length = self.prefix.len();
        if length == 0 || length > 64 || !self.prefix.chars().all(fits) {
            return Err(ConfigError::new(
                "a prefix is 1 to 64 printable ASCII characters, without `:`, `{` and `}`",
                "`.prefix(\"shop\")`",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_could_never_work_are_refused_while_building() {
        let builder = || Redis::builder("redis://localhost");
        let refused = [
            Redis::builder("localhost"),
            builder().deadline(Duration::ZERO),
            builder().connect_timeout(Duration::ZERO),
            builder().connections(0),
            builder().in_flight(0),
            builder().prefix(""),
            builder().prefix("a:b"),
            builder().prefix("{a}"),
            builder().prefix("a b"),
            builder().prefix("x".repeat(65)),
            builder().root_certificates("not encrypted, so not needed"),
        ];
        for builder in refused {
            let printed = format!("{builder:?}");
            builder.build().expect_err(&printed);
        }
        builder().prefix("shop-v2").build().unwrap();
    }

    #[test]
    fn a_password_is_never_printed() {
        let builder = Redis::builder("redis://ann:secret@localhost");
        let redis = builder.clone().build().unwrap();
        let printed = format!("{builder:?} {redis:?}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
