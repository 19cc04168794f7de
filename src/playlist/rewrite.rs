//! Puts a query behind URIs of a playlist that lead back to the server that gives it, and changes nothing else.
//!
//! Players that cannot send header fields carry a token no other way: a query is not handed on from a playlist to what
//! it names (RFC 3986 section 5.2.2, TOK-03). It is put behind the URIs of keys, and in a multivariant playlist behind
//! those of media playlists, so that their keys get it in turn. Segments keep their URIs, and caches their segments.

use url::Url;

use crate::playlist::attribute::AttributeList;
use crate::playlist::read::{Content, Playlist, ReadError};
use crate::playlist::value::{KeyUri, QuotedString, Uri, ValueError};

/// Why a playlist cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// It is no playlist.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The query holds a character that cannot stand in one (RFC 3986 section 3.4).
    #[error("the query has a character that a query cannot have")]
    Query,
    /// The URI and its query together are not one that a playlist can hold.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// What a URI of the same origin leads to, and its path, percent-encoded, dot segments removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A key: EXT-X-KEY or EXT-X-SESSION-KEY.
    Key(&'a str),
    /// A playlist: EXT-X-STREAM-INF, EXT-X-I-FRAME-STREAM-INF or EXT-X-MEDIA.
    Playlist(&'a str),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Key,
    Playlist,
}

/// The text of a playlist with the query that `query` gives for a target put behind its URI. Parameters of the same
/// names that the URI had are left out, so that none is there twice. Everything else stays byte for byte: tags that
/// are not known or cannot be read, order, comments, line ends.
///
/// `base` is where the viewer asked for the playlist. URIs are resolved against it; those that lead to another origin
/// are never asked about, and never changed.
///
/// # Errors
/// When the bytes are no playlist, or the query cannot be put behind a URI.
pub fn rewrite(bytes: &[u8], base: &Url, query: &dyn Fn(Target<'_>) -> Option<String>) -> Result<String, RewriteError> {
    let mut playlist = Playlist::parse(bytes)?;
    // The next URI is a variant's media playlist.
    let mut variant = false;
    for line in &mut playlist.lines {
        match line.content() {
            Content::Tag { name, .. } => {
                let kind = match name.as_str() {
                    "EXT-X-STREAM-INF" => {
                        variant = true;
                        continue;
                    }
                    "EXTINF" => {
                        variant = false;
                        continue;
                    }
                    "EXT-X-KEY" | "EXT-X-SESSION-KEY" => Kind::Key,
                    "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF" => Kind::Playlist,
                    _ => continue,
                };
                let Some(Ok(mut list)) = line.attributes() else { continue };
                if let Some(uri) = in_list(&list, base, kind, query)? {
                    list.replace("URI", QuotedString::new(KeyUri::new(uri)?.as_str())?);
                    line.set_attributes(&list);
                }
            }
            Content::Uri(uri) if std::mem::take(&mut variant) => {
                if let Some(uri) = with_query(uri, base, Kind::Playlist, query)? {
                    line.set_uri(&Uri::new(uri)?);
                }
            }
            _ => {}
        }
    }
    Ok(playlist.render())
}

/// The new URI of a tag, if it is to have one.
fn in_list(
    list: &AttributeList,
    base: &Url,
    kind: Kind,
    query: &dyn Fn(Target<'_>) -> Option<String>,
) -> Result<Option<String>, RewriteError> {
    match list.get("URI").and_then(|value| value.quoted()) {
        Some(uri) => with_query(uri, base, kind, query),
        None => Ok(None),
    }
}

/// The URI with its query, or `None` when it stays as it is.
fn with_query(
    uri: &str,
    base: &Url,
    kind: Kind,
    query: &dyn Fn(Target<'_>) -> Option<String>,
) -> Result<Option<String>, RewriteError> {
    // Where players differ about what a text means (spaces, backslashes, line breaks inside), nothing of the viewer's
    // is given away.
    if Uri::new(uri).is_err() {
        return Ok(None);
    }
    let Ok(resolved) = base.join(uri) else { return Ok(None) };
    let named = !resolved.username().is_empty() || resolved.password().is_some();
    if named || resolved.origin() != base.origin() || !resolved.origin().is_tuple() {
        return Ok(None);
    }
    let target = match kind {
        Kind::Key => Target::Key(resolved.path()),
        Kind::Playlist => Target::Playlist(resolved.path()),
    };
    let Some(query) = query(target) else { return Ok(None) };
    if query.is_empty() || !query.chars().all(is_query_character) {
        return Err(RewriteError::Query);
    }
    Ok(Some(append(uri, &query)))
}

/// RFC 3986 section 3.4: pchar, `/` and `?`.
fn is_query_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(c)
}

fn append(uri: &str, query: &str) -> String {
    let (rest, fragment) = match uri.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (uri, None),
    };
    let (path, old) = rest.split_once('?').unwrap_or((rest, ""));
    let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_owned();
    let given: Vec<String> = query.split('&').map(name).collect();
    let kept = old.split('&').filter(|parameter| !old.is_empty() && !given.contains(&name(parameter)));
    let parameters: Vec<&str> = kept.chain([query]).collect();
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{path}?{}{fragment}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "/v1/keys/3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f";

    fn base() -> Url {
        Url::parse("https://media.example:8443/film/720p/index.m3u8?token=old").unwrap()
    }

    /// Every key below /v1/keys/, every playlist below /film/.
    fn token(target: Target<'_>) -> Option<String> {
        match target {
            Target::Key(path) => path.starts_with("/v1/keys/").then(|| "token=a.b-c_d".to_owned()),
            Target::Playlist(path) => path.starts_with("/film/").then(|| format!("token=a.b-c_d&for={path}")),
        }
    }

    fn rewritten(text: &str) -> String {
        rewrite(text.as_bytes(), &base(), &token).unwrap()
    }

    #[test]
    fn keys_of_this_server_get_the_query() {
        for (uri, expected) in [
            (KEY, format!("{KEY}?token=a.b-c_d")),
            ("../../v1/keys/k", "../../v1/keys/k?token=a.b-c_d".to_owned()),
            ("https://media.example:8443/v1/keys/k", "https://media.example:8443/v1/keys/k?token=a.b-c_d".to_owned()),
            ("HTTPS://MEDIA.example:8443/v1/keys/k", "HTTPS://MEDIA.example:8443/v1/keys/k?token=a.b-c_d".to_owned()),
            ("//media.example:8443/v1/keys/k", "//media.example:8443/v1/keys/k?token=a.b-c_d".to_owned()),
            ("/v1/keys/k?a=1&token=x&b", "/v1/keys/k?a=1&b&token=a.b-c_d".to_owned()),
            ("/v1/keys/k?#f?g", "/v1/keys/k?token=a.b-c_d#f?g".to_owned()),
            ("/v1/keys/k?tokens=1", "/v1/keys/k?tokens=1&token=a.b-c_d".to_owned()),
        ] {
            for tag in ["EXT-X-KEY", "EXT-X-SESSION-KEY"] {
                let text =
                    |uri: &str| format!("#EXTM3U\r\n#{tag}:METHOD=AES-128,URI=\"{uri}\",IV=0x0A,X-NEW=\"a,b\"\r\n");
                assert_eq!(rewritten(&text(uri)), text(&expected));
            }
        }
    }

    #[test]
    fn foreign_uris_stay_without_it() {
        for uri in [
            "https://other.example/v1/keys/k",
            "https://media.example/v1/keys/k",
            "http://media.example:8443/v1/keys/k",
            "//other.example/v1/keys/k",
            "https://media.example:8443@other.example/v1/keys/k",
            "https://user@media.example:8443/v1/keys/k",
            "https://media.example.:8443/v1/keys/k",
            "/\\other.example/v1/keys/k",
            "https:\\\\other.example/v1/keys/k",
            "/v1/keys/../../keys/k",
            "keys/k",
            "/v1/key/k",
            "data:text/plain;base64,AAAA",
            "skd://media.example:8443/v1/keys/k",
            "blob:https://media.example:8443/v1/keys/k",
            "/v1/keys/a b",
            "/v1/keys/\u{e9}",
            "",
        ] {
            let text = format!("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"{uri}\"\n#EXTINF:6,\n0.ts\n");
            assert_eq!(rewritten(&text), text, "{uri}");
        }
        for line in [
            "#EXT-X-KEY:METHOD=NONE",
            "#EXT-X-KEY:METHOD=AES-128,URI=/v1/keys/k",
            "#EXT-X-KEY:METHOD=AES-128,URI=\"/v1/keys/k\",URI=\"/v1/keys/k\"",
            "#EXT-X-KEY:URI=\"/v1/keys/k",
            "#EXT-X-KEYS:URI=\"/v1/keys/k\"",
            "##EXT-X-KEY:URI=\"/v1/keys/k\"",
            "#EXT-X-MAP:URI=\"/v1/keys/k\"",
            "/v1/keys/k",
        ] {
            let text = format!("#EXTM3U\n{line}\n#EXTINF:6,\n/v1/keys/0.ts\n");
            assert_eq!(rewritten(&text), text);
        }
    }

    #[test]
    fn a_multivariant_playlist_leads_on() {
        let text = "#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"/v1/keys/k\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"../sound/index.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1\n# a comment\n\n../720p/index.m3u8\nnot/a/variant.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2\nhttps://cdn.example/film/index.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=3\n/elsewhere/index.m3u8\n\
            #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"/film/i.m3u8\"\n";
        let expected = text
            .replace("/v1/keys/k\"", "/v1/keys/k?token=a.b-c_d\"")
            .replace("sound/index.m3u8", "sound/index.m3u8?token=a.b-c_d&for=/film/sound/index.m3u8")
            .replace("720p/index.m3u8", "720p/index.m3u8?token=a.b-c_d&for=/film/720p/index.m3u8")
            .replace("/film/i.m3u8", "/film/i.m3u8?token=a.b-c_d&for=/film/i.m3u8");
        assert_eq!(rewritten(text), expected);
    }

    #[test]
    fn a_query_that_could_become_more_is_refused() {
        let text = format!("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"{KEY}\"\n");
        for query in ["", "a=\"", "a\nb", "a#b", "a b", "token=\u{e9}", "a\\b", "<"] {
            let outcome = rewrite(text.as_bytes(), &base(), &|_| Some(query.to_owned()));
            assert_eq!(outcome, Err(RewriteError::Query), "{query:?}");
        }
        let long = rewrite(text.as_bytes(), &base(), &|_| Some("a".repeat(9000)));
        assert!(matches!(long, Err(RewriteError::Value(_))));
        assert!(matches!(rewrite(b"<html>", &base(), &token), Err(RewriteError::Read(_))));
    }

    /// Takes the query that [`token`] gives out of a text again.
    fn taken_out(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("token=a.b-c_d") {
            out.push_str(before.strip_suffix(['?', '&']).unwrap());
            rest = match after.strip_prefix("&for=") {
                Some(path) => path.trim_start_matches(|c: char| is_query_character(c)),
                None => after,
            };
        }
        out + rest
    }

    proptest! {
        #[test]
        fn nothing_but_uris_of_keys_and_playlists_changes(
            lines in prop::collection::vec(prop_oneof![
                "#EXT-X-KEY:METHOD=AES-128,URI=\"(/v1/keys/|https?://media.example:8443/|[a-z./:@]{0,9})[a-z0-9/.%]{0,9}(\\?[a-z=&]{1,6})?\"(,IV=0x[0-9A-F]{4})?",
                "#EXT-X-(SESSION-KEY|MEDIA|STREAM-INF|NEW|I-FRAME-STREAM-INF):(URI=\"[a-z/.]{0,12}\"|A=1|)",
                "(\\.\\./|/film/|https?:/?/?)?[a-z0-9/._@-]{1,12}",
                "#[^\r\n]{0,12}",
                "[^\r\n\u{7f}-\u{9f}\u{0}-\u{1f}]{0,12}",
            ], 0..12),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")], 12),
        ) {
            let mut text = "#EXTM3U\n".to_owned();
            for (line, end) in lines.iter().zip(&ends) {
                text.push_str(line);
                text.push_str(end);
            }
            // Of an empty query it cannot be told afterwards that it was there.
            prop_assume!(!["token", "?\"", "?\n", "?\r"].iter().any(|part| text.contains(part)));
            let Ok(out) = rewrite(text.as_bytes(), &base(), &token) else { return Ok(()) };
            prop_assert_eq!(&taken_out(&out), &text);
            prop_assert_eq!(rewrite(text.as_bytes(), &base(), &|_| None).unwrap(), text.clone());
            // Whoever asks again with what they were given is given the same.
            prop_assert_eq!(rewrite(out.as_bytes(), &base(), &token).unwrap(), out);
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = rewrite(&[b"#EXTM3U\n#EXT-X-KEY:", body.as_slice()].concat(), &base(), &token);
        }
    }
}
