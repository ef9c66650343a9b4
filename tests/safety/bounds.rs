//! Nothing grows without end, and a flood of strangers does not wash out what is in use.

use larder::{Cache, CacheBuilder, CacheLayer, Tags};

use crate::support::*;

/// A cache of `capacity` bytes with bodies up to a kilobyte.
fn small(capacity: u64) -> Cache {
    Cache::builder()
        .capacity(capacity)
        .body_limit(1024)
        .build()
        .unwrap()
}

fn kilobyte() -> Origin {
    Origin::new(|_| text(vec![b'x'; 1000]))
}

#[tokio::test]
async fn thousands_of_keys_past_the_capacity_leave_entries_and_bytes_bounded() {
    const CAPACITY: u64 = 256 << 10;
    let cache = small(CAPACITY);
    let layer = cache.layer().ttl(MINUTE).tag("all");
    let origin = kilobyte();
    for n in 0..2000 {
        send(&layer, &origin, get(&format!("/{n}"), &[])).await;
        let stats = cache.stats();
        assert!(stats.bytes <= CAPACITY, "{stats:?}");
        assert!(stats.entries <= CAPACITY / 1000, "{stats:?}");
    }
    let stats = cache.stats();
    assert_eq!(stats.stored, 2000);
    assert_eq!(stats.evicted + stats.entries, 2000);
    assert!(
        stats.entries >= 64,
        "and most of the capacity is used: {stats:?}"
    );
    // The index forgot what was evicted: the count is that of what is left.
    let counted = cache.invalidate_tag("all").await;
    assert_eq!(counted.entries, Some(stats.entries));
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
}

#[tokio::test]
async fn stale_responses_count_towards_the_capacity_too() {
    const CAPACITY: u64 = 64 << 10;
    let clock = larder::ManualClock::new();
    let cache = Cache::builder()
        .clock(clock.clock())
        .capacity(CAPACITY)
        .body_limit(1024)
        .build()
        .unwrap();
    let layer = cache.layer().ttl(MINUTE);
    let origin = kilobyte();
    for n in 0..500 {
        send(&layer, &origin, get(&format!("/{n}"), &[])).await;
        clock.advance(MINUTE);
    }
    assert!(cache.stats().bytes <= CAPACITY);
}

#[tokio::test]
async fn a_layer_or_a_handle_that_is_dropped_changes_nothing_for_the_others() {
    let cache = small(256 << 10);
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let origin = Origin::counting();
    send(&layer.clone(), &origin, get("/", &[])).await;
    drop(layer.clone());
    drop(cache.clone());
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
    let other = cache.clone();
    drop(cache);
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
    assert_eq!(other.invalidate_tag("posts").await.entries, Some(1));
    assert!(!send(&layer, &origin, get("/", &[])).await.is_hit());
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_whole_and_not_stored() {
    let cache = small(256 << 10);
    let layer = cache.layer().ttl(MINUTE);
    let chunk = || Step::Bytes(vec![b'x'; 600].into());
    let announced =
        Origin::new(move |_| http::Response::new(TestBody::sized([chunk(), chunk()], 1200)));
    let surprising = Origin::new(move |_| http::Response::new(TestBody::new([chunk(), chunk()])));
    for (origin, uri) in [(announced, "/announced"), (surprising, "/surprising")] {
        for _ in 0..2 {
            let answer = send(&layer, &origin, get(uri, &[])).await;
            assert_eq!(answer.body.len(), 1200);
            assert_eq!(answer.decision(), "fwd=uri-miss; detail=body-too-large");
        }
    }
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn a_head_over_the_limit_is_answered_whole_and_not_stored() {
    let cache = small(256 << 10);
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::new(|_| {
        let mut response = text("");
        let long = "x".repeat(20_000).parse().unwrap();
        response.headers_mut().insert("x-long", long);
        response
    });
    let answer = send(&layer, &origin, get("/", &[])).await;
    assert_eq!(answer.field("x-long").len(), 20_000);
    assert_eq!(answer.decision(), "fwd=uri-miss; detail=head-too-large");
}

#[tokio::test]
async fn a_response_with_more_tags_than_the_limit_is_never_stored_with_fewer() {
    let tags = |count: usize| (0..count).map(|n| format!("tag:{n}")).collect::<Vec<_>>();
    let long = || vec!["x".repeat(257)];
    let rows = [
        ("/64", tags(64), true),
        ("/65", tags(65), false),
        ("/100000", tags(100_000), false),
        ("/twice", [tags(40), tags(40)].concat(), true),
        ("/long", long(), false),
        ("/empty", vec![String::new()], false),
    ];
    for from in ["handler", "response", "request"] {
        let (cache, _clock) = cache();
        for (uri, tags, is_stored) in rows.clone() {
            let layer = cache.layer().ttl(MINUTE);
            let (origin, layer) = match from {
                "handler" => {
                    let handlers = Tags::new(tags);
                    let origin = Origin::new(move |_| {
                        let mut response = text("");
                        response.extensions_mut().insert(handlers.clone());
                        response
                    });
                    (origin, layer)
                }
                "response" => (
                    Origin::counting(),
                    layer.tags_of_response(move |_| tags.clone()),
                ),
                _ => (Origin::counting(), layer.tags_by(move |_| tags.clone())),
            };
            let answer = send(&layer, &origin, get(uri, &[])).await;
            let expected = match is_stored {
                true => "fwd=uri-miss; stored",
                false => "fwd=uri-miss; detail=tags",
            };
            assert_eq!(answer.decision(), expected, "{from} {uri}");
            assert_eq!(answer.status, 200);
        }
        // What is stored is found by the first of its tags and by the last.
        assert_eq!(
            cache.invalidate_tag("tag:63").await.entries,
            Some(1),
            "{from}"
        );
        assert_eq!(
            cache.invalidate_tag("tag:39").await.entries,
            Some(1),
            "{from}"
        );
        assert_eq!(cache.stats().entries, 0, "{from}");
    }
}

#[tokio::test]
async fn bounds_of_tags_heads_and_vary_are_those_of_the_builder() {
    let longer = || ("x-long", "x".repeat(20_000));
    let rows: [(CacheBuilder, (&'static str, String), &str); 5] = [
        (Cache::builder().max_head(30_000), longer(), "stored"),
        (
            Cache::builder().max_tag_length(5),
            ("vary", "a".into()),
            "stored",
        ),
        (
            Cache::builder().max_tag_length(4),
            ("vary", "a".into()),
            "detail=tags",
        ),
        (
            Cache::builder().max_vary_fields(9),
            ("vary", "a, b, c, d, e, f, g, h, i".into()),
            "stored",
        ),
        (
            Cache::builder().max_vary_fields(0),
            ("vary", "a".into()),
            "detail=vary",
        ),
    ];
    for (builder, (name, value), expected) in rows {
        let cache = builder.build().unwrap();
        let layer = cache.layer().ttl(MINUTE);
        let origin = Origin::new(move |_| {
            let mut response = text("");
            response.headers_mut().insert(name, value.parse().unwrap());
            response.extensions_mut().insert(Tags::new(["posts"]));
            response
        });
        let answer = send(&layer, &origin, get("/", &[])).await;
        assert_eq!(answer.decision(), format!("fwd=uri-miss; {expected}"));
    }
    let zeros = [
        (Cache::builder().max_tag_length(0), "`.max_tag_length(256)`"),
        (Cache::builder().max_head(0), "`.max_head(16 << 10)`"),
    ];
    for (builder, instead) in zeros {
        assert_eq!(builder.build().unwrap_err().instead(), instead);
    }
}

#[tokio::test]
async fn any_number_of_distinct_tags_takes_no_more_than_the_capacity() {
    const CAPACITY: u64 = 256 << 10;
    const REQUESTS: usize = 2000;
    let cache = small(CAPACITY);
    let layer = cache
        .layer()
        .ttl(MINUTE)
        .tags_by(|request| (0..50).map(|n| format!("{}:{n}", request.uri)).collect());
    let origin = Origin::counting();
    for n in 0..REQUESTS {
        send(&layer, &origin, get(&format!("/{n}"), &[])).await;
        assert!(cache.stats().bytes <= CAPACITY);
    }
    // A hundred thousand tags were seen. The index knows those of what is left, and no others.
    let left = cache.stats().entries;
    let mut found = 0;
    for n in 0..REQUESTS {
        found += cache
            .invalidate_tag(format!("/{n}:49"))
            .await
            .entries
            .unwrap();
    }
    assert_eq!(found, left);
    assert_eq!(cache.stats().entries, 0);
}

const HOT: u32 = 60;

/// A full store, a set of paths that is asked for again and again, and strangers with random queries.
struct Flood {
    layer: CacheLayer,
    origin: Origin,
    random: u32,
}

impl Flood {
    fn new() -> Self {
        Self {
            layer: small(256 << 10).layer().ttl(MINUTE),
            origin: Origin::new(|_| text(vec![b'x'; 500])),
            random: 0x2545_f491,
        }
    }

    async fn strangers(&mut self, count: u32) {
        for _ in 0..count {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let query = get(&format!("/?q={}", self.random), &[]);
            send(&self.layer, &self.origin, query).await;
        }
    }

    async fn is_hit(&self, hot: u32) -> bool {
        let request = get(&format!("/hot/{hot}"), &[]);
        send(&self.layer, &self.origin, request).await.is_hit()
    }

    /// The share of requests for the hot set that are hits, while ten strangers come with each.
    async fn hit_ratio(&mut self) -> f64 {
        const ROUNDS: u32 = 10;
        let mut hits = 0;
        for _ in 0..ROUNDS {
            for hot in 0..HOT {
                hits += u32::from(self.is_hit(hot).await);
                self.strangers(10).await;
            }
        }
        f64::from(hits) / f64::from(HOT * ROUNDS)
    }
}

#[tokio::test]
async fn random_queries_do_not_push_out_what_is_in_use() {
    let mut flood = Flood::new();
    for hot in 0..HOT {
        flood.is_hit(hot).await;
    }
    let ratio = flood.hit_ratio().await;
    assert!(ratio > 0.98, "{ratio}");
}

#[tokio::test]
async fn random_queries_do_not_keep_out_what_comes_into_use() {
    let mut flood = Flood::new();
    flood.strangers(1000).await;
    for hot in 0..HOT {
        flood.is_hit(hot).await;
        assert!(flood.is_hit(hot).await);
    }
    let ratio = flood.hit_ratio().await;
    assert!(ratio > 0.98, "{ratio}");
}

/// Answers with this many bytes, one variant per language.
fn in_languages(length: usize) -> Origin {
    Origin::new(move |_| {
        let mut response = text(vec![b'x'; length]);
        let vary = "accept-language".parse().unwrap();
        response.headers_mut().insert("vary", vary);
        response
    })
}

#[tokio::test]
async fn variants_that_no_longer_hold_take_no_room_from_others() {
    for index in [true, false] {
        let clock = larder::ManualClock::new();
        let builder = Cache::builder().max_variants(2).tag_index(index);
        let cache = builder.clock(clock.clock()).build().unwrap();
        let layer = cache.layer().ttl(MINUTE);
        let origin = in_languages(1);
        let ask = |language| send(&layer, &origin, get("/", &[("accept-language", language)]));
        let refused = "fwd=vary-miss; detail=too-many-variants";
        for (stored, other) in [
            (["aa", "ab"], "ac"),
            (["ba", "bb"], "bc"),
            (["ca", "cb"], "cc"),
        ] {
            for language in stored {
                ask(language).await;
                assert!(ask(language).await.is_hit(), "{language}");
            }
            assert_eq!(ask(other).await.decision(), refused);
            if other == "ac" {
                clock.advance(MINUTE);
            } else {
                drop(cache.invalidate_all());
            }
        }
    }
}

#[tokio::test]
async fn where_not_all_variants_fit_the_oldest_make_room() {
    let cache = Cache::builder().build().unwrap();
    let layer = cache.layer().ttl(MINUTE);
    let origin = in_languages(900 << 10);
    let languages = ["aa", "ab", "ac", "ad", "ae", "af", "ag", "ah"];
    let ask = |language| send(&layer, &origin, get("/", &[("accept-language", language)]));
    for language in languages {
        ask(language).await;
        assert!(ask(language).await.is_hit(), "{language}");
    }
    let kept = cache.stats().entries;
    assert!((2..8).contains(&kept), "{kept}");
    for (age, language) in languages.iter().rev().enumerate() {
        if (age as u64) < kept {
            assert!(ask(language).await.is_hit(), "{language}");
        }
    }
}

#[tokio::test]
async fn the_longest_body_that_a_route_may_ask_for_is_kept() {
    let cache = Cache::builder().build().unwrap();
    let longest = (1..64)
        .map(|megabytes| megabytes << 20)
        .take_while(|limit| {
            let layer = cache.layer().ttl(MINUTE).body_limit(*limit);
            layer.try_validate().is_ok()
        })
        .last()
        .unwrap();
    let layer = cache.layer().ttl(MINUTE).body_limit(longest);
    let origin = Origin::new(move |_| text(vec![b'x'; longest as usize]));
    send(&layer, &origin, get("/", &[])).await;
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
}
