//! Ready-made answers to "who is asking?" for [`CacheLayer::per_user`](crate::CacheLayer::per_user).
//!
//! A user function takes the request's parts and returns the user's name, `None` for nobody, or a
//! [`KeyError`]. Without a user the request bypasses the cache; it is never put under a common
//! "anonymous" key.
//!
//! Prefer what your authentication has *verified*: an extension it left in the request. A raw header
//! or cookie is only safe where the value itself is the secret (a bearer token, a session id).

use std::borrow::Cow;

use http::header::{HeaderName, COOKIE};
use http::request::Parts;

use crate::error::KeyError;

/// The whole value of a header, such as `authorization`. Several lines are an error.
///
/// # Panics
///
/// If `name` is not a header name in lower case.
pub fn from_header(
    name: &'static str,
) -> impl Fn(&Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync {
    let name = HeaderName::from_static(name);
    move |parts| {
        let mut lines = parts.headers.get_all(&name).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() {
            return Err(KeyError::new(format!("more than one `{name}` field")));
        }
        let value = line
            .to_str()
            .map_err(|_| KeyError::new(format!("`{name}` is not ASCII")))?;
        Ok(Some(Cow::Borrowed(value)))
    }
}

/// The value of a cookie, such as `session`. The same cookie twice is an error.
pub fn from_cookie(
    name: &'static str,
) -> impl Fn(&Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync {
    move |parts| {
        let mut found = None;
        for pair in cookies(parts) {
            let (cookie, value) = pair?;
            if cookie == name && found.replace(value).is_some() {
                return Err(KeyError::new(format!("more than one cookie `{name}`")));
            }
        }
        Ok(found.map(Cow::Borrowed))
    }
}

/// What a function reads from an extension that an outer layer left in the request.
///
/// ```
/// #[derive(Clone)]
/// struct CurrentUser { id: String }
///
/// let user_of = larder::user::from_extension(|user: &CurrentUser| &user.id);
///
/// let (mut parts, ()) = http::Request::new(()).into_parts();
/// assert_eq!(user_of(&parts)?, None);
/// parts.extensions.insert(CurrentUser { id: "ada".to_owned() });
/// assert_eq!(user_of(&parts)?.as_deref(), Some("ada"));
///
/// # let cache = larder::Cache::builder().build().unwrap();
/// let layer = cache.layer().per_user(user_of);
/// # Ok::<(), larder::KeyError>(())
/// ```
pub fn from_extension<T, F>(
    name: F,
) -> impl Fn(&Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync
where
    T: Send + Sync + 'static,
    F: for<'a> Fn(&'a T) -> &'a str + Send + Sync,
{
    move |parts| {
        Ok(parts
            .extensions
            .get::<T>()
            .map(|user| Cow::Borrowed(name(user))))
    }
}

/// The cookies of a request as pairs of name and value; an error where a line is not text.
pub(crate) fn cookies(parts: &Parts) -> impl Iterator<Item = Result<(&str, &str), KeyError>> {
    parts.headers.get_all(COOKIE).iter().flat_map(|line| {
        let text = line.to_str();
        let broken = text
            .is_err()
            .then(|| Err(KeyError::new("a cookie is not ASCII")));
        let pairs = text
            .unwrap_or_default()
            .split(';')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        broken.into_iter().chain(pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Handlers read `a =b` as `a=b`, and so would be shown a cookie that no key knows.
            Ok((name.trim_end(), value.trim_start()))
        }))
    })
}
