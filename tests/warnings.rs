//! Orders of layers that cost work are told once per process, with the order to write instead.
//!
//! One test to a program: what was told once is told no more.

#[path = "support/log.rs"]
mod log;
mod support;

use larder::{CompressLayer, ConditionalLayer};
use tower::{Layer, ServiceExt};

use log::Log;
use support::*;

/// A handler that says of what type its text is, and in another name also names it.
fn origin() -> Origin {
    Origin::new(|request| {
        let mut response = text("post ".repeat(1000));
        let headers = response.headers_mut();
        headers.insert("content-type", "text/plain".parse().unwrap());
        if request.uri().path() == "/named" {
            headers.insert("etag", "\"7\"".parse().unwrap());
        }
        response
    })
}

/// Asks twice, as a client that knows gzip, through any layers.
macro_rules! ask {
    ($path:literal, $layers:expr) => {
        let service = $layers.layer(origin());
        for _ in 0..2 {
            let request = get($path, &[("accept-encoding", "gzip")]);
            read(service.clone().oneshot(request).await.unwrap()).await;
        }
    };
}

#[tokio::test]
async fn an_order_that_makes_the_conditional_layer_work_in_vain_is_told_once() {
    let log = Log::default();
    let _collecting = tracing::subscriber::set_default(log.clone());
    let (cache, _clock) = cache();
    let kept = || cache.layer().ttl(MINUTE);
    let (named, zipped) = (ConditionalLayer::new, CompressLayer::new);

    ask!("/right", (zipped(), kept(), named()));
    ask!("/named", (named(), kept()));
    ask!("/named", (named(), zipped()));
    ask!("/inside", (kept(), zipped(), named()));
    assert_eq!(log.warnings_about("ConditionalLayer"), [] as [String; 0]);

    ask!("/around", (named(), kept()));
    ask!("/around", (named(), kept()));
    let told = log.warnings_about("ConditionalLayer");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(".layer((cache.layer(), ConditionalLayer::new()))"));

    ask!("/coded", (named(), zipped()));
    ask!("/coded", (named(), zipped()));
    let told = log.warnings_about("ConditionalLayer");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(".layer((CompressLayer::new(), ConditionalLayer::new()))"));
}
