//! The values that a playlist may carry, each checked once when it is made (spec HLS-002, HLS-007, HLS-008, HLS-009).
//!
//! A `u64` always prints as a decimal-integer (HLS-009), so plain numbers have no type of their own.

use std::fmt;

use crate::limits;

/// Why a text cannot be a playlist value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text is empty (HLS-007).
    #[error("{what} is empty")]
    Empty {
        /// The kind of value, for the message.
        what: &'static str,
    },
    /// The text is longer than [`limits::PLAYLIST_VALUE_BYTES`].
    #[error("{what} is {bytes} bytes long, the limit is {}", limits::PLAYLIST_VALUE_BYTES)]
    TooLong {
        /// The kind of value.
        what: &'static str,
        /// The length of the text in bytes.
        bytes: usize,
    },
    /// A character that could end the value, the attribute or the line early, or that the standard does not allow there.
    #[error("{what} has the character {character:?} at byte {at}, which is not allowed there")]
    Forbidden {
        /// The kind of value.
        what: &'static str,
        /// The character.
        character: char,
        /// Its offset in the text in bytes.
        at: usize,
    },
    /// A number is outside its range.
    #[error("{what} must be {range}")]
    Range {
        /// The kind of value.
        what: &'static str,
        /// The range in words.
        range: &'static str,
    },
}

fn checked(what: &'static str, text: String, allowed: impl Fn(char) -> bool) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::Empty { what });
    }
    if text.len() > limits::PLAYLIST_VALUE_BYTES {
        return Err(ValueError::TooLong { what, bytes: text.len() });
    }
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((at, character)) => Err(ValueError::Forbidden { what, character, at }),
        None => Ok(text),
    }
}

/// Whether `c` is one of RFC 3986's characters of a URI (section 2): everything else is to be percent-encoded.
fn is_uri_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text as it is written, without quotes.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A quoted-string of an attribute list, without its quotes (HLS-007).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuotedString(String);

impl QuotedString {
    /// Checks `text`.
    ///
    /// # Errors
    /// Refuses empty and overlong text, `"`, control characters (U+0000-1F, 7F-9F: HLS-002) and the line separators U+2028
    /// and U+2029, at which players that match lines with JavaScript regular expressions stop.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        let allowed = |c: char| c != '"' && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
        checked("quoted string", text.into(), allowed).map(Self)
    }
}

text!(QuotedString);

/// A URI reference on a line of its own (RFC 3986, HLS-012).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uri(String);

impl Uri {
    /// Checks `text`.
    ///
    /// # Errors
    /// Refuses empty and overlong text, a leading `#` (the line would be a tag or a comment) or `,` (some readers drop it: write
    /// `./,`), and every character outside RFC 3986's set (spaces, quotes, control and non-ASCII characters), which is to be
    /// percent-encoded first.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        uri("URI", text.into()).map(Self)
    }
}

text!(Uri);

/// The URI of a key, written as a quoted-string in EXT-X-KEY and EXT-X-SESSION-KEY (KEY-005).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyUri(String);

impl KeyUri {
    /// Checks `text`.
    ///
    /// # Errors
    /// As [`Uri::new`]; a leading `#` would name the playlist itself as its key.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        uri("key URI", text.into()).map(Self)
    }
}

text!(KeyUri);

fn uri(what: &'static str, text: String) -> Result<String, ValueError> {
    let text = checked(what, text, is_uri_character)?;
    match text.chars().next() {
        // A comma is RFC 3986's, but m3u8-rs takes it for the end of the EXTINF on the line above, and what follows for a line.
        Some(character @ ('#' | ',')) => Err(ValueError::Forbidden { what, character, at: 0 }),
        _ => Ok(text),
    }
}

/// One entry of CODECS, such as `avc1.64001f` (RFC 6381). A comma cannot be in it: it would make two of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodecString(String);

impl CodecString {
    /// Checks `text`.
    ///
    /// # Errors
    /// Refuses empty and overlong text, and all but ASCII letters, digits, `.`, `-`, `_` and `+`.
    pub fn new(text: impl Into<String>) -> Result<Self, ValueError> {
        checked("codec string", text.into(), |c| c.is_ascii_alphanumeric() || ".-_+".contains(c)).map(Self)
    }

    /// Whether the first part names an audio codec that a transport stream can carry.
    pub(crate) fn is_audio(&self) -> bool {
        let format = self.0.split('.').next().unwrap_or_default();
        ["mp4a", "ac-3", "ec-3", "ac-4", "Opus", "opus", "fLaC", "dtsc", "dtsh", "dtse", "dtsx"].contains(&format)
    }
}

text!(CodecString);

/// A decimal-resolution: the picture's size in pixels (HLS 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Frames per second as a fraction, printed with three decimals (MVP-007).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    numerator: u32,
    denominator: u32,
}

impl FrameRate {
    /// The rate of `numerator / denominator` frames per second.
    ///
    /// # Errors
    /// Refuses a zero on either side, and a rate that would print as `0.000`.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, ValueError> {
        let rate = Self { numerator, denominator };
        if denominator == 0 || rate.thousandths() == 0 {
            return Err(ValueError::Range { what: "frame rate", range: "at least 0.001 frames per second" });
        }
        Ok(rate)
    }

    fn thousandths(self) -> u64 {
        let denominator = u64::from(self.denominator.max(1));
        (u64::from(self.numerator) * 1000 + denominator / 2) / denominator
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = self.thousandths();
        write!(f, "{}.{:03}", thousandths / 1000, thousandths % 1000)
    }
}

/// VIDEO-RANGE (MVP-008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VideoRange {
    /// Standard dynamic range; what a missing attribute means.
    #[default]
    Sdr,
    /// Hybrid log-gamma (transfer characteristics 18).
    Hlg,
    /// Perceptual quantizer (transfer characteristics 16).
    Pq,
}

impl fmt::Display for VideoRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdr => "SDR",
            Self::Hlg => "HLG",
            Self::Pq => "PQ",
        })
    }
}

/// INSTREAM-ID of a closed-caption rendition (MVP-010).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstreamId(Instream);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Instream {
    Cc(u8),
    Service(u8),
}

impl InstreamId {
    /// Line 21 channel `number` (`CC1` to `CC4`).
    ///
    /// # Errors
    /// Refuses a number outside 1 to 4.
    pub fn cc(number: u8) -> Result<Self, ValueError> {
        match number {
            1..=4 => Ok(Self(Instream::Cc(number))),
            _ => Err(ValueError::Range { what: "line 21 caption channel", range: "1 to 4" }),
        }
    }

    /// Digital television caption service `number` (`SERVICE1` to `SERVICE63`); makes the playlist version 7 (VER-07).
    ///
    /// # Errors
    /// Refuses a number outside 1 to 63.
    pub fn service(number: u8) -> Result<Self, ValueError> {
        match number {
            1..=63 => Ok(Self(Instream::Service(number))),
            _ => Err(ValueError::Range { what: "caption service", range: "1 to 63" }),
        }
    }

    pub(crate) const fn is_service(self) -> bool {
        matches!(self.0, Instream::Service(_))
    }
}

impl fmt::Display for InstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Instream::Cc(number) => write!(f, "CC{number}"),
            Instream::Service(number) => write!(f, "SERVICE{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_refuse_what_ends_them() {
        for bad in ["\"", "a\nb", "a\rb", "\u{0}", "\u{7f}", "\u{85}", "\u{9f}", "\t", "\u{2028}"] {
            assert!(matches!(QuotedString::new(bad), Err(ValueError::Forbidden { .. })), "{bad:?}");
        }
        assert_eq!(QuotedString::new(""), Err(ValueError::Empty { what: "quoted string" }));
        for good in ["English", "Français, 5.1", "a=b", "\u{a0}", "日本語"] {
            assert_eq!(QuotedString::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn uris_refuse_what_is_not_rfc_3986() {
        for bad in ["#EXTM3U", "a b", "a\n#EXT-X-ENDLIST", "a\"", "é", "a\\b", "<", "{x}", ",a", "\u{feff}a"] {
            assert!(matches!(Uri::new(bad), Err(ValueError::Forbidden { .. })), "{bad:?}");
            assert!(matches!(KeyUri::new(bad), Err(ValueError::Forbidden { .. })), "{bad:?}");
        }
        for good in ["00000.ts", "../a/b%20c.ts?x=1&y=2#f", "https://u@[::1]:8484/v1/keys/k-1", "/v1/keys/a"] {
            assert_eq!(Uri::new(good).unwrap().as_str(), good);
            assert_eq!(KeyUri::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn values_have_a_longest_length() {
        assert!(Uri::new("a".repeat(limits::PLAYLIST_VALUE_BYTES)).is_ok());
        assert!(matches!(Uri::new("a".repeat(limits::PLAYLIST_VALUE_BYTES + 1)), Err(ValueError::TooLong { .. })));
    }

    #[test]
    fn an_error_says_where() {
        let error = Uri::new("seg ment.ts").unwrap_err();
        assert_eq!(error.to_string(), "URI has the character ' ' at byte 3, which is not allowed there");
    }

    #[test]
    fn a_codec_is_one_codec() {
        assert!(CodecString::new("avc1.64001f,mp4a.40.2").is_err());
        assert!(!CodecString::new("hvc1.1.6.L93.B0").unwrap().is_audio());
        assert!(CodecString::new("mp4a.40.2").unwrap().is_audio());
        assert!(CodecString::new("ac-3").unwrap().is_audio());
    }

    #[test]
    fn frame_rates_print_three_decimals() {
        let printed = |n, d| FrameRate::new(n, d).map(|rate| rate.to_string());
        assert_eq!(printed(30000, 1001), Ok("29.970".to_owned()));
        assert_eq!(printed(24000, 1001), Ok("23.976".to_owned()));
        assert_eq!(printed(60000, 1001), Ok("59.940".to_owned()));
        assert_eq!(printed(25, 1), Ok("25.000".to_owned()));
        assert_eq!(printed(u32::MAX, 1), Ok("4294967295.000".to_owned()));
        for (n, d) in [(0, 1), (25, 0), (0, 0), (1, u32::MAX)] {
            assert!(printed(n, d).is_err());
        }
    }

    #[test]
    fn instream_ids_stay_in_range() {
        assert_eq!(InstreamId::cc(1).unwrap().to_string(), "CC1");
        assert_eq!(InstreamId::service(63).unwrap().to_string(), "SERVICE63");
        for bad in [InstreamId::cc(0), InstreamId::cc(5), InstreamId::service(0), InstreamId::service(64)] {
            assert!(bad.is_err());
        }
    }
}
