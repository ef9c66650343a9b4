//! `POST` and `QUERY`, keyed by their content.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{request, Request, Response, StatusCode};
use http_body::Body;
use sha2::{Digest, Sha256};
use tower_service::Service;

use super::answer;
use super::body::ResponseBody;
use super::exchange::{mark_cached_method, Exchange, Plan};
use super::future::After;
use super::keyed::{self, KeyedBy};
use super::lookup::{look_up, Lookup, Missing};
use super::service::{fresh, request_directives, with_scratch, Core};
use crate::policy::decision::{ttl_parameter, Decision, Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::RequestFacts;
use crate::policy::reuse::Allowance;

/// Reads the content, makes the key of it, and goes on as any other request would.
pub(crate) async fn call<S, K, B, R>(
    core: Arc<Core>,
    mut inner: S,
    parts: request::Parts,
    body: B,
    class: Class,
    facts: RequestFacts,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    K: KeyedBy<B>,
    B: Body + Send + 'static,
    R: Body + Send + 'static,
    R::Error: Send,
{
    let limit = core.route.key_body.unwrap_or(0) as u64;
    // Only content of a known length is read: what was read of a longer one could not be put back.
    if body.size_hint().exact().is_none_or(|length| length > limit) {
        let decision = Decision::because(Forward::Bypass, Reason::RequestBodySize);
        let after = After::cached_method(Arc::clone(&core), decision);
        return inner
            .call(Request::from_parts(parts, body))
            .await
            .map(|r| after.apply(r));
    }
    let Some(content) = read(body, limit).await else {
        return Ok(unreadable(&core));
    };
    let digest = Sha256::digest(&content).into();
    let now = core.shared.clock.now();
    let directives = request_directives(&core.route, &facts, &parts.headers);
    let found = with_scratch(|key| {
        keyed::write_key(&core.shared, &core.route, &parts, class, Some(&digest), key)?;
        let place = core.shared.responses.place(key);
        let looked_up = look_up(
            &core.shared,
            place,
            key,
            &parts.headers,
            directives.as_ref(),
            now,
        );
        Ok((looked_up, Arc::<[u8]>::from(key.as_slice()), place))
    });
    let body = K::rebuild(content).expect("a route with `key_body` is keyed by content");
    let (looked_up, key, place) = match found {
        Ok(found) => found,
        Err(reason) => {
            let decision = Decision::because(Forward::Bypass, reason);
            let after = After::cached_method(Arc::clone(&core), decision);
            return inner
                .call(Request::from_parts(parts, body))
                .await
                .map(|r| after.apply(r));
        }
    };
    if let Some(response) = fresh(&core, &looked_up, &parts.method, now) {
        return Ok(mark_cached_method(&parts.method, response));
    }
    let plan = Plan {
        key,
        place,
        facts,
        directives,
        now,
    };
    let (stored, remaining, detail) = match looked_up {
        Lookup::Missing(missing) => {
            return Exchange::new(core, inner, parts, body, plan, missing)
                .run()
                .await;
        }
        Lookup::Fresh { stored, left } => (stored, Ok(left), Reason::EarlyRefresh),
        Lookup::Stale {
            stored,
            overdue,
            allowance: Allowance::MaxStale,
        } => (stored, Err(overdue), Reason::MaxStale),
        Lookup::Stale {
            stored, overdue, ..
        } => (stored, Err(overdue), Reason::StaleWhileRevalidate),
    };
    let method = parts.method.clone();
    if detail != Reason::MaxStale {
        let missing = Missing {
            why: Forward::Stale,
            sample: Some(Arc::clone(&stored)),
            usable_on_error: false,
        };
        Exchange::new(Arc::clone(&core), inner, parts, body, plan, missing).refresh();
    }
    let decision = Decision::Hit {
        ttl: ttl_parameter(remaining),
        detail: Some(detail),
    };
    let response = answer::from_store(&core, &stored, &decision, false, now);
    Ok(mark_cached_method(&method, response))
}

/// The whole content; `None` when it breaks off or is longer than it said.
async fn read<B: Body>(body: B, limit: u64) -> Option<Bytes> {
    let mut body = std::pin::pin!(body);
    let mut content = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        match frame {
            None => return Some(content.into()),
            Some(Err(_)) => return None,
            Some(Ok(frame)) => {
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                if content.len() as u64 + data.remaining() as u64 > limit {
                    return None;
                }
                while data.has_remaining() {
                    let chunk = data.chunk();
                    content.extend_from_slice(chunk);
                    let read = chunk.len();
                    data.advance(read);
                }
            }
        }
    }
}

/// The client broke off its request: there is nothing to forward.
fn unreadable<R: Body>(core: &Core) -> Response<ResponseBody<R>> {
    let mut response = Response::new(ResponseBody::stored(Bytes::new()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let decision = Decision::because(Forward::Bypass, Reason::RequestBodySize);
    answer::settle(core, response.headers_mut(), &decision);
    response
}
