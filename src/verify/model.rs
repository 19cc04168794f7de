//! What playlists say, as far as it could be understood.

use std::sync::Arc;

use url::Url;

/// How segments are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// AES-128: whole segments in CBC.
    Aes128,
    /// Another that the standard has, which is not decrypted here.
    Other(String),
}

/// EXT-X-KEY with a method other than NONE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its line.
    pub line: usize,
    /// METHOD.
    pub method: Method,
    /// URI as written.
    pub uri: String,
    /// URI resolved; none when it cannot be.
    pub url: Option<Url>,
    /// IV, when there is one that can be read.
    pub iv: Option<[u8; 16]>,
    /// KEYFORMAT.
    pub format: String,
}

/// EXT-X-MAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Its line.
    pub line: usize,
    /// URI resolved.
    pub url: Url,
    /// Offset and length.
    pub range: Option<(u64, u64)>,
    /// What it is encrypted under.
    pub key: Option<Arc<Key>>,
}

/// A segment.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Media sequence number.
    pub number: u64,
    /// Line of its URI.
    pub line: usize,
    /// URI as written.
    pub uri: String,
    /// URI resolved; none when it cannot be.
    pub url: Option<Url>,
    /// EXTINF in seconds; 0 when it is not there.
    pub duration: f64,
    /// Seconds of EXTINF before it.
    pub start: f64,
    /// The key that applies.
    pub key: Option<Arc<Key>>,
    /// EXT-X-MAP that applies.
    pub map: Option<Arc<Map>>,
    /// Offset and length.
    pub range: Option<(u64, u64)>,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// EXT-X-BITRATE in kbit/s.
    pub bitrate: Option<u64>,
    /// EXT-X-PROGRAM-DATE-TIME in seconds of the epoch.
    pub date: Option<f64>,
}

impl Segment {
    /// The IV by the tag, or by the number (KEY-007).
    #[must_use]
    pub fn iv(&self) -> [u8; 16] {
        let written = self.key.as_ref().and_then(|key| key.iv);
        written.unwrap_or_else(|| u128::from(self.number).to_be_bytes())
    }
}

/// A media playlist.
#[derive(Debug, Clone, Default)]
pub struct Media {
    /// EXT-X-VERSION, or 1.
    pub version: u64,
    /// EXT-X-TARGETDURATION.
    pub target: Option<u64>,
    /// Its line.
    pub target_line: usize,
    /// EXT-X-MEDIA-SEQUENCE, or 0.
    pub sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE, or 0.
    pub discontinuity_sequence: u64,
    /// EXT-X-PLAYLIST-TYPE.
    pub kind: Option<String>,
    /// EXT-X-ENDLIST.
    pub ended: bool,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent: bool,
    /// EXT-X-I-FRAMES-ONLY.
    pub iframes: bool,
    /// The segments.
    pub segments: Vec<Segment>,
    /// Every EXT-X-KEY with a method.
    pub keys: Vec<Arc<Key>>,
}

impl Media {
    /// Seconds of EXTINF.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.segments.last().map_or(0.0, |last| last.start + last.duration)
    }
}

/// EXT-X-STREAM-INF or EXT-X-I-FRAME-STREAM-INF.
#[derive(Debug, Clone, Default)]
pub struct Variant {
    /// Its line.
    pub line: usize,
    /// URI as written.
    pub uri: String,
    /// URI resolved.
    pub url: Option<Url>,
    /// BANDWIDTH.
    pub bandwidth: Option<u64>,
    /// AVERAGE-BANDWIDTH.
    pub average: Option<u64>,
    /// CODECS.
    pub codecs: Option<String>,
    /// RESOLUTION.
    pub resolution: Option<(u64, u64)>,
    /// FRAME-RATE.
    pub frame_rate: Option<f64>,
    /// VIDEO-RANGE.
    pub range: Option<String>,
    /// Groups by TYPE.
    pub groups: Vec<(&'static str, String)>,
    /// CLOSED-CAPTIONS=NONE.
    pub no_captions: bool,
}

/// EXT-X-MEDIA.
#[derive(Debug, Clone)]
pub struct Rendition {
    /// Its line.
    pub line: usize,
    /// TYPE.
    pub kind: String,
    /// GROUP-ID.
    pub group: String,
    /// NAME.
    pub name: String,
    /// URI resolved.
    pub url: Option<Url>,
    /// DEFAULT=YES.
    pub default: bool,
}

/// EXT-X-SESSION-KEY.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// Its line.
    pub line: usize,
    /// METHOD.
    pub method: String,
    /// URI resolved.
    pub url: Option<Url>,
    /// KEYFORMAT.
    pub format: String,
}

/// A multivariant playlist.
#[derive(Debug, Clone, Default)]
pub struct Master {
    /// EXT-X-STREAM-INF.
    pub variants: Vec<Variant>,
    /// EXT-X-I-FRAME-STREAM-INF.
    pub iframes: Vec<Variant>,
    /// EXT-X-MEDIA.
    pub renditions: Vec<Rendition>,
    /// EXT-X-SESSION-KEY.
    pub session_keys: Vec<SessionKey>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent: bool,
    /// Variables that media playlists may import.
    pub variables: super::attribute::Variables,
}

/// A playlist.
#[derive(Debug, Clone)]
pub enum Playlist {
    /// Of segments.
    Media(Box<Media>),
    /// Of variants.
    Master(Box<Master>),
}
