//! Dates of HTTP, read strictly and written one way.
//!
//! A recipient must accept three forms, and a cache must accept no fourth: an `Expires` it cannot read means stale,
//! one it guesses at may mean a year of wrong answers. So the forms are matched byte for byte, letters in any case.
//! The weekday must be a weekday but need not be the right one, since the date itself already says when.
//!
//! | form | example |
//! | --- | --- |
//! | IMF-fixdate, the one we write | `Sun, 06 Nov 1994 08:49:37 GMT` |
//! | RFC 850, with two digits of year | `Sunday, 06-Nov-94 08:49:37 GMT` |
//! | asctime | `Sun Nov  6 08:49:37 1994` |

/// The date as seconds since 1970, if it has one of the three forms (RFC 9110 §5.6.7).
///
/// `now` decides the century of a two-digit year: the latest one that is at most 50 years ahead.
pub(crate) fn parse(value: &[u8], now: i64) -> Option<i64> {
    let reader = Reader(value);
    let date = match value.len() {
        29 => imf_fixdate(reader),
        24 => asctime(reader),
        _ => rfc_850(reader, now),
    }?;
    date.is_real().then(|| date.unix_seconds())
}

/// The IMF-fixdate of this second; years after 9999 do not fit and read as its last second (RFC 9110 §5.6.7).
pub(crate) fn format(unix_seconds: u64) -> [u8; 29] {
    let seconds =
        i64::try_from(unix_seconds).map_or(LAST_SECOND, |seconds| seconds.min(LAST_SECOND));
    let date = Civil::at(seconds);
    // The first day of 1970 was a Thursday.
    let weekday = (seconds.div_euclid(DAY) + 4).rem_euclid(7);
    let mut written = *b"Sun, 00 Jan 0000 00:00:00 GMT";
    written[..3].copy_from_slice(&WEEKDAYS[weekday as usize].as_bytes()[..3]);
    written[8..11].copy_from_slice(MONTHS[date.month as usize - 1].as_bytes());
    for (at, number) in [
        (5, date.day),
        (12, date.year / 100),
        (14, date.year % 100),
        (17, date.hour),
        (20, date.minute),
        (23, date.second),
    ] {
        written[at] = b'0' + (number / 10) as u8;
        written[at + 1] = b'0' + (number % 10) as u8;
    }
    written
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(mut reader: Reader<'_>) -> Option<Civil> {
    reader.short_weekday()?;
    reader.literal(", ")?;
    let day = reader.digits(2)?;
    reader.literal(" ")?;
    let month = reader.month()?;
    reader.literal(" ")?;
    let year = reader.digits(4)?;
    reader.literal(" ")?;
    let (hour, minute, second) = reader.time()?;
    reader.literal(" GMT")?;
    reader.end()?;
    Some(Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc_850(mut reader: Reader<'_>, now: i64) -> Option<Civil> {
    reader.one_of(&WEEKDAYS)?;
    reader.literal(", ")?;
    let day = reader.digits(2)?;
    reader.literal("-")?;
    let month = reader.month()?;
    reader.literal("-")?;
    let year = reader.digits(2)?;
    reader.literal(" ")?;
    let (hour, minute, second) = reader.time()?;
    reader.literal(" GMT")?;
    reader.end()?;
    Some(
        Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        }
        .within_fifty_years_of(Civil::at(now)),
    )
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(mut reader: Reader<'_>) -> Option<Civil> {
    reader.short_weekday()?;
    reader.literal(" ")?;
    let month = reader.month()?;
    reader.literal(" ")?;
    let day = match reader.literal(" ") {
        Some(()) => reader.digits(1)?,
        None => reader.digits(2)?,
    };
    reader.literal(" ")?;
    let (hour, minute, second) = reader.time()?;
    reader.literal(" ")?;
    let year = reader.digits(4)?;
    reader.end()?;
    Some(Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    })
}

/// A date and time of the calendar, ordered as time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// The calendar at this second, counted in years of 400-year eras that start in March, after any leap day.
    fn at(unix_seconds: i64) -> Self {
        let days = unix_seconds.div_euclid(DAY) + DAYS_BEFORE_1970;
        let second_of_day = unix_seconds.rem_euclid(DAY);
        let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_since_march = (5 * day_of_year + 2) / 153;
        let month = (months_since_march + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * months_since_march + 2) / 5 + 1,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    /// The inverse of [`Civil::at`]; a leap second is the first second of the next minute.
    fn unix_seconds(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_OF_ERA + day_of_era - DAYS_BEFORE_1970;
        days * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// Whether the calendar has this day and the clock this time.
    fn is_real(self) -> bool {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days = match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (1..=days).contains(&self.day) && self.hour < 24 && self.minute < 60 && self.second <= 60
    }

    /// The two-digit year in the latest century that is not more than 50 years ahead (RFC 9110 §5.6.7).
    fn within_fifty_years_of(mut self, now: Self) -> Self {
        self.year += now.year - now.year.rem_euclid(100) + 100;
        let latest = Self {
            year: now.year + 50,
            ..now
        };
        while self > latest {
            self.year -= 100;
        }
        self
    }
}

/// What is left to read of a date.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn literal(&mut self, text: &str) -> Option<()> {
        let (head, rest) = self.0.split_at_checked(text.len())?;
        head.eq_ignore_ascii_case(text.as_bytes())
            .then(|| self.0 = rest)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        head.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    }

    fn time(&mut self) -> Option<(i64, i64, i64)> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        Some((hour, minute, self.digits(2)?))
    }

    fn month(&mut self) -> Option<i64> {
        let at = self.one_of(&MONTHS)?;
        i64::try_from(at + 1).ok()
    }

    fn short_weekday(&mut self) -> Option<usize> {
        self.one_of(&WEEKDAYS.map(|weekday| &weekday[..3]))
    }

    fn one_of(&mut self, names: &[&str]) -> Option<usize> {
        names.iter().position(|name| self.literal(name).is_some())
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

const DAY: i64 = 86_400;
const DAYS_OF_ERA: i64 = 146_097;
/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_BEFORE_1970: i64 = 719_468;
/// 23:59:59 on 31 December 9999.
const LAST_SECOND: i64 = 253_402_300_799;
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{format, parse, LAST_SECOND};

    /// 1 June 2024, noon.
    const NOW: i64 = 1_717_243_200;
    const EXAMPLE: i64 = 784_111_777;

    #[test]
    fn three_forms_are_read_with_letters_in_any_case() {
        let table = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
            ("sun, 06 nov 1994 08:49:37 gmt", EXAMPLE),
            ("SUN, 06 NOV 1994 08:49:37 GMT", EXAMPLE),
            ("Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
            ("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
            ("sUNDAY, 06-nOV-94 08:49:37 gMt", EXAMPLE),
            ("Wednesday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
            ("Sun Nov  6 08:49:37 1994", EXAMPLE),
            ("Sun Nov 06 08:49:37 1994", EXAMPLE),
            ("sun nov  6 08:49:37 1994", EXAMPLE),
            ("Wed Nov 16 08:49:37 1994", EXAMPLE + 10 * 86_400),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Sun, 07 Feb 2106 06:28:16 GMT", 1 << 32),
            ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LAST_SECOND),
            ("Sat, 01 Jan 0000 00:00:00 GMT", -62_167_219_200),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value.as_bytes(), NOW), Some(expected), "{value}");
        }
    }

    #[test]
    fn any_other_form_is_no_date() {
        let table = [
            "",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37  GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun,  6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 01994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 32 Dec 1994 08:49:37 GMT",
            "Sun, 29 Feb 1994 08:49:37 GMT",
            "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 November 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37",
            "Sunday, 31-Feb-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov   6 08:49:37 1994",
            "Sun Nov  0 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sunday Nov  6 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ];
        for value in table {
            assert_eq!(parse(value.as_bytes(), NOW), None, "{value}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37\xa0GMT", NOW), None);
    }

    #[test]
    fn two_digit_year_is_at_most_fifty_years_ahead() {
        let table = [
            (
                "1 Jun 2024",
                NOW,
                "Saturday, 01-Jun-24 12:00:00 GMT",
                "Sat, 01 Jun 2024 12:00:00 GMT",
            ),
            (
                "to the second",
                NOW,
                "Friday, 01-Jun-74 12:00:00 GMT",
                "Fri, 01 Jun 2074 12:00:00 GMT",
            ),
            (
                "one second more",
                NOW,
                "Friday, 01-Jun-74 12:00:01 GMT",
                "Sat, 01 Jun 1974 12:00:01 GMT",
            ),
            (
                "2075",
                NOW,
                "Tuesday, 01-Jan-75 00:00:00 GMT",
                "Wed, 01 Jan 1975 00:00:00 GMT",
            ),
            (
                "2099",
                NOW,
                "Friday, 31-Dec-99 23:59:59 GMT",
                "Fri, 31 Dec 1999 23:59:59 GMT",
            ),
            (
                "from 2090",
                3_786_912_000,
                "Friday, 01-Jan-10 00:00:00 GMT",
                "Wed, 01 Jan 2110 00:00:00 GMT",
            ),
            (
                "from 1994",
                EXAMPLE,
                "Friday, 01-Jan-10 00:00:00 GMT",
                "Fri, 01 Jan 2010 00:00:00 GMT",
            ),
            (
                "from 1970",
                0,
                "Sunday, 01-Jan-21 00:00:00 GMT",
                "Sat, 01 Jan 1921 00:00:00 GMT",
            ),
        ];
        for (case, now, value, meant) in table {
            let meant = parse(meant.as_bytes(), now);
            assert!(meant.is_some(), "{case}");
            assert_eq!(parse(value.as_bytes(), now), meant, "{case}");
        }
    }

    #[test]
    fn written_dates_are_imf_fixdates() {
        let table = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1 << 31, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, expected) in table {
            assert_eq!(std::str::from_utf8(&format(seconds)).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0..=LAST_SECOND) {
            prop_assert_eq!(parse(&format(seconds as u64), NOW), Some(seconds));
        }

        #[test]
        fn any_bytes_at_any_time_do_not_panic(
            value in prop::collection::vec(any::<u8>(), 0..40), now: i64,
        ) {
            let _ = parse(&value, now);
        }

        #[test]
        fn two_digit_years_do_not_panic_at_any_time(
            year in 0..100, now: i64,
        ) {
            let value = format!("Sunday, 28-Feb-{year:02} 23:59:60 GMT");
            prop_assert!(parse(value.as_bytes(), now).is_some());
        }
    }
}
