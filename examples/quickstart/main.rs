//! The posts service: an axum router whose routes are cached, each in its own way.
//!
//! Start it with `cargo run --example quickstart` and it prints what to `curl`. The environment may say
//!
//! - `LISTEN`: where to listen, `127.0.0.1:3000` by default (port 0 takes a free one),
//! - `REDIS_URL`: a Redis to share responses and invalidations through, `redis://127.0.0.1:6379`;
//!   none by default: in memory alone,
//! - `REDIS_DEADLINE_MS`: how long a request waits for Redis, 50 by default,
//! - `WEBHOOK_SECRET`: what webhooks are signed with; none by default: all of them are refused,
//! - `ORIGIN_DELAY_MS`: how long the pretend database takes for an answer, 50 by default,
//! - `LIMIT` and `LIMIT_PERIOD_MS`: how many requests each address may send to `/protected` at once, 120 by
//!   default, and in what time as many more, 60000.
//!
//! Two nodes, on two ports, with one Redis, in three terminals:
//!
//! ```sh
//! redis-server --port 6379 --save ''
//! REDIS_URL=redis://127.0.0.1:6379 LISTEN=127.0.0.1:3000 cargo run --example quickstart
//! REDIS_URL=redis://127.0.0.1:6379 LISTEN=127.0.0.1:3001 cargo run --example quickstart
//! ```
//!
//! Ask one of them for `/posts/8` and then the other: Cache-Status says `hit`, though it never called
//! its own handler. `PUT` a new title to either, and both show it. Stop Redis: both go on by themselves.
//!
//! All that concerns caching and limits stands in [`router`], below; the other files hold handlers as they
//! would be without a cache, but for the few words they say to it ([`larder::Tags`],
//! [`larder::CacheFor`], [`larder::Invalidate`]).

#![allow(
    clippy::print_stdout,
    reason = "a program for the terminal says there what to do"
)]

mod ask;
mod events;
mod introduction;
mod jobs;
mod journal;
mod me;
mod origin;
mod posts;
mod settings;
mod stats;
mod webhooks;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::header::AUTHORIZATION;
use axum::routing::{get, post};
use axum::Router;
use larder::{Cache, CompressLayer, ConditionalLayer, LimitLayer, Quota, Redis};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::journal::Journal;
use crate::origin::Origin;
use crate::settings::Settings;

/// What every handler may use. The cache is a cheap handle; its clones are the same cache.
#[derive(Clone)]
struct App {
    cache: Cache,
    origin: Arc<Origin>,
    webhook_secret: webhooks::Secret,
}

/// Every route, and what it says about caching. A route without a layer is not cached.
fn router(app: App, limit: LimitLayer) -> Router {
    const MINUTE: Duration = Duration::from_secs(60);
    let cache = app.cache.clone();

    // Inside the cache, so that each kept answer is tagged once; the cache compares the tags.
    let tagged = ConditionalLayer::new();

    // The host is part of a key, in case a service answers differently at each of its names. This one
    // does not, and its nodes on two ports have two names: they would share nothing.
    let kept = |ttl| cache.layer().ttl(ttl).any_host();

    // The handler adds a tag for the category that was asked for.
    let post_list = kept(MINUTE).tag("posts");

    // `.tag("post:{id}")` would take the text of the id. This handler reads it as a number, `/posts/007`
    // as post 7, so the tag is made where the id is understood: in the handler.
    let one_post = kept(MINUTE);

    // A request without a user bypasses the cache, and downstream caches are told `private`.
    let per_user = kept(Duration::from_secs(10)).per_user(me::user_of);

    // The handler's `CacheFor` decides, because only it knows whether a job is still pending.
    let per_answer = kept(MINUTE);

    // A question is content, so the content belongs to the key; a longer one bypasses the cache.
    let by_content = kept(MINUTE).key_body(16 * 1024);

    Router::new()
        .route(
            "/posts",
            get(posts::list).layer((post_list, tagged.clone())),
        )
        // `layer` wraps the methods named before it: `put` stays outside the cache.
        .route(
            "/posts/{id}",
            get(posts::show)
                .layer((one_post, tagged.clone()))
                .put(posts::rename),
        )
        // A real service asks here who is asking.
        .route("/admin/posts/invalidate", post(posts::invalidate))
        // A message is read before its signature is believed, so it has a limit.
        .route(
            "/webhooks/files",
            post(webhooks::receive).layer(DefaultBodyLimit::max(16 * 1024)),
        )
        .route("/me", get(me::show).layer((per_user, tagged)))
        .route("/jobs/{id}", get(jobs::show).layer(per_answer))
        .route("/ask", post(ask::answer).layer(by_content))
        .route("/events", get(events::stream))
        // Refused before its handler is called. Around the whole router it would hold for every route.
        .route(
            "/protected",
            get(|| async { "you may pass\n" }).layer(limit),
        )
        .route("/stats", get(stats::show))
        // Around the whole router: carries out the `Invalidate` of any handler, and invalidates the
        // URI that a successful PUT, POST, PATCH or DELETE has changed.
        .layer(cache.watch())
        // What is not encoded yet leaves in the coding that its client likes best; cached routes keep
        // each coding they have made, and pass through here as they are.
        // Answers to one user are left alone: the length of one that holds a secret tells of it.
        .layer(CompressLayer::new().skip_if(|request| request.headers.contains_key(AUTHORIZATION)))
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

/// In memory alone, or in memory and in the Redis that all nodes share: the routes are the same.
fn cache(redis: Option<&Redis>) -> Result<Cache, String> {
    // Off by default with Redis, where counting what an invalidation reached costs a set per tag.
    let cache = Cache::builder().tag_index(true);
    let cache = match redis {
        Some(redis) => cache.redis(redis.clone()),
        None => cache,
    };
    cache.build().map_err(|e| e.to_string())
}

/// A token bucket for each address that connections come from: here, or in the Redis that all nodes share.
fn limit(quota: Quota, redis: Option<&Redis>) -> Result<LimitLayer, String> {
    let limit = LimitLayer::new(quota).name("protected").by_peer_ip();
    let limit = match redis {
        Some(redis) => limit.redis(redis.clone()),
        None => limit,
    };
    let checked = limit.try_validate();
    checked.map_err(|e| format!("LIMIT and LIMIT_PERIOD_MS: {e}"))?;
    Ok(limit)
}

async fn serve() -> Result<(), String> {
    let settings = Settings::from_env()?;
    let redis_url = settings.redis_url.as_deref();
    let handle = |url| {
        let redis = Redis::builder(url).deadline(settings.redis_deadline);
        redis.build()
    };
    let redis = redis_url.map(handle).transpose();
    let redis = redis.map_err(|e| format!("REDIS_URL: {e}"))?;
    let cache = cache(redis.as_ref())?;
    let limit = limit(settings.quota, redis.as_ref())?;

    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|e| format!("cannot listen on {}: {e}", settings.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let journal = redis_url.map(|url| Journal::join(url, address)).transpose();
    let journal = journal.map_err(|e| format!("the nodes' database cannot be opened: {e}"))?;
    let app = App {
        cache: cache.clone(),
        origin: Arc::new(Origin::new(settings.origin_delay, journal)),
        webhook_secret: settings.webhook_secret,
    };

    // Not needed: a service starts without its Redis. It is so that the first request finds it there.
    let connected = match &redis {
        Some(redis) => Some(redis.connected(Duration::from_secs(1)).await),
        None => None,
    };
    introduction::introduce(address, connected);

    let (stopping, stopped) = oneshot::channel();
    // The limit asks from where a connection comes, and a plain `Router` does not tell.
    let service = router(app, limit).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async {
        asked_to_stop().await;
        let _ = stopping.send(());
    });
    // Requests under way may end, but streams of events never do.
    let too_long = async {
        let _ = stopped.await;
        sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        served = server.into_future() => served.map_err(|e| e.to_string())?,
        () = too_long => {}
    }
    // What Redis has not heard yet, nobody could tell it later.
    if !cache.flush(Duration::from_secs(1)).await {
        eprintln!("stopped while other nodes have not heard of all invalidations");
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
