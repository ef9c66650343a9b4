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
    pub(crate) redis_deadline: Duration,
    pub(crate) origin_delay: Duration,
    pub(crate) webhook_secret: Secret,
    /// Of `/protected`, for each address.
    pub(crate) quota: Quota,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, String> {
        let listen = variable("LISTEN", "127.0.0.1:3000");
        let redis_url = variable("REDIS_URL", "");
        let limit = whole_number("LIMIT", "120")?;
        let period = milliseconds("LIMIT_PERIOD_MS", "60000")?;
        Ok(Self {
            listen: listen
                .parse()
                .map_err(|_| format!("LISTEN is an address and a port, not `{listen}`"))?,
            redis_url: (!redis_url.is_empty()).then_some(redis_url),
            redis_deadline: milliseconds("REDIS_DEADLINE_MS", "50")?,
            origin_delay: milliseconds("ORIGIN_DELAY_MS", "50")?,
            webhook_secret: Secret::new(&variable("WEBHOOK_SECRET", "")),
            quota: Quota::new(limit, period),
        })
    }
}

fn milliseconds(name: &str, default: &str) -> Result<Duration, String> {
    whole_number(name, default).map(Duration::from_millis)
}

fn whole_number(name: &str, default: &str) -> Result<u64, String> {
    let value = variable(name, default);
    let number = value.parse();
    number.map_err(|_| format!("{name} is a whole number, not `{value}`"))
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
