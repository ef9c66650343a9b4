//! A body that is read for its tag reaches its client as it was, whatever happens while it is read.

use std::task::Poll;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use larder::conditional::ResponseBody;
use larder::ConditionalLayer;
use tower::{Layer, ServiceExt};

use super::tag_of;
use crate::drive::{gate, poll_once};
use crate::support::*;

type Reply = Response<ResponseBody<TestBody>>;

/// Makes a body of these frames, `length` long by its own account, for one call.
fn once(steps: impl IntoIterator<Item = Step>, length: u64) -> Origin {
    let body = std::sync::Mutex::new(Some(TestBody::sized(steps, length)));
    Origin::new(move |_| Response::new(body.lock().unwrap().take().unwrap()))
}

async fn head(origin: &Origin) -> Reply {
    let service = ConditionalLayer::new().layer(origin.clone());
    service.oneshot(get("/", &[])).await.unwrap()
}

/// The answer, which must not have to be waited for.
async fn at_once(origin: &Origin) -> Reply {
    match poll_once(&mut Box::pin(head(origin))).await {
        Poll::Ready(reply) => reply,
        Poll::Pending => panic!("the answer waits for its body"),
    }
}

fn tag(reply: &Reply) -> Option<&str> {
    reply.headers().get("etag").map(|tag| tag.to_str().unwrap())
}

#[tokio::test]
async fn frames_are_replayed_one_by_one_under_the_tag_of_them_all() {
    let origin = once([Step::Data("abc"), Step::Yield, Step::Data("def")], 6);
    let reply = head(&origin).await;
    assert_eq!(tag(&reply), Some(tag_of("abcdef").as_str()));
    let mut body = reply.into_body();
    for (left, expected) in [(6, "abc"), (3, "def")] {
        assert_eq!(body.size_hint().exact(), Some(left));
        assert!(!body.is_end_stream());
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            expected
        );
    }
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn content_is_not_copied() {
    let content = Bytes::from(vec![b'x'; 4096]);
    let reply = head(&once([Step::Bytes(content.clone())], 4096)).await;
    let frame = reply.into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap().as_ptr(), content.as_ptr());
}

#[tokio::test]
async fn an_error_reaches_the_client_behind_what_came_before_it_and_nothing_is_tagged() {
    let reply = head(&once([Step::Data("abc"), Step::Fail], 6)).await;
    assert_eq!((reply.status(), tag(&reply)), (http::StatusCode::OK, None));
    let mut body = reply.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "abc"
    );
    assert_eq!(body.frame().await.unwrap().unwrap_err(), Broken);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_ends_early_is_not_tagged_and_still_says_what_is_missing() {
    let origin = once([Step::Data("abc")], 6);
    let reply = head(&origin).await;
    assert_eq!(tag(&reply), None);
    let mut body = reply.into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "abc"
    );
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_goes_on_beyond_its_length_is_not_tagged_and_loses_nothing() {
    let steps = [Step::Data("abcd"), Step::Data("ef"), Step::Data("gh")];
    let reply = head(&once(steps, 5)).await;
    assert_eq!(tag(&reply), None);
    assert_eq!(read(reply).await.text(), "abcdefgh");
}

#[tokio::test]
async fn trailers_that_were_not_announced_are_kept_and_leave_no_tag() {
    let reply = head(&once([Step::Data("abc"), Step::Trailers], 3)).await;
    assert_eq!(tag(&reply), None);
    let collected = reply.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "1");
    assert_eq!(collected.to_bytes(), "abc");
}

#[tokio::test]
async fn a_body_that_has_its_length_is_not_waited_for() {
    let (_never, wait) = gate();
    let origin = once([Step::Data("abc"), wait, Step::Trailers], 3);
    let reply = at_once(&origin).await;
    assert_eq!(tag(&reply), Some(tag_of("abc").as_str()));
    let mut body = reply.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "abc"
    );
    assert!(poll_once(&mut Box::pin(body.frame())).await.is_pending());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_not_waited_for() {
    let (_never, wait) = gate();
    let body = std::sync::Mutex::new(Some(TestBody::new([wait])));
    let origin = Origin::new(move |_| Response::new(body.lock().unwrap().take().unwrap()));
    let reply = at_once(&origin).await;
    assert_eq!(tag(&reply), None);
}

#[tokio::test]
async fn a_declared_length_that_is_not_the_body_s_leaves_no_tag() {
    for said in ["5", "six", "7"] {
        let origin = Origin::new(move |_| {
            let mut response = text("abcdef");
            let said = said.parse().unwrap();
            response.headers_mut().insert("content-length", said);
            response
        });
        let reply = head(&origin).await;
        assert_eq!(tag(&reply), None, "{said}");
        assert_eq!(read(reply).await.text(), "abcdef");
    }
}
