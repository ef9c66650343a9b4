//! What the environment says.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use crate::webhooks::Secret;

/// The settings, checked: a service that cannot do what it was told says so and does not start.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) redis_url: Option<String>,
    pub(crate) origin_delay: Duration,
    pub(crate) webhook_secret: Secret,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let listen = variable("LISTEN", "127.0.0.1:3000");
        let delay = variable("ORIGIN_DELAY_MS", "50");
        let redis_url = variable("REDIS_URL", "");
        Ok(Self {
            listen: listen
                .parse()
                .map_err(|_| format!("LISTEN is an address and a port, not `{listen}`"))?,
            redis_url: (!redis_url.is_empty()).then_some(redis_url),
            origin_delay: delay
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| format!("ORIGIN_DELAY_MS is a whole number, not `{delay}`"))?,
            webhook_secret: Secret::new(&variable("WEBHOOK_SECRET", "")),
        })
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
