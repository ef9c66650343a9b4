//! Leases: of many processes that miss, one makes the response.
//!
//! ```text
//! miss ─► take ─┬─ mine ──────► make, renewing; store; release
//!               ├─ another's ─► poll the entry, 5 to 40 ms apart, until it is there,
//!               │               the lease is free, or the deadline has passed
//!               └─ no answer ─► make, as if there were no leases
//! ```
//!
//! A lease saves work and promises nothing: two holders cost one call too many, and whether a
//! response holds is for the clock to say. So it can be short, and a holder that dies delays the
//! others by no more than its rest.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::driver::Driver;
use crate::redis::{NoAnswer, Script};

static LEASE: Script = Script::new(include_str!("lease.lua"));

/// How long a lease lasts that its holder does not renew.
const LASTS: Duration = Duration::from_millis(1500);
/// Between two looks at the entry.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(40));

/// Who makes the response.
pub(crate) enum Taken {
    Mine(Lease),
    /// For this long, unless it is renewed.
    Theirs(Duration),
    /// Nobody knows: make it.
    Unknown,
}

/// The right to make a response. Dropped, it is released in the background.
pub(crate) struct Lease {
    driver: Arc<Driver>,
    key: Vec<u8>,
    token: Vec<u8>,
    renewal: AbortHandle,
}

/// Asks for a lease, within what is left of the request's deadline.
pub(crate) async fn take(driver: &Arc<Driver>, key: Vec<u8>, limit: Duration) -> Taken {
    let Ok(runtime) = Handle::try_current() else {
        return Taken::Unknown;
    };
    let random = || RandomState::new().hash_one(0).to_be_bytes();
    let token = [random(), random()].concat();
    match ask(driver, b"take", &key, &token, limit).await {
        Ok(1) => {
            let (renewed, key_too, token_too) =
                (Arc::downgrade(driver), key.clone(), token.clone());
            let renewal = runtime.spawn(async move {
                loop {
                    tokio::time::sleep(LASTS / 3).await;
                    let Some(driver) = renewed.upgrade() else {
                        return;
                    };
                    // One that was lost is not fought for.
                    if let Ok(answer) =
                        ask(&driver, b"renew", &key_too, &token_too, LASTS / 3).await
                    {
                        if answer != 1 {
                            return;
                        }
                    }
                }
            });
            Taken::Mine(Lease {
                driver: Arc::clone(driver),
                key,
                token,
                renewal: renewal.abort_handle(),
            })
        }
        Ok(left) => Taken::Theirs(Duration::from_millis(left.unsigned_abs())),
        // It may have been carried out all the same, and then it ends by itself.
        Err(_) => Taken::Unknown,
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        let (driver, key) = (Arc::clone(&self.driver), std::mem::take(&mut self.key));
        let token = std::mem::take(&mut self.token);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = ask(&driver, b"release", &key, &token, LASTS / 3).await;
            });
        }
    }
}

/// The pauses between the looks of one that waits: doubling, and never in step with the others.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    let mut pause = POLL.0;
    std::iter::from_fn(move || {
        let jitter = RandomState::new().hash_one(0) % 1000;
        let this = pause + pause.mul_f64(jitter as f64 / 2000.0);
        pause = (pause * 2).min(POLL.1);
        Some(this)
    })
}

async fn ask(
    driver: &Driver,
    what: &[u8],
    key: &[u8],
    token: &[u8],
    limit: Duration,
) -> Result<i64, NoAnswer> {
    let lasts = LASTS.as_millis().to_string();
    let args = [what, token, lasts.as_bytes()];
    match driver.redis().script(&LEASE, &[key], &args, limit).await? {
        Value::Int(answer) => Ok(answer),
        other => Err(NoAnswer::Refused(format!("a lease answered {other:?}"))),
    }
}
