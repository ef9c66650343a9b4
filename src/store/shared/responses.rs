//! Stored responses in Redis: one value each, read in one trip.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use redis::Value;
use tokio::time::Instant;

use super::driver::{bytes, Driver};
use super::index::Index;
use super::keys;
use super::lease::{Lease, Leases, Taken};
use crate::clock::Timestamp;
use crate::policy::request::RequestFields;
use crate::policy::stored::{selecting_fields, StoredResponse, VaryField};
use crate::policy::tag::TagHash;
use crate::redis::NoAnswer;
use crate::store::envelope::{Envelope, Odd};
use crate::store::invalidation::{Before, Strength, Strict, Validity, HEADER_LENGTH};

/// By how much the wall clocks of machines may differ.
const SKEW: Duration = Duration::from_secs(5);
/// At the front of a record of the fields that a key's responses vary on.
const VARY: &[u8] = b"lrvr\x01";
/// More fields than this are no record of ours.
const MAX_FIELDS: usize = 64;

/// The responses of one cache.
pub(crate) struct Responses {
    driver: Arc<Driver>,
    envelope: Envelope,
    leases: Arc<Leases>,
    index: Option<Arc<Index>>,
}

/// What a look-up found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Never one that is hard-invalid.
    Response(Arc<StoredResponse>, Validity),
    Nothing(Miss),
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    Absent,
    /// It was there, and was purged, or may have been.
    Invalid,
    Odd(Odd),
    /// It says that it was made later than now.
    FromTheFuture,
    /// Nobody vouches for the mirror.
    Unsound,
    NoAnswer(NoAnswer),
}

/// One look-up: a key, the request's fields, and those its responses are known to vary on.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) request: &'a HeaderMap,
    /// `None` where nothing is known: a response may then take two trips.
    pub(crate) vary: Option<&'a [HeaderName]>,
    pub(crate) now: Timestamp,
    /// What is left of the request's deadline.
    pub(crate) limit: Duration,
}

impl Query<'_> {
    /// What is left for a further trip of a look-up that began then.
    fn left(&self, since: Instant) -> Duration {
        self.limit.saturating_sub(since.elapsed())
    }
}

/// What lies under a name.
enum Lying {
    Response(StoredResponse),
    Varies(Vec<HeaderName>),
}

impl Responses {
    pub(crate) fn new(driver: Arc<Driver>, envelope: Envelope) -> Self {
        Self {
            leases: Leases::new(Arc::clone(&driver)),
            driver,
            envelope,
            index: None,
        }
    }

    /// With an index of tags: one more call per tag for each store, and 30 to 120 bytes in Redis per
    /// tag and response; then invalidations know how many responses they reached.
    pub(crate) fn with_index(mut self) -> Self {
        self.index = Some(Index::new(Arc::clone(&self.driver)));
        self
    }

    /// The relaxed look-up: one `GET`, judged by the mirror.
    pub(crate) async fn relaxed(&self, query: Query<'_>) -> Found {
        match self.fetch(query).await {
            Ok(stored) => match self.driver.relaxed(stored.fence(), stored.tags()) {
                Ok(Validity::Hard) => Found::Nothing(Miss::Invalid),
                Ok(validity) => Found::Response(Arc::new(stored), validity),
                Err(_) => Found::Nothing(Miss::Unsound),
            },
            Err(miss) => Found::Nothing(miss),
        }
    }

    async fn fetch(&self, query: Query<'_>) -> Result<StoredResponse, Miss> {
        let since = Instant::now();
        let mut vary = self.selecting(query, query.vary.unwrap_or_default());
        for _ in 0..2 {
            let place = self.driver.keys().entry(query.key, &vary);
            let left = query.left(since);
            let answer = self.driver.redis().get_within(&place, left).await;
            let found = answer.map_err(Miss::NoAnswer)?.ok_or(Miss::Absent)?;
            match self.read(&place, query, found)? {
                Lying::Response(stored) => return Ok(stored),
                Lying::Varies(names) => vary = self.selecting(query, &names),
            }
        }
        Err(Miss::Absent)
    }

    /// The strict look-up: the clock's header comes with the response.
    pub(crate) async fn strict(&self, query: Query<'_>) -> Found {
        let since = Instant::now();
        let mut vary = self.selecting(query, query.vary.unwrap_or_default());
        for _ in 0..2 {
            let Some(before) = self.driver.before() else {
                return Found::Nothing(Miss::Unsound);
            };
            let place = self.driver.keys().entry(query.key, &vary);
            let read = match self.fetch_with_header(&place, query.left(since)).await {
                Ok((Some(found), header)) => self.read(&place, query, found).map(|v| (v, header)),
                Ok((None, _)) => Err(Miss::Absent),
                Err(why) => Err(Miss::NoAnswer(why)),
            };
            match read {
                Ok((Lying::Response(stored), header)) => {
                    return self
                        .judge(before, &header, Arc::new(stored), query.left(since))
                        .await;
                }
                Ok((Lying::Varies(names), _)) => vary = self.selecting(query, &names),
                Err(miss) => return Found::Nothing(miss),
            }
        }
        Found::Nothing(Miss::Absent)
    }

    /// Whether a response that is near, or that another request has just made, still holds by the
    /// word of the clock itself.
    pub(crate) async fn confirm(&self, stored: Arc<StoredResponse>, limit: Duration) -> Found {
        let Some(before) = self.driver.before() else {
            return Found::Nothing(Miss::Unsound);
        };
        let clock = self.driver.keys().clock();
        let question = getrange(clock, 0, HEADER_LENGTH);
        let since = Instant::now();
        match self.driver.redis().run(clock, question, limit).await {
            Ok(header) => {
                let left = limit.saturating_sub(since.elapsed());
                self.judge(before, bytes(&header), stored, left).await
            }
            Err(why) => Found::Nothing(Miss::NoAnswer(why)),
        }
    }

    async fn judge(
        &self,
        before: Before,
        header: &[u8],
        stored: Arc<StoredResponse>,
        limit: Duration,
    ) -> Found {
        let (view, fence, tags) = (self.driver.view(), stored.fence(), stored.tags());
        let mut judged = before.judge(view, header, fence, tags);
        if let Strict::Ask(first, places) = &judged {
            let clock = self.driver.keys().clock();
            let mut pipeline = redis::Pipeline::with_capacity(1 + places.len());
            pipeline.add_command(getrange(clock, 0, HEADER_LENGTH));
            for at in places {
                pipeline.add_command(getrange(clock, *at, 8));
            }
            judged = match self.driver.redis().run(clock, pipeline, limit).await {
                Ok(Value::Array(answers)) => {
                    let mut answers = answers.iter().map(bytes);
                    let header = answers.next().unwrap_or_default();
                    let buckets: Vec<&[u8]> = answers.collect();
                    before.judge_buckets(view, (first, header), &buckets, fence, tags)
                }
                Ok(_) => Strict::Lost,
                Err(why) => return Found::Nothing(Miss::NoAnswer(why)),
            };
        }
        match judged {
            Strict::Decided(Validity::Hard) => Found::Nothing(Miss::Invalid),
            Strict::Decided(validity) => Found::Response(stored, validity),
            Strict::Lost | Strict::Ask(..) => {
                self.driver.suspect();
                Found::Nothing(Miss::Invalid)
            }
        }
    }

    /// The entry first, the clock after it; at the same time where they are on two servers.
    async fn fetch_with_header(
        &self,
        place: &[u8],
        limit: Duration,
    ) -> Result<(Option<Bytes>, Vec<u8>), NoAnswer> {
        let (redis, clock) = (self.driver.redis(), self.driver.keys().clock());
        let header = getrange(clock, 0, HEADER_LENGTH);
        if !redis.same_server(place, clock) {
            let header = redis.run(clock, header, limit);
            let (found, header) = both(redis.get_within(place, limit), header).await;
            return Ok((found?, bytes(&header?).to_vec()));
        }
        let mut pipeline = redis::Pipeline::with_capacity(2);
        pipeline.cmd("GET").arg(place);
        pipeline.add_command(header);
        match redis.run(place, pipeline, limit).await? {
            Value::Array(answers) => {
                let mut answers = answers.into_iter();
                let found = match answers.next() {
                    Some(Value::BulkString(found)) => Some(Bytes::from(found)),
                    _ => None,
                };
                let header = answers.next().unwrap_or(Value::Nil);
                Ok((found, bytes(&header).to_vec()))
            }
            other => Err(NoAnswer::Refused(format!("a pipeline answered {other:?}"))),
        }
    }

    fn read(&self, place: &[u8], query: Query<'_>, found: Bytes) -> Result<Lying, Miss> {
        if let Some(names) = read_record(&found) {
            return Ok(Lying::Varies(names));
        }
        let stored = self
            .envelope
            .open(place, query.key, found)
            .map_err(Miss::Odd)?;
        if stored.times().response_time > query.now.plus(SKEW) {
            return Err(Miss::FromTheFuture);
        }
        if !stored.is_selected_by(&RequestFields::read(query.request)) {
            return Err(Miss::Absent);
        }
        Ok(Lying::Response(stored))
    }

    fn selecting(&self, query: Query<'_>, names: &[HeaderName]) -> Vec<VaryField> {
        selecting_fields(names, query.request)
    }

    /// Asks for the right to make what a look-up, sent at `looked`, did not find. Whoever does not
    /// know what the response varies on asks with no fields, for all its variants.
    pub(crate) async fn lease(
        &self,
        key: &[u8],
        vary: &[VaryField],
        looked: Instant,
        limit: Duration,
    ) -> Taken {
        let lease = self.driver.keys().lease(key, vary);
        self.leases.take(lease, looked, limit).await
    }

    /// Stores a response in the background, for as long as it may be of use. A lease to make it is
    /// released when it lies there, or will not: so whoever is woken finds it.
    pub(crate) fn store(&self, stored: &StoredResponse, now: Timestamp, lease: Option<Lease>) {
        let times = stored.times();
        let window = times.stale_while_revalidate.max(times.stale_if_error);
        let lifetime = times.fresh_until.plus(window).since(now);
        let (keys, redis) = (self.driver.keys(), self.driver.redis());
        let digest = keys::digest(stored.key(), stored.vary());
        let place = keys.of(digest);
        let Some(wrapped) = self.envelope.wrap(&place, stored) else {
            return;
        };
        if lifetime.is_zero() {
            return;
        }
        let mut values = vec![(place.clone(), Bytes::from(wrapped))];
        if !stored.vary().is_empty() {
            let record = record(stored.vary().iter().map(|field| &field.name));
            values.push((keys.entry(stored.key(), &[]), Bytes::from(record)));
        }
        let indexed = self.index.clone();
        let indexed = indexed.map(|index| (index, stored.indexed_tags().collect::<Vec<_>>()));
        redis.store(&place, move |storing| async move {
            for (place, value) in values {
                if !storing.set(&place, value, lifetime).await {
                    return; // the lease ends without a response
                }
            }
            if let Some(lease) = lease {
                lease.stored();
            }
            if let Some((index, tags)) = indexed {
                index.add(digest, &tags, lifetime).await;
            }
        });
    }

    /// How many responses an invalidation reached, asked for when the clock has moved. Hard ones are
    /// freed, those of long lists in the background.
    ///
    /// `None` without an index, and when Redis does not answer. It is not for everything, nor for one
    /// query of a path: no list has just those, and they go by their ttl. So each of `tags` must have
    /// been invalidated as a whole, and be among the [`indexed_tags`](StoredResponse::indexed_tags).
    pub(crate) async fn reached(&self, tags: &[TagHash], strength: Strength) -> Option<u64> {
        self.index.as_ref()?.reached(tags, strength).await
    }
}

impl std::fmt::Debug for Responses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responses").finish_non_exhaustive()
    }
}

fn getrange(key: &[u8], at: usize, length: usize) -> redis::Cmd {
    let mut command = redis::cmd("GETRANGE");
    command.arg(key).arg(at).arg(at + length - 1);
    command
}

/// Waits for two answers at once.
async fn both<A, B>(
    a: impl std::future::Future<Output = A>,
    b: impl std::future::Future<Output = B>,
) -> (A, B) {
    use std::task::Poll;
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|cx| {
        if first.is_none() {
            if let Poll::Ready(answer) = a.as_mut().poll(cx) {
                first = Some(answer);
            }
        }
        if second.is_none() {
            if let Poll::Ready(answer) = b.as_mut().poll(cx) {
                second = Some(answer);
            }
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// `magic version (length:u16 name)*`, the names in the order of the selecting values.
fn record<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Vec<u8> {
    let mut bytes = VARY.to_vec();
    for name in names {
        let name = name.as_str().as_bytes();
        bytes.extend(u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(name);
    }
    bytes
}

fn read_record(bytes: &[u8]) -> Option<Vec<HeaderName>> {
    let mut rest = bytes.strip_prefix(VARY)?;
    let mut names = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        names.push(HeaderName::from_lowercase(name).ok()?);
        rest = after;
        if names.len() > MAX_FIELDS {
            return None;
        }
    }
    (rest.is_empty() && !names.is_empty()).then_some(names)
}
