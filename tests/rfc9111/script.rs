//! A small language of exchanges.
//!
//! ```text
//! +30 GET /a | accept: b      -> 200 | cache-control: max-age=9   => store | age: 0 | #1
//! │   │   │    │                  │    │                              │       │        └ body of call 1
//! │   │   │    a field            │    a field of it                 │       a field, `!name` for none
//! │   │   target, or /            what the service answers           the verdict
//! │   method                      (left out: it must not be called)
//! seconds that pass before
//! ```
//!
//! - An answer may be `error`. Its body is `"so"`, or else the number of the call. `?name: value` and `?!name`
//!   are about the request that the service gets.
//! - The verdicts: `store` and `pass`, forwarded, and stored or not; `hit`, from store; `valid`, from store
//!   after the service confirmed it; `stale`, from store because the service failed; `late`, from store
//!   while the service is asked; `none`, refused. After it a status, where it is not the one answered.
//! - `@-60` in a field is the date of a minute ago.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{Cache, CacheLayer, ManualClock, Profile};
use tower::{service_fn, Layer, ServiceExt};

/// A section, what it says, and exchanges that show it.
pub(crate) type Row = (&'static str, &'static str, &'static str);

/// Runs all rows and names those that went another way.
pub(crate) fn check(rows: &[Row]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|(section, says, script)| {
            let run = runtime.block_on(run(script, Profile::Rfc9111));
            run.err().map(|how| format!("{section}: {says}\n{how}"))
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
}

/// What the service is to answer, and what it was asked.
#[derive(Default)]
struct Origin {
    answers: VecDeque<Said>,
    asked: Vec<HeaderMap>,
}

/// What stands between two arrows: its first words, and the items behind bars.
#[derive(Clone, Default)]
struct Said {
    words: Vec<String>,
    items: Vec<String>,
}

impl Said {
    fn read(text: &str, now: u64) -> Self {
        let mut pieces = text.split(" | ").map(|piece| dated(piece.trim(), now));
        let words = pieces.next().unwrap_or_default();
        Self {
            words: words.split_whitespace().map(str::to_owned).collect(),
            items: pieces.collect(),
        }
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
        let plain = |item: &&String| !item.starts_with(['?', '!', '"', '#']);
        self.items.iter().filter(plain).map(|item| {
            let (name, value) = item.split_once(':').expect("a field has a colon");
            let value = HeaderValue::from_bytes(value.trim().as_bytes());
            (name.trim().parse().unwrap(), value.unwrap())
        })
    }

    fn body(&self) -> Option<&str> {
        let quoted = self.items.iter().find(|item| item.starts_with('"'));
        quoted.map(|text| text.trim_matches('"'))
    }
}

/// `@60` becomes the date of a minute from now.
fn dated(text: &str, now: u64) -> String {
    let Some((before, after)) = text.split_once('@') else {
        return text.to_owned();
    };
    let end = after.find(|c: char| c != '-' && !c.is_ascii_digit());
    let (offset, rest) = after.split_at(end.unwrap_or(after.len()));
    let at = now.cast_signed() + offset.parse::<i64>().expect("seconds after @");
    format!("{before}{}{rest}", imf_fixdate(at))
}

/// The date of a second of the years around 2026.
fn imf_fixdate(unix: i64) -> String {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let is_leap = |year: i64| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let (mut year, mut day) = (1970, days);
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + i64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let month = &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month..3 * month + 3];
    let weekday = usize::try_from((days + 4).rem_euclid(7)).unwrap();
    let weekday = &"SunMonTueWedThuFriSat"[3 * weekday..3 * weekday + 3];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{weekday}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT",
        day + 1
    )
}

async fn run(script: &str, profile: Profile) -> Result<(), String> {
    let clock = ManualClock::new();
    let cache = Cache::builder().clock(clock.clock()).build().unwrap();
    let layer = cache.layer().profile(profile);
    let origin = Arc::new(Mutex::new(Origin::default()));
    let mut now = 1_767_225_600;
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let line = match line.strip_prefix('+') {
            Some(rest) => {
                let (seconds, rest) = rest.split_once(' ').expect("an exchange after +");
                let seconds: u64 = seconds.parse().expect("seconds after +");
                clock.advance(Duration::from_secs(seconds));
                now += seconds;
                rest
            }
            None => line,
        };
        let wrong = |how: String| format!("    {line}\n    {how}");
        exchange(&layer, &origin, line, now).await.map_err(wrong)?;
    }
    Ok(())
}

/// One line: a request, what it is answered, and whether that is as expected.
async fn exchange(
    layer: &CacheLayer,
    origin: &Arc<Mutex<Origin>>,
    line: &str,
    now: u64,
) -> Result<(), String> {
    let (exchange, expected) = line.split_once(" => ").expect("a verdict after =>");
    let (asked, said) = match exchange.split_once(" -> ") {
        Some((asked, said)) => (asked, Some(Said::read(said, now))),
        None => (exchange, None),
    };
    let (asked, expected) = (Said::read(asked, now), Said::read(expected, now));
    let before = {
        let mut origin = origin.lock().unwrap();
        origin.answers = said.iter().cloned().collect();
        origin.asked.len()
    };
    let answered = answer(layer, origin, &asked).await;
    for _ in 0..50 {
        tokio::task::yield_now().await; // a refresh, if there is one
    }
    let origin = origin.lock().unwrap();
    let forwarded = &origin.asked[before..];
    if forwarded.len() != usize::from(said.is_some()) {
        return Err(format!("{} calls: {answered:?}", forwarded.len()));
    }
    if let (Some(said), [forwarded]) = (&said, forwarded) {
        let wants = said.items.iter().filter_map(|item| item.strip_prefix('?'));
        wants.clone().try_for_each(|want| holds(want, forwarded))?;
    }
    let Ok((head, body)) = answered else {
        let passed = expected.words == ["error"];
        return passed.then_some(()).ok_or_else(|| "an error".to_owned());
    };
    let decided = verdict(&head.headers, said.as_ref());
    let status = expected.words.get(1).cloned();
    let status = status.or_else(|| {
        said.filter(|_| decided == "store" || decided == "pass")?
            .words
            .first()
            .cloned()
    });
    let found = format!(
        "{decided} {} {body:?} {:?}",
        head.status.as_u16(),
        head.headers
    );
    if decided != expected.words[0] || status.is_some_and(|status| status != head.status.as_str()) {
        return Err(found);
    }
    for want in &expected.items {
        let as_wanted = match (want.strip_prefix('#'), want.strip_prefix('"')) {
            (Some(number), _) => body == number,
            (_, Some(text)) => body == text.trim_end_matches('"'),
            _ => holds(want, &head.headers).is_ok(),
        };
        if !as_wanted {
            return Err(format!("not {want}: {found}"));
        }
    }
    Ok(())
}

async fn answer(
    layer: &CacheLayer,
    origin: &Arc<Mutex<Origin>>,
    asked: &Said,
) -> Result<(http::response::Parts, String), &'static str> {
    let this = Arc::clone(origin);
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        let mut origin = this.lock().unwrap();
        origin.asked.push(request.headers().clone());
        let number = origin.asked.len();
        let answer = origin.answers.pop_front();
        std::future::ready(respond(answer.unwrap_or_default(), number))
    });
    let target = asked.words.get(1).map_or("/", String::as_str);
    let content = Bytes::from(asked.body().unwrap_or_default().to_owned());
    let mut request = Request::new(Full::new(content));
    *request.method_mut() = asked.words[0].parse().unwrap();
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in asked.fields() {
        request.headers_mut().append(name, value);
    }
    let host = request.headers_mut().entry("host");
    host.or_insert(HeaderValue::from_static("a.test"));
    let (head, body) = layer.layer(service).oneshot(request).await?.into_parts();
    let body: Result<_, Infallible> = body.collect().await;
    let body = body.unwrap().to_bytes();
    Ok((head, String::from_utf8(body.to_vec()).unwrap()))
}

fn respond(said: Said, number: usize) -> Result<Response<Full<Bytes>>, &'static str> {
    let status = said.words.first().map_or("299", String::as_str);
    if status == "error" {
        return Err("the service failed");
    }
    let no_content = ["204", "304"].contains(&status);
    let body = match said.body() {
        _ if no_content => String::new(),
        Some(body) => body.to_owned(),
        None => number.to_string(),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status.parse().unwrap();
    for (name, value) in said.fields() {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// What `Cache-Status` comes to.
fn verdict(headers: &HeaderMap, said: Option<&Said>) -> &'static str {
    let status = headers
        .get("cache-status")
        .map(|line| line.to_str().unwrap());
    let status = status.unwrap_or_default();
    let has = |word: &str| status.split("; ").any(|part| part == word);
    if has("hit") {
        return if said.is_some() { "late" } else { "hit" };
    }
    if has("detail=only-if-cached") {
        "none"
    } else if has("detail=stale-if-error") {
        "stale"
    } else if has("fwd-status=304") {
        "valid"
    } else if has("stored") {
        "store"
    } else {
        "pass"
    }
}

/// Whether the fields are as `name: value` or `!name` says; the lines of a name are joined.
fn holds(want: &str, headers: &HeaderMap) -> Result<(), String> {
    let (name, value) = match want.split_once(':') {
        Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
        None => (want.trim_start_matches('!'), None),
    };
    let lines = headers.get_all(name).iter();
    let lines: Vec<String> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
        .collect();
    let found = (!lines.is_empty()).then(|| lines.join(", "));
    match found == value {
        true => Ok(()),
        false => Err(format!("not {want}: {found:?}")),
    }
}
