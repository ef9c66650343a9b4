//! Webhooks: another service says what has changed there, and signs it.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::Json;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::posts::{post_tag, Outcome};
use crate::App;

/// What both sides know. Without one, no signature is right: a forgotten variable must not open the
/// route to everybody.
#[derive(Clone)]
pub(crate) struct Secret(Option<Hmac<Sha256>>);

impl Secret {
    /// An empty secret is none, because anybody can sign with it.
    pub(crate) fn new(secret: &str) -> Self {
        let key = || Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
        Self((!secret.is_empty()).then(key))
    }

    /// Whether the content was signed by somebody who knows the secret.
    fn check(&self, headers: &HeaderMap, content: &[u8]) -> Result<(), &'static str> {
        let Some(key) = &self.0 else {
            return Err("no webhook is accepted: WEBHOOK_SECRET is not set\n");
        };
        let signature =
            signature(headers).ok_or("X-Signature: sha256=<64 hex digits> is needed\n")?;
        // In constant time: how long `==` takes tells how many bytes of a guess are right.
        let signed = key.clone().chain_update(content).verify_slice(&signature);
        signed.map_err(|_| "the signature is not that of this content\n")
    }
}

/// The bytes after `sha256=`, of the only such field.
fn signature(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut fields = headers.get_all("x-signature").iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let digits = field.as_bytes().strip_prefix(b"sha256=")?;
    let mut signature = [0; 32];
    if digits.len() != 2 * signature.len() {
        return None;
    }
    for (byte, pair) in signature.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(signature)
}

/// The content of `POST /webhooks/files`.
#[derive(Deserialize)]
#[serde(tag = "event")]
enum Event {
    #[serde(rename = "file.updated")]
    FileUpdated { id: u32 },
}

/// Believes the signature first, and only then reads the content: of the bytes as they were sent,
/// since a JSON value that is read and written again need not have the same ones.
///
/// Nothing is done against a message that is sent twice. All it could cause is one more miss.
pub(crate) async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Json<Outcome>, (StatusCode, String)> {
    let refused = |why: &str| (StatusCode::UNAUTHORIZED, why.to_owned());
    app.webhook_secret
        .check(&headers, &content)
        .map_err(refused)?;
    let Event::FileUpdated { id } = serde_json::from_slice(&content).map_err(|problem| {
        let status = match problem.is_data() {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::BAD_REQUEST,
        };
        (status, format!("{problem}\n"))
    })?;
    let invalidated = app.cache.invalidate_tag(post_tag(id)).await;
    Ok(Json(invalidated.into()))
}
