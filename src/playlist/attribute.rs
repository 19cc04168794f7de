//! Attribute lists as they are read: names and values in order, nothing normalised (spec HLS-003, HLS-006 to HLS-009).

use std::fmt;

use crate::limits;
use crate::playlist::value::QuotedString;

/// What is wrong with an attribute list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributeErrorKind {
    /// No `=` follows the name, or the name is empty or not of `A-Z 0-9 -` (HLS-006).
    #[error("an attribute name of A-Z, 0-9 and - with a = is expected")]
    Name,
    /// The name was there before (HLS-006).
    #[error("the attribute is there twice")]
    Duplicate,
    /// The quoted-string has no end, or a control character in it (HLS-007).
    #[error("the quoted string does not end, or has a control character")]
    Quoted,
    /// The value without quotes is empty or has white space or a quote in it (HLS-003).
    #[error("a value without white space or quotes is expected")]
    Token,
    /// Something other than a comma follows a quoted-string.
    #[error("a comma or the end is expected")]
    Separator,
    /// There are more than [`limits::PLAYLIST_ATTRIBUTES`] attributes.
    #[error("there are more than {} attributes", limits::PLAYLIST_ATTRIBUTES)]
    TooMany,
}

/// A text that is not an attribute list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute list, byte {at}: {kind}")]
pub struct AttributeError {
    /// Where the attribute or the value begins, in bytes from the start of the list.
    pub at: usize,
    /// What is wrong there.
    pub kind: AttributeErrorKind,
}

/// The value of an attribute. Which type a value without quotes has depends on the attribute, so it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A quoted-string, without its quotes. May be empty: only some attributes forbid that.
    Quoted(String),
    /// Anything else: enumerated-string, decimal or hexadecimal number, resolution.
    Token(String),
}

impl AttributeValue {
    /// The text of a quoted-string.
    #[must_use]
    pub fn quoted(&self) -> Option<&str> {
        match self {
            Self::Quoted(text) => Some(text),
            Self::Token(_) => None,
        }
    }

    /// The text of a value without quotes.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Quoted(_) => None,
            Self::Token(text) => Some(text),
        }
    }

    /// The value as a decimal-integer: 1 to 20 digits, at most 2^64-1 (HLS-009).
    #[must_use]
    pub fn integer(&self) -> Option<u64> {
        let digits = self.token().filter(|text| text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok()
    }

    /// The value as a decimal-floating-point: digits with at most one point, no sign, no exponent (HLS-009).
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        let (whole, fraction) = self.token().map(|text| text.split_once('.').unwrap_or((text, "0")))?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits(whole) && digits(fraction) { self.token()?.parse().ok() } else { None }
    }

    /// The digits of a hexadecimal-sequence, without `0x`; both cases are taken (HLS-008, AMB-05).
    #[must_use]
    pub fn hexadecimal(&self) -> Option<&str> {
        let text = self.token()?;
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quoted(text) => write!(f, "\"{text}\""),
            Self::Token(text) => f.write_str(text),
        }
    }
}

/// The attributes of one tag, in order. Prints as the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeList {
    attributes: Vec<(String, AttributeValue)>,
}

impl AttributeList {
    /// Reads the value of a tag such as EXT-X-KEY.
    ///
    /// # Errors
    /// The first thing that is not an attribute list by HLS 4.2, and where.
    pub fn parse(text: &str) -> Result<Self, AttributeError> {
        let mut attributes: Vec<(String, AttributeValue)> = Vec::new();
        let mut rest = text;
        loop {
            let at = text.len() - rest.len();
            let error = |kind| AttributeError { at, kind };
            if attributes.len() == limits::PLAYLIST_ATTRIBUTES {
                return Err(error(AttributeErrorKind::TooMany));
            }
            let (name, after) = rest.split_once('=').ok_or(error(AttributeErrorKind::Name))?;
            if !is_name(name) {
                return Err(error(AttributeErrorKind::Name));
            }
            if attributes.iter().any(|(known, _)| known == name) {
                return Err(error(AttributeErrorKind::Duplicate));
            }
            let at = text.len() - after.len();
            let (value, after) = value(after).map_err(|kind| AttributeError { at, kind })?;
            attributes.push((name.to_owned(), value));
            if after.is_empty() {
                return Ok(Self { attributes });
            }
            let at = text.len() - after.len();
            rest = after.strip_prefix(',').ok_or(AttributeError { at, kind: AttributeErrorKind::Separator })?;
        }
    }

    /// The value of the attribute `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All attributes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Gives the attribute `name` another quoted value, in its place; whether it was there.
    pub fn replace(&mut self, name: &str, value: QuotedString) -> bool {
        let found = self.attributes.iter_mut().find(|(known, _)| known == name);
        found.map(|(_, old)| *old = AttributeValue::Quoted(value.to_string())).is_some()
    }
}

impl fmt::Display for AttributeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.attributes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
}

/// The value at the start of `text`, and what follows it.
fn value(text: &str) -> Result<(AttributeValue, &str), AttributeErrorKind> {
    if let Some(text) = text.strip_prefix('"') {
        let (value, after) = text.split_once('"').ok_or(AttributeErrorKind::Quoted)?;
        if value.contains(char::is_control) {
            return Err(AttributeErrorKind::Quoted);
        }
        return Ok((AttributeValue::Quoted(value.to_owned()), after));
    }
    let (value, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    if value.is_empty() || value.contains(|c: char| c == '"' || c.is_whitespace() || c.is_control()) {
        return Err(AttributeErrorKind::Token);
    }
    Ok((AttributeValue::Token(value.to_owned()), after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(text: &str) -> (usize, AttributeErrorKind) {
        let error = AttributeList::parse(text).unwrap_err();
        (error.at, error.kind)
    }

    #[test]
    fn commas_and_equals_signs_in_quotes_are_text() {
        let text = "METHOD=AES-128,URI=\"/k?a=1,b=2\",IV=0x0aF,X-=\"\"";
        let list = AttributeList::parse(text).unwrap();
        assert_eq!(list.to_string(), text);
        assert_eq!(list.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["METHOD", "URI", "IV", "X-"]);
        assert_eq!(list.get("URI").unwrap().quoted(), Some("/k?a=1,b=2"));
        assert_eq!(list.get("METHOD").unwrap().token(), Some("AES-128"));
        assert_eq!(list.get("IV").unwrap().hexadecimal(), Some("0aF"));
        assert_eq!(list.get("X-").unwrap().quoted(), Some(""));
        assert_eq!(list.get("uri"), None);
    }

    #[test]
    fn faults_are_found_where_they_are() {
        use AttributeErrorKind::{Duplicate, Name, Quoted, Separator, Token, TooMany};
        assert_eq!(kind(""), (0, Name));
        assert_eq!(kind("A"), (0, Name));
        assert_eq!(kind("=1"), (0, Name));
        assert_eq!(kind("a=1"), (0, Name));
        assert_eq!(kind("A =1"), (0, Name));
        assert_eq!(kind("A=1,"), (4, Name));
        assert_eq!(kind("A=1, B=2"), (4, Name));
        assert_eq!(kind("A=1,A=2"), (4, Duplicate));
        assert_eq!(kind("A="), (2, Token));
        assert_eq!(kind("A=,B=1"), (2, Token));
        assert_eq!(kind("A= 1"), (2, Token));
        assert_eq!(kind("A=x\"y\""), (2, Token));
        assert_eq!(kind("A=\"x"), (2, Quoted));
        assert_eq!(kind("A=\"x\ty\""), (2, Quoted));
        assert_eq!(kind("A=\"x\"y"), (5, Separator));
        let many: Vec<String> = (0..=limits::PLAYLIST_ATTRIBUTES).map(|n| format!("A{n}=1")).collect();
        assert_eq!(kind(&many.join(",")).1, TooMany);
        assert!(AttributeList::parse(&many[1..].join(",")).is_ok());
    }

    #[test]
    fn numbers_keep_to_the_standard() {
        let value = |text: &str| AttributeValue::Token(text.to_owned());
        assert_eq!(value("18446744073709551615").integer(), Some(u64::MAX));
        for bad in ["18446744073709551616", "+1", "-1", "1.0", "", "000000000000000000001"] {
            assert_eq!(value(bad).integer(), None, "{bad}");
        }
        assert_eq!(value("29.970").float(), Some(29.97));
        assert_eq!(value("25").float(), Some(25.0));
        for bad in ["-1.0", "1e3", "inf", "NaN", ".5", "5.", "1.2.3", ""] {
            assert_eq!(value(bad).float(), None, "{bad}");
        }
        for bad in ["0x", "ab", "0xg", "0x-1"] {
            assert_eq!(value(bad).hexadecimal(), None, "{bad}");
        }
        let quoted = AttributeValue::Quoted("1".to_owned());
        assert_eq!((quoted.integer(), quoted.float(), quoted.hexadecimal(), quoted.token()), (None, None, None, None));
    }

    #[test]
    fn a_value_is_replaced_in_its_place() {
        let mut list = AttributeList::parse("METHOD=AES-128,URI=\"a\",IV=0x0").unwrap();
        assert!(list.replace("URI", QuotedString::new("b,c").unwrap()));
        assert!(!list.replace("KEYFORMAT", QuotedString::new("x").unwrap()));
        assert_eq!(list.to_string(), "METHOD=AES-128,URI=\"b,c\",IV=0x0");
    }

    proptest! {
        #[test]
        fn what_is_accepted_prints_as_it_was(text in "([A-Z-]{1,3}=(\"[^\"\r\n]{0,4}\"|[^,\"]{0,4}),?){0,4}") {
            if let Ok(list) = AttributeList::parse(&text) {
                prop_assert_eq!(list.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = AttributeList::parse(&text);
        }
    }
}
