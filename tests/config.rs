//! A configuration that contradicts itself is refused, with the line to write instead.

mod support;

use std::borrow::Cow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use http::header::{ACCEPT_LANGUAGE, COOKIE};
use http::HeaderName;
use larder::{Cache, CacheBuilder, CacheLayer, ClientCache, ConfigError, KeyError};
use support::*;
use tower::Layer;

fn anybody(_: &http::request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> {
    Ok(Some("ann".into()))
}

/// The message of a panic.
fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("this should panic");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().unwrap().to_string(),
    }
}

/// Holds one mistake against both ways of finding out.
fn is_refused<K>(layer: &CacheLayer<K>, problem: &str, instead: &str) {
    let error = layer.try_validate().expect_err(problem);
    assert!(error.to_string().contains(problem), "{error}");
    assert!(error.instead().contains(instead), "{error}");
    let panic = panic_of(|| drop(layer.layer(())));
    assert_eq!(panic, error.to_string());
}

#[test]
fn a_conditional_layer_that_tags_nothing_is_refused() {
    let layer = larder::ConditionalLayer::new().body_limit(0);
    let error = layer.try_validate().expect_err("tags nothing");
    assert!(error.to_string().contains("a body limit of zero"));
    assert!(error.instead().contains("`.body_limit(1024 * 1024)`"));
    assert_eq!(panic_of(|| drop(layer.layer(()))), error.to_string());
}

#[test]
fn a_layer_that_contradicts_itself_is_refused_with_the_line_to_write_instead() {
    let (cache, _clock) = cache();
    let layer = || cache.layer().ttl(MINUTE);
    let second = Duration::from_secs(1);
    let rows: Vec<(CacheLayer, &str, &str)> = vec![
        (
            layer().ttl(Duration::ZERO),
            "a ttl of zero",
            "`.ttl(Duration::from_secs(60))`",
        ),
        (
            layer().status_ttl(206, second),
            "status 206 must not be stored",
            "no `.status_ttl` for 206",
        ),
        (
            layer().status_ttl(304, second),
            "status 304 must not be stored",
            "no `.status_ttl` for 304",
        ),
        (
            layer().status_ttl(429, second),
            "status 429 must not be stored",
            "no `.status_ttl` for 429",
        ),
        (
            layer().status_ttl(431, second),
            "status 431 must not be stored",
            "no `.status_ttl` for 431",
        ),
        (
            layer().not_found_ttl(Duration::ZERO),
            "status 404 has a ttl of zero",
            "`.status_ttl(404, Duration::from_secs(1))`",
        ),
        (
            layer().status_ttl(403, second),
            "401 and 403 are about one caller",
            "`.per_user(..)` beside",
        ),
        (
            layer().status_ttl(401, second),
            "401 and 403 are about one caller",
            "`.per_user(..)` beside",
        ),
        (
            layer().collapse_timeout(Duration::ZERO),
            "a collapse deadline of zero",
            "`.no_collapsing()`",
        ),
        (
            layer().early_refresh(0.0),
            "between 0 and 1",
            "`.early_refresh(0.1)`",
        ),
        (
            layer().early_refresh(1.0),
            "between 0 and 1",
            "`.early_refresh(0.1)`",
        ),
        (
            layer().early_refresh(-0.1),
            "between 0 and 1",
            "`.early_refresh(0.1)`",
        ),
        (
            layer().early_refresh(f32::NAN),
            "between 0 and 1",
            "`.early_refresh(0.1)`",
        ),
        (
            layer()
                .per_user(anybody)
                .client(ClientCache::public(second)),
            "a per-user route marked public",
            "`.per_user(..).client(ClientCache::private(..))`",
        ),
        (
            layer().shared_despite_credentials().per_user(anybody),
            "either per user or shared",
            "`.per_user(..)` alone",
        ),
        (
            layer().query_only(["a"]).query_except(["b"]),
            "exclude each other",
            "the one of them",
        ),
        (
            layer().query_only(["a"]).query_only(["b"]),
            "exclude each other",
            "the one of them",
        ),
        (
            layer().query_only([""]),
            "a query parameter needs a name",
            "`.query_only([] as [&str; 0])`",
        ),
        (
            layer().vary_on(COOKIE),
            "varying on `Cookie`",
            "`.per_user(larder::user::from_cookie(\"session\"))`",
        ),
        (
            (0..9).fold(layer(), |layer, n| {
                layer.vary_on(HeaderName::try_from(format!("x-{n}")).unwrap())
            }),
            "more than 8 fields",
            "`.key_part(..)`",
        ),
        (
            layer().body_limit(0),
            "a body limit of zero",
            "`.body_limit(1024 * 1024)`",
        ),
        (
            layer().body_limit(64 << 20),
            "does not fit into a capacity",
            "`Cache::builder().capacity(134217728)`",
        ),
        (
            layer().body_limit(8 << 20),
            "does not fit into the shards",
            "`Cache::builder().body_limit(8388608)`",
        ),
        (layer().tag(""), "a tag has 1 to 256 bytes", "`.tag("),
        (
            layer().tag("x".repeat(257)),
            "a tag has 1 to 256 bytes",
            "`.tag(",
        ),
        (
            layer().tag("post:{id"),
            "the braces of the tag `post:{id` do not match",
            "`.tag(\"post:{id}\")`",
        ),
        (
            layer().tag("post:{}"),
            "the braces of the tag `post:{}` do not match",
            "`.tag(\"post:{id}\")`",
        ),
        (
            (0..65).fold(layer(), |layer, n| layer.tag(format!("tag:{n}"))),
            "65 tags are more than the limit of 64",
            "`Cache::builder().max_tags(65)`",
        ),
    ];
    for (layer, problem, instead) in &rows {
        is_refused(layer, problem, instead);
    }
    is_refused(
        &layer().key_body(0),
        "a body limit of zero keys every request alike",
        "`.key_body(64 * 1024)`",
    );
}

#[test]
fn settings_that_agree_are_taken() {
    let (cache, _clock) = cache();
    let layer = || cache.layer().ttl(MINUTE);
    let rows: Vec<CacheLayer> = vec![
        cache.layer(),
        layer(),
        layer().status_ttl(403, MINUTE).per_user(anybody),
        layer()
            .per_user(anybody)
            .client(ClientCache::private(MINUTE)),
        layer().per_user(anybody).client(ClientCache::no_store()),
        layer().client(ClientCache::public(MINUTE)),
        layer().query_only([] as [&str; 0]).vary_on(ACCEPT_LANGUAGE),
        layer().tag("post:{id}").tag("posts").early_refresh(0.1),
        layer().no_collapsing().body_limit(3 << 20),
        layer().ttl(Duration::MAX).stale_if_error(Duration::MAX),
    ];
    for layer in &rows {
        layer.try_validate().unwrap();
        drop(layer.layer(()));
    }
    layer().key_body(1).try_validate().unwrap();
}

#[test]
fn a_number_that_is_no_status_panics_where_it_is_written() {
    for code in [0_u16, 99, 1000] {
        let (cache, _clock) = cache();
        let panic = panic_of(|| drop(cache.layer().status_ttl(code, MINUTE)));
        assert!(
            panic.contains("write instead: `.status_ttl(404, ..)`"),
            "{panic}"
        );
    }
}

#[test]
fn a_cache_that_could_keep_nothing_is_refused_with_the_line_to_write_instead() {
    let rows: Vec<(CacheBuilder, &str, &str)> = vec![
        (
            Cache::builder().capacity(0),
            "capacity of zero",
            "`.capacity(",
        ),
        (
            Cache::builder().body_limit(0),
            "body limit of zero",
            "`.body_limit(",
        ),
        (
            Cache::builder().max_tags(0),
            "limit of tags of zero",
            "`.max_tags(",
        ),
        (
            Cache::builder().max_variants(0),
            "limit of variants of zero",
            "`.max_variants(",
        ),
        (
            Cache::builder().max_key(0),
            "limit of the key of zero",
            "`.max_key(",
        ),
        (
            Cache::builder().max_waiters(0),
            "limit of waiters of zero",
            "`.no_collapsing()`",
        ),
        (
            Cache::builder().capacity(1 << 20),
            "does not fit into a capacity of 1048576 bytes",
            "`.capacity(2097152)` or more, or a smaller `.body_limit(..)`",
        ),
        (
            Cache::builder().body_limit(u64::MAX),
            "does not fit",
            "a smaller `.body_limit(..)`",
        ),
        (
            Cache::builder().clock_bits(9),
            "2^10 to 2^20",
            "`.clock_bits(16)`",
        ),
        (
            Cache::builder().clock_bits(21),
            "2^10 to 2^20",
            "`.clock_bits(16)`",
        ),
        (
            Cache::builder().name(""),
            "a token",
            "`.name(\"shop-cache\")`",
        ),
        (
            Cache::builder().name("shop cache"),
            "a token",
            "`.name(\"shop-cache\")`",
        ),
        (
            Cache::builder().name("1st"),
            "a token",
            "`.name(\"shop-cache\")`",
        ),
        (
            Cache::builder().namespace("x".repeat(4096)),
            "leaves no room in a key of 4096 bytes",
            "`.namespace(\"shop-v2\")`",
        ),
    ];
    for (builder, problem, instead) in rows {
        let error: ConfigError = builder.build().expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
        assert!(error.instead().contains(instead), "{error}");
        let told = format!("; write instead: {}", error.instead());
        assert!(error.to_string().ends_with(&told), "{error}");
    }
}

#[tokio::test]
async fn durations_of_any_length_are_survived() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(Duration::MAX)
        .stale_while_revalidate(Duration::MAX)
        .stale_if_error(Duration::MAX)
        .collapse_timeout(Duration::MAX)
        .early_refresh(0.5);
    let origin = Origin::counting();
    send(&layer, &origin, get("/", &[])).await;
    clock.advance(MINUTE);
    assert!(send(&layer, &origin, get("/", &[])).await.is_hit());
}
