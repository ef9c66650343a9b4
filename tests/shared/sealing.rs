//! What is sealed cannot be read in Redis, and nothing else is believed.

use larder::{Cache, CacheBuilder};

use crate::nodes::*;
use crate::support::*;

const OLD: (u8, [u8; 32]) = (1, [1; 32]);
const NEW: (u8, [u8; 32]) = (2, [2; 32]);

fn all_bytes(prefix: &str) -> Vec<u8> {
    let mut redis = raw(&SERVER);
    let mut all = Vec::new();
    for key in entries(&mut redis, prefix) {
        let value: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis).unwrap();
        all.extend([key.into_bytes(), value].concat());
    }
    all
}

fn contains(all: &[u8], what: &str) -> bool {
    all.windows(what.len())
        .any(|window| window == what.as_bytes())
}

async fn store(node: &Cache, prefix: &str) {
    let mut redis = raw(&SERVER);
    let secret = Origin::new(|_| {
        let mut response = text("a confidential body");
        let fields = response.headers_mut();
        fields.insert("x-secret", "a confidential field".parse().unwrap());
        response
    });
    send(&layer(node), &secret, get("/confidential/path", &[])).await;
    eventually(|| std::future::ready(entries(&mut redis, prefix).len() == 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_response_shows_nothing_of_itself_in_redis() {
    for (sealed, shown) in [(true, false), (false, true)] {
        let prefix = prefix();
        let say = |b: CacheBuilder| if sealed { b.sealed([OLD]) } else { b };
        let (a, b) = (node(&prefix, say).await, node(&prefix, say).await);
        store(&a, &prefix).await;
        let all = all_bytes(&prefix);
        for what in [
            "confidential body",
            "confidential field",
            "confidential/path",
        ] {
            assert_eq!(contains(&all, what), shown, "{what}");
        }
        let read = served(&layer(&b), &get("/confidential/path", &[])).await;
        assert_eq!(read.text(), "a confidential body");
        assert_eq!(read.field("x-secret"), "a confidential field");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_and_what_none_of_them_sealed_is_not_read() {
    type Keys = &'static [(u8, [u8; 32])];
    let wrong = (OLD.0, [3; 32]);
    let rows: [(Keys, Keys, bool); 8] = [
        (&[OLD], &[OLD], true),
        (&[OLD], &[NEW, OLD], true),
        (&[NEW, OLD], &[NEW], true),
        (&[OLD], &[NEW], false),
        (&[NEW, OLD], &[OLD], false),
        (&[OLD], Box::leak(Box::new([wrong])), false),
        (&[], &[OLD], false),
        (&[OLD], &[], false),
    ];
    for (i, (seals, opens, read)) in rows.into_iter().enumerate() {
        let prefix = prefix();
        let say = |keys: Keys| {
            move |b: CacheBuilder| {
                if keys.is_empty() {
                    b
                } else {
                    b.sealed(keys.to_vec())
                }
            }
        };
        let (a, b) = (
            node(&prefix, say(seals)).await,
            node(&prefix, say(opens)).await,
        );
        store(&a, &prefix).await;
        let found = ask(&layer(&b), &get("/confidential/path", &[])).await;
        assert_eq!(found.is_some(), read, "row {i}");
        let stats = shared(&b);
        assert_eq!(
            (stats.hits, stats.unreadable),
            (u64::from(read), u64::from(!read))
        );
    }
}
