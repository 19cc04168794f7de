//! For tests alone: an input driven through scanner, grid and cutters, as files are and as a pipe is, and what it
//! gives checked against the packets themselves.

use crate::ladder::testing::feed;
use crate::ladder::{CutPolicy, EpochTime, Event, Grid, Lead, Role, Scanner, Selection, Unit};
use crate::time::Span;
use crate::ts::{Packet, Pid};

use super::{Assembler, CutAt, Cutter, Keep, Segment, Taken};

/// What came of an input.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Each rendition's segments, in short.
    pub segments: Vec<Vec<String>>,
    /// Each event, in short.
    pub events: Vec<String>,
    /// Why the grid refused.
    pub refused: Option<String>,
}

/// An input on its way.
pub struct Run<'a> {
    bytes: &'a [u8],
    scanner: Scanner,
    grid: Grid,
    renditions: Vec<Rendition>,
    events: Vec<String>,
    refused: Option<String>,
}

struct Rendition {
    cutter: Cutter,
    shift: Span,
    member: Option<usize>,
    undecided: Option<Unit>,
    earliest: Option<EpochTime>,
    segments: Vec<Segment>,
    pipe: Pipe,
}

/// What the packager does with standard input: the open segment is written as far as it is settled.
#[derive(Default)]
struct Pipe {
    open: Option<u64>,
    next: u64,
    taken: Vec<u64>,
    /// The packets of each segment.
    segments: Vec<Vec<u64>>,
}

impl Pipe {
    fn go_on(&mut self, segment: &Segment, to: u64, bytes: &[u8], needed: u64) {
        if self.open.is_none() {
            self.open = Some(segment.index);
            self.next = segment.range().start;
        }
        assert_eq!(self.open, Some(segment.index), "another segment than the open one");
        let mut assembler = Assembler::new(segment.clone());
        loop {
            self.next = assembler.skip_lost(self.next);
            let Some(bytes) = bytes.get(self.next as usize..).and_then(<[u8]>::first_chunk::<188>) else { break };
            if self.next >= to {
                break;
            }
            assert!(
                self.next >= needed,
                "{needed} bytes were forgotten, but {} is needed by {:?}",
                self.next,
                segment.windows
            );
            if assembler.take(self.next, &mut bytes.clone()) == Taken::Kept {
                self.taken.push(self.next);
            }
            self.next += 188;
        }
    }

    fn finish(&mut self) {
        self.open = None;
        self.segments.push(std::mem::take(&mut self.taken));
    }
}

/// Everything of an input, in pieces of the lengths that `pieces` repeats.
pub fn run<'a>(bytes: &'a [u8], selections: &[(Selection, Span)], target: f64, pieces: &[usize]) -> Run<'a> {
    let video = |selection: &Selection| selection.role(Role::Video).is_some();
    let lead = if selections.iter().any(|one| video(&one.0)) { Lead::Video } else { Lead::Audio };
    let mut members = Vec::new();
    let mut renditions = Vec::new();
    for (number, (selection, shift)) in selections.iter().enumerate() {
        let own = if video(selection) { Lead::Video } else { Lead::Audio };
        let member = (own == lead).then(|| {
            members.push((format!("r{number}"), *shift));
            members.len() - 1
        });
        renditions.push(Rendition {
            cutter: Cutter::new(selection, *shift),
            shift: *shift,
            member,
            undecided: None,
            earliest: None,
            segments: Vec::new(),
            pipe: Pipe::default(),
        });
    }
    let policy = CutPolicy::for_target(Span::from_seconds(target));
    let scanner = Scanner::new(selections.to_vec());
    let grid = Grid::new(policy, lead, members);
    let mut run = Run { bytes, scanner, grid, renditions, events: Vec::new(), refused: None };
    // Bytes below this were given back.
    let mut released = 0;
    feed(bytes, pieces, |bytes, end| {
        let consumed = run.scanner.push(bytes, end).ok()?;
        let ended = end == crate::ts::EndOfInput::Reached;
        run.pushed(ended).ok()?;
        released = run.pipe(released);
        Some(consumed)
    });
    run
}

impl Run<'_> {
    /// One step, as the packager makes it.
    fn pushed(&mut self, ended: bool) -> Result<(), ()> {
        for range in self.scanner.take_lost() {
            for rendition in &mut self.renditions {
                rendition.cutter.lost(range.clone());
            }
        }
        for (track, offset, value) in self.scanner.take_patches() {
            self.renditions[track].cutter.patch(offset, value);
        }
        for (track, event) in self.scanner.take_events() {
            self.events.push(format!("{track} {event:?}"));
            let rendition = &mut self.renditions[track];
            match event {
                Event::Unit(unit) => {
                    rendition.cutter.unit(&unit);
                    if let Some(member) = rendition.member {
                        self.grid.unit(member, unit);
                    }
                }
                Event::Pes { pid, offset, at } => rendition.cutter.pes(pid, offset, at),
                Event::Streams { offset, selection } => rendition.cutter.streams(offset, *selection),
                Event::Video(_) | Event::Audio(_) => {}
            }
        }
        if ended {
            (0..self.renditions.len()).for_each(|member| self.grid.end(member));
        }
        let lead_shift = self.renditions.iter().find(|one| one.member == Some(0)).map_or(Span::ZERO, |r| r.shift);
        loop {
            let cut = match self.grid.decide() {
                Ok(Some(cut)) => cut,
                Ok(None) => break,
                Err(error) => {
                    self.refused = Some(error.to_string());
                    return Err(());
                }
            };
            for rendition in &mut self.renditions {
                let at = match rendition.member {
                    Some(member) => CutAt::Unit(cut.units[member]),
                    None => {
                        let time = cut.units[0].at.time.plus(lead_shift).plus(rendition.shift.negated());
                        CutAt::Time { at: EpochTime { epoch: cut.units[0].at.epoch, time } }
                    }
                };
                rendition.cutter.cut(at, cut.access, cut.discontinuity);
            }
        }
        for rendition in &mut self.renditions {
            if ended {
                rendition.cutter.finish();
            }
            rendition.undecided = rendition.member.and_then(|member| self.grid.first_undecided(member));
            rendition.earliest = self.grid.earliest(0).map(|at| {
                let time = at.time.plus(lead_shift).plus(rendition.shift.negated());
                EpochTime { epoch: at.epoch, time }
            });
        }
        Ok(())
    }

    /// What `package::pipe` does after each step; gives back what is not needed any more.
    fn pipe(&mut self, released: u64) -> u64 {
        let mut needed = u64::MAX;
        let reported = self.scanner.reported_up_to();
        for rendition in &mut self.renditions {
            let (cutter, pipe) = (&mut rendition.cutter, &mut rendition.pipe);
            for segment in cutter.take_complete() {
                pipe.go_on(&segment, segment.range().end, self.bytes, released);
                pipe.finish();
                rendition.segments.push(segment);
            }
            let settled = match rendition.member {
                Some(_) => cutter.settled(rendition.undecided.as_ref(), reported),
                None => cutter.settled_before(rendition.earliest, reported),
            };
            match cutter.open_segment(if pipe.open.is_some() { pipe.next } else { 0 }) {
                Some(open) => {
                    pipe.go_on(&open, settled, self.bytes, released);
                    needed = needed.min(pipe.next);
                }
                None => needed = needed.min(cutter.needed().unwrap_or(settled)),
            }
            needed = needed.min(settled).min(cutter.needed_behind_open().unwrap_or(u64::MAX));
        }
        released.max(needed.min(self.scanner.position()))
    }

    /// The segments of a rendition.
    pub fn segments(&self, rendition: usize) -> &[Segment] {
        &self.renditions[rendition].segments
    }

    /// How much earlier than the main stream a rendition's audio starts.
    pub fn side_lead(&self, rendition: usize) -> Option<Span> {
        self.renditions[rendition].cutter.side_lead()
    }

    /// Why the grid refused.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The packets that a segment takes of the bytes, by the assembler that also the packager uses.
    pub fn assemble(&self, rendition: usize, index: usize) -> Vec<(u64, [u8; 188])> {
        let segment = &self.segments(rendition)[index];
        let mut assembler = Assembler::new(segment.clone());
        let (mut at, end, mut out) = (segment.range().start, segment.range().end, Vec::new());
        loop {
            at = assembler.skip_lost(at);
            let packet = self.bytes.get(at as usize..).and_then(<[u8]>::first_chunk::<188>);
            let Some(mut packet) = packet.filter(|_| at < end).copied() else { break };
            if assembler.take(at, &mut packet) == Taken::Kept {
                out.push((at, packet));
            }
            at += 188;
        }
        out
    }

    /// What can be compared.
    pub fn outcome(&self) -> Outcome {
        let short = |segment: &Segment| {
            let windows: Vec<String> =
                segment.windows.iter().map(|w| format!("{} {}..{} {:?}", w.pid, w.start, w.end, w.keep)).collect();
            format!(
                "#{} {:?} {} v{} {:?} {} {:?} {:?} {:?}",
                segment.index,
                segment.counters,
                segment.duration,
                segment.preamble.version(),
                segment.access,
                segment.discontinuity,
                windows,
                segment.lost,
                segment.patches
            )
        };
        let segments = self.renditions.iter().map(|rendition| rendition.segments.iter().map(short).collect());
        Outcome { segments: segments.collect(), events: self.events.clone(), refused: self.refused.clone() }
    }

    /// Checks that every packet of a carried PID, from the first that any segment takes on, is in exactly one segment;
    /// that segments follow each other on every PID; and that what was written through a pipe is the same.
    pub fn check(&self, all_streams_stay: bool) -> Result<(), String> {
        let packets = self.packets();
        for (number, rendition) in self.renditions.iter().enumerate() {
            for (index, segment) in rendition.segments.iter().enumerate() {
                let taken: Vec<u64> = self.assemble(number, index).iter().map(|packet| packet.0).collect();
                let piped = rendition.pipe.segments.get(index);
                if piped != Some(&taken) {
                    let (piped, segment) = (piped.map(Vec::as_slice), &segment.windows);
                    return Err(format!(
                        "rendition {number} segment {index}: {taken:?} but piped {piped:?}: {segment:?}"
                    ));
                }
            }
            let mut first: Vec<(Pid, u64)> = Vec::new();
            for window in rendition.segments.iter().flat_map(|segment| &segment.windows) {
                if first.iter().all(|known| known.0 != window.pid) {
                    first.push((window.pid, window.start));
                }
            }
            for (offset, pid) in &packets {
                let Some((_, start)) = first.iter().find(|known| known.0 == *pid) else { continue };
                let held = rendition.segments.iter().filter(|one| one.keeps(*pid, *offset).is_some()).count();
                let wanted = usize::from(offset >= start);
                if held > wanted || (all_streams_stay && held != wanted) {
                    let windows: Vec<_> = rendition.segments.iter().map(|one| &one.windows).collect();
                    return Err(format!("rendition {number}: {pid} at {offset} is in {held} segments: {windows:?}"));
                }
            }
        }
        Ok(())
    }

    fn packets(&self) -> Vec<(u64, Pid)> {
        struct Sink(Vec<(u64, Pid)>);
        impl crate::ts::PacketSink for Sink {
            fn packet(&mut self, offset: u64, bytes: &[u8; 188]) {
                self.0.extend(Packet::new(bytes).map(|packet| (offset, packet.pid())));
            }
            fn lost(&mut self, _: std::ops::Range<u64>, _: crate::ts::LostWhy) {}
        }
        let mut sink = Sink(Vec::new());
        let _ = crate::ts::Framer::new().push(self.bytes, 0, crate::ts::EndOfInput::Reached, &mut sink);
        sink.0
    }

    /// The windows of one PID, segment by segment, as numbers of packets.
    pub fn windows(&self, rendition: usize, pid: Pid) -> Vec<Option<(u64, u64, Keep)>> {
        let of = |segment: &Segment| {
            let window = segment.windows.iter().find(|window| window.pid == pid)?;
            Some((window.start / 188, if window.end == u64::MAX { u64::MAX } else { window.end / 188 }, window.keep))
        };
        self.segments(rendition).iter().map(of).collect()
    }
}
