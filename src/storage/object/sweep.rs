//! What packages that were replaced or never finished have left in a bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::limits::{MAX_COMMIT_RECORD_BYTES, PLAYLIST_BYTES};
use crate::storage::StorageError;

use super::client::{Bucket, Listed, bucket_of};
use super::location::Location;
use super::upload::is_generation;

/// Objects below DEST that nothing needs.
#[derive(Debug)]
pub struct Stale {
    bucket: Bucket,
    /// What they begin with.
    pub at: Location,
    /// Their keys, in the order in which they may go: what names others first.
    keys: Vec<String>,
    /// Bytes of all.
    pub bytes: u64,
}

/// What holds objects below DEST, beside the package that is visible there.
#[derive(Debug, Default)]
pub struct Held {
    /// Generations of runs that may go on.
    pub generations: BTreeSet<String>,
    /// Whether a run that may go on stores at DEST itself.
    pub plain: bool,
}

impl Stale {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Removes them.
    ///
    /// # Errors
    /// Whatever the store reports; the rest stays.
    pub fn remove(&self) -> Result<(), StorageError> {
        self.keys.iter().try_for_each(|key| self.bucket.delete(key))
    }
}

/// Groups of objects below DEST that neither the commit record nor the master playlist nor a run that may go on needs, and of
/// which none is younger than `age`: a run that holds its claim elsewhere may be at work on those, and players may still be
/// reading a package that has just been replaced.
///
/// # Errors
/// Whatever the store reports.
pub fn stale(at: &Location, held: &Held, age: Duration) -> Result<Vec<Stale>, StorageError> {
    let bucket = bucket_of(at)?;
    let text = |name: &str, limit: u64| match bucket.read(&at.below(name), limit) {
        Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.is_not_found() => Ok(String::new()),
        Err(error) => Err(error),
    };
    let visible = [text("master.m3u8", PLAYLIST_BYTES as u64)?, text("keyrung.json", MAX_COMMIT_RECORD_BYTES)?];
    let youngest = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut groups: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for listed in bucket.list(at.key())? {
        let relative = if at.key().is_empty() { Some(listed.key.as_str()) } else { listed.key.strip_prefix(at.key()) };
        let relative = relative.map(|relative| relative.trim_start_matches('/'));
        if let Some((group, _)) = relative.and_then(|relative| relative.split_once('/')) {
            groups.entry(group.to_owned()).or_default().push(listed);
        }
    }
    groups.retain(|group, members| {
        let is_held = if is_generation(group) {
            held.generations.contains(group) || visible.iter().any(|text| text.contains(group.as_str()))
        } else {
            // A rendition's folder at DEST itself, or a stranger's, which is no concern of ours.
            let ours = members.iter().all(|member| is_ours(&member.key));
            held.plain || !ours || visible.iter().any(|text| names_folder(text, group))
        };
        !is_held && members.iter().all(|member| member.modified <= youngest)
    });
    Ok(groups
        .into_iter()
        .map(|(group, mut members)| {
            members.sort_by_key(|member| (!member.key.ends_with(".m3u8"), member.key.clone()));
            Stale {
                bucket: bucket.clone(),
                at: at.child(&group),
                bytes: members.iter().map(|member| member.bytes).sum(),
                keys: members.into_iter().map(|member| member.key).collect(),
            }
        })
        .collect())
}

/// Whether an object has the name of a segment or a media playlist.
fn is_ours(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    let number = name.strip_suffix(".ts").unwrap_or_default();
    name == "index.m3u8" || (number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a playlist or record names something in a rendition's folder at DEST itself, and not in one of a generation.
fn names_folder(text: &str, folder: &str) -> bool {
    let wanted = format!("{folder}/");
    text.match_indices(&wanted).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c == '/' || c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_only_as_itself() {
        assert!(names_folder("#EXTM3U\n360p/index.m3u8\n", "360p"));
        assert!(names_folder("{\"path\": \"360p/00000.ts\"}", "360p"));
        for text in ["g.0123456789abcdef/360p/index.m3u8", "1360p/a", "x-360p/a", "360p", ""] {
            assert!(!names_folder(text, "360p"), "{text}");
        }
    }

    #[test]
    fn only_names_that_we_give_are_ours() {
        for ours in ["a/b/00000.ts", "123456.ts", "a/index.m3u8"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["a/0.ts", "a/film.ts", "a/0000x.ts", "a/b.m3u8", "a/"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
