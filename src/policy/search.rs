//! Queries that mean the same to a response, as its `No-Vary-Search` says
//! (draft-ietf-httpbis-no-vary-search §5).

use super::key::decoded;
use crate::header::no_vary_search::{NoVarySearch, Params};

/// A query as far as it matters, in one spelling for all that mean the same.
///
/// Pairs are read as forms are: empty ones are none, `a` is `a=`, `+` is a space, `%61` is `a`. What is no UTF-8 is
/// compared by its bytes, which tells apart more than the draft asks for.
pub(crate) fn canonical(said: &NoVarySearch, query: Option<&[u8]>) -> Vec<u8> {
    let query = query.unwrap_or_default();
    let pairs = query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    let read = |pair: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
        let value = value.get(1..).unwrap_or_default();
        (decoded(name).collect(), decoded(value).collect())
    };
    let mut kept: Vec<_> = pairs
        .map(read)
        .filter(|(name, _)| matters(said, name))
        .collect();
    if !said.ordered {
        kept.sort_by(|(one, _), (other, _)| one.cmp(other)); // stable: pairs of one name keep their order
    }
    let mut written = Vec::with_capacity(query.len() + 8 * kept.len());
    for text in kept.iter().flat_map(|(name, value)| [name, value]) {
        written.extend_from_slice(&(text.len() as u64).to_be_bytes());
        written.extend_from_slice(text);
    }
    written
}

fn matters(said: &NoVarySearch, name: &[u8]) -> bool {
    let is_listed = |names: &[String]| {
        let mut names = names.iter();
        names.any(|listed| decoded(listed.as_bytes()).eq(name.iter().copied()))
    };
    match &said.params {
        Params::AllBut(names) => !is_listed(names),
        Params::NoneBut(names) => is_listed(names),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn mean_the_same(line: &'static str, one: &str, other: &str) -> bool {
        let line = HeaderValue::from_static(line);
        let said = NoVarySearch::parse([&line]).unwrap();
        let of = |query: &str| canonical(&said, query.strip_prefix('?').map(str::as_bytes));
        of(one) == of(other)
    }

    #[test]
    fn queries_that_differ_in_what_does_not_matter_are_the_same() {
        let rows = [
            ("params", "", "?", true),
            ("params", "?a", "?b=1&c=2", true),
            ("params=(\"u\")", "?id=7", "?id=7&u=x", true),
            ("params=(\"u\")", "?id=7", "?u=x&id=7&u=y", true),
            ("params=(\"u\")", "?id=7", "?id=8", false),
            ("params=(\"u\")", "?id=7", "?id=7&U=x", false),
            ("params=(\"u\")", "?id=7&x=1", "?x=1&id=7", false),
            ("params=(\"u\")", "?id=7", "?id=7&id=7", false),
            ("params=(\"u\")", "", "?u", true),
            ("params=(\"u\")", "?id=7", "?&id=7&&", true),
            ("params=(\"u\")", "?id", "?id=", true),
            ("params=(\"u\")", "?id=7", "?%69d=%37", true),
            ("params=(\"u\")", "?id=a+b", "?id=a%20b", true),
            ("params=(\"u\")", "?id=7", "?id=7&%75=x", true),
            ("params=(\"u\")", "?id=a%26u=1", "?id=a&u=1", false),
            ("params=(\"%75\")", "?id=7", "?id=7&u=x", true),
            ("params=(\"a b\")", "?id=7", "?id=7&a+b=x", true),
            ("params=(\"a+b\")", "?id=7", "?id=7&a%20b=x", true),
            ("params=(\"%C3%A9\")", "?id=7", "?id=7&%c3%a9=x", true),
            ("params, except=(\"id\")", "?id=7", "?id=7&u=x", true),
            ("params, except=(\"id\")", "?id=7", "?id=8&u=x", false),
            ("params, except=(\"id\")", "?id=7&id=8", "?id=8&id=7", false),
            ("key-order", "?a=1&b=2", "?b=2&a=1", true),
            ("key-order", "?a=1&a=2", "?a=2&a=1", false),
            ("key-order", "?a=1&b=2", "?a=1", false),
            (
                "key-order, params=(\"u\")",
                "?a=1&b=2",
                "?u=3&b=2&a=1",
                true,
            ),
        ];
        for (line, one, other, expected) in rows {
            assert_eq!(
                mean_the_same(line, one, other),
                expected,
                "{line} {one} {other}"
            );
        }
    }

    /// Lengths are written too: a value never passes for a name.
    #[test]
    fn no_two_lists_of_pairs_are_written_alike() {
        assert!(!mean_the_same("key-order", "?ab=c", "?a=bc"));
        assert!(!mean_the_same("key-order", "?a=b&c=d", "?a=b%26c%3Dd"));
        assert!(!mean_the_same("key-order", "?a&b", "?a=b"));
    }
}
