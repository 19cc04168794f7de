//! `Range` (RFC 9110 section 14): one byte range of a file, or none.

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

use crate::server::validator::EntityTag;

/// What a request's `Range` field comes to for a file of a known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// No range, or a field that a server may ignore: malformed, another unit, several ranges.
    Whole,
    /// These bytes, at least one.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A range that the file has no byte of: status 416.
    Unsatisfiable,
}

/// Reads the field of a GET request. `If-Range` (RFC 9110 section 13.1.5) leaves it in force only when it names the
/// representation's own strong tag: whoever has a part of other bytes is given the whole.
pub(super) fn select(headers: &HeaderMap, file_length: u64, tag: Option<&EntityTag>) -> Selection {
    let mut fields = headers.get_all(RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Selection::Whole;
    };
    let mut conditions = headers.get_all(IF_RANGE).iter();
    let holds = match (conditions.next(), conditions.next()) {
        (None, _) => true,
        (Some(condition), None) => tag.is_some_and(|tag| condition.to_str().is_ok_and(|text| tag.is_strongly(text))),
        (Some(_), Some(_)) => false,
    };
    if !holds {
        return Selection::Whole;
    }
    field.to_str().ok().and_then(|text| parse(text, file_length)).unwrap_or(Selection::Whole)
}

/// `None` for what is not a single byte range.
fn parse(text: &str, file_length: u64) -> Option<Selection> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (start, end) = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(suffix)) => (file_length.saturating_sub(suffix), file_length),
        (Some(first), None) => (first, file_length),
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(file_length)),
        (Some(_), Some(_)) => return None,
    };
    Some(match end.checked_sub(start) {
        None | Some(0) => Selection::Unsatisfiable,
        Some(length) => Selection::Part { start, length },
    })
}

/// `Some(None)` for no digits at all, `None` for anything but digits. A number beyond 64 bits is beyond every file.
fn number(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::Selection::{Part, Unsatisfiable, Whole};
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn of(text: &str, length: u64) -> Selection {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
        select(&headers, length, None)
    }

    #[test]
    fn ranges_of_rfc_9110() {
        // The examples of RFC 9110 section 14.1.2, for its file of 10,000 bytes.
        assert_eq!(of("bytes=0-499", 10_000), Part { start: 0, length: 500 });
        assert_eq!(of("bytes=500-999", 10_000), Part { start: 500, length: 500 });
        assert_eq!(of("bytes=-500", 10_000), Part { start: 9_500, length: 500 });
        assert_eq!(of("bytes=9500-", 10_000), Part { start: 9_500, length: 500 });
        assert_eq!(of("bytes=0-0,-1", 10_000), Whole);
        assert_eq!(of("bytes= 0-0, -2", 10_000), Whole);
    }

    #[test]
    fn odd_ranges() {
        for (text, expected) in [
            ("BYTES=0-0", Part { start: 0, length: 1 }),
            ("bytes=9-99", Part { start: 9, length: 1 }),
            ("bytes=-99", Part { start: 0, length: 10 }),
            ("bytes=0-18446744073709551615", Part { start: 0, length: 10 }),
            ("bytes=0-99999999999999999999999", Part { start: 0, length: 10 }),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1--2", Whole),
            ("bytes=0x1-2", Whole),
            ("packets=0-1", Whole),
            ("bytes=0-1,3-4", Whole),
        ] {
            assert_eq!(of(text, 10), expected, "{text}");
        }
        assert_eq!(of("bytes=0-", 0), Unsatisfiable);
        assert_eq!(of("bytes=-1", 0), Unsatisfiable);
    }

    #[test]
    fn if_range_has_to_name_the_very_bytes() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let tag = EntityTag::strong("x");
        let part = Part { start: 0, length: 1 };
        for (condition, expected) in [
            ("\"x\"", part),
            ("W/\"x\"", Whole),
            ("\"y\"", Whole),
            ("x", Whole),
            ("*", Whole),
            ("\"x\", \"x\"", Whole),
            ("Sat, 21 Nov 2026 17:00:00 GMT", Whole),
        ] {
            headers.insert(IF_RANGE, HeaderValue::from_static(condition));
            assert_eq!(select(&headers, 10, Some(&tag)), expected, "{condition}");
            assert_eq!(select(&headers, 10, None), Whole, "{condition}");
            assert_eq!(select(&headers, 10, Some(&EntityTag::weak("x"))), Whole, "{condition}");
        }
        headers.append(IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(select(&headers, 10, Some(&tag)), Whole, "two conditions");
        headers.remove(IF_RANGE);
        headers.append(RANGE, HeaderValue::from_static("bytes=1-1"));
        assert_eq!(select(&headers, 10, Some(&tag)), Whole, "two ranges");
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(text in "bytes=[0-9]{0,21}-[0-9]{0,21}", length in any::<u64>()) {
            if let Part { start, length: part } = of(&text, length) {
                prop_assert!(part > 0 && start.checked_add(part).is_some_and(|end| end <= length));
            }
        }
    }
}
