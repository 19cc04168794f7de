//! One segment: reads it in chunks, decrypts them, and looks at what comes out.

use std::io::Read;

use memchr::memmem::Finder;

use super::demux::{Fault, Walker};
use super::facts::{Seen, Ts};
use super::fetch::{FetchError, Fetcher, Purpose};
use super::finding::{Findings, Place};
use super::model::{Media, Method, Segment};
use super::rule::{key as key_rule, segment as rule, target as target_rule};
use crate::crypto::cbc::{BLOCK, CbcReader, padding};
use crate::crypto::digest::{Digest, DigestKind};
use crate::crypto::iv::Iv;
use crate::crypto::key::ContentKey;
use crate::es::{Codec, RandomAccess, Sniffed};
use crate::limits;
use crate::ts::{PACKET_LEN, SYNC_BYTE};
use url::Url;

/// What is known of a segment before it is read.
pub struct Job<'a> {
    /// The playlist that names it.
    pub playlist: &'a Media,
    /// The playlist's URL.
    pub from: &'a Url,
    /// What the report calls it.
    pub resource: &'a str,
    /// The segment.
    pub segment: &'a Segment,
    /// The key, when it is encrypted and the key was had.
    pub key: Option<&'a ContentKey>,
    /// The checksum that the record has of it.
    pub digest: Option<DigestKind>,
    /// Whether EXT-X-INDEPENDENT-SEGMENTS covers it.
    pub independent: bool,
    /// Whether the playlist is one of subtitles.
    pub subtitles: bool,
}

/// Two chunks, used again for every segment of a thread.
pub struct Buffers {
    now: Vec<u8>,
    next: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { now: vec![0; limits::VERIFY_CHUNK], next: vec![0; limits::VERIFY_CHUNK] }
    }
}

/// What the first bytes of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ts,
    /// Only the first block is not of a transport stream.
    TsButTheFirstBlock,
    Mp4,
    Packed,
    WebVtt,
    Unknown,
}

/// Reads and checks one segment; `count` is told of every chunk of stored bytes.
pub fn check(
    job: &Job<'_>,
    fetcher: &Fetcher<'_>,
    buffers: &mut Buffers,
    findings: &mut Findings,
    count: &mut dyn FnMut(u64),
) -> Result<Seen, FetchError> {
    let segment = job.segment;
    let place = || Place::of(job.resource).segment(segment.number).time(segment.start);
    let Some(url) = &segment.url else { return Ok(Seen::default()) };
    let opened = match fetcher.open(job.from, url, segment.range, Purpose::Media) {
        Ok(opened) => opened,
        Err(error) => return failed(error, findings, place()),
    };
    if opened.redirects > 0 {
        findings.add(&target_rule::REDIRECT, place(), format!("to {}", opened.url));
    }
    let mut reading = Reading::new(job, opened.reader);
    let outcome = reading.all(buffers, findings, &place, count);
    match outcome {
        Ok(()) => Ok(reading.end(findings, &place)),
        Err(error) => failed(fetcher.broken(&error), findings, place()),
    }
}

fn failed(error: FetchError, findings: &mut Findings, place: Place) -> Result<Seen, FetchError> {
    let rule = match &error {
        FetchError::Stopped => return Err(error),
        FetchError::Unsafe(_) => &target_rule::UNSAFE,
        FetchError::Missing(_) => &target_rule::SEGMENT,
        FetchError::Slow | FetchError::GivenUp => &target_rule::TOO_SLOW,
        FetchError::TooLarge(_) => &target_rule::TOO_LARGE,
        FetchError::Encoded(_) => &target_rule::COMPRESSED,
        FetchError::Range(_) => &rule::RANGE,
    };
    findings.add(rule, place, &error);
    Ok(Seen::default())
}

/// The reading of one segment.
struct Reading<'a> {
    job: &'a Job<'a>,
    reader: Box<dyn Read + Send>,
    decrypt: Option<CbcReader>,
    /// Encrypted, and the key is not at hand: bytes are counted only.
    locked: bool,
    stored: u64,
    clear: u64,
    digest: Option<Digest>,
    format: Option<Format>,
    walker: Walker,
    leak: Option<Finder<'a>>,
    unpadded: bool,
    faults: usize,
}

impl<'a> Reading<'a> {
    fn new(job: &'a Job<'a>, reader: Box<dyn Read + Send>) -> Self {
        let encrypted = job.segment.key.is_some();
        let aes = job.segment.key.as_ref().is_some_and(|key| key.method == Method::Aes128);
        let key = job.key.filter(|_| aes);
        Self {
            job,
            reader,
            decrypt: key.map(|key| CbcReader::new(key, Iv::from_bytes(job.segment.iv()))),
            locked: encrypted && key.is_none(),
            stored: 0,
            clear: 0,
            digest: job.digest.map(Digest::new),
            format: None,
            walker: Walker::default(),
            leak: key.map(|key| Finder::new(key.expose().as_slice())),
            unpadded: false,
            faults: 0,
        }
    }

    fn all(
        &mut self,
        buffers: &mut Buffers,
        findings: &mut Findings,
        place: &impl Fn() -> Place,
        count: &mut dyn FnMut(u64),
    ) -> std::io::Result<()> {
        let Buffers { now, next } = buffers;
        let mut length = fill(&mut self.reader, now)?;
        loop {
            // The padding is at the very end, so one chunk is read ahead.
            let after = if length == now.len() { fill(&mut self.reader, next)? } else { 0 };
            let chunk = now.get_mut(..length).unwrap_or_default();
            count(length as u64);
            let at = self.stored;
            self.stored += length as u64;
            if let Some(found) = self.leak.as_ref().and_then(|leak| leak.find(chunk)) {
                findings.add(&key_rule::LEAKED, place().byte(at + found as u64), "inside a segment");
            }
            if let Some(digest) = &mut self.digest {
                digest.update(chunk);
            }
            self.chunk(chunk, after == 0, findings, place);
            if after == 0 {
                return Ok(());
            }
            if self.stored > limits::VERIFY_SEGMENT_BYTES {
                findings.add(
                    &target_rule::TOO_LARGE,
                    place(),
                    format!("more than {} bytes", limits::VERIFY_SEGMENT_BYTES),
                );
                return Ok(());
            }
            std::mem::swap(now, next);
            length = after;
        }
    }

    fn chunk(&mut self, chunk: &mut [u8], last: bool, findings: &mut Findings, place: &impl Fn() -> Place) {
        let first = self.format.is_none();
        // A clear segment under a key is told before it is made noise of.
        // SAMPLE-AES encrypts inside the container, which stays clear.
        let container = self
            .job
            .segment
            .key
            .as_ref()
            .is_some_and(|key| !matches!(&key.method, Method::Other(method) if method.starts_with("SAMPLE")));
        if first && container && format(chunk, Whole::new(last)) == Format::Ts {
            findings.add(&key_rule::PLAINTEXT, place(), "the stored bytes are a transport stream");
            self.decrypt = None;
            self.locked = false;
        }
        if self.locked {
            self.format = Some(Format::Unknown);
            return;
        }
        let mut length = chunk.len();
        if let Some(decrypt) = &mut self.decrypt {
            let whole = length - length % BLOCK;
            if let Some(blocks) = chunk.get_mut(..whole) {
                // Whole blocks are never refused.
                let _ = decrypt.decrypt_blocks(blocks);
            }
            length = whole;
            if last {
                match padding(chunk.get(..whole).unwrap_or_default()) {
                    Some(padding) => length -= padding,
                    None => self.unpadded = true,
                }
            }
        }
        let plain = chunk.get(..length).unwrap_or_default();
        self.clear += length as u64;
        let format = *self.format.get_or_insert_with(|| format(plain, Whole::new(last)));
        if first && format == Format::WebVtt && !contains(plain, b"X-TIMESTAMP-MAP=") {
            findings.add(&rule::WEBVTT_MAP, place(), "");
        }
        if first
            && format == Format::Packed
            && !contains(plain.get(..256).unwrap_or(plain), b"com.apple.streaming.transportStreamTimestamp\0")
        {
            findings.add(&rule::PACKED_ID3, place(), "");
        }
        if matches!(format, Format::Ts | Format::TsButTheFirstBlock) {
            let mut faults = Vec::new();
            self.walker.push(plain, &mut |byte, pid, fault| faults.push((byte, pid, fault)));
            self.tell(faults, findings, place);
        }
    }

    fn tell(&mut self, faults: Vec<(u64, Option<u16>, Fault)>, findings: &mut Findings, place: &impl Fn() -> Place) {
        for (byte, pid, fault) in faults {
            // The first packet is told of as a whole.
            if byte < PACKET_LEN as u64 && self.format == Some(Format::TsButTheFirstBlock) {
                continue;
            }
            self.faults += 1;
            let mut place = place().byte(byte);
            place.pid = pid;
            match fault {
                Fault::Sync(bytes) => findings.add(&rule::SYNC, place, format!("{bytes} bytes passed over")),
                Fault::Partial(bytes) => findings.add(&rule::PARTIAL, place, format!("{bytes} bytes at the end")),
                // Said as a wrong IV at the end.
                Fault::Section(_) if byte < PACKET_LEN as u64 && self.decrypt.is_some() => {}
                Fault::Section(kind) => findings.add(&rule::PSI_DAMAGED, place, kind),
                Fault::Continuity(expected, found) => {
                    findings.add(&rule::CONTINUITY, place, format!("{found} follows, {expected} was due"));
                }
                Fault::ErrorFlag => findings.add(&rule::ERROR_FLAG, place, ""),
                Fault::Scrambled => findings.add(&rule::SCRAMBLED, place, ""),
                Fault::NoPes => findings.add(&rule::PES_SYNTAX, place, "no start code"),
                Fault::PesLength(stated, got) => {
                    findings.add(&rule::PES_LENGTH, place, format!("{stated} bytes are stated, {got} came"));
                }
                Fault::Order(by) => findings.add(&rule::ORDER, place, format!("by {:.3} s", by as f64 / 9e4)),
                Fault::PtsBeforeDts(by) => {
                    findings.add(&rule::PTS_BEFORE_DTS, place, format!("by {:.3} s", by as f64 / 9e4));
                }
            }
        }
    }

    fn end(mut self, findings: &mut Findings, place: &impl Fn() -> Place) -> Seen {
        let mut seen = Seen { stored: self.stored, clear: self.clear, ..Seen::default() };
        seen.digest = self.digest.take().map(Digest::finish);
        if self.stored == 0 {
            findings.add(&rule::EMPTY, place(), "");
            return seen;
        }
        // A server gives what there is of a range that goes beyond the end.
        if let Some((_, length)) = self.job.segment.range
            && self.stored < length.min(limits::VERIFY_SEGMENT_BYTES)
        {
            findings.add(&rule::RANGE, place(), format!("{} of {length} bytes came", self.stored));
        }
        self.bitrate(findings, place);
        if self.locked {
            let aes = self.job.segment.key.as_ref().is_some_and(|key| key.method == Method::Aes128);
            if aes && !self.stored.is_multiple_of(BLOCK as u64) {
                findings.add(&key_rule::CIPHER_LENGTH, place(), format!("{} bytes", self.stored));
            }
            return seen;
        }
        let decrypted = self.decrypt.is_some();
        if decrypted && !self.stored.is_multiple_of(BLOCK as u64) {
            findings.add(&key_rule::CIPHER_LENGTH, place(), format!("{} bytes", self.stored));
        }
        let format = self.format.unwrap_or(Format::Unknown);
        match format {
            Format::Unknown => {
                let rule = if self.job.subtitles && !decrypted {
                    &rule::WEBVTT
                } else if decrypted {
                    &key_rule::WRONG_KEY
                } else if likely_cipher(self.stored) {
                    &key_rule::CIPHERTEXT
                } else {
                    &rule::NOT_TS
                };
                findings.add(rule, place(), "no sync bytes, and no other format of HLS");
                return seen;
            }
            Format::Mp4 => findings.add(&rule::FORMAT, place(), "fragmented MP4"),
            Format::Packed | Format::WebVtt | Format::Ts | Format::TsButTheFirstBlock => {}
        }
        if decrypted && self.unpadded && self.stored.is_multiple_of(BLOCK as u64) {
            findings.add(&key_rule::PADDING, place(), "the last block has none");
        }
        seen.read = true;
        if matches!(format, Format::Ts | Format::TsButTheFirstBlock) {
            let mut faults = Vec::new();
            let walker = std::mem::take(&mut self.walker);
            let ts = walker.finish(&mut |byte, pid, fault| faults.push((byte, pid, fault)));
            self.tell(faults, findings, place);
            if format == Format::TsButTheFirstBlock || (ts.first_section_bad && decrypted) {
                let rule = if decrypted { &key_rule::WRONG_IV } else { &rule::SYNC };
                findings.add(rule, place().byte(0), "the first 16 bytes are damaged");
            } else if ts.first_section_bad {
                findings.add(&rule::PSI_DAMAGED, place().byte(0), "the first packet's table");
            }
            transport(self.job, &ts, findings, place);
            seen.ts = Some(ts);
        }
        seen
    }

    fn bitrate(&self, findings: &mut Findings, place: &impl Fn() -> Place) {
        let segment = self.job.segment;
        let Some(stated) = segment.bitrate.filter(|_| segment.range.is_none() && segment.duration > 0.0) else {
            return;
        };
        let rate = self.stored as f64 * 8.0 / 1000.0 / segment.duration;
        if (stated as f64) < rate * 0.9 || stated as f64 > rate * 1.1 {
            findings.add(
                &super::rule::media::BITRATE_WRONG,
                place(),
                format!("{stated} is stated, {rate:.0} measured"),
            );
        }
    }
}

/// Whether a piece is all that there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

impl Whole {
    fn new(last: bool) -> Self {
        if last { Self::Yes } else { Self::No }
    }
}

/// Something that no format of HLS is, of a length that ciphertext has, is most likely that.
fn likely_cipher(length: u64) -> bool {
    length.is_multiple_of(BLOCK as u64)
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(bytes, what).is_some()
}

/// Boxes that a fragmented MP4 segment begins with.
const MP4: [&[u8; 4]; 8] = [b"ftyp", b"styp", b"moof", b"sidx", b"emsg", b"prft", b"free", b"skip"];

/// What the first bytes of a segment are: three sync bytes in a row, or as many as there is room for.
fn format(bytes: &[u8], whole: Whole) -> Format {
    let sync = |n: usize| bytes.get(n * PACKET_LEN).map(|byte| *byte == SYNC_BYTE);
    let later = [sync(1), sync(2), sync(3), sync(4)];
    let agreeing = later.iter().filter(|sync| **sync == Some(true)).count();
    let possible = later.iter().filter(|sync| sync.is_some()).count();
    let alone = possible == 0 && whole == Whole::Yes && bytes.len() >= PACKET_LEN;
    match (sync(0), bytes) {
        // Damage of one packet does not make it something else.
        (Some(true), _) if alone || (agreeing > 0 && agreeing + 1 >= possible) => Format::Ts,
        (_, [_, _, _, _, kind @ ..]) if MP4.iter().any(|name| kind.starts_with(*name)) => Format::Mp4,
        (_, [b'W', b'E', b'B', b'V', b'T', b'T', ..] | [0xef, 0xbb, 0xbf, b'W', b'E', b'B', b'V', b'T', b'T', ..]) => {
            Format::WebVtt
        }
        (_, [b'I', b'D', b'3', ..] | [0xff, 0xf0..=0xff, ..] | [0x0b, 0x77, ..]) => Format::Packed,
        (Some(false), _) if possible > 0 && agreeing == possible => Format::TsButTheFirstBlock,
        _ => Format::Unknown,
    }
}

/// What a transport stream segment must have, by itself.
fn transport(job: &Job<'_>, ts: &Ts, findings: &mut Findings, place: &impl Fn() -> Place) {
    // The tables may stand in EXT-X-MAP instead.
    let mapped = job.segment.map.is_some();
    if ts.pat_at.is_none() && !mapped {
        findings.add(&rule::PAT_MISSING, place(), "");
    }
    if ts.pmt_at.is_none() && !mapped && ts.pat_at.is_some() {
        findings.add(&rule::PMT_MISSING, place(), "");
    }
    let first_is_pat = ts.first[0] == Some(0);
    let second_is_pmt = ts.first[1].is_some_and(|pid| pid == 0 || ts.pmt_pids.contains(&pid));
    if ts.pat_at.is_some() && ts.pmt_at.is_some() && !(first_is_pat && second_is_pmt) && !ts.first_section_bad {
        let pids: Vec<String> = ts.first.iter().flatten().map(|pid| format!("{pid:#06x}")).collect();
        findings.add(&rule::PAT_FIRST, place().byte(0), format!("the first packets are of PID {}", pids.join(" and ")));
    }
    if ts.programs > 1 {
        findings.add(&rule::PROGRAMS, place(), format!("{} programs", ts.programs));
    }
    let Some(pmt) = ts.pmt.as_ref() else { return };
    if ts.pcr == 0 && pmt.pcr_pid != crate::ts::Pid::NULL {
        findings.add(&rule::PCR_MISSING, place().pid(pmt.pcr_pid.value()), "");
    }
    let mut media = 0;
    let mut sounds = 0;
    for stream in &ts.streams {
        let place = || place().pid(stream.pid);
        let psi = stream.pid <= 0x1f || ts.pmt_pids.contains(&stream.pid) || stream.pid == pmt.pcr_pid.value();
        let Some(stream_type) = stream.stream_type else {
            if !psi {
                findings.add(&rule::UNANNOUNCED, place(), format!("{} packets", stream.packets));
            }
            continue;
        };
        match stream.content {
            Some(Sniffed::Known(codec)) => {
                media += usize::from(codec.is_video() || codec.is_audio());
                sounds += usize::from(codec.is_audio());
                codec_is_right(codec, stream_type, findings, place());
            }
            Some(other) => findings.add(&rule::CODEC, place(), other.name()),
            None => {}
        }
        if stream.pes > 0 && !stream.stamped && stream.content.is_some() {
            findings.add(&rule::NO_STAMP, place(), "");
        }
        if let Some(video) = &stream.video {
            picture(job, video, findings, &place);
        }
    }
    if sounds > 1 {
        findings.add(&rule::SEVERAL_AUDIO, place(), format!("{sounds} streams"));
    }
    if media == 0 {
        findings.add(&rule::NO_MEDIA, place(), "");
    }
    for entry in &pmt.streams {
        let kind = entry.stream_type.0;
        let seen = ts.streams.iter().any(|stream| stream.pid == entry.pid.value() && stream.pes > 0);
        if matches!(kind, 0x03 | 0x04 | 0x0f | 0x1b | 0x24 | 0x81 | 0x87) && !seen && media > 0 {
            findings.add(&rule::SILENT, place().pid(entry.pid.value()), entry.stream_type.name());
        }
    }
}

fn codec_is_right(codec: Codec, stream_type: u8, findings: &mut Findings, place: Place) {
    let fits = match codec {
        Codec::H264 => stream_type == 0x1b,
        Codec::Hevc => matches!(stream_type, 0x24 | 0x06),
        Codec::Aac => stream_type == 0x0f,
        Codec::Ac3 => matches!(stream_type, 0x81 | 0x06),
        Codec::Eac3 => matches!(stream_type, 0x87 | 0x81 | 0x06),
        Codec::Mp3 | Codec::Mp2 => matches!(stream_type, 0x03 | 0x04),
        Codec::Id3 => true,
    };
    if !fits {
        findings.add(&rule::LYING_TYPE, place.clone(), format!("{codec} under stream type {stream_type:#04x}"));
    }
    if matches!(codec, Codec::Hevc | Codec::Mp2) {
        findings.add(&rule::CODEC, place, codec.name());
    }
}

fn picture(job: &Job<'_>, video: &super::facts::Video, findings: &mut Findings, place: &impl Fn() -> Place) {
    let start = match video.start {
        RandomAccess::Idr | RandomAccess::IdrWithoutParameterSets => None,
        RandomAccess::RecoveryPoint => Some("a recovery point, no IDR picture"),
        RandomAccess::None => Some("no key frame"),
    };
    if let Some(start) = start {
        findings.add(&rule::KEY_FRAME, place(), start);
        // The first segment has none before it that it could need.
        let alone = job.playlist.segments.first().is_some_and(|first| first.number == job.segment.number);
        let needs = video.start == RandomAccess::None || video.leading;
        if job.independent && needs && !alone {
            findings.add(&rule::INDEPENDENT, place(), start);
        }
    } else if video.start == RandomAccess::IdrWithoutParameterSets {
        findings.add(&rule::PARAMETER_SETS, place(), "");
    }
    if video.info.as_ref().is_some_and(|info| info.scan == crate::es::Scan::MaybeInterlaced) {
        findings.add(&rule::INTERLACED, place(), "");
    }
    if let Some(byte) = video.changes {
        findings.add(&super::rule::timeline::PARAMETERS, place().byte(byte), "inside the segment");
    }
}
