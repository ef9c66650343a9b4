//! Conditions and ranges, answered from what another process has stored.

use crate::nodes::{layer, node, prefix, served};
use crate::support::{get, send, text, Origin};

#[tokio::test]
async fn what_one_node_has_stored_answers_another_one_s_holders_and_ranges() {
    let prefix = prefix();
    let origin = Origin::new(|_| {
        let mut response = text("content");
        let fields = response.headers_mut();
        fields.insert("etag", "\"a\"".parse().unwrap());
        fields.insert("content-type", "text/plain".parse().unwrap());
        response
    });
    let maker = node(&prefix, |builder| builder).await;
    send(&layer(&maker), &origin, get("/", &[])).await;
    let nowhere = Origin::new(|request| panic!("this went forward: {request:?}"));
    let probe = node(&prefix, |builder| builder.near(false)).await;
    served(&layer(&probe), &get("/", &[])).await;
    for (fields, status, content) in [
        (&[("if-none-match", "W/\"a\"")][..], 304, ""),
        (&[("range", "bytes=-3"), ("if-range", "\"a\"")], 206, "ent"),
        (&[("range", "bytes=9-")], 416, ""),
        (&[("if-none-match", "\"b\"")], 200, "content"),
    ] {
        for strict in [false, true] {
            // A node of its own, so that it has nothing near.
            let asked = node(&prefix, |builder| builder).await;
            let layer = layer(&asked).strict(strict);
            let answer = send(&layer, &nowhere, get("/", fields)).await;
            assert_eq!(
                (answer.status, answer.text()),
                (status, content),
                "{fields:?}"
            );
            assert!(answer.is_hit());
        }
    }
    assert_eq!(origin.calls(), 1);
}
