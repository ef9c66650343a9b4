//! A small language of exchanges, and how they are judged, whoever plays them.
//!
//! ```text
//! §4.2.1: its title                  a row: the section, and what it says
//!     +30 GET /a | accept: b      -> 200 | cache-control: max-age=9   => store | age: 0 | #1
//!     │   │   │    │                  │    │                              │       │        └ body of call 1
//!     │   │   │    a field            │    a field of it                 │       a field, `!name` for none
//!     │   │   target, or /            what the service answers           the verdict
//!     │   method                      (left out: it must not be called)
//!     seconds that pass before
//! ```
//!
//! - An answer may be `error`. Its body is `"so"`, or else the number of the call. `?name: value` and `?!name`
//!   are about the request that the service gets, `?GET` about its method, `?"so"` about its content. Behind
//!   the status, `cut` breaks the body off, `open` ends it with the connection, and `+9` lets nine seconds
//!   pass before it. `^103 name: value` is an
//!   interim answer before it, and with a verdict, one that the client must get.
//! - The verdicts: `store` and `pass`, forwarded, and stored or not; `forward`, either of them; `hit`, from store; `valid`, from store
//!   after the service confirmed it; `stale`, from store because the service failed; `late`, from store
//!   while the service is asked; `none`, refused; `cut`, broken off. After it a status, where it is not the
//!   one answered.
//! - `@-60` in a field is the date of a minute ago.
//! - `{name} = value`, before the exchanges of a row, makes a row for each such value, and `{name} in a b c`
//!   for each word. Two spaces and `--` begin a remark.
//! - `only in process: why` and `only over sockets: why` keep a row from the other runner.

mod said;
mod table;

use std::time::Duration;

use http::HeaderMap;
use larder::ManualClock;

pub(crate) use self::said::Said;
pub(crate) use self::table::{rows, Row, Runner};

/// Who sends requests through a cache, with a service of ours behind it.
pub(crate) trait Player {
    /// Sends a request while the service has `said` to say, and reads the answer.
    async fn play(&mut self, asked: &Said, said: Option<&Said>) -> Heard;

    /// Waits until a refresh that is under way has ended, with what the service said.
    async fn settle(&mut self, said: &Said);

    /// The requests that the service got since this was last asked.
    fn forwarded(&mut self) -> Vec<Asked>;
}

/// A request as the service got it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) fields: HeaderMap,
    pub(crate) content: String,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Nothing, where the service failed and nobody made an answer of it.
    pub(crate) status: Option<u16>,
    pub(crate) fields: HeaderMap,
    pub(crate) body: String,
    pub(crate) complete: bool,
    /// The interim answers before it.
    pub(crate) interim: Vec<(u16, HeaderMap)>,
}

/// Runs all rows of a table that this runner can, and names those that went another way.
pub(crate) async fn check<P: Player>(
    text: &str,
    runner: Runner,
    mut player: impl AsyncFnMut(&ManualClock) -> P,
) {
    let rows: Vec<Row> = rows(text).collect();
    let mut failed = Vec::new();
    for row in rows.iter().filter(|row| row.runs_in(runner)) {
        let clock = ManualClock::new();
        let mut player = player(&clock).await;
        if let Err(how) = play(row, &clock, &mut player).await {
            failed.push(format!("{}\n{how}", row.title));
        }
    }
    let of = rows.len();
    assert!(
        failed.is_empty(),
        "{} of {of}:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

async fn play<P: Player>(row: &Row, clock: &ManualClock, player: &mut P) -> Result<(), String> {
    let mut now = 1_767_225_600;
    for line in &row.script {
        let exchange = match line.strip_prefix('+') {
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
        now += judge(player, exchange, now).await.map_err(wrong)?;
    }
    match player.forwarded().len() {
        0 => Ok(()),
        more => Err(format!("    {more} calls after all of it")),
    }
}

/// One line: a request, what it is answered, and whether that is as expected. The seconds that it took.
async fn judge<P: Player>(player: &mut P, line: &str, now: u64) -> Result<u64, String> {
    let (exchange, expected) = line.split_once(" => ").expect("a verdict after =>");
    let (asked, said) = match exchange.split_once(" -> ") {
        Some((asked, said)) => (asked, Some(Said::read(said, now))),
        None => (exchange, None),
    };
    let (asked, expected) = (Said::read(asked, now), Said::read(expected, now));
    let heard = player.play(&asked, said.as_ref()).await;
    let decided = verdict(&heard, said.as_ref());
    if let (Some(said), "late") = (&said, decided) {
        player.settle(said).await;
    }
    let forwarded = player.forwarded();
    if forwarded.len() != usize::from(said.is_some()) {
        return Err(format!("{} calls: {heard:?}", forwarded.len()));
    }
    if let (Some(said), [forwarded]) = (&said, &forwarded[..]) {
        let wants = said.items.iter().filter_map(|item| item.strip_prefix('?'));
        wants.into_iter().try_for_each(|want| forwarded.is(want))?;
    }
    let wanted = expected.words[0].as_str();
    if wanted == "error" {
        let failed = decided == "error" || (decided == "pass" && heard.status == Some(502));
        return failed.then_some(0).ok_or_else(|| format!("{heard:?}"));
    }
    let took = said.as_ref().map_or(0, Said::takes);
    let passed = said.filter(|_| matches!(decided, "store" | "pass"));
    let status = expected
        .words
        .get(1)
        .or(passed.as_ref().and_then(|said| said.words.first()));
    let as_wanted = decided == wanted || (wanted == "forward" && passed.is_some());
    if !as_wanted || status.is_some_and(|status| heard.status != status.parse().ok()) {
        return Err(format!("{decided} {heard:?}"));
    }
    let unmet = expected.items.iter().find(|want| !heard.is(want));
    unmet.map_or(Ok(took), |want| {
        Err(format!("not {want}: {decided} {heard:?}"))
    })
}

/// What an answer and its `Cache-Status` come to.
fn verdict(heard: &Heard, said: Option<&Said>) -> &'static str {
    let line = heard.fields.get_all("cache-status").iter().next_back();
    let status = line.map_or("", |line| line.to_str().unwrap());
    let has = |word: &str| status.split("; ").any(|part| part == word);
    match () {
        () if heard.status.is_none() => "error",
        () if !heard.complete => "cut",
        () if has("hit") && said.is_some() => "late",
        () if has("hit") => "hit",
        () if has("detail=only-if-cached") => "none",
        () if has("detail=stale-if-error") => "stale",
        () if has("fwd-status=304") => "valid",
        () if has("stored") => "store",
        () => "pass",
    }
}

impl Heard {
    /// Whether it is as an item of a verdict says.
    fn is(&self, want: &str) -> bool {
        if let Some(number) = want.strip_prefix('#') {
            return self.body == number;
        }
        if let Some(text) = want.strip_prefix('"') {
            return self.body == text.trim_end_matches('"');
        }
        if let Some(interim) = want.strip_prefix('^') {
            let (status, want) = interim.split_once(' ').expect("a field of it");
            let is_it = |(code, fields): &(u16, HeaderMap)| {
                code.to_string() == status && holds(want, fields).is_ok()
            };
            return self.interim.iter().any(is_it);
        }
        holds(want, &self.fields).is_ok()
    }
}

impl Asked {
    fn is(&self, want: &str) -> Result<(), String> {
        let found = match want.strip_prefix('"') {
            Some(text) => (self.content.as_str(), text.trim_end_matches('"')),
            None if want.contains([':', '!']) => return holds(want, &self.fields),
            None => (self.method.as_str(), want),
        };
        let same = found.0 == found.1;
        same.then_some(())
            .ok_or_else(|| format!("forwarded {}, not {want}", found.0))
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
