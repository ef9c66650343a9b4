//! Targeted cache control: the same directives, meant for one kind of cache.
//!
//! `CDN-Cache-Control` tells a CDN what `Cache-Control` tells everyone, and replaces it there. It looks alike but is
//! a structured dictionary, with other manners: keys are lower case, numbers are numbers, and one mistake makes
//! the whole field void, as if it had not been sent. What remains is read as carefully as `Cache-Control` is: a
//! restriction counts with any value but `?0`, a permission only when true.

use http::HeaderValue;

use super::cache_control::{CacheControl, Fields, MOST_SECONDS};
use super::structured::{self, BareItem, Item, Member};

/// The directives of one targeted field, or `None` if it is absent, empty or void (RFC 9213 §2.1, §2.2).
pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Option<CacheControl> {
    let dictionary = structured::parse_dictionary(lines)?;
    if dictionary.is_empty() {
        return None;
    }
    let mut parsed = CacheControl {
        present: true,
        ..CacheControl::default()
    };
    for (key, member) in &dictionary {
        // Parameters carry no meaning here, and no directive takes an inner list.
        let value = match member {
            Member::Item(Item { value, .. }) => Some(value),
            Member::InnerList(..) => None,
        };
        read(&mut parsed, key, value);
    }
    Some(parsed)
}

/// Reads one directive; those that only requests use are unknown here (RFC 9213 §2.1).
fn read(parsed: &mut CacheControl, key: &str, value: Option<&BareItem>) {
    let restricted = value != Some(&BareItem::Boolean(false));
    let permitted = value == Some(&BareItem::Boolean(true));
    match key {
        "no-store" => parsed.no_store = restricted,
        "no-cache" => parsed.no_cache = restricted.then(|| fields(value)),
        "private" => parsed.private = restricted.then(|| fields(value)),
        "public" => parsed.public = permitted,
        "max-age" => parsed.max_age = Some(seconds(value).unwrap_or(0)),
        "s-maxage" => parsed.s_maxage = Some(seconds(value).unwrap_or(0)),
        "must-revalidate" => parsed.must_revalidate = restricted,
        "proxy-revalidate" => parsed.proxy_revalidate = restricted,
        "must-understand" => parsed.must_understand = permitted,
        "no-transform" => parsed.no_transform = restricted,
        "immutable" => parsed.immutable = permitted,
        "stale-while-revalidate" => parsed.stale_while_revalidate = seconds(value),
        "stale-if-error" => parsed.stale_if_error = seconds(value),
        _ => {}
    }
}

fn seconds(value: Option<&BareItem>) -> Option<u64> {
    match value {
        Some(BareItem::Integer(seconds)) => u64::try_from(*seconds)
            .ok()
            .map(|seconds| seconds.min(MOST_SECONDS)),
        _ => None,
    }
}

fn fields(value: Option<&BareItem>) -> Fields {
    match value {
        Some(BareItem::String(list)) => Fields::named(list.as_bytes()),
        _ => Fields::All,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::{parse, CacheControl, Fields};

    fn read(lines: &[&str]) -> Option<CacheControl> {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap())
            .collect();
        parse(&lines)
    }

    fn with(fill: impl FnOnce(&mut CacheControl)) -> Option<CacheControl> {
        let mut expected = CacheControl {
            present: true,
            ..CacheControl::default()
        };
        fill(&mut expected);
        Some(expected)
    }

    #[test]
    fn absent_empty_or_malformed_field_is_no_field() {
        let table: &[&[&str]] = &[
            &[],
            &[""],
            &["  "],
            &["max-age=60,"],
            &["max-age=60,,no-store"],
            &["Max-Age=60"],
            &["no-store, MAX-AGE=60"],
            &["max-age = 60"],
            &["max-age= 60"],
            &["max-age='60'"],
            &["max-age=\"60"],
            &["max-age=60; public,"],
            &["no-store,", "max-age=60"],
            &["max-age=60", ""],
            &["max-age=9999999999999999"],
            &["max-age=60 no-store"],
            &["private=set-cookie:\u{e9}"],
        ];
        for lines in table {
            assert_eq!(read(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn directives_mean_what_they_mean_in_cache_control() {
        let every = [
            "no-store, public, max-age=1, s-maxage=2, must-revalidate, proxy-revalidate, must-understand",
            "no-transform, immutable, stale-while-revalidate=3, stale-if-error=4, no-cache, private",
        ];
        let lines = every.map(HeaderValue::from_static);
        assert_eq!(parse(&lines), Some(CacheControl::parse(&lines)));
    }

    #[test]
    fn lifetime_of_another_type_is_zero_and_an_allowance_is_not_given() {
        let table = [
            ("=60", Some(60)),
            ("=0060", Some(60)),
            ("=60;why=\"so\"", Some(60)),
            ("=999999999999999", Some(1 << 31)),
            ("=-60", None),
            ("=60.0", None),
            ("=\"60\"", None),
            ("=abc", None),
            ("=?1", None),
            ("=?0", None),
            ("=(60)", None),
            ("=@60", None),
            ("", None),
        ];
        for (value, expected) in table {
            let lifetime = Some(expected.unwrap_or(0));
            let line = |key| format!("{key}{value}");
            assert_eq!(
                read(&[&line("max-age")]),
                with(|it| it.max_age = lifetime),
                "{value}"
            );
            assert_eq!(
                read(&[&line("s-maxage")]),
                with(|it| it.s_maxage = lifetime),
                "{value}"
            );
            assert_eq!(
                read(&[&line("stale-while-revalidate")]),
                with(|it| it.stale_while_revalidate = expected),
                "{value}",
            );
            assert_eq!(
                read(&[&line("stale-if-error")]),
                with(|it| it.stale_if_error = expected),
                "{value}",
            );
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(
            read(&["max-age=1", "max-age=60"]),
            with(|it| it.max_age = Some(60))
        );
        assert_eq!(read(&["no-store, no-store=?0"]), with(|_| {}));
    }

    #[test]
    fn restriction_counts_unless_false_and_a_permission_only_when_true() {
        let table = [
            ("", true, true),
            ("=?1", true, true),
            (";a=b", true, true),
            ("=?0", false, false),
            ("=foo", true, false),
            ("=\"foo\"", true, false),
            ("=1", true, false),
            ("=()", true, false),
        ];
        for (value, restricted, permitted) in table {
            for name in [
                "no-store",
                "no-cache",
                "private",
                "must-revalidate",
                "proxy-revalidate",
                "no-transform",
            ] {
                assert_eq!(
                    read(&[&format!("{name}{value}")]) != with(|_| {}),
                    restricted,
                    "{name}{value}"
                );
            }
            for name in ["public", "must-understand", "immutable"] {
                assert_eq!(
                    read(&[&format!("{name}{value}")]) != with(|_| {}),
                    permitted,
                    "{name}{value}"
                );
            }
        }
    }

    #[test]
    fn string_names_the_fields_and_anything_unclear_means_all() {
        let named = || {
            Some(Fields::Named(vec![
                "set-cookie".parse().unwrap(),
                "a".parse().unwrap(),
            ]))
        };
        let table = [
            (r#"="Set-Cookie, a""#, named()),
            ("", Some(Fields::All)),
            ("=?0", None),
            (r#"="""#, Some(Fields::All)),
            (r#"="a b""#, Some(Fields::All)),
            ("=set-cookie", Some(Fields::All)),
            ("=(\"a\")", Some(Fields::All)),
        ];
        for (value, expected) in table {
            let line = |key| format!("{key}{value}");
            assert_eq!(
                read(&[&line("private")]),
                with(|it| it.private = expected.clone()),
                "{value}"
            );
            assert_eq!(
                read(&[&line("no-cache")]),
                with(|it| it.no_cache = expected.clone()),
                "{value}"
            );
        }
    }

    #[test]
    fn unknown_keys_and_those_of_requests_are_ignored() {
        for line in [
            "foo",
            "foo=\"no-store\"",
            "only-if-cached, max-stale=5, min-fresh=5",
            "*a.b_c=(x y)",
        ] {
            assert_eq!(read(&[line]), with(|_| {}), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(line in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let _ = parse([&line]);
            }
        }
    }
}
