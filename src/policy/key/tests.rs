use super::*;
use proptest::prelude::*;

fn key(class: Class, list: &[(Label, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = KeyWriter::new(&mut out, class, usize::MAX);
    for (label, bytes) in list {
        writer.part(*label, bytes);
    }
    writer.finish().unwrap();
    out
}

fn query_key(query: &str, rule: &QueryRule) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = KeyWriter::new(&mut out, Class::Get, usize::MAX);
    if let Some(query) = canonical_query(query, rule) {
        writer.part(Label::Query, query.as_bytes());
    }
    writer.finish().unwrap();
    out
}

proptest! {
    #[test]
    fn a_draft_put_in_order_is_the_key_and_stays_it(
        host in "[a-z]{0,3}",
        query in "[ab=&%+61;]{0,12}|([a-c]=[12]&){1,4}a=3",
        user in prop::option::of("[ab&=]{0,3}"),
    ) {
        let written = |query: &[u8]| {
            let mut list = vec![(Label::Host, host.clone().into_bytes())];
            list.push((Label::Query, query.to_vec()));
            list.extend(user.clone().map(|user| (Label::User, user.into_bytes())));
            key(Class::Get, &list)
        };
        let canonical = canonical_query(&query, &QueryRule::All).unwrap();
        let (mut draft, finished) = (written(query.as_bytes()), written(canonical.as_bytes()));
        prop_assert_eq!(order_query(&mut draft), draft != written(query.as_bytes()));
        prop_assert_eq!(&draft, &finished);
        prop_assert!(!order_query(&mut draft), "{query} has two orders");
        prop_assert_eq!(&draft, &finished);
    }
}

#[test]
fn a_key_is_shown_without_what_is_nobodys_business() {
    let text = |text: &str| text.as_bytes().to_vec();
    let place = [
        (Label::Host, text("a.test")),
        (Label::Path, text("/a\"b\\%20é")),
        (Label::Query, text("x=1")),
    ];
    let with = |more: &[(Label, Vec<u8>)]| [&place[..], more].concat();
    let plain = "GET a.test/a%22b%5C%20%C3%A9?x=1";
    assert_eq!(shown(&key(Class::Get, &place)), plain);
    let user = with(&[(Label::User, text("anna")), (Label::Extra, text("secret"))]);
    assert_eq!(
        shown(&key(Class::Get, &user)),
        format!("{plain} +user +part")
    );
    let query = with(&[
        (Label::ContentType, text("a/b")),
        (Label::Digest, text("0123")),
    ]);
    let expected = format!("QUERY {}", plain.trim_start_matches("GET ")) + " +content";
    assert_eq!(shown(&key(Class::Query, &query)), expected);
    let long = [(Label::Path, vec![b'a'; 4000])];
    assert!(shown(&key(Class::Get, &long)).len() <= LONGEST_SHOWN);
}

#[test]
fn order_of_different_names_does_not_matter_and_all_else_does() {
    let rows = [
        ("a=1&b=2", "b=2&a=1", true),
        ("limit=20&offset=0", "offset=0&limit=20", true),
        ("a=1&a=2", "a=2&a=1", false),
        ("%61=1&a=2", "a=2&%61=1", false),
        ("a=1", "%61=1", false),
        ("a=1;b=2", "a=1&b=2", false),
        ("a+b=1", "a%20b=1", false),
        ("a+b=1&a%20b=2", "a%20b=2&a+b=1", false),
        ("a=1", "a=1&", false),
        ("a", "a=", false),
        ("a=1", "A=1", false),
        ("%FF=1&%FE=2", "%FE=2&%FF=1", false),
        ("%ff=1&a=2", "a=2&%ff=1", false),
        ("z=%C3%A9&a=1", "a=1&z=%C3%A9", true),
        ("a=1&%zz=2", "%zz=2&a=1", true),
    ];
    for (a, b, same) in rows {
        let keys = (query_key(a, &QueryRule::All), query_key(b, &QueryRule::All));
        assert_eq!(keys.0 == keys.1, same, "{a} and {b}");
    }
}

#[test]
fn only_and_except_go_by_the_decoded_name() {
    let only = QueryRule::Only(vec!["limit".into(), "offset".into()]);
    let except = QueryRule::Except(vec!["utm_source".into()]);
    let rows = [
        (&only, "limit=1&x=2", "limit=1", true),
        (&only, "%6cimit=1", "limit=1", false),
        (&only, "%6cimit=1", "y=2&%6cimit=1", true),
        (&except, "a=1&utm_source=x", "a=1&%75tm_source=y", true),
        (&except, "a=1&utm_sourc=x", "a=1", false),
    ];
    for (rule, a, b, same) in rows {
        assert_eq!(
            query_key(a, rule) == query_key(b, rule),
            same,
            "{a} and {b}"
        );
    }
}

#[test]
fn a_key_over_the_limit_is_refused() {
    let mut out = Vec::new();
    let mut writer = KeyWriter::new(&mut out, Class::Get, 100);
    writer.part(Label::Path, &[b'x'; 98]);
    assert_eq!(writer.finish(), Err(TooLong));
    let mut writer = KeyWriter::new(&mut out, Class::Get, usize::MAX);
    writer.part(Label::Path, &vec![b'x'; 70_000]);
    assert_eq!(writer.finish(), Err(TooLong));
}

proptest! {
    #[test]
    fn keys_are_the_same_only_byte_for_byte(mut a: Vec<u8>, flip in any::<proptest::sample::Index>()) {
        let original = a.clone();
        prop_assert!(same_key(&a, &original));
        if !a.is_empty() {
            let at = flip.index(a.len());
            a[at] ^= 1;
            prop_assert!(!same_key(&a, &original));
            prop_assert!(!same_key(&original[..at], &original));
        }
    }
}

fn any_parts() -> impl Strategy<Value = Vec<(Label, Vec<u8>)>> {
    let part = (
        0..Label::ALL.len(),
        proptest::collection::vec(any::<u8>(), 0..20),
    );
    proptest::collection::vec(part, 0..8).prop_map(|list| {
        list.into_iter()
            .map(|(i, bytes)| (Label::ALL[i], bytes))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_key_decodes_to_the_parts_it_was_made_of(list in any_parts()) {
        let key = key(Class::Get, &list);
        let decoded: Vec<(u8, Vec<u8>)> = parts(&key).map(|(l, b)| (l, b.to_vec())).collect();
        let expected: Vec<(u8, Vec<u8>)> = list.iter().map(|(l, b)| (*l as u8, b.clone())).collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn two_keys_are_the_same_only_if_their_parts_are(a in any_parts(), b in any_parts()) {
        prop_assert_eq!(key(Class::Get, &a) == key(Class::Get, &b), a == b);
        prop_assert_ne!(key(Class::Get, &a), key(Class::Post, &a));
    }

    #[test]
    fn queries_share_a_key_only_if_a_form_decoder_reads_each_name_alike(
        a in "([ab%+=&]|%61|%FF|%FE|é){0,10}", b in "([ab%+=&]|%61|%FF|%FE|é){0,10}",
    ) {
        if query_key(&a, &QueryRule::All) == query_key(&b, &QueryRule::All) {
            prop_assert_eq!(by_name(&a), by_name(&b));
        }
    }

    #[test]
    fn shuffling_plain_names_keeps_the_key(
        pairs in proptest::collection::btree_map("[a-z]{1,4}", "[a-z0-9%]{0,4}", 0..6),
        seed in any::<u64>(),
    ) {
        let sorted: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|pair| seed.rotate_left(pair.len() as u32) ^ u64::from(pair.as_bytes()[0]).wrapping_mul(seed));
        prop_assert_eq!(
            query_key(&sorted.join("&"), &QueryRule::All),
            query_key(&shuffled.join("&"), &QueryRule::All)
        );
    }
}

/// What a handler sees: the values of each name, in order, names decoded with replacement.
fn by_name(query: &str) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut values = std::collections::BTreeMap::<String, Vec<String>>::new();
    for pair in query.split('&') {
        let name: Vec<u8> = decoded(pair_name(pair).as_bytes()).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        values.entry(name).or_default().push(pair.to_owned());
    }
    values
}
