//! Attribute lists, read to the end whatever is wrong in them, and the types that the standard gives to attributes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::finding::{Findings, Place};
use super::rule::playlist as rule;
use crate::limits;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<'a> {
    /// Without quotes, variables put in.
    pub text: Cow<'a, str>,
    /// Whether it stood in quotes.
    pub quoted: bool,
}

/// The attributes of one tag, in order.
#[derive(Debug, Clone, Default)]
pub struct Attributes<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Attributes<'a> {
    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.text.as_ref())
    }

    /// The value as a whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        integer(self.get(name)?)
    }

    /// The value as a number.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f64> {
        float(self.get(name)?)
    }

    /// Whether `name` is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

/// A decimal-integer (HLS-009).
#[must_use]
pub fn integer(text: &str) -> Option<u64> {
    (text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A decimal-floating-point (HLS-009).
#[must_use]
pub fn float(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() < 40 && text.bytes().all(|b| b.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| text.parse().ok())?
}

/// Variables of EXT-X-DEFINE.
pub type Variables = BTreeMap<String, String>;

/// Puts variables into a text (DEF-002).
pub fn substitute<'a>(text: &'a str, variables: &Variables, place: &Place, findings: &mut Findings) -> Cow<'a, str> {
    if !text.contains("{$") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{$") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            rest = "";
            break;
        };
        match variables.get(name) {
            Some(value) => out.push_str(value),
            None => findings.add(&rule::VARIABLE, place.clone(), name),
        }
        rest = after;
        // Few variables, used often, would otherwise make gigabytes of a line.
        if out.len() > limits::PLAYLIST_LINE_BYTES {
            findings.add(&rule::SIZE, place.clone(), "variables make the line too long");
            return Cow::Owned(String::new());
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Reads the attribute list of `tag`, and checks names, values and their types.
pub fn read<'a>(
    tag: &str,
    list: &'a str,
    variables: &Variables,
    place: &Place,
    findings: &mut Findings,
) -> Attributes<'a> {
    let mut attributes = Attributes::default();
    let mut rest = list;
    while !rest.is_empty() {
        if attributes.0.len() >= limits::PLAYLIST_ATTRIBUTES {
            findings.add(&rule::SIZE, place.clone(), format!("more than {} attributes", limits::PLAYLIST_ATTRIBUTES));
            break;
        }
        let comma = rest.find(',').unwrap_or(rest.len());
        let Some(equals) = rest.find('=').filter(|equals| *equals < comma) else {
            findings.add(
                &rule::ATTRIBUTE_NAME,
                place.clone(),
                format!("{tag}: {:?} has no value", rest.split_at(comma).0),
            );
            rest = rest.get(comma + 1..).unwrap_or_default();
            continue;
        };
        let (name, after) = rest.split_at(equals);
        let after = after.get(1..).unwrap_or_default();
        let trimmed = name.trim();
        if trimmed.len() != name.len() || after.starts_with(char::is_whitespace) {
            findings.add(&rule::SPACE, place.clone(), format!("{tag}: beside {trimmed}"));
        }
        if trimmed.is_empty() || !trimmed.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') {
            findings.add(&rule::ATTRIBUTE_NAME, place.clone(), format!("{tag}: {trimmed:?}"));
        }
        let (value, quoted, following) = value(tag, trimmed, after.trim_start(), place, findings);
        if following == Some("") {
            findings.add(&rule::ATTRIBUTE_NAME, place.clone(), format!("{tag}: a comma at the end"));
        }
        rest = following.unwrap_or_default();
        if attributes.has(trimmed) {
            findings.add(&rule::ATTRIBUTE_TWICE, place.clone(), format!("{tag}: {trimmed}"));
            continue;
        }
        let is_hex = !quoted && value.starts_with("0x");
        let text = if quoted || is_hex { substitute(value, variables, place, findings) } else { Cow::Borrowed(value) };
        attributes.0.push((trimmed, Value { text, quoted }));
    }
    for (name, value) in attributes.iter() {
        check_type(tag, name, value, place, findings);
    }
    attributes
}

/// The value at the start of `text`, whether it is quoted, and what follows the comma after it.
fn value<'a>(
    tag: &str,
    name: &str,
    text: &'a str,
    place: &Place,
    findings: &mut Findings,
) -> (&'a str, bool, Option<&'a str>) {
    if let Some(inner) = text.strip_prefix('"') {
        let Some((value, after)) = inner.split_once('"') else {
            findings.add(&rule::ATTRIBUTE_QUOTES, place.clone(), format!("{tag}: {name} does not end"));
            return (inner, true, None);
        };
        let after = match after.strip_prefix(',') {
            Some(after) => Some(after),
            None if after.is_empty() => None,
            None => {
                findings.add(&rule::ATTRIBUTE_QUOTES, place.clone(), format!("{tag}: something follows {name}"));
                after.split_once(',').map(|(_, after)| after)
            }
        };
        return (value, true, after);
    }
    let (value, after) = match text.split_once(',') {
        Some((value, after)) => (value, Some(after)),
        None => (text, None),
    };
    if value.trim().len() != value.len() {
        findings.add(&rule::SPACE, place.clone(), format!("{tag}: after {name}"));
    }
    (value.trim(), false, after)
}

/// The types of attribute values (R4.2).
#[derive(Debug, Clone, Copy)]
enum Type {
    Integer,
    Float,
    SignedFloat,
    Hex,
    Quoted,
    Resolution,
    /// An enumerated string; these are all there are.
    OneOf(&'static [&'static str]),
    /// CLOSED-CAPTIONS: a quoted string or NONE.
    QuotedOrNone,
    /// An enumerated string of an open registry.
    Token,
}

const YES_NO: Type = Type::OneOf(&["YES", "NO"]);
const METHODS: Type = Type::OneOf(&["NONE", "AES-128", "SAMPLE-AES", "SAMPLE-AES-CTR", "AES-256-GCM"]);

/// What the standard says of an attribute of a tag.
fn type_of(tag: &str, name: &str) -> Option<Type> {
    use Type::{Float, Hex, Integer, OneOf, Quoted, QuotedOrNone, Resolution, SignedFloat, Token};
    Some(match (tag, name) {
        (_, "URI" | "GROUP-ID" | "LANGUAGE" | "ASSOC-LANGUAGE" | "NAME" | "INSTREAM-ID" | "CHARACTERISTICS") => Quoted,
        (_, "CHANNELS" | "CODECS" | "SUPPLEMENTAL-CODECS" | "STABLE-VARIANT-ID" | "STABLE-RENDITION-ID") => Quoted,
        (_, "KEYFORMAT" | "KEYFORMATVERSIONS" | "DATA-ID" | "SERVER-URI" | "PATHWAY-ID" | "ALLOWED-CPC") => Quoted,
        ("EXT-X-STREAM-INF", "AUDIO" | "VIDEO" | "SUBTITLES") | ("EXT-X-I-FRAME-STREAM-INF", "VIDEO") => Quoted,
        ("EXT-X-DEFINE", "VALUE" | "IMPORT" | "QUERYPARAM") | ("EXT-X-SESSION-DATA", "VALUE") => Quoted,
        ("EXT-X-DATERANGE", "ID" | "CLASS" | "START-DATE" | "END-DATE") | ("EXT-X-MAP", "BYTERANGE") => Quoted,
        ("EXT-X-STREAM-INF", "CLOSED-CAPTIONS") => QuotedOrNone,
        ("EXT-X-STREAM-INF" | "EXT-X-I-FRAME-STREAM-INF", "BANDWIDTH" | "AVERAGE-BANDWIDTH" | "PROGRAM-ID") => Integer,
        (_, "FRAME-RATE" | "SCORE" | "DURATION" | "PLANNED-DURATION" | "PART-TARGET" | "PART-HOLD-BACK") => Float,
        (_, "HOLD-BACK" | "CAN-SKIP-UNTIL") => Float,
        ("EXT-X-START", "TIME-OFFSET") => SignedFloat,
        (_, "RESOLUTION") => Resolution,
        ("EXT-X-KEY" | "EXT-X-SESSION-KEY", "METHOD") => METHODS,
        ("EXT-X-KEY" | "EXT-X-SESSION-KEY", "IV") | (_, "SCTE35-CMD" | "SCTE35-OUT" | "SCTE35-IN") => Hex,
        ("EXT-X-MEDIA", "TYPE") => OneOf(&["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"]),
        ("EXT-X-MEDIA", "DEFAULT" | "AUTOSELECT" | "FORCED") | ("EXT-X-START", "PRECISE") => YES_NO,
        ("EXT-X-STREAM-INF" | "EXT-X-I-FRAME-STREAM-INF", "VIDEO-RANGE") => OneOf(&["SDR", "HLG", "PQ"]),
        (_, "HDCP-LEVEL") => OneOf(&["NONE", "TYPE-0", "TYPE-1"]),
        ("EXT-X-DATERANGE", "END-ON-NEXT") => OneOf(&["YES"]),
        ("EXT-X-SESSION-DATA", "FORMAT") => Token,
        _ => return None,
    })
}

fn check_type(tag: &str, name: &str, value: &Value<'_>, place: &Place, findings: &mut Findings) {
    let Some(kind) = type_of(tag, name) else { return };
    let text = value.text.as_ref();
    let fits = match kind {
        Type::Quoted => value.quoted,
        Type::QuotedOrNone => value.quoted || text == "NONE",
        Type::Integer => !value.quoted && integer(text).is_some(),
        Type::Float => !value.quoted && float(text).is_some(),
        Type::SignedFloat => !value.quoted && float(text.strip_prefix('-').unwrap_or(text)).is_some(),
        Type::Hex => !value.quoted && hex_digits(text).is_some(),
        Type::Resolution => !value.quoted && resolution(text).is_some(),
        Type::OneOf(_) | Type::Token => !value.quoted,
    };
    if !fits {
        let quotes = if value.quoted { "\"" } else { "" };
        findings.add(&rule::ATTRIBUTE_KIND, place.clone(), format!("{tag}: {name}={quotes}{text}{quotes}"));
    } else if let Type::OneOf(values) = kind {
        if !values.contains(&text) {
            // What EXT-X-KEY says wrongly of its method has a rule of its own.
            if !(name == "METHOD" && tag == "EXT-X-KEY") {
                findings.add(&rule::ATTRIBUTE_ENUM, place.clone(), format!("{tag}: {name}={text}"));
            }
        }
    } else if matches!(kind, Type::Hex)
        && hex_digits(text).is_some_and(|digits| digits.bytes().any(|b| b.is_ascii_lowercase()))
    {
        findings.add(&rule::HEX_CASE, place.clone(), format!("{tag}: {name}={text}"));
    }
}

/// The digits of a hexadecimal-sequence.
#[must_use]
pub fn hex_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// WIDTHxHEIGHT.
#[must_use]
pub fn resolution(text: &str) -> Option<(u64, u64)> {
    let (width, height) = text.split_once('x')?;
    Some((integer(width)?, integer(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::rule::Profile;
    use proptest::prelude::*;

    fn rules(tag: &str, list: &str) -> Vec<&'static str> {
        let mut findings = Findings::new(Profile::Rfc);
        read(tag, list, &Variables::new(), &Place::of("x"), &mut findings);
        findings.sorted().iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn every_fault_has_its_rule() {
        assert_eq!(rules("EXT-X-KEY", "METHOD=AES-128,URI=\"a,b=c\",IV=0x00FF,X-A=1"), [""; 0]);
        for (list, wanted) in [
            ("METHOD=AES-128,", "attribute-name"),
            ("method=AES-128", "attribute-name"),
            ("METHOD", "attribute-name"),
            ("METHOD=NONE,METHOD=NONE", "attribute-twice"),
            ("METHOD=NONE, URI=\"a\"", "playlist-space"),
            ("METHOD= NONE", "playlist-space"),
            ("URI=\"a", "attribute-quotes"),
            ("URI=\"a\"b", "attribute-quotes"),
            ("URI=a", "attribute-kind"),
            ("METHOD=\"NONE\"", "attribute-kind"),
            ("IV=00", "attribute-kind"),
            ("IV=0xff", "hex-case"),
            ("URI=\"{$x}\"", "variable-undefined"),
        ] {
            assert_eq!(rules("EXT-X-KEY", list), [wanted], "{list}");
        }
        assert_eq!(rules("EXT-X-MEDIA", "TYPE=SOUND"), ["attribute-enum"]);
        assert_eq!(rules("EXT-X-STREAM-INF", "BANDWIDTH=1.5"), ["attribute-kind"]);
        assert_eq!(rules("EXT-X-STREAM-INF", "RESOLUTION=640"), ["attribute-kind"]);
    }

    #[test]
    fn variables_make_no_bomb() {
        let variables = Variables::from([("x".to_owned(), "y".repeat(60_000))]);
        let mut findings = Findings::new(Profile::Rfc);
        let text = format!("\"{}\"", "{$x}".repeat(10_000));
        assert!(substitute(&text, &variables, &Place::of("x"), &mut findings).is_empty());
        assert_eq!(findings.sorted()[0].rule.id, "playlist-size");
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic(list in any::<String>()) {
            rules("EXT-X-KEY", &list);
        }

        #[test]
        fn nothing_like_a_list_makes_it_panic(list in "([A-Za-z-]{0,3}=?\"?[^\"\r\n]{0,4}\"?,?){0,6}") {
            rules("EXT-X-STREAM-INF", &list);
        }
    }
}
