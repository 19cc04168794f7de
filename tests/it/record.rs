//! The commit record: what it says is so, what it must not tell it does not, and its seal holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keyrung::package::record::Record;

use super::common::{World, repository, tool};
use super::package::{self, Package, path_text};

fn package_of(name: &str, extra: &[&str]) -> Package {
    let world = World::new(name);
    let inputs = ["a", "b", "c"].map(|part| repository(&format!("fixtures/ladder-bframes-{part}.ts")));
    let mut arguments = vec!["--json", "package", "--out", "out", "--segment-duration", "2"];
    arguments.extend(inputs.iter().map(|input| path_text(input)));
    arguments.extend_from_slice(extra);
    let run = world.run(&arguments);
    package::read(world, run).expect("a package")
}

fn record_of(package: &Package) -> (String, Record) {
    let text = fs::read_to_string(package.folder.join("keyrung.json")).expect("the record");
    let record = serde_json::from_str(&text).expect("a record");
    (text, record)
}

/// CRC-64/NVME bit by bit, from its parameters: nothing of the library that keyrung uses.
fn crc64_nvme(bytes: &[u8]) -> u64 {
    let step = |crc: u64, _: u32| if crc & 1 == 1 { crc >> 1 ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u64::from(*byte), step))
}

/// What openssl prints, without the line end.
fn printed(arguments: &[&str]) -> String {
    String::from_utf8_lossy(&tool("openssl", arguments).stdout).trim().to_owned()
}

fn files_below(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            files_below(&entry.path(), &format!("{name}/"), out);
        } else {
            out.insert(name);
        }
    }
}

#[test]
fn it_names_every_file_with_length_and_checksum() {
    assert_eq!(crc64_nvme(b"123456789"), 0xae8b_1486_0a79_9888, "the check value of the catalogue");
    for digest in ["crc64", "blake3"] {
        let package = package_of(&format!("record-{digest}"), &["--digest", digest]);
        let (_, record) = record_of(&package);
        let mut there = BTreeSet::new();
        files_below(&package.folder, "", &mut there);
        let named: BTreeSet<String> =
            record.files.iter().map(|file| file.path.clone()).chain(["keyrung.json".into()]).collect();
        assert_eq!(named, there);
        for file in &record.files {
            let bytes = fs::read(package.folder.join(&file.path)).expect("the file");
            assert_eq!(file.bytes, bytes.len() as u64, "{}", file.path);
            let expected = match digest {
                "crc64" => format!("crc64nvme:{:016x}", crc64_nvme(&bytes)),
                _ => format!("blake3:{}", blake3::hash(&bytes)),
            };
            assert_eq!(file.digest, expected, "{}", file.path);
        }
    }
}

#[test]
fn it_says_what_the_playlists_say_and_nothing_private() {
    let package = package_of("record-contents", &["--context", "tenant=secret-tenant"]);
    let (text, record) = record_of(&package);
    for (recorded, rendition) in record.renditions.iter().zip(&package.renditions) {
        assert_eq!(recorded.name, rendition.name);
        for (recorded, segment) in recorded.segments.iter().zip(&rendition.segments) {
            assert_eq!(recorded.iv.as_deref(), Some(segment.iv.as_str()));
            assert_eq!(recorded.duration_us as f64 / 1e6, segment.duration);
            assert_eq!(recorded.clear_bytes, segment.clear.len() as u64);
        }
    }
    let sealed = package.json["sealed_key"]["ciphertext"].as_str().expect("a ciphertext");
    let kek = package.json["sealed_key"]["key"].as_str().expect("the wrapping key's name");
    for private in [sealed, kek, "secret-tenant", "ladder-bframes", &package.world.folder.to_string_lossy()] {
        assert!(!text.contains(private), "{private} is published");
    }
}

/// The seal, made again by openssl from the exported key: HKDF-SHA256 with a label, then HMAC-SHA256 of the record as
/// compact JSON without the seal, as `manual/formats.md` has it.
#[test]
fn its_seal_is_what_the_manual_says() {
    let package = package_of("record-seal", &[]);
    let (_, mut record) = record_of(&package);
    let seal = record.seal.take().expect("a seal");
    let hexkey = format!("hexkey:{}", package.key);
    let kdf = [
        "kdf",
        "-keylen",
        "32",
        "-kdfopt",
        "digest:SHA256",
        "-kdfopt",
        &hexkey,
        "-kdfopt",
        "info:keyrung record v1",
        "HKDF",
    ];
    let subkey = printed(&kdf).replace(':', "");
    assert_eq!(subkey.len(), 64, "openssl gave a subkey");
    let hmac = |record: &Record| {
        let file = package.world.folder.join("record");
        fs::write(&file, serde_json::to_vec(record).expect("JSON")).expect("a file");
        let hexkey = format!("hexkey:{subkey}");
        printed(&["dgst", "-sha256", "-mac", "HMAC", "-macopt", &hexkey, path_text(&file)])
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(hmac(&record), seal);
    record.renditions[0].segments[0].duration_us += 1;
    assert_ne!(hmac(&record), seal);
}

#[test]
fn a_clear_package_has_no_seal_and_no_key() {
    let world = World::new("record-clear");
    let input = repository("fixtures/plain.ts");
    world.run(&["package", path_text(&input), "--out", "out", "--protection", "none"]).expect(0).expect("a package");
    let text = fs::read_to_string(world.folder.join("out/keyrung.json")).expect("the record");
    let record: Record = serde_json::from_str(&text).expect("a record");
    assert_eq!((record.seal, record.key_id), (None, None));
    assert!(record.renditions.iter().flat_map(|r| &r.segments).all(|segment| segment.iv.is_none()));
}
