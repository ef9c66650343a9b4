//! Codings of what processes share: Redis keeps one form, and each process makes what its clients want.

use crate::codings::{decoded, text_of, ALL};
use crate::nodes::*;
use crate::support::*;

fn texts() -> Origin {
    Origin::new(|_| {
        let mut response = text(text_of(20_000, 1));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("etag", "\"1\"".parse().unwrap());
        response
    })
}

fn accepting(coding: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    get("/posts", &[("accept-encoding", coding)])
}

/// Checks that an answer is the text in this coding.
fn is_text(answer: &Answer, coding: &str) {
    assert_eq!(answer.field("content-encoding"), coding);
    assert_eq!(answer.field("vary"), "accept-encoding");
    assert!(decoded(coding, &answer.body) == text_of(20_000, 1));
    let weak = if coding.is_empty() { "" } else { "W/" };
    assert_eq!(answer.field("etag"), format!("{weak}\"1\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_stored_answers_in_every_coding_of_another() {
    for strict in [false, true] {
        let prefix = prefix();
        let a = node(&prefix, |b| b.strict(strict)).await;
        let b = node(&prefix, |b| b.strict(strict)).await;
        let origin = texts();
        is_text(&send(&layer(&a), &origin, accepting("gzip")).await, "gzip");
        served(&layer(&b), &accepting("")).await;
        for _ in 0..3 {
            for coding in ALL.into_iter().chain([""]) {
                is_text(&send(&layer(&b), &origin, accepting(coding)).await, coding);
            }
        }
        assert_eq!(
            (origin.calls(), a.stats().encoded, b.stats().encoded),
            (1, 1, 3)
        );

        let _ = a.invalidate_tag("posts").await;
        eventually(|| async { ask(&layer(&b), &accepting("br")).await.is_none() }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_near_tier_nothing_is_encoded_that_could_not_be_kept() {
    let prefix = prefix();
    let a = node(&prefix, |b| b.near(false)).await;
    let origin = texts();
    send(&layer(&a), &origin, accepting("gzip")).await;
    served(&layer(&a), &accepting("gzip")).await;
    for coding in ALL {
        is_text(&send(&layer(&a), &origin, accepting(coding)).await, "");
    }
    assert_eq!((origin.calls(), a.stats().encoded), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_without_codings_stored_is_not_encoded() {
    // Its `Vary` says nothing of codings: caches downstream would give one client the other's form.
    let prefix = prefix();
    let old = node(&prefix, |b| b.codings([])).await;
    let new = node(&prefix, |b| b).await;
    let origin = texts();
    send(&layer(&old), &origin, accepting("gzip")).await;
    let answer = served(&layer(&new), &accepting("gzip")).await;
    assert_eq!(answer.field("content-encoding") + &answer.field("vary"), "");
    assert_eq!(answer.body, text_of(20_000, 1));
}
