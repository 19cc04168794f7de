//! What lies on disk before and after a run: whole packages, claims, and what nobody should have left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::common::{Check, World, repository, scratch};

/// Every file below a folder with its bytes, and every folder (with a `/` at its end) without.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// What is in a folder; nothing when it is not there.
pub fn tree(folder: &Path) -> Check<Tree> {
    let mut tree = Tree::new();
    if folder.symlink_metadata().is_ok() {
        walk(folder, "", &mut tree)?;
    }
    Ok(tree)
}

fn walk(folder: &Path, prefix: &str, tree: &mut Tree) -> Check {
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(fail)?;
        if kind.is_dir() {
            tree.insert(format!("{name}/"), Vec::new());
            walk(&entry.path(), &format!("{name}/"), tree)?;
        } else if kind.is_symlink() {
            tree.insert(name, fs::read_link(entry.path()).map_err(fail)?.into_os_string().into_encoded_bytes());
        } else {
            tree.insert(name, fs::read(entry.path()).map_err(fail)?);
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    let metadata = fs::symlink_metadata(from).expect("something to copy");
    if metadata.is_dir() {
        fs::create_dir(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
        fs::set_permissions(to, metadata.permissions()).expect("a mode");
    } else {
        fs::copy(from, to).expect("a copy");
    }
}

/// Puts a copy of `from` at `to`, or nothing when there is nothing.
fn put(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("an old copy goes");
    }
    if from.exists() {
        copy(from, to);
    }
}

/// A parsed `keyrung.json`.
pub fn record(out: &Path) -> Check<Value> {
    let path = out.join("keyrung.json");
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// A published folder is a whole package and nothing else: every file that its record names has its size, every playlist
/// names what is there.
pub fn complete(out: &Path) -> Check {
    let record = record(out)?;
    let tree = tree(out)?;
    let mut named = BTreeSet::from(["keyrung.json".to_owned()]);
    for file in record["files"].as_array().ok_or("a record without files")? {
        let path = file["path"].as_str().ok_or("a file without a path")?;
        let there = tree.get(path).ok_or(format!("{path} is in the record and not there"))?;
        check!(file["bytes"] == there.len(), "{path} has {} bytes and {} in the record", there.len(), file["bytes"]);
        named.insert(path.to_owned());
    }
    let there: BTreeSet<String> = tree.keys().filter(|path| !path.ends_with('/')).cloned().collect();
    check!(there == named, "{:?} differ from the record", there.symmetric_difference(&named));
    let text = |path: &str| -> Check<String> {
        let bytes = tree.get(path).ok_or(format!("{path} is not there"))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    };
    let uris = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    let playlists = uris(&text("master.m3u8")?);
    check!(!playlists.is_empty(), "the master playlist is empty");
    for playlist in playlists {
        let body = text(&playlist)?;
        check!(body.ends_with("#EXT-X-ENDLIST\n"), "{playlist} is cut short");
        let segments = uris(&body);
        check!(!segments.is_empty(), "{playlist} is empty");
        for segment in segments {
            let folder = playlist.rsplit_once('/').map_or("", |(folder, _)| folder);
            let bytes = tree.get(&format!("{folder}/{segment}")).ok_or(format!("{segment} is not there"))?;
            check!(!bytes.is_empty() && bytes.len() % 16 == 0, "{segment} has {} bytes", bytes.len());
        }
    }
    Ok(())
}

/// The claims in a home, by content id.
pub fn claims(home: &Path) -> Check<Vec<Value>> {
    let folder = home.join("keys/claims");
    let mut claims = Vec::new();
    for (name, bytes) in tree(&folder)? {
        if !name.starts_with('.') {
            claims.push(serde_json::from_slice(&bytes).map_err(|e| format!("claim {name}: {e}"))?);
        }
    }
    Ok(claims)
}

/// A world with an input in it, which can be put back to how it was. Its folder, and so DEST's full name, stay the same.
pub struct Ground {
    /// The world.
    pub world: World,
    saved: PathBuf,
}

impl Ground {
    /// With `in.ts` and nothing else.
    pub fn new(name: &str) -> Self {
        let ground = Self { world: World::new(name), saved: scratch(&format!("{name}-saved")) };
        fs::copy(repository("fixtures/plain.ts"), ground.world.folder.join("in.ts")).expect("a copy");
        ground
    }

    /// The same after a run.
    pub fn after(name: &str, arguments: &[&str]) -> Check<Self> {
        let ground = Self::new(name);
        ground.world.run(arguments).expect(0)?;
        ground.save();
        Ok(ground)
    }

    /// The published folder.
    pub fn out(&self) -> PathBuf {
        self.world.folder.join("out")
    }

    /// Keyrung's home.
    pub fn home(&self) -> PathBuf {
        self.world.folder.join("home")
    }

    /// Keeps how it is now.
    pub fn save(&self) {
        put(&self.out(), &self.saved.join("out"));
        self.save_home();
    }

    /// Keeps how the home is now.
    pub fn save_home(&self) {
        put(&self.home(), &self.saved.join("home"));
    }

    /// Keeps another home.
    pub fn save_as(&self, name: &str) {
        put(&self.home(), &self.saved.join(name));
    }

    /// Puts back what was kept. The input stays the same file, since the claim knows it by inode and time.
    pub fn reset(&self) {
        self.reset_with_home("home");
    }

    /// The same with a home that was kept under another name.
    pub fn reset_with_home(&self, name: &str) {
        for entry in fs::read_dir(&self.world.folder).expect("the world").flatten() {
            let path = entry.path();
            if entry.file_name() == "in.ts" {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                .expect("what a run made goes");
        }
        put(&self.saved.join("out"), &self.out());
        put(&self.saved.join(name), &self.home());
    }

    /// What was kept of DEST.
    pub fn kept(&self) -> Check<Tree> {
        tree(&self.saved.join("out"))
    }

    /// Nothing lies in the world but input, home, package, and in the home nothing but the keyring, claims and their keys.
    /// `keys`: further key ids that may be there.
    pub fn clean(&self, keys: &[String]) -> Check {
        clean(&self.world.folder, &["out"], keys)
    }
}

/// Nothing lies in a world's folder but `in.ts`, the home and packages; nothing in the home but keyring, claims and keys of
/// claims, or of `keys`; and nobody else may read the home.
pub fn clean(folder: &Path, packages: &[&str], keys: &[String]) -> Check {
    for entry in fs::read_dir(folder).map_err(|e| e.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = ["home", "in.ts"].contains(&name.as_str()) || packages.contains(&name.as_str());
        check!(known || name.ends_with(".clear.ts"), "{name} is left beside DEST");
    }
    let home = folder.join("home");
    let claims = claims(&home)?;
    let known = |id: &str| keys.iter().any(|key| key == id) || claims.iter().any(|claim| claim["key"]["key_id"] == id);
    for name in tree(&home)?.keys() {
        let stem = name.strip_prefix("keys/").and_then(|name| name.strip_suffix(".json"));
        let fine = match stem {
            Some(stem) => match stem.strip_prefix("claims/") {
                Some(id) => !id.starts_with('.'),
                None => known(stem),
            },
            None => ["keyring.json", "keys/", "keys/claims/"].contains(&name.as_str()),
        };
        check!(fine, "{name} is left in the home");
        let mode = fs::metadata(home.join(name)).map_err(|e| e.to_string())?.mode() & 0o7777;
        check!(mode == if name.ends_with('/') { 0o700 } else { 0o600 }, "home/{name} has mode {mode:o}");
    }
    Ok(())
}
