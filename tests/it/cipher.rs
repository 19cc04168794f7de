//! Keys and IVs: what the playlists say, and what openssl, not keyrung, makes of the segments.

use std::collections::HashMap;
use std::sync::Mutex;

use super::common::{World, every, tool};
use super::frames::{case_name, cases};
use super::package::{self, path_text};
use super::table;

#[test]
fn no_key_and_iv_occur_twice() {
    let seen: Mutex<HashMap<(String, String), String>> = Mutex::default();
    every(&cases(table::packaged()), case_name, |case| {
        let package = package::of(&case.0, case.1)?;
        for rendition in &package.renditions {
            for segment in &rendition.segments {
                let place = format!("{} {}/{}", case_name(case), rendition.name, segment.uri);
                let pair = (package.key.to_lowercase(), segment.iv.to_lowercase());
                let before = seen.lock().expect("no panic").insert(pair, place);
                check!(before.is_none(), "{}/{}: key and IV are those of {before:?}", rendition.name, segment.uri);
            }
        }
        Ok(())
    });
}

#[test]
fn ivs_are_32_upper_case_digits_and_the_key_is_nowhere_in_the_package() {
    every(&cases(table::packaged()), case_name, |case| {
        let package = package::of(&case.0, case.1)?;
        for segment in package.renditions.iter().flat_map(|rendition| &rendition.segments) {
            let upper = segment.iv.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            check!(segment.iv.len() == 32 && upper, "IV 0x{}", segment.iv);
            check!(segment.stored.len() == segment.clear.len() / 16 * 16 + 16, "the padding is not that of PKCS #7");
        }
        let record = std::fs::read_to_string(package.folder.join("keyrung.json")).map_err(|e| e.to_string())?;
        let texts = package.renditions.iter().map(|r| &r.playlist).chain([&package.master, &record]);
        for text in texts {
            check!(!text.to_lowercase().contains(&package.key.to_lowercase()), "the key is published: {text}");
        }
        Ok(())
    });
}

/// Encrypting with openssl what openssl decrypted gives the stored bytes: nothing but the key and the IV is in them.
#[test]
fn openssl_encrypts_to_the_same_bytes() {
    let plain = table::all().into_iter().find(|fixture| fixture.name == "plain.ts").expect("plain.ts");
    let package = package::of(&plain, 2).expect("a package");
    for rendition in &package.renditions {
        for segment in &rendition.segments {
            let file = package.world.folder.join(format!("clear-{}", segment.uri));
            std::fs::write(&file, &segment.clear).expect("a file");
            let arguments =
                ["enc", "-e", "-aes-128-cbc", "-K", &package.key, "-iv", &segment.iv, "-in", path_text(&file)];
            assert!(tool("openssl", &arguments).stdout == segment.stored, "{}", segment.uri);
        }
    }
}

#[test]
fn without_protection_the_same_segments_are_stored_in_clear() {
    let names = ["plain.ts", "packets-192.ts", "pcr-own-pid.ts", "two-programs.ts", "wrap-at-cut.ts", "open-gop.ts"];
    let fixtures: Vec<_> = table::all().into_iter().filter(|f| names.contains(&f.name.as_str())).collect();
    assert_eq!(fixtures.len(), names.len());
    every(
        &fixtures,
        |fixture| fixture.name.clone(),
        |fixture| {
            let package = package::of(fixture, 2)?;
            let world = World::new(&format!("{}-clear", fixture.name));
            let input = fixture.path();
            let arguments = ["package", path_text(&input), "--out", "out", "--segment-duration", "2"];
            world.run(&[&arguments[..], &["--protection", "none"]].concat()).expect(0)?;
            for rendition in &package.renditions {
                let folder = world.folder.join("out").join(&rendition.name);
                let playlist = std::fs::read_to_string(folder.join("index.m3u8")).map_err(|e| e.to_string())?;
                check!(!playlist.contains("EXT-X-KEY"), "a key in a playlist without protection");
                for segment in &rendition.segments {
                    let stored = std::fs::read(folder.join(&segment.uri)).map_err(|e| e.to_string())?;
                    check!(stored == segment.clear, "{}/{} differs", rendition.name, segment.uri);
                }
            }
            Ok(())
        },
    );
}
