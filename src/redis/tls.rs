//! Encryption, or the refusal of it where the feature `redis-tls` is off.

use std::fmt;

use redis::{Client, ConnectionInfo, RedisResult};

use crate::error::ConfigError;

#[cfg(feature = "redis-tls")]
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Whom to trust, and who we are. `Debug` does not print the key.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) roots: Option<Vec<u8>>,
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("roots", &self.roots.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

impl Certificates {
    pub(crate) fn validate(&self, tls: bool) -> Result<(), ConfigError> {
        if !tls && (self.roots.is_some() || self.client.is_some()) {
            return Err(ConfigError::new(
                "there are certificates for a connection that is not encrypted",
                "`rediss://..`",
            ));
        }
        if tls {
            self.usable()?;
        }
        Ok(())
    }

    #[cfg(not(feature = "redis-tls"))]
    fn usable(&self) -> Result<(), ConfigError> {
        Err(ConfigError::new(
            "`rediss://` needs a feature of this crate that is not enabled",
            "`larder = { version = \"0.1\", features = [\"redis-tls\"] }`",
        ))
    }

    #[cfg(feature = "redis-tls")]
    fn usable(&self) -> Result<(), ConfigError> {
        let nowhere = redis::ConnectionAddr::TcpTls {
            host: "localhost".to_owned(),
            port: 6379,
            insecure: false,
            tls_params: None,
        };
        let unreadable = |why: &str| {
            ConfigError::new(
                format!("a certificate or its key cannot be read: {why}"),
                "`.root_certificates(std::fs::read(\"ca.pem\")?)`, the bytes of a PEM file",
            )
        };
        // A file without certificates reads as one that trusts nobody.
        let roots = self.roots.as_deref();
        if roots.is_some_and(|roots| !roots.windows(BEGIN.len()).any(|part| part == BEGIN)) {
            return Err(unreadable("there is none"));
        }
        let client = Client::build_with_tls(nowhere, self.as_pem());
        client
            .map(drop)
            .map_err(|error| unreadable(&error.to_string()))
    }

    #[cfg(feature = "redis-tls")]
    fn as_pem(&self) -> redis::TlsCertificates {
        let client = self.client.clone();
        redis::TlsCertificates {
            client_tls: client.map(|(client_cert, client_key)| redis::ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.roots.clone(),
        }
    }

    /// A client for a server, encrypted if `tls`.
    #[cfg(feature = "redis-tls")]
    pub(crate) fn client(&self, server: ConnectionInfo, tls: bool) -> RedisResult<Client> {
        if !tls {
            return Client::open(server);
        }
        // rustls panics when it has to choose and cannot. An application's own choice, made before
        // the first connection, stands.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let ring = rustls::crypto::ring::default_provider();
            // An error means that somebody else was faster.
            let _ = ring.install_default();
        }
        Client::build_with_tls(server, self.as_pem())
    }

    #[cfg(not(feature = "redis-tls"))]
    pub(crate) fn client(&self, server: ConnectionInfo, _: bool) -> RedisResult<Client> {
        Client::open(server)
    }
}
