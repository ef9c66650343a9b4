//! How a URL writes what is not letters and digits, and the pairs of its query.

use crate::error::ConfigError;

/// The pairs of the query; each may be taken once, and all of them must be.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, ConfigError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = split(pair, '=');
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(place).1)
    }

    pub(super) fn nothing_left(self) -> Result<(), ConfigError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ConfigError::new(
                format!("the URL has a parameter that means nothing here, `{name}`"),
                "only `db`, and with Sentinels `sentinel_user` and `sentinel_password`",
            )),
        }
    }
}

pub(super) fn split(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

/// Resolves percent-encoding (RFC 3986 §2.1).
pub(super) fn decode(text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(bad_encoding)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad_encoding())
}

fn bad_encoding() -> ConfigError {
    ConfigError::new(
        "the URL is not percent-encoded as it should be",
        "`%25` for `%`, `%40` for `@`, `%3A` for `:` and `%2F` for `/` in user names and passwords",
    )
}
