//! Stored responses in the codings that clients ask for, each made once.
//!
//! The handler is asked for the identity form, whoever asks first; what clients want of codings is
//! dealt with here, so it neither splits the store nor calls the handler again. A form is made when a
//! client asks for it, kept with the response it is of (it answers where that one may, weighs on it,
//! and goes where it goes), and from then on an answer like any other: a hit runs no encoder.
//!
//! ```text
//!  hit ─► wanted coding ─┬─ none, or not one of these ─► identity form
//!                        ├─ kept ─────────────────────► that form
//!                        ├─ being made ───────────────► as it is made
//!                        └─ not made yet ─┬─ up to 64 KiB ─► made at once
//!                                         └─ more ─────────► made on a blocking thread, sent as it is made
//! ```
//!
//! Redis keeps identity forms alone: each process makes the codings that its own clients want.

mod making;

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{response, HeaderMap, HeaderName, HeaderValue, StatusCode};

pub(crate) use making::{Making, Makings};

use super::core::{Core, Shared};
use super::route::Route;
pub(crate) use crate::coding::Coding;
use crate::coding::Levels;
use crate::header::accept_encoding::AcceptEncoding;
use crate::policy::decision::Reason;
use crate::policy::encoding::{self, Rules};
use crate::policy::negotiation::{negotiate, Wanted};
use crate::policy::request::RequestFields;
use crate::policy::stored::{Common, StoredResponse};
use crate::policy::storing::Terms;
use crate::store::interned;

/// The codings of one route.
pub(crate) struct Codings {
    rules: Rules,
    levels: Levels,
    /// What the lines of [`USUAL`] come to: reading one again and again would show in a hit.
    usual: [Option<Coding>; USUAL.len()],
}

/// What browsers and the usual libraries send.
const USUAL: [&str; 10] = [
    "gzip, deflate, br, zstd",
    "gzip, deflate, br",
    "gzip, deflate",
    "deflate, gzip, br, zstd",
    "gzip, br",
    "gzip",
    "br",
    "zstd",
    "gzip, br, zstd",
    "identity",
];

impl Codings {
    /// What the route says, or else the cache. Routes per user have none unless they say so (BREACH,
    /// see [`compress`](crate::compress#secrets)), nor those that vary on what a client accepts.
    pub(crate) fn of(shared: &Shared, route: &Route) -> Self {
        let by_itself = route.user.is_none()
            && !route.is_rfc9111()
            && !route.vary_on.contains(&ACCEPT_ENCODING);
        let offered = match &route.codings {
            Some(codings) => codings.clone(),
            None if by_itself => shared.codings.clone(),
            None => Vec::new(),
        };
        let usual = USUAL.map(|line| chosen(line.as_bytes(), &offered));
        Self {
            rules: Rules::new(offered),
            levels: shared.levels,
            usual,
        }
    }

    #[inline]
    pub(crate) fn are_on(&self) -> bool {
        !self.rules.offered.is_empty()
    }

    /// The coding that a request wants, if it wants one.
    #[inline]
    pub(crate) fn wanted(&self, request: &RequestFields<'_>) -> Option<Coding> {
        match self.are_on() {
            true => self.negotiated(request),
            false => None,
        }
    }

    fn negotiated(&self, request: &RequestFields<'_>) -> Option<Coding> {
        let line = request.first(&ACCEPT_ENCODING)?;
        let all = request.all;
        let repeats = all.len() != all.keys_len();
        if repeats && all.get_all(ACCEPT_ENCODING).iter().nth(1).is_some() {
            return coding_of(&AcceptEncoding::parse(all), &self.rules.offered);
        }
        let line = line.as_bytes();
        let known = USUAL.iter().position(|usual| usual.as_bytes() == line);
        match known {
            Some(known) => self.usual[known],
            None => chosen(line, &self.rules.offered),
        }
    }

    /// Asks the handler for the identity form: every coding can be made of it. A request that says
    /// nothing of codings gets that form as it is.
    pub(crate) fn ask_for_identity(&self, request: &mut HeaderMap) {
        if self.are_on() && request.contains_key(ACCEPT_ENCODING) {
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }

    /// Names `Accept-Encoding` in the `Vary` of what clients get in several codings, and takes it from
    /// what the response is stored by: whatever they accept, they are answered from this one. A response
    /// that has a coding already is stored as it came.
    pub(crate) fn settle(
        &self,
        parts: &mut response::Parts,
        size: Option<u64>,
        wanted: Option<Coding>,
        terms: &mut Result<Terms, Reason>,
    ) {
        if !self.are_on() || parts.headers.contains_key(CONTENT_ENCODING) {
            return;
        }
        if parts.status == StatusCode::NOT_MODIFIED {
            // The handler confirmed what its client holds, in whichever form it has it.
            encoding::confirm(&mut parts.headers, wanted.is_some());
            return;
        }
        match terms {
            Ok(terms) => terms.vary.retain(|name| *name != ACCEPT_ENCODING),
            Err(Reason::Head) => {} // the fields are those of GET
            Err(_) => return,
        }
        let is_short = size.is_some_and(|size| size < self.rules.least);
        if !is_short && self.rules.suit(parts.status, &parts.headers) {
            encoding::tell_vary(&mut parts.headers);
        }
    }

    fn suit(&self, stored: &StoredResponse) -> bool {
        let headers = interned::all_lines(stored);
        stored.body_length() >= self.rules.least
            && encoding::varies(&headers) // or who has this one would be given the other
            && self.rules.suit(stored.status(), &headers)
    }
}

/// What one line comes to.
fn chosen(line: &[u8], offered: &[Coding]) -> Option<Coding> {
    let mut accepted = AcceptEncoding::default();
    accepted.read(line);
    coding_of(&accepted, offered)
}

fn coding_of(accepted: &AcceptEncoding, offered: &[Coding]) -> Option<Coding> {
    match negotiate(accepted, offered) {
        Wanted::Coded(coding) => Some(coding),
        Wanted::Identity | Wanted::Nothing => None,
    }
}

/// The form in which a stored response answers, and the making of it where that has not ended. Then
/// the form has its fields, and no content yet.
#[inline]
pub(crate) fn form(
    core: &Core,
    stored: Arc<StoredResponse>,
    wanted: Option<Coding>,
    head_request: bool,
) -> (Arc<StoredResponse>, Option<Arc<Making>>) {
    let Some(coding) = wanted else {
        return (stored, None);
    };
    if let Some(form) = stored.form(coding) {
        return (form.response.clone().unwrap_or(stored), None);
    }
    if !is_encoded(core, &stored) {
        return (stored, None);
    }
    making::begin(
        &core.shared,
        stored,
        coding,
        &core.codings.levels,
        head_request,
    )
}

/// The same for an answer without content, for which no form is made: its fields are known.
pub(crate) fn head(
    core: &Core,
    stored: Arc<StoredResponse>,
    wanted: Option<Coding>,
) -> Arc<StoredResponse> {
    let Some(coding) = wanted else {
        return stored;
    };
    match stored.form(coding) {
        Some(form) => form.response.clone().unwrap_or(stored),
        None if is_encoded(core, &stored) => bare(&stored, coding).map_or(stored, Arc::new),
        None => stored,
    }
}

/// Whether a client may hold the response in a coding, whatever it accepts by now.
pub(crate) fn is_in_forms(core: &Core, stored: &StoredResponse) -> bool {
    core.codings.are_on() && is_encoded(core, stored)
}

/// Whether forms are made of a response.
fn is_encoded(core: &Core, stored: &StoredResponse) -> bool {
    let is_kept = !core.shared.responses.is_off(); // or each hit would make it anew
    is_kept && stored.suits(|stored| core.codings.suit(stored))
}

/// A form without its content.
fn bare(stored: &StoredResponse, coding: Coding) -> Option<StoredResponse> {
    let (common, lines) = coded_fields(stored, coding);
    stored.derive(common, lines, *stored.times(), &[])
}

/// The fields of a stored response in a coding.
fn coded_fields(
    stored: &StoredResponse,
    coding: Coding,
) -> (&'static Common, Vec<(HeaderName, HeaderValue)>) {
    let mut headers = interned::all_lines(stored);
    encoding::tell_vary(&mut headers);
    encoding::describe(&mut headers, coding);
    let lines = headers.iter();
    interned::split(lines.map(|(name, value)| (name.clone(), value.clone())))
}

/// Makes the fields of an answer that is on its way those of a form.
pub(crate) fn describe(headers: &mut HeaderMap, coding: Coding) {
    encoding::describe(headers, coding);
}
