//! What each user sees of their own: kept per user, never shared.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::StatusCode;
use axum::Json;
use larder::KeyError;
use serde::Serialize;

use crate::App;

/// Who is asking: the name after `Bearer`. `None` for nobody; an error when the request is not clear.
///
/// This name is taken on trust. A real service verifies the token in a layer further out, leaves
/// the user in the request, and hands the cache layer `larder::user::from_extension`.
pub(crate) fn user_of(request: &Parts) -> Result<Option<Cow<'_, str>>, KeyError> {
    let mut fields = request.headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(KeyError::new("more than one Authorization field"));
    }
    let credentials = field
        .to_str()
        .map_err(|_| KeyError::new("credentials are not ASCII"))?;
    let name = match credentials.split_once(' ') {
        Some((scheme, name)) if scheme.eq_ignore_ascii_case("bearer") => name.trim(),
        _ => return Ok(None),
    };
    Ok((!name.is_empty()).then_some(Cow::Borrowed(name)))
}

/// The user, for handlers. It asks the function that keys the cache, so both always agree.
pub(crate) struct User(String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = (StatusCode, [(axum::http::HeaderName, &'static str); 1]);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match user_of(parts) {
            Ok(Some(name)) => Ok(Self(name.into_owned())),
            _ => Err((StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")])),
        }
    }
}

/// The answer to `GET /me`.
#[derive(Serialize)]
pub(crate) struct Me {
    user: String,
    visits: u64,
}

/// Counts visits, so that one sees which answers were made and which were kept.
pub(crate) async fn show(State(app): State<App>, User(user): User) -> Json<Me> {
    app.origin.work(1).await;
    let visits = app.origin.visit(&user);
    Json(Me { user, visits })
}
