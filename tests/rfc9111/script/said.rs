//! What stands between two arrows.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Its first words, and the items behind bars.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) words: Vec<String>,
    pub(crate) items: Vec<String>,
}

impl Said {
    pub(crate) fn read(text: &str, now: u64) -> Self {
        let mut pieces = text.split(" | ").map(|piece| dated(piece.trim(), now));
        let words = pieces.next().unwrap_or_default();
        Self {
            words: words.split_whitespace().map(str::to_owned).collect(),
            items: pieces.collect(),
        }
    }

    /// The word behind the first one.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|said| said == word)
    }

    /// For how many seconds the service thinks: the clock moves while it is asked.
    pub(crate) fn takes(&self) -> u64 {
        let mut words = self.words.iter().skip(1);
        let seconds = words.find_map(|word| word.strip_prefix('+'));
        seconds.map_or(0, |seconds| seconds.parse().expect("seconds after +"))
    }

    pub(crate) fn status(&self) -> u16 {
        self.words[0].parse().expect("a status")
    }

    pub(crate) fn fields(&self) -> HeaderMap {
        let plain = |item: &&String| !item.starts_with(['?', '!', '"', '#', '^']);
        self.items
            .iter()
            .filter(plain)
            .map(|item| field(item))
            .collect()
    }

    pub(crate) fn body(&self) -> Option<&str> {
        let quoted = self.items.iter().find(|item| item.starts_with('"'));
        quoted.map(|text| text.trim_matches('"'))
    }

    /// The interim answers, each of one field.
    pub(crate) fn interim(&self) -> impl Iterator<Item = (&str, HeaderName, HeaderValue)> {
        let interim = self.items.iter().filter_map(|item| item.strip_prefix('^'));
        interim.map(|item| {
            let (status, item) = item.split_once(' ').expect("a status and a field");
            let (name, value) = field(item);
            (status, name, value)
        })
    }
}

fn field(item: &str) -> (HeaderName, HeaderValue) {
    let (name, value) = item.split_once(':').expect("a field has a colon");
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    (name.trim().parse().unwrap(), value.unwrap())
}

/// `@60` becomes the date of a minute from now.
fn dated(text: &str, now: u64) -> String {
    let Some((before, after)) = text.split_once('@') else {
        return text.to_owned();
    };
    let end = after.find(|c: char| c != '-' && !c.is_ascii_digit());
    let (offset, rest) = after.split_at(end.unwrap_or(after.len()));
    let Ok(offset) = offset.parse::<i64>() else {
        return text.to_owned();
    };
    let at = now.cast_signed() + offset;
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
