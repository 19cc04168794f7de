//! Every rule of `keyrung verify` finds what it is there for, and good packages break none.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use super::common::{Check, World, every, repository, tool};
use super::verify_mutant::{Base, Mutant, Mutation, check, findings};
use super::{table, verify_playlists, verify_streams};

/// Rules whose faults need a server: `verify_hostile.rs` makes them.
const ON_THE_NETWORK: [&str; 5] = ["too-slow", "too-large", "segment-redirected", "key-redirected", "content-encoding"];

fn all() -> Vec<&'static Mutation> {
    let lists = [
        verify_playlists::LINES,
        verify_playlists::SEGMENTS,
        verify_playlists::VARIANTS,
        verify_playlists::KEYS,
        verify_streams::SEGMENTS,
        verify_streams::TIMELINES,
        verify_streams::LADDERS,
        verify_streams::RECORDS,
    ];
    lists.into_iter().flatten().collect()
}

#[test]
fn every_planted_fault_is_found_under_its_code() {
    let all = all();
    assert!(all.len() >= 80, "{} ways to break a package", all.len());
    every(&all, |mutation| format!("{} of {:?}", mutation.code, mutation.base), |mutation| check(mutation));
}

#[test]
fn every_rule_has_a_fault_that_it_finds() {
    let rules = World::new("verify-rules").run(&["--json", "verify", "--list-rules"]).expect(0).expect("the rules");
    let rules = rules.json().expect("JSON");
    let listed: BTreeSet<String> = rules["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| rule["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(listed.len() >= 60, "{} rules", listed.len());
    let planted: BTreeSet<String> =
        all().iter().map(|mutation| mutation.code).chain(ON_THE_NETWORK).map(str::to_owned).collect();
    let missing: Vec<_> = listed.difference(&planted).collect();
    assert!(missing.is_empty(), "nothing is planted for {missing:?}");
    let unknown: Vec<_> = planted.difference(&listed).collect();
    assert!(unknown.is_empty(), "no such rules: {unknown:?}");
    let text = World::new("verify-rules").run(&["verify", "--list-rules"]).expect(0).expect("the rules").text();
    assert!(listed.iter().all(|id| text.contains(id.as_str())));
}

/// What a whole package of ours says about itself: nothing but that its key came from the key store.
#[test]
fn good_packages_of_ours_have_no_findings() {
    for base in [Base::Sealed, Base::Recorded, Base::Clear] {
        let mutant = Mutant::of(base);
        let (exit, report) = mutant.verify(&[]).expect("a report");
        let codes: Vec<String> = findings(&report).into_iter().map(|finding| finding.0).collect();
        assert!(codes.iter().all(|code| code == "key-uri-unchecked"), "{base:?}: {codes:?}");
        assert_eq!(exit, Some(0));
        assert_eq!(report["segments_decoded"], 12);
        assert_eq!(report["verdict"], "pass");
    }
}

/// Findings of packages that are made from damaged inputs are the inputs' own.
#[test]
fn packages_of_all_fixtures_verify() {
    // What the fixture's defect is, seen from outside.
    let known = |name: &str| -> &[&str] {
        match name.trim_end_matches(".ts") {
            "bad-sync-byte" | "continuity-gap" | "continuity-gap-audio" | "lost-bytes" | "scrambled-packets" => {
                &["continuity"]
            }
            "error-flagged" => &["continuity", "transport-error"],
            _ => &[],
        }
    };
    every(
        &table::packaged(),
        |fixture| fixture.name.clone(),
        |fixture| {
            let world = World::new(&format!("{}-verify", fixture.name));
            let path = fixture.path();
            let input = path.to_str().ok_or("a path in UTF-8")?;
            world.run(&["package", input, "--out", "out", "--segment-duration", "2"]).expect(0)?;
            let run = world.run(&["--json", "verify", "out"]);
            let errors: BTreeSet<String> = findings(&run.json()?)
                .into_iter()
                .filter(|finding| finding.1 == "error")
                .map(|finding| finding.0)
                .collect();
            let known: BTreeSet<String> = known(&fixture.name).iter().map(|code| (*code).to_owned()).collect();
            check!(errors == known, "errors {errors:?}, its own are {known:?}");
            check!(run.code == Some(if known.is_empty() { 0 } else { 6 }), "exit {:?}", run.code);
            Ok(())
        },
    );
}

/// Whatever bit changes in whatever file: it is found.
#[test]
fn flipped_bits_are_found_everywhere() {
    let files = ["360p/00001.ts", "360p/index.m3u8", "720p/index.m3u8", "master.m3u8", "keyrung.json"];
    let length = |name: &str| {
        let path = Mutant::of(Base::Recorded).folder.join(name);
        std::fs::metadata(path).expect("a file of the package").len() as usize
    };
    let cases: Vec<(&str, usize)> =
        files.into_iter().flat_map(|name| (0..length(name)).step_by(1000).map(move |at| (name, at))).collect();
    assert!(cases.len() > 80, "{} places", cases.len());
    every(
        &cases,
        |(name, at)| format!("{name}, byte {at}"),
        |(name, at)| {
            let mutant = Mutant::of(Base::Recorded);
            let path = mutant.folder.join(name);
            let mut bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
            bytes[*at] ^= 1 << (at / 1000 % 8);
            std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
            let run = mutant.world.run(&["--json", "verify", "out"]);
            // A master that is no playlist any more is no target.
            check!(matches!(run.code, Some(3 | 6)), "exit {:?}: {}", run.code, run.text());
            std::fs::remove_dir_all(&mutant.world.folder).map_err(|error| error.to_string())
        },
    );
}

fn errors(report: &Value) -> Vec<String> {
    let list = report["findings"].as_array().into_iter().flatten();
    list.filter(|finding| finding["severity"] == "error").map(Value::to_string).collect()
}

/// ffmpeg's own packager, encrypted (one IV for all) and clear.
#[test]
fn good_packages_of_ffmpeg_have_no_errors() {
    for encrypted in [true, false] {
        let world = World::new("verify-ffmpeg");
        let path = |name: &str| world.folder.join(name).to_str().expect("a path in UTF-8").to_owned();
        let input = repository("samples/ladder/720p.ts");
        std::fs::create_dir(world.folder.join("out")).expect("a folder");
        let key = [7_u8; 16];
        std::fs::write(world.folder.join("k.key"), key).expect("a key");
        std::fs::write(path("k.info"), format!("http://keys.example/k\n{}\n", path("k.key"))).expect("a key file");
        let (info, out) = (path("k.info"), path("out/index.m3u8"));
        let mut arguments = vec!["-v", "error", "-i", input.to_str().expect("a path in UTF-8"), "-c", "copy"];
        arguments.extend([
            "-f",
            "hls",
            "-hls_time",
            "4",
            "-hls_playlist_type",
            "vod",
            "-hls_flags",
            "independent_segments",
        ]);
        if encrypted {
            arguments.extend(["-hls_key_info_file", &info]);
        }
        arguments.push(&out);
        tool("ffmpeg", &arguments).expect(0).expect("a package");
        let options: &[&str] = if encrypted { &["--key-file", "k.key"] } else { &[] };
        let run = world.run(&[&["--json", "verify", "out"], options].concat());
        let report = run.json().expect("a report");
        assert_eq!(errors(&report), [""; 0]);
        assert_eq!(run.code, Some(0));
        let told = findings(&report).iter().any(|finding| finding.0 == "iv-reused");
        assert_eq!(told, encrypted, "ffmpeg gives all segments one IV");
        assert!(report["segments_decoded"].as_u64().is_some_and(|count| count >= 5));
        // Through the environment, the same.
        if encrypted {
            let mut command = world.command(&["--json", "verify", "out", "--key-hex-env", "THE_KEY"]);
            let output =
                command.env("THE_KEY", hex::encode(key)).stdin(Stdio::null()).output().expect("keyrung starts");
            assert_eq!(output.status.code(), Some(0));
            assert!(!String::from_utf8_lossy(&output.stdout).contains(&hex::encode(key)), "the key is told");
        }
    }
}

/// shaka-packager: separate audio, I-frame playlists, IVs of its own; AES-128 and clear.
#[test]
fn good_packages_of_shaka_have_no_errors() {
    let packager = repository("target/shaka/bin/packager");
    assert!(packager.exists(), "{} is missing; hint: run scripts/test", packager.display());
    for encrypted in [true, false] {
        let world = World::new("verify-shaka");
        let mut arguments = Vec::new();
        for name in ["360p", "720p"] {
            let input = repository(&format!("samples/ladder/{name}.ts"));
            let input = input.display();
            arguments.push(format!(
                "in={input},stream=video,segment_template=out/{name}/$Number$.ts,playlist_name={name}.m3u8"
            ));
        }
        let input = repository("samples/ladder/360p.ts");
        let input = input.display();
        arguments.push(format!(
            "in={input},stream=audio,segment_template=out/a/$Number$.ts,playlist_name=a.m3u8,hls_group_id=a,hls_name=A"
        ));
        arguments
            .extend(["--hls_master_playlist_output", "out/master.m3u8", "--segment_duration", "4"].map(str::to_owned));
        if encrypted {
            let key = "0123456789abcdef0123456789abcdef";
            arguments.extend(
                [
                    "--enable_raw_key_encryption",
                    "--protection_scheme",
                    "aes128",
                    "--hls_key_uri",
                    "https://keys.example/k",
                ]
                .map(str::to_owned),
            );
            arguments.extend([
                "--keys".to_owned(),
                format!("label=:key_id={key}:key={key}"),
                "--clear_lead".to_owned(),
                "0".to_owned(),
            ]);
            std::fs::write(world.folder.join("k.key"), hex::decode(key).expect("hex")).expect("a key");
        }
        let output = std::process::Command::new(&packager)
            .args(&arguments)
            .current_dir(&world.folder)
            .output()
            .expect("the packager starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let options: &[&str] = if encrypted { &["--key-file", "k.key"] } else { &[] };
        let run = world.run(&[&["--json", "verify", "out"], options].concat());
        let report = run.json().expect("a report");
        assert_eq!(errors(&report), [""; 0], "encrypted: {encrypted}");
        assert!(report["segments_decoded"].as_u64().is_some_and(|count| count >= 15), "{}", report["segments_decoded"]);
    }
}

#[test]
fn the_page_is_whole_and_asks_for_nothing() {
    let mutant = Mutant::of(Base::Recorded);
    let run = mutant.world.run(&["verify", "out", "--html", "report.html"]).expect(0).expect("a verdict");
    assert!(run.text().contains("pass: 0 errors"), "{}", run.text());
    let page = std::fs::read_to_string(mutant.world.folder.join("report.html")).expect("the page");
    assert_eq!(page.matches("<svg").count(), 3, "bit rates, cuts, audio");
    for part in ["<link", "<script", "src=", "url(", "@import"] {
        assert!(!page.contains(part), "{part} asks for something");
    }
}

#[test]
fn what_cannot_be_verified_is_refused() -> Check {
    let world = World::new("verify-refused");
    world.run(&["verify", "nowhere"]).expect(3)?;
    std::fs::create_dir(world.folder.join("empty")).map_err(|error| error.to_string())?;
    world.run(&["verify", "empty"]).expect(3)?;
    world.run(&["verify", "ftp://example.org/x.m3u8"]).expect(3)?;
    world.run(&["verify"]).expect(2)?;
    world.run(&["verify", "empty", "--sample", "3/2"]).expect(2)?;
    world.run(&["verify", "empty", "--key-file", "none"]).expect(4)?;
    world.run(&["verify", "empty", "--key-hex-env", "NOT_SET"]).expect(4)?;
    let run = world.run(&["verify", repository("README.md").to_str().ok_or("a path")?]);
    check!(matches!(run.code, Some(3 | 6)), "exit {:?}", run.code);
    Ok(())
}

/// A single segment, in clear.
#[test]
fn a_lone_segment_is_looked_at() -> Check {
    let world = World::new("verify-lone");
    let plain = repository("samples/ladder/360p.ts");
    let run = world.run(&["--json", "verify", plain.to_str().ok_or("a path")?]);
    let codes: Vec<String> = findings(&run.json()?).into_iter().filter(|f| f.1 == "error").map(|f| f.0).collect();
    check!(codes.is_empty() && run.code == Some(0), "{codes:?}");
    let run = world.run(&["--json", "verify", repository("fixtures/continuity-gap.ts").to_str().ok_or("a path")?]);
    let codes: Vec<String> = findings(&run.json()?).into_iter().map(|f| f.0).collect();
    check!(run.code == Some(6) && codes.contains(&"continuity".to_owned()), "{codes:?}");
    Ok(())
}
