//! One pass over the packets of an input: where every access unit and PES packet of the carried streams begins, on
//! an unwrapped timeline. Nothing is copied but the starts of PES packets that lie in more than one TS packet.

use std::ops::Range;

use crate::es::{Codec, PayloadEnd};
use crate::limits;
use crate::time::Span;
use crate::ts::{
    Continuity, EndOfInput, Framer, LostWhy, Packet, PacketSink, PesHeader, PesStart, Pid, Pmt, PsiEvent, PsiTracker,
    Step, Stride, SyncError, parse_pes, pes_stamp_patches,
};

use super::event::{CaptionTally, Event};
use super::fault::{FaultKind, Faults, Place};
use super::head::{Head, Look, OwnedHead, look};
use super::select::{Role, Selection, Why};
use super::track::Track;

#[derive(Debug)]
struct Slot {
    pid: Pid,
    role: Role,
    codec: Option<Codec>,
    clock_only: bool,
    tracks: Vec<usize>,
    packets: u64,
    continuity: Continuity,
    /// The signature of the audio seen last.
    audio: Option<u64>,
    head: Head,
}

/// Scans one input for one or more tracks (one for each program that becomes a rendition).
#[derive(Debug)]
pub struct Scanner {
    framer: Framer,
    state: State,
    position: u64,
}

#[derive(Debug)]
struct State {
    psi: PsiTracker,
    /// Slot number + 1 of each PID; 0 = ignored; `PSI` = PAT or PMT.
    route: Vec<u16>,
    slots: Vec<Slot>,
    tracks: Vec<Track>,
    faults: Faults,
    lost: Vec<Range<u64>>,
    /// The end of the last packet. What lies behind it may yet turn out to be lost.
    packets_to: u64,
    /// Where the packets stopped, until the next one comes.
    lost_from: Option<u64>,
    patches: Vec<(usize, u64, u8)>,
    events: Vec<(usize, Event)>,
}

const PSI: u16 = u16::MAX;

impl Scanner {
    /// A scan that begins at byte 0 of an input. Each selection becomes a track, with the shift that its timestamps
    /// will get.
    #[must_use]
    pub fn new(selections: Vec<(Selection, Span)>) -> Self {
        let mut state = State {
            psi: PsiTracker::new(),
            route: vec![0; Pid::COUNT],
            slots: Vec::new(),
            tracks: Vec::new(),
            faults: Faults::default(),
            lost: Vec::new(),
            packets_to: 0,
            lost_from: None,
            patches: Vec::new(),
            events: Vec::new(),
        };
        state.route[Pid::PAT.index()] = PSI;
        for (selection, shift) in selections {
            state.tracks.push(Track::new(selection, shift));
        }
        state.rebuild_routes();
        Self { framer: Framer::new(), state, position: 0 }
    }

    /// Takes bytes that begin where the last call's consumed bytes ended; returns how many it consumed. The rest
    /// must come again, with more behind it.
    ///
    /// # Errors
    /// When the bytes are no transport stream, or too damaged to be one.
    pub fn push(&mut self, bytes: &[u8], end: EndOfInput) -> Result<usize, SyncError> {
        let consumed = self.framer.push(bytes, self.position, end, &mut self.state)?;
        self.position += consumed as u64;
        if end == EndOfInput::Reached {
            self.state.finish();
        }
        Ok(consumed)
    }

    /// Bytes of the input that have been scanned.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The packet format, once it is known.
    #[must_use]
    pub fn stride(&self) -> Option<Stride> {
        self.framer.stride()
    }

    /// Takes the events found since the last call: the track's number and what happened.
    pub fn take_events(&mut self) -> std::vec::Drain<'_, (usize, Event)> {
        self.state.events.drain(..)
    }

    /// Takes the ranges of the input, found since the last call, that hold no packets.
    pub fn take_lost(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.state.lost)
    }

    /// Takes the bytes, found since the last call, that a shift of timestamps changes in PES headers that lie in
    /// more than one packet: (track, byte offset, new value).
    pub fn take_patches(&mut self) -> Vec<(usize, u64, u8)> {
        std::mem::take(&mut self.state.patches)
    }

    /// What was damaged so far.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// How `track`'s captions were seen so far.
    #[must_use]
    pub fn captions(&self, track: usize) -> CaptionTally {
        self.state.tracks.get(track).map(|track| track.captions).unwrap_or_default()
    }

    /// Duration of one picture (or audio PES) of `track`: by its parameters where they fix it, else the last step.
    #[must_use]
    pub fn unit_duration(&self, track: usize) -> Span {
        self.state.tracks.get(track).map(Track::unit_duration).unwrap_or_default()
    }

    /// The shortest step between decoding times of `track`.
    #[must_use]
    pub fn shortest_step(&self, track: usize) -> Option<Span> {
        self.state.tracks.get(track).and_then(|track| track.min_step)
    }

    /// Packets of each carried PID so far.
    pub fn packet_counts(&self) -> impl Iterator<Item = (Pid, u64)> {
        self.state.slots.iter().map(|slot| (slot.pid, slot.packets))
    }

    /// The offset below which nothing is being collected any more: every PES start and every range without packets
    /// before it has been reported.
    #[must_use]
    pub fn reported_up_to(&self) -> u64 {
        let open = self.state.slots.iter().filter(|slot| slot.head.open).map(|slot| slot.head.offset).min();
        open.unwrap_or(self.state.packets_to)
    }
}

impl PacketSink for State {
    #[inline]
    fn packet(&mut self, offset: u64, bytes: &[u8; 188]) {
        let Some(packet) = Packet::new(bytes) else {
            return;
        };
        if let Some(start) = self.lost_from.take() {
            self.lost.push(start..offset);
        }
        self.packets_to = offset + bytes.len() as u64;
        match self.route[packet.pid().index()] {
            0 => {}
            PSI => self.psi_packet(offset, packet),
            slot => {
                let number = usize::from(slot - 1);
                let slot = &mut self.slots[number];
                // Nearly all packets are the middle of a PES packet whose start has been understood.
                if !slot.head.open && slot.continuity.step_plainly(packet) {
                    slot.packets += 1;
                } else {
                    self.slot_packet(number, offset, packet);
                }
            }
        }
    }

    fn lost(&mut self, range: Range<u64>, why: LostWhy) {
        let kind = match why {
            LostWhy::LeadingGarbage => FaultKind::LeadingGarbage,
            LostWhy::BadSync => FaultKind::LostSync,
            LostWhy::TruncatedTail => FaultKind::TruncatedTail,
        };
        let place = Place { offset: range.start, bytes: range.end - range.start, pid: None, time: None };
        self.faults.hit(kind, place);
        if why != LostWhy::TruncatedTail {
            self.lost_from.get_or_insert(range.start);
        }
    }
}

impl State {
    fn rebuild_routes(&mut self) {
        for (index, entry) in self.route.iter_mut().enumerate() {
            let pid = Pid::masked(index as u16);
            *entry = if pid == Pid::PAT || self.psi.is_psi(pid) { PSI } else { 0 };
        }
        for slot in &mut self.slots {
            (slot.role, slot.codec, slot.clock_only) = (Role::Data, None, true);
            slot.tracks.clear();
        }
        for track in 0..self.tracks.len() {
            let selection = self.tracks[track].selection.clone();
            for stream in &selection.streams {
                let slot = self.slot(stream.pid);
                (slot.role, slot.codec, slot.clock_only) = (stream.role, Some(stream.codec), false);
                slot.tracks.push(track);
            }
            if selection.clock_only() {
                self.slot(selection.pcr_pid).tracks.push(track);
            }
            // Nothing of a scrambled stream is kept, but its packets are counted.
            for scrambled in selection.left_out.iter().filter(|one| one.why == Why::Scrambled) {
                self.slot(scrambled.pid);
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.clock_only) {
            slot.head.open = false; // what it began will not go on
        }
    }

    /// The slot of `pid`, and the route to it. A new one counts packets and no more.
    fn slot(&mut self, pid: Pid) -> &mut Slot {
        let known = self.slots.iter().position(|slot| slot.pid == pid);
        let number = known.unwrap_or_else(|| {
            self.slots.push(Slot::new(pid));
            self.slots.len() - 1
        });
        self.route[pid.index()] = number as u16 + 1;
        &mut self.slots[number]
    }

    fn psi_packet(&mut self, offset: u64, packet: Packet<'_>) {
        let mut changed = false;
        let mut pmts: Vec<Pmt> = Vec::new();
        let (psi, faults) = (&mut self.psi, &mut self.faults);
        psi.packet(offset, packet, &mut |event| match event {
            PsiEvent::Pat { .. } => changed = true,
            PsiEvent::Pmt { pmt, .. } => pmts.push(pmt),
            PsiEvent::Fault { offset, pid, .. } => faults.hit(FaultKind::BadSection, Place::packet(offset, pid)),
        });
        for pmt in pmts {
            changed |= self.pmt_changed(offset, &pmt);
        }
        if changed {
            self.rebuild_routes();
        }
    }

    /// Takes a PMT that is not the one before. Content cannot be looked at again here, so streams that the track
    /// already knows keep what they were seen to be, and new ones are what the PMT says.
    fn pmt_changed(&mut self, offset: u64, pmt: &Pmt) -> bool {
        let mut changed = false;
        for number in 0..self.tracks.len() {
            let track = &mut self.tracks[number];
            if track.selection.program != pmt.program {
                continue;
            }
            let Some(selection) = super::source::reselect(pmt, &track.selection) else {
                continue;
            };
            track.pending_break |= track.started;
            track.selection = selection.clone();
            self.events.push((number, Event::Streams { offset, selection: Box::new(selection) }));
            self.faults.hit(FaultKind::StreamChange, Place { offset, bytes: 0, pid: None, time: None });
            changed = true;
        }
        changed
    }

    fn slot_packet(&mut self, number: usize, offset: u64, packet: Packet<'_>) {
        let slot = &mut self.slots[number];
        slot.packets += 1;
        let step = slot.continuity.step(packet);
        if packet.has_adaptation()
            && let Some(adaptation) = packet.adaptation()
            && adaptation.discontinuity()
        {
            self.signalled(number, offset);
        }
        let slot = &mut self.slots[number];
        let place = Place::packet(offset, slot.pid);
        if packet.transport_error() {
            self.faults.hit(FaultKind::TransportError, place);
        }
        match step {
            Step::Continues | Step::Signalled => {}
            Step::Duplicate => {
                self.faults.hit(FaultKind::DuplicatePacket, place);
                return;
            }
            Step::Gap { .. } => self.faults.hit(FaultKind::ContinuityGap, place),
        }
        if packet.scrambled() {
            self.faults.hit(FaultKind::ScrambledPacket, place);
            return;
        }
        if !packet.has_payload() || slot.clock_only {
            return;
        }
        if packet.payload_unit_start() {
            self.finish_head(number);
            self.start_head(number, offset, packet);
        } else if slot.head.open {
            let payload = packet.payload();
            slot.head.append(offset + 188 - payload.len() as u64, payload);
            if slot.head.bytes.len() >= slot.head.scan_at {
                self.scan_head(number, PayloadEnd::More);
            }
        }
    }

    fn signalled(&mut self, number: usize, offset: u64) {
        let pid = self.slots[number].pid;
        let mut counted = false;
        for index in 0..self.slots[number].tracks.len() {
            let track = self.slots[number].tracks[index];
            let track = &mut self.tracks[track];
            if track.selection.pcr_pid == pid && track.started {
                track.pending_break = true;
                counted = true;
            }
        }
        if counted {
            self.faults.hit(FaultKind::SignalledDiscontinuity, Place::packet(offset, pid));
        }
    }

    fn start_head(&mut self, number: usize, offset: u64, packet: Packet<'_>) {
        let payload = packet.payload();
        let slot = &mut self.slots[number];
        let codec = slot.codec;
        // The common case: all that matters lies in the first packet, and nothing is copied.
        match parse_pes(payload) {
            PesStart::Header(header) => {
                let content = payload.get(header.payload_offset..).unwrap_or_default();
                match look(codec, slot.role, content, slot.audio, PayloadEnd::More) {
                    Look::Done(found) => {
                        self.pes(number, offset, &header, found.as_ref());
                        return;
                    }
                    Look::More => {}
                }
            }
            PesStart::Incomplete => {}
            PesStart::NotPes => {
                // A packet that is marked as damaged has been counted as that.
                if !packet.transport_error() {
                    self.faults.hit(FaultKind::BadPes, Place::packet(offset, slot.pid));
                }
                return;
            }
        }
        let slot = &mut self.slots[number];
        slot.head.begin(offset);
        slot.head.append(offset + 188 - payload.len() as u64, payload);
    }

    fn scan_head(&mut self, number: usize, end: PayloadEnd) {
        let slot = &mut self.slots[number];
        let (codec, role, known) = (slot.codec, slot.role, slot.audio);
        let end = if slot.head.bytes.len() >= limits::PES_HEAD { PayloadEnd::Whole } else { end };
        let head = std::mem::take(&mut slot.head);
        let decided = match parse_pes(&head.bytes) {
            PesStart::Header(header) => {
                let content = head.bytes.get(header.payload_offset..).unwrap_or_default();
                match look(codec, role, content, known, end) {
                    Look::Done(found) => {
                        self.patch(number, &head, &header);
                        self.pes(number, head.offset, &header, found.as_ref());
                        true
                    }
                    Look::More => false,
                }
            }
            PesStart::Incomplete => matches!(end, PayloadEnd::Whole),
            PesStart::NotPes => true,
        };
        let slot = &mut self.slots[number];
        slot.head = head;
        if decided {
            slot.head.open = false;
        } else {
            // Doubling keeps the work linear in what a hostile PES makes us collect.
            slot.head.scan_at = slot.head.bytes.len().saturating_mul(2).min(limits::PES_HEAD);
        }
    }

    fn finish_head(&mut self, number: usize) {
        if self.slots[number].head.open {
            self.scan_head(number, PayloadEnd::Whole);
            self.slots[number].head.open = false;
        }
    }

    /// Notes the bytes that a shift changes in a header which one packet does not hold whole.
    fn patch(&mut self, number: usize, head: &Head, header: &PesHeader) {
        let first = head.pieces.get(1).map_or(head.bytes.len(), |piece| piece.0);
        if header.payload_offset <= first {
            return; // the assembler sees it whole
        }
        let Some(bytes) = head.bytes.get(..header.payload_offset) else {
            return;
        };
        for &track in &self.slots[number].tracks {
            let shift = self.tracks[track].shift;
            if shift == Span::ZERO {
                continue;
            }
            for (at, value) in pes_stamp_patches(bytes, shift).unwrap_or_default() {
                if let Some((start, from)) = head.pieces.iter().rev().find(|piece| piece.0 <= at) {
                    self.patches.push((track, from + (at - start) as u64, value));
                }
            }
        }
    }

    fn pes(&mut self, number: usize, offset: u64, header: &PesHeader, head: Option<&OwnedHead>) {
        let slot = &mut self.slots[number];
        let pid = slot.pid;
        if let Some(OwnedHead::Audio { signature, .. }) = head {
            slot.audio = Some(*signature);
        }
        for index in 0..self.slots[number].tracks.len() {
            let track_number = self.slots[number].tracks[index];
            let track = &mut self.tracks[track_number];
            let (events, faults) = (&mut self.events, &mut self.faults);
            track.pes(pid, offset, header, head, &mut |event| events.push((track_number, event)), faults);
        }
    }

    fn finish(&mut self) {
        if let Some(start) = self.lost_from.take() {
            self.lost.push(start..u64::MAX);
        }
        for number in 0..self.slots.len() {
            self.finish_head(number);
        }
    }
}

impl Slot {
    fn new(pid: Pid) -> Self {
        Self {
            pid,
            role: Role::Data,
            codec: None,
            clock_only: true,
            tracks: Vec::new(),
            packets: 0,
            continuity: Continuity::new(),
            audio: None,
            head: Head::default(),
        }
    }
}

#[cfg(test)]
mod tests;
