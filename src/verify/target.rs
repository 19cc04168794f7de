//! What the user asks to be verified, and where it begins.

use std::fs;
use std::path::{Path, PathBuf};

use url::Url;

use super::VerifyError;
use super::lines::is_playlist;

/// Names that a folder's first playlist has, in the order in which they are looked for.
const NAMES: [&str; 6] = ["master.m3u8", "main.m3u8", "index.m3u8", "playlist.m3u8", "manifest.m3u8", "stream.m3u8"];

/// A place to begin at.
#[derive(Debug)]
pub struct Target {
    /// As the user wrote it.
    pub name: String,
    /// What is looked at first; several when a folder has media playlists and no multivariant one.
    pub starts: Vec<Url>,
    /// The folder that a local target must stay in.
    pub root: Option<PathBuf>,
    /// Whether the start is a segment and no playlist.
    pub lone_segment: bool,
    /// The record of a folder, when it has one.
    pub base: Url,
}

impl Target {
    /// Finds the start.
    ///
    /// # Errors
    /// When there is no such file or folder, nothing to play in it, or the URL is none that can be asked.
    pub fn find(text: &str) -> Result<Self, VerifyError> {
        let refuse = |what: &str| VerifyError::Target(format!("{text}: {what}"));
        if let Some((scheme, _)) = text.split_once("://") {
            let scheme = scheme.to_ascii_lowercase();
            if scheme == "s3" && !cfg!(feature = "aws") {
                return Err(refuse("this build has no S3: build it with the feature aws"));
            }
            if !matches!(scheme.as_str(), "http" | "https" | "s3") {
                return Err(refuse("the target is a folder, a file, an s3:// name, or an http or https URL"));
            }
            let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
            let url = if scheme == "s3" { object(url) } else { url };
            let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
            let lone_segment = name.ends_with(".ts");
            let url = if name.is_empty() {
                url.join("master.m3u8").map_err(|error| refuse(&error.to_string()))?
            } else {
                url
            };
            return Ok(Self { name: text.to_owned(), starts: vec![url.clone()], root: None, lone_segment, base: url });
        }
        let path = fs::canonicalize(text).map_err(|error| refuse(&error.to_string()))?;
        let url = |path: &Path| Url::from_file_path(path).map_err(|()| refuse("not a path"));
        if path.is_dir() {
            let found = starts(&path);
            if found.is_empty() {
                return Err(refuse("there is no playlist in the folder"));
            }
            let starts = found.iter().map(|path| url(path)).collect::<Result<Vec<_>, _>>()?;
            let base = starts.first().cloned().ok_or_else(|| refuse("there is no playlist in the folder"))?;
            return Ok(Self { name: text.to_owned(), starts, root: Some(path), lone_segment: false, base });
        }
        let start = url(&path)?;
        let lone_segment = !is_playlist(&head(&path))
            && path.extension().is_none_or(|kind| !kind.to_string_lossy().starts_with("m3u"));
        let root = path.parent().map(Path::to_path_buf);
        Ok(Self { name: text.to_owned(), starts: vec![start.clone()], root, lone_segment, base: start })
    }
}

/// What begins at an S3 prefix: a name without an ending is that of a package, as `package --out` takes it.
fn object(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    let is_file = path.rsplit('/').next().is_some_and(|name| name.ends_with(".ts") || name.contains(".m3u"));
    url.set_path(&if is_file { path } else { format!("{path}/master.m3u8") });
    url
}

fn head(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut head = Vec::new();
    // What cannot be read is told when it is asked for.
    let _ = fs::File::open(path).map(|file| file.take(1 << 16).read_to_end(&mut head));
    head
}

fn starts(folder: &Path) -> Vec<PathBuf> {
    let named = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    if let Some(path) = named {
        return vec![path];
    }
    let is_m3u8 =
        |path: &PathBuf| path.is_file() && path.extension().is_some_and(|kind| kind == "m3u8" || kind == "m3u");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(is_m3u8).take(super::super::limits::VERIFY_PLAYLISTS).collect();
    found.sort();
    let master = found.iter().position(|path| memchr::memmem::find(&head(path), b"#EXT-X-STREAM-INF").is_some());
    match master {
        Some(n) => vec![found.swap_remove(n)],
        None => found,
    }
}
