//! A caching reverse proxy: HTTP/1.1 and HTTP/2 (cleartext, by prior knowledge) in, HTTP/1.1 out.
//!
//! ```sh
//! cargo run --example reverse_proxy -- --origin http://127.0.0.1:3000
//! curl -i http://127.0.0.1:8080/    # twice, and see Cache-Status
//! ```
//!
//! An answer to `GET`, or to `QUERY` with the same content, is stored if it says how long it is fresh
//! (`Cache-Control: max-age=60`, say). Those of the quickstart say `no-cache`, as they are cached there and
//! may be purged there: they pass.
//!
//! A request meets, in this order:
//!
//! 1. [`proxy`]: refuses what two readers could understand in two ways, removes what was meant for
//!    this connection alone ([`hop_by_hop`]), and names the host in one place.
//! 2. larder's cache: answers, or goes on. It is the layer that a service wears around its routes, here
//!    around a client.
//! 3. [`origin`]: asks the origin, once, and makes a 502 or 504 ([`problem`]) of what goes wrong.
//!
//! Bodies stream both ways; a copy is kept on the way of those that may be stored. Interim answers
//! (103 and its like) pass as they arrive ([`informational`]), and connections that become
//! WebSockets are handed over ([`upgrade`]). One line on standard output tells of each request
//! ([`access_log`]). [`connections`] is where they come from.
//!
//! Fields pass as they came, but for those of one connection and `Via`. `Forwarded` and
//! `X-Forwarded-For` are not added: an origin that wants them is better told by who knows the
//! network, and a client's own would have to be trusted or removed.

#![allow(
    clippy::print_stdout,
    reason = "a program for the terminal says there where it listens"
)]

mod access_log;
mod connections;
mod content;
mod flags;
mod hop_by_hop;
mod informational;
mod origin;
mod problem;
mod proxy;
mod upgrade;

use std::num::NonZero;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use larder::{Cache, Redis};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};

use crate::flags::{Flags, Refusal, USAGE};
use crate::origin::Origin;
use crate::proxy::Proxy;

fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(Refusal::HelpWanted) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Mistake(problem)) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let served = runtime().and_then(|runtime| runtime.block_on(serve(flags)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// A thread for each core; on one core, this thread, which has nobody to wake.
fn runtime() -> Result<Runtime, String> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match cores {
        1 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().map_err(|e| e.to_string())
}

/// In memory alone, or in memory and in the Redis that all proxies share.
fn cache(memory: u64, redis: Option<&Redis>) -> Result<Cache, String> {
    let cache = Cache::builder().capacity(memory);
    let cache = match redis {
        // Of long responses a few at once would fill the connection to it.
        Some(redis) => cache.redis(redis.clone()),
        None => cache.body_limit(memory / 8),
    };
    cache.build().map_err(|e| e.to_string())
}

async fn serve(flags: Flags) -> Result<(), String> {
    let redis = flags.redis.as_deref().map(Redis::open).transpose();
    let redis = redis.map_err(|e| format!("--redis: {e}"))?;
    let cache = cache(flags.memory, redis.as_ref())?;
    let listener = TcpListener::bind(flags.listen)
        .await
        .map_err(|e| format!("--listen: cannot listen on {}: {e}", flags.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    if let Some(redis) = &redis {
        // Not needed: it is so that the first request finds it there.
        redis.connected(Duration::from_secs(1)).await;
    }
    let origin = Origin::new(flags.origin.clone(), flags.timeout);
    let proxy = Proxy::new(&cache, flags.profile, flags.origin, origin);
    println!("listening on http://{address}");

    let in_time = connections::serve(listener, proxy, asked_to_stop()).await;
    if !in_time {
        eprintln!("stopped while requests were under way");
    }
    // What Redis has not heard yet, nobody could tell it later.
    if !cache.flush(Duration::from_secs(1)).await {
        eprintln!("stopped while other proxies have not heard of all invalidations");
    }
    Ok(())
}

/// Ctrl-c, or SIGTERM, by which supervisors stop a service.
async fn asked_to_stop() {
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{signal, SignalKind};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupted => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    interrupted.await;
}
