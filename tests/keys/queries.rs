//! The query: another order of names is the same request, anything else is another one.

use super::*;

/// Pairs that are easily taken for each other, or for the end of one.
const PAIRS: [&str; 16] = [
    "a=1", "a=2", "%61=1", "%61=2", "a", "a=", "=1", "", "b=1", "b=1;a=2", "a%3D1", "a%26b=1",
    "+=1", "%20=2", "%FF=1", "%FE=2",
];

/// Queries made of the same few pairs, in many orders.
fn rearranged() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(PAIRS.to_vec(), 2..5).prop_flat_map(|pairs| {
        let query = Just(pairs).prop_shuffle().prop_map(|pairs| pairs.join("&"));
        prop::collection::vec(query, 2..12)
    })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn the_answer_to_a_query_is_the_one_the_handler_would_give(
        queries in rearranged(),
    ) {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        block_on(async {
            let origin = mirror();
            for query in &queries {
                let request = || get(&format!("/?{query}"), &[]);
                let answer = send(&layer, &origin, request()).await;
                prop_assert_eq!(answer.text(), everything(&request()), "{}", query);
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_handler_of_a_narrow_route_reads_the_parameters_that_key_it_and_no_others(
        queries in prop::collection::vec("([ab%+=&;]|%61|%3D|%26|%20){0,8}", 2..12),
    ) {
        let (cache, _clock) = cache();
        let only = cache.layer().ttl(MINUTE).narrow().query_only(["a"]);
        let except = cache.layer().ttl(MINUTE).narrow().any_host().query_except(["a"]);
        block_on(async {
            let origin = Origin::new(|request| text(format!("{:?}", parameters(request.uri()))));
            for query in &queries {
                let uri = format!("/?{query}");
                for (layer, host, keeps_a) in [(&only, "a", true), (&except, "b", false)] {
                    let mut expected = parameters(&uri.parse().unwrap());
                    expected.retain(|name, _| (name == "a") == keeps_a);
                    let answer = send(layer, &origin, get(&uri, &[("host", host)])).await;
                    prop_assert_eq!(answer.text(), format!("{expected:?}"), "{}", uri);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn spellings_of_a_query_share_an_answer_only_in_another_order_of_names() {
    let rows = [
        ("a=1&b=2", "b=2&a=1", true),
        ("a=1&b=2&a=3", "b=2&a=1&a=3", true),
        ("a=1&a=2", "a=2&a=1", false),
        ("a=1", "a=2", false),
        ("a=1;b=2", "a=1&b=2", false),
        ("a=1", "%61=1", false),
        ("a=+", "a=%20", false),
        ("a", "a=", false),
        ("a=1", "a=1&", false),
        ("a=1", "a=1&_method=DELETE", false),
        // A handler that replaces invalid UTF-8 reads one name twice, and its order counts.
        ("%FF=1&%FE=2", "%FE=2&%FF=1", false),
        // A handler that replaces invalid UTF-8 reads one name twice, and its order counts.
        ("%FF=1&%FE=2", "%FE=2&%FF=1", false),
    ];
    for (a, b, expected) in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let (a, b) = (format!("/?{a}"), format!("/?{b}"));
        assert_eq!(
            share(&layer, get(&a, &[]), get(&b, &[])).await,
            expected,
            "{a} {b}"
        );
    }
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    assert!(!share(&layer, get("/", &[]), get("/?", &[])).await);
}

#[tokio::test]
async fn a_parameter_that_does_not_matter_does_not_split_the_cache() {
    let (cache, _clock) = cache();
    let only = cache.layer().ttl(MINUTE).query_only(["limit", "offset"]);
    let except = cache
        .layer()
        .ttl(MINUTE)
        .query_except(["utm_source", "fbclid"]);
    let none = cache.layer().ttl(MINUTE).query_only([] as [&str; 0]);
    let rows = [
        (&only, "/1?limit=1&x=1", "/1?x=2&limit=1", true),
        (&only, "/2?limit=1", "/2?limit=2", false),
        (&only, "/3?Limit=1", "/3?Limit=2", true),
        (&except, "/4?a=1&utm_source=x", "/4?utm_source=y&a=1", true),
        (&except, "/5?a=1&utm_medium=x", "/5?a=1", false),
        (&none, "/6?a=1", "/6?b=2", true),
        (&none, "/7?a=1", "/7", true),
    ];
    for (layer, a, b, expected) in rows {
        assert_eq!(
            share(layer, get(a, &[]), get(b, &[])).await,
            expected,
            "{a} {b}"
        );
    }
}
