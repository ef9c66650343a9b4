//! What an unsafe request spoils (RFC 9111 §4.4).

use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Uri};

use super::request::is_safe;
use super::tag::canonical_host;

/// Whether an answer says that the request did something: a non-error status (RFC 9111 §4.4).
pub(crate) fn spoils(method: &Method, status: StatusCode) -> bool {
    !is_safe(method) && (status.is_success() || status.is_redirection())
}

/// The paths, besides its own, that an unsafe request spoils: those of `Location` and
/// `Content-Location`, where they are of the same origin.
pub(crate) fn related_paths(host: Option<&str>, path: &str, response: &HeaderMap) -> Vec<String> {
    [header::LOCATION, header::CONTENT_LOCATION]
        .iter()
        .filter_map(|name| response.get(name)?.to_str().ok())
        .filter_map(|reference| same_origin_path(host, path, reference))
        .collect()
}

/// The path of a URI reference when it has the origin of the request (RFC 3986 §5.2).
fn same_origin_path(host: Option<&str>, base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.starts_with('/') && !reference.starts_with("//") {
        let path = reference.split('?').next().unwrap_or_default();
        return Some(path.to_owned());
    }
    if reference.starts_with("//") || reference.contains("://") {
        let absolute = match reference.strip_prefix("//") {
            Some(rest) => format!("http://{rest}"),
            None => reference.to_owned(),
        };
        let uri: Uri = absolute.parse().ok()?;
        let same = host.is_some_and(|host| {
            uri.authority().is_some_and(|authority| {
                canonical_host(authority.as_str().as_bytes()) == canonical_host(host.as_bytes())
            })
        });
        return same.then(|| uri.path().to_owned());
    }
    let relative = reference.split('?').next().unwrap_or_default();
    if relative.is_empty() || relative.contains(':') {
        return None;
    }
    Some(merged(base, relative))
}

/// Merges a relative path into a base path and removes dot segments (RFC 3986 §5.2.3, §5.2.4).
fn merged(base: &str, relative: &str) -> String {
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut segments: Vec<&str> = directory.split('/').skip(1).collect();
    let mut last = "";
    for segment in relative.split('/') {
        match segment {
            "." => last = "",
            ".." => {
                segments.pop();
                last = "";
            }
            segment => {
                segments.push(segment);
                last = segment;
            }
        }
    }
    let path = segments.join("/");
    let slash = if last.is_empty() && !path.is_empty() && !path.ends_with('/') {
        "/"
    } else {
        ""
    };
    format!("/{path}{slash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_unsafe_methods_that_succeed_spoil() {
        let rows = [
            ("PUT", 200, true),
            ("POST", 303, true),
            ("PURR", 204, true),
            ("DELETE", 404, false),
            ("PUT", 500, false),
            ("GET", 200, false),
            ("QUERY", 200, false),
        ];
        for (method, status, expected) in rows {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                spoils(&method, StatusCode::from_u16(status).unwrap()),
                expected,
                "{method}"
            );
        }
    }

    #[test]
    fn references_of_another_origin_spoil_nothing() {
        let rows = [
            ("/posts/7", Some("/posts/7")),
            ("/posts?page=2", Some("/posts")),
            ("http://api.test/posts/7", Some("/posts/7")),
            ("https://API.test/posts/7?x#y", Some("/posts/7")),
            ("//api.test/a", Some("/a")),
            ("http://api.test:80/a", Some("/a")),
            ("https://api.test:443/a", Some("/a")),
            ("http://api.test:8080/a", None),
            ("http://api.test.evil.test/a", None),
            ("http://evil.test/posts/7", None),
            ("//evil.test/a", None),
            ("mailto:a@b", None),
            ("8", Some("/posts/8")),
            ("../users/1", Some("/users/1")),
            ("./", Some("/posts/")),
            ("", None),
        ];
        for (reference, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_str(reference).unwrap());
            let found = related_paths(Some("api.test"), "/posts/7", &headers);
            assert_eq!(found.first().map(String::as_str), expected, "{reference}");
        }
    }
}
