//! What the proxy answers by itself: problem details (RFC 9457), and what went wrong behind it as
//! `Proxy-Status` says it (RFC 9209).

use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Response, StatusCode};
use hyper_util::client::legacy;

pub(crate) struct Problem {
    status: StatusCode,
    detail: &'static str,
    /// The type of error in RFC 9209 §2.3, where it is not the client's.
    error: Option<&'static str>,
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Problem {
    /// The client's mistake.
    pub(crate) const fn bad_request(detail: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            detail,
            error: None,
        }
    }

    /// What this proxy cannot do.
    pub(crate) const fn not_implemented(detail: &'static str) -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            detail,
            error: None,
        }
    }

    /// The origin was asked, and kept silent.
    pub(crate) const fn timeout() -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            detail: "the origin did not begin its answer in time",
            error: Some("http_response_timeout"),
        }
    }

    /// The origin's answer is not one.
    pub(crate) const fn broken(detail: &'static str) -> Self {
        Self::bad_gateway(detail, "http_protocol_error")
    }

    const fn bad_gateway(detail: &'static str, error: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            detail,
            error: Some(error),
        }
    }

    /// Why there is no answer from the origin.
    pub(crate) fn of(failure: &legacy::Error) -> Self {
        if failure.is_connect() {
            return Self::bad_gateway("the origin cannot be reached", "destination_unavailable");
        }
        let source = failure.source();
        match source.and_then(|source| source.downcast_ref::<hyper::Error>()) {
            Some(error) if error.is_user() => {
                Self::bad_request("the content of the request broke off")
            }
            Some(error) if error.is_parse() => {
                Self::broken("the origin's answer is not one in HTTP/1.1")
            }
            _ => Self::bad_gateway(
                "the origin closed the connection without an answer",
                "http_response_incomplete",
            ),
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let content = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Full::from(content.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(error) = self.error {
            let status = HeaderValue::from_str(&format!("larder; error={error}"));
            headers.insert(PROXY_STATUS, status.expect("a token of RFC 9209"));
        }
        response
    }
}
