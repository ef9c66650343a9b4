//! What the environment says.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use larder::Quota;

use crate::webhooks::Secret;

/// The settings, checked: a service that cannot do what it was told says so and does not start.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) redis_url: Option<String>,
    pub(crate) origin_delay: Duration,
    pub(crate) webhook_secret: Secret,
    /// Of `/protected`, for each address.
    pub(crate) quota: Quota,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let listen = variable("LISTEN", "127.0.0.1:3000");
        let delay = variable("ORIGIN_DELAY_MS", "50");
        let redis_url = variable("REDIS_URL", "");
        let limit = variable("LIMIT", "120");
        let count = limit
            .parse()
            .map_err(|_| format!("LIMIT is a whole number, not `{limit}`"))?;
        let period = variable("LIMIT_PERIOD_MS", "60000");
        let period = period
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| format!("LIMIT_PERIOD_MS is a whole number, not `{period}`"))?;
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
            quota: Quota::new(count, period),
        })
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
