//! `Cache-Status` and `Age` as field values.
//!
//! Every hit writes both, and nearly always with small numbers. Those are written once per process
//! and lent from then on, which needs no memory and counts no references.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use http::header::HeaderValue;
use parking_lot::Mutex;

use crate::policy::decision::Decision;
use crate::policy::key;

/// The longest name of a cache.
pub(crate) const MAX_NAME: usize = 64;

/// Numbers below this are written once.
const SMALL: usize = 4096;

/// How many names of caches have their hits written once.
const NAMES: usize = 8;

/// A field value that need not be made, or one that had to be. Small, because an answer hands it on.
pub(crate) enum Written {
    Before(&'static HeaderValue),
    Now(Box<HeaderValue>),
}

impl std::ops::Deref for Written {
    type Target = HeaderValue;

    fn deref(&self) -> &HeaderValue {
        match self {
            Self::Before(value) => value,
            Self::Now(value) => value,
        }
    }
}

/// What a cache of some name writes.
pub(crate) struct CacheStatus {
    name: String,
    /// Plain hits, by the seconds that were left.
    hits: &'static [HeaderValue],
}

impl CacheStatus {
    pub(crate) fn new(name: String) -> Self {
        static TABLES: LazyLock<Mutex<HashMap<String, &'static [HeaderValue]>>> =
            LazyLock::new(Mutex::default);
        let mut tables = TABLES.lock();
        let hits = match tables.get(&name) {
            Some(known) => known,
            None if tables.len() < NAMES => {
                let table =
                    small_numbers(|ttl| written(&name, &Decision::Hit { ttl, detail: None }));
                tables.insert(name.clone(), table);
                table
            }
            None => &[],
        };
        Self { name, hits }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The member of `Cache-Status` for a decision (RFC 9211 §2).
    #[inline]
    pub(crate) fn field(&self, decision: &Decision) -> Written {
        if let Decision::Hit { ttl, detail: None } = decision {
            let known = usize::try_from(*ttl)
                .ok()
                .and_then(|ttl| self.hits.get(ttl));
            if let Some(value) = known {
                return Written::Before(value);
            }
        }
        let value = HeaderValue::try_from(written(&self.name, decision));
        let value = value.expect("the name is a token, and parameters are visible ASCII");
        Written::Now(Box::new(value))
    }
}

/// The same with the key that was looked up, which is never written before (RFC 9211 §2.7).
#[cold]
pub(crate) fn with_key(field: &Written, key: &[u8]) -> Written {
    let mut value = field.as_bytes().to_vec();
    value.extend_from_slice(b"; key=\"");
    value.extend_from_slice(key::shown(key).as_bytes());
    value.push(b'"');
    let value = HeaderValue::try_from(value).expect("visible ASCII, and no quote within");
    Written::Now(Box::new(value))
}

fn written(name: &str, decision: &Decision) -> String {
    let mut field = String::with_capacity(MAX_NAME + 64);
    field.push_str(name);
    let written = decision.write_parameters(&mut field);
    written.expect("writing to memory cannot fail");
    field
}

/// The value of `Age` (RFC 9111 §5.1).
#[inline]
pub(crate) fn age(seconds: u64) -> Written {
    static AGES: LazyLock<&'static [HeaderValue]> =
        LazyLock::new(|| small_numbers(|seconds| seconds.to_string()));
    match usize::try_from(seconds).ok().and_then(|n| AGES.get(n)) {
        Some(value) => Written::Before(value),
        None => Written::Now(Box::new(HeaderValue::from(seconds.min(1 << 31)))),
    }
}

fn small_numbers(write: impl Fn(i64) -> String) -> &'static [HeaderValue] {
    let mut text = String::new();
    let mut ends = Vec::with_capacity(SMALL);
    for n in 0..SMALL {
        let number = i64::try_from(n).unwrap_or(i64::MAX);
        let written = text.write_str(&write(number));
        written.expect("writing to memory cannot fail");
        ends.push(text.len());
    }
    let text: &'static str = String::leak(text);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let values: Vec<_> = starts
        .zip(&ends)
        .map(|(start, end)| HeaderValue::from_static(&text[start..*end]))
        .collect();
    Vec::leak(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_seconds_without_leading_zeros() {
        for seconds in (0..5000).chain([86_400, 1 << 40]) {
            assert_eq!(
                age(seconds).to_str().unwrap(),
                seconds.min(1 << 31).to_string()
            );
        }
    }

    #[test]
    fn a_hit_is_written_alike_from_the_table_and_without_it() {
        let status = CacheStatus::new("larder".to_owned());
        for ttl in [0, 1, 59, 4095, 4096, 1 << 40, -1] {
            let field = status.field(&Decision::Hit { ttl, detail: None });
            assert_eq!(field.to_str().unwrap(), format!("larder; hit; ttl={ttl}"));
        }
    }
}
