//! What is written is read; what is odd is a miss.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::policy::stored::{Fence, Head, Times, VaryField};
use crate::policy::tag::TagHash;
use crate::store::interned;

/// What version 1 looked like when it was released. Never change it: old values are still out there.
const V1: &[u8] = include_bytes!("samples/v1.bin");

const KEY: &[u8] = b"\x01G\x04\x00\x06/posts";

fn sample() -> StoredResponse {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("etag", "\"v7\""),
        ("x-part", "one"),
        ("x-part", "two"),
        ("vary", "accept-language"),
    ] {
        fields.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let mut secret = HeaderValue::from_static("s3cret");
    secret.set_sensitive(true);
    fields.append("x-secret", secret);
    response(&fields, b"{\"items\":[]}")
}

fn response(fields: &HeaderMap, body: &'static [u8]) -> StoredResponse {
    let (common, lines) = interned::split(
        fields
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let at = Timestamp::from_millis;
    let field = |name, value: Option<&[u8]>| VaryField {
        name: HeaderName::from_static(name),
        value: value.map(Into::into),
    };
    let head = Head {
        status: StatusCode::OK,
        common,
        lines,
        vary: vec![
            field("accept-language", Some(b"de")),
            field("x-absent", None),
        ],
        tags: vec![TagHash::path(None, b"/posts"), TagHash::named("posts")],
        implicit: 1,
        fence: Fence {
            epoch: 0x1122_3344_5566_7788,
            clock: 1_767_225_600_000_000,
            begun: 0,
        },
        times: Times {
            response_time: at(1_767_225_600_100),
            born: at(1_767_225_600_000),
            fresh_until: at(1_767_225_660_000),
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(300),
        },
    };
    StoredResponse::assemble(KEY, head, &[Bytes::from_static(body)]).unwrap()
}

fn assert_same(read: &StoredResponse, written: &StoredResponse) {
    let lines = |stored: &StoredResponse| {
        let own = stored.lines().iter().map(|(name, value)| (name, value));
        let mut all: Vec<_> = interned::lines(stored.common())
            .chain(own)
            .map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive()))
            .collect();
        all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        all
    };
    assert_eq!(read.key(), written.key());
    assert_eq!(read.body(), written.body());
    assert_eq!(read.body_length(), written.body_length());
    assert_eq!(lines(read), lines(written));
    assert_eq!(read.vary(), written.vary());
    assert_eq!(read.tags(), written.tags());
    assert_eq!(read.implicit(), written.implicit());
    assert_eq!(read.fence(), written.fence());
    assert_eq!(read.times(), written.times());
    assert_eq!(read.status(), written.status());
}

fn open(bytes: &[u8]) -> Result<StoredResponse, Odd> {
    Envelope::default().open(b"place", KEY, Bytes::copy_from_slice(bytes))
}

#[test]
fn what_is_written_is_read_in_order_and_with_repeats() {
    let written = sample();
    let bytes = Envelope::default().wrap(b"place", &written).unwrap();
    assert_eq!(bytes.len(), bytes.capacity(), "the length is known before");
    let read = open(&bytes).unwrap();
    assert_same(&read, &written);
    let parts: Vec<_> = read
        .lines()
        .iter()
        .filter(|(name, _)| name == "x-part")
        .collect();
    assert_eq!(parts[0].1, "one");
    assert_eq!(parts[1].1, "two");
}

#[test]
fn field_values_and_body_share_the_received_buffer() {
    let bytes = Bytes::from(Envelope::default().wrap(b"place", &sample()).unwrap());
    let received = bytes.as_ptr_range();
    let read = Envelope::default().open(b"place", KEY, bytes).unwrap();
    assert!(received.contains(&read.body().as_ptr()));
    let (_, etag) = read
        .lines()
        .iter()
        .find(|(name, _)| name == "etag")
        .unwrap();
    assert!(received.contains(&etag.as_bytes().as_ptr()));
}

#[test]
fn bytes_of_every_released_version_stay_readable() {
    assert_same(&open(V1).unwrap(), &sample());
    let written = Envelope::default().wrap(b"place", &sample()).unwrap();
    assert_eq!(
        written, V1,
        "a changed format needs a new version and a new sample"
    );
}

#[test]
fn every_flipped_bit_and_every_truncation_is_a_miss() {
    for bit in 0..V1.len() * 8 {
        let mut bytes = V1.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&bytes).is_err(), "bit {bit}");
    }
    for length in 0..V1.len() {
        assert!(open(&V1[..length]).is_err(), "{length} bytes");
    }
    assert!(open(&[V1, b"\0"].concat()).is_err());
}

#[test]
fn foreign_newer_and_misplaced_values_say_what_they_are() {
    let newer = [&V1[..4], &[2], &V1[5..]].concat();
    let sealed = [&V1[..5], &[1], &V1[6..]].concat();
    for (bytes, odd) in [
        (&b""[..], Odd::Foreign),
        (b"{\"not\":\"ours\"}", Odd::Foreign),
        (&newer, Odd::Version),
        (&sealed, Odd::Sealing),
    ] {
        assert_eq!(open(bytes).unwrap_err(), odd);
    }
    let other = Envelope::default().open(b"place", b"other", Bytes::from_static(V1));
    assert_eq!(other.unwrap_err(), Odd::OtherKey);
}

/// With a right checksum, so that the content is read at all.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes);
    bytes[HEADER..HEADER + CHECKSUM].copy_from_slice(&sum);
    bytes
}

proptest! {
    #[test]
    fn nothing_that_redis_may_hold_makes_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = open(&bytes);
        let mut whole = header(0, 0).to_vec();
        whole.extend_from_slice(&[0; CHECKSUM]);
        whole.extend_from_slice(&bytes);
        let _ = open(&with_checksum(whole));
    }

    #[test]
    fn a_forged_length_is_never_believed(at in 12usize..200, value in any::<[u8; 4]>()) {
        let mut bytes = V1.to_vec();
        let end = (at + 4).min(bytes.len());
        bytes[at..end].copy_from_slice(&value[..end - at]);
        if let Ok(read) = open(&with_checksum(bytes)) {
            prop_assert!(read.weight() < 4096, "{}", read.weight());
        }
    }

    #[test]
    fn any_fields_and_any_body_survive(
        names in proptest::collection::vec("[a-z][a-z0-9-]{0,12}", 0..8),
        value in "[ -~]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut fields = HeaderMap::new();
        for name in &names {
            let value = HeaderValue::from_str(value.trim()).unwrap();
            fields.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        fields.remove("age");
        fields.remove("cache-status");
        let written = response(&fields, Vec::leak(body));
        let bytes = Envelope::default().wrap(b"place", &written).unwrap();
        assert_same(&open(&bytes).unwrap(), &written);
    }
}

#[cfg(feature = "encryption")]
mod sealed {
    use super::*;

    fn sealing(ids: &[u8]) -> Envelope {
        let keys: Vec<_> = ids.iter().map(|id| (*id, [*id; 32])).collect();
        Envelope {
            sealing: Sealing::new(&keys),
        }
    }

    fn open(envelope: &Envelope, place: &[u8], bytes: &[u8]) -> Result<StoredResponse, Odd> {
        envelope.open(place, KEY, Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_sealed_response_shows_nothing_and_opens_again() {
        let envelope = sealing(&[7]);
        let bytes = envelope.wrap(b"place", &sample()).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"items"));
        assert_same(&open(&envelope, b"place", &bytes).unwrap(), &sample());
        let again = envelope.wrap(b"place", &sample()).unwrap();
        assert_ne!(bytes, again, "every seal has a nonce of its own");
    }

    #[test]
    fn keys_rotate_without_a_miss() {
        let old = sealing(&[1]).wrap(b"place", &sample()).unwrap();
        let both = sealing(&[2, 1]);
        assert!(open(&both, b"place", &old).is_ok());
        let new = both.wrap(b"place", &sample()).unwrap();
        assert_eq!(
            open(&sealing(&[1]), b"place", &new).unwrap_err(),
            Odd::Sealing
        );
    }

    #[test]
    fn a_seal_is_broken_by_any_bit_and_by_moving_it() {
        let envelope = sealing(&[7]);
        let bytes = envelope.wrap(b"place", &sample()).unwrap();
        assert_eq!(open(&envelope, b"other", &bytes).unwrap_err(), Odd::Corrupt);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&envelope, b"place", &bytes).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(open(&envelope, b"place", &bytes[..length]).is_err());
        }
    }

    #[test]
    fn plain_and_sealed_values_do_not_stand_in_for_each_other() {
        let sealed = sealing(&[7]).wrap(b"place", &sample()).unwrap();
        assert_eq!(super::open(&sealed).unwrap_err(), Odd::Sealing);
        assert_eq!(
            open(&sealing(&[7]), b"place", V1).unwrap_err(),
            Odd::Sealing
        );
    }

    #[test]
    fn keys_are_refused_when_an_id_stands_for_two() {
        assert!(Sealing::new(&[]).is_none());
        assert!(Sealing::new(&[(1, [0; 32]), (1, [1; 32])]).is_none());
    }
}
