//! Stored responses in memory, bounded in bytes.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::TagIndex;
#[cfg(feature = "compress")]
use crate::header::accept_encoding::Coding;
use crate::policy::key::same_key;
use crate::policy::request::RequestFields;
#[cfg(feature = "compress")]
use crate::policy::stored::Form;
use crate::policy::stored::{StoredResponse, VaryField};
use crate::policy::tag::TagHash;

/// The bounds of the near tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// In bytes, bookkeeping included.
    pub(crate) capacity: u64,
    /// The largest single response, in bytes.
    pub(crate) largest: u64,
    pub(crate) variants: usize,
    pub(crate) index: bool,
    /// Whether nothing is kept here at all: every look-up goes to the tier behind.
    pub(crate) off: bool,
}

/// All that is stored under one key hash.
#[derive(Clone)]
enum Slot {
    One(Arc<StoredResponse>),
    /// The latest first.
    Many(Arc<[Arc<StoredResponse>]>),
}

/// What a look-up found.
pub(crate) enum Found {
    Response(Arc<StoredResponse>),
    /// Responses are stored under the key, but for other values of the fields they vary on; this is
    /// the latest of them.
    OtherVariant(Arc<StoredResponse>),
    Nothing,
}

/// Whether a response was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insertion {
    Stored,
    /// What is stored was begun later, after an invalidation of something.
    Overtaken,
    TooManyVariants,
    /// It alone is heavier than all that may lie in one place.
    TooLarge,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    Nothing,
    /// To ask the inner service about. It makes room for what answers.
    Question,
    /// To stand in for a failed call. It makes room as well.
    StandsIn,
    Answers,
}

/// The responses of one cache.
pub(crate) struct Responses {
    slots: Cache<u64, Slot, ByWeight, Placed, Unindex>,
    seed: DefaultHashBuilder,
    /// Held while a slot is read, changed and written back; hits never take one.
    writers: Box<[Mutex<()>]>,
    variants: usize,
    off: bool,
    /// The bytes that may lie in one place.
    slot: u64,
    book: Arc<Book>,
}

/// What is counted and indexed beside the slots.
struct Book {
    index: Option<TagIndex>,
    responses: AtomicU64,
    evicted: AtomicU64,
}

/// The bytes that may lie in one place: a part of a shard, which refuses altogether what outweighs it.
pub(crate) const fn largest_slot(capacity: u64, largest: u64) -> u64 {
    let shard = capacity / shards(capacity, largest);
    shard - shard / 16
}

/// A shard must hold the largest response with room to spare, or it could never be kept.
const fn shards(capacity: u64, largest: u64) -> u64 {
    match capacity.checked_div(largest.saturating_mul(4)) {
        Some(0) => 1,
        None | Some(64..) => 64,
        Some(fit) => 1 << fit.ilog2(), // the table rounds up to a power of two
    }
}

impl Responses {
    pub(crate) fn new(settings: Settings) -> Self {
        let book = Arc::new(Book {
            index: settings.index.then(TagIndex::new),
            responses: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        });
        let shards = shards(settings.capacity, settings.largest);
        let items = (settings.capacity / 2048).clamp(64, 1 << 20);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .estimated_items_capacity(usize::try_from(items).unwrap_or(64))
            .weight_capacity(settings.capacity)
            .build()
            .expect("capacity and items are set");
        Self {
            slots: Cache::with_options(options, ByWeight, Placed, Unindex(Arc::clone(&book))),
            seed: DefaultHashBuilder::default(),
            writers: (0..64).map(|_| Mutex::default()).collect(),
            variants: settings.variants,
            off: settings.off,
            slot: largest_slot(settings.capacity, settings.largest),
            book,
        }
    }

    /// Where to look for a key: a hash that nobody outside can predict.
    #[inline]
    pub(crate) fn place(&self, key: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The variant that these request fields select.
    #[inline]
    pub(crate) fn find(&self, place: u64, key: &[u8], request: &RequestFields<'_>) -> Found {
        match self.slots.get(&place) {
            Some(Slot::One(stored)) if same_key(stored.key(), key) => {
                if stored.is_selected_by(request) {
                    Found::Response(stored)
                } else {
                    Found::OtherVariant(stored)
                }
            }
            Some(Slot::Many(variants)) if same_key(variants[0].key(), key) => {
                let selected = variants
                    .iter()
                    .find(|stored| stored.is_selected_by(request));
                match selected {
                    Some(stored) => Found::Response(Arc::clone(stored)),
                    None => Found::OtherVariant(Arc::clone(&variants[0])),
                }
            }
            _ => Found::Nothing,
        }
    }

    /// The first of the responses that lie in a place, whatever their key is.
    pub(crate) fn first_at(&self, place: u64) -> Option<Arc<StoredResponse>> {
        let slot = self.slots.get(&place)?;
        slot.responses().first().cloned()
    }

    /// Stores a response in place of the one for the same key and variant. `worth` says what the others
    /// are still good for.
    pub(crate) fn insert(
        &self,
        place: u64,
        stored: Arc<StoredResponse>,
        worth: impl Fn(&StoredResponse) -> Worth,
    ) -> Insertion {
        if self.off {
            return Insertion::Stored; // behind this tier, that is
        }
        let _writing = self.writer(place).lock();
        let before = self.slots.peek(&place);
        let mut kept: Vec<Arc<StoredResponse>> = vec![Arc::clone(&stored)];
        let mut askable = Vec::new();
        for other in before.iter().flat_map(|slot| slot.responses()) {
            let worth = match other.key() == stored.key() {
                true => worth(other),
                false => Worth::Nothing,
            };
            match (worth, other.vary() == stored.vary()) {
                (Worth::Nothing, _) | (Worth::Question, true) => {}
                (Worth::Question | Worth::StandsIn, false) => askable.push(Arc::clone(other)),
                (Worth::Answers, false) => kept.push(Arc::clone(other)),
                (Worth::StandsIn | Worth::Answers, true)
                    if other.fence().is_newer_than(&stored.fence()) =>
                {
                    return Insertion::Overtaken;
                }
                (Worth::StandsIn | Worth::Answers, true) => {}
            }
        }
        if kept.len() > self.variants {
            return Insertion::TooManyVariants;
        }
        // Where several are selected, the most recent one answers (RFC 9111 §4).
        kept.sort_by_key(|stored| Reverse(stored.times().born));
        kept.append(&mut askable);
        kept.truncate(self.variants);
        if stored.weight() > self.slot {
            return Insertion::TooLarge;
        }
        // The latest come first: where not all of them fit, the oldest make room.
        let mut weight = 0;
        kept.retain(|stored| {
            weight += stored.weight();
            weight <= self.slot
        });
        self.replace(place, before.is_some(), kept);
        Insertion::Stored
    }

    /// What is known by now of a form of a response that is stored here.
    #[cfg(feature = "compress")]
    pub(crate) fn form(&self, place: u64, of: &StoredResponse, coding: Coding) -> Option<Form> {
        let slot = self.slots.peek(&place)?;
        let stored = slot
            .responses()
            .iter()
            .find(|stored| stored.is_same_as(of))?;
        stored.form(coding).cloned()
    }

    /// Keeps a form of a response that is stored here, for as long as the response. One for which there
    /// is no room leaves a note that it is not worth making.
    #[cfg(feature = "compress")]
    pub(crate) fn keep_form(&self, place: u64, of: &StoredResponse, form: Form) {
        let _writing = self.writer(place).lock();
        let Some(before) = self.slots.peek(&place) else {
            return;
        };
        let mut all = before.responses().to_vec();
        let Some(at) = all.iter().position(|stored| stored.is_same_as(of)) else {
            return; // it went, and its forms with it
        };
        let coding = form.coding;
        all[at] = Arc::new(all[at].with_form(form));
        let weight: u64 = all.iter().map(|stored| stored.weight()).sum();
        if weight > self.slot {
            let no_room = Form {
                coding,
                response: None,
            };
            all[at] = Arc::new(all[at].with_form(no_room));
        }
        self.replace(place, true, all);
    }

    /// Whether nothing is kept here.
    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    /// Whether a variant with these fields would find room beside the others that are still worth
    /// keeping.
    pub(crate) fn has_room(
        &self,
        place: u64,
        key: &[u8],
        vary: &[VaryField],
        worth: impl Fn(&StoredResponse) -> Worth,
    ) -> bool {
        let slot = self.slots.peek(&place);
        let others = slot.iter().flat_map(|slot| slot.responses());
        others
            .filter(|other| other.key() == key && other.vary() != vary)
            .filter(|other| worth(other) == Worth::Answers)
            .count()
            < self.variants
    }

    /// Removes the responses at `place` that `spoiled` points out, and says how many they were.
    pub(crate) fn remove(&self, place: u64, spoiled: impl Fn(&StoredResponse) -> bool) -> u64 {
        let _writing = self.writer(place).lock();
        let Some(before) = self.slots.peek(&place) else {
            return 0;
        };
        let all = before.responses().len();
        let kept: Vec<_> = before
            .responses()
            .iter()
            .filter(|s| !spoiled(s))
            .cloned()
            .collect();
        let removed = all - kept.len();
        if removed > 0 {
            self.replace(place, true, kept);
        }
        removed as u64
    }

    /// Counts the responses at `place` that `wanted` points out.
    pub(crate) fn count(&self, place: u64, wanted: impl Fn(&StoredResponse) -> bool) -> u64 {
        let slot = self.slots.peek(&place);
        slot.map_or(0, |slot| {
            slot.responses()
                .iter()
                .filter(|stored| wanted(stored))
                .count() as u64
        })
    }

    /// Every place that is taken.
    pub(crate) fn all_places(&self) -> Vec<u64> {
        self.slots.iter().map(|(place, _)| place).collect()
    }

    /// The places that carry one of these tags, each once; `None` without an index.
    pub(crate) fn places_of(&self, tags: &[TagHash]) -> Option<Vec<u64>> {
        let index = self.book.index.as_ref()?;
        let mut places: Vec<u64> = tags.iter().flat_map(|tag| index.places(*tag)).collect();
        places.sort_unstable();
        places.dedup();
        Some(places)
    }

    /// The number of stored responses.
    pub(crate) fn len(&self) -> u64 {
        self.book.responses.load(Ordering::Relaxed)
    }

    /// The bytes they weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.slots.weight()
    }

    /// The number of responses that had to make room for others.
    pub(crate) fn evicted(&self) -> u64 {
        self.book.evicted.load(Ordering::Relaxed)
    }

    fn writer(&self, place: u64) -> &Mutex<()> {
        &self.writers[(place % 64) as usize]
    }

    /// Puts `kept` in a place. Called by its one writer; if it `is_taken`, an eviction may clear it at
    /// any moment, and then accounts for what was there.
    fn replace(&self, place: u64, is_taken: bool, kept: Vec<Arc<StoredResponse>>) {
        let Some(slot) = Slot::of(kept) else {
            if let Some((_, old)) = self.slots.remove(&place) {
                self.book.strike(place, &old, None);
            }
            return;
        };
        self.book.enter(place, &slot);
        let mut writing = Some((place, slot.clone()));
        if is_taken {
            let replaced =
                self.slots
                    .replace_with_lifecycle(place, slot.clone(), false, &mut writing);
            if replaced.is_ok() {
                return;
            }
            // The eviction that was first has struck out the tags that both have.
            self.book.index_tags(place, &slot);
        }
        self.slots.insert_with_lifecycle(place, slot, &mut writing);
    }
}

impl Book {
    fn enter(&self, place: u64, slot: &Slot) {
        self.responses
            .fetch_add(slot.responses().len() as u64, Ordering::Relaxed);
        self.index_tags(place, slot);
    }

    fn index_tags(&self, place: u64, slot: &Slot) {
        if let Some(index) = &self.index {
            slot.tags().for_each(|tag| index.add(tag, place));
        }
    }

    /// Takes a slot out, but for the tags that its `successor` has too.
    fn strike(&self, place: u64, slot: &Slot, successor: Option<&Slot>) {
        self.responses
            .fetch_sub(slot.responses().len() as u64, Ordering::Relaxed);
        let Some(index) = &self.index else { return };
        let still_there: Vec<TagHash> = successor.into_iter().flat_map(Slot::tags).collect();
        let gone = slot.tags().filter(|tag| !still_there.contains(tag));
        gone.for_each(|tag| index.remove(tag, place));
    }
}

impl Slot {
    fn of(mut responses: Vec<Arc<StoredResponse>>) -> Option<Self> {
        match responses.len() {
            0 => None,
            1 => responses.pop().map(Self::One),
            _ => Some(Self::Many(responses.into())),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(this), Self::One(other)) => Arc::ptr_eq(this, other),
            (Self::Many(these), Self::Many(others)) => Arc::ptr_eq(these, others),
            _ => false,
        }
    }

    fn responses(&self) -> &[Arc<StoredResponse>] {
        match self {
            Self::One(stored) => std::slice::from_ref(stored),
            Self::Many(variants) => variants,
        }
    }

    fn tags(&self) -> impl Iterator<Item = TagHash> + '_ {
        self.responses()
            .iter()
            .flat_map(|stored| stored.indexed_tags())
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<u64, Slot> for ByWeight {
    fn weight(&self, _: &u64, slot: &Slot) -> u64 {
        slot.responses().iter().map(|stored| stored.weight()).sum()
    }
}

/// Takes what leaves the store out of the book: what is evicted, and what is written over.
#[derive(Clone)]
struct Unindex(Arc<Book>);

impl Lifecycle<u64, Slot> for Unindex {
    /// What is being written, and where.
    type RequestState = Option<(u64, Slot)>;

    fn on_evict(&self, writing: &mut Self::RequestState, place: u64, slot: Slot) {
        if let Some((written, successor)) = writing {
            if *written == place && !slot.is(successor) {
                return self.0.strike(place, &slot, Some(successor));
            }
        }
        self.0.strike(place, &slot, None);
        self.0
            .evicted
            .fetch_add(slot.responses().len() as u64, Ordering::Relaxed);
    }
}

/// The places are hashes already: the table takes them as they are.
#[derive(Clone, Copy, Default)]
struct Placed;

impl BuildHasher for Placed {
    type Hasher = PlacedHasher;

    fn build_hasher(&self) -> PlacedHasher {
        PlacedHasher(0)
    }
}

struct PlacedHasher(u64);

impl Hasher for PlacedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, place: u64) {
        self.0 = place;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::stored::{Fence, Head, Times};
    use crate::store::interned;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn responses(capacity: u64) -> Responses {
        Responses::new(Settings {
            capacity,
            largest: 1024,
            variants: 4,
            index: true,
            off: false,
        })
    }

    /// A kilobyte under this key with these tags, for requests with these fields.
    fn stored(key: &[u8], tags: &[String], vary: Vec<VaryField>) -> Arc<StoredResponse> {
        let head = Head {
            status: StatusCode::OK,
            common: interned::split(std::iter::empty()).0,
            lines: Vec::new(),
            vary,
            tags: tags.iter().map(|tag| TagHash::named(tag)).collect(),
            implicit: 0,
            fence: Fence {
                epoch: 0,
                clock: 0,
                begun: 0,
            },
            times: Times {
                response_time: NOW,
                born: NOW,
                fresh_until: NOW.plus(Duration::from_secs(60)),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
        };
        let body = Bytes::from(vec![b'x'; 1000]);
        Arc::new(StoredResponse::assemble(key, head, &[body]).unwrap())
    }

    #[test]
    fn two_keys_of_one_hash_never_answer_for_each_other() {
        let (responses, none) = (responses(64 << 10), HeaderMap::new());
        let request = RequestFields::read(&none);
        let finds = |key: &[u8]| matches!(responses.find(7, key, &request), Found::Response(_));
        responses.insert(7, stored(b"one", &[], vec![]), |_| Worth::Answers);
        assert!(finds(b"one"));
        assert!(!finds(b"other"));
        assert!(matches!(
            responses.find(7, b"other", &request),
            Found::Nothing
        ));
        // The later one takes the place, and is not a variant of the earlier.
        responses.insert(7, stored(b"other", &[], vec![]), |_| Worth::Answers);
        assert_eq!((finds(b"one"), finds(b"other")), (false, true));
        let dark = VaryField {
            name: http::HeaderName::from_static("x-theme"),
            value: Some((*b"dark").into()),
        };
        responses.insert(7, stored(b"third", &[], vec![dark]), |_| Worth::Answers);
        assert!(!finds(b"third"), "this request is not for dark");
        assert_eq!(responses.len(), 1);
    }

    #[test]
    fn the_tag_index_forgets_what_is_evicted_replaced_or_removed() {
        const PLACES: u64 = 500;
        let responses = responses(64 << 10);
        let tags = |place: u64, round: u64| {
            (0..20)
                .map(|n| format!("{place}:{round}:{n}"))
                .collect::<Vec<_>>()
        };
        for round in 0..3 {
            for place in 0..PLACES {
                let key = place.to_be_bytes();
                responses.insert(place, stored(&key, &tags(place, round), vec![]), |_| {
                    Worth::Answers
                });
            }
        }
        let indexed = || {
            (0..3)
                .flat_map(|round| (0..PLACES).flat_map(move |place| tags(place, round)))
                .map(|tag| {
                    let places = responses.places_of(&[TagHash::named(&tag)]);
                    places.expect("there is an index").len() as u64
                })
                .sum::<u64>()
        };
        assert!(responses.len() < PLACES / 5, "most were evicted");
        assert_eq!(indexed(), 20 * responses.len());
        for place in 0..PLACES {
            responses.remove(place, |_| true);
        }
        assert_eq!((responses.len(), indexed()), (0, 0));
    }
}
