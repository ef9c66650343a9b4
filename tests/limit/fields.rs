//! `RateLimit`, `RateLimit-Policy`, `Retry-After`: what they say, and that it is true.

use std::time::Duration;

use larder::limit::Profile;
use larder::Quota;

use crate::support::Origin;
use crate::{ask, by_peer, from, passing};

#[tokio::test]
async fn each_profile_writes_its_fields() {
    let table: &[(Profile, &[(&str, &str)])] = &[
        (
            Profile::Draft,
            &[
                ("ratelimit-policy", "\"default\";q=120;w=60"),
                ("ratelimit", "\"default\";r=119;t=1"),
            ],
        ),
        (
            Profile::Draft7,
            &[
                ("ratelimit-policy", "120;w=60"),
                ("ratelimit", "limit=120, remaining=119, reset=1"),
            ],
        ),
        (
            Profile::Draft6,
            &[
                ("ratelimit-policy", "120;w=60"),
                ("ratelimit-limit", "120"),
                ("ratelimit-remaining", "119"),
                ("ratelimit-reset", "1"),
            ],
        ),
        (
            Profile::XRateLimit,
            &[
                ("x-ratelimit-limit", "120"),
                ("x-ratelimit-remaining", "119"),
                ("x-ratelimit-reset", "1"),
            ],
        ),
        (
            Profile::XRateLimitEpoch,
            &[
                ("x-ratelimit-limit", "120"),
                ("x-ratelimit-remaining", "119"),
                ("x-ratelimit-reset", "1767225601"),
            ],
        ),
        (Profile::None, &[]),
    ];
    for (profile, fields) in table {
        let layer = by_peer(Quota::per_minute(120)).0.fields(*profile);
        let answer = ask(&layer, &Origin::counting(), from("192.0.2.1")).await;
        for (name, value) in *fields {
            assert_eq!(answer.field(name), *value, "{profile:?}");
        }
        let told = answer
            .headers
            .keys()
            .filter(|name| name.as_str().contains("ratelimit"));
        assert_eq!(told.count(), fields.len(), "{profile:?}");
        assert_eq!(answer.field("retry-after"), "");
    }
}

#[tokio::test]
async fn fields_of_inner_layers_stay_and_single_values_become_the_tighter_ones() {
    let origin = Origin::with_fields(&[("ratelimit", "\"inner\";r=3;t=9")]);
    let answer = ask(&by_peer(Quota::per_minute(2)).0, &origin, from("192.0.2.1")).await;
    assert_eq!(
        answer.field("ratelimit"),
        "\"inner\";r=3;t=9, \"default\";r=1;t=30"
    );

    for (inner, expected) in [("1", "1"), ("8", "4"), ("junk", "4")] {
        let fields: &[(&str, &str)] = Box::leak(Box::new([
            ("x-ratelimit-limit", "50"),
            ("x-ratelimit-remaining", inner),
            ("x-ratelimit-reset", "7"),
        ]));
        let layer = by_peer(Quota::per_minute(5)).0.fields(Profile::XRateLimit);
        let answer = ask(&layer, &Origin::with_fields(fields), from("192.0.2.1")).await;
        assert_eq!(answer.field("x-ratelimit-remaining"), expected);
        assert_eq!(
            answer.field("x-ratelimit-limit"),
            if expected == "1" { "50" } else { "5" }
        );
    }
}

#[tokio::test]
async fn scripts_of_other_origins_may_read_the_fields_where_asked() {
    let layer = by_peer(Quota::per_minute(1)).0.expose_fields();
    for _ in 0..2 {
        let answer = ask(&layer, &Origin::counting(), from("192.0.2.1")).await;
        let exposed = answer.field("access-control-expose-headers");
        assert_eq!(exposed, "RateLimit, RateLimit-Policy, Retry-After");
    }
}

/// A reader of `"name";a=1;b=2, ...` that shares nothing with the crate's.
fn parse(field: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let members = field.split(", ");
    let member = |member: &str| {
        let rest = member.strip_prefix('"').expect("a string");
        let (name, rest) = rest.split_once('"').expect("its end");
        let params = rest.split(';').skip(1).map(|param| {
            let (key, value) = param.split_once('=').expect("a value");
            assert!(value.len() <= 15 && value.bytes().all(|b| b.is_ascii_digit()));
            assert!(key.bytes().all(|b| b.is_ascii_lowercase()));
            (key.to_owned(), value.parse().unwrap())
        });
        (name.to_owned(), params.collect())
    };
    members.map(member).collect()
}

/// Shapes of the draft's own examples (draft-ietf-httpapi-ratelimit-headers, sections 3 and 4).
#[test]
fn the_examples_of_the_draft_have_the_shape_that_is_written_here() {
    for example in [
        "\"default\";q=100;w=10",
        "\"permin\";q=50;w=60, \"perhr\";q=1000;w=3600",
        "\"default\";r=50;t=30",
        "\"problemPolicy\";r=0;t=10",
    ] {
        assert!(!parse(example).is_empty());
    }
}

/// Ten thousand quotas, costs and histories: who waits exactly as long as told, alone, is admitted, and what
/// the fields say is consistent.
#[tokio::test]
async fn waiting_exactly_retry_after_is_enough_and_fields_can_be_parsed() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let origin = Origin::new(|_| crate::support::text(""));
    for n in 0..10_000 {
        let period = Duration::from_millis(
            [1, 7, 1_000, 60_000, 3_600_000][random(5) as usize] + random(999),
        );
        let quota = Quota::new(1 + random(1_000), period).capacity(1 + random(50));
        let cost = 1 + random(quota.tokens());
        let (layer, clock) = by_peer(quota);
        let layer = layer.max_keys(4).cost(cost);
        let refused = loop {
            let answer = ask(&layer, &origin, from("192.0.2.1")).await;
            let policy = parse(&answer.field("ratelimit-policy"));
            assert_eq!(policy[0].1[0], ("q".to_owned(), quota.tokens()));
            let window = quota
                .refill_time()
                .as_nanos()
                .div_ceil(1_000_000_000)
                .max(1);
            assert_eq!(u128::from(policy[0].1[1].1), window, "{quota:?}");
            let standing = parse(&answer.field("ratelimit"));
            let [(r, left), (t, _)] = &standing[0].1[..] else {
                panic!("{standing:?}");
            };
            assert_eq!((&**r, &**t), ("r", "t"));
            if answer.status == 429 {
                assert_eq!(
                    (*left, &answer.field("retry-after")),
                    (0, &standing[0].1[1].1.to_string())
                );
                break answer;
            }
            assert!(*left <= quota.tokens());
            clock.advance(Duration::from_millis(random(3)));
            // A quick one is never empty for the milliseconds of this clock.
            if quota.refill_time() < Duration::from_millis(200) && random(9) == 0 {
                break answer;
            }
        };
        if refused.status == 429 {
            let wait = refused.field("retry-after").parse().unwrap();
            assert!(wait >= 1);
            clock.advance(Duration::from_secs(wait));
            assert_eq!(
                passing(&layer, &origin, 1, "192.0.2.1").await,
                1,
                "{n}: {quota:?} {cost}"
            );
        }
    }
}

#[tokio::test]
async fn who_has_none_left_is_told_when_there_is_one_again_and_others_when_all_are() {
    let (layer, clock) = by_peer(Quota::per_minute(4));
    let origin = Origin::counting();
    let mut told = Vec::new();
    for _ in 0..5 {
        let answer = ask(&layer, &origin, from("192.0.2.1")).await;
        told.push(answer.field("ratelimit").to_owned());
    }
    let expected = ["r=3;t=15", "r=2;t=30", "r=1;t=45", "r=0;t=15", "r=0;t=15"];
    assert_eq!(
        told,
        expected.map(|standing| format!("\"default\";{standing}"))
    );
    clock.advance(Duration::from_secs(15));
    assert_eq!(passing(&layer, &origin, 1, "192.0.2.1").await, 1);
}
