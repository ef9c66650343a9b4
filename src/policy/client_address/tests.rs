use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn found<'a>(
    rule: &ClientAddress,
    peer: &str,
    lines: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    let peer = (peer != "-").then(|| peer.parse().unwrap());
    let found = rule.find(peer, &headers);
    found.map_or_else(|| "nobody".to_owned(), |address| address.to_string())
}

fn rule(name: &str) -> ClientAddress {
    let networks = || ClientAddress::behind(["10.0.0.0/8", "fd00::/8"]);
    match name {
        "peer" => ClientAddress::peer(),
        "one" => ClientAddress::behind_hops(1),
        "two" => ClientAddress::behind_hops(2),
        "net" => networks(),
        "fwd" => ClientAddress::behind_hops(1).forwarded(),
        "fnet" => networks().forwarded(),
        "real" => ClientAddress::behind_hops(1).header("x-real-ip"),
        other => panic!("no rule is called {other}"),
    }
}

/// A rule, the connection, the fields, and whose address it is. 10.0.0.1 is the nearest proxy; 6.6.6.6 is what a
/// client would like to be.
const TABLE: &str = r#"
# The connection alone.
peer | 1.1.1.1 => 1.1.1.1
peer | 1.1.1.1 | x-forwarded-for: 6.6.6.6 => 1.1.1.1
peer | 1.1.1.1 | forwarded: for=6.6.6.6 => 1.1.1.1
peer | - | x-forwarded-for: 6.6.6.6 => nobody
# One proxy, by count.
one | 10.0.0.1 | x-forwarded-for: 1.1.1.1 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6,1.1.1.1 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6 | x-forwarded-for: 1.1.1.1 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 6.6.6.6 | x-forwarded-for: 5.5.5.5, 1.1.1.1 => 1.1.1.1
one | 10.0.0.1 => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, => 6.6.6.6
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, unknown => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1:4711 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, [2001:db8::1]:4711 => 2001:db8::
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, [2001:db8::1] => 2001:db8::
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 2001:db8::1 => 2001:db8::
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, ::ffff:1.1.1.1 => 1.1.1.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1.1 => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 999.1.1.1 => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 01.1.1.1 => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, fe80::1%eth0 => 10.0.0.1
one | 10.0.0.1 | x-forwarded-for: 6.6.6.6, [2001:db8::1 => 10.0.0.1
one | 10.0.0.1 | forwarded: for=6.6.6.6 => 10.0.0.1
one | - | x-forwarded-for: 1.1.1.1 => 1.1.1.1
one | - => nobody
# Two proxies.
two | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1, 10.0.0.2 => 1.1.1.1
two | 10.0.0.1 | x-forwarded-for: 1.1.1.1 => 1.1.1.1
two | 10.0.0.1 | x-forwarded-for: 6.6.6.6, junk, 10.0.0.2 => 10.0.0.2
two | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1 | x-forwarded-for: 10.0.0.2 => 1.1.1.1
# By networks.
net | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1, 10.0.0.2 => 1.1.1.1
net | 10.0.0.1 | x-forwarded-for: 1.1.1.1 => 1.1.1.1
net | 1.1.1.1 | x-forwarded-for: 6.6.6.6 => 1.1.1.1
net | 10.0.0.1 | x-forwarded-for: 10.0.0.3, 10.0.0.2 => 10.0.0.3
net | 10.0.0.1 | x-forwarded-for: 6.6.6.6, junk, 10.0.0.2 => 10.0.0.2
net | 10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1, ::ffff:10.0.0.2 => 1.1.1.1
net | ::ffff:10.0.0.1 | x-forwarded-for: 6.6.6.6, 1.1.1.1 => 1.1.1.1
net | fd00::1 | x-forwarded-for: 6.6.6.6, 1.1.1.1 => 1.1.1.1
net | fe00::1 | x-forwarded-for: 6.6.6.6, 1.1.1.1 => fe00::
net | - | x-forwarded-for: 1.1.1.1 => nobody
# `Forwarded`.
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for=1.1.1.1;proto=https => 1.1.1.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6;by=x, For="1.1.1.1:4711" => 1.1.1.1
fwd | 10.0.0.1 | forwarded: for="[2001:db8:0:1::7]:4711" => 2001:db8:0:1::
fwd | 10.0.0.1 | forwarded: for=6.6.6.6;x=", for=1.1.1.1 => 1.1.1.1
fwd | 10.0.0.1 | forwarded: for="6.6.6.6, for="[2001:db8::1]" => 2001:db8::
fwd | 10.0.0.1 | forwarded: for=6.6.6.6 | forwarded: for=1.1.1.1 => 1.1.1.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for=_hidden => 10.0.0.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for=unknown => 10.0.0.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, proto=https => 10.0.0.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for=1.1.1.1;for=6.6.6.6 => 10.0.0.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for="1.1.1\.1" => 10.0.0.1
fwd | 10.0.0.1 | forwarded: for=6.6.6.6, for=1.1.1.1;host="a,b;for=6.6.6.6" => 1.1.1.1
fwd | 10.0.0.1 | x-forwarded-for: 6.6.6.6 => 10.0.0.1
fnet | 10.0.0.1 | forwarded: for=6.6.6.6, for=1.1.1.1, for=10.0.0.2 => 1.1.1.1
# Another field.
real | 10.0.0.1 | x-real-ip: 1.1.1.1 | x-forwarded-for: 6.6.6.6 => 1.1.1.1
"#;

#[test]
fn nobody_chooses_an_address_by_writing_a_field() {
    let rows = TABLE.lines().filter(|line| line.contains(" => "));
    assert!(rows.clone().count() >= 40);
    for row in rows {
        let (asked, expected) = row.split_once(" => ").unwrap();
        let mut parts = asked.split(" | ");
        let (name, peer) = (parts.next().unwrap(), parts.next().unwrap());
        let lines = parts.map(|line| line.split_once(':').unwrap());
        let lines = lines.map(|(name, value)| (name, value.trim().as_bytes()));
        assert_eq!(found(&rule(name), peer, lines), expected, "{row}");
    }
    let no_break_space = "6.6.6.6, \u{a0}1.1.1.1".as_bytes();
    let lines = [("x-forwarded-for", no_break_space)];
    assert_eq!(found(&rule("one"), "10.0.0.1", lines), "10.0.0.1");
}

/// What a field may hold, and more often what lists are made of.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"\",;=\\ .:[]0169afor".to_vec()),
        1 => (0x20..=0xff_u8).prop_filter("no control", |byte| *byte != 0x7f),
    ];
    prop::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn whatever_a_client_writes_the_proxies_in_front_are_believed(
        written in anything(),
        as_a_line_of_its_own: bool,
    ) {
        for (name, field, noted) in [
            ("one", "x-forwarded-for", "1.1.1.1"),
            ("two", "x-forwarded-for", "1.1.1.1, 10.0.0.2"),
            ("net", "x-forwarded-for", "1.1.1.1, 10.0.0.2"),
            ("fwd", "forwarded", "for=1.1.1.1"),
            ("fnet", "forwarded", "for=1.1.1.1;proto=https, for=\"10.0.0.2:80\""),
        ] {
            let joined = [&written[..], b", ", noted.as_bytes()].concat();
            let lines = match as_a_line_of_its_own {
                true => vec![(field, &written[..]), (field, noted.as_bytes())],
                false => vec![(field, &joined[..])],
            };
            prop_assert_eq!(found(&rule(name), "10.0.0.1", lines), "1.1.1.1", "{}", name);
        }
    }
}

#[test]
fn a_client_has_one_bucket_for_all_addresses_of_its_prefix() {
    let rule = ClientAddress::peer();
    let table = [
        (rule.clone(), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (rule.clone(), "2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        (rule.clone(), "2001:db8:1:3::", "2001:db8:1:3::"),
        (
            rule.clone().ipv6_prefix(48),
            "2001:db8:1:3::",
            "2001:db8:1::",
        ),
        (rule.clone().ipv6_prefix(128), "2001:db8::1", "2001:db8::1"),
        (rule.clone(), "::ffff:1.2.3.4", "1.2.3.4"),
        (rule.clone(), "::ffff:1.2.3.5", "1.2.3.5"),
        (rule.clone(), "64:ff9b::1.2.3.4", "64:ff9b::"),
        (rule.nat64(), "64:ff9b::1.2.3.4", "1.2.3.4"),
    ];
    for (rule, peer, expected) in table {
        assert_eq!(found(&rule, peer, []), expected, "{peer}");
    }
}

#[test]
fn what_cannot_be_meant_is_told() {
    let wrong = [
        ClientAddress::behind_hops(0),
        ClientAddress::behind([] as [&str; 0]),
        ClientAddress::behind(["everything"]),
        ClientAddress::behind(["10.0.0.0/33"]),
        ClientAddress::behind(["10.0.0.0/8", "0.0.0.0/0"]),
        ClientAddress::behind(["::/0"]),
        ClientAddress::behind(["::ffff:0:0/96"]),
        ClientAddress::behind_hops(1).header("x real ip"),
        ClientAddress::peer().ipv6_prefix(8),
    ];
    for rule in wrong {
        assert!(rule.validate().is_err(), "{rule:?}");
    }
    assert!(ClientAddress::behind(["10.0.0.0/8", "::1"])
        .validate()
        .is_ok());
}
