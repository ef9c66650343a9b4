//! A response stored for one query, answering another that means the same (`No-Vary-Search`).
//!
//! Keys know nothing of it: a response lies under the query it was made for. Beside them is a bounded memory,
//! from what a query comes to under a rule to the place where a response lies. Whatever it says, the response
//! itself decides: its own field, its own query, its own variant. Forgetting costs a call, confusing costs a look.
//!
//! ```text
//!  no response for /a?id=7&u=x ─► rule last seen for /a ─► what matters of the query ─► place of /a?id=7
//! ```

use std::sync::Arc;

use http::{request, HeaderMap, HeaderName};
use quick_cache::sync::Cache;

use super::answer::Hit;
use super::core::{Core, Shared};
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::selected::Conditions;
use crate::header::no_vary_search::NoVarySearch;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::key;
use crate::policy::request::RequestFields;
use crate::policy::search::canonical;
use crate::policy::stored::StoredResponse;
use crate::policy::tag::{self, TagHash};
use crate::store::interned;

/// The most paths whose rule is remembered.
const RULES: usize = 1024;
/// The most queries whose place is remembered.
const QUERIES: usize = 8192;
/// The longest field that is remembered.
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
    pub(crate) fn note(&self, shared: &Shared, stored: &StoredResponse, place: u64) {
        let Some((said, (path, query))) = rule_of(stored).zip(key::split_query(stored.key()))
        else {
            return;
        };
        let meant = meant(shared, &said, &path, query);
        self.places.insert(meant, place);
        self.rules
            .insert(shared.responses.place(&path), Arc::new(said));
    }
}

/// The answer, if there is one to a query that means the same.
pub(crate) fn find(
    core: &Core,
    request: &request::Parts,
    plan: &Plan,
    missing: &Missing,
) -> Option<Hit> {
    let is_wanted = core.route.heeds_no_vary_search()
        && missing.why == Forward::UriMiss
        && core.strict_tier().is_none();
    if !is_wanted {
        return None;
    }
    let (shared, searches) = (&core.shared, &core.shared.searches);
    let (path, query) = key::split_query(&plan.key)?;
    let rule = searches.rules.get(&shared.responses.place(&path))?;
    let place = searches.places.get(&meant(shared, &rule, &path, query))?;
    let other = shared.responses.first_at(place)?;
    let (fields, directives) = (
        RequestFields::read(&request.headers),
        plan.directives.as_ref(),
    );
    let found = look_up(shared, place, other.key(), &fields, directives, plan.now);
    let Lookup::Fresh { stored, left } = found else {
        return None;
    };
    let said = rule_of(&stored)?;
    let (its_path, its_query) = key::split_query(stored.key())?;
    let means_the_same = its_path == path && canonical(&said, its_query) == canonical(&said, query);
    // A route that does not heed the field stores what no purge by another query reaches.
    let reaching = tag::of_searches(stored.key());
    let is_reached = reaching.iter().all(|tag| stored.tags().contains(tag));
    if !means_the_same || !is_reached {
        return None;
    }
    let decision = Decision::Hit {
        ttl: ttl_parameter(Ok(left)),
        detail: Some(Reason::NoVarySearch),
    };
    let conditions = Conditions {
        method: &request.method,
        fields,
        facts: plan.facts,
    };
    Some(Hit::new(core, stored, &decision, conditions, plan.now))
}

/// The tags of a response that answers more than one query: who purges any of them may mean this one.
pub(crate) fn tags(key: &[u8], headers: &HeaderMap) -> Vec<TagHash> {
    let said = NoVarySearch::parse(headers.get_all(NO_VARY_SEARCH));
    said.map_or_else(Vec::new, |_| tag::of_searches(key))
}

/// What the response says itself.
fn rule_of(stored: &StoredResponse) -> Option<NoVarySearch> {
    let line = stored.field(&NO_VARY_SEARCH)?;
    if line.len() > LONGEST {
        return None;
    }
    let headers = interned::all_lines(stored);
    NoVarySearch::parse(headers.get_all(NO_VARY_SEARCH))
}

/// A hash of what a query of a path comes to.
fn meant(shared: &Shared, said: &NoVarySearch, path: &[u8], query: Option<&[u8]>) -> u64 {
    let mut written = path.to_vec();
    written.extend(canonical(said, query));
    shared.responses.place(&written)
}
