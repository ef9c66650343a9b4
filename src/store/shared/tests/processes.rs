//! Several processes and one server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, ACCEPT_LANGUAGE};
use http::StatusCode;
use tokio::time::Instant;

use super::super::driver::{Driver, Settings};
use super::super::responses::{Found, Miss, Query, Responses};
use super::super::Keys;
use super::server::Server;
use crate::clock::{Clock, Timestamp};
use crate::policy::stored::{selecting_fields, Head, StoredResponse, Times, VaryField};
use crate::policy::tag::TagHash;
use crate::redis::Redis;
use crate::store::envelope::Envelope;
use crate::store::interned;
use crate::store::invalidation::{Reach, Strength, Validity};

const LIMIT: Duration = Duration::from_millis(500);
pub(super) const KEY: &[u8] = b"the key";

pub(super) struct Process {
    pub(super) driver: Arc<Driver>,
    pub(super) responses: Responses,
}

pub(super) async fn process(server: &Server) -> Process {
    process_at(&server.url()).await
}

pub(super) async fn process_at(url: &str) -> Process {
    let redis = Redis::open(url).unwrap();
    let keys = Keys::new("test", "1", redis.database()).unwrap();
    let driver = Driver::start(redis, keys, Settings::default());
    assert!(driver.redis().connected(Duration::from_secs(10)).await);
    let responses = Responses::new(Arc::clone(&driver), Envelope::default());
    let process = Process { driver, responses };
    assert!(eventually(|| async { process.driver.is_sound() }).await);
    process
}

pub(super) async fn eventually<F, Happened>(mut happened: F) -> bool
where
    F: FnMut() -> Happened,
    Happened: Future<Output = bool>,
{
    for _ in 0..2000 {
        if happened().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

pub(super) fn now() -> Timestamp {
    Clock::system().now()
}

impl Process {
    /// Makes a response under a fence of now.
    pub(super) fn make(&self, vary: &[HeaderName], request: &HeaderMap) -> StoredResponse {
        let vary = selecting_fields(vary, request);
        self.make_of(KEY, vary, &["posts"], Duration::from_secs(60))
    }

    pub(super) fn make_of(
        &self,
        key: &[u8],
        vary: Vec<VaryField>,
        tags: &[&str],
        lifetime: Duration,
    ) -> StoredResponse {
        let fence = self.driver.fence();
        let now = now();
        let head = Head {
            status: StatusCode::OK,
            common: interned::split(std::iter::empty()).0,
            lines: Vec::new(),
            vary,
            tags: tags.iter().map(|tag| TagHash::named(tag)).collect(),
            implicit: 0,
            fence,
            times: Times {
                response_time: now,
                born: now,
                fresh_until: now.plus(lifetime),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
        };
        StoredResponse::assemble(key, head, &[Bytes::from_static(b"body")]).unwrap()
    }

    /// Makes and stores one until it is there and holds: the clock may have begun another life
    /// meanwhile, or an invalidation by another process may not have been pushed yet.
    pub(super) async fn fill(&self) {
        let there = || async {
            let stored = self.make(&[], &HeaderMap::new());
            self.responses.store(&stored, now(), None);
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.strict().await.is_ok() && self.relaxed().await.is_ok()
        };
        assert!(eventually(there).await);
    }

    /// What a response that is near may do.
    fn near(&self, stored: &StoredResponse) -> Option<Validity> {
        self.driver.relaxed(stored.fence(), stored.tags()).ok()
    }

    fn query<'a>(&self, request: &'a HeaderMap) -> Query<'a> {
        Query {
            key: KEY,
            request,
            vary: None,
            now: now(),
            limit: LIMIT,
        }
    }

    pub(super) async fn relaxed(&self) -> Result<Validity, Miss> {
        let request = HeaderMap::new();
        outcome(self.responses.relaxed(self.query(&request)).await)
    }

    async fn strict(&self) -> Result<Validity, Miss> {
        let request = HeaderMap::new();
        outcome(self.responses.strict(self.query(&request)).await)
    }

    /// Whether it was deferred.
    async fn invalidate(&self, strength: Strength) -> bool {
        let tag = strength.bucket_of(TagHash::named("posts"));
        self.driver.invalidate(Reach::Tags(vec![tag])).await
    }
}

fn outcome(found: Found) -> Result<Validity, Miss> {
    match found {
        Found::Response(stored, validity) => {
            assert_eq!(stored.body(), "body");
            Ok(validity)
        }
        Found::Nothing(miss) => Err(miss),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_stores_another_finds_until_any_of_them_invalidates_it() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    assert_eq!(b.relaxed().await, Err(Miss::Absent));
    a.fill().await;
    assert_eq!(b.relaxed().await, Ok(Validity::Valid));
    assert_eq!(b.strict().await, Ok(Validity::Valid));

    assert!(!b.invalidate(Strength::Soft).await);
    assert_eq!(b.relaxed().await, Ok(Validity::Soft));
    assert_eq!(a.strict().await, Ok(Validity::Soft));

    assert!(!b.invalidate(Strength::Hard).await);
    assert_eq!(a.strict().await, Err(Miss::Invalid), "at once");
    assert_eq!(
        b.relaxed().await,
        Err(Miss::Invalid),
        "at once, in its own process"
    );
    let pushed = || async { a.relaxed().await == Err(Miss::Invalid) };
    assert!(eventually(pushed).await);
    a.fill().await;
    assert_eq!(b.strict().await, Ok(Validity::Valid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_look_up_never_follows_an_invalidation_whatever_becomes_of_the_messages() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    let mut slowest = Duration::ZERO;
    for round in 0..100 {
        a.fill().await;
        if round % 10 == 0 {
            server.cli(&["client", "kill", "type", "pubsub"]);
        }
        if round % 25 == 24 {
            server.cli(&["del", "test:c"]);
        }
        let began = Instant::now();
        let deferred = b.invalidate(Strength::Hard).await;
        slowest = slowest.max(began.elapsed());
        let strict = a.strict().await;
        assert!(deferred || strict.is_err(), "round {round}: {strict:?}");
    }
    println!("slowest invalidation: {slowest:?}");
    let sound = || async { a.driver.is_sound() && b.driver.is_sound() };
    assert!(eventually(sound).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_without_redis_holds_here_at_once_and_everywhere_when_it_is_back() {
    let mut server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    a.fill().await;
    let near = a.make(&[], &HeaderMap::new());
    assert_eq!(a.near(&near), Some(Validity::Valid));
    server.kill();
    assert!(b.invalidate(Strength::Hard).await, "deferred");
    assert!(a.invalidate(Strength::Hard).await, "deferred");
    assert_eq!(a.near(&near), Some(Validity::Hard));
    // What is made since is made of what the change has left.
    let made_since = || async { a.near(&a.make(&[], &HeaderMap::new())) == Some(Validity::Valid) };
    assert!(eventually(made_since).await);
    assert!(a.strict().await.is_err());

    server.restart();
    let began = Instant::now();
    let sound = || async { a.driver.is_sound() && b.driver.is_sound() };
    assert!(eventually(sound).await);
    println!("sound again {:?} after the start", began.elapsed());
    assert_eq!(a.near(&near), Some(Validity::Hard));
    a.fill().await;
    assert_eq!(b.strict().await, Ok(Validity::Valid));
}

#[tokio::test(flavor = "multi_thread")]
async fn near_responses_answer_for_the_grace_alone_while_redis_is_frozen() {
    let server = Server::start();
    let a = process(&server).await;
    let near = a.make(&[], &HeaderMap::new());
    server.freeze();
    let unsound = || async { !a.driver.is_sound() };
    assert!(eventually(unsound).await, "nobody vouches any more");
    assert_eq!(a.near(&near), Some(Validity::Valid), "within the grace");
    server.thaw();
    assert!(eventually(|| async { a.driver.is_sound() }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_take_two_trips_for_whoever_does_not_know_them() {
    let server = Server::start();
    let a = process(&server).await;
    let mut german = HeaderMap::new();
    german.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
    let stored = a.make(&[ACCEPT_LANGUAGE], &german);
    a.responses.store(&stored, now(), None);
    let unknown = || async { outcome(a.responses.relaxed(a.query(&german)).await).is_ok() };
    assert!(eventually(unknown).await);
    let names = [ACCEPT_LANGUAGE];
    let known = Query {
        vary: Some(&names),
        ..a.query(&german)
    };
    assert_eq!(
        outcome(a.responses.relaxed(known).await),
        Ok(Validity::Valid)
    );
    assert_eq!(
        outcome(a.responses.strict(known).await),
        Ok(Validity::Valid)
    );
    assert_eq!(a.relaxed().await, Err(Miss::Absent), "for another language");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_invalidations_and_foreign_values_are_misses() {
    let server = Server::start();
    let (a, b) = (process(&server).await, process(&server).await);
    a.fill().await;
    server.config("maxmemory", "1");
    assert!(!b.invalidate(Strength::Hard).await, "not deferred");
    assert_eq!(a.strict().await, Err(Miss::Invalid));
    server.config("maxmemory", "0");
    let place = String::from_utf8(a.driver.keys().entry(KEY, &[])).unwrap();
    for value in ["", "somebody else's", "lrdr"] {
        server.cli(&["set", &place, value]);
        assert!(matches!(a.relaxed().await, Err(Miss::Odd(_))), "{value}");
    }
    server.cli(&["del", &place]);
    server.cli(&["lpush", &place, "a list"]);
    assert!(matches!(a.relaxed().await, Err(Miss::NoAnswer(_))));
}
