//! Tests with readers that are not ours: what the writers write, `m3u8-rs`, `quick-m3u8` and the line reader read back.
//! Any text that a value takes is in it, so a way to inject a tag or an attribute would show here.

use proptest::option;
use proptest::prelude::*;
use quick_m3u8::config::ParsingOptions;
use quick_m3u8::tag::hls::Tag;
use quick_m3u8::tag::{DecimalResolution, KnownTag};
use quick_m3u8::{HlsLine, Reader, Writer};
use url::Url;

use crate::playlist::master::{CcGroup, CcMember, ClosedCaptions, MasterPlaylist, Variant};
use crate::playlist::media::{MediaPlaylist, MediaSegment, SegmentDuration, SegmentKey};
use crate::playlist::read::{Content, Playlist};
use crate::playlist::rewrite::rewrite;
use crate::playlist::value::{CodecString, FrameRate, InstreamId, KeyUri, QuotedString, Resolution, Uri, VideoRange};

/// Texts of all kinds: plain ones, ones made of what has a meaning in a playlist, and anything.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z0-9/:?&=,.%+~-]{1,12}",
        2 => "[\"\\\\#,=\r\n\t {}$é\u{85}\u{2028}\u{feff}0a:]{0,6}",
        1 => "(\n|\r\n|\"|\",|,)#?(EXT-X-ENDLIST|EXT-X-KEY:METHOD=NONE|URI=\"x\")",
        1 => any::<String>(),
    ]
}

fn uri() -> impl Strategy<Value = Uri> {
    text().prop_filter_map("no URI", |text| Uri::new(text).ok())
}

fn key_uri() -> impl Strategy<Value = KeyUri> {
    text().prop_filter_map("no URI", |text| KeyUri::new(text).ok())
}

fn quoted() -> impl Strategy<Value = QuotedString> {
    text().prop_filter_map("no quoted-string", |text| QuotedString::new(text).ok())
}

fn codec() -> impl Strategy<Value = CodecString> {
    prop_oneof![Just("avc1.64001f".to_owned()), Just("mp4a.40.2".to_owned()), text()]
        .prop_filter_map("no codec", |text| CodecString::new(text).ok())
}

prop_compose! {
    fn segment()(
        uri in uri(),
        micros in 0_u64..30_000_000,
        key in option::of((key_uri(), option::of(any::<[u8; 16]>()))),
        discontinuity in any::<bool>(),
    ) -> MediaSegment {
        let key = key.map(|(uri, iv)| SegmentKey { uri, iv });
        MediaSegment { uri, duration: SegmentDuration::from_micros(micros), key, discontinuity }
    }
}

prop_compose! {
    fn media()(
        target_duration in 1_u64..40,
        media_sequence in any::<u64>(),
        independent_segments in any::<bool>(),
        segments in prop::collection::vec(segment(), 1..8),
    ) -> MediaPlaylist {
        MediaPlaylist { target_duration, media_sequence, independent_segments, segments }
    }
}

prop_compose! {
    fn variant(range: VideoRange)(
        uri in uri(),
        bandwidth in any::<u64>(),
        average_bandwidth in any::<u64>(),
        codecs in prop::collection::vec(codec(), 0..3),
        resolution in option::of(any::<(u32, u32)>()),
        frame_rate in option::of((1_u32..200_000, 1_u32..2000)),
        video_range in prop_oneof![Just(VideoRange::Sdr), Just(range)],
        captions in any::<prop::sample::Index>(),
    ) -> (Variant, prop::sample::Index) {
        let resolution = resolution.map(|(width, height)| Resolution { width, height });
        let frame_rate = frame_rate.and_then(|(n, d)| FrameRate::new(n, d).ok());
        let closed_captions = ClosedCaptions::Absent;
        let variant =
            Variant { uri, bandwidth, average_bandwidth, codecs, resolution, frame_rate, video_range, closed_captions };
        (variant, captions)
    }
}

prop_compose! {
    fn master()(range in prop_oneof![Just(VideoRange::Sdr), Just(VideoRange::Hlg), Just(VideoRange::Pq)])(
        independent_segments in any::<bool>(),
        variants in prop::collection::vec(variant(range), 1..5),
        session_keys in prop::collection::vec(key_uri(), 0..4),
        groups in prop::collection::btree_set(quoted(), 0..3),
        names in prop::collection::btree_map(quoted(), option::of(quoted()), 1..4),
        service in any::<bool>(),
    ) -> MasterPlaylist {
        let members: Vec<CcMember> = (1..)
            .zip(&names)
            .map(|(number, (name, language))| {
                let id = if service { InstreamId::service(number) } else { InstreamId::cc(number) };
                CcMember { instream_id: id.unwrap(), name: name.clone(), language: language.clone() }
            })
            .collect();
        let closed_caption_groups: Vec<CcGroup> =
            groups.into_iter().map(|group| CcGroup { group, members: members.clone() }).collect();
        let variants = variants
            .into_iter()
            .map(|(mut variant, index)| {
                if !closed_caption_groups.is_empty() {
                    variant.closed_captions = ClosedCaptions::Group(index.get(&closed_caption_groups).group.clone());
                } else if service {
                    variant.closed_captions = ClosedCaptions::None;
                }
                variant
            })
            .collect();
        MasterPlaylist { independent_segments, variants, session_keys, closed_caption_groups }
    }
}

fn hex_iv(iv: [u8; 16]) -> String {
    format!("0x{:032X}", u128::from_be_bytes(iv))
}

/// Our own reader and `quick-m3u8` see the same number of lines, no unknown tag, and give back the same bytes.
fn same_lines(text: &str) -> Result<Vec<HlsLine<'_>>, TestCaseError> {
    let own = Playlist::parse(text.as_bytes()).unwrap();
    prop_assert_eq!(own.render(), text);
    let mut reader = Reader::from_str(text, ParsingOptions::default());
    let mut writer = Writer::new(Vec::new());
    let mut lines = Vec::new();
    while let Some(line) = reader.read_line().unwrap() {
        prop_assert!(!matches!(line, HlsLine::UnknownTag(_) | HlsLine::Comment(_)), "{:?}", line);
        writer.write_line(line.clone()).unwrap();
        lines.push(line);
    }
    prop_assert_eq!(String::from_utf8(writer.into_inner()).unwrap(), text);
    // Its reader reports the end of the text as one blank line more, or not at all.
    let blank = |line: &HlsLine<'_>| matches!(line, HlsLine::Blank);
    while lines.last().is_some_and(blank) {
        lines.pop();
    }
    prop_assert!(!lines.iter().any(blank));
    prop_assert_eq!(own.lines.len(), lines.len());
    for (own, other) in own.lines.iter().zip(&lines) {
        prop_assert_eq!(matches!(own.content(), Content::Uri(_)), matches!(other, HlsLine::Uri(_)));
    }
    Ok(lines)
}

#[test]
fn examples_of_the_standard_read_and_render() {
    // RFC 8216, sections 8.3 and 8.4, with the line ends of both kinds.
    let media = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7794\n#EXT-X-TARGETDURATION:15\n\n\
                 #EXT-X-KEY:METHOD=AES-128,URI=\"https://priv.example.com/key.php?r=52\"\n\n\
                 #EXTINF:2.833,\nhttp://media.example.com/fileSequence52-A.ts\n\
                 #EXTINF:15.0,\nhttp://media.example.com/fileSequence52-B.ts\n";
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1280000,AVERAGE-BANDWIDTH=1000000\nhttp://example.com/low.m3u8\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS=\"mp4a.40.5\"\nhttp://example.com/audio-only.m3u8\n";
    for text in [media, master] {
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            let playlist = Playlist::parse(text.as_bytes()).unwrap();
            assert_eq!(playlist.render(), text);
            for line in &playlist.lines {
                let Some((name, Some(value))) = line.tag() else { continue };
                if ["EXT-X-KEY", "EXT-X-STREAM-INF"].contains(&name) {
                    assert_eq!(line.attributes().unwrap().unwrap().to_string(), value);
                }
            }
        }
    }
    let playlist = Playlist::parse(media.as_bytes()).unwrap();
    let key = playlist.lines[5].attributes().unwrap().unwrap();
    assert_eq!(key.get("METHOD").unwrap().token(), Some("AES-128"));
    assert_eq!(key.get("URI").unwrap().quoted(), Some("https://priv.example.com/key.php?r=52"));
    assert_eq!(playlist.lines[8].content(), &Content::Uri("http://media.example.com/fileSequence52-A.ts".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn quick_m3u8_reads_the_media_playlist_that_was_written(list in media()) {
        let text = list.render();
        let mut segments = Vec::new();
        let (mut key, mut duration, mut discontinuity, mut ended) = (None, 0.0, false, false);
        for line in same_lines(&text)? {
            prop_assert!(!ended);
            match line {
                HlsLine::Uri(uri) => {
                    segments.push((uri.into_owned(), duration, key.clone(), std::mem::take(&mut discontinuity)));
                }
                HlsLine::KnownTag(KnownTag::Hls(tag)) => match tag {
                    Tag::Version(tag) => prop_assert_eq!(tag.version(), u64::from(list.version().number())),
                    Tag::Targetduration(tag) => prop_assert_eq!(tag.target_duration(), list.target_duration),
                    Tag::MediaSequence(tag) => prop_assert_eq!(tag.media_sequence(), list.media_sequence),
                    Tag::IndependentSegments(_) => prop_assert!(list.independent_segments),
                    Tag::Discontinuity(_) => discontinuity = true,
                    Tag::Inf(tag) => duration = tag.duration(),
                    Tag::Key(tag) => {
                        key = tag.uri().map(|uri| (uri.to_owned(), tag.iv().map(str::to_owned)));
                        let method = if key.is_some() { "AES-128" } else { "NONE" };
                        prop_assert_eq!(tag.method().as_cow(), method);
                    }
                    Tag::Endlist(_) => ended = true,
                    Tag::M3u(_) | Tag::PlaylistType(_) => {}
                    other => prop_assert!(false, "{:?}", other),
                },
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(ended);
        prop_assert_eq!(segments.len(), list.segments.len());
        for ((uri, duration, key, discontinuity), ours) in segments.into_iter().zip(&list.segments) {
            prop_assert_eq!(uri, ours.uri.as_str());
            prop_assert_eq!((duration * 1e6).round() as u64, ours.duration.micros());
            prop_assert_eq!(key, ours.key.as_ref().map(|key| (key.uri.to_string(), key.iv.map(hex_iv))));
            prop_assert_eq!(discontinuity, ours.discontinuity);
        }
    }

    #[test]
    fn m3u8_rs_reads_the_media_playlist_that_was_written(list in media()) {
        let text = list.render();
        let read = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
        prop_assert_eq!(read.version, Some(usize::from(list.version().number())));
        prop_assert_eq!(read.target_duration, list.target_duration);
        prop_assert_eq!(read.media_sequence, list.media_sequence);
        prop_assert_eq!(read.independent_segments, list.independent_segments);
        prop_assert_eq!(read.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
        prop_assert!(read.end_list);
        prop_assert!(read.unknown_tags.is_empty());
        prop_assert_eq!(read.segments.len(), list.segments.len());
        let mut key = None;
        for (theirs, ours) in read.segments.iter().zip(&list.segments) {
            prop_assert_eq!(&theirs.uri, ours.uri.as_str());
            prop_assert_eq!(theirs.discontinuity, ours.discontinuity);
            // It keeps durations as f32.
            prop_assert!((f64::from(theirs.duration) * 1e6 - ours.duration.micros() as f64).abs() < 2.0);
            prop_assert_eq!(theirs.title.as_deref().unwrap_or_default(), "");
            // It takes METHOD=NONE for an unknown tag.
            if theirs.unknown_tags.iter().any(|tag| tag.rest.as_deref() == Some("METHOD=NONE")) {
                key = None;
                prop_assert_eq!(theirs.unknown_tags.len(), 1);
            } else {
                prop_assert!(theirs.unknown_tags.is_empty());
            }
            if let Some(tag) = &theirs.key {
                prop_assert_eq!(&tag.method, &m3u8_rs::KeyMethod::AES128);
                prop_assert_eq!((&tag.keyformat, &tag.keyformatversions), (&None, &None));
                key = Some((tag.uri.clone().unwrap(), tag.iv.clone()));
            }
            prop_assert_eq!(&key, &ours.key.as_ref().map(|key| (key.uri.to_string(), key.iv.map(hex_iv))));
        }
    }

    #[test]
    fn quick_m3u8_reads_the_multivariant_playlist_that_was_written(list in master()) {
        let text = list.render().unwrap();
        let ranges = list.variants.iter().any(|variant| variant.video_range != VideoRange::Sdr);
        let (mut keys, mut media, mut variants) = (Vec::new(), Vec::new(), Vec::new());
        let mut pending = None;
        for line in same_lines(&text)? {
            match line {
                HlsLine::Uri(uri) => variants.push((uri.into_owned(), pending.take().unwrap())),
                HlsLine::KnownTag(KnownTag::Hls(tag)) => match tag {
                    Tag::M3u(_) => {}
                    Tag::Version(tag) => prop_assert_eq!(tag.version(), u64::from(list.version().number())),
                    Tag::IndependentSegments(_) => prop_assert!(list.independent_segments),
                    Tag::SessionKey(tag) => {
                        prop_assert_eq!(tag.method().as_cow(), "AES-128");
                        prop_assert_eq!(tag.iv(), None);
                        keys.push(tag.uri().to_owned());
                    }
                    Tag::Media(tag) => {
                        prop_assert_eq!(tag.media_type().as_cow(), "CLOSED-CAPTIONS");
                        let language = tag.language().map(str::to_owned);
                        let id = tag.instream_id().unwrap().as_cow().into_owned();
                        media.push((tag.group_id().to_owned(), tag.name().to_owned(), language, id));
                    }
                    Tag::StreamInf(tag) => pending = Some(tag),
                    other => prop_assert!(false, "{:?}", other),
                },
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let mut wanted: Vec<String> = Vec::new();
        for uri in &list.session_keys {
            if !wanted.iter().any(|known| known == uri.as_str()) {
                wanted.push(uri.to_string());
            }
        }
        prop_assert_eq!(keys, wanted);
        let members = list.closed_caption_groups.iter().flat_map(|group| group.members.iter().map(|m| {
            let language = m.language.as_ref().map(QuotedString::to_string);
            (group.group.to_string(), m.name.to_string(), language, m.instream_id.to_string())
        }));
        prop_assert_eq!(media, members.collect::<Vec<_>>());
        prop_assert_eq!(variants.len(), list.variants.len());
        for ((uri, tag), ours) in variants.iter().zip(&list.variants) {
            prop_assert_eq!(uri, ours.uri.as_str());
            prop_assert_eq!(tag.bandwidth(), ours.bandwidth);
            prop_assert_eq!(tag.average_bandwidth(), Some(ours.average_bandwidth));
            let size = |r: Resolution| DecimalResolution { width: u64::from(r.width), height: u64::from(r.height) };
            prop_assert_eq!(tag.resolution(), ours.resolution.map(size));
            let rate = ours.frame_rate.map(|rate| rate.to_string());
            prop_assert_eq!(tag.frame_rate().map(|rate| format!("{rate:.3}")), rate);
            let range = tag.video_range().map(|range| range.as_cow().into_owned());
            prop_assert_eq!(range, ranges.then(|| ours.video_range.to_string()));
            let group = match &ours.closed_captions {
                ClosedCaptions::Group(group) => Some(group.as_str()),
                ClosedCaptions::Absent | ClosedCaptions::None => None,
            };
            prop_assert_eq!(tag.closed_captions(), group);
            let theirs: Vec<&str> = tag.codecs().map(|text| text.split(',').collect()).unwrap_or_default();
            let (audio, video): (Vec<_>, Vec<_>) = ours.codecs.iter().partition(|codec| codec.is_audio());
            let codecs: Vec<&str> = video.into_iter().chain(audio).map(CodecString::as_str).collect();
            prop_assert_eq!(theirs, codecs);
        }
    }

    #[test]
    fn m3u8_rs_reads_the_multivariant_playlist_that_was_written(list in master()) {
        let text = list.render().unwrap();
        let read = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
        prop_assert_eq!(read.version, Some(usize::from(list.version().number())));
        prop_assert_eq!(read.independent_segments, list.independent_segments);
        prop_assert!(read.unknown_tags.is_empty());
        prop_assert!(read.session_data.is_empty());
        let members: usize = list.closed_caption_groups.iter().map(|group| group.members.len()).sum();
        prop_assert_eq!(read.alternatives.len(), members);
        prop_assert_eq!(read.variants.len(), list.variants.len());
        for (theirs, ours) in read.variants.iter().zip(&list.variants) {
            prop_assert!(!theirs.is_i_frame);
            prop_assert_eq!(&theirs.uri, ours.uri.as_str());
            prop_assert_eq!(theirs.bandwidth, ours.bandwidth);
            prop_assert_eq!(theirs.average_bandwidth, Some(ours.average_bandwidth));
            prop_assert_eq!(theirs.codecs.is_some(), !ours.codecs.is_empty());
            let size = |r: Resolution| m3u8_rs::Resolution { width: u64::from(r.width), height: u64::from(r.height) };
            prop_assert_eq!(theirs.resolution, ours.resolution.map(size));
            let captions = match &ours.closed_captions {
                ClosedCaptions::Absent => None,
                ClosedCaptions::None => Some(m3u8_rs::ClosedCaptionGroupId::None),
                ClosedCaptions::Group(group) => Some(m3u8_rs::ClosedCaptionGroupId::GroupId(group.to_string())),
            };
            prop_assert_eq!(&theirs.closed_captions, &captions);
        }
    }

    #[test]
    fn a_text_is_refused_or_survives(text in text()) {
        if let Ok(value) = QuotedString::new(text.clone()) {
            let line = format!("#EXTM3U\n#EXT-X-MEDIA:A=1,NAME=\"{value}\",B=2\n");
            let playlist = Playlist::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(playlist.lines.len(), 2);
            let list = playlist.lines[1].attributes().unwrap().unwrap();
            prop_assert_eq!(list.iter().count(), 3);
            prop_assert_eq!(list.get("NAME").unwrap().quoted(), Some(text.as_str()));
        } else {
            prop_assert!(KeyUri::new(text.clone()).is_err());
        }
        if let Ok(value) = Uri::new(text.clone()) {
            let playlist = Playlist::parse(format!("#EXTM3U\n{value}\n").as_bytes()).unwrap();
            prop_assert_eq!(playlist.lines.len(), 2);
            prop_assert_eq!(playlist.lines[1].content(), &Content::Uri(text));
        }
    }

    #[test]
    fn others_read_what_was_rewritten(list in media()) {
        let base = Url::parse("https://media.example/film/index.m3u8").unwrap();
        let before = list.render();
        let Ok(after) = rewrite(before.as_bytes(), &base, &|_| Some("token=t".to_owned())) else { return Ok(()) };
        let (old, new) = (same_lines(&before)?, same_lines(&after)?);
        prop_assert_eq!(old.len(), new.len());
        for (old, new) in old.iter().zip(&new) {
            match (old, new) {
                (HlsLine::KnownTag(KnownTag::Hls(Tag::Key(old))), HlsLine::KnownTag(KnownTag::Hls(Tag::Key(new)))) => {
                    prop_assert_eq!((old.method(), old.iv(), old.keyformat()), (new.method(), new.iv(), new.keyformat()));
                    let (old, new) = (old.uri().unwrap_or_default(), new.uri().unwrap_or_default());
                    prop_assert!(old == new || new.contains("token=t"), "{} is {}", old, new);
                }
                (old, new) => prop_assert_eq!(old, new),
            }
        }
        let read = |text: &str| {
            let mut playlist = m3u8_rs::parse_media_playlist_res(text.as_bytes()).ok()?;
            playlist.segments.iter_mut().filter_map(|segment| segment.key.as_mut()).for_each(|key| key.uri = None);
            Some(playlist)
        };
        prop_assert_eq!(read(&before), read(&after));
    }
}
