//! Values that are written once and last as long as the process.
//!
//! Handing one out takes no memory and counts no references, which all threads would share. A service says the same
//! of its limits again and again: each policy is one value, and of ways in which its buckets stand there are, for
//! most quotas, a few hundred. Only so many are kept, since layers made per request must not fill the memory; what
//! does not fit is written anew each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use http::header::{HeaderMap, HeaderValue};
use parking_lot::Mutex;

use super::{Fields, Standing, POLICY, RATELIMIT};

/// Texts that are kept, of all limits.
const TEXTS: usize = 512;
/// Standings that are kept, of all limits: about 300 bytes each.
const STANDINGS: usize = 8192;
/// Standings that are kept of one limit, at most.
const PLACES: usize = 256;

/// This text, for the whole life of the process; `None` once there are too many different ones.
pub(crate) fn text(text: &str) -> Option<&'static str> {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock();
    if let Some(known) = kept.get(text).copied() {
        return Some(known);
    }
    let text = (kept.len() < TEXTS).then(|| &*String::leak(text.to_owned()))?;
    kept.insert(text);
    Some(text)
}

/// What an answer is told of one limit.
#[derive(Debug)]
pub(crate) struct Told {
    standing: Standing,
    policy: HeaderValue,
    pub(crate) ratelimit: HeaderValue,
    /// The seconds until the reset, as `Retry-After` has them.
    pub(crate) retry_after: HeaderValue,
}

impl Told {
    /// Appends the fields: behind what layers further in have said, not in its place.
    #[inline]
    pub(crate) fn append(&self, headers: &mut HeaderMap) {
        headers.append(POLICY, self.policy.clone());
        headers.append(RATELIMIT, self.ratelimit.clone());
    }

    /// `None` once there are too many of them.
    fn kept(
        standing: Standing,
        policy: &HeaderValue,
        ratelimit: &HeaderValue,
    ) -> Option<&'static Self> {
        static KEPT: Mutex<BTreeMap<&'static str, &'static Told>> = Mutex::new(BTreeMap::new());
        static FULL: AtomicBool = AtomicBool::new(false);
        if FULL.load(Ordering::Relaxed) {
            return None;
        }
        let policy = policy.to_str().ok()?;
        // Both in one text, which says all that is told. It ends with the seconds.
        let text = [policy, ratelimit.to_str().ok()?].concat();
        let mut kept = KEPT.lock();
        if let Some(known) = kept.get(text.as_str()).copied() {
            return Some(known);
        }
        let text: &'static str = text.leak();
        let (policy, ratelimit) = text.split_at(policy.len());
        let before = ratelimit.trim_end_matches(|c: char| c.is_ascii_digit());
        let told: &'static Self = Box::leak(Box::new(Self {
            standing,
            policy: HeaderValue::from_static(policy),
            ratelimit: HeaderValue::from_static(ratelimit),
            retry_after: HeaderValue::from_static(&ratelimit[before.len()..]),
        }));
        kept.insert(text, told);
        FULL.store(kept.len() >= STANDINGS, Ordering::Relaxed);
        Some(told)
    }
}

/// What was told of one limit so far.
#[derive(Debug)]
pub(super) struct Table(Box<[OnceLock<&'static Told>; PLACES]>);

impl Default for Table {
    fn default() -> Self {
        Self(Box::new([const { OnceLock::new() }; PLACES]))
    }
}

impl Table {
    /// Looks in two places. The first to come has a place for good.
    #[inline]
    pub(super) fn find(&self, standing: Standing, fields: &Fields) -> Option<&'static Told> {
        for place in places(standing).map(|place| &self.0[usize::from(place)]) {
            match place.get() {
                Some(told) if told.standing == standing => return Some(told),
                Some(_) => {}
                None => return keep(place, standing, fields),
            }
        }
        None
    }
}

#[cold]
fn keep(
    place: &OnceLock<&'static Told>,
    standing: Standing,
    fields: &Fields,
) -> Option<&'static Told> {
    let told = Told::kept(standing, &fields.policy, &fields.ratelimit(standing)?)?;
    // If another thread was faster, this one is told now and kept next time.
    let _ = place.set(told);
    Some(told)
}

/// Where it may lie: one place of 256, or another.
#[inline]
fn places(standing: Standing) -> [u8; 2] {
    // An odd constant with well-spread bits.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = standing
        .left
        .wrapping_mul(SPREAD)
        .wrapping_add(standing.reset);
    let [first, second, ..] = mixed.wrapping_mul(SPREAD).to_be_bytes();
    [first, second]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Profile;
    use super::*;

    fn fields(name: &str) -> Fields {
        Fields::new(Profile::Draft, name, 5_000, Duration::from_secs(3600))
    }

    #[test]
    fn what_is_told_is_what_would_be_written() {
        for profile in [Profile::Draft, Profile::Draft7] {
            let fields = Fields::new(profile, "a-7", 120, Duration::from_secs(60));
            // More than there are places for.
            for n in 0..2_000 {
                let standing = Standing {
                    left: n % 131,
                    reset: n % 17 * 1_000 + n / 131,
                };
                let written = fields.ratelimit(standing).unwrap();
                for _ in 0..2 {
                    let Some(told) = fields.told(standing) else {
                        continue;
                    };
                    assert_eq!(told.ratelimit, written);
                    assert_eq!(told.retry_after, standing.reset.to_string());
                    let (mut told_map, mut map) = (HeaderMap::new(), HeaderMap::new());
                    told.append(&mut told_map);
                    fields.append_policy(&mut map);
                    fields.append_standing(&mut map, standing, || 0);
                    assert_eq!(told_map, map);
                }
            }
        }
    }

    #[test]
    fn what_was_told_once_is_the_same_value_in_every_layer() {
        let standing = Standing { left: 1, reset: 9 };
        let told = fields("same").told(standing).unwrap();
        assert!(std::ptr::eq(told, fields("same").told(standing).unwrap()));
        assert!(!std::ptr::eq(told, fields("other").told(standing).unwrap()));
    }

    #[test]
    fn a_limit_keeps_no_more_than_it_has_places() {
        let fields = fields("many");
        let told = |n| fields.told(Standing { left: n, reset: 1 }).is_some();
        let kept = (0..5_000).filter(|n| told(*n)).count();
        assert!((200..=PLACES).contains(&kept), "{kept}");
        assert_eq!((0..5_000).filter(|n| told(*n)).count(), kept, "for good");
    }
}
