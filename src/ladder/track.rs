//! One rendition on its way through a scan: its timeline, its parameters, and when they break.

use crate::es::{self, AudioInfo, Captions, Scan, VideoInfo};
use crate::time::{Span, Stamp, TICKS_PER_SECOND};
use crate::ts::{PesHeader, Pid};

use super::clock::{EpochTime, ProgramClock, SideClock, Step};
use super::event::{Access, CaptionTally, Event, Unit};
use super::fault::{FaultKind, Faults, Place};
use super::head::OwnedHead;
use super::select::Selection;

#[derive(Debug)]
pub(super) struct Track {
    pub(super) selection: Selection,
    /// What will be added to the track's timestamps; the scan itself reports them as they are.
    pub(super) shift: Span,
    /// Whether a unit at which a decoder can start has come.
    pub(super) started: bool,
    /// A break that the next such unit will carry.
    pub(super) pending_break: bool,
    pub(super) captions: CaptionTally,
    clock: ProgramClock,
    sides: Vec<(Pid, SideClock)>,
    sps: Vec<u8>,
    video: Option<VideoInfo>,
    audio: Option<AudioInfo>,
    last_decode: Option<EpochTime>,
    /// The shortest and the latest step between decoding times.
    pub(super) min_step: Option<Span>,
    last_step: Option<Span>,
}

impl Track {
    pub(super) fn new(selection: Selection, shift: Span) -> Self {
        Self {
            selection,
            shift,
            started: false,
            pending_break: false,
            captions: CaptionTally::default(),
            clock: ProgramClock::default(),
            sides: Vec::new(),
            sps: Vec::new(),
            video: None,
            audio: None,
            last_decode: None,
            min_step: None,
            last_step: None,
        }
    }

    /// Takes the start of a PES packet of a carried stream.
    pub(super) fn pes(
        &mut self,
        pid: Pid,
        offset: u64,
        header: &PesHeader,
        head: Option<&OwnedHead>,
        out: &mut impl FnMut(Event),
        faults: &mut Faults,
    ) {
        if let Some(OwnedHead::Audio { info, .. }) = head {
            self.audio_seen(offset, info, out, faults);
        }
        if self.selection.main == pid {
            self.unit(offset, header, head, out, faults);
        } else {
            let at = header.pts.map(|pts| self.place(pid, pts));
            out(Event::Pes { pid, offset, at });
        }
    }

    fn place(&mut self, pid: Pid, pts: Stamp) -> EpochTime {
        let known = self.sides.iter().position(|side| side.0 == pid);
        let index = known.unwrap_or_else(|| {
            self.sides.push((pid, SideClock::default()));
            self.sides.len() - 1
        });
        self.sides[index].1.place(pts, &mut self.clock)
    }

    fn audio_seen(&mut self, offset: u64, info: &AudioInfo, out: &mut impl FnMut(Event), faults: &mut Faults) {
        match &self.audio {
            Some(known) if known.same_configuration(info) => return,
            Some(_) => {
                self.pending_break |= self.started;
                faults.hit(FaultKind::StreamChange, Place { offset, bytes: 0, pid: None, time: None });
            }
            None => {}
        }
        self.audio = Some(info.clone());
        out(Event::Audio(info.clone()));
    }

    fn unit(
        &mut self,
        offset: u64,
        header: &PesHeader,
        head: Option<&OwnedHead>,
        out: &mut impl FnMut(Event),
        faults: &mut Faults,
    ) {
        let Some(pts) = header.pts else {
            return; // without a time it stays with the unit before
        };
        let dts = header.dts.unwrap_or(pts);
        let (decode, step) = self.clock.step(dts);
        let at = EpochTime { epoch: decode.epoch, time: decode.time.plus(pts.since(dts)) };
        let place = Place { offset, bytes: 0, pid: Some(self.selection.main), time: Some(at.time) };
        if step == Step::Jump {
            self.pending_break = self.started;
            faults.hit(FaultKind::TimestampJump, place);
        }
        self.measure(decode);
        let access = match head {
            Some(OwnedHead::Picture { access, sps, captions }) => {
                if let Some(sps) = sps {
                    self.parameters(place, sps, out, faults);
                }
                self.caption(*captions);
                if *access == Access::NeedsParameterSets {
                    faults.hit(FaultKind::MissingParameterSets, place);
                }
                *access
            }
            // Audio: a decoder can start at every PES.
            _ if self.selection.stream(self.selection.main).is_some_and(|main| main.codec.is_audio()) => Access::Clean,
            _ => Access::None,
        };
        let starts = access >= Access::Open || (self.started && access == Access::NeedsParameterSets);
        let breaks = starts && std::mem::take(&mut self.pending_break);
        if access >= Access::Open {
            self.started = true;
        }
        if !self.started {
            faults.hit(FaultKind::BeforeFirstKeyFrame, place);
        }
        let duration = self.unit_duration();
        out(Event::Unit(Unit { offset, at, decode: decode.time, duration, access, breaks }));
    }

    fn parameters(&mut self, place: Place, sps: &[u8], out: &mut impl FnMut(Event), faults: &mut Faults) {
        if self.sps == sps {
            return;
        }
        self.sps.clear();
        self.sps.extend_from_slice(sps);
        let codec = match self.selection.stream(self.selection.main) {
            Some(stream) => stream.codec,
            None => return,
        };
        let Some(info) = es::video_info(codec, sps) else {
            return;
        };
        if self.video.as_ref() == Some(&info) {
            return;
        }
        if self.video.is_some() {
            self.pending_break |= self.started;
            faults.hit(FaultKind::StreamChange, place);
        }
        self.video = Some(info.clone());
        out(Event::Video(info));
    }

    fn measure(&mut self, decode: EpochTime) {
        if let Some(last) = self.last_decode
            && last.epoch == decode.epoch
        {
            let step = decode.time.since(last.time);
            if step > Span::ZERO {
                self.last_step = Some(step);
                self.min_step = Some(self.min_step.map_or(step, |min| min.min(step)));
                // Two access units in one PES show themselves by a step of two pictures.
                let picture = self.fixed_duration();
                if picture.is_none_or(|picture| step.ticks() * 2 > picture.ticks() * 3) {
                    self.captions.unseen = true;
                }
            }
        }
        self.last_decode = Some(decode);
    }

    fn caption(&mut self, captions: Captions) {
        self.captions.units += 1;
        if captions == Captions::Present {
            self.captions.with_captions += 1;
        }
        if self.video.as_ref().is_none_or(|video| video.scan != Scan::Progressive) {
            self.captions.unseen = true; // the second field may have its own
        }
    }

    fn fixed_duration(&self) -> Option<Span> {
        let rate = self.video.as_ref()?.frame_rate.as_ref()?;
        if rate.num == 0 {
            return None;
        }
        let ticks = TICKS_PER_SECOND.checked_mul(i64::from(rate.den))?.checked_div(i64::from(rate.num))?;
        Some(Span::from_ticks(ticks))
    }

    /// Duration of the last unit: the last step, or what the parameters say where there was only one unit.
    pub(super) fn unit_duration(&self) -> Span {
        self.last_step.or_else(|| self.fixed_duration()).unwrap_or(Span::from_ticks(TICKS_PER_SECOND / 25))
    }
}
