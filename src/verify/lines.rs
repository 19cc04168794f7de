//! A playlist line by line. Unlike [`crate::playlist::read`] it goes on after a fault: a verifier wants all of them.

use std::borrow::Cow;

use super::finding::{Findings, Place};
use super::rule::playlist as rule;
use crate::limits;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A line that begins `#EXT`.
    Tag {
        /// The name without `#`, up to the first colon.
        name: &'a str,
        /// What follows the colon.
        value: Option<&'a str>,
    },
    /// A URI.
    Uri(&'a str),
}

/// A line that is neither blank nor a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1.
    pub number: usize,
    /// What it says.
    pub kind: Kind<'a>,
}

/// The text of a playlist; bytes that are no UTF-8 are replaced.
#[must_use]
pub fn text<'a>(bytes: &'a [u8], resource: &str, findings: &mut Findings) -> Cow<'a, str> {
    let place = || Place::of(resource);
    let mut bytes = bytes;
    if bytes.len() > limits::PLAYLIST_BYTES {
        findings.add(&rule::SIZE, place(), format!("{} bytes", bytes.len()));
        bytes = bytes.get(..limits::PLAYLIST_BYTES).unwrap_or_default();
    }
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        findings.add(&rule::BOM, place().line(1), "EF BB BF before the first line");
        bytes = rest;
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        findings.add(&rule::ENCODING, place().line(line), format!("byte {} of the file", error.valid_up_to()));
    }
    String::from_utf8_lossy(bytes)
}

/// Whether `text` can be a playlist at all, by its first line.
#[must_use]
pub fn is_playlist(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"#EXTM3U")
}

/// The lines of a playlist in order, with what is wrong with each as a line.
#[must_use]
pub fn lines<'a>(text: &'a str, resource: &str, findings: &mut Findings) -> Vec<Line<'a>> {
    let mut out = Vec::new();
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let place = || Place::of(resource).line(number);
        if number > limits::PLAYLIST_LINES {
            findings.add(&rule::SIZE, place(), format!("more than {} lines", limits::PLAYLIST_LINES));
            break;
        }
        let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        if number == 1 && line != "#EXTM3U" {
            findings.add(&rule::HEADER, place(), format!("it is {line:?}"));
        }
        if line.len() > limits::PLAYLIST_LINE_BYTES {
            findings.add(&rule::SIZE, place(), format!("a line of {} bytes", line.len()));
            continue;
        }
        if let Some(c) = line.chars().find(|c| c.is_control()) {
            findings.add(&rule::CONTROL, place(), format!("U+{:04X}", u32::from(c)));
        }
        let trimmed = line.trim();
        let comment = trimmed.starts_with('#') && !trimmed.starts_with("#EXT");
        if trimmed.len() != line.len() && !comment {
            findings.add(&rule::SPACE, place(), "white space at the line's beginning or end");
        }
        if trimmed.is_empty() {
            continue;
        }
        let kind = match trimmed.strip_prefix('#') {
            Some(tag) if tag.starts_with("EXT") => match tag.split_once(':') {
                Some((name, value)) => Kind::Tag { name, value: Some(value) },
                None => Kind::Tag { name: tag, value: None },
            },
            Some(_) => continue,
            None => Kind::Uri(trimmed),
        };
        out.push(Line { number, kind });
    }
    if text.is_empty() {
        findings.add(&rule::HEADER, Place::of(resource).line(1), "the file is empty");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::finding::Severity;
    use crate::verify::rule::Profile;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> (usize, Vec<&'static str>) {
        let mut findings = Findings::new(Profile::Rfc);
        let text = text(bytes, "x", &mut findings);
        let count = lines(&text, "x", &mut findings).len();
        (count, findings.sorted().iter().map(|finding| finding.rule.id).collect())
    }

    #[test]
    fn faults_do_not_end_the_reading() {
        assert_eq!(read(b"#EXTM3U\n#EXTINF:1,\r\na.ts\n\n# c \n"), (3, vec![]));
        assert_eq!(read(b"\xef\xbb\xbf#EXTM3U\na.ts"), (2, vec!["playlist-bom"]));
        assert_eq!(
            read(b"a.ts\n b\xff.ts\nc\x07.ts"),
            (3, vec!["playlist-encoding", "playlist-header", "playlist-space", "playlist-control"])
        );
        assert_eq!(read(b""), (0, vec!["playlist-header"]));
        assert_eq!(read(b"#EXTM3U\ra\n").1[..2], ["playlist-header", "playlist-control"]);
    }

    #[test]
    fn a_bomb_of_tags_is_cut_off() {
        let bomb = format!("#EXTM3U\n{}", "#EXT-X-GAP\n".repeat(limits::PLAYLIST_LINES + 5));
        let (count, rules) = read(bomb.as_bytes());
        assert_eq!((count, rules), (limits::PLAYLIST_LINES, vec!["playlist-size"]));
        let long = format!("#EXTM3U\n#EXT-X-KEY:{}\n", "A=1,".repeat(limits::PLAYLIST_LINE_BYTES));
        assert_eq!(read(long.as_bytes()), (1, vec!["playlist-size"]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&body);
            read(&[b"#EXTM3U\n#EXT", body.as_slice()].concat());
        }
    }

    #[test]
    fn severities_are_those_of_the_catalogue() {
        let mut findings = Findings::new(Profile::Apple);
        let _ = text(b"\xef\xbb\xbf", "x", &mut findings);
        assert_eq!(findings.count(Severity::Error), 1);
    }
}
