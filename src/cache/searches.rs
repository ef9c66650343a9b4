//! A bounded memory of which queries mean the same (`No-Vary-Search`): from what a query comes to under a rule, to
//! the place where a response lies. It only says where to look; the response there decides.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use crate::header::no_vary_search::NoVarySearch;
use crate::policy::key;
use crate::policy::search::canonical;
use crate::policy::stored::StoredResponse;
use crate::policy::tag::{self, TagHash};
use crate::store::interned;
use crate::store::near::Responses;

/// The most paths whose rule is remembered.
const RULES: usize = 1024;
/// The most queries whose place is remembered.
const QUERIES: usize = 8192;
/// The longest field that is heeded, in bytes: what a look-up takes grows with its names.
const LONGEST: usize = 1024;

const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What is remembered, each under a hash that nobody outside can predict.
pub(crate) struct Searches {
    /// The rule that the latest response of a path had.
    rules: Cache<u64, Arc<NoVarySearch>>,
    /// The place of the latest response to what a query comes to.
    places: Cache<u64, u64>,
}

impl Searches {
    pub(crate) fn new() -> Self {
        Self {
            rules: Cache::new(RULES),
            places: Cache::new(QUERIES),
        }
    }

    /// Remembers where a response lies that says which queries mean the same.
    pub(crate) fn note(&self, responses: &Responses, stored: &StoredResponse, place: u64) {
        let Some((said, (path, query))) = rule_of(stored).zip(key::split_query(stored.key()))
        else {
            return;
        };
        let meant = meant(responses, &said, &path, query);
        self.places.insert(meant, place);
        self.rules.insert(responses.place(&path), Arc::new(said));
    }

    /// The place of a response that may answer this query of a path, going by the rule last seen for it.
    pub(super) fn place_of(
        &self,
        responses: &Responses,
        path: &[u8],
        query: Option<&[u8]>,
    ) -> Option<u64> {
        let rule = self.rules.get(&responses.place(path))?;
        self.places.get(&meant(responses, &rule, path, query))
    }
}

/// The tags of a response that answers more than one query: who purges any of them may mean this one.
pub(crate) fn tags(key: &[u8], headers: &HeaderMap) -> Vec<TagHash> {
    let said = NoVarySearch::parse(headers.get_all(NO_VARY_SEARCH));
    said.map_or_else(Vec::new, |_| tag::of_searches(key))
}

/// What the response says itself, in all lines of the field.
pub(super) fn rule_of(stored: &StoredResponse) -> Option<NoVarySearch> {
    stored.field(&NO_VARY_SEARCH)?;
    let headers = interned::all_lines(stored);
    let lines = headers.get_all(NO_VARY_SEARCH);
    let length: usize = lines.iter().map(HeaderValue::len).sum();
    (length <= LONGEST).then(|| NoVarySearch::parse(lines))?
}

/// A hash of what a query of a path comes to.
fn meant(responses: &Responses, said: &NoVarySearch, path: &[u8], query: Option<&[u8]>) -> u64 {
    let mut written = path.to_vec();
    written.extend(canonical(said, query));
    responses.place(&written)
}
