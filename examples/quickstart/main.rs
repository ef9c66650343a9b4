//! The posts service: an axum router whose routes are cached, each in its own way.
//!
//! Start it with `cargo run --example quickstart` and it prints what to `curl`. The environment may say
//!
//! - `LISTEN`: where to listen, `127.0.0.1:3000` by default (port 0 takes a free one),
//! - `ORIGIN_DELAY_MS`: how long the pretend database takes for an answer, 50 by default.
//!
//! All that concerns caching stands in [`router`], below; the other files hold handlers as they
//! would be without a cache, but for the few words they say to it ([`larder::Tags`],
//! [`larder::CacheFor`], [`larder::Invalidate`]).

#![allow(
    clippy::print_stdout,
    reason = "a program for the terminal says there what to do"
)]

mod ask;
mod events;
mod jobs;
mod me;
mod origin;
mod posts;
mod stats;

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::Router;
use larder::Cache;
use tokio::net::TcpListener;

use crate::origin::Origin;

/// What every handler may use. The cache is a cheap handle; its clones are the same cache.
#[derive(Clone)]
struct App {
    cache: Cache,
    origin: Arc<Origin>,
}

/// Every route, and what it says about caching. A route without a layer is not cached.
fn router(app: App) -> Router {
    const MINUTE: Duration = Duration::from_secs(60);
    let cache = app.cache.clone();

    // The handler adds a tag for the category that was asked for.
    let post_list = cache.layer().ttl(MINUTE).tag("posts");

    // `.tag("post:{id}")` would take the text of the id. This handler reads it as a number, `/posts/007`
    // as post 7, so the tag is made where the id is understood: in the handler.
    let one_post = cache.layer().ttl(MINUTE);

    // A request without a user bypasses the cache, and downstream caches are told `private`.
    let per_user = cache
        .layer()
        .ttl(Duration::from_secs(10))
        .per_user(me::user_of);

    // The handler's `CacheFor` decides, because only it knows whether a job is still pending.
    let per_answer = cache.layer().ttl(MINUTE);

    // A question is content, so the content belongs to the key; a longer one bypasses the cache.
    let by_content = cache.layer().ttl(MINUTE).key_body(16 * 1024);

    Router::new()
        .route("/posts", get(posts::list).layer(post_list))
        // `layer` wraps the methods named before it: `put` stays outside the cache.
        .route(
            "/posts/{id}",
            get(posts::show).layer(one_post).put(posts::rename),
        )
        // A real service asks here who is asking.
        .route("/admin/posts/invalidate", post(posts::invalidate))
        .route("/me", get(me::show).layer(per_user))
        .route("/jobs/{id}", get(jobs::show).layer(per_answer))
        .route("/ask", post(ask::answer).layer(by_content))
        .route("/events", get(events::stream))
        .route("/stats", get(stats::show))
        // Around the whole router: carries out the `Invalidate` of any handler, and invalidates the
        // URI that a successful PUT, POST, PATCH or DELETE has changed.
        .layer(cache.watch())
        .with_state(app)
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), String> {
    let settings = Settings::from_env()?;
    let app = App {
        cache: Cache::builder().build().map_err(|e| e.to_string())?,
        origin: Arc::new(Origin::new(settings.origin_delay)),
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|e| format!("cannot listen on {}: {e}", settings.listen))?;
    introduce(listener.local_addr().map_err(|e| e.to_string())?);
    axum::serve(listener, router(app))
        .await
        .map_err(|e| e.to_string())
}

/// What the environment says.
struct Settings {
    listen: SocketAddr,
    origin_delay: Duration,
}

impl Settings {
    fn from_env() -> Result<Self, String> {
        if env::var_os("REDIS_URL").is_some_and(|url| !url.is_empty()) {
            return Err(
                "REDIS_URL is set, but there is no Redis in this version yet: \
                 responses are kept in memory. Unset REDIS_URL to start."
                    .to_owned(),
            );
        }
        let listen = variable("LISTEN", "127.0.0.1:3000");
        let delay = variable("ORIGIN_DELAY_MS", "50");
        Ok(Self {
            listen: listen
                .parse()
                .map_err(|_| format!("LISTEN is an address and a port, not `{listen}`"))?,
            origin_delay: delay
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| format!("ORIGIN_DELAY_MS is a whole number, not `{delay}`"))?,
        })
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Says what to curl, and what there is to see.
fn introduce(address: SocketAddr) {
    println!(
        "\
listening on http://{address}

Twice, and compare Cache-Status: the first answer was made, the second one was kept.
  curl -i 'http://{address}/posts?limit=3&category=tech'
  curl -i 'http://{address}/posts?category=tech&limit=3'     # the order of parameters does not matter
  curl -I 'http://{address}/posts?limit=3&category=tech'     # HEAD is answered from the same response

Change a post: the answers that showed it are gone before this one arrives.
  curl -i http://{address}/posts/8
  curl -i -X PUT -H 'Content-Type: application/json' -d '{{\"title\":\"News\"}}' http://{address}/posts/8
  curl -i -X POST 'http://{address}/admin/posts/invalidate?category=tech'

One response per user, for ten seconds; without a user 401, and nothing is kept.
  curl -i -H 'Authorization: Bearer ada' http://{address}/me
  curl -i http://{address}/me

The answer decides how long it is kept: pending for a second, ready for a minute.
  curl -i http://{address}/jobs/1

A slow answer to a POST, kept by its content.
  curl -i -H 'Content-Type: application/json' -d '{{\"workspace\":\"lab\",\"question\":\"why?\"}}' http://{address}/ask

Never touched by the cache; and what the cache did so far.
  curl -N http://{address}/events
  curl http://{address}/stats
"
    );
}
