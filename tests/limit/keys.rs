//! Whose bucket it is.

use std::borrow::Cow;

use http::StatusCode;
use larder::limit::{ClientAddress, Key, Missing};
use larder::{user, KeyError, LimitLayer, Quota};

use crate::support::{get, Origin};
use crate::{ask, from, with_peer};

fn layer() -> LimitLayer {
    LimitLayer::new(Quota::per_hour(1))
}

/// The statuses of these requests, one after the other.
async fn statuses(layer: &LimitLayer, requests: &[(&str, &[(&str, &str)])]) -> Vec<u16> {
    let origin = Origin::counting();
    let mut statuses = Vec::new();
    for (peer, fields) in requests {
        let request = with_peer(get("/", fields), peer);
        statuses.push(ask(layer, &origin, request).await.status);
    }
    statuses
}

#[tokio::test]
async fn addresses_of_one_prefix_are_one_client() {
    let seen = statuses(
        &layer().by_peer_ip(),
        &[
            ("192.0.2.1", &[]),
            ("::ffff:192.0.2.1", &[]),
            ("2001:db8::1", &[]),
            ("2001:db8::ffff", &[]),
            ("2001:db8:0:1::1", &[]),
        ],
    )
    .await;
    assert_eq!(seen, [200, 429, 200, 429, 200]);
}

#[tokio::test]
async fn a_field_that_a_client_writes_does_not_change_its_bucket() {
    let direct = layer().by_peer_ip();
    let behind = layer().by_client_ip(ClientAddress::behind_hops(1));
    let seen = statuses(
        &direct,
        &[
            ("192.0.2.1", &[("x-forwarded-for", "1.1.1.1")]),
            ("192.0.2.1", &[("x-forwarded-for", "2.2.2.2")]),
        ],
    )
    .await;
    assert_eq!(seen, [200, 429]);
    let seen = statuses(
        &behind,
        &[
            ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1")]),
            ("10.0.0.1", &[("x-forwarded-for", "7.7.7.7, 1.1.1.1")]),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 2.2.2.2")]),
        ],
    )
    .await;
    assert_eq!(seen, [200, 429, 200]);
}

#[tokio::test]
async fn keys_of_several_parts_differ_where_any_part_does() {
    let both = layer().by_header("x-a").by_header("x-b");
    let seen = statuses(
        &both,
        &[
            ("192.0.2.1", &[("x-a", "1"), ("x-b", "23")]),
            ("192.0.2.1", &[("x-a", "12"), ("x-b", "3")]),
            ("192.0.2.1", &[("x-a", "1"), ("x-b", "23")]),
            ("192.0.2.1", &[("x-a", "1"), ("x-b", "24")]),
            ("192.0.2.1", &[("x-a", "1")]),
        ],
    )
    .await;
    assert_eq!(seen, [200, 200, 429, 200, 400]);
}

#[tokio::test]
async fn a_name_that_reads_like_an_address_is_not_that_address() {
    let limiter = larder::Limiter::new(Quota::per_hour(1));
    let address: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    assert!(limiter.take("192.0.2.1", 1).await.is_admitted());
    assert!(limiter.take(address, 1).await.is_admitted());
    assert!(limiter.take(&[192_u8, 0, 2, 1][..], 1).await.is_admitted());
    assert!(!limiter.take(address, 1).await.is_admitted());
}

#[tokio::test]
async fn no_two_keys_of_several_parts_are_one() {
    let limiter = larder::Limiter::new(Quota::per_hour(1));
    let name = |name: &'static str| Key::from(name);
    let keys = [
        Key::All(vec![name("a\u{2}b"), name("c")]),
        Key::All(vec![name("a"), name("b\u{2}c")]),
        Key::All(vec![name("a"), Key::All(vec![name("b"), name("c")])]),
        Key::All(vec![Key::All(vec![name("a"), name("b")]), name("c")]),
        Key::All(vec![name("a")]),
        Key::All(vec![]),
        name("a"),
        name(""),
        Key::Everyone,
    ];
    for key in keys {
        assert!(limiter.take(key.clone(), 1).await.is_admitted(), "{key:?}");
        assert!(!limiter.take(key.clone(), 1).await.is_admitted(), "{key:?}");
    }
}

#[tokio::test]
async fn those_without_a_key_never_share_a_bucket() {
    let missing = |missing| layer().by_header("x-key").when_missing(missing);
    let requests: &[(&str, &[(&str, &str)])] =
        &[("192.0.2.1", &[]), ("192.0.2.1", &[]), ("192.0.2.2", &[])];
    let table = [
        (layer().by_header("x-key"), [400, 400, 400]),
        (
            missing(Missing::Refuse(StatusCode::UNAUTHORIZED)),
            [401, 401, 401],
        ),
        (missing(Missing::Skip), [200, 200, 200]),
        (missing(Missing::PeerIp), [200, 429, 200]),
    ];
    for (layer, expected) in table {
        assert_eq!(statuses(&layer, requests).await, expected, "{layer:?}");
    }
}

#[tokio::test]
async fn a_server_that_tells_no_address_is_a_mistake_of_the_server() {
    let origin = Origin::counting();
    let ask = |layer: LimitLayer| {
        let origin = origin.clone();
        async move { crate::ask(&layer, &origin, get("/", &[])).await.status }
    };
    assert_eq!(ask(layer().by_peer_ip()).await, 500);
    assert_eq!(
        ask(layer().by_header("x").when_missing(Missing::PeerIp)).await,
        500
    );
    assert_eq!(
        ask(layer().by_peer_ip().when_missing(Missing::Skip)).await,
        200
    );
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn several_lines_and_key_errors_are_no_key() {
    let origin = Origin::counting();
    let by_header = layer().by_header("x-key");
    let twice = get("/", &[("x-key", "a"), ("x-key", "b")]);
    assert_eq!(ask(&by_header, &origin, twice).await.status, 400);
    assert_eq!(
        ask(&by_header, &origin, get("/", &[("x-key", "")]))
            .await
            .status,
        400
    );
    let failing = layer().by(|_| Err(KeyError::new("unclear")));
    assert_eq!(ask(&failing, &origin, from("192.0.2.1")).await.status, 400);
    assert_eq!(origin.calls(), 0);
}

#[tokio::test]
async fn functions_name_users_and_may_ask_somebody_else() {
    let seen = |layer: LimitLayer| async move {
        statuses(
            &layer,
            &[
                ("192.0.2.1", &[("authorization", "ada")]),
                ("192.0.2.2", &[("authorization", "ada")]),
                ("192.0.2.1", &[("authorization", "bob")]),
                ("192.0.2.1", &[]),
            ],
        )
        .await
    };
    let expected = [200, 429, 200, 400];
    assert_eq!(
        seen(layer().by(user::from_header("authorization"))).await,
        expected
    );
    let own = layer().by(|parts| {
        let name = parts.headers.get("authorization");
        Ok(name.map(|name| Cow::Owned(format!("{name:?}"))))
    });
    assert_eq!(seen(own).await, expected);
    let asked = || {
        layer().by_async(|parts| {
            let name = parts.headers.get("authorization").cloned();
            async move {
                tokio::task::yield_now().await;
                Ok(name.map(|name| name.to_str().unwrap().to_owned()))
            }
        })
    };
    assert_eq!(seen(asked()).await, expected);
    let fallback = asked().when_missing(Missing::Skip);
    assert_eq!(seen(fallback).await, [200, 429, 200, 200]);
}
