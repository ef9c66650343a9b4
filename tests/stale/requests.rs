//! What the clock and the request's own directives have to say about age.

use super::support::*;
use super::*;

#[tokio::test]
async fn a_clock_set_back_makes_no_response_younger_or_longer_lived() {
    let (cache, clock) = cache();
    let layer = cache
        .layer()
        .ttl(secs(10))
        .stale_while_revalidate(MINUTE)
        .stale_if_error(MINUTE);
    let origin = Origin::counting();
    ask(&layer, &origin, &[]).await;
    clock.set_back(secs(4));
    let answer = send(&layer, &origin, get("/", &[])).await;
    assert_eq!(
        (answer.decision().as_str(), answer.field("age").as_str()),
        ("hit; ttl=14", "0")
    );
    clock.set_back(secs(3600));
    assert_eq!(
        ask(&layer, &origin, &[]).await,
        is("call 2", "fwd=stale; stored")
    );
    assert_eq!(ask(&layer, &origin, &[]).await, is("call 2", "hit; ttl=10"));
    clock.advance(secs(3600)); // put right: what was stored meanwhile is old
    assert_eq!(
        ask(&layer, &origin, &[]).await,
        is("call 3", "fwd=stale; stored")
    );
}

#[tokio::test]
async fn the_request_s_own_directives_are_heeded_and_can_be_ignored() {
    // Stored with 60 s to live, asked for after 20 s; then stale for 10 s of a window of 30 s.
    let rows: [(&str, &str, &str); 12] = [
        ("", "hit; ttl=40", "fwd=stale; stored"),
        ("no-cache", "fwd=request; stored", "fwd=stale; stored"),
        ("max-age=0", "fwd=request; stored", "fwd=stale; stored"),
        ("max-age=19", "fwd=request; stored", "fwd=stale; stored"),
        ("max-age=20", "hit; ttl=40", "fwd=stale; stored"),
        ("min-fresh=40", "hit; ttl=40", "fwd=stale; stored"),
        ("min-fresh=41", "fwd=request; stored", "fwd=stale; stored"),
        ("max-stale", "hit; ttl=40", "hit; ttl=-10; detail=max-stale"),
        (
            "max-stale=10",
            "hit; ttl=40",
            "hit; ttl=-10; detail=max-stale",
        ),
        ("max-stale=9", "hit; ttl=40", "fwd=stale; stored"),
        ("only-if-cached", "hit; ttl=40", "detail=only-if-cached"),
        (
            "no-store",
            "hit; ttl=40",
            "fwd=stale; detail=request-no-store",
        ),
    ];
    for (directive, fresh, stale) in rows {
        for (seconds, decision) in [(20, fresh), (70, stale)] {
            for ignores in [false, true] {
                let (cache, clock) = cache();
                let mut layer = cache.layer().ttl(MINUTE).stale_if_error(secs(30));
                if ignores {
                    layer = layer.ignore_client_directives();
                }
                let origin = Origin::counting();
                ask(&layer, &origin, &[]).await;
                clock.advance(secs(seconds));
                let answer = send(&layer, &origin, get("/", &[("cache-control", directive)])).await;
                let unheeded = if seconds == 20 {
                    "hit; ttl=40"
                } else {
                    "fwd=stale; stored"
                };
                let expected = if ignores { unheeded } else { decision };
                assert_eq!(answer.decision(), expected, "{directive} after {seconds} s");
                let timed_out = decision.ends_with("only-if-cached") && !ignores;
                assert_eq!(answer.status, if timed_out { 504 } else { 200 });
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_names_an_age_is_given_nothing_stale_unless_it_takes_that_too() {
    let rows = [
        ("", true),
        ("max-age=60", false),
        ("max-age=60, max-stale", true),
        ("max-age=60, max-stale=5", true),
        ("max-age=11, max-stale=5", false),
        ("min-fresh=0", false),
    ];
    for (directives, is_stale) in rows {
        let (cache, clock) = cache();
        let layer = cache.layer().ttl(secs(10)).stale_while_revalidate(MINUTE);
        let origin = Origin::counting();
        ask(&layer, &origin, &[]).await;
        clock.advance(secs(12));
        let answer = ask(&layer, &origin, &[("cache-control", directives)]).await;
        let expected = match is_stale {
            true => is("call 1", "hit; ttl=-2; detail=stale-while-revalidate"),
            false => is("call 2", "fwd=stale; stored"),
        };
        assert_eq!(answer, expected, "{directives}");
    }
}

#[tokio::test]
async fn a_client_that_takes_anything_stale_is_not_given_more_than_the_route_allows() {
    let (cache, clock) = cache();
    let layer = cache.layer().ttl(secs(10));
    let origin = Origin::counting();
    ask(&layer, &origin, &[]).await;
    clock.advance(secs(12));
    let answer = ask(&layer, &origin, &[("cache-control", "max-stale")]).await;
    assert_eq!(answer, is("call 2", "fwd=stale; stored"));
}
