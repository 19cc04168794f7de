//! The plan of a ladder: which renditions the inputs make, what each carries, and how it is called.

use std::collections::BTreeSet;

use crate::es::{AudioInfo, VideoInfo};
use crate::ladder::shift::{FirstKeys, estimate};
use crate::ladder::{
    Access, AudioChoice, Event, LadderError, Lead, Probe, Probed, ProgramInfo, Role, Scanner, Selection,
};
use crate::limits;
use crate::time::{Instant90, Span};
use crate::ts::{EndOfInput, Stride};

use super::error::PackageError;
use super::input::{InputPlace, InputSpec, Reader, Reading, is_name};

/// An input of the plan.
#[derive(Debug)]
pub struct PlannedInput {
    /// Its name in messages.
    pub name: String,
    /// Its bytes.
    pub reader: Reader,
    /// Its packet format.
    pub stride: Stride,
    /// All its programs, carried or not.
    pub programs: Vec<ProgramInfo>,
}

impl PlannedInput {
    /// Opens an input and looks into its beginning.
    ///
    /// # Errors
    /// When it cannot be read, or is no transport stream with a program.
    pub fn open(spec: &InputSpec, reading: &Reading) -> Result<Self, PackageError> {
        let name = spec.place.name();
        let mut reader = reading.open(spec)?;
        let refuse = |source: LadderError| PackageError::Input { input: name.clone(), source };
        let mut probe = Probe::new();
        let (mut position, mut at_least) = (0u64, 64 * 1024);
        loop {
            let (bytes, end) = reader.window(position, at_least)?;
            let (consumed, probed) = probe.push(bytes, end).map_err(|error| refuse(error.into()))?;
            position += consumed as u64;
            at_least = if consumed == 0 { at_least * 2 } else { 64 * 1024 };
            if probed == Probed::Enough {
                break;
            }
        }
        let stride = probe.stride().unwrap_or(Stride::Ts188);
        let programs = probe.finish().map_err(refuse)?;
        Ok(Self { name, reader, stride, programs })
    }
}

/// A rendition of the plan.
#[derive(Debug, Clone)]
pub struct PlannedRendition {
    /// Its name, which is its folder's.
    pub name: String,
    /// The number of its input.
    pub input: usize,
    /// What it carries of which program.
    pub selection: Selection,
    /// What leads its cuts.
    pub lead: Lead,
    /// What is added to its timestamps.
    pub shift: Span,
    /// The video's parameters, where they were seen.
    pub video: Option<VideoInfo>,
    /// The audio's parameters, where they were seen.
    pub audio: Option<AudioInfo>,
    /// Bit rate of the beginning, in bits per second.
    pub bit_rate: u64,
}

/// What is to be made of the inputs.
#[derive(Debug)]
pub struct Plan {
    /// The inputs.
    pub inputs: Vec<PlannedInput>,
    /// The renditions, in the order of the inputs and their programs.
    pub renditions: Vec<PlannedRendition>,
}

impl Plan {
    /// Looks into the inputs and plans the renditions.
    ///
    /// # Errors
    /// When an input cannot be read or holds nothing to play, or the names clash.
    pub fn make(specs: &[InputSpec], audio: &AudioChoice, reading: &Reading) -> Result<Self, PackageError> {
        let stdin = specs.iter().filter(|spec| spec.place == InputPlace::Stdin).count();
        if stdin > 1 || (stdin == 1 && specs.len() > 1) {
            return Err(PackageError::Usage {
                message: "standard input cannot be combined with other inputs".to_owned(),
                hint: Some("send all programs as one multi-program stream, or name files".to_owned()),
            });
        }
        let mut plan = Self { inputs: Vec::new(), renditions: Vec::new() };
        let mut keys = Vec::new();
        let mut given = Vec::new();
        for spec in specs {
            let mut input = PlannedInput::open(spec, reading)?;
            let selections = choose(&input, spec, audio)?;
            let named = if selections.len() == 1 { spec.name.clone() } else { None };
            if spec.name.is_some() && named.is_none() {
                return Err(PackageError::Usage {
                    message: format!("{}: one name was given for {} programs", input.name, selections.len()),
                    hint: Some("pick one with #program=N, or leave the name out".to_owned()),
                });
            }
            let number = plan.inputs.len();
            for draft in look(&mut input, &selections, number)? {
                keys.push(FirstKeys { input: number, times: draft.1 });
                given.push(named.clone());
                plan.renditions.push(draft.0);
            }
            plan.inputs.push(input);
        }
        if plan.renditions.len() > limits::RENDITIONS {
            let what = format!("{} renditions", plan.renditions.len());
            return Err(LadderError::Limit { what, limit: limits::RENDITIONS as u64 }.into());
        }
        for (rendition, shift) in plan.renditions.iter_mut().zip(estimate(&keys)) {
            rendition.shift = shift;
        }
        name(&mut plan.renditions, &given)?;
        Ok(plan)
    }
}

/// The selections of the programs that become renditions.
fn choose(input: &PlannedInput, spec: &InputSpec, audio: &AudioChoice) -> Result<Vec<Selection>, PackageError> {
    let refuse = |source: LadderError| PackageError::Input { input: input.name.clone(), source };
    if let Some(wanted) = spec.program {
        let program = input.programs.iter().find(|program| program.pmt.program == wanted);
        let Some(program) = program else {
            let present = input.programs.iter().map(|program| program.pmt.program).collect();
            return Err(refuse(LadderError::NoSuchProgram { wanted, present }));
        };
        return Ok(vec![program.select(audio).map_err(refuse)?]);
    }
    let mut selections = Vec::new();
    let mut first_error = None;
    for program in &input.programs {
        match program.select(audio) {
            Ok(selection) => selections.push(selection),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if selections.is_empty() => Err(refuse(error)),
        _ => Ok(selections),
    }
}

/// Scans an input's beginning for the parameters and the first key frames of each rendition.
fn look(
    input: &mut PlannedInput,
    selections: &[Selection],
    number: usize,
) -> Result<Vec<(PlannedRendition, Vec<Instant90>)>, PackageError> {
    // A pipe is not read further ahead than it must be.
    let wanted_keys = if matches!(input.reader, Reader::Pipe(_)) { 1 } else { 4 };
    let mut drafts: Vec<Draft> = selections.iter().map(|_| Draft::default()).collect();
    let mut scanner = Scanner::new(selections.iter().map(|selection| (selection.clone(), Span::ZERO)).collect());
    let mut at_least = 64 * 1024;
    loop {
        let (bytes, end) = input.reader.window(scanner.position(), at_least)?;
        let consumed = scanner
            .push(bytes, end)
            .map_err(|error| PackageError::Input { input: input.name.clone(), source: error.into() })?;
        at_least = if consumed == 0 { at_least * 2 } else { 64 * 1024 };
        for (track, event) in scanner.take_events() {
            if let Some(draft) = drafts.get_mut(track) {
                draft.event(event);
            }
        }
        let known = drafts.iter().zip(selections).all(|(draft, selection)| draft.known(selection, wanted_keys));
        if known || end == EndOfInput::Reached || scanner.position() >= limits::PROBE_BYTES as u64 {
            break;
        }
    }
    let counts: Vec<_> = scanner.packet_counts().collect();
    let renditions = drafts.into_iter().zip(selections).map(|(draft, selection)| {
        let carried = counts.iter().filter(|count| selection.stream(count.0).is_some());
        let bytes = carried.map(|count| count.1 * 188).sum::<u64>();
        let seconds = match (draft.first, draft.last) {
            (Some(first), Some(last)) if last > first => last.since(first).seconds(),
            _ => 1.0,
        };
        let lead = if selection.role(Role::Video).is_some() { Lead::Video } else { Lead::Audio };
        let rendition = PlannedRendition {
            name: String::new(),
            input: number,
            selection: selection.clone(),
            lead,
            shift: Span::ZERO,
            video: draft.video,
            audio: draft.audio,
            bit_rate: (bytes as f64 * 8.0 / seconds) as u64,
        };
        (rendition, if lead == Lead::Video { draft.keys } else { Vec::new() })
    });
    Ok(renditions.collect())
}

#[derive(Debug, Default)]
struct Draft {
    video: Option<VideoInfo>,
    audio: Option<AudioInfo>,
    keys: Vec<Instant90>,
    first: Option<Instant90>,
    last: Option<Instant90>,
}

impl Draft {
    fn event(&mut self, event: Event) {
        match event {
            Event::Video(info) => {
                self.video.get_or_insert(info);
            }
            Event::Audio(info) => {
                self.audio.get_or_insert(info);
            }
            Event::Unit(unit) if unit.at.epoch == 0 => {
                self.first.get_or_insert(unit.at.time);
                self.last = Some(unit.at.time);
                if unit.access >= Access::Open {
                    self.keys.push(unit.at.time);
                }
            }
            Event::Unit(_) | Event::Pes { .. } | Event::Streams { .. } => {}
        }
    }

    fn known(&self, selection: &Selection, keys: usize) -> bool {
        (selection.role(Role::Video).is_none() || self.video.is_some())
            && (selection.role(Role::Audio).is_none() || self.audio.is_some())
            && self.keys.len() >= keys
    }
}

/// Names the renditions: as given, else by height, made unique by bit rate.
fn name(renditions: &mut [PlannedRendition], given: &[Option<String>]) -> Result<(), PackageError> {
    let plain = |rendition: &PlannedRendition| match &rendition.video {
        Some(video) => format!("{}p", video.height),
        None if rendition.lead == Lead::Video => "video".to_owned(),
        None => "audio".to_owned(),
    };
    let base: Vec<String> =
        renditions.iter().zip(given).map(|(r, given)| given.clone().unwrap_or_else(|| plain(r))).collect();
    let mut taken = BTreeSet::new();
    for (number, rendition) in renditions.iter_mut().enumerate() {
        let own = base.get(number).cloned().unwrap_or_default();
        let is_given = given.get(number).is_some_and(Option::is_some);
        let shared = base.iter().filter(|other| **other == own).count() > 1;
        let mut name = own.clone();
        if shared && !is_given {
            name = format!("{own}-{}k", rendition.bit_rate / 1000);
        }
        let mut tries = 2;
        while taken.contains(&name) && !is_given {
            name = format!("{own}-{}k-{tries}", rendition.bit_rate / 1000);
            tries += 1;
        }
        if !is_name(&name) || !taken.insert(name.clone()) {
            return Err(PackageError::Usage {
                message: format!("two renditions are named {name:?}"),
                hint: Some("give each its own NAME=INPUT".to_owned()),
            });
        }
        rendition.name = name;
    }
    Ok(())
}
