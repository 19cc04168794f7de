//! For tests alone: access units and frames that ffmpeg made, and whole streams put together from them by time.

use crate::time::{Span, Stamp};
use crate::ts::build::{Discontinuity, PesUnit, RandomAccess, TsBuilder};
use crate::ts::{EndOfInput, Pcr, Pid, Pmt, PmtStream, StreamType};

use super::event::Event;
use super::scan::Scanner;
use super::select::{AudioChoice, Selection};
use super::source::{Probe, Probed, ProgramInfo};

/// PID of the first program's PMT; the others follow.
pub const PMT_PID: Pid = Pid::masked(0x1000);
/// PID of the first program's video.
pub const VIDEO: Pid = Pid::masked(0x100);
/// PID of the first program's audio.
pub const AUDIO: Pid = Pid::masked(0x101);
/// PID of the first program's ID3.
pub const ID3: Pid = Pid::masked(0x102);

const SPS: &str = "6764000cacd941419f9f011000000300100000030320f1429960";
const SPS_WIDE: &str = "6742c01fd901419f9f011000000300100000030320f1832480";
const PPS: &str = "68ebe3cb22c0";
const RECOVERY_POINT: &str = "060601c480";
const IDR_SLICE: &str = "6588840047dae3985bd757da423e838996cbc51b4222ad82";
const I_SLICE: &str = "418840a8bc2fe00160c4e72493ece77527ea070371eab504";
const P_SLICE: &str = "419a384fe1d8b9309f8ae7c97584000741c4a61001118a00";
const ADTS: &str = "fff14c4018fffcde";
const ADTS_44100: &str = "fff15180327ffcde";

/// What a video PES holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// An IDR picture with parameter sets.
    Idr,
    /// An IDR picture without them.
    BareIdr,
    /// An IDR picture with other parameter sets.
    OtherIdr,
    /// A recovery point.
    Open,
    /// Any other.
    P,
}

fn nals(list: &[&str]) -> Vec<u8> {
    let mut out = vec![0];
    for nal in list {
        out.extend([0, 0, 1]);
        out.extend(hex::decode(nal).expect("hex"));
    }
    out
}

/// The H.264 byte stream of a picture.
pub fn picture(kind: Picture) -> Vec<u8> {
    match kind {
        Picture::Idr => nals(&[SPS, PPS, IDR_SLICE]),
        Picture::BareIdr => nals(&[IDR_SLICE]),
        Picture::OtherIdr => nals(&[SPS_WIDE, PPS, IDR_SLICE]),
        Picture::Open => nals(&[SPS, PPS, RECOVERY_POINT, I_SLICE]),
        Picture::P => nals(&[P_SLICE]),
    }
}

fn frame(header: &str, len: usize) -> Vec<u8> {
    let mut frame = hex::decode(header).expect("hex");
    frame.resize(len, 0x11);
    frame
}

/// An ADTS frame of 199 bytes, 48 kHz.
pub fn adts() -> Vec<u8> {
    frame(ADTS, 199)
}

/// An ADTS frame of 403 bytes, 44.1 kHz.
pub fn other_adts() -> Vec<u8> {
    frame(ADTS_44100, 403)
}

/// A PMT.
pub fn pmt(program: u16, version: u8, pcr: Pid, streams: &[(u8, Pid)]) -> Pmt {
    let stream = |(kind, pid): &(u8, Pid)| PmtStream { stream_type: StreamType(*kind), pid: *pid, info: Vec::new() };
    Pmt { program, version, pcr_pid: pcr, program_info: Vec::new(), streams: streams.iter().map(stream).collect() }
}

/// Video, audio and ID3 of program 1.
pub fn usual_pmt() -> Pmt {
    pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO), (0x15, ID3)])
}

/// A stream whose parts are ordered by when the muxer sends them.
#[derive(Debug, Clone, Default)]
pub struct Movie {
    parts: Vec<(i64, Part)>,
}

#[derive(Debug, Clone)]
enum Part {
    Pat(Vec<(u16, Pid)>),
    Pmt(Pid, Pmt),
    Pes(Pid, Box<Pes>),
    Clock(Pid, Stamp),
    Lost(usize),
    Null,
}

/// A PES packet of a [`Movie`].
#[derive(Debug, Clone)]
pub struct Pes {
    /// Presentation time in ticks, wrapped to 33 bits when it is written.
    pub pts: Option<i64>,
    /// Decoding time, likewise.
    pub dts: Option<i64>,
    /// Bytes.
    pub payload: Vec<u8>,
    /// Stuffing of its header.
    pub stuffing: u8,
    /// Whether its first packet signals a discontinuity.
    pub discontinuity: bool,
}

impl Pes {
    /// A PES packet with a PTS alone.
    pub fn new(pts: i64, payload: Vec<u8>) -> Self {
        Self { pts: Some(pts), dts: None, payload, stuffing: 0, discontinuity: false }
    }

    /// A picture.
    pub fn picture(pts: i64, kind: Picture) -> Self {
        Self::new(pts, picture(kind))
    }

    /// A frame of audio.
    pub fn audio(pts: i64) -> Self {
        Self::new(pts, adts())
    }
}

fn stamp(ticks: i64) -> Stamp {
    Stamp::wrapping(ticks as u64)
}

impl Movie {
    /// A movie that begins with the tables of one program.
    pub fn new(pmt: &Pmt) -> Self {
        Self::of(std::slice::from_ref(pmt))
    }

    /// A movie that begins with the tables of these programs.
    pub fn of(pmts: &[Pmt]) -> Self {
        let pid = |number: usize| Pid::masked(PMT_PID.value() + number as u16);
        let mut movie = Self::default();
        let programs = pmts.iter().enumerate().map(|(number, pmt)| (pmt.program, pid(number))).collect();
        movie.parts.push((i64::MIN, Part::Pat(programs)));
        for (number, pmt) in pmts.iter().enumerate() {
            movie.parts.push((i64::MIN, Part::Pmt(pid(number), pmt.clone())));
        }
        // Enough packets to lock on before anything can happen to them.
        movie.parts.extend(std::iter::repeat_n((i64::MIN, Part::Null), 4));
        movie
    }

    /// Adds a PES packet that is sent at `send`.
    pub fn pes(&mut self, send: i64, pid: Pid, pes: Pes) -> &mut Self {
        self.parts.push((send, Part::Pes(pid, Box::new(pes))));
        self
    }

    /// Adds a changed PMT of the first program.
    pub fn pmt(&mut self, send: i64, pmt: Pmt) -> &mut Self {
        self.parts.push((send, Part::Pmt(PMT_PID, pmt)));
        self
    }

    /// Adds a packet with a clock and nothing else.
    pub fn clock(&mut self, send: i64, pid: Pid) -> &mut Self {
        self.parts.push((send, Part::Clock(pid, stamp(send))));
        self
    }

    /// Adds a stretch of `bytes` that hold no packets. Two rows of packets of null packets follow, so that the sync is
    /// found again before the next part.
    pub fn lost(&mut self, send: i64, bytes: usize) -> &mut Self {
        self.parts.push((send, Part::Lost(bytes)));
        for _ in 0..10 {
            self.parts.push((send, Part::Null));
        }
        self
    }

    /// The stream.
    pub fn build(&self) -> Vec<u8> {
        let mut parts: Vec<&(i64, Part)> = self.parts.iter().collect();
        parts.sort_by_key(|part| part.0);
        let mut ts = TsBuilder::new();
        for (_, part) in parts {
            match part {
                Part::Pat(programs) => _ = ts.pat(programs),
                Part::Pmt(pid, pmt) => _ = ts.pmt(*pid, pmt),
                Part::Clock(pid, base) => _ = ts.pcr(*pid, Pcr { base: *base, extension: 0 }),
                Part::Lost(bytes) => _ = ts.raw(&vec![0x11; *bytes]),
                Part::Null => _ = ts.null(),
                Part::Pes(pid, pes) => {
                    let unit = PesUnit {
                        stream_id: if pid.value() & 0x0F == 0 { 0xE0 } else { 0xC0 },
                        pts: pes.pts.map(stamp),
                        dts: pes.dts.map(stamp),
                        header_stuffing: pes.stuffing,
                        discontinuity: if pes.discontinuity { Discontinuity::Yes } else { Discontinuity::No },
                        random_access: RandomAccess::No,
                        ..PesUnit::new(stamp(0), &pes.payload)
                    };
                    ts.unit(*pid, &unit);
                }
            }
        }
        ts.into_bytes()
    }
}

/// Feeds `bytes` to `push` in pieces whose lengths repeat `pieces`; a piece that is not consumed comes again, longer.
/// Stops when `push` fails (None) or the input ends; says which.
pub fn feed(bytes: &[u8], pieces: &[usize], mut push: impl FnMut(&[u8], EndOfInput) -> Option<usize>) -> bool {
    let mut pieces = pieces.iter().copied().map(|piece| piece.max(1)).cycle();
    let (mut from, mut to) = (0usize, 0usize);
    loop {
        to = bytes.len().min(to.max(from).saturating_add(pieces.next().unwrap_or(usize::MAX)));
        let end = if to == bytes.len() { EndOfInput::Reached } else { EndOfInput::NotYet };
        match push(&bytes[from..to], end) {
            Some(consumed) => from += consumed,
            None => return false,
        }
        if end == EndOfInput::Reached {
            return true;
        }
    }
}

/// What a stream holds.
pub fn probe(bytes: &[u8]) -> Vec<ProgramInfo> {
    let mut probe = Probe::new();
    let mut done = false;
    feed(bytes, &[usize::MAX], |bytes, end| {
        let (consumed, probed) = probe.push(bytes, end).ok()?;
        done |= probed == Probed::Enough;
        Some(consumed)
    });
    assert!(done, "the probe never has enough");
    probe.finish().expect("programs")
}

/// What renditions of a stream's programs carry, as chosen by default.
pub fn selections(bytes: &[u8]) -> Vec<Selection> {
    probe(bytes).iter().map(|program| program.select(&AudioChoice::First).expect("something to play")).collect()
}

/// Scans a stream whole, without a shift.
pub fn scan(bytes: &[u8]) -> (Scanner, Vec<(usize, Event)>) {
    let mut scanner = Scanner::new(selections(bytes).into_iter().map(|one| (one, Span::ZERO)).collect());
    let mut events = Vec::new();
    feed(bytes, &[usize::MAX], |bytes, end| {
        let consumed = scanner.push(bytes, end).ok();
        events.extend(scanner.take_events());
        consumed
    });
    (scanner, events)
}
