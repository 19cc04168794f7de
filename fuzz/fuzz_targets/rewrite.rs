//! A playlist that is rewritten for a viewer: the token comes behind URIs of this origin and nowhere else, everything
//! else stays byte for byte, and what comes out is a playlist of the same lines.

#![no_main]

use keyrung::playlist::read::{Content, Playlist};
use keyrung::playlist::rewrite::{Target, rewrite};
use libfuzzer_sys::fuzz_target;
use url::Url;

const TOKEN: &str = "qtok3n=A.b-c_d";

fuzz_target!(|input: &[u8]| {
    let base = Url::parse("https://media.example:8443/film/720p/index.m3u8?a=b").expect("a URL");
    let known = input.windows(6).any(|window| window == b"qtok3n");
    let query = |target: Target<'_>| {
        let (Target::Key(path) | Target::Playlist(path)) = target;
        assert!(path.starts_with('/'), "{path} is no path");
        Some(TOKEN.to_owned())
    };
    if let Ok(same) = rewrite(input, &base, &|_| None) {
        assert_eq!(same.as_bytes(), input);
    }
    let Ok(out) = rewrite(input, &base, &query) else { return };
    let (before, after) = (Playlist::parse(input).expect("read before"), Playlist::parse(out.as_bytes()).expect("still"));
    assert_eq!(before.lines.len(), after.lines.len());
    for (old, new) in before.lines.iter().zip(&after.lines) {
        if old == new {
            continue;
        }
        let uri = match (old.content(), new.content()) {
            (Content::Tag { name, .. }, Content::Tag { name: same, .. }) => {
                assert_eq!(name, same);
                let [old, new] = [old, new].map(|line| line.attributes().expect("a tag").expect("a list"));
                let mut pairs = old.iter().zip(new.iter()).filter(|(old, new)| old != new);
                let (_, (name, value)) = pairs.next().expect("one of them changed");
                assert!(name == "URI" && pairs.next().is_none());
                value.quoted().expect("quoted").to_owned()
            }
            (Content::Uri(_), Content::Uri(new)) => new.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(base.join(&uri).expect("a URL").origin(), base.origin(), "the token leaves: {uri}");
        assert!(known || uri.matches(TOKEN).count() == 1, "{uri}");
    }
    // Whoever asks again with what they were given is given the same.
    assert_eq!(rewrite(out.as_bytes(), &base, &query).as_deref(), Ok(out.as_str()));
});
