//! From `Accept-Encoding` to a content coding.
//!
//! ```text
//!  weights of the request ─┬─ the highest wins
//!                          └─ between equals, the earlier on offer; a coding before none
//! ```

use crate::header::accept_encoding::{AcceptEncoding, Coding};

/// What is offered unless somebody says otherwise, the most wanted first. Brotli makes what services
/// send most (text below a megabyte) smallest, and every browser reads it; zstd is quicker to make than
/// gzip and smaller; gzip is what everybody else reads.
pub(crate) const PREFERENCE: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Coded(Coding),
    Identity,
    /// Not even without a coding. An answer without one is still the most useful one
    /// (RFC 9110 §12.5.3 leaves it to the server).
    Nothing,
}

/// Chooses among the codings on offer, which come in the order of preference (RFC 9110 §12.5.3).
pub(crate) fn negotiate(accepted: &AcceptEncoding, offered: &[Coding]) -> Wanted {
    let mut best = (0, Wanted::Nothing);
    for coding in offered {
        let weight = accepted.weight(*coding);
        if weight > best.0 {
            best = (weight, Wanted::Coded(*coding));
        }
    }
    match accepted.identity() {
        identity if identity > best.0 => Wanted::Identity,
        _ => best.1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::accept_encoding::tests::accepting;

    #[test]
    fn the_highest_weight_wins_and_our_order_decides_between_equals() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = &PREFERENCE[..];
        let rows: &[(&str, &[Coding], Wanted)] = &[
            ("gzip, deflate, br, zstd", all, Wanted::Coded(Brotli)),
            (
                "gzip, deflate, br, zstd",
                &[Gzip, Brotli],
                Wanted::Coded(Gzip),
            ),
            ("gzip, zstd", all, Wanted::Coded(Zstd)),
            ("gzip, br;q=0.9", all, Wanted::Coded(Gzip)),
            ("gzip;q=0.5, br;q=0.5", all, Wanted::Coded(Brotli)),
            ("gzip", &[Brotli], Wanted::Identity),
            ("gzip", &[], Wanted::Identity),
            ("", all, Wanted::Identity),
            ("deflate", all, Wanted::Identity),
            ("identity", all, Wanted::Identity),
            ("identity, gzip;q=0.9", all, Wanted::Identity),
            ("identity, gzip", all, Wanted::Coded(Gzip)),
            ("identity;q=0.5, gzip", all, Wanted::Coded(Gzip)),
            ("*", all, Wanted::Coded(Brotli)),
            ("*", &[Gzip], Wanted::Coded(Gzip)),
            ("*;q=0", all, Wanted::Nothing),
            ("identity;q=0", all, Wanted::Nothing),
            ("gzip, identity;q=0", &[Brotli], Wanted::Nothing),
            ("br;q=0, *;q=0.1", all, Wanted::Coded(Zstd)),
            ("gzip;q=0.001", all, Wanted::Coded(Gzip)),
        ];
        for (line, offered, expected) in rows {
            let chosen = negotiate(&accepting(&[line]), offered);
            assert_eq!(chosen, *expected, "{line} of {offered:?}");
        }
    }

    fn members() -> impl Strategy<Value = Vec<(&'static str, u16)>> {
        let name = prop::sample::select(vec!["br", "gzip", "x-gzip", "zstd", "identity", "*", "a"]);
        prop::collection::vec((name, 0_u16..=1000), 0..8)
    }

    proptest! {
        #[test]
        fn no_client_gets_a_coding_it_refused(
            members in members(),
            offered in prop::sample::subsequence(Coding::ALL.to_vec(), 0..=3).prop_shuffle(),
        ) {
            let written = |(name, q): &(&str, u16)| format!("{name};q={}.{:03}", q / 1000, q % 1000);
            let line = members.iter().map(written).collect::<Vec<_>>().join(", ");
            let chosen = negotiate(&accepting(&[&line]), &offered);
            let named = |names: &[&str]| {
                let of = members.iter().filter(|(name, _)| names.contains(name));
                of.map(|(_, q)| *q).min()
            };
            match chosen {
                Wanted::Coded(coding) => {
                    prop_assert!(offered.contains(&coding));
                    let names: &[&str] = match coding {
                        Coding::Gzip => &["gzip", "x-gzip"],
                        _ => &[coding.as_str()],
                    };
                    prop_assert!(named(names).or(named(&["*"])).is_some_and(|q| q > 0), "{}", line);
                }
                Wanted::Identity => {
                    prop_assert_ne!(named(&["identity"]).or(named(&["*"])), Some(0), "{}", line);
                }
                Wanted::Nothing => {
                    prop_assert_eq!(named(&["identity"]).or(named(&["*"])), Some(0), "{}", line);
                }
            }
        }
    }
}
