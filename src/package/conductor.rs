//! Leads the scans of all inputs side by side, decides the grid, and hands out segments as they become complete.

use std::collections::BTreeSet;

use crate::es::{AudioInfo, VideoInfo};
use crate::ladder::{
    Access, CaptionTally, CutPolicy, EpochTime, Event, Faults, Grid, LadderError, Lead, Scanner, Unit,
};
use crate::limits;
use crate::segment::{CutAt, Cutter, Segment};
use crate::time::{Instant90, Span};
use crate::ts::EndOfInput;

use super::error::PackageError;
use super::plan::PlannedRendition;

/// Whether renditions share one grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Align {
    /// One segment grid for all renditions.
    #[default]
    Shared,
    /// One for each.
    Off,
}

/// What a scan has learnt of a rendition.
#[derive(Debug)]
pub struct Rendition {
    /// Its plan.
    pub plan: PlannedRendition,
    /// All video parameters that occurred, in order.
    pub videos: Vec<VideoInfo>,
    /// All audio parameters that occurred, in order.
    pub audios: Vec<AudioInfo>,
    /// Presentation times of the key frames.
    pub keys: Vec<(Instant90, Access)>,
    /// The shortest picture, for a frame rate that the parameters do not tell.
    pub shortest: Option<Span>,
    cutter: Cutter,
    /// The grid, and its number among those that lead it; a follower has none.
    grid: usize,
    member: Option<usize>,
    track: usize,
    undecided: Option<Unit>,
    /// For a follower: the time before which no cut will lie.
    earliest: Option<EpochTime>,
}

impl Rendition {
    /// The cutter.
    pub fn cutter(&mut self) -> &mut Cutter {
        &mut self.cutter
    }
}

#[derive(Debug)]
struct Scan {
    scanner: Scanner,
    /// The rendition of each track.
    tracks: Vec<usize>,
    progress: Option<Instant90>,
    ended: bool,
}

/// Leads the scans.
#[derive(Debug)]
pub struct Conductor {
    scans: Vec<Scan>,
    renditions: Vec<Rendition>,
    grids: Vec<Grid>,
}

impl Conductor {
    /// A conductor at the beginning of all inputs.
    #[must_use]
    pub fn new(inputs: usize, plans: &[PlannedRendition], policy: CutPolicy, align: Align) -> Self {
        let mut renditions = Vec::with_capacity(plans.len());
        let mut grids: Vec<Grid> = Vec::new();
        let lead = if plans.iter().any(|plan| plan.lead == Lead::Video) { Lead::Video } else { Lead::Audio };
        let mut members: Vec<(String, Span)> = Vec::new();
        let mut tracks = vec![Vec::new(); inputs];
        for (number, plan) in plans.iter().enumerate() {
            let (grid, member) = match align {
                Align::Off => {
                    grids.push(Grid::new(policy, plan.lead, vec![(plan.name.clone(), plan.shift)]));
                    (grids.len() - 1, Some(0))
                }
                Align::Shared if plan.lead == lead => {
                    members.push((plan.name.clone(), plan.shift));
                    (0, Some(members.len() - 1))
                }
                // Audio alone follows the video's grid.
                Align::Shared => (0, None),
            };
            let track = tracks.get(plan.input).map_or(0, Vec::len);
            if let Some(tracks) = tracks.get_mut(plan.input) {
                tracks.push(number);
            }
            renditions.push(Rendition {
                cutter: Cutter::new(&plan.selection, plan.shift),
                plan: plan.clone(),
                videos: Vec::new(),
                audios: Vec::new(),
                keys: Vec::new(),
                shortest: None,
                grid,
                member,
                track,
                undecided: None,
                earliest: None,
            });
        }
        if align == Align::Shared {
            grids.push(Grid::new(policy, lead, members));
        }
        let scans = tracks.into_iter().map(|tracks: Vec<usize>| {
            let picked = tracks.iter().filter_map(|number| plans.get(*number));
            let scanner = Scanner::new(picked.map(|plan| (plan.selection.clone(), plan.shift)).collect());
            Scan { scanner, tracks, progress: None, ended: false }
        });
        Self { scans: scans.collect(), renditions, grids }
    }

    /// The input that has come least far and has more to come.
    #[must_use]
    pub fn next_input(&self) -> Option<usize> {
        let open = self.scans.iter().enumerate().filter(|(_, scan)| !scan.ended);
        open.min_by_key(|(_, scan)| scan.progress).map(|(number, _)| number)
    }

    /// The byte offset up to which an input has been scanned.
    #[must_use]
    pub fn position(&self, input: usize) -> u64 {
        self.scans.get(input).map_or(0, |scan| scan.scanner.position())
    }

    /// The damage of an input so far.
    #[must_use]
    pub fn faults(&self, input: usize) -> Option<&Faults> {
        self.scans.get(input).map(|scan| scan.scanner.faults())
    }

    /// The renditions.
    pub fn renditions(&mut self) -> &mut [Rendition] {
        &mut self.renditions
    }

    /// How a rendition's captions were seen.
    #[must_use]
    pub fn captions(&self, rendition: usize) -> CaptionTally {
        let Some(rendition) = self.renditions.get(rendition) else {
            return CaptionTally::default();
        };
        self.scans.get(rendition.plan.input).map(|scan| scan.scanner.captions(rendition.track)).unwrap_or_default()
    }

    /// Scans bytes of an input, from [`Self::position`] on; returns how many were consumed.
    ///
    /// # Errors
    /// When the bytes are no transport stream, or the renditions cannot be cut alike.
    pub fn push(&mut self, number: usize, name: &str, bytes: &[u8], end: EndOfInput) -> Result<usize, PackageError> {
        let Some(scan) = self.scans.get_mut(number) else {
            return Err(PackageError::Internal("no such input".to_owned()));
        };
        let refuse = |source| PackageError::Input { input: name.to_owned(), source };
        let consumed = scan.scanner.push(bytes, end).map_err(|error| refuse(error.into()))?;
        for range in scan.scanner.take_lost() {
            for track in &scan.tracks {
                if let Some(rendition) = self.renditions.get_mut(*track) {
                    rendition.cutter.lost(range.clone());
                }
            }
        }
        for (track, offset, value) in scan.scanner.take_patches() {
            let rendition = scan.tracks.get(track).and_then(|number| self.renditions.get_mut(*number));
            if let Some(rendition) = rendition {
                rendition.cutter.patch(offset, value);
            }
        }
        for (track, event) in scan.scanner.take_events() {
            let rendition = scan.tracks.get(track).and_then(|number| self.renditions.get_mut(*number));
            let Some(rendition) = rendition else {
                continue;
            };
            let is_unit = matches!(event, Event::Unit(_));
            if let Some((grid, member, unit)) = rendition.event(event)
                && let Some(grid) = self.grids.get_mut(grid)
            {
                grid.unit(member, unit);
            }
            if is_unit {
                scan.progress = scan.progress.max(rendition.cutter.progress());
            }
        }
        if end == EndOfInput::Reached {
            scan.ended = true;
            for number in &scan.tracks {
                if let Some(rendition) = self.renditions.get(*number)
                    && let Some(member) = rendition.member
                    && let Some(grid) = self.grids.get_mut(rendition.grid)
                {
                    grid.end(member);
                }
            }
        }
        self.decide()?;
        self.check_held()?;
        if self.scans.iter().all(|scan| scan.ended) {
            for rendition in &mut self.renditions {
                rendition.cutter.finish();
            }
        }
        let lead_shifts: Vec<Span> = (0..self.grids.len()).map(|grid| self.lead_shift(grid)).collect();
        for rendition in &mut self.renditions {
            let grid = self.grids.get(rendition.grid);
            match rendition.member {
                Some(member) => rendition.undecided = grid.and_then(|grid| grid.first_undecided(member)),
                None => {
                    let by = lead_shifts.get(rendition.grid).copied().unwrap_or_default();
                    let by = by.minus(rendition.plan.shift);
                    rendition.earliest = grid
                        .and_then(|grid| grid.earliest(0))
                        .map(|at| EpochTime { epoch: at.epoch, time: at.time.plus(by) });
                }
            }
        }
        Ok(consumed)
    }

    /// A stream that gives no place to cut must not fill the memory.
    fn check_held(&self) -> Result<(), PackageError> {
        let grids = self.grids.iter().map(Grid::held);
        let held = self.renditions.iter().map(|rendition| rendition.cutter.held()).chain(grids).max();
        if held.unwrap_or(0) <= limits::HELD_MARKS {
            return Ok(());
        }
        let what = "too many PES packets without a place to cut".to_owned();
        Err(LadderError::Limit { what, limit: limits::HELD_MARKS as u64 }.into())
    }

    /// The shift of the rendition whose clock a grid's followers are cut by.
    fn lead_shift(&self, grid: usize) -> Span {
        let leader = self.renditions.iter().find(|rendition| rendition.grid == grid && rendition.member == Some(0));
        leader.map_or(Span::ZERO, |rendition| rendition.plan.shift)
    }

    fn decide(&mut self) -> Result<(), PackageError> {
        for number in 0..self.grids.len() {
            // Followers are cut at the time of the first member, seen from their own clock.
            let lead_shift = self.lead_shift(number);
            while let Some(cut) = self.grids.get_mut(number).map(Grid::decide).transpose()?.flatten() {
                for rendition in self.renditions.iter_mut().filter(|rendition| rendition.grid == number) {
                    let at = match rendition.member {
                        Some(member) => match cut.units.get(member) {
                            Some(unit) => CutAt::Unit(*unit),
                            None => continue,
                        },
                        None => match cut.units.first() {
                            Some(unit) => {
                                let time = unit.at.time.plus(lead_shift).plus(rendition.plan.shift.negated());
                                CutAt::Time { at: EpochTime { epoch: unit.at.epoch, time } }
                            }
                            None => continue,
                        },
                    };
                    // Audio can be decoded from any PES packet.
                    let access = if rendition.plan.lead == Lead::Audio { Access::Clean } else { cut.access };
                    rendition.cutter.cut(at, access, cut.discontinuity);
                }
            }
        }
        Ok(())
    }

    /// Takes the segments that are complete: the rendition's number and the segment.
    pub fn take_complete(&mut self) -> Vec<(usize, Segment)> {
        let mut out = Vec::new();
        for (number, rendition) in self.renditions.iter_mut().enumerate() {
            out.extend(rendition.cutter.take_complete().into_iter().map(|segment| (number, segment)));
        }
        out
    }

    /// The offset below which it is settled to which segment of a rendition each packet belongs.
    pub fn settled(&mut self, rendition: usize) -> u64 {
        let Some(rendition) = self.renditions.get_mut(rendition) else {
            return 0;
        };
        let Some(scan) = self.scans.get(rendition.plan.input) else {
            return 0;
        };
        let reported = scan.scanner.reported_up_to();
        match rendition.member {
            Some(_) => rendition.cutter.settled(rendition.undecided.as_ref(), reported),
            None => rendition.cutter.settled_before(rendition.earliest, reported),
        }
    }

    /// The codecs that occurred in a rendition, video first.
    #[must_use]
    pub fn distinct_codecs(&self, rendition: usize) -> Vec<String> {
        let Some(rendition) = self.renditions.get(rendition) else {
            return Vec::new();
        };
        let mut seen = BTreeSet::new();
        let videos = rendition.videos.iter().map(|video| video.codecs.clone());
        let audios = rendition.audios.iter().map(|audio| audio.codecs.clone());
        videos.chain(audios).filter(|codec| seen.insert(codec.clone())).collect()
    }
}

impl Rendition {
    fn event(&mut self, event: Event) -> Option<(usize, usize, Unit)> {
        match event {
            Event::Unit(unit) => {
                self.cutter.unit(&unit);
                if unit.access > Access::None
                    && self.plan.lead == Lead::Video
                    && self.keys.len() < limits::REPORTED_KEYS
                {
                    self.keys.push((unit.at.time, unit.access));
                }
                if self.plan.lead == Lead::Video && unit.duration > Span::ZERO {
                    self.shortest = Some(self.shortest.map_or(unit.duration, |min| min.min(unit.duration)));
                }
                return self.member.map(|member| (self.grid, member, unit));
            }
            Event::Pes { pid, offset, at } => self.cutter.pes(pid, offset, at),
            Event::Video(info) if !self.videos.contains(&info) => self.videos.push(info),
            Event::Audio(info) if !self.audios.iter().any(|known| known.same_configuration(&info)) => {
                self.audios.push(info);
            }
            Event::Video(_) | Event::Audio(_) => {}
            Event::Streams { offset, selection } => self.cutter.streams(offset, *selection),
        }
        None
    }
}
