//! Multivariant playlists: what RFC 8216 4.3.4 says against them.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::{Attributes, resolution};
use super::finding::Place;
use super::lines::{Kind, Line};
use super::model::{Master, Rendition, SessionKey, Variant};
use super::parse::Reader;
use super::rule::{Profile, master as rule, playlist as playlist_rule, target as target_rule};
use crate::limits;

/// Types of EXT-X-MEDIA, as attributes of EXT-X-STREAM-INF name them.
const TYPES: [&str; 4] = ["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"];

pub(super) fn read(reader: &mut Reader<'_, '_>, lines: &[Line<'_>]) -> Master {
    let mut master = Master::default();
    let mut open: Option<Variant> = None;
    let (mut data, mut steering, mut seen_keys) = (BTreeSet::new(), 0, BTreeSet::new());
    for line in lines {
        let place = reader.place(line.number);
        let full = master.variants.len() + master.renditions.len() + master.iframes.len() >= limits::VERIFY_PLAYLISTS;
        match line.kind {
            Kind::Uri(_) if full => {
                let seen = format!("more than {} playlists", limits::VERIFY_PLAYLISTS);
                reader.findings.add(&target_rule::TOO_MANY, place, seen);
                open = None;
                break;
            }
            Kind::Uri(uri) => {
                let Some(mut variant) = open.take() else {
                    reader.findings.add(&rule::URI_STRAY, place, uri);
                    continue;
                };
                variant.uri = reader.uri(line.number, uri);
                variant.url = reader.resolve(line.number, &variant.uri.clone());
                master.variants.push(variant);
            }
            Kind::Tag { name, value } => {
                if let (true, Some(lost)) = (name == "EXT-X-STREAM-INF", &open) {
                    reader.findings.add(&rule::URI_MISSING, reader.place(lost.line), "the next variant begins");
                }
                if full {
                    continue;
                }
                let list = if super::tags::tag(name).is_some_and(|tag| tag.list)
                    && name != "EXT-X-DEFINE"
                    && name != "EXT-X-START"
                {
                    reader.attributes(line.number, name, value)
                } else {
                    Attributes::default()
                };
                if let Some((name, _)) = list.iter().find(|(name, _)| name.starts_with("REQ-")) {
                    reader.needs(12, name);
                }
                match name {
                    "EXT-X-STREAM-INF" => open = Some(stream_inf(reader, line.number, &list)),
                    "EXT-X-I-FRAME-STREAM-INF" => {
                        let iframe = iframe(reader, line.number, &list);
                        master.iframes.extend(iframe);
                    }
                    "EXT-X-MEDIA" => {
                        let rendition = media(reader, line.number, &list);
                        master.renditions.extend(rendition);
                    }
                    "EXT-X-SESSION-KEY" => {
                        let text = |name: &str| list.get(name).unwrap_or_default().to_owned();
                        if matches!(list.get("METHOD"), None | Some("NONE")) {
                            reader.findings.add(&rule::SESSION_KEY_METHOD, place.clone(), "");
                        }
                        if list.has("KEYFORMAT") || list.has("KEYFORMATVERSIONS") {
                            reader.needs(5, "KEYFORMAT");
                        }
                        if list.has("IV") {
                            reader.needs(2, "IV");
                        }
                        let identity = ["METHOD", "URI", "IV", "KEYFORMAT", "KEYFORMATVERSIONS"].map(text);
                        if !seen_keys.insert(identity) {
                            reader.findings.add(&rule::SESSION_KEY_TWICE, place, "");
                        }
                        let format = list.get("KEYFORMAT").unwrap_or("identity").to_owned();
                        let url = reader.resolve(line.number, &text("URI"));
                        master.session_keys.push(SessionKey { line: line.number, method: text("METHOD"), url, format });
                    }
                    "EXT-X-SESSION-DATA" => {
                        let id = list.get("DATA-ID").unwrap_or_default();
                        let language = list.get("LANGUAGE").unwrap_or_default();
                        let one = list.has("VALUE") != list.has("URI");
                        if id.is_empty() || !one || !data.insert((id.to_owned(), language.to_owned())) {
                            reader.findings.add(&rule::SESSION_DATA, place, value.unwrap_or_default());
                        }
                    }
                    "EXT-X-CONTENT-STEERING" => {
                        steering += 1;
                        if steering > 1 || !list.has("SERVER-URI") {
                            reader.findings.add(&rule::STEERING, place, value.unwrap_or_default());
                        }
                    }
                    "EXT-X-INDEPENDENT-SEGMENTS" => master.independent = true,
                    _ => {}
                }
            }
        }
    }
    if let Some(lost) = &open {
        reader.findings.add(&rule::URI_MISSING, reader.place(lost.line), "the playlist ends");
    }
    groups(reader, &master);
    whole(reader, &master);
    master.variables = reader.variables.clone();
    master
}

fn stream_inf(reader: &mut Reader<'_, '_>, line: usize, list: &Attributes<'_>) -> Variant {
    let place = reader.place(line);
    let mut missing = |name: &str, rule| {
        if !list.has(name) {
            reader.findings.add(rule, place.clone(), "");
        }
    };
    missing("BANDWIDTH", &rule::BANDWIDTH_MISSING);
    missing("AVERAGE-BANDWIDTH", &rule::AVERAGE_MISSING);
    missing("CODECS", &rule::CODECS_MISSING);
    if list.has("PROGRAM-ID") && reader.version() >= 6 {
        reader.findings.add(&playlist_rule::TAG_REMOVED, place, "PROGRAM-ID");
    }
    let group = |name: &'static str| {
        list.get(name)
            .filter(|group| name != "CLOSED-CAPTIONS" || *group != "NONE")
            .map(|group| (name, group.to_owned()))
    };
    Variant {
        line,
        bandwidth: list.integer("BANDWIDTH"),
        average: list.integer("AVERAGE-BANDWIDTH"),
        codecs: list.get("CODECS").map(str::to_owned),
        resolution: list.get("RESOLUTION").and_then(resolution),
        frame_rate: list.float("FRAME-RATE"),
        range: list.get("VIDEO-RANGE").map(str::to_owned),
        groups: TYPES.into_iter().filter_map(group).collect(),
        no_captions: list.get("CLOSED-CAPTIONS") == Some("NONE"),
        ..Variant::default()
    }
}

fn iframe(reader: &mut Reader<'_, '_>, line: usize, list: &Attributes<'_>) -> Option<Variant> {
    let place = reader.place(line);
    let forbidden = ["FRAME-RATE", "AUDIO", "SUBTITLES", "CLOSED-CAPTIONS"].into_iter().find(|name| list.has(name));
    if let Some(name) = forbidden {
        reader.findings.add(&rule::IFRAME_SYNTAX, place.clone(), name);
    }
    let uri = list.get("URI").unwrap_or_default().to_owned();
    if !list.has("BANDWIDTH") || uri.is_empty() {
        reader.findings.add(&rule::IFRAME_SYNTAX, place, "BANDWIDTH or URI is missing");
    }
    if uri.is_empty() {
        return None;
    }
    let url = reader.resolve(line, &uri);
    Some(Variant { line, uri, url, bandwidth: list.integer("BANDWIDTH"), ..Variant::default() })
}

fn media(reader: &mut Reader<'_, '_>, line: usize, list: &Attributes<'_>) -> Option<Rendition> {
    let place = reader.place(line);
    let text = |name: &str| list.get(name).unwrap_or_default().to_owned();
    let (kind, group, name) = (text("TYPE"), text("GROUP-ID"), text("NAME"));
    if kind.is_empty() || group.is_empty() || name.is_empty() || (kind == "SUBTITLES" && !list.has("URI")) {
        reader.findings.add(
            &rule::MEDIA_INCOMPLETE,
            place.clone(),
            format!("TYPE={kind}, GROUP-ID={group:?}, NAME={name:?}"),
        );
    }
    if list.get("DEFAULT") == Some("YES") && list.get("AUTOSELECT") == Some("NO") {
        reader.findings.add(&rule::MEDIA_DEFAULT, place.clone(), format!("{name}: DEFAULT=YES,AUTOSELECT=NO"));
    }
    if list.has("FORCED") && kind != "SUBTITLES" {
        reader.findings.add(&rule::MEDIA_FORCED, place.clone(), format!("TYPE={kind}"));
    }
    let stream = list.get("INSTREAM-ID");
    let numbered = |text: &str, prefix: &str, most: u64| {
        let number = text.strip_prefix(prefix).and_then(super::attribute::integer);
        number.is_some_and(|number| (1..=most).contains(&number))
    };
    if kind == "CLOSED-CAPTIONS" {
        let good = stream.is_some_and(|id| numbered(id, "CC", 4) || numbered(id, "SERVICE", 63));
        if !good || list.has("URI") {
            reader.findings.add(&rule::MEDIA_CAPTIONS, place.clone(), stream.unwrap_or("no INSTREAM-ID"));
        }
        if stream.is_some_and(|id| id.starts_with("SERVICE")) {
            reader.needs(7, "INSTREAM-ID SERVICEn");
        }
    } else if stream.is_some() {
        reader.needs(13, "INSTREAM-ID");
    }
    if kind != "VIDEO" && !list.has("LANGUAGE") {
        reader.findings.add(&rule::MEDIA_LANGUAGE, place, &name);
    }
    let url = match list.get("URI") {
        Some(uri) => reader.resolve(line, uri),
        None => None,
    };
    let default = list.get("DEFAULT") == Some("YES");
    Some(Rendition { line, kind, group, name, url, default })
}

/// What EXT-X-MEDIA tags say together, and with the variants.
fn groups(reader: &mut Reader<'_, '_>, master: &Master) {
    let mut members: BTreeMap<(&str, &str), Vec<&Rendition>> = BTreeMap::new();
    for rendition in &master.renditions {
        let group = members.entry((&rendition.kind, &rendition.group)).or_default();
        if group.iter().any(|known| known.name == rendition.name) {
            reader.findings.add(&rule::MEDIA_NAME, reader.place(rendition.line), &rendition.name);
        }
        if rendition.default && group.iter().any(|known| known.default) {
            let seen = format!("{}: a second DEFAULT=YES", rendition.name);
            reader.findings.add(&rule::MEDIA_DEFAULT, reader.place(rendition.line), seen);
        }
        group.push(rendition);
    }
    for kind in TYPES {
        let mut names = members.iter().filter(|((known, _), _)| *known == kind).map(|((_, group), members)| {
            let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
            (*group, members.first().map_or(0, |member| member.line), names)
        });
        if let Some((first, _, expected)) = names.next() {
            for (group, line, _) in names.filter(|(_, _, names)| *names != expected) {
                reader.findings.add(&rule::GROUP_MEMBERS, reader.place(line), format!("{group} and {first}"));
            }
        }
    }
    for variant in &master.variants {
        for (kind, group) in &variant.groups {
            if !members.contains_key(&(*kind, group.as_str())) {
                reader.findings.add(&rule::GROUP_MISSING, reader.place(variant.line), format!("{kind}={group:?}"));
            }
        }
    }
}

fn whole(reader: &mut Reader<'_, '_>, master: &Master) {
    let place = Place::of(reader.resource);
    if master.variants.is_empty() {
        reader.findings.add(&playlist_rule::EMPTY, place.clone(), "no variants");
    }
    let none = master.variants.iter().filter(|variant| variant.no_captions).count();
    if none > 0 && none < master.variants.len() {
        let seen = format!("{none} of {} variants", master.variants.len());
        reader.findings.add(&rule::CAPTIONS_NONE, place.clone(), seen);
    }
    let mut seen = BTreeSet::new();
    for variant in &master.variants {
        let groups = format!("{:?} {:?}", variant.bandwidth, variant.groups);
        if !seen.insert((variant.uri.as_str(), groups)) {
            reader.findings.add(&rule::VARIANT_TWICE, reader.place(variant.line), &variant.uri);
        }
    }
    if reader.findings.profile() == Profile::Apple {
        if master.iframes.is_empty() && master.variants.iter().any(|variant| variant.resolution.is_some()) {
            reader.findings.add(&rule::IFRAME_MISSING, place.clone(), "");
        }
        if master.variants.iter().all(|variant| variant.bandwidth.is_some_and(|rate| rate > 192_000)) {
            reader.findings.add(&rule::CELLULAR, place, "");
        }
    }
}
