//! Those who always pass, or never.

use larder::limit::{List, Missing};
use larder::{LimitLayer, Quota};

use crate::support::{get, Origin};
use crate::{ask, from, passing, with_peer};

#[tokio::test]
async fn who_is_on_the_allow_list_passes_unseen_and_on_the_deny_list_never() {
    let (friends, banned) = (
        List::new(["192.0.2.0/28"]),
        List::new(["192.0.2.3", "2001:db8::/32"]),
    );
    let layer = LimitLayer::new(Quota::per_hour(1))
        .by_peer_ip()
        .allow(friends.clone())
        .deny(banned.clone());
    let origin = Origin::counting();
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.1").await, 5);
    let unseen = ask(&layer, &origin, from("192.0.2.1")).await;
    assert_eq!(unseen.field("ratelimit"), "");
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.77").await, 1);

    for peer in ["192.0.2.3", "::ffff:192.0.2.3", "2001:db8::1"] {
        let denied = ask(&layer, &origin, from(peer)).await;
        assert_eq!(denied.status, 403, "{peer}");
        assert_eq!(denied.field("retry-after"), "");
    }
    // Both are changed while they are used.
    banned.remove("192.0.2.3");
    friends.replace(["192.0.2.77"]);
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.3").await, 1);
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.77").await, 5);
    banned.insert("192.0.2.77");
    assert_eq!(passing(&layer, &origin, 5, "192.0.2.77").await, 0);
}

#[tokio::test]
async fn names_are_compared_whole_and_one_part_of_a_key_is_enough() {
    let banned = List::new(["mallory"]);
    let layer = LimitLayer::new(Quota::per_hour(100))
        .by_peer_ip()
        .by_header("x-user")
        .deny(banned);
    let origin = Origin::counting();
    let status = |user: &'static str| {
        let request = with_peer(get("/", &[("x-user", user)]), "192.0.2.1");
        let (layer, origin) = (layer.clone(), origin.clone());
        async move { ask(&layer, &origin, request).await.status }
    };
    assert_eq!(status("mallory").await, 403);
    assert_eq!(status("mallory2").await, 200);
    assert_eq!(status("mal").await, 200);
}

#[tokio::test]
async fn a_list_knows_one_ipv6_address_from_others_of_its_bucket() {
    let quota = Quota::per_hour(1);
    let list = |entry: &str| List::new([entry]);
    let by_peer = || LimitLayer::new(quota).by_peer_ip();
    let asked = || LimitLayer::new(quota).by_async(|_| async { Ok(Some("ada".to_owned())) });
    let keyless = LimitLayer::new(quota)
        .by_header("x-user")
        .when_missing(Missing::PeerIp);
    let origin = Origin::counting();
    let denied = [
        (by_peer(), "2001:db8::7"),
        (by_peer(), "2001:db8::/96"),
        (asked().by_peer_ip(), "2001:db8::7"),
        (keyless, "2001:db8::7"),
    ];
    for (layer, entry) in denied {
        let layer = layer.deny(list(entry));
        assert_eq!(
            passing(&layer, &origin, 1, "2001:db8::7").await,
            0,
            "{layer:?}"
        );
        let other = "2001:db8::1:0:0:7";
        assert_eq!(passing(&layer, &origin, 1, other).await, 1, "{layer:?}");
    }
    let allowed = by_peer().allow(list("::1"));
    assert_eq!(passing(&allowed, &origin, 5, "::1").await, 5);
    assert_eq!(passing(&allowed, &origin, 5, "::2").await, 1);
}
