//! What an input holds: its programs, their streams and what those really are, from its first bytes.

use std::ops::Range;

use crate::es::{self, Sniffed};
use crate::limits;
use crate::time::{Span, Stamp};
use crate::ts::{
    EndOfInput, Framer, LostWhy, Packet, PacketSink, PesStart, Pid, Pmt, PmtStream, PsiEvent, PsiTracker, Stride,
    SyncError, parse_pes,
};

use super::error::LadderError;
use super::select::{AudioChoice, Content, LeftOut, Seen, Selection, Why, declared, identify, language, select};

/// Bytes of a stream's first PES packets that are looked at to tell what it is.
const SNIFF_BYTES: usize = 4096;
/// Bytes after which a stream that the PMT lists, and that has not come, is not waited for.
const ABSENT_AFTER: u64 = 8 * 1024 * 1024;

/// A stream of a program, as an input's beginning shows it.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Its entry in the PMT.
    pub entry: PmtStream,
    /// What it is.
    pub content: Content,
    /// What was seen of it.
    pub seen: Seen,
    /// ISO 639-2 language.
    pub language: Option<String>,
}

/// A program of an input.
#[derive(Debug, Clone)]
pub struct ProgramInfo {
    /// Its PMT, as first seen.
    pub pmt: Pmt,
    /// The PID that carries its PMT.
    pub pmt_pid: Pid,
    /// Its streams in PMT order.
    pub streams: Vec<StreamInfo>,
}

impl ProgramInfo {
    /// Chooses what a rendition made of this program carries.
    ///
    /// # Errors
    /// As [`select`].
    pub fn select(&self, audio: &AudioChoice) -> Result<Selection, LadderError> {
        select(&self.pmt, |entry| self.known(entry.pid), audio)
    }

    /// A selection of one stream alone, for looking at it; None where HLS does not carry it.
    #[must_use]
    pub fn alone(&self, pid: Pid) -> Option<Selection> {
        let streams = self.pmt.streams.iter().filter(|entry| entry.pid == pid).cloned().collect();
        let pmt = Pmt { streams, ..self.pmt.clone() };
        let selection = select(&pmt, |entry| (self.known(entry.pid).0, Seen::Unknown), &AudioChoice::First).ok()?;
        Some(Selection { chosen_from: None, ..selection })
    }

    fn known(&self, pid: Pid) -> (Content, Seen) {
        match self.streams.iter().find(|stream| stream.entry.pid == pid) {
            Some(stream) => (stream.content.clone(), stream.seen.clone()),
            None => (Content::Other("unknown".to_owned()), Seen::Nothing),
        }
    }
}

/// Chooses again after the PMT has changed. Streams that were carried keep what they were seen to be, those that could
/// not be carried stay left out, and new ones are what the PMT says. None when nothing changes for the rendition, or
/// nothing would be left to play: then the old choice stands.
pub(super) fn reselect(pmt: &Pmt, before: &Selection) -> Option<Selection> {
    let (chosen_from, audio) = before.chosen_from.as_ref()?;
    if pmt.same_content(chosen_from) {
        return None;
    }
    let content = |entry: &PmtStream| {
        if let Some(stream) = before.stream(entry.pid) {
            return (Content::Carried(stream.codec), Seen::As(Sniffed::Known(stream.codec)));
        }
        let known = chosen_from.streams.contains(entry);
        match before.left_out.iter().find(|one| known && one.pid == entry.pid) {
            Some(LeftOut { why: Why::Absent, .. }) => (known_content(entry, pmt), Seen::Nothing),
            Some(LeftOut { why: Why::Scrambled, .. }) => (known_content(entry, pmt), Seen::Scrambled),
            Some(LeftOut { why: Why::NotCarried, what, .. }) => (Content::Other(what.clone()), Seen::Unknown),
            _ => (known_content(entry, pmt), Seen::Unknown),
        }
    };
    let selection = select(pmt, content, audio).ok()?;
    (!selection.same_streams(before)).then_some(selection)
}

fn known_content(entry: &PmtStream, pmt: &Pmt) -> Content {
    identify(declared(entry, &pmt.program_info), &Seen::Unknown)
}

/// Reads the beginning of an input until it is known what it holds.
#[derive(Debug)]
pub struct Probe {
    framer: Framer,
    state: ProbeState,
    position: u64,
}

/// Whether a probe needs more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// All that matters is known.
    Enough,
    /// More bytes may tell more.
    NeedsMore,
}

#[derive(Debug)]
struct ProbeState {
    psi: PsiTracker,
    pat: Vec<(u16, Pid)>,
    programs: Vec<ProgramInfo>,
    sniffs: Vec<Sniff>,
    clock: Option<(Pid, Stamp)>,
    elapsed: Span,
}

#[derive(Debug)]
struct Sniff {
    pid: Pid,
    scrambled: bool,
    started: bool,
    bytes: Vec<u8>,
    found: Option<Sniffed>,
    given_up: bool,
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// A probe that begins at byte 0 of an input.
    #[must_use]
    pub fn new() -> Self {
        let state = ProbeState {
            psi: PsiTracker::new(),
            pat: Vec::new(),
            programs: Vec::new(),
            sniffs: Vec::new(),
            clock: None,
            elapsed: Span::ZERO,
        };
        Self { framer: Framer::new(), state, position: 0 }
    }

    /// Takes bytes as [`super::scan::Scanner::push`] does; returns how many it consumed, and whether it needs more.
    ///
    /// # Errors
    /// When the bytes are no transport stream.
    pub fn push(&mut self, bytes: &[u8], end: EndOfInput) -> Result<(usize, Probed), SyncError> {
        let consumed = self.framer.push(bytes, self.position, end, &mut self.state)?;
        self.position += consumed as u64;
        let enough = end == EndOfInput::Reached
            || self.position >= limits::PROBE_BYTES as u64
            || self.state.complete(self.position);
        Ok((consumed, if enough { Probed::Enough } else { Probed::NeedsMore }))
    }

    /// The packet format, once it is known.
    #[must_use]
    pub fn stride(&self) -> Option<Stride> {
        self.framer.stride()
    }

    /// The programs found, in PAT order.
    ///
    /// # Errors
    /// When there is none.
    pub fn finish(mut self) -> Result<Vec<ProgramInfo>, LadderError> {
        for sniff in &mut self.state.sniffs {
            sniff.look();
        }
        for program in &mut self.state.programs {
            let info = program.pmt.program_info.clone();
            for stream in &mut program.streams {
                stream.seen = match self.state.sniffs.iter().find(|sniff| sniff.pid == stream.entry.pid) {
                    Some(sniff) => sniff.result(),
                    None => Seen::Unknown,
                };
                stream.content = identify(declared(&stream.entry, &info), &stream.seen);
            }
        }
        if self.state.programs.is_empty() {
            return Err(LadderError::NoProgram { searched: self.position });
        }
        let order = |program: &ProgramInfo| {
            self.state.pat.iter().position(|entry| entry.0 == program.pmt.program).unwrap_or(usize::MAX)
        };
        let mut programs = std::mem::take(&mut self.state.programs);
        programs.sort_by_key(order);
        Ok(programs)
    }
}

impl PacketSink for ProbeState {
    fn packet(&mut self, offset: u64, bytes: &[u8; 188]) {
        let Some(packet) = Packet::new(bytes) else {
            return;
        };
        if self.psi.is_psi(packet.pid()) {
            self.psi_packet(offset, packet);
        }
        if packet.payload_unit_start()
            && !packet.scrambled()
            && let PesStart::Header(header) = parse_pes(packet.payload())
            && let Some(pts) = header.pts
        {
            let (pid, first) = *self.clock.get_or_insert((packet.pid(), pts));
            if pid == packet.pid() {
                self.elapsed = self.elapsed.max(pts.since(first));
            }
        }
        if let Some(sniff) = self.sniffs.iter_mut().find(|sniff| sniff.pid == packet.pid()) {
            sniff.packet(packet);
        }
    }

    fn lost(&mut self, _range: Range<u64>, _why: LostWhy) {}
}

impl ProbeState {
    fn psi_packet(&mut self, offset: u64, packet: Packet<'_>) {
        let (pat, programs, sniffs) = (&mut self.pat, &mut self.programs, &mut self.sniffs);
        self.psi.packet(offset, packet, &mut |event| match event {
            PsiEvent::Pat { programs, .. } if pat.is_empty() => *pat = programs,
            PsiEvent::Pmt { pmt, .. } => {
                // Only the first version counts here: the scan begins at byte 0 and follows the changes itself.
                if programs.iter().all(|program| program.pmt.program != pmt.program) {
                    let streams = pmt.streams.iter().map(|entry| StreamInfo {
                        entry: entry.clone(),
                        content: Content::Other(String::new()),
                        seen: Seen::Nothing,
                        language: language(&entry.info),
                    });
                    for entry in &pmt.streams {
                        if sniffs.iter().all(|sniff| sniff.pid != entry.pid) {
                            sniffs.push(Sniff::new(entry.pid));
                        }
                    }
                    let streams = streams.collect();
                    programs.push(ProgramInfo { pmt_pid: packet.pid(), streams, pmt });
                }
            }
            PsiEvent::Pat { .. } | PsiEvent::Fault { .. } => {}
        });
    }

    fn complete(&self, position: u64) -> bool {
        if self.programs.is_empty() {
            return false;
        }
        let late = position > ABSENT_AFTER || self.elapsed > limits::PROBE_TIME;
        let all_programs = self.pat.iter().all(|(number, _)| self.programs.iter().any(|p| p.pmt.program == *number));
        let all_streams = self.programs.iter().flat_map(|program| {
            let info = &program.pmt.program_info;
            program.streams.iter().map(move |stream| (stream.entry.pid, declared(&stream.entry, info)))
        });
        let mut known = all_streams.map(|(pid, declared)| {
            let sparse = match &declared {
                Some(Content::Other(_)) => true,
                Some(Content::Carried(codec)) => !codec.is_video() && !codec.is_audio(),
                None => false,
            };
            sparse || self.sniffs.iter().any(|sniff| sniff.pid == pid && sniff.done())
        });
        late || (all_programs && known.all(|known| known))
    }
}

impl Sniff {
    fn new(pid: Pid) -> Self {
        Self { pid, scrambled: false, started: false, bytes: Vec::new(), found: None, given_up: false }
    }

    fn packet(&mut self, packet: Packet<'_>) {
        if self.done() {
            return;
        }
        if packet.scrambled() {
            self.scrambled = true;
            return;
        }
        if packet.payload_unit_start() {
            self.look();
            if self.found.is_none() {
                self.bytes.clear();
            }
            self.started = true;
        }
        if self.started {
            self.bytes.extend_from_slice(packet.payload());
            if self.bytes.len() >= SNIFF_BYTES {
                self.look();
                self.given_up = self.found.is_none();
                self.started = false;
            }
        }
    }

    fn look(&mut self) {
        if let PesStart::Header(header) = parse_pes(&self.bytes)
            && let Some(content) = self.bytes.get(header.payload_offset..)
            && self.found.is_none()
        {
            self.found = es::sniff(content);
        }
    }

    fn done(&self) -> bool {
        self.found.is_some() || self.given_up
    }

    fn result(&self) -> Seen {
        match (&self.found, self.bytes.is_empty(), self.scrambled) {
            (Some(found), _, _) => Seen::As(*found),
            (None, true, true) => Seen::Scrambled,
            (None, true, false) if !self.given_up => Seen::Nothing,
            _ => Seen::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
