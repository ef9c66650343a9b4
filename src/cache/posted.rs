//! `POST` whose answer is what `GET` would get (RFC 9110 §9.3.3): it spoils what is stored for its URI, as
//! any `POST` does, and takes its place.

use std::sync::Arc;

use http::{request, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::{Answer, ResponseBody};
use super::call::{file, Call, Signals};
use super::core::Core;
use super::future::{carry_out, After};
use super::invalidate::Address;
use super::keyed;
use super::lookup::{request_directives, Missing, Plan};
use super::publish::Filing;
use crate::clock::Timestamp;
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
    let filed = plan(&core, &parts).map(|plan| {
        let filed = file(&core, &plan, &parts);
        (plan, filed, core.shared.clock.now())
    });
    let response = inner.call(Request::from_parts(parts, body)).await?;
    let now = core.shared.clock.now();
    let (host, status, headers) = (host.as_deref(), response.status(), response.headers());
    let stands = stands_for_get(
        core.route.rules.audience,
        host,
        &target,
        status,
        headers,
        now,
    );
    match filed.filter(|_| stands) {
        Some((plan, (filing, tags_complete), request_time)) => {
            let call = Call {
                core,
                plan,
                missing: Missing::of_another_method(),
                leader: None,
                detail: None,
                in_background: false,
            };
            Ok(store(call, address, response, filing, tags_complete, request_time).await)
        }
        None => {
            let after = After::new(core, Decision::forward(Forward::Method), Some(address));
            let (answer, heard) = after.apply(response);
            if let Some(heard) = heard {
                heard.await;
            }
            Ok(answer)
        }
    }
}

/// Carries out what the request spoiled, and stores its answer after that.
///
/// Its own invalidation must not reach it, and any other one since the call must: it is stored only where
/// the clock has moved by that one alone.
async fn store<R>(
    call: Call,
    address: Address,
    response: Response<R>,
    mut filing: Filing,
    tags_complete: bool,
    request_time: Timestamp,
) -> Response<ResponseBody<R>>
where
    R: Body + Send + 'static,
    R::Error: Send,
{
    let core = Arc::clone(&call.core);
    let (mut parts, body) = response.into_parts();
    if let Some(heard) = carry_out(&core, Some(&address), &mut parts) {
        heard.await;
    }
    let signals = Signals::take(&core, &mut parts, tags_complete);
    let mut terms = call.terms(&Method::GET, &mut parts, &signals, request_time);
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
    Response::from_parts(parts, body)
}

/// The request as the `GET` whose answer its own may be.
fn plan(core: &Core, parts: &request::Parts) -> Option<Plan> {
    let facts = RequestFacts::read(&parts.headers);
    let mut key = Vec::new();
    keyed::write_key(&core.shared, &core.route, parts, Class::Get, &mut key).ok()?;
    Some(Plan {
        place: core.shared.responses.place(&key),
        key: key.into(),
        facts: facts.for_the_whole(),
        directives: request_directives(&core.route, facts, &parts.headers),
        now: core.shared.clock.now(),
    })
}
