//! What one route says about caching: the configuration that a layer and its services share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{request, response, StatusCode};

use super::limits::Limits;
#[cfg(feature = "compress")]
use crate::coding::Coding;
use crate::error::{ConfigError, KeyError};
use crate::policy::key::QueryRule;
use crate::policy::profile::{Audience, Profile};
use crate::policy::storing::{never_stored, Rules};
use crate::policy::tag::TagTemplate;
use crate::store::near::largest_slot;

/// A function that names a part of the key: the user, the tenant, a language.
pub(crate) type KeyFn =
    Arc<dyn Fn(&request::Parts) -> Result<Option<Cow<'_, str>>, KeyError> + Send + Sync>;
pub(crate) type RequestTags = Arc<dyn Fn(&request::Parts) -> Vec<String> + Send + Sync>;
pub(crate) type ResponseTags = Arc<dyn Fn(&response::Parts) -> Vec<String> + Send + Sync>;
pub(crate) type ResponseTtl = Arc<dyn Fn(&response::Parts) -> Option<Duration> + Send + Sync>;
pub(crate) type RequestTest = Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>;
pub(crate) type ResponseTest = Arc<dyn Fn(&response::Parts) -> bool + Send + Sync>;

/// The configuration of one route.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) rules: Rules,
    pub(crate) ttl_by: Option<ResponseTtl>,
    pub(crate) tag_names: Vec<String>,
    pub(crate) tags: Vec<TagTemplate>,
    pub(crate) tags_by: Vec<RequestTags>,
    pub(crate) tags_of: Vec<ResponseTags>,
    pub(crate) user: Option<KeyFn>,
    pub(crate) extra: Vec<KeyFn>,
    pub(crate) vary_on: Vec<HeaderName>,
    pub(crate) query: QueryRule,
    pub(crate) query_rules: u8,
    pub(crate) host: bool,
    pub(crate) ignored_cookies: Vec<String>,
    pub(crate) shared_despite_credentials: bool,
    /// The longest content that keys a request, of `QUERY` and perhaps of `POST`.
    pub(crate) key_body: Option<usize>,
    pub(crate) key_post: bool,
    pub(crate) body_limit: u64,
    pub(crate) collapse: Option<Duration>,
    /// Whether one process of all calls for a key.
    pub(crate) collapse_processes: bool,
    pub(crate) early_refresh: Option<f32>,
    /// Whether the shared clock is asked before each answer; the cache's own setting where `None`.
    pub(crate) strict: Option<bool>,
    pub(crate) client: Option<ClientCache>,
    pub(crate) narrow: bool,
    pub(crate) ignore_client_directives: bool,
    /// Whether responses may say which queries mean the same; those of the rfc9111 profile may.
    pub(crate) no_vary_search: bool,
    pub(crate) cache_status: bool,
    /// Whether it tells the key too.
    pub(crate) cache_status_key: bool,
    pub(crate) skip_if: Vec<RequestTest>,
    pub(crate) store_if: Vec<ResponseTest>,
    /// Those of the cache where `None`.
    #[cfg(feature = "compress")]
    pub(crate) codings: Option<Vec<Coding>>,
}

/// What clients and caches downstream may do with the answers of a route.
///
/// Without it, and without a `Cache-Control` of the handler's own, they are told `no-cache`: they
/// may keep an answer but must ask before each use, so that a purge here is a purge everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCache {
    pub(crate) public: bool,
    max_age: Option<Duration>,
}

impl ClientCache {
    /// Everybody may reuse an answer for this long after it was made; whole seconds.
    pub const fn public(max_age: Duration) -> Self {
        Self {
            public: true,
            max_age: Some(max_age),
        }
    }

    /// The client alone may reuse an answer for this long after it was made; whole seconds.
    pub const fn private(max_age: Duration) -> Self {
        Self {
            public: false,
            max_age: Some(max_age),
        }
    }

    /// Nobody keeps an answer.
    pub const fn no_store() -> Self {
        Self {
            public: false,
            max_age: None,
        }
    }

    fn field(self) -> String {
        let scope = if self.public { "public" } else { "private" };
        match self.max_age {
            Some(max_age) => format!("{scope}, max-age={}", max_age.as_secs()),
            None => "no-store".to_owned(),
        }
    }
}

impl Route {
    pub(crate) fn new(limits: &Limits, audience: Audience) -> Self {
        Self {
            rules: Rules {
                audience,
                max_vary_fields: limits.vary_fields,
                ..Rules::default()
            },
            ttl_by: None,
            tag_names: Vec::new(),
            tags: Vec::new(),
            tags_by: Vec::new(),
            tags_of: Vec::new(),
            user: None,
            extra: Vec::new(),
            vary_on: Vec::new(),
            query: QueryRule::All,
            query_rules: 0,
            host: true,
            ignored_cookies: Vec::new(),
            shared_despite_credentials: false,
            key_body: None,
            key_post: false,
            body_limit: limits.body,
            collapse: Some(Duration::from_secs(10)),
            collapse_processes: false,
            early_refresh: None,
            strict: None,
            client: None,
            narrow: false,
            ignore_client_directives: false,
            no_vary_search: false,
            cache_status: true,
            cache_status_key: false,
            skip_if: Vec::new(),
            store_if: Vec::new(),
            #[cfg(feature = "compress")]
            codings: None,
        }
    }

    /// The `Cache-Control` of answers whose handler said nothing.
    pub(crate) fn default_cache_control(&self) -> Option<HeaderValue> {
        let said = match (self.client, &self.user) {
            (Some(client), _) => HeaderValue::from_str(&client.field())
                .expect("directives and digits are visible ASCII"),
            (None, Some(_)) => HeaderValue::from_static("private, no-cache"),
            (None, None) if self.is_rfc9111() => return None,
            (None, None) => HeaderValue::from_static("no-cache"),
        };
        Some(said)
    }

    pub(crate) fn is_rfc9111(&self) -> bool {
        self.rules.profile == Profile::Rfc9111
    }

    /// Whether all requests are one user's, so that nothing is anybody else's.
    pub(crate) fn is_of_one_user(&self) -> bool {
        self.rules.audience == Audience::OneUser
    }

    pub(crate) fn heeds_no_vary_search(&self) -> bool {
        self.no_vary_search || self.is_rfc9111()
    }

    /// Whether nothing tells what credentials mean for an answer.
    pub(crate) fn knows_no_users(&self) -> bool {
        self.user.is_none() && !self.shared_despite_credentials && !self.is_of_one_user()
    }

    /// Whether requests with credentials are left alone.
    #[inline]
    pub(crate) fn bypasses_credentials(&self) -> bool {
        self.knows_no_users() && !self.is_rfc9111()
    }

    /// Looks for contradictions. The first one is told, with the line to write instead.
    pub(crate) fn validate(&self, limits: &Limits) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_users()?;
        self.validate_keys()?;
        #[cfg(feature = "compress")]
        self.validate_codings()?;
        self.validate_sizes(limits)
    }

    #[cfg(feature = "compress")]
    fn validate_codings(&self) -> Result<(), ConfigError> {
        let Some(codings) = &self.codings else {
            return Ok(());
        };
        if !codings.is_empty() && self.vary_on.contains(&http::header::ACCEPT_ENCODING) {
            return Err(ConfigError::new(
                "a route whose responses are stored for each `Accept-Encoding` leaves codings to its handler",
                "`.codings([..])` without `.vary_on(ACCEPT_ENCODING)`, or the other one alone",
            ));
        }
        let rules = crate::policy::encoding::Rules::new(codings.clone());
        let unavailable = rules.unavailable(crate::coding::is_available);
        unavailable.map_or(Ok(()), Err)
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        let refuse = |problem: &str, instead: &str| {
            Err(ConfigError::new(problem.to_owned(), instead.to_owned()))
        };
        if self.rules.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return refuse(
                "a ttl of zero stores nothing",
                "`.ttl(Duration::from_secs(60))`, or no cache layer on this route",
            );
        }
        for (status, ttl) in &self.rules.status_ttl {
            if never_stored(*status) {
                return refuse(
                    &format!(
                        "status {} must not be stored (RFC 9111, RFC 6585)",
                        status.as_u16()
                    ),
                    &format!("no `.status_ttl` for {}", status.as_u16()),
                );
            }
            if ttl.is_zero() {
                return refuse(
                    &format!(
                        "status {} has a ttl of zero, which stores nothing",
                        status.as_u16()
                    ),
                    &format!(
                        "`.status_ttl({}, Duration::from_secs(1))`, or no such line: statuses \
                         without one are not stored",
                        status.as_u16()
                    ),
                );
            }
        }
        if self.collapse.is_some_and(|deadline| deadline.is_zero()) {
            return refuse(
                "a collapse deadline of zero makes every request wait for nothing",
                "`.collapse_timeout(Duration::from_secs(10))`, or `.no_collapsing()`",
            );
        }
        if self.collapse_processes && self.collapse.is_none() {
            return refuse(
                "processes can only share calls that the requests of one process share",
                "`.collapse_processes(true)` without `.no_collapsing()`",
            );
        }
        if self
            .early_refresh
            .is_some_and(|fraction| !(fraction > 0.0 && fraction < 1.0))
        {
            return refuse(
                "the early refresh is a fraction of the lifetime, between 0 and 1",
                "`.early_refresh(0.1)` for the last tenth",
            );
        }
        Ok(())
    }

    fn validate_users(&self) -> Result<(), ConfigError> {
        let per_user = self.user.is_some();
        if per_user && self.client.is_some_and(|client| client.public) {
            return Err(ConfigError::new(
                "a per-user route marked public would let a shared cache show one user's answer to another",
                "`.per_user(..).client(ClientCache::private(..))`",
            ));
        }
        if self.is_of_one_user() {
            let public = self.client.is_some_and(|client| client.public);
            let several = [
                (per_user, "`.per_user(..)`"),
                (
                    self.shared_despite_credentials,
                    "`.shared_despite_credentials()`",
                ),
                (public, "`.client(ClientCache::public(..))`"),
            ];
            if let Some((_, setting)) = several.iter().find(|(is_set, _)| *is_set) {
                return Err(ConfigError::new(
                    format!("{setting} is about several users, and a private cache has one"),
                    format!("a cache without `.private()`, or no {setting}"),
                ));
            }
        }
        if per_user && self.shared_despite_credentials {
            return Err(ConfigError::new(
                "a route is either per user or shared despite credentials",
                "`.per_user(..)` alone where answers differ between users",
            ));
        }
        if self
            .rules
            .status_ttl
            .iter()
            .any(|(status, _)| is_about_the_caller(*status))
            && !per_user
            && !self.is_of_one_user()
        {
            return Err(ConfigError::new(
                "401 and 403 are about one caller and must not answer another",
                "`.per_user(..)` beside that `.status_ttl(..)`, or no such line",
            ));
        }
        Ok(())
    }

    fn validate_keys(&self) -> Result<(), ConfigError> {
        if self.query_rules > 1 {
            return Err(ConfigError::new(
                "`.query_only(..)` and `.query_except(..)` exclude each other",
                "the one of them that names fewer parameters",
            ));
        }
        if matches!(&self.query, QueryRule::Only(names) | QueryRule::Except(names)
            if names.iter().any(String::is_empty))
        {
            return Err(ConfigError::new(
                "a query parameter needs a name",
                "`.query_only([\"limit\", \"offset\"])`, or `.query_only([] as [&str; 0])` for none",
            ));
        }
        if self.vary_on.contains(&http::header::COOKIE) {
            return Err(ConfigError::new(
                "varying on `Cookie` stores one response per cookie jar",
                "`.per_user(larder::user::from_cookie(\"session\"))`",
            ));
        }
        if self.vary_on.len() > self.rules.max_vary_fields {
            return Err(ConfigError::new(
                format!(
                    "responses that vary on more than {} fields are not stored",
                    self.rules.max_vary_fields
                ),
                "`.key_part(..)` with what matters of those fields, for some of them",
            ));
        }
        if self.key_body.is_some_and(|limit| limit == 0) {
            return Err(ConfigError::new(
                "a body limit of zero keys every request alike",
                "`.key_body(64 * 1024)`",
            ));
        }
        Ok(())
    }

    fn validate_sizes(&self, limits: &Limits) -> Result<(), ConfigError> {
        if self.body_limit == 0 {
            return Err(ConfigError::new(
                "a body limit of zero stores nothing",
                "`.body_limit(1024 * 1024)`",
            ));
        }
        if self.body_limit.saturating_mul(2) > limits.capacity {
            return Err(ConfigError::new(
                format!(
                    "a body limit of {} bytes does not fit into a capacity of {} bytes",
                    self.body_limit, limits.capacity
                ),
                format!(
                    "`Cache::builder().capacity({})` or more",
                    self.body_limit.saturating_mul(2)
                ),
            ));
        }
        if self.body_limit > largest_slot(limits.capacity, limits.body) {
            return Err(ConfigError::new(
                format!(
                    "a body limit of {} bytes does not fit into the shards of a cache whose bodies \
                     have at most {} bytes",
                    self.body_limit, limits.body
                ),
                format!("`Cache::builder().body_limit({})`", self.body_limit),
            ));
        }
        if self.tag_names.len() > limits.tags {
            return Err(ConfigError::new(
                format!(
                    "{} tags are more than the limit of {}",
                    self.tag_names.len(),
                    limits.tags
                ),
                format!("`Cache::builder().max_tags({})`", self.tag_names.len()),
            ));
        }
        for name in &self.tag_names {
            if name.is_empty() || name.len() > limits.tag_length {
                return Err(ConfigError::new(
                    format!("a tag has 1 to {} bytes", limits.tag_length),
                    "`.tag(\"posts\")`",
                ));
            }
            if TagTemplate::parse(name).is_none() {
                return Err(ConfigError::new(
                    format!("the braces of the tag `{name}` do not match"),
                    "`.tag(\"post:{id}\")`, where the route's path has `{id}`",
                ));
            }
        }
        Ok(())
    }
}

const fn is_about_the_caller(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403)
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("rules", &self.rules)
            .field("tags", &self.tag_names)
            .field("per_user", &self.user.is_some())
            .field("query", &self.query)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
