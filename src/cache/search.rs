//! A response stored for one query, answering another that means the same (`No-Vary-Search`).
//!
//! Keys know nothing of it: a response lies under the query it was made for. Beside them is a bounded memory
//! of where one lies that means the same ([`searches`](super::searches)). Whatever it says, the response itself
//! decides: its own field, its own query, its own variant. Forgetting costs a call, confusing costs a look.
//!
//! ```text
//!  no response for /a?id=7&u=x ─► rule last seen for /a ─► what matters of the query ─► place of /a?id=7
//! ```

use http::request;

use super::answer::Hit;
use super::core::Core;
use super::lookup::{look_up, Lookup, Missing, Plan};
use super::searches::rule_of;
use super::selected::Conditions;
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::key;
use crate::policy::request::RequestFields;
use crate::policy::search::canonical;
use crate::policy::tag;

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
    let place = searches.place_of(&shared.responses, &path, query)?;
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
