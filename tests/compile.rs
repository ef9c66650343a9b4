//! The layer fits where people put layers, and leaves alone what is inside.
//!
//! Half of these tests are passed by compiling. The rest hold the layer to tower's contract: a call
//! is made on the service that was made ready, what is not used up is given back, and the error type
//! stays the inner service's.

mod support;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder::cache::ResponseBody;
use support::*;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{service_fn, Layer, Service, ServiceBuilder, ServiceExt};

/// A body that must not be shared between threads, with an error of its own, as tonic's is.
type GrpcBody = UnsyncBoxBody<Bytes, Status>;

#[derive(Debug, PartialEq, Eq)]
struct Status(u8);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc status {}", self.0)
    }
}

impl std::error::Error for Status {}

fn grpc_body(text: &'static str) -> GrpcBody {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    body.map_err(|never| match never {}).boxed_unsync()
}

/// A body with a `Cell` in it: `Send`, and not `Sync`.
struct OneFrame(Cell<Option<&'static [u8]>>);

impl Body for OneFrame {
    type Data = &'static [u8];
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Status>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn bodies_need_not_be_sync_and_keep_their_error() {
    let (cache, _clock) = cache();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let inner = service_fn(move |_: Request<GrpcBody>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Status>(Response::new(OneFrame(Cell::new(Some(b"content"))))) }
    });
    let layer = cache.layer().ttl(MINUTE);
    for _ in 0..2 {
        let service = layer.layer(inner.clone());
        let request = Request::get("/").body(grpc_body("")).unwrap();
        let answer: Result<Response<ResponseBody<OneFrame>>, Status> =
            service.oneshot(request).await;
        let content: Result<_, Status> = answer.unwrap().into_body().collect().await;
        assert_eq!(content.unwrap().to_bytes(), "content");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_of_a_remote_procedure_passes_with_its_trailers_and_its_error() {
    let (cache, _clock) = cache();
    let inner = service_fn(|request: Request<GrpcBody>| async move {
        match request.uri().path() {
            "/fails" => Err(Status(14)),
            _ => {
                let content = request.into_body().collect().await?.to_bytes();
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", 0.into());
                let body = Full::new(content)
                    .map_err(|never| match never {})
                    .with_trailers(std::future::ready(Some(Ok(trailers))));
                Ok(Response::new(body.boxed_unsync()))
            }
        }
    });
    let service = cache.layer().ttl(MINUTE).layer(inner);
    let call = |path| Request::post(path).body(grpc_body("ping")).unwrap();
    let answer = service.clone().oneshot(call("/echo")).await.unwrap();
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "ping");
    let failed: Status = service.oneshot(call("/fails")).await.unwrap_err();
    assert_eq!(failed, Status(14));
}

#[tokio::test]
async fn the_error_type_is_the_inner_services() {
    fn is_infallible<S, B>(_: &S)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    {
    }

    let (cache, _clock) = cache();
    let service = cache.layer().ttl(MINUTE).layer(Origin::counting());
    is_infallible(&service);
    let watched = cache.watch().layer(service);
    is_infallible(&watched);

    let failing =
        service_fn(|_: Request<Full<Bytes>>| async { Err::<Response<TestBody>, _>("no") });
    let service = cache.layer().ttl(MINUTE).layer(failing);
    let error: &str = service.oneshot(get("/", &[])).await.unwrap_err();
    assert_eq!(error, "no");
}

#[tokio::test]
async fn the_inner_service_is_not_called_on_a_hit() {
    let (cache, _clock) = cache();
    let origin = Origin::counting();
    let mut service = cache.layer().ttl(MINUTE).layer(origin.clone());
    for _ in 0..10 {
        let service = service.ready().await.unwrap();
        drop(read(service.call(get("/", &[])).await.unwrap()).await);
    }
    assert_eq!(origin.calls(), 1);
    // Not even the future is made before it is polled, nor polled after it was dropped.
    drop(service.ready().await.unwrap().call(get("/other", &[])));
    assert_eq!(origin.calls(), 1);
}

/// Hits, misses, bypasses and content, each of which calls the inner service elsewhere in the code.
fn all_ways() -> Vec<Request<Full<Bytes>>> {
    vec![
        get("/hit", &[]),
        get("/hit", &[]),
        get("/hit", &[("authorization", "Bearer ann")]),
        get("/hit", &[("cache-control", "no-cache")]),
        request("HEAD", "/miss", &[], ""),
        request("POST", "/content", &[], "1"),
        request("POST", "/content", &[], "1"),
        request("POST", "/content", &[], "too long to be a key"),
        request("PUT", "/hit", &[], ""),
    ]
}

#[tokio::test]
async fn a_limit_of_concurrency_inside_is_kept_and_leaks_no_permits() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(8);
    let running = Arc::new(AtomicUsize::new(0));
    let origin = Origin::later({
        let running = Arc::clone(&running);
        move |_| {
            let running = Arc::clone(&running);
            Box::pin(async move {
                let before = running.fetch_add(1, Ordering::SeqCst);
                assert!(before < 2, "more than two at once");
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                text("content")
            })
        }
    });
    let inner = ConcurrencyLimit::new(origin, 2);
    let service = layer.layer(inner.clone());
    // One service for all requests of a connection, and one for each, as servers do.
    let mut connection = service.clone();
    for _ in 0..5 {
        for request in all_ways() {
            let ready = connection.ready().await.unwrap();
            drop(read(ready.call(request).await.unwrap()).await);
        }
    }
    drop(connection);
    let tasks: Vec<_> = (0..5)
        .flat_map(|_| all_ways())
        .map(|request| tokio::spawn(service.clone().oneshot(request)))
        .collect();
    for task in tasks {
        drop(read(task.await.unwrap().unwrap()).await);
    }
    // Both permits are back: two calls can be made ready at the same time.
    let (mut one, mut other) = (inner.clone(), inner);
    one.ready().await.unwrap();
    other.ready().await.unwrap();
}

#[tokio::test]
async fn a_buffer_inside_is_never_called_before_it_is_ready() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).key_body(8);
    let inner = Buffer::new(Origin::counting(), 2);
    let service = layer.layer(inner);
    let mut connection = service.clone();
    for request in all_ways() {
        let ready = connection.ready().await.unwrap();
        drop(read(ready.call(request).await.unwrap()).await);
    }
    drop(connection);
    let tasks: Vec<_> = (0..5)
        .flat_map(|_| all_ways())
        .map(|request| tokio::spawn(service.clone().oneshot(request)))
        .collect();
    for task in tasks {
        drop(read(task.await.unwrap().unwrap()).await);
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_keeps_the_layer_from_being_ready() {
    let (cache, _clock) = cache();
    let inner = ConcurrencyLimit::new(Origin::counting(), 1);
    let mut service = cache.layer().ttl(MINUTE).layer(inner.clone());
    let mut taken = inner;
    taken.ready().await.unwrap();
    let ready = std::future::poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_ready()));
    assert!(!ready.await);
    drop(taken);
    assert!(service.ready().await.is_ok());
}

mod in_a_stack {
    //! One `ServiceBuilder` with what most services wear, in both orders.

    use std::time::Duration;

    use tower_http::compression::{CompressionBody, CompressionLayer};
    use tower_http::timeout::TimeoutLayer;
    use tower_http::trace::TraceLayer;

    use super::*;

    fn timeout() -> TimeoutLayer {
        TimeoutLayer::with_status_code(http::StatusCode::REQUEST_TIMEOUT, Duration::from_secs(9))
    }

    /// An answer long enough to be compressed.
    fn handler() -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
           + Send
           + 'static {
        service_fn(|_| async {
            let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; 2000])));
            let kind = http::HeaderValue::from_static("text/plain");
            response.headers_mut().insert("content-type", kind);
            Ok(response)
        })
    }

    async fn answers<S, B>(service: S)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
        S::Error: fmt::Debug,
        B: Body,
        B::Error: fmt::Debug,
    {
        for coding in ["", "gzip", "", "gzip"] {
            let request = get("/", &[("accept-encoding", coding)]);
            let answer = read(service.clone().oneshot(request).await.unwrap()).await;
            assert_eq!(answer.field("content-encoding"), coding);
            assert_eq!(answer.body.len() == 2000, coding.is_empty());
        }
    }

    #[tokio::test]
    async fn outside_of_compression_the_cache_keeps_both_codings() {
        let (cache, _clock) = cache();
        let service = ServiceBuilder::new()
            .layer(cache.watch())
            .layer(cache.layer().ttl(MINUTE))
            .layer(TraceLayer::new_for_http())
            .layer(timeout())
            .layer(CompressionLayer::new())
            .service(handler());
        answers(service).await;
        let stats = cache.stats();
        // With a coding of its own, the cache asks for one form and makes the other.
        let calls = if cfg!(feature = "gzip") { 1 } else { 2 };
        assert_eq!((stats.misses, stats.hits), (calls, 4 - calls));
    }

    #[tokio::test]
    async fn inside_of_compression_the_cache_keeps_what_the_handler_said() {
        let (cache, _clock) = cache();
        let service = ServiceBuilder::new()
            .layer(CompressionLayer::new())
            .layer(TraceLayer::new_for_http())
            .layer(timeout())
            .layer(cache.watch())
            .layer(cache.layer().ttl(MINUTE))
            .service(handler());
        answers(service).await;
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.hits), (1, 3));
    }

    #[test]
    fn bodies_that_are_layered_twice_have_a_name() {
        fn is_a_body<B: Body<Data = Bytes>>() {}
        is_a_body::<CompressionBody<ResponseBody<Full<Bytes>>>>();
        is_a_body::<ResponseBody<CompressionBody<Full<Bytes>>>>();
    }
}

#[cfg(feature = "axum")]
mod in_axum {
    //! A plain `.layer()` wherever axum takes one.

    use axum::extract::{Path, State};
    use axum::routing::{get, post, MethodRouter};
    use axum::{middleware, Router};
    use larder::{CacheFor, Invalidate, NoStore, Tags};
    use tower_http::compression::CompressionLayer;
    use tower_http::timeout::TimeoutLayer;
    use tower_http::trace::TraceLayer;

    use super::*;

    async fn ask(app: &Router, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::empty()).unwrap();
        read(app.clone().oneshot(request).await.unwrap()).await
    }

    async fn hits_on_the_second_request(app: &Router, path: &str) {
        assert!(!ask(app, "GET", path).await.is_hit(), "{path}");
        assert!(ask(app, "GET", path).await.is_hit(), "{path}");
    }

    #[tokio::test]
    async fn the_layer_goes_around_routers_method_routers_and_routes_with_state() {
        #[derive(Clone)]
        struct Posts(Arc<str>);

        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let one: MethodRouter<Posts> =
            get(|State(posts): State<Posts>| async move { posts.0.to_string() })
                .layer(layer.clone());
        let nested: Router<Posts> = Router::new()
            .route(
                "/{id}",
                get(|Path(id): Path<u32>| async move { id.to_string() }),
            )
            .layer(layer.clone());
        let routed: Router<Posts> = Router::new()
            .route("/routed", get(|| async { "routed" }))
            .route_layer(layer.clone());
        let app = Router::new()
            .route("/one", one)
            .route("/two", get(|| async { "two" }).layer(layer.clone()))
            .nest("/nested", nested)
            .nest_service(
                "/service",
                Router::new()
                    .route("/x", get(|| async { "x" }))
                    .layer(layer),
            )
            .merge(routed)
            .with_state(Posts("posts".into()))
            .layer(cache.watch());
        for path in ["/one", "/two", "/nested/7", "/routed", "/service/x"] {
            hits_on_the_second_request(&app, path).await;
        }
    }

    #[tokio::test]
    async fn the_layer_goes_into_one_service_builder_in_both_orders() {
        let (cache, _clock) = cache();
        let pass = |request: axum::extract::Request, next: middleware::Next| next.run(request);
        let timeout = TimeoutLayer::with_status_code(http::StatusCode::REQUEST_TIMEOUT, MINUTE);
        let outside = ServiceBuilder::new()
            .layer(TraceLayer::new_for_http())
            .layer(timeout)
            .layer(middleware::from_fn(pass))
            .layer(cache.layer().ttl(MINUTE))
            .layer(CompressionLayer::new());
        let inside = ServiceBuilder::new()
            .layer(CompressionLayer::new())
            .layer(timeout)
            .layer(cache.layer().ttl(MINUTE))
            .layer(middleware::from_fn(pass))
            .layer(TraceLayer::new_for_http());
        let app = Router::new()
            .route("/outside", get(|| async { "outside" }).layer(outside))
            .route("/inside", get(|| async { "inside" }).layer(inside));
        for path in ["/outside", "/inside"] {
            hits_on_the_second_request(&app, path).await;
        }
    }

    #[tokio::test]
    async fn content_keys_a_route_whose_body_is_axums() {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE).key_body(1024);
        let echo = post(|content: String| async move { content }).layer(layer);
        let app = Router::new().route("/ask", echo);
        for (content, is_hit) in [("one", false), ("two", false), ("one", true)] {
            let request = Request::post("/ask").body(axum::body::Body::from(content));
            let request = request.unwrap();
            let answer = read(app.clone().oneshot(request).await.unwrap()).await;
            assert_eq!((answer.text(), answer.is_hit()), (content, is_hit));
        }
    }

    #[tokio::test]
    async fn handlers_return_what_they_have_to_say_beside_their_answer() {
        let (cache, clock) = cache();
        let layer = || cache.layer().ttl(MINUTE);
        let tagged = || async { (Tags::new(["a"]), Tags::new(["b"]), "tagged") };
        let brief = || async { (CacheFor(MINUTE / 2), "brief") };
        let app = Router::new()
            .route("/tagged", get(tagged).layer(layer()))
            .route("/brief", get(brief).layer(layer()))
            .route(
                "/never",
                get(|| async { (NoStore, "never") }).layer(layer()),
            )
            .route(
                "/rename",
                post(|| async { (Invalidate::tag("b"), "renamed") }),
            )
            .layer(cache.watch());
        for path in ["/tagged", "/brief"] {
            hits_on_the_second_request(&app, path).await;
        }
        ask(&app, "GET", "/never").await;
        assert!(!ask(&app, "GET", "/never").await.is_hit());
        ask(&app, "POST", "/rename").await;
        assert!(!ask(&app, "GET", "/tagged").await.is_hit());
        clock.advance(MINUTE / 2);
        assert!(!ask(&app, "GET", "/brief").await.is_hit());
    }
}

#[tokio::test]
async fn the_conditional_layer_keeps_body_errors_and_fits_over_bodies_that_are_not_sync() {
    let inner = service_fn(|_: Request<GrpcBody>| async {
        Ok::<_, Status>(Response::new(OneFrame(Cell::new(Some(b"content")))))
    });
    let layer = larder::ConditionalLayer::new();
    let service = layer.layer(inner);
    let request = Request::get("/").body(grpc_body("")).unwrap();
    let answer: Result<Response<larder::conditional::ResponseBody<OneFrame>>, Status> =
        service.oneshot(request).await;
    let content: Result<_, Status> = answer.unwrap().into_body().collect().await;
    assert_eq!(content.unwrap().to_bytes(), "content");
}

#[tokio::test]
async fn the_conditional_layer_stacks_with_the_cache_and_others_in_either_order() {
    use tower_http::compression::CompressionLayer;

    let (cache, _clock) = cache();
    let route = || cache.layer().ttl(MINUTE);
    let conditional = larder::ConditionalLayer::new;
    let inner = Origin::counting();
    let inside = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(route())
        .layer(conditional())
        .service(inner.clone());
    let around = ServiceBuilder::new()
        .layer(conditional())
        .layer(CompressionLayer::new())
        .layer(route())
        .service(inner);
    let inside = inside.oneshot(get("/a", &[])).await.unwrap();
    let around = around.oneshot(get("/b", &[])).await.unwrap();
    for headers in [inside.headers(), around.headers()] {
        assert!(headers.contains_key("etag"));
    }
}
