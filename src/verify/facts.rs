//! What a segment showed, for the checks that look at several of them.

use std::collections::BTreeSet;

use crate::es::{AudioInfo, RandomAccess, Sniffed, VideoInfo};
use crate::ts::Pmt;

/// The first packet of a PID in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Its continuity counter.
    pub counter: u8,
    /// Whether it has a payload.
    pub payload: bool,
    /// Whether discontinuity_indicator is set.
    pub signalled: bool,
}

/// A video stream in a segment. Times are ticks of 90 kHz, unwrapped from the segment's first stamp.
#[derive(Debug, Clone, Default)]
pub struct Video {
    /// What the first picture is to a decoder that starts with it.
    pub start: RandomAccess,
    /// Parameters of the first sequence.
    pub info: Option<VideoInfo>,
    /// Byte at which other parameters come.
    pub changes: Option<u64>,
    /// Presentation times in decoding order, while they come.
    pub times: Vec<i64>,
    /// The last of them.
    pub last: Option<i64>,
    /// How many pictures with a time there are.
    pub count: usize,
    /// Those of key frames.
    pub keys: Vec<i64>,
    /// Whether there are closed captions.
    pub captions: bool,
    /// The first picture in decoding order.
    pub first: Option<i64>,
    /// The usual distance of pictures.
    pub step: i64,
    /// Whether pictures after the first are shown before it.
    pub leading: bool,
}

impl Video {
    /// Puts the times in order and reads off what they say.
    #[must_use]
    pub fn finished(mut self) -> Self {
        self.first = self.times.first().copied();
        self.times.sort_unstable();
        self.leading = self.times.first() != self.first.as_ref();
        let mut steps: Vec<i64> = self
            .times
            .windows(2)
            .filter_map(|pair| Some(pair.get(1)? - pair.first()?))
            .filter(|step| *step > 0)
            .collect();
        steps.sort_unstable();
        self.step = steps.get(steps.len() / 2).copied().unwrap_or(0);
        self.last = self.times.last().copied();
        self.count = self.times.len();
        self.times = Vec::new();
        self
    }

    /// Where the last picture ends.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        self.last.map(|last| last + self.step)
    }
}

/// An audio stream in a segment.
#[derive(Debug, Clone, Default)]
pub struct Audio {
    /// Parameters of the first frame.
    pub info: Option<AudioInfo>,
    /// First stamp.
    pub first: Option<i64>,
    /// The last stamp, and the frames that began since.
    pub since: (i64, i64),
    /// Where the last frame ends.
    pub end: i64,
    /// Frames that begin in the segment.
    pub frames: i64,
}

impl Audio {
    /// Length of a frame in ticks.
    #[must_use]
    pub fn frame(&self) -> i64 {
        self.info.as_ref().map_or(0, |info| i64::from(info.frame_samples) * 90_000 / i64::from(info.sample_rate.max(1)))
    }
}

/// One PID of a segment.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The PID.
    pub pid: u16,
    /// stream_type, when the PMT lists it.
    pub stream_type: Option<u8>,
    /// Its packets.
    pub packets: u64,
    /// Its first packet.
    pub first: Option<First>,
    /// The last continuity counter.
    pub last_counter: u8,
    /// What it is, by its content.
    pub content: Option<Sniffed>,
    /// PES packets that begin in the segment.
    pub pes: u64,
    /// Whether the first of them has a PTS.
    pub stamped: bool,
    /// As video.
    pub video: Option<Video>,
    /// As audio.
    pub audio: Option<Audio>,
}

/// A transport stream segment.
#[derive(Debug, Clone, Default)]
pub struct Ts {
    /// Its packets.
    pub packets: u64,
    /// PIDs of the first two.
    pub first: [Option<u16>; 2],
    /// Whether the first packet holds a damaged table.
    pub first_section_bad: bool,
    /// Byte of the first PAT that is whole.
    pub pat_at: Option<u64>,
    /// Byte of the first PMT that is whole.
    pub pmt_at: Option<u64>,
    /// Programs of the PAT.
    pub programs: usize,
    /// PIDs that carry PMTs.
    pub pmt_pids: BTreeSet<u16>,
    /// The last PMT.
    pub pmt: Option<Pmt>,
    /// Clock references on the program's PCR PID.
    pub pcr: u64,
    /// Every PID, in order.
    pub streams: Vec<Stream>,
}

impl Ts {
    /// The first video stream.
    #[must_use]
    pub fn video(&self) -> Option<&Video> {
        self.streams.iter().find_map(|stream| stream.video.as_ref())
    }

    /// The first audio stream.
    #[must_use]
    pub fn audio(&self) -> Option<&Audio> {
        self.streams.iter().find_map(|stream| stream.audio.as_ref())
    }
}

/// What one segment showed.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Bytes as stored.
    pub stored: u64,
    /// Bytes after decryption and padding.
    pub clear: u64,
    /// Checksum of the stored bytes, when the record asks for one.
    pub digest: Option<String>,
    /// Whether its content could be read.
    pub read: bool,
    /// As a transport stream.
    pub ts: Option<Ts>,
}
