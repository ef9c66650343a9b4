//! What is stored for one query and answers others (`No-Vary-Search`), and who else has a say in it.

use larder::Profile;

use crate::support::{cache, get, send, Origin};

const SAYS: &[(&str, &str)] = &[
    ("cache-control", "max-age=60"),
    ("no-vary-search", "params=(\"u\")"),
];

/// A purge names a URI, and whoever asks afterwards, by whichever name, must not get what was there before.
#[tokio::test]
async fn a_purge_by_any_of_its_names_is_one_by_that_name() {
    for (purged, asked) in [
        ("/a?id=7", "/a?id=7&u=1"),
        ("/a?id=7&u=1", "/a?id=7&u=1"),
        ("/a?u=1&id=7", "/a?id=7&u=1"),
        ("/a", "/a?id=7&u=1"),
        ("http://a.test/a?id=7&u=1", "http://a.test/a?id=7&u=1"),
    ] {
        let (cache, _) = cache();
        let layer = cache.layer().profile(Profile::Rfc9111);
        let origin = Origin::with_fields(SAYS);
        let stored = asked.replace("&u=1", "");
        send(&layer, &origin, get(&stored, &[])).await;
        let hit = send(&layer, &origin, get(asked, &[])).await;
        assert_eq!(hit.text(), "call 1");
        assert!(
            hit.decision().ends_with("detail=no-vary-search"),
            "{}",
            hit.decision()
        );
        drop(cache.invalidate_uri(purged));
        let after = send(&layer, &origin, get(asked, &[])).await;
        assert_eq!(after.text(), "call 2", "{purged}");
        let another = asked.replace("&u=1", "&u=2");
        let after = send(&layer, &origin, get(&another, &[])).await;
        assert_eq!(
            after.text(),
            "call 2",
            "what was made since, and not what was there before {purged}"
        );
    }
}

#[tokio::test]
async fn the_safe_profile_heeds_it_where_a_route_asks() {
    for (asks, expected) in [(false, "call 2"), (true, "call 1")] {
        let (cache, _) = cache();
        let layer = match asks {
            true => cache.layer().no_vary_search(),
            false => cache.layer(),
        };
        let origin = Origin::with_fields(SAYS);
        send(&layer, &origin, get("/a?id=7", &[])).await;
        let answer = send(&layer, &origin, get("/a?id=7&u=1", &[])).await;
        assert_eq!(answer.text(), expected);
    }
}

/// Users are part of the key, whatever a response says of queries.
#[tokio::test]
async fn no_user_gets_what_another_one_has() {
    let (cache, _) = cache();
    let layer = cache.layer().no_vary_search();
    let layer = layer.per_user(larder::user::from_header("x-user"));
    let origin = Origin::with_fields(SAYS);
    send(&layer, &origin, get("/a?id=7", &[("x-user", "anna")])).await;
    let ben = send(&layer, &origin, get("/a?id=7&u=1", &[("x-user", "ben")])).await;
    assert_eq!(ben.text(), "call 2");
    let anna = send(&layer, &origin, get("/a?id=7&u=1", &[("x-user", "anna")])).await;
    assert_eq!(anna.text(), "call 1");
}

/// Where two routes store under one key, and one of them heeds nothing that a response says of queries.
#[tokio::test]
async fn what_another_route_has_stored_answers_no_other_query() {
    let (cache, _) = cache();
    let (heeds, does_not) = (cache.layer().no_vary_search(), cache.layer());
    let origin = Origin::with_fields(SAYS);
    send(&heeds, &origin, get("/a?id=7", &[])).await;
    let reload = get("/a?id=7", &[("cache-control", "no-cache")]);
    send(&does_not, &origin, reload).await;
    drop(cache.invalidate_uri("/a?id=7&u=1"));
    let after = send(&heeds, &origin, get("/a?id=7&u=1", &[])).await;
    assert_eq!(after.text(), "call 3");
}
