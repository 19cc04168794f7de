//! A package as a player would read it: playlists, keys from `key export`, segments decrypted by openssl.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use super::common::{Check, Run, World, tool};
use super::table::Fixture;

/// A segment of a playlist.
#[derive(Debug)]
pub struct Segment {
    /// As the playlist names it.
    pub uri: String,
    /// EXTINF in seconds.
    pub duration: f64,
    /// The IV as the playlist writes it, without 0x.
    pub iv: String,
    /// What is stored.
    pub stored: Vec<u8>,
    /// What it is when decrypted.
    pub clear: Vec<u8>,
}

/// A rendition.
#[derive(Debug)]
pub struct Rendition {
    /// Its folder's name.
    pub name: String,
    /// Its part of the JSON result.
    pub json: Value,
    /// Its playlist.
    pub playlist: String,
    /// Its segments.
    pub segments: Vec<Segment>,
    /// All segments decrypted, end to end, as a file.
    pub clear_file: PathBuf,
}

/// A whole package.
#[derive(Debug)]
pub struct Package {
    /// The world that it was made in.
    pub world: World,
    /// Its folder.
    pub folder: PathBuf,
    /// The JSON result of the command.
    pub json: Value,
    /// The master playlist.
    pub master: String,
    /// The data key in hexadecimal.
    pub key: String,
    /// The renditions in the order of the result.
    pub renditions: Vec<Rendition>,
}

/// The package of a fixture with segments of `seconds`, made once for all tests.
pub fn of(fixture: &Fixture, seconds: u32) -> Check<Arc<Package>> {
    type Slot = Arc<OnceLock<Check<Arc<Package>>>>;
    static MADE: OnceLock<Mutex<HashMap<(String, u32), Slot>>> = OnceLock::new();
    let key = (fixture.name.clone(), seconds);
    let slot = Arc::clone(MADE.get_or_init(Mutex::default).lock().expect("no panic").entry(key).or_default());
    slot.get_or_init(|| make(&fixture.name, &[path_text(&fixture.path())], seconds).map(Arc::new)).clone()
}

/// Packages inputs in a new world and reads the package back.
pub fn make(name: &str, inputs: &[&str], seconds: u32) -> Check<Package> {
    let world = World::new(&format!("{name}-{seconds}s"));
    let seconds = seconds.to_string();
    let mut arguments = vec!["--json", "package"];
    arguments.extend_from_slice(inputs);
    arguments.extend(["--out", "out", "--segment-duration", &seconds]);
    let run = world.run(&arguments);
    read(world, run)
}

/// Reads back what a run of `--json package ... --out out` has left.
pub fn read(world: World, run: Run) -> Check<Package> {
    let json = run.expect(0)?.json()?;
    let folder = world.folder.join("out");
    let key_id = json["key_id"].as_str().ok_or("no key_id in the result")?;
    let export = world.run(&["key", "export", key_id, "--hex"]).expect(0)?.text();
    let key = export.strip_suffix('\n').ok_or("key export --hex does not end with a newline")?.to_owned();
    check!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "not 32 hex digits: {key:?}");
    let master = text(&folder.join(json["master"].as_str().ok_or("no master in the result")?))?;
    let list = json["renditions"].as_array().ok_or("no renditions in the result")?;
    let mut renditions = Vec::new();
    for one in list {
        renditions.push(rendition(&world, &folder, &key, one)?);
    }
    Ok(Package { world, folder, json: json.clone(), master, key, renditions })
}

fn rendition(world: &World, folder: &Path, key: &str, json: &Value) -> Check<Rendition> {
    let name = json["name"].as_str().ok_or("a rendition without a name")?.to_owned();
    let path = folder.join(json["playlist"].as_str().ok_or("a rendition without a playlist")?);
    let playlist = text(&path)?;
    let (mut segments, mut iv, mut duration) = (Vec::new(), None, None);
    for line in playlist.lines() {
        if let Some(attributes) = line.strip_prefix("#EXT-X-KEY:") {
            check!(attributes.starts_with("METHOD=AES-128,"), "not AES-128: {line}");
            iv = attributes.split("IV=0x").nth(1).map(|rest| rest.split(',').next().unwrap_or_default().to_owned());
        } else if let Some(rest) = line.strip_prefix("#EXTINF:") {
            duration = rest.split(',').next().and_then(|seconds| seconds.parse::<f64>().ok());
        } else if !line.starts_with('#') && !line.is_empty() {
            let iv = iv.take().ok_or(format!("no EXT-X-KEY with an IV of its own before {line}"))?;
            let duration = duration.take().ok_or(format!("no EXTINF before {line}"))?;
            let stored_at = path.parent().unwrap_or(folder).join(line);
            let stored = fs::read(&stored_at).map_err(|e| format!("{}: {e}", stored_at.display()))?;
            let clear = decrypt(&stored_at, key, &iv)?;
            segments.push(Segment { uri: line.to_owned(), duration, iv, stored, clear });
        }
    }
    check!(!segments.is_empty(), "{name} has no segment");
    let clear_file = world.folder.join(format!("{name}.clear.ts"));
    let clear: Vec<u8> = segments.iter().flat_map(|segment| segment.clear.iter().copied()).collect();
    fs::write(&clear_file, clear).map_err(|e| e.to_string())?;
    Ok(Rendition { name, json: json.clone(), playlist, segments, clear_file })
}

/// What openssl makes of a stored segment; it fails when the padding is wrong.
fn decrypt(stored: &Path, key: &str, iv: &str) -> Check<Vec<u8>> {
    let run = tool("openssl", &["enc", "-d", "-aes-128-cbc", "-K", key, "-iv", iv, "-in", path_text(stored)]);
    check!(run.code == Some(0), "openssl cannot decrypt {}: {}", stored.display(), run.stderr);
    Ok(run.stdout)
}

fn text(path: &Path) -> Check<String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A path as an argument.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
