//! Every order of the rooms, and tower-http's compression in place of ours: right bytes for every client.
//!
//! What an order may cost is work, never truth. One thing is not ours to mend: where tower-http encodes
//! what no cache behind it has encoded before, it keeps a strong tag on bytes that it changes.

mod support;

#[path = "support/codings.rs"]
mod codings;

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder::{Cache, CompressLayer};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt};
use tower_http::compression::CompressionLayer;

use codings::{decoded, text_of};
use support::*;

type Stack =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, String>>, Infallible>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    Cache,
    Compress,
    TowerHttp,
}

/// Every subset of the rooms in every order, the innermost first.
fn orders() -> Vec<Vec<Room>> {
    let mut orders = vec![Vec::new()];
    let mut from = 0;
    while from < orders.len() {
        for room in [Room::Cache, Room::Compress, Room::TowerHttp] {
            if !orders[from].contains(&room) {
                let mut longer = orders[from].clone();
                longer.push(room);
                orders.push(longer);
            }
        }
        from += 1;
    }
    orders
}

fn boxed<S, B>(service: S) -> Stack
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Error: std::fmt::Display> + Send + 'static,
{
    let whole = |response: Response<B>| {
        response.map(|body| {
            let body = body
                .map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
            body.map_err(|error| error.to_string()).boxed_unsync()
        })
    };
    BoxCloneService::new(service.map_response(whole))
}

fn stack(order: &[Room], cache: &Cache, origin: &Origin) -> Stack {
    order
        .iter()
        .fold(boxed(origin.clone()), |inner, room| match room {
            Room::Cache => boxed(cache.layer().ttl(MINUTE).layer(inner)),
            Room::Compress => boxed(CompressLayer::new().layer(inner)),
            Room::TowerHttp => boxed(CompressionLayer::new().layer(inner)),
        })
}

/// A handler of three lengths, with a strong tag and its length, that answers `HEAD` without content.
fn origin() -> Origin {
    Origin::new(|request| {
        let length = request.uri().path()[1..].parse().unwrap();
        let mut response = match request.method().as_str() {
            "HEAD" => text(""),
            _ => text(text_of(length, 1)),
        };
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("content-length", length.into());
        headers.insert("etag", format!("\"{length}\"").parse().unwrap());
        response
    })
}

/// What clients accept, and the codings that they may get.
const CLIENTS: [(&str, &[&str]); 9] = [
    ("", &[""]),
    ("identity", &[""]),
    ("gzip", &["", "gzip"]),
    ("br", &["", "br"]),
    ("zstd", &["", "zstd"]),
    ("gzip, deflate, br, zstd", &["gzip", "br", "zstd", ""]),
    ("gzip;q=0, br", &["", "br"]),
    ("*;q=0", &[""]),
    ("gzip;q=0.5, identity;q=0", &["gzip", ""]),
];

const LENGTHS: [usize; 3] = [100, 20_000, 200_000];

fn asking(method: &str, length: usize, accepted: &str) -> Request<Full<Bytes>> {
    let uri = format!("/{length}");
    match accepted {
        "" => request(method, &uri, &[], ""),
        _ => request(method, &uri, &[("accept-encoding", accepted)], ""),
    }
}

async fn ask(stack: &Stack, request: Request<Full<Bytes>>) -> Answer {
    read(stack.clone().oneshot(request).await.unwrap()).await
}

/// Whether no tag is written on bytes that tower-http has made of others.
fn tags_are_ours(order: &[Room]) -> bool {
    match order.iter().position(|room| *room == Room::TowerHttp) {
        Some(at) => order[at..].contains(&Room::Cache),
        None => true,
    }
}

#[tokio::test]
async fn every_client_gets_the_right_bytes_in_a_coding_it_accepts_whatever_the_order() {
    for order in orders() {
        for length in LENGTHS {
            let (cache, _clock) = cache();
            let origin = origin();
            let stack = stack(&order, &cache, &origin);
            let mut named: HashMap<String, Bytes> = HashMap::new();
            for round in 0..3 {
                for n in 0..CLIENTS.len() {
                    let (accepted, expected) = CLIENTS[(n * 4 + round) % CLIENTS.len()];
                    let answer = ask(&stack, asking("GET", length, accepted)).await;
                    let coding = answer.field("content-encoding");
                    let what = format!("{order:?} {length} {accepted:?}: {coding:?}");
                    assert!(expected.contains(&&*coding), "{what}");
                    assert!(
                        decoded(&coding, &answer.body) == text_of(length, 1),
                        "{what}"
                    );
                    let said = answer.field("content-length");
                    assert!(
                        said.is_empty() || said == answer.body.len().to_string(),
                        "{what}"
                    );
                    let vary = answer.field("vary").to_lowercase();
                    let is_long = !order.is_empty() && length > 600;
                    assert_eq!(
                        vary.matches("accept-encoding").count(),
                        usize::from(is_long || !vary.is_empty()),
                        "{what}"
                    );
                    let tag = answer.field("etag");
                    if tag.starts_with('"') && tags_are_ours(&order) {
                        let known = named.entry(tag).or_insert_with(|| answer.body.clone());
                        assert!(*known == answer.body, "{what}: one strong tag, two bodies");
                    }
                }
            }
            if order.contains(&Room::Cache) {
                assert_eq!(origin.calls(), 1, "{order:?}");
            }
        }
    }
}

#[tokio::test]
async fn who_asks_for_a_coding_gets_it_wherever_one_of_ours_stands() {
    for order in orders() {
        if !order.contains(&Room::Compress) && !order.contains(&Room::Cache) {
            continue;
        }
        let (cache, _clock) = cache();
        let stack = stack(&order, &cache, &origin());
        for _ in 0..2 {
            for (accepted, coding) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd")] {
                let answer = ask(&stack, asking("GET", 20_000, accepted)).await;
                assert_eq!(answer.field("content-encoding"), coding, "{order:?}");
            }
        }
    }
}

#[tokio::test]
async fn head_says_what_get_does_in_every_order_of_ours() {
    for order in orders() {
        if order.contains(&Room::TowerHttp) {
            continue;
        }
        let (cache, _clock) = cache();
        let stack = stack(&order, &cache, &origin());
        for length in LENGTHS {
            for (accepted, _) in CLIENTS {
                let mut by_get = ask(&stack, asking("GET", length, accepted)).await;
                by_get = match order.contains(&Room::Cache) {
                    true => ask(&stack, asking("GET", length, accepted)).await,
                    false => by_get,
                };
                let mut by_head = ask(&stack, asking("HEAD", length, accepted)).await;
                assert!(by_head.body.is_empty());
                let said = by_head.field("content-length");
                assert!(
                    said.is_empty() || said == by_get.body.len().to_string(),
                    "{order:?} {said}"
                );
                by_get.headers.remove("content-length");
                by_head.headers.remove("content-length");
                assert_eq!(
                    by_head.headers, by_get.headers,
                    "{order:?} {length} {accepted:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_per_route_cache_under_a_router_wide_layer_encodes_once_and_so_does_the_reverse() {
    for order in [[Room::Cache, Room::Compress], [Room::Compress, Room::Cache]] {
        let (cache, _clock) = cache();
        let origin = origin();
        let stack = stack(&order, &cache, &origin);
        for _ in 0..5 {
            for coding in ["gzip", "br", "zstd", ""] {
                ask(&stack, asking("GET", 20_000, coding)).await;
            }
        }
        assert_eq!((origin.calls(), cache.stats().encoded), (1, 3), "{order:?}");
    }
}
