//! A line reader of playlists that loses nothing: unknown tags, their order, comments and line ends all come out again.

use std::fmt;

use crate::limits;
use crate::playlist::attribute::{AttributeError, AttributeList};
use crate::playlist::value::Uri;

/// What is wrong with a line, or with the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadErrorKind {
    /// The first line is not `#EXTM3U` (HLS-001). A byte order mark before it counts as this, too (HLS-002).
    #[error("the first line is not #EXTM3U")]
    NotAPlaylist,
    /// A byte sequence is not UTF-8 (HLS-002).
    #[error("not UTF-8")]
    Encoding,
    /// A control character, or a CR that no LF follows (HLS-002).
    #[error("a control character")]
    Control,
    /// More than [`limits::PLAYLIST_BYTES`].
    #[error("the playlist is longer than {} bytes", limits::PLAYLIST_BYTES)]
    TooLong,
    /// More than [`limits::PLAYLIST_LINES`].
    #[error("the playlist has more than {} lines", limits::PLAYLIST_LINES)]
    TooManyLines,
    /// More than [`limits::PLAYLIST_LINE_BYTES`].
    #[error("the line is longer than {} bytes", limits::PLAYLIST_LINE_BYTES)]
    LineTooLong,
}

/// Bytes that are not a playlist, or not one of a size that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ReadError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ReadErrorKind,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A line that begins `#EXT`.
    Tag {
        /// The name without `#`, up to the first colon: `EXT-X-KEY`.
        name: String,
        /// What follows the colon; `None` without one.
        value: Option<String>,
    },
    /// A URI: any other line that does not begin with `#`, as it stands.
    Uri(String),
    /// A line that begins `#` and is no tag; the text after `#`.
    Comment(String),
    /// An empty line.
    Blank,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Lf,
    CrLf,
    /// The playlist stops here.
    None,
}

/// A line of a playlist. Only what was read and what was checked can be in it, so it can never print as two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    content: Content,
    end: End,
}

impl Line {
    /// What the line says.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The name and value of a tag.
    #[must_use]
    pub fn tag(&self) -> Option<(&str, Option<&str>)> {
        match &self.content {
            Content::Tag { name, value } => Some((name, value.as_deref())),
            _ => None,
        }
    }

    /// The attribute list of a tag; of a tag without a value, the error of an empty list. `None` when the line is no tag.
    pub fn attributes(&self) -> Option<Result<AttributeList, AttributeError>> {
        self.tag().map(|(_, value)| AttributeList::parse(value.unwrap_or_default()))
    }

    /// Gives a tag another attribute list; changes nothing on a line that is no tag.
    pub fn set_attributes(&mut self, list: &AttributeList) {
        if let Content::Tag { value, .. } = &mut self.content {
            *value = Some(list.to_string());
        }
    }

    /// Gives a URI line another URI; changes nothing on any other line.
    pub fn set_uri(&mut self, uri: &Uri) {
        if let Content::Uri(old) = &mut self.content {
            *old = uri.to_string();
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Tag { name, value: Some(value) } => write!(f, "#{name}:{value}")?,
            Content::Tag { name, value: None } => write!(f, "#{name}")?,
            Content::Uri(uri) => f.write_str(uri)?,
            Content::Comment(text) => write!(f, "#{text}")?,
            Content::Blank => {}
        }
        f.write_str(match self.end {
            End::Lf => "\n",
            End::CrLf => "\r\n",
            End::None => "",
        })
    }
}

/// A playlist as its lines. Line `n` of the text is `lines[n - 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    /// The lines in order; the first is EXTM3U.
    pub lines: Vec<Line>,
}

impl Playlist {
    /// Reads a media or multivariant playlist. What the tags mean, and whether they go together, is not looked at.
    ///
    /// # Errors
    /// The first line that cannot be one of a playlist (HLS-001 to HLS-003), or that is beyond a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        if bytes.len() > limits::PLAYLIST_BYTES {
            return Err(ReadError { line: 1, kind: ReadErrorKind::TooLong });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            ReadError { line, kind: ReadErrorKind::Encoding }
        })?;
        let mut lines = Vec::new();
        for (line, text) in (1..).zip(text.split_inclusive('\n')) {
            lines.push(self::line(line, text).map_err(|kind| ReadError { line, kind })?);
        }
        if lines.is_empty() {
            return Err(ReadError { line: 1, kind: ReadErrorKind::NotAPlaylist });
        }
        Ok(Self { lines })
    }

    /// The playlist's text: byte for byte what was read, but for what was changed since.
    #[must_use]
    pub fn render(&self) -> String {
        self.lines.iter().map(Line::to_string).collect()
    }
}

/// Reads line `number` (from 1), its end included.
fn line(number: usize, text: &str) -> Result<Line, ReadErrorKind> {
    let (text, end) = match text.strip_suffix('\n') {
        Some(text) => text.strip_suffix('\r').map_or((text, End::Lf), |text| (text, End::CrLf)),
        None => (text, End::None),
    };
    if number == 1 && text != "#EXTM3U" {
        return Err(ReadErrorKind::NotAPlaylist);
    }
    if number > limits::PLAYLIST_LINES {
        return Err(ReadErrorKind::TooManyLines);
    }
    if text.len() > limits::PLAYLIST_LINE_BYTES {
        return Err(ReadErrorKind::LineTooLong);
    }
    if text.contains(char::is_control) {
        return Err(ReadErrorKind::Control);
    }
    let content = match text.strip_prefix('#') {
        Some(tag) if tag.starts_with("EXT") => match tag.split_once(':') {
            Some((name, value)) => Content::Tag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Content::Tag { name: tag.to_owned(), value: None },
        },
        Some(comment) => Content::Comment(comment.to_owned()),
        None if text.is_empty() => Content::Blank,
        None => Content::Uri(text.to_owned()),
    };
    Ok(Line { content, end })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playlist::value::QuotedString;

    fn fails(bytes: &[u8]) -> (usize, ReadErrorKind) {
        let error = Playlist::parse(bytes).unwrap_err();
        (error.line, error.kind)
    }

    #[test]
    fn every_kind_of_line_is_told_apart() {
        let text = "#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n# EXT\n#EXTINF:6.0,a:b\n\na b#c.ts\n#EXT-UNKNOWN:\n#";
        let contents: Vec<Content> =
            Playlist::parse(text.as_bytes()).unwrap().lines.into_iter().map(|l| l.content).collect();
        let tag =
            |name: &str, value: Option<&str>| Content::Tag { name: name.to_owned(), value: value.map(str::to_owned) };
        assert_eq!(
            contents,
            [
                tag("EXTM3U", None),
                tag("EXT-X-KEY", Some("METHOD=NONE")),
                Content::Comment(" EXT".to_owned()),
                tag("EXTINF", Some("6.0,a:b")),
                Content::Blank,
                Content::Uri("a b#c.ts".to_owned()),
                tag("EXT-UNKNOWN", Some("")),
                Content::Comment(String::new()),
            ]
        );
    }

    #[test]
    fn line_ends_survive() {
        for text in
            ["#EXTM3U\n", "#EXTM3U", "#EXTM3U\r\n\r\na.ts\r\n", "#EXTM3U\r\n#EXT-X-ENDLIST\n\n", "#EXTM3U\na.ts"]
        {
            assert_eq!(Playlist::parse(text.as_bytes()).unwrap().render(), text);
        }
    }

    #[test]
    fn faults_are_found_on_their_line() {
        use ReadErrorKind::{Control, Encoding, LineTooLong, NotAPlaylist, TooLong, TooManyLines};
        assert_eq!(fails(b""), (1, NotAPlaylist));
        assert_eq!(fails(b"\n#EXTM3U\n"), (1, NotAPlaylist));
        assert_eq!(fails(b"\xef\xbb\xbf#EXTM3U\n"), (1, NotAPlaylist));
        assert_eq!(fails(b"#EXTM3U \n"), (1, NotAPlaylist));
        assert_eq!(fails(b"<html>\n"), (1, NotAPlaylist));
        assert_eq!(fails(b"#EXTM3U\n\na\xff.ts\n"), (3, Encoding));
        assert_eq!(fails(b"#EXTM3U\na\rb\n"), (2, Control));
        assert_eq!(fails(b"#EXTM3U\na\r"), (2, Control));
        assert_eq!(fails(b"#EXTM3U\na\0\n"), (2, Control));
        assert_eq!(fails("#EXTM3U\na\u{85}\n".as_bytes()), (2, Control));
        let line = |length| format!("#EXTM3U\n{}\r\n", "a".repeat(length));
        assert!(Playlist::parse(line(limits::PLAYLIST_LINE_BYTES).as_bytes()).is_ok());
        assert_eq!(fails(line(limits::PLAYLIST_LINE_BYTES + 1).as_bytes()), (2, LineTooLong));
        let lines = |count: usize| format!("#EXTM3U{}", "\n".repeat(count));
        assert!(Playlist::parse(lines(limits::PLAYLIST_LINES).as_bytes()).is_ok());
        assert_eq!(fails(lines(limits::PLAYLIST_LINES + 1).as_bytes()), (limits::PLAYLIST_LINES + 1, TooManyLines));
        assert_eq!(fails(&vec![b'a'; limits::PLAYLIST_BYTES + 1]), (1, TooLong));
    }

    #[test]
    fn a_key_uri_is_rewritten_and_nothing_else() {
        let text = "#EXTM3U\r\n#EXT-X-NEW:A=1\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"a\",IV=0xAB\r\n#EXTINF:6,\r\n0.ts\r\n";
        let mut playlist = Playlist::parse(text.as_bytes()).unwrap();
        for line in &mut playlist.lines {
            if matches!(line.tag(), Some(("EXT-X-KEY", _))) {
                let mut list = line.attributes().unwrap().unwrap();
                list.replace("URI", QuotedString::new("/v1/keys/k?token=t").unwrap());
                line.set_attributes(&list);
            }
            line.set_uri(&Uri::new("x/0.ts").unwrap());
        }
        assert_eq!(playlist.render(), text.replace("\"a\"", "\"/v1/keys/k?token=t\"").replace("0.ts", "x/0.ts"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_renders_as_it_was(body in "(#EXT[A-Z-]{0,5}(:[^\r\n]{0,9})?|#?[^\r\n]{0,9}|\r?\n){0,20}") {
            let text = format!("#EXTM3U\n{body}");
            if let Ok(playlist) = Playlist::parse(text.as_bytes()) {
                prop_assert_eq!(playlist.render(), text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Playlist::parse(&body);
            let _ = Playlist::parse(&[b"#EXTM3U\n", body.as_slice()].concat());
        }
    }
}
