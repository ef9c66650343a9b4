//! What the rfc9111 profile stores, shared between processes.

use larder::Profile;

use crate::nodes::{ask, eventually, node, prefix, served};
use crate::support::{get, request, send, status, text, Origin};

fn origin() -> Origin {
    Origin::new(|request| {
        if request.method() == "PUT" {
            return status(204);
        }
        let mut response = text("0123456789");
        let fields = response.headers_mut();
        fields.insert("cache-control", "max-age=60".parse().unwrap());
        fields.insert("set-cookie", "a=b".parse().unwrap());
        if request.headers().contains_key("range") {
            *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
            let range = "bytes 0-9/20".parse().unwrap();
            response.headers_mut().insert("content-range", range);
        }
        response
    })
}

#[tokio::test]
async fn what_one_process_stores_answers_another_one_with_all_its_fields() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |builder| builder).await,
        node(&prefix, |builder| builder).await,
    );
    let on = |cache: &larder::Cache| cache.layer().profile(Profile::Rfc9111);
    let origin = origin();
    send(&on(&a), &origin, get("/a?y=1&x=2", &[("cookie", "c=d")])).await;
    let answer = served(&on(&b), &get("/a?y=1&x=2", &[])).await;
    assert_eq!(
        (answer.text(), answer.field("set-cookie").as_str()),
        ("0123456789", "a=b")
    );
    assert!(answer.headers.contains_key("date"));

    // A purge reaches it whatever the order of the query, and whoever asks for it.
    let _ = a.invalidate_uri("/a?x=2&y=1").await;
    let (b, asked) = (on(&b), get("/a?y=1&x=2", &[]));
    eventually(|| async { ask(&b, &asked).await.is_none() }).await;
}

#[tokio::test]
async fn a_part_never_reaches_another_process() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |builder| builder).await,
        node(&prefix, |builder| builder).await,
    );
    let on = |cache: &larder::Cache| cache.layer().profile(Profile::Rfc9111);
    let origin = origin();
    let range = || get("/part", &[("range", "bytes=0-9")]);
    assert!(send(&on(&a), &origin, range())
        .await
        .decision()
        .contains("stored"));
    assert!(send(&on(&a), &origin, range()).await.is_hit());
    assert!(!send(&on(&b), &origin, range()).await.is_hit());
    let whole = send(&on(&b), &origin, get("/part", &[])).await;
    assert_eq!(whole.status, 200);
    send(&on(&a), &origin, request("PUT", "/part", &[], "")).await;
    assert!(!send(&on(&a), &origin, range()).await.is_hit());
}

/// One process has stored it, another one purges it by a name that only the response knows to be the same.
#[tokio::test]
async fn a_purge_elsewhere_reaches_a_response_by_every_query_that_it_answers() {
    let prefix = prefix();
    let (a, b) = (
        node(&prefix, |builder| builder).await,
        node(&prefix, |builder| builder).await,
    );
    let on = |cache: &larder::Cache| cache.layer().profile(Profile::Rfc9111);
    let origin = Origin::with_fields(&[
        ("cache-control", "max-age=60"),
        ("no-vary-search", "params=(\"u\")"),
    ]);
    send(&on(&a), &origin, get("/a?id=7", &[])).await;
    let same = || get("/a?id=7&u=1", &[]);
    assert!(send(&on(&a), &origin, same()).await.is_hit());
    let _ = b.invalidate_uri("/a?id=7&u=1").await;
    let a = on(&a);
    eventually(|| async { ask(&a, &same()).await.is_none() }).await;
    assert!(ask(&a, &get("/a?id=7", &[])).await.is_none());
}
