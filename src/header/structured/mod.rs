//! Structured fields: one strict syntax for newer fields.
//!
//! Old fields each have a grammar of their own and parsers that guess. A structured field is a dictionary or a list of
//! typed values, and one that breaks a rule anywhere is void as a whole; no part of it may be used. So everything here
//! answers `None` at the first mistake. The parsers follow the RFC's algorithms step by step, and nothing nests deeper
//! than an inner list, so nothing recurses.

use std::collections::hash_map::{Entry, HashMap};

use http::HeaderValue;

use super::list;

/// A value without parameters (RFC 9651 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BareItem {
    /// At most 15 digits (RFC 9651 §3.3.1).
    Integer(i64),
    /// In thousandths, which is as fine as they get (RFC 9651 §3.3.2).
    Decimal(i64),
    /// Printable ASCII (RFC 9651 §3.3.3).
    String(String),
    /// A word (RFC 9651 §3.3.4).
    Token(String),
    /// Any bytes, decoded (RFC 9651 §3.3.5).
    Bytes(Vec<u8>),
    /// True or false (RFC 9651 §3.3.6).
    Boolean(bool),
    /// Seconds since 1970 (RFC 9651 §3.3.7).
    Date(i64),
    /// Any text, decoded (RFC 9651 §3.3.8).
    DisplayString(String),
}

/// Parameters, each key once, in order (RFC 9651 §3.1.2).
pub(crate) type Params = Vec<(String, BareItem)>;

/// A value with its parameters (RFC 9651 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// The value itself.
    pub(crate) value: BareItem,
    /// What is said about it.
    pub(crate) params: Params,
}

/// What a dictionary or a list holds (RFC 9651 §3.1, §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// One value.
    Item(Item),
    /// Several values in parentheses, and the parameters of them all (RFC 9651 §3.1.1).
    InnerList(Vec<Item>, Params),
}

/// The dictionary in these lines, empty if there are none; a repeated key keeps its place and its last value
/// (RFC 9651 §4.2.2).
pub(crate) fn parse_dictionary<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
) -> Option<Vec<(String, Member)>> {
    let members = whole_field(lines, |parser| {
        let key = parser.key()?;
        let member = if parser.take(b'=') {
            parser.member()?
        } else {
            let value = BareItem::Boolean(true);
            Member::Item(Item {
                value,
                params: parser.params()?,
            })
        };
        Some((key, member))
    })?;
    Some(last_of_each_key(members))
}

/// The list in these lines, empty if there are none (RFC 9651 §4.2.1).
pub(crate) fn parse_list<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
) -> Option<Vec<Member>> {
    whole_field(lines, |parser| parser.member())
}

/// Joins the lines and reads members between commas until nothing is left (RFC 9651 §4.2).
fn whole_field<'a, T>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    mut member: impl FnMut(&mut Parser<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let lines: Vec<_> = lines.into_iter().map(HeaderValue::as_bytes).collect();
    let joined = lines.join(&b", "[..]);
    let mut parser = Parser { rest: &joined };
    let mut members = Vec::new();
    parser.skip_spaces();
    if parser.rest.is_empty() {
        return Some(members);
    }
    loop {
        members.push(member(&mut parser)?);
        parser.skip_whitespace();
        if parser.rest.is_empty() {
            return Some(members);
        }
        parser.expect(b',')?;
        parser.skip_whitespace();
    }
}

/// Keeps the place of each key's first value and the meaning of its last, in linear time.
fn last_of_each_key<T>(pairs: Vec<(String, T)>) -> Vec<(String, T)> {
    if pairs.len() < 2 {
        return pairs;
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
    let mut kept: Vec<(String, T)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match places.entry(key.clone()) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// What is left to read of a field.
struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// An item or an inner list, with parameters (RFC 9651 §4.2.1.1, §4.2.1.2).
    fn member(&mut self) -> Option<Member> {
        if !self.take(b'(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.skip_spaces();
            if self.take(b')') {
                return Some(Member::InnerList(items, self.params()?));
            }
            items.push(self.item()?);
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    /// A value and its parameters (RFC 9651 §4.2.3).
    fn item(&mut self) -> Option<Item> {
        let value = self.bare_item()?;
        Some(Item {
            value,
            params: self.params()?,
        })
    }

    /// A value, whose first byte tells its type (RFC 9651 §4.2.3.1).
    fn bare_item(&mut self) -> Option<BareItem> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(BareItem::String),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Some(BareItem::Token(self.token())),
            b':' => self.bytes().map(BareItem::Bytes),
            b'?' => self.boolean().map(BareItem::Boolean),
            b'@' => self.date().map(BareItem::Date),
            b'%' => self.display_string().map(BareItem::DisplayString),
            _ => None,
        }
    }

    /// What follows semicolons (RFC 9651 §4.2.3.2).
    fn params(&mut self) -> Option<Params> {
        let mut params = Vec::new();
        while self.take(b';') {
            self.skip_spaces();
            let key = self.key()?;
            let value = if self.take(b'=') {
                self.bare_item()?
            } else {
                BareItem::Boolean(true)
            };
            params.push((key, value));
        }
        Some(last_of_each_key(params))
    }

    /// A name in lower case (RFC 9651 §4.2.3.3).
    fn key(&mut self) -> Option<String> {
        if !matches!(self.peek()?, b'a'..=b'z' | b'*') {
            return None;
        }
        let key = self.take_while(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
        );
        Some(ascii(key))
    }

    /// An integer or a decimal, as long as they may be and no longer (RFC 9651 §4.2.4).
    fn number(&mut self) -> Option<BareItem> {
        let sign = if self.take(b'-') { -1 } else { 1 };
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if whole.is_empty() {
            return None;
        }
        if !self.take(b'.') {
            return (whole.len() <= 15).then(|| BareItem::Integer(sign * decimal(whole)));
        }
        let fraction = self.take_while(|byte| byte.is_ascii_digit());
        let scale = match fraction.len() {
            1 => 100,
            2 => 10,
            3 => 1,
            _ => return None,
        };
        (whole.len() <= 12)
            .then(|| BareItem::Decimal(sign * (decimal(whole) * 1000 + decimal(fraction) * scale)))
    }

    /// Printable ASCII between quotes, with two escapes (RFC 9651 §4.2.5).
    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(string),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => string.push(char::from(escaped)),
                    _ => return None,
                },
                byte @ b' '..=b'~' => string.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    /// A word; its first byte has been looked at (RFC 9651 §4.2.6).
    fn token(&mut self) -> String {
        ascii(self.take_while(|byte| list::is_token_byte(byte) || matches!(byte, b':' | b'/')))
    }

    /// Base64 between colons (RFC 9651 §4.2.7).
    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.expect(b':')?;
        let encoded = self.take_while(|byte| byte != b':');
        self.expect(b':')?;
        base64(encoded)
    }

    /// `?1` or `?0` (RFC 9651 §4.2.8).
    fn boolean(&mut self) -> Option<bool> {
        self.expect(b'?')?;
        match self.next()? {
            b'1' => Some(true),
            b'0' => Some(false),
            _ => None,
        }
    }

    /// An integer behind `@` (RFC 9651 §4.2.9).
    fn date(&mut self) -> Option<i64> {
        self.expect(b'@')?;
        match self.number()? {
            BareItem::Integer(seconds) => Some(seconds),
            _ => None,
        }
    }

    /// Percent-encoded UTF-8 behind `%` (RFC 9651 §4.2.10).
    fn display_string(&mut self) -> Option<String> {
        self.expect(b'%')?;
        self.expect(b'"')?;
        let mut decoded = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(decoded).ok(),
                b'%' => {
                    let (high, low) = (hex(self.next()?)?, hex(self.next()?)?);
                    decoded.push(high << 4 | low);
                }
                byte @ b' '..=b'~' => decoded.push(byte),
                _ => return None,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|&byte| !wanted(byte))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(|byte| byte == b' ');
    }

    fn skip_whitespace(&mut self) {
        self.take_while(list::is_whitespace);
    }
}

/// Bytes already known to be ASCII, as text.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The value of these digits, which the caller has counted: 15 at most.
fn decimal(digits: &[u8]) -> i64 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// The value of a hexadecimal digit in lower case.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Decodes base64 with its padding or without any, whatever its unused bits are (RFC 9651 §4.2.7, RFC 4648 §4).
fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    let end = encoded
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(encoded.len());
    let (symbols, padding) = encoded.split_at(end);
    let whole = match padding {
        b"" => symbols.len() % 4 != 1,
        b"=" | b"==" => encoded.len().is_multiple_of(4),
        _ => false,
    };
    if !whole {
        return None;
    }
    let mut decoded = Vec::with_capacity(symbols.len() * 3 / 4);
    for group in symbols.chunks(4) {
        let mut bits = 0;
        for &symbol in group {
            bits = bits << 6 | symbol_bits(symbol)?;
        }
        bits <<= 6 * (4 - group.len());
        // Four symbols are three bytes, three are two, two are one.
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}

/// The six bits one symbol of base64 stands for (RFC 4648 §4).
fn symbol_bits(symbol: u8) -> Option<u32> {
    let bits = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(bits))
}

#[cfg(test)]
mod tests;
