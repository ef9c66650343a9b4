//! Two requests share an answer only if they share everything that could have shaped it.
//!
//! Most tests here put a *mirror* behind the layer: its answer spells out what it was asked. An
//! answer from store is right if the mirror would have said the same of this very request.

#[path = "../support/mod.rs"]
mod support;

mod content;
mod paths_and_hosts;
mod poisoning;
mod queries;
mod users_and_parts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;

use axum::extract::Query;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use larder::{user, CacheLayer, KeyError};
use proptest::prelude::*;
use support::*;

/// Who asks, as an outer layer found out.
#[derive(Clone)]
struct User(String);

fn as_user(mut request: Request<Full<Bytes>>, name: &str) -> Request<Full<Bytes>> {
    request.extensions_mut().insert(User(name.to_owned()));
    request
}

fn by_user() -> impl Fn(&http::request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> {
    user::from_extension(|user: &User| &user.0)
}

/// Everything a request says, in a form in which no two requests look alike.
fn everything(request: &Request<Full<Bytes>>) -> String {
    let mut fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    fields.sort();
    let user = request.extensions().get::<User>().map(|user| &user.0);
    format!(
        "{:?} {:?} {:?} {:?} {} {user:?}",
        request.uri().scheme_str(),
        request.uri().authority().map(ToString::to_string),
        request.uri().path(),
        parameters(request.uri()),
        fields.join(" "),
    )
}

/// What a handler reads from a query: the values of each name, in their order.
fn parameters(uri: &http::Uri) -> BTreeMap<String, Vec<String>> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).unwrap();
    let mut values = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value);
    }
    values
}

fn mirror() -> Origin {
    Origin::new(|request| text(everything(request)))
}

/// Failures are printed with all that reproduces them; no files are left behind.
fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Whether the second request is answered with the response to the first.
async fn share<K>(layer: &CacheLayer<K>, a: Request<Full<Bytes>>, b: Request<Full<Bytes>>) -> bool
where
    K: larder::cache::KeyedBy<Full<Bytes>> + 'static,
{
    let origin = Origin::counting();
    send(layer, &origin, a).await;
    send(layer, &origin, b).await.is_hit()
}
