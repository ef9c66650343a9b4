//! The classic: a header that shapes the answer and is not part of the key.

use http::{header, HeaderName};

use super::*;

/// A request of one client. `keyed` values come from small pools, so that requests meet; all
/// else carries the client's own mark.
#[derive(Clone, Debug)]
struct Asked {
    path: &'static str,
    host: &'static str,
    language: Option<&'static str>,
    limit: Option<&'static str>,
    unkeyed: Vec<usize>,
    user: Option<&'static str>,
}

const UNKEYED_FIELDS: [&str; 14] = [
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-for",
    "x-original-url",
    "x-rewrite-url",
    "forwarded",
    "origin",
    "referer",
    "user-agent",
    "accept",
    "content-type",
    "transfer-encoding",
    "accept-encoding",
    "x-anything",
];

impl Asked {
    fn request(&self, mark: &str) -> Request<Full<Bytes>> {
        let mut query: Vec<String> = self
            .limit
            .iter()
            .map(|limit| format!("limit={limit}"))
            .collect();
        query.insert(0, format!("utm_source={mark}"));
        query.push(format!("callback;limit={mark}"));
        let uri = format!("{}?{}", self.path, query.join("&"));
        let mut request = get(
            &uri,
            &[("host", self.host), ("cookie", &format!("_ga={mark}"))],
        );
        for field in &self.unkeyed {
            let name = HeaderName::from_static(UNKEYED_FIELDS[*field]);
            request.headers_mut().append(name, mark.parse().unwrap());
        }
        if let Some(language) = self.language {
            let language = language.parse().unwrap();
            request
                .headers_mut()
                .insert(header::ACCEPT_LANGUAGE, language);
        }
        match self.user {
            Some(user) => as_user(request, user),
            None => request,
        }
    }
}

fn asked(users: &'static [Option<&'static str>]) -> impl Strategy<Value = Asked> {
    (
        prop::sample::select(vec!["/a", "/b"]),
        prop::sample::select(vec!["one.test", "two.test"]),
        prop::option::of(prop::sample::select(vec!["de", "en"])),
        prop::option::of(prop::sample::select(vec!["1", "2"])),
        prop::collection::vec(0..UNKEYED_FIELDS.len(), 0..4),
        prop::sample::select(users),
    )
        .prop_map(|(path, host, language, limit, unkeyed, user)| Asked {
            path,
            host,
            language,
            limit,
            unkeyed,
            user,
        })
}

/// Sends every request through `layer` and holds each answer against all other clients' marks.
fn no_mark_strays(layer: &CacheLayer, asked: &[Asked]) -> Result<(), TestCaseError> {
    block_on(async {
        let origin = mirror();
        for (i, asked_now) in asked.iter().enumerate() {
            let answer = send(layer, &origin, asked_now.request(&format!("client{i}x"))).await;
            for (j, other) in asked.iter().enumerate() {
                let same_client = i == j || (other.user.is_some() && other.user == asked_now.user);
                prop_assert!(
                    same_client || !answer.text().contains(&format!("client{j}x")),
                    "client {i} sees client {j}: {}",
                    answer.text()
                );
            }
            // What the key covers is the request's own.
            let language = asked_now.language.map(|l| format!("accept-language={l:?}"));
            let limit = asked_now.limit.map(|l| format!("\"limit\": [{l:?}"));
            let own = [
                format!("{:?}", asked_now.path),
                format!("host={:?}", asked_now.host),
                language.unwrap_or_default(),
                limit.unwrap_or_default(),
                format!("{:?}", asked_now.user),
            ];
            for said in own {
                prop_assert!(answer.text().contains(&said), "{} is its own", said);
            }
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn on_a_narrow_route_nothing_unkeyed_reaches_another_client(
        asked in prop::collection::vec(asked(&[None]), 2..12),
    ) {
        let (cache, _clock) = cache();
        let layer = cache
            .layer()
            .ttl(MINUTE)
            .narrow()
            .query_only(["limit"])
            .vary_on(header::ACCEPT_LANGUAGE)
            .ignore_cookies(["_ga"]);
        no_mark_strays(&layer, &asked)?;
    }

    #[test]
    fn on_a_narrow_route_per_user_nothing_reaches_another_user(
        asked in prop::collection::vec(asked(&[Some("ann"), Some("bob"), Some("an")]), 2..12),
    ) {
        let (cache, _clock) = cache();
        let layer = cache
            .layer()
            .ttl(MINUTE)
            .narrow()
            .query_only(["limit"])
            .vary_on(header::ACCEPT_LANGUAGE)
            .per_user(by_user());
        no_mark_strays(&layer, &asked)?;
    }

    #[test]
    fn no_answer_ever_holds_the_bytes_of_two_users(
        asked in prop::collection::vec(("[ab:]{1,3}", "[ab:]{0,2}", prop::sample::select(vec!["/", "/a"])), 2..24),
    ) {
        let (cache, _clock) = cache();
        let layer = cache
            .layer()
            .ttl(MINUTE)
            .per_user(by_user())
            .key_part(user::from_header("x-tenant"));
        block_on(async {
            let origin = mirror();
            for (user, tenant, path) in &asked {
                let request = || as_user(get(path, &[("x-tenant", tenant)]), user);
                let answer = send(&layer, &origin, request()).await;
                prop_assert_eq!(answer.text(), everything(&request()));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_narrow_route_hides_the_host_that_its_key_leaves_out() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).narrow().any_host();
    let origin = mirror();
    send(&layer, &origin, get("/", &[("host", "evil.test")])).await;
    let absolute = send(&layer, &origin, get("http://evil.test/", &[])).await;
    assert!(absolute.is_hit());
    assert!(!absolute.text().contains("evil"), "{}", absolute.text());
    let unasked = send(&layer, &origin, get("http://evil.test/new", &[])).await;
    assert!(!unasked.text().contains("evil"), "{}", unasked.text());
}
