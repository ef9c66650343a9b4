//! `POST` whose answer is what `GET` would get (RFC 9110 §9.3.3): it spoils what is stored for its URI, as
//! any `POST` does, and takes its place.

use std::sync::Arc;

use http::{request, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::Answer;
use super::call::{file, Call, Signals};
use super::core::Core;
use super::future::{carry_out, After};
use super::invalidate::Address;
use super::keyed;
use super::lookup::{request_directives, Missing, Plan};
use crate::policy::decision::{Decision, Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::RequestFacts;
use crate::policy::stored::Fence;
use crate::policy::storing::stands_for_get;

/// Whether a request that is not looked up goes through here.
pub(crate) fn concerns(core: &Core, request: &request::Parts, decision: &Decision) -> bool {
    core.route.is_rfc9111()
        && request.method == Method::POST
        && *decision == Decision::forward(Forward::Method)
        && core.shared.tier().is_none()
}

/// Forwards the request, carries out what it spoils, and stores its answer for `GET` if it is one.
pub(crate) async fn call<S, B, R>(
    core: Arc<Core>,
    mut inner: S,
    parts: request::Parts,
    body: B,
) -> Answer<R, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body + Send + 'static,
    R::Error: Send,
{
    let address = Address::on(&core.route, &parts);
    let target = keyed::original_uri(&parts).clone();
    let host = keyed::host(&parts).ok().flatten().map(<[u8]>::to_vec);
    let Some(plan) = plan(&core, &parts) else {
        return forward(core, inner, parts, body, address).await;
    };
    let (mut filing, tags_complete) = file(&core, &plan, &parts);
    let request_time = core.shared.clock.now();
    let response = inner.call(Request::from_parts(parts, body)).await?;
    let (mut parts, body) = response.into_parts();
    let now = core.shared.clock.now();
    if !stands_for_get(host.as_deref(), &target, parts.status, &parts.headers, now) {
        let after = After::new(core, Decision::forward(Forward::Method), Some(address));
        let (answer, heard) = after.apply(Response::from_parts(parts, body));
        if let Some(heard) = heard {
            heard.await;
        }
        return Ok(answer);
    }
    if let Some(heard) = carry_out(&core, Some(&address), &mut parts) {
        heard.await;
    }
    let call = Call {
        core: Arc::clone(&core),
        plan,
        missing: Missing::of_another_method(),
        leader: None,
        detail: None,
        in_background: false,
    };
    let signals = Signals::take(&core, &mut parts, tags_complete);
    let mut terms = call.terms(&Method::GET, &mut parts, &signals, request_time);
    // Its own invalidation must not reach it, and any other one must: it is stored only where the clock
    // has moved by that one alone.
    let moved = Fence {
        clock: filing.fence.clock + 1,
        ..filing.fence
    };
    filing.fence = core.shared.fence(None);
    if filing.fence != moved {
        terms = Err(Reason::Overtaken);
    }
    let body = call
        .store_or_pass(&mut parts, body, filing, &signals, terms)
        .await;
    Ok(Response::from_parts(parts, body))
}

/// The request as the `GET` whose answer its own may be.
fn plan(core: &Core, parts: &request::Parts) -> Option<Plan> {
    let facts = RequestFacts::read(&parts.headers);
    let mut key = Vec::new();
    keyed::write_key(&core.shared, &core.route, parts, Class::Get, None, &mut key).ok()?;
    Some(Plan {
        place: core.shared.responses.place(&key),
        key: key.into(),
        facts: facts.for_the_whole(),
        directives: request_directives(&core.route, facts, &parts.headers),
        now: core.shared.clock.now(),
    })
}

async fn forward<S, B, R>(
    core: Arc<Core>,
    mut inner: S,
    parts: request::Parts,
    body: B,
    address: Address,
) -> Answer<R, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body + Send + 'static,
{
    let after = After::new(core, Decision::forward(Forward::Method), Some(address));
    let (answer, heard) = after.apply(inner.call(Request::from_parts(parts, body)).await?);
    if let Some(heard) = heard {
        heard.await;
    }
    Ok(answer)
}
