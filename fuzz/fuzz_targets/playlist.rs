//! Playlists: what is read is written as it was, and no text that a value takes can become more than that value.

#![no_main]

use keyrung::playlist::attribute::AttributeList;
use keyrung::playlist::media::{MediaPlaylist, MediaSegment, SegmentKey, round_durations};
use keyrung::playlist::read::{Content, Playlist};
use keyrung::playlist::value::{KeyUri, QuotedString, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(mut playlist) = Playlist::parse(input) {
        assert_eq!(playlist.render().as_bytes(), input);
        for line in &mut playlist.lines {
            let Some(Ok(list)) = line.attributes() else { continue };
            for (_, value) in list.iter() {
                let _ = (value.integer(), value.float(), value.hexadecimal());
            }
            line.set_attributes(&list);
        }
        assert_eq!(playlist.render().as_bytes(), input, "attributes put back");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(list) = AttributeList::parse(text) {
        assert_eq!(list.to_string(), text);
    }
    quoted(text);
    // The first part is a segment's URI, the second its key's.
    let (uri, key) = text.split_once('\n').unwrap_or((text, text));
    if let (Ok(uri), Ok(key)) = (Uri::new(uri), KeyUri::new(key)) {
        written(uri, key);
    }
});

fn quoted(text: &str) {
    let Ok(value) = QuotedString::new(text) else { return };
    let mut list = AttributeList::parse("METHOD=AES-128,URI=\"a\",IV=0x0").expect("a list");
    assert!(list.replace("URI", value));
    let again = AttributeList::parse(&list.to_string()).expect("still a list");
    assert_eq!(again, list);
    assert_eq!(again.get("URI").and_then(|value| value.quoted()), Some(text));
}

/// A media playlist with these values has exactly the lines that it should have.
fn written(uri: Uri, key: KeyUri) {
    let key_text = key.to_string();
    let uri_text = uri.to_string();
    let duration = round_durations(&[540_000]).first().copied().expect("one end is one duration");
    let segment =
        MediaSegment { uri, duration, key: Some(SegmentKey { uri: key, iv: Some([0xA5; 16]) }), discontinuity: true };
    let playlist =
        MediaPlaylist { target_duration: 6, media_sequence: 0, independent_segments: false, segments: vec![segment] };
    playlist.check().expect("six seconds are within six seconds");
    let read = Playlist::parse(playlist.render().as_bytes()).expect("what is written can be read");
    let uris: Vec<_> = read.lines.iter().filter(|line| matches!(line.content(), Content::Uri(_))).collect();
    assert!(matches!(uris[..], [line] if *line.content() == Content::Uri(uri_text)));
    let mut keys = read.lines.iter().filter(|line| matches!(line.tag(), Some(("EXT-X-KEY", _))));
    let list = keys.next().and_then(|line| line.attributes()).expect("a key").expect("a list");
    assert_eq!(list.get("URI").and_then(|value| value.quoted()), Some(key_text.as_str()));
    assert!(keys.next().is_none());
}
