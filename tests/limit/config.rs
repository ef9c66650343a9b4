//! Mistakes are told when the layer is put together, with the line to write instead.

use std::time::Duration;

use larder::limit::{ClientAddress, Fallback, Missing};
use larder::{LimitLayer, Limiter, Quota};
use tower::Layer;

use crate::support::Origin;

#[test]
fn contradictions_are_refused_with_the_line_to_write_instead() {
    let quota = Quota::per_minute(10);
    let plain = || LimitLayer::new(quota).by_peer_ip();
    let limiter = Limiter::new(quota);
    let table = [
        (
            LimitLayer::new(quota),
            "needs to know whose bucket",
            ".by_peer_ip()",
        ),
        (plain().by_everyone(), "has no other key", ".by_peer_ip()"),
        (
            LimitLayer::new(Quota::per_second(0)).by_peer_ip(),
            "nothing per period",
            "403",
        ),
        (
            LimitLayer::new(Quota::new(1, Duration::ZERO)).by_peer_ip(),
            "period of zero",
            "Quota::new",
        ),
        (
            LimitLayer::new(quota.capacity(0)).by_peer_ip(),
            "capacity of zero",
            ".capacity(1)",
        ),
        (plain().cost(11), "never passes", ".cost(1)"),
        (
            plain().name("with space"),
            "cannot be called",
            ".name(\"per-minute\")",
        ),
        (plain().name("\"quoted\""), "cannot be called", ".name("),
        (
            plain().and(quota).name("default"),
            "two policies are called `default`",
            ".name(",
        ),
        (plain().max_keys(0), "room for 1 to", ".max_keys(65_536)"),
        (
            plain().fallback(Fallback::Local { share: 0 }),
            "share of zero",
            "share: 4",
        ),
        (
            plain().fallback(Fallback::Local { share: u32::MAX }),
            "share of the quota",
            "share: 4",
        ),
        (
            plain().fallback(Fallback::Closed),
            "without Redis",
            ".redis(",
        ),
        (
            plain().when_missing(Missing::PeerIp),
            "replaced by itself",
            "Missing::Skip",
        ),
        (
            LimitLayer::new(quota).by_client_ip(ClientAddress::behind(["0.0.0.0/0"])),
            "choose their own address",
            "behind_hops(1)",
        ),
        (
            LimitLayer::new(quota).by_client_ip(ClientAddress::behind([
                "0.0.0.0/1",
                "::/0",
                "128.0.0.0/1",
            ])),
            "choose their own address",
            "behind_hops(1)",
        ),
        (
            LimitLayer::new(quota).by_client_ip(ClientAddress::behind([
                "10.0.0.0/8",
                "128.0.0.0/1",
                "64.0.0.0/2",
                "0.0.0.0/2",
            ])),
            "choose their own address",
            "behind_hops(1)",
        ),
        (
            LimitLayer::new(&limiter).by_peer_ip().max_keys(9),
            "has its settings",
            "Limiter::builder",
        ),
    ];
    for (layer, problem, instead) in table {
        let refused = layer.try_validate().unwrap_err();
        assert!(refused.to_string().contains(problem), "{refused}");
        assert!(refused.instead().contains(instead), "{refused}");
        let build = || layer.layer(Origin::counting());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build));
        let text = *panicked.err().unwrap().downcast::<String>().unwrap();
        assert_eq!(text, refused.to_string());
    }
    plain().try_validate().unwrap();
    let most = ["0.0.0.0/2", "128.0.0.0/1", "::/1"];
    let most = LimitLayer::new(quota).by_client_ip(ClientAddress::behind(most));
    most.try_validate().unwrap();
    assert!(Limiter::builder(Quota::per_second(0)).build().is_err());
    let builder = || Limiter::builder(quota);
    for idle in [
        builder().leases(4, 0.1),
        builder().capped_leases(4, 0.1),
        builder().secret("s"),
        builder().fallback(Fallback::Open),
    ] {
        let refused = idle.build().unwrap_err();
        assert!(refused.to_string().contains("without Redis"), "{refused}");
        assert!(refused.instead().contains(".redis("), "{refused}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_quota_in_redis_has_a_name() {
    let redis = larder::Redis::open("redis://127.0.0.1:1").unwrap();
    let layer = LimitLayer::new(Quota::per_minute(10))
        .by_peer_ip()
        .redis(redis);
    let refused = layer.try_validate().unwrap_err();
    assert!(refused.instead().contains(".name(\"login\")"), "{refused}");
    layer.name("login").try_validate().unwrap();
}

#[tokio::test]
async fn services_and_clones_of_a_layer_share_their_buckets() {
    let layer = LimitLayer::new(Quota::per_hour(2)).by_peer_ip();
    let clone = layer.clone();
    let origin = Origin::counting();
    assert_eq!(crate::passing(&layer, &origin, 1, "192.0.2.1").await, 1);
    assert_eq!(crate::passing(&clone, &origin, 9, "192.0.2.1").await, 1);
    drop(clone);
    assert_eq!(crate::passing(&layer, &origin, 1, "192.0.2.1").await, 0);
}

#[test]
fn a_bucket_begins_with_no_more_than_it_holds() {
    let layer = |level| {
        LimitLayer::new(Quota::per_minute(10))
            .by_peer_ip()
            .initial_level(level)
    };
    assert!(layer(10).try_validate().is_ok());
    assert!(layer(0).try_validate().is_ok());
    let refused = layer(11).try_validate().unwrap_err();
    assert!(refused.instead().contains(".initial_level(..)"));
}
