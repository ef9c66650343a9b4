//! `POST` and `QUERY`, keyed by their content.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{request, Request, Response, StatusCode};
use http_body::Body;
use sha2::{Digest, Sha256};
use tower_service::Service;

use super::answer::{self, Hit};
use super::body::ResponseBody;
use super::core::Core;
use super::exchange::{Begun, Exchange};
use super::future::After;
use super::invalidate::CachedMethod;
use super::keyed::KeyedBy;
use super::lookup::{consult, Consulted};
use super::selected::Conditions;
use crate::policy::decision::{Decision, Forward, Reason};
use crate::policy::key::Class;
use crate::policy::request::RequestFields;

/// Reads the content, makes the key of it, and goes on as any other request would.
pub(crate) async fn call<S, K, B, R>(
    core: Arc<Core>,
    inner: S,
    parts: request::Parts,
    body: B,
    class: Class,
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
        return bypass(core, inner, parts, body, Reason::RequestBodySize).await;
    }
    let Some(content) = read(body, limit).await else {
        return Ok(unreadable(&core));
    };
    let cached_method = CachedMethod::of(&parts);
    let digest = Sha256::digest(&content).into();
    let body = K::rebuild(content).expect("a route with `key_body` is keyed by content");
    let fields = RequestFields::read(&parts.headers);
    let mut response = match consult(&core, &parts, class, &fields, Some(&digest)) {
        Ok(Consulted::Fresh { stored, left, now }) => {
            let conditions = Conditions {
                method: &parts.method,
                fields,
                facts: fields.facts,
            };
            Hit::fresh(&core, stored, left, conditions, now).into_response()
        }
        Ok(Consulted::Otherwise(found, plan)) => {
            match Exchange::begin(core, inner, parts, body, *plan, found) {
                Begun::Answered(hit) => hit.into_response(),
                Begun::Asking(exchange) => exchange.run().await?,
            }
        }
        Err(reason) => return bypass(core, inner, parts, body, reason).await,
    };
    response.extensions_mut().insert(cached_method);
    Ok(response)
}

/// Forwards a request that its route would have cached.
async fn bypass<S, B, R>(
    core: Arc<Core>,
    mut inner: S,
    parts: request::Parts,
    body: B,
    reason: Reason,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    let decision = Decision::because(Forward::Bypass, reason);
    let after = After::cached_method(core, decision, &parts);
    let response = inner.call(Request::from_parts(parts, body)).await?;
    let (answer, heard) = after.apply(response);
    if let Some(heard) = heard {
        heard.await;
    }
    Ok(answer)
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
    let mut response = Response::new(ResponseBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let decision = Decision::Refused {
        detail: Reason::RequestBodyBroken,
    };
    answer::settle(core, response.headers_mut(), &decision, None);
    response
}
