//! `keyrung.json`, the published commit record: what was made, and nothing that must stay private.

use serde::{Deserialize, Serialize};

use crate::crypto::key::ContentKey;
use crate::crypto::seal::RecordSeal;

/// The name of the record in DEST.
pub const RECORD_FILE: &str = "keyrung.json";
/// What `format` says.
pub const RECORD_FORMAT: &str = "keyrung.package";
/// The version of the format that is written.
pub const RECORD_VERSION: u32 = 1;

/// The commit record of a package.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_FORMAT`].
    pub format: String,
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The program that made the package, and its version.
    pub tool: String,
    /// Identifies the content.
    pub content_id: String,
    /// Identifies the claim under which the package was made: a hash of its nonce. Of a clear package, which has no claim,
    /// a hash of its plan.
    pub run: String,
    /// When the claim was made, RFC 3339.
    pub created: String,
    /// The key's id; none for a clear package.
    pub key_id: Option<String>,
    /// The multivariant playlist.
    pub master: String,
    /// EXT-X-TARGETDURATION of all media playlists, in seconds.
    pub target_duration: u64,
    /// The renditions.
    pub renditions: Vec<RenditionRecord>,
    /// Every file of the package but this one.
    pub files: Vec<FileRecord>,
    /// HMAC-SHA256, under a subkey of the data key, of the record without this field; none for a clear package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

/// A rendition of a package.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenditionRecord {
    /// Its name.
    pub name: String,
    /// Its media playlist.
    pub playlist: String,
    /// BANDWIDTH, in bits per second.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH, in bits per second.
    pub average_bandwidth: u64,
    /// CODECS.
    pub codecs: String,
    /// RESOLUTION, `WIDTHxHEIGHT`; none for audio alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// FRAME-RATE, as the playlist has it; none for audio alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<String>,
    /// Its segments in order.
    pub segments: Vec<SegmentRecord>,
}

/// A segment of a rendition.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// Its path below DEST.
    pub path: String,
    /// Its duration in microseconds, as the playlist has it.
    pub duration_us: u64,
    /// Bytes before encryption.
    pub clear_bytes: u64,
    /// Its IV, 32 upper-case hex digits; none in a clear package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iv: Option<String>,
}

/// A file of a package.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its path below DEST.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum: `crc64nvme:` or `blake3:` and hex digits.
    pub digest: String,
}

impl Record {
    /// Puts the seal on.
    ///
    /// # Errors
    /// When the record cannot be written as JSON, which is a bug.
    pub fn seal(&mut self, key: &ContentKey) -> Result<(), serde_json::Error> {
        self.seal = None;
        let bytes = serde_json::to_vec(self)?;
        self.seal = Some(hex::encode(RecordSeal::seal(key, &bytes)));
        Ok(())
    }

    /// The record as it is stored.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a bug.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
