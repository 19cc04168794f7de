//! The template of key URIs: `http`, `https` or relative, with any of `{key_id} {content_id} {rendition}`.

use std::str::FromStr;

use crate::playlist::value::KeyUri;

/// A template that makes a key URI for each rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUriTemplate(String);

/// What may stand in braces.
const FIELDS: [&str; 3] = ["{key_id}", "{content_id}", "{rendition}"];

impl Default for KeyUriTemplate {
    fn default() -> Self {
        Self("/v1/keys/{key_id}".to_owned())
    }
}

impl FromStr for KeyUriTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text.to_owned();
        for field in FIELDS {
            rest = rest.replace(field, "x");
        }
        if rest.contains(['{', '}']) {
            return Err(format!("{text:?}: only {} may stand in braces", FIELDS.join(", ")));
        }
        // RFC 3986, 4.2: what ends in a colon in the first segment is a scheme, with or without slashes behind it.
        let first = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((scheme, _)) = first.split_once(':')
            && !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
        {
            return Err(format!("{text:?}: a key URI is http, https or relative"));
        }
        KeyUri::new(rest).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl KeyUriTemplate {
    /// The template's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI of a rendition's key. The values hold no character that a URI would have to escape.
    ///
    /// # Errors
    /// When the outcome is no URI that a playlist can hold.
    pub fn fill(&self, key_id: &str, content_id: &str, rendition: &str) -> Result<KeyUri, String> {
        let filled =
            self.0.replace("{key_id}", key_id).replace("{content_id}", content_id).replace("{rendition}", rendition);
        KeyUri::new(filled).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let template: KeyUriTemplate = "https://k.example/{content_id}/{rendition}?k={key_id}".parse().expect("valid");
        let uri = template.fill("id", "film", "720p").expect("valid");
        assert_eq!(uri.as_str(), "https://k.example/film/720p?k=id");
    }

    #[test]
    fn any_other_scheme_is_refused_however_it_is_spelt() {
        for text in
            ["DATA:text/plain,a", "File:/etc/passwd", "skd:{key_id}", "javascript:a", "{rendition}:a", "FTP://a/b"]
        {
            assert!(text.parse::<KeyUriTemplate>().is_err(), "{text:?}");
        }
        for text in ["HTTPS://k.example/a:b", "k/a:b", "?a:b", "./a:b", "//k.example:8443/{key_id}", "a?next=file://b"]
        {
            assert!(text.parse::<KeyUriTemplate>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_key_uri_is_refused() {
        for text in ["{key}", "a{b", "ftp://x/{key_id}", "data:text/plain;base64,AA==", "a\"b", "a\nb", ""] {
            assert!(text.parse::<KeyUriTemplate>().is_err(), "{text:?}");
        }
    }
}
