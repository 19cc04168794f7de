//! The page at `/`: every package with a player for browsers that know HLS themselves, and the command for ffplay.

use std::fmt::Write;

use crate::server::package::ServedPackage;

/// Nothing but what the page itself holds, and media of this server.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>keyrung</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
video { width: 100%; max-height: 70vh; aspect-ratio: 16 / 9; background: #000; border-radius: .25rem; }
pre { background: var(--soft); padding: .5rem .75rem; border-radius: .25rem; margin-bottom: 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
</style>
</head>
<body>
<main>
<h1>keyrung</h1>
"#;

/// The page. `authority` is the host and port that the viewer reached the server by.
pub(super) fn render<'a>(packages: impl Iterator<Item = &'a ServedPackage>, authority: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut count = 0_usize;
    for package in packages {
        count += 1;
        let path = format!("/{}/{}", percent_encode(&package.content_id), package.master);
        let protection = if package.key_ids.is_empty() { "not encrypted" } else { "AES-128" };
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "<article>\n<h2>{title}</h2>\n<video controls playsinline preload=\"none\" aria-label=\"{title}\" \
             src=\"{path}\"></video>\n<p>{files} files, {protection}. <a href=\"{path}\">Playlist</a></p>\n\
             <pre><code>ffplay http://{authority}{path}</code></pre>\n</article>\n",
            title = escape(&package.content_id),
            path = escape(&path),
            files = package.files.len(),
            authority = escape(authority),
        );
    }
    page.push_str(match count {
        0 => "<p>No package is served.</p>\n",
        _ => "<p>The players above need a browser with HLS of its own; ffplay plays all of them.</p>\n",
    });
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// One path segment of a URL (RFC 3986 section 2): everything but the unreserved characters is encoded, so that the
/// result is safe in a shell too.
fn percent_encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The reverse. `None` if a `%` is not followed by two hex digits or the bytes are not UTF-8.
pub(super) fn percent_decode(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        out.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn package(content_id: &str) -> ServedPackage {
        ServedPackage {
            content_id: content_id.to_owned(),
            folder: "/p".into(),
            files: BTreeSet::from(["master.m3u8".to_owned()]),
            key_ids: Vec::new(),
            master: "master.m3u8".to_owned(),
        }
    }

    #[test]
    fn a_hostile_content_id_stays_text() {
        let page = render([package("\"><script>alert('1')</script>$(x)&")].iter(), "localhost:1");
        assert!(!page.contains("<script") && !page.contains("$(x)</code>"));
        assert!(page.contains("<h2>&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;$(x)&amp;</h2>"));
        assert!(
            page.contains(
                "ffplay http://localhost:1/%22%3E%3Cscript%3Ealert%28%271%27%29%3C%2Fscript%3E%24%28x%29%26/"
            )
        );
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = render([package("film")].iter(), "127.0.0.1:8484");
        assert!(page.contains("src=\"/film/master.m3u8\""));
        assert!(page.contains("ffplay http://127.0.0.1:8484/film/master.m3u8"));
        assert_eq!(page.matches("://").count(), 1, "only ffplay's");
        assert!(render([].iter(), "x").contains("No package"));
    }

    #[test]
    fn bad_escapes_do_not_decode() {
        for text in ["%", "%4", "%zz", "a%", "%+1", "%ff", "%c3%28"] {
            assert_eq!(percent_decode(text), None, "{text}");
        }
        assert_eq!(percent_decode("%2e%2E").as_deref(), Some(".."));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(percent_decode(&encoded), Some(text));
        }
    }
}
