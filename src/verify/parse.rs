//! Reads a playlist, whatever is wrong with it, and finds what RFC 8216 sections 4 and 7 say against it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use url::Url;

use super::attribute::{self, Attributes, Variables};
use super::finding::{Findings, Place};
use super::lines::{self, Kind, Line};
use super::model::{Key, Method, Playlist};
use super::rule::{key as key_rule, playlist as rule};
use super::tags::{Often, Scope, tag};
use super::{parse_master, parse_media};
use crate::limits;

/// What the readers of both kinds share.
pub(super) struct Reader<'a, 'f> {
    pub(super) url: &'a Url,
    pub(super) resource: &'a str,
    pub(super) findings: &'f mut Findings,
    pub(super) variables: Variables,
    pub(super) imports: &'a Variables,
    /// The lowest version that has all that was seen, and what asks for it.
    needed: (u64, String),
    version: Option<u64>,
    /// Line and TIME-OFFSET of EXT-X-START.
    pub(super) start: Option<(usize, f64)>,
    /// Bytes that variables put into the lines so far.
    put_in: usize,
}

/// Reads the playlist at `url`. `imports` are the variables of the multivariant playlist that names it.
///
/// None when there is nothing in it that could be looked at further.
pub fn parse(
    bytes: &[u8],
    url: &Url,
    resource: &str,
    imports: &Variables,
    findings: &mut Findings,
) -> Option<Playlist> {
    let text = lines::text(bytes, resource, findings);
    let lines = lines::lines(&text, resource, findings);
    let needed = (1, String::new());
    let mut reader = Reader {
        url,
        resource,
        findings,
        variables: Variables::new(),
        imports,
        needed,
        version: None,
        start: None,
        put_in: 0,
    };
    reader.common(&lines);
    let is = |wanted: &[Scope]| {
        let scope = |line: &Line<'_>| match line.kind {
            Kind::Tag { name, .. } => tag(name).map(|tag| tag.scope),
            Kind::Uri(_) => None,
        };
        lines.iter().find(|line| scope(line).is_some_and(|scope| wanted.contains(&scope))).map(|line| line.number)
    };
    let (master, media) = (is(&[Scope::Master]), is(&[Scope::Media, Scope::Segment]));
    if let (Some(master), Some(media)) = (master, media) {
        let seen = format!("lines {master} and {media}");
        reader.findings.add(&rule::MIXED, Place::of(resource).line(master.max(media)), seen);
    }
    let has_segments = lines.iter().any(|line| matches!(line.kind, Kind::Tag { name: "EXTINF", .. }));
    let playlist = match (master, media) {
        (Some(_), _) if !has_segments => Playlist::Master(Box::new(parse_master::read(&mut reader, &lines))),
        (_, Some(_)) => Playlist::Media(Box::new(parse_media::read(&mut reader, &lines))),
        _ => {
            // URIs alone are a playlist of the kind that has no durations.
            let seen = if lines.iter().any(|line| matches!(line.kind, Kind::Uri(_))) {
                "URIs without tags"
            } else {
                "nothing"
            };
            reader.findings.add(&rule::EMPTY, Place::of(resource), seen);
            return None;
        }
    };
    reader.versions();
    Some(playlist)
}

impl<'a> Reader<'a, '_> {
    pub(super) fn place(&self, line: usize) -> Place {
        Place::of(self.resource).line(line)
    }

    /// Something of `version` was seen.
    pub(super) fn needs(&mut self, version: u64, what: &str) {
        if version > self.needed.0 {
            self.needed = (version, what.to_owned());
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.unwrap_or(1)
    }

    pub(super) fn attributes<'t>(&mut self, line: usize, name: &str, value: Option<&'t str>) -> Attributes<'t> {
        let place = self.place(line);
        let list = attribute::read(name, value.unwrap_or_default(), &self.variables, &place, self.findings);
        let text = |value: &attribute::Value<'_>| if let Cow::Owned(text) = &value.text { text.len() } else { 0 };
        let bytes = list.iter().map(|(_, value)| text(value)).sum();
        self.spend(line, bytes);
        list
    }

    /// Variables put in so many bytes. Short lines that each become a long one would otherwise fill the memory.
    fn spend(&mut self, line: usize, bytes: usize) {
        self.put_in = self.put_in.saturating_add(bytes);
        if self.put_in > limits::PLAYLIST_BYTES && !self.variables.is_empty() {
            self.findings.add(&rule::SIZE, self.place(line), "variables make the playlist too long");
            self.variables.clear();
        }
    }

    /// Resolves a URI against the playlist's own.
    pub(super) fn resolve(&mut self, line: usize, uri: &str) -> Option<Url> {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c));
        let place = self.place(line);
        if let Some(c) = uri.chars().find(|c| odd(*c)) {
            self.findings.add(&rule::URI_SYNTAX, place.clone(), format!("{c:?} in {uri}"));
        }
        match self.url.join(uri) {
            Ok(url) => Some(url),
            Err(error) => {
                self.findings.add(&rule::URI_SYNTAX, place, format!("{uri}: {error}"));
                None
            }
        }
    }

    /// A URI line, with variables put in.
    pub(super) fn uri(&mut self, line: usize, uri: &str) -> String {
        let place = self.place(line);
        let text = attribute::substitute(uri, &self.variables, &place, self.findings).into_owned();
        self.spend(line, text.len().saturating_sub(uri.len()));
        text
    }

    /// What both kinds have.
    fn common(&mut self, lines: &[Line<'_>]) {
        let mut once = BTreeSet::new();
        for line in lines {
            let Kind::Tag { name, value } = line.kind else { continue };
            let place = self.place(line.number);
            let Some(known) = tag(name) else {
                self.findings.add(&rule::TAG_UNKNOWN, place, name);
                continue;
            };
            if known.often == Often::Once && !once.insert(name) {
                self.findings.add(&rule::TAG_TWICE, place.clone(), name);
            }
            if known.version > 1 {
                self.needs(known.version, name);
            }
            if known.list && value.is_none_or(str::is_empty) {
                self.findings.add(&rule::TAG_VALUE, place.clone(), format!("{name} has no attributes"));
            }
            match name {
                "EXT-X-VERSION" => {
                    let number = value.and_then(attribute::integer).filter(|number| *number > 0);
                    match (number, self.version) {
                        (None, _) => self.findings.add(&rule::VERSION_SYNTAX, place, value.unwrap_or("nothing")),
                        (Some(_), Some(_)) => self.findings.add(&rule::VERSION_TWICE, place, value.unwrap_or_default()),
                        (number, None) => self.version = number,
                    }
                }
                "EXT-X-START" => {
                    let list = self.attributes(line.number, name, value);
                    let offset = list.get("TIME-OFFSET").map(|text| text.strip_prefix('-').unwrap_or(text));
                    let precise = list.get("PRECISE").is_none_or(|text| matches!(text, "YES" | "NO"));
                    let negative = list.get("TIME-OFFSET").is_some_and(|text| text.starts_with('-'));
                    let seconds = offset.and_then(attribute::float);
                    self.start = seconds.map(|seconds| (line.number, if negative { -seconds } else { seconds }));
                    if seconds.is_none() || !precise {
                        self.findings.add(&rule::START_SYNTAX, place, value.unwrap_or_default());
                    }
                }
                "EXT-X-DEFINE" => self.define(line.number, value),
                "EXT-X-ALLOW-CACHE" if self.version() >= 7 => self.findings.add(&rule::TAG_REMOVED, place, name),
                _ => {}
            }
        }
    }

    fn define(&mut self, line: usize, value: Option<&str>) {
        let place = self.place(line);
        let list = self.attributes(line, "EXT-X-DEFINE", value);
        let (name, found) = match (list.get("NAME"), list.get("IMPORT"), list.get("QUERYPARAM")) {
            (Some(name), None, None) => (name, list.get("VALUE").map(str::to_owned)),
            (None, Some(name), None) => (name, self.imports.get(name).cloned()),
            (None, None, Some(name)) => {
                self.needs(11, "EXT-X-DEFINE with QUERYPARAM");
                let found = self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
                (name, found)
            }
            _ => return self.findings.add(&rule::DEFINE, place, value.unwrap_or_default()),
        };
        let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match found {
            Some(found) if good && !self.variables.contains_key(name) => {
                self.variables.insert(name.to_owned(), found);
            }
            Some(_) => self.findings.add(&rule::DEFINE, place, format!("{name} is defined again, or is no name")),
            None => self.findings.add(&rule::VARIABLE, place, format!("{name} has no value")),
        }
    }

    /// Compares EXT-X-VERSION with what was seen.
    fn versions(&mut self) {
        let (needed, what) = std::mem::take(&mut self.needed);
        let declared = self.version();
        let place = Place::of(self.resource);
        if declared < needed {
            self.findings.add(&rule::VERSION_LOW, place, format!("{declared}; {what} needs {needed}"));
        } else if declared > needed {
            self.findings.add(&rule::VERSION_HIGH, place, format!("{declared}; {needed} is enough"));
        }
    }

    /// EXT-X-KEY; none for METHOD=NONE. Variables come out of `list` already put in.
    pub(super) fn key(&mut self, line: usize, value: Option<&str>) -> Option<Key> {
        let place = self.place(line);
        let list = self.attributes(line, "EXT-X-KEY", value);
        if list.has("IV") {
            self.needs(2, "IV");
        }
        if list.has("KEYFORMAT") || list.has("KEYFORMATVERSIONS") {
            self.needs(5, "KEYFORMAT");
        }
        let method = match list.get("METHOD") {
            Some("NONE") => {
                if list.iter().any(|(name, _)| name != "METHOD") {
                    self.findings.add(&key_rule::NONE_ATTRIBUTES, place, "");
                }
                return None;
            }
            Some("AES-128") => Method::Aes128,
            Some(method @ ("SAMPLE-AES" | "SAMPLE-AES-CTR" | "AES-256-GCM" | "AES-256" | "AES-256-CTR")) => {
                if method.starts_with("SAMPLE") {
                    self.needs(5, method);
                }
                if matches!(method, "SAMPLE-AES-CTR" | "AES-256-GCM") && list.has("IV") {
                    self.findings.add(&key_rule::IV_FORBIDDEN, place.clone(), method);
                }
                self.findings.add(&key_rule::METHOD_UNCHECKED, place.clone(), method);
                Method::Other(method.to_owned())
            }
            other => {
                self.findings.add(&key_rule::METHOD, place.clone(), other.unwrap_or("no METHOD"));
                Method::Other(other.unwrap_or_default().to_owned())
            }
        };
        let uri = list.get("URI").unwrap_or_default().to_owned();
        if uri.is_empty() {
            self.findings.add(&key_rule::URI_MISSING, place.clone(), value.unwrap_or_default());
        }
        let iv = list.get("IV").and_then(|text| {
            let mut iv = [0; 16];
            let digits = attribute::hex_digits(text).unwrap_or_default();
            let good = digits.len() == 32 && hex::decode_to_slice(digits, &mut iv).is_ok();
            if !good {
                self.findings.add(&key_rule::IV_SYNTAX, place.clone(), text);
            }
            // The number is meant, however it is written (AMB-04).
            let number = u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes);
            if good { Some(iv) } else { number }
        });
        let format = list.get("KEYFORMAT").unwrap_or("identity").to_owned();
        if iv.is_none() && method == Method::Aes128 && format == "identity" && !list.has("IV") {
            self.findings.add(&key_rule::IV_IMPLICIT, place.clone(), "");
        }
        let url = if uri.is_empty() { None } else { self.resolve(line, &uri) };
        Some(Key { line, method, uri, url, iv, format })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verify::rule::Profile;

    fn read(text: &[u8]) -> (Option<Playlist>, Vec<&'static str>) {
        let mut findings = Findings::new(Profile::Rfc);
        let url = Url::parse("https://example.org/film/index.m3u8").unwrap();
        let playlist = parse(text, &url, "x", &Variables::new(), &mut findings);
        (playlist, findings.sorted().iter().map(|finding| finding.rule.id).collect())
    }

    #[test]
    fn variables_do_not_fill_the_memory() {
        let define = format!("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-DEFINE:NAME=\"x\",VALUE=\"{}\"\n", "a".repeat(60_000));
        let list = format!("{define}#EXT-X-TARGETDURATION:4\n{}", "#EXTINF:4,\n{$x}\n".repeat(100_000));
        let (Some(Playlist::Media(media)), rules) = read(list.as_bytes()) else { panic!("no media playlist") };
        let held: usize = media.segments.iter().map(|segment| segment.uri.len()).sum();
        assert!(held < 2 * limits::PLAYLIST_BYTES, "{held} bytes");
        assert!(rules.contains(&"playlist-size"), "{rules:?}");
    }

    #[test]
    fn other_methods_bring_their_ivs_themselves() {
        let list = |method: &str| {
            format!(
                "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD={method},URI=\"k\"\n\
                 #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:4,\n0.mp4\n#EXT-X-ENDLIST\n"
            )
        };
        assert!(read(list("AES-128").as_bytes()).1.contains(&"map-iv"));
        assert!(!read(list("SAMPLE-AES").as_bytes()).1.contains(&"map-iv"));
    }

    #[test]
    fn a_key_in_a_playlist_is_not_told() {
        let list = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n\
                    #EXT-X-KEY:METHOD=AES-128,URI=\"data:;base64,c2VjcmV0LWtleS1vZi0xNg==\"\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n";
        let mut findings = Findings::new(Profile::Apple);
        let url = Url::parse("https://example.org/film/index.m3u8").unwrap();
        parse(list.as_bytes(), &url, "x", &Variables::new(), &mut findings);
        assert!(findings.sorted().iter().any(|finding| finding.rule.id == "iv-implicit"));
        assert!(findings.sorted().iter().all(|finding| !finding.seen.contains("c2VjcmV0")), "{findings:?}");
    }

    #[test]
    fn keys_cover_what_follows_them() {
        let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:7794\n\
                    #EXTINF:4.0,\n0.ts\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:4.0,\n1.ts\n#EXTINF:4.0,\n2.ts\n\
                    #EXT-X-KEY:METHOD=NONE\n#EXTINF:4.0,\n3.ts\n#EXT-X-ENDLIST\n";
        let (Some(Playlist::Media(media)), rules) = read(text.as_bytes()) else { panic!("no media playlist") };
        assert_eq!(rules, ["iv-implicit"]);
        let keyed: Vec<bool> = media.segments.iter().map(|segment| segment.key.is_some()).collect();
        assert_eq!(keyed, [false, true, true, false]);
        // Spec section 9: 7794 is 1E72.
        assert_eq!(hex::encode_upper(media.segments[0].iv()), "00000000000000000000000000001E72");
        assert_eq!(media.segments[3].start, 12.0);
        assert_eq!(media.segments[1].url.as_ref().map(Url::as_str), Some("https://example.org/film/1.ts"));
    }

    #[test]
    fn ranges_go_on_from_one_another() {
        let text = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4,\n#EXT-X-BYTERANGE:100@50\na.ts\n\
                    #EXTINF:4,\n#EXT-X-BYTERANGE:30\na.ts\n#EXT-X-ENDLIST\n";
        let (Some(Playlist::Media(media)), rules) = read(text.as_bytes()) else { panic!("no media playlist") };
        assert_eq!(rules, [""; 0]);
        assert_eq!(
            media.segments.iter().map(|segment| segment.range).collect::<Vec<_>>(),
            [Some((50, 100)), Some((150, 30))]
        );
    }

    const TAGS: &str = "(#EXT(M3U|INF|-X-(VERSION|TARGETDURATION|MEDIA-SEQUENCE|KEY|MAP|BYTERANGE|DATERANGE|START|DEFINE|\
                        STREAM-INF|MEDIA|SESSION-KEY|PROGRAM-DATE-TIME|BITRATE|I-FRAME-STREAM-INF)))(:[A-Z-]{0,9}=?\"?[0-9a-z{$}@.,=]{0,12}\"?)?";

    proptest! {
        #[test]
        fn no_playlist_makes_it_panic(lines in prop::collection::vec(prop_oneof![TAGS, "[a-z:/{$}]{0,9}"], 0..30)) {
            read(format!("#EXTM3U\n{}", lines.join("\n")).as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&[b"#EXTM3U\n#EXT-X-KEY:", bytes.as_slice()].concat());
        }
    }
}
