//! Every order of the rooms, and tower-http's compression in place of ours or beside it: right bytes,
//! true names and reachable 304s for every client.
//!
//! What an order may cost is work, never truth. Two things are not ours to mend. Where tower-http encodes
//! what no cache around it wants plain, it keeps a strong tag on bytes that it changes; and it encodes
//! the nothing of a 304 as well, which servers do not send.

#[path = "../support/codings.rs"]
mod codings;
#[path = "../support/mod.rs"]
mod support;

mod clients;
mod properties;
mod rooms;

use std::collections::HashMap;

use bytes::Bytes;

use clients::{opaque, World, CLIENTS, PLAIN_CLIENTS};
use rooms::{Order, Room, LENGTHS, REFUSED};

#[tokio::test]
async fn every_client_gets_the_right_bytes_and_a_strong_tag_names_the_same_ones() {
    for world in World::all(&LENGTHS) {
        // What is long takes long to encode, and only the cache treats it otherwise.
        let cached_among_few = world.order.has(Room::Cache) && world.order.0.len() < 4;
        if world.length == LENGTHS[2] && (!cached_among_few || !world.names) {
            continue;
        }
        let mut named: HashMap<String, Bytes> = HashMap::new();
        for round in 0..2 {
            for n in 0..CLIENTS.len() {
                let client = CLIENTS[(n * 4 + round) % CLIENTS.len()];
                let answer = world.get(client.0, &[]).await;
                world.is_whole(client, &answer);
                let tag = answer.field("etag");
                if tag.starts_with('"') && world.order.tags_are_true() {
                    let what = world.what(client.0, &[], &answer);
                    let known = named.entry(tag).or_insert_with(|| answer.body.clone());
                    assert!(*known == answer.body, "one strong tag, two bodies: {what}");
                }
            }
        }
        if world.order.has(Room::Cache) {
            assert_eq!(world.origin.calls(), 1, "{:?}", world.order);
        }
    }
}

#[tokio::test]
async fn whoever_names_a_tag_that_was_sent_gets_304() {
    for world in World::all(&LENGTHS[..2]) {
        for (accepted, _) in PLAIN_CLIENTS {
            // Once with what was made for this client, and once with what was kept for the next.
            for _ in 0..2 {
                let whole = world.get(accepted, &[]).await;
                let tag = whole.field("etag");
                let is_named = world.names || world.order.has(Room::Conditional);
                if accepted.is_empty() {
                    assert_eq!(tag.is_empty(), !is_named, "{:?}", world.order);
                }
                if tag.is_empty() || whole.status != 200 || !world.order.judges() {
                    continue;
                }
                let others = format!("\"other\", W/{}", opaque(&tag));
                for held in [&tag, &others] {
                    let fields = [("if-none-match", held.as_str())];
                    let answer = world.get(accepted, &fields).await;
                    let what = world.what(accepted, &fields, &answer);
                    assert_eq!(answer.status, 304, "{what}");
                    assert_eq!(opaque(&answer.field("etag")), opaque(&tag), "{what}");
                    world.varies(&answer, &what);
                    if !world.order.has(Room::TowerHttp) {
                        assert_eq!(
                            (answer.text(), answer.field("content-encoding")),
                            ("", String::new()),
                            "{what}"
                        );
                    }
                }
                let answer = world.get(accepted, &[("if-none-match", "\"other\"")]).await;
                assert_eq!(
                    (answer.status, &answer.body),
                    (200, &whole.body),
                    "{:?}",
                    world.order
                );
            }
        }
    }
}

#[tokio::test]
async fn parts_are_parts_of_the_bytes_that_their_tag_names() {
    for world in World::all(&LENGTHS[..2]) {
        let content = world.content();
        for client @ (accepted, _) in PLAIN_CLIENTS {
            let whole = world.get(accepted, &[]).await;
            let tag = whole.field("etag");
            let weak = format!("W/{}", opaque(&tag));
            for held in ["", &tag, &weak, "\"other\""] {
                let fields = [("range", "bytes=10-49"), ("if-range", held)];
                let fields = &fields[..if held.is_empty() { 1 } else { 2 }];
                let answer = world.get(accepted, fields).await;
                let what = world.what(accepted, fields, &answer);
                if answer.status == 406 {
                    continue; // in the words of tower-http
                }
                if answer.status != 206 {
                    world.is_whole(client, &answer);
                    continue;
                }
                assert!(
                    held.is_empty() || (held == tag && held.starts_with('"')),
                    "{what}"
                );
                assert_eq!(
                    answer.field("content-range"),
                    format!("bytes 10-49/{}", world.length),
                    "{what}"
                );
                assert_eq!(answer.field("content-encoding"), "", "{what}");
                assert!(answer.body == content[10..50], "{what}");
                if world.order.tags_are_true() && !held.is_empty() {
                    assert!(answer.body == whole.body[10..50], "{what}");
                }
            }
            if world.order.has(Room::Cache) {
                let fields = [("range", "bytes=10-49")];
                let answer = world.get(accepted, &fields).await;
                let nothing_suits = answer.status == 406;
                assert!(
                    answer.status == 206 || nothing_suits,
                    "{}",
                    world.what(accepted, &fields, &answer)
                );
            }
        }
    }
}

#[tokio::test]
async fn head_says_what_get_does() {
    for world in World::all(&LENGTHS[..2]) {
        if world.order.has(Room::TowerHttp) {
            continue; // it encodes the nothing that it sends
        }
        for (accepted, _) in CLIENTS {
            world.get(accepted, &[]).await;
            let mut by_get = world.get(accepted, &[]).await;
            let mut by_head = world.ask("HEAD", accepted, &[]).await;
            let what = world.what(accepted, &[], &by_head);
            assert!(by_head.body.is_empty(), "{what}");
            let said = by_head.field("content-length");
            assert!(
                said.is_empty() || said == by_get.body.len().to_string(),
                "{what}"
            );
            by_get.headers.remove("content-length");
            by_head.headers.remove("content-length");
            // What names bytes that HEAD does not bring is known to the handler and to a cache alone.
            let named = (
                by_get.headers.remove("etag"),
                by_head.headers.remove("etag"),
            );
            assert!(named.1.is_none() || named.0 == named.1, "{what}");
            assert_eq!(by_head.headers, by_get.headers, "{what}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_one_clients_and_leaves_no_trace() {
    for world in World::all(&LENGTHS[1..2]) {
        if !world.order.has(Room::Limit) || !world.names {
            continue;
        }
        let is_shielded = world.order.has_around(Room::Cache, Room::Limit);
        for round in 0..2 {
            for client @ (accepted, _) in PLAIN_CLIENTS {
                for field in [
                    ("range", "bytes=0-9"),
                    ("if-none-match", "*"),
                    ("x-none", ""),
                ] {
                    let fields = [(REFUSED, "1"), field];
                    let answer = world.get(accepted, &fields).await;
                    if is_shielded && round > 0 {
                        assert_ne!(answer.status, 429, "what is kept answers");
                        continue;
                    }
                    let what = world.what(accepted, &fields, &answer);
                    let unsuited = answer.status == 406 && world.order.has(Room::TowerHttp);
                    assert!(answer.status == 429 || unsuited, "{what}");
                    assert_eq!(answer.field("etag"), "", "{what}");
                }
                if round == 0 && is_shielded {
                    continue; // or the next would not be refused
                }
                let answer = world.get(accepted, &[]).await;
                world.is_whole(client, &answer);
            }
            let answer = world.get("gzip", &[]).await;
            world.is_whole(("gzip", &["gzip", ""]), &answer);
            // What is left to one client is told to no other.
            let told = !answer.field("ratelimit").is_empty();
            let what = world.what("gzip", &[], &answer);
            assert_eq!(told, !is_shielded || round == 0, "{what}");
        }
    }
}

#[tokio::test]
async fn who_asks_for_a_coding_gets_it_wherever_one_of_ours_stands() {
    for world in World::all(&LENGTHS[1..2]) {
        if !world.order.has(Room::Compress) && !world.order.has(Room::Cache) {
            continue;
        }
        for _ in 0..2 {
            for coding in codings::ALL {
                let answer = world.get(coding, &[]).await;
                assert_eq!(
                    answer.field("content-encoding"),
                    coding,
                    "{:?}",
                    world.order
                );
            }
        }
    }
}

#[tokio::test]
async fn each_coding_is_made_once_wherever_the_cache_stands() {
    for order in [[Room::Cache, Room::Compress], [Room::Compress, Room::Cache]] {
        let world = World::new(&Order(order.to_vec()), LENGTHS[1], true);
        for _ in 0..5 {
            for coding in ["gzip", "br", "zstd", ""] {
                world.get(coding, &[]).await;
            }
        }
        let made = (world.origin.calls(), world.cache.stats().encoded);
        assert_eq!(made, (1, 3), "{order:?}");
    }
}
