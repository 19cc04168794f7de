//! Walks over the packets of one decrypted segment: an own demultiplexer, so that no fault of the writer's is shared.

use crate::es::{self, Captions, Codec, HeadScan, PayloadEnd, RandomAccess, Sniffed, VideoInfo};
use crate::limits;
use crate::time::{Instant90, Stamp};
use crate::ts::{
    Continuity, PACKET_LEN, Packet, PesStart, Pid, Pmt, PsiEvent, PsiTracker, SYNC_BYTE, SectionFault, Step,
    crc32_mpeg2, parse_pes,
};

use super::facts::{Audio, First, Stream, Ts, Video};

/// Something that is wrong, with the byte of the segment and the PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No sync byte; so many bytes were passed over.
    Sync(u64),
    /// The segment ends inside a packet of so many bytes.
    Partial(usize),
    /// A section is lost.
    Section(SectionFault),
    /// The counter jumps.
    Continuity(u8, u8),
    /// transport_error_indicator.
    ErrorFlag,
    /// Scrambled.
    Scrambled,
    /// A payload unit is no PES packet.
    NoPes,
    /// PES_packet_length says the first, the second came.
    PesLength(u32, u32),
    /// Decoding time goes back, by so many ticks.
    Order(i64),
    /// PTS before DTS, by so many ticks.
    PtsBeforeDts(i64),
}

/// What one PID shows.
#[derive(Debug, Default)]
struct Lane {
    pid: u16,
    packets: u64,
    first: Option<First>,
    last_counter: u8,
    continuity: Continuity,
    /// The payload unit that is being collected; empty when no more of it is wanted.
    head: Vec<u8>,
    collecting: bool,
    unit_at: u64,
    /// Bytes of the present PES packet, and how many it says it has after its length field.
    got: u32,
    stated: u32,
    /// The collected bytes at which a look is worth it.
    look_at: usize,
    codec: Option<Sniffed>,
    pes: u64,
    stamped: bool,
    video: Option<Video>,
    audio: Option<Audio>,
    last_dts: Option<Instant90>,
    reference: Option<Instant90>,
    pcr: u64,
}

/// The walk.
pub struct Walker {
    offset: u64,
    carry: Vec<u8>,
    psi: PsiTracker,
    lanes: Vec<Lane>,
    /// Index into `lanes` plus one, by PID.
    index: Box<[u16; Pid::COUNT]>,
    ts: Ts,
    lost_from: Option<u64>,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            offset: 0,
            carry: Vec::new(),
            psi: PsiTracker::new(),
            lanes: Vec::new(),
            index: Box::new([0; Pid::COUNT]),
            ts: Ts::default(),
            lost_from: None,
        }
    }
}

impl Walker {
    /// Takes the next bytes and calls `fault` with what is wrong: byte, PID, fault.
    pub fn push(&mut self, mut bytes: &[u8], fault: &mut impl FnMut(u64, Option<u16>, Fault)) {
        if !self.carry.is_empty() {
            let wanted = PACKET_LEN - self.carry.len();
            let (front, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.carry.extend_from_slice(front);
            bytes = rest;
            if self.carry.len() < PACKET_LEN {
                return;
            }
            let carry = std::mem::take(&mut self.carry);
            let used = self.packets(&carry, fault);
            if let Some(rest) = carry.get(used..).filter(|rest| !rest.is_empty()) {
                // Out of step: what is left of the carried bytes goes before the new ones once.
                let joined = [rest, bytes].concat();
                let used = self.packets(&joined, fault);
                self.carry = joined.get(used..).unwrap_or_default().to_vec();
                return;
            }
        }
        let used = self.packets(bytes, fault);
        self.carry.extend_from_slice(bytes.get(used..).unwrap_or_default());
    }

    /// Takes whole packets off the front and returns how many bytes it took; fewer than a packet are left.
    fn packets(&mut self, bytes: &[u8], fault: &mut impl FnMut(u64, Option<u16>, Fault)) -> usize {
        let mut at = 0;
        while let Some(bytes) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<PACKET_LEN>()) {
            match Packet::new(bytes) {
                Some(packet) => {
                    if let Some(from) = self.lost_from.take() {
                        fault(from, None, Fault::Sync(self.offset - from));
                    }
                    self.packet(packet, fault);
                    at += PACKET_LEN;
                    self.offset += PACKET_LEN as u64;
                }
                None => {
                    self.lost_from.get_or_insert(self.offset);
                    let next =
                        memchr::memchr(SYNC_BYTE, bytes.get(1..).unwrap_or_default()).map_or(PACKET_LEN, |n| n + 1);
                    at += next;
                    self.offset += next as u64;
                }
            }
        }
        at
    }

    fn packet(&mut self, packet: Packet<'_>, fault: &mut impl FnMut(u64, Option<u16>, Fault)) {
        let (pid, offset) = (packet.pid(), self.offset);
        let number = pid.value();
        if self.ts.packets < 2
            && let Some(place) = self.ts.first.get_mut(self.ts.packets as usize)
        {
            *place = Some(number);
            if self.ts.packets == 0 {
                self.ts.first_section_bad = first_section_bad(packet);
            }
        }
        self.ts.packets += 1;
        if packet.transport_error() {
            return fault(offset, Some(number), Fault::ErrorFlag);
        }
        if pid == Pid::NULL {
            return;
        }
        let lane = match self.index.get(pid.index()).copied().unwrap_or(0) {
            0 => {
                self.lanes.push(Lane { pid: number, ..Lane::default() });
                if let Some(place) = self.index.get_mut(pid.index()) {
                    *place = self.lanes.len() as u16;
                }
                self.lanes.len() - 1
            }
            n => usize::from(n) - 1,
        };
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let repeated = lane.count(packet, offset, fault);
        if packet.scrambled() {
            return fault(offset, Some(number), Fault::Scrambled);
        }
        if self.psi.is_psi(pid) {
            let ts = &mut self.ts;
            self.psi.packet(offset, packet, &mut |event| match event {
                PsiEvent::Pat { offset, programs } => {
                    ts.pat_at.get_or_insert(offset);
                    ts.programs = ts.programs.max(programs.iter().filter(|(program, _)| *program != 0).count());
                    ts.pmt_pids.extend(programs.iter().map(|(_, pid)| pid.value()));
                }
                PsiEvent::Pmt { offset, pmt } => {
                    ts.pmt_at.get_or_insert(offset);
                    ts.pmt = Some(pmt);
                }
                PsiEvent::Fault { offset, pid, fault: kind } => fault(offset, Some(pid.value()), Fault::Section(kind)),
            });
            return;
        }
        if !repeated && packet.has_payload() {
            lane.payload(packet, offset, fault);
        }
    }

    /// The segment's end.
    pub fn finish(mut self, fault: &mut impl FnMut(u64, Option<u16>, Fault)) -> Ts {
        if let Some(from) = self.lost_from.take() {
            fault(from, None, Fault::Sync(self.offset + self.carry.len() as u64 - from));
        } else if !self.carry.is_empty() {
            fault(self.offset, None, Fault::Partial(self.carry.len()));
        }
        for lane in &mut self.lanes {
            lane.unit_ends(fault);
        }
        let last: Option<&Pmt> = self.ts.pmt.as_ref();
        let listed = last.map(|pmt| pmt.streams.clone()).unwrap_or_default();
        self.ts.pcr = last
            .and_then(|pmt| self.lanes.iter().find(|lane| lane.pid == pmt.pcr_pid.value()))
            .map_or(0, |lane| lane.pcr);
        for lane in self.lanes {
            let entry = listed.iter().find(|entry| entry.pid.value() == lane.pid);
            self.ts.streams.push(Stream {
                pid: lane.pid,
                stream_type: entry.map(|entry| entry.stream_type.0),
                packets: lane.packets,
                first: lane.first,
                last_counter: lane.last_counter,
                content: lane.codec,
                pes: lane.pes,
                stamped: lane.stamped,
                video: lane.video.map(Video::finished),
                audio: lane.audio,
            });
        }
        self.ts.streams.sort_by_key(|stream| stream.pid);
        self.ts
    }
}

impl Lane {
    /// Counts a packet and follows its counter; says whether it is a repetition.
    fn count(&mut self, packet: Packet<'_>, offset: u64, fault: &mut impl FnMut(u64, Option<u16>, Fault)) -> bool {
        self.packets += 1;
        let adaptation = packet.adaptation();
        if self.first.is_none() {
            let signalled = adaptation.is_some_and(|field| field.discontinuity());
            self.first = Some(First { counter: packet.continuity_counter(), payload: packet.has_payload(), signalled });
        }
        self.last_counter = packet.continuity_counter();
        if adaptation.is_some_and(|field| field.pcr().is_some()) {
            self.pcr += 1;
        }
        match self.continuity.step(packet) {
            Step::Duplicate => return true,
            Step::Gap { expected, found } => fault(offset, Some(self.pid), Fault::Continuity(expected, found)),
            Step::Continues | Step::Signalled => {}
        }
        false
    }

    fn payload(&mut self, packet: Packet<'_>, offset: u64, fault: &mut impl FnMut(u64, Option<u16>, Fault)) {
        let payload = packet.payload();
        if packet.payload_unit_start() {
            self.unit_ends(fault);
            self.pes += 1;
            self.unit_at = offset;
            self.got = 0;
            self.stated = 0;
            self.collecting = true;
            self.look_at = 0;
            // stuffing of a section on an unknown PID, or damage
            if !payload.starts_with(&[0, 0, 1]) && !matches!(payload, [] | [0] | [0, 0]) {
                self.collecting = false;
                if self.codec.is_some() || self.video.is_some() {
                    fault(offset, Some(self.pid), Fault::NoPes);
                }
                return;
            }
        }
        self.got = self.got.saturating_add(payload.len() as u32);
        if self.collecting {
            let room = limits::VERIFY_HEAD.saturating_sub(self.head.len());
            self.head.extend_from_slice(payload.get(..payload.len().min(room)).unwrap_or_default());
            if self.head.len() >= self.look_at || room == 0 {
                self.look_at = self.head.len() * 2;
                let end = if room == 0 { PayloadEnd::Whole } else { PayloadEnd::More };
                self.look(end, fault);
            }
        }
    }

    /// The payload unit is complete.
    fn unit_ends(&mut self, fault: &mut impl FnMut(u64, Option<u16>, Fault)) {
        if self.collecting && !self.head.is_empty() {
            self.look(PayloadEnd::Whole, fault);
        }
        self.collecting = false;
        self.head.clear();
        if self.stated != 0 && self.got != self.stated {
            fault(self.unit_at, Some(self.pid), Fault::PesLength(self.stated, self.got));
        }
        self.stated = 0;
    }

    /// Looks at what was collected of the payload unit; stops collecting when that was enough.
    fn look(&mut self, end: PayloadEnd, fault: &mut impl FnMut(u64, Option<u16>, Fault)) {
        let PesStart::Header(header) = parse_pes(&self.head) else { return };
        if header.packet_length > 0 {
            self.stated = u32::from(header.packet_length) + 6;
        }
        let head = std::mem::take(&mut self.head);
        let payload = head.get(header.payload_offset..).unwrap_or_default();
        let codec = match self.codec {
            Some(codec) => Some(codec),
            None => es::sniff(payload),
        };
        let known = match codec {
            Some(Sniffed::Known(codec)) => Some(codec),
            _ => None,
        };
        let done = match known {
            Some(codec) if codec.is_video() => {
                self.codec = Some(Sniffed::Known(codec));
                match es::scan_head(codec, payload, end) {
                    HeadScan::NeedMore => false,
                    HeadScan::Complete(found) => {
                        self.picture(codec, &found, header.pts, header.dts, fault);
                        true
                    }
                }
            }
            // Audio frames are counted in whole PES packets.
            Some(codec) if codec.is_audio() && end == PayloadEnd::Whole => {
                self.codec = Some(Sniffed::Known(codec));
                self.sound(codec, payload, header.pts);
                true
            }
            _ if end == PayloadEnd::Whole => {
                self.codec = self.codec.or(codec);
                self.stamp(header.pts);
                true
            }
            _ => false,
        };
        self.head = head;
        if done {
            self.head.clear();
            self.collecting = false;
        }
    }

    fn stamp(&mut self, pts: Option<Stamp>) -> Option<Instant90> {
        if self.pes == 1 {
            self.stamped = pts.is_some();
        }
        let pts = pts?;
        let near = self.reference.unwrap_or_else(|| Instant90::from_ticks(pts.value() as i64));
        let time = near.nearest(pts);
        self.reference = Some(time);
        Some(time)
    }

    fn picture(
        &mut self,
        codec: Codec,
        head: &es::AccessUnitHead<'_>,
        pts: Option<Stamp>,
        dts: Option<Stamp>,
        fault: &mut impl FnMut(u64, Option<u16>, Fault),
    ) {
        let time = self.stamp(pts);
        let decode = match (time, dts) {
            (Some(time), Some(dts)) => Some(time.nearest(dts)),
            (time, _) => time,
        };
        if let (Some(decode), Some(before)) = (decode, self.last_dts)
            && decode <= before
        {
            fault(self.unit_at, Some(self.pid), Fault::Order(before.since(decode).ticks()));
        }
        if let (Some(time), Some(decode)) = (time, decode)
            && time < decode
        {
            fault(self.unit_at, Some(self.pid), Fault::PtsBeforeDts(decode.since(time).ticks()));
        }
        self.last_dts = decode.or(self.last_dts);
        let video = self.video.get_or_insert_with(|| Video { start: head.random_access, ..Video::default() });
        video.captions |= head.captions == Captions::Present;
        if let Some(info) = head.sps.and_then(|sps| es::video_info(codec, sps)) {
            match &video.info {
                None => video.info = Some(info),
                Some(known) if !same_video(known, &info) => video.changes = Some(self.unit_at),
                Some(_) => {}
            }
        }
        if let Some(time) = time
            && video.times.len() < limits::VERIFY_UNITS
        {
            video.times.push(time.ticks());
            if head.random_access != RandomAccess::None {
                video.keys.push(time.ticks());
            }
        }
    }

    fn sound(&mut self, codec: Codec, payload: &[u8], pts: Option<Stamp>) {
        let time = self.stamp(pts);
        let frames = es::count_access_units(codec, payload) as i64;
        let audio = self.audio.get_or_insert_with(Audio::default);
        if audio.info.is_none() {
            audio.info = es::audio_info(codec, payload);
        }
        let Some((samples, rate)) =
            audio.info.as_ref().map(|info| (i64::from(info.frame_samples), i64::from(info.sample_rate)))
        else {
            return;
        };
        if let Some(time) = time {
            audio.first.get_or_insert(time.ticks());
            audio.since = (time.ticks(), 0);
        }
        audio.since.1 += frames;
        audio.frames += frames;
        audio.end = audio.since.0 + audio.since.1 * samples * 90_000 / rate.max(1);
    }
}

fn same_video(a: &VideoInfo, b: &VideoInfo) -> bool {
    a.codecs == b.codecs && (a.width, a.height) == (b.width, b.height) && a.range == b.range
}

/// Whether the packet, which is the segment's first, has a table whose CRC is wrong. A wrong IV damages nothing else.
fn first_section_bad(packet: Packet<'_>) -> bool {
    let payload = packet.payload();
    if packet.pid().value() > 0x1f || !packet.payload_unit_start() {
        return false;
    }
    let Some(section) = payload.first().and_then(|&pointer| payload.get(1 + usize::from(pointer)..)) else {
        return true;
    };
    let Some(&[_, high, low]) = section.first_chunk::<3>() else { return true };
    let length = 3 + (usize::from(high & 0x0f) << 8 | usize::from(low));
    match section.get(..length) {
        Some(section) => high & 0x80 != 0 && crc32_mpeg2(section) != 0,
        // A section that goes on in the next packet is looked at where all sections are.
        None => length > 1024,
    }
}

#[cfg(test)]
mod tests;
