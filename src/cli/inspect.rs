//! `keyrung inspect`: what inputs hold.

use clap::Args;
use serde_json::{Value, json};

use crate::es::{AudioInfo, VideoInfo};
use crate::ladder::{Access, AudioChoice, Content, Event, Faults, ProgramInfo, Scanner, Seen, StreamInfo};
use crate::limits;
use crate::package::PackageError;
use crate::package::build::describe;
use crate::package::input::{InputSpec, Reading};
use crate::package::plan::PlannedInput;
use crate::time::{Instant90, Span};
use crate::ts::{EndOfInput, Pid};

use super::error::CliError;
use super::output::{Output, Volume};
use super::package_report::faults_json;
use super::signal;
use super::table::{Side, Table, bit_rate, bytes};

/// Show programs, streams, key frames and faults of inputs
///
/// The whole of each input is read. Faults are named with their place; -v names more of them, and all key frames.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// FILE[#program=N], s3://BUCKET/KEY[#program=N], or - for standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When an input cannot be read or is no transport stream.
pub fn run(args: InspectArgs, output: Output) -> Result<(), CliError> {
    let reading = Reading::new(&signal::cancel_flag()?, limits::S3_MEMORY);
    let mut documents = Vec::new();
    for text in &args.inputs {
        let spec = InputSpec::parse(text)?;
        let mut input = PlannedInput::open(&spec, &reading)?;
        if let Some(wanted) = spec.program {
            input.programs.retain(|program| program.pmt.program == wanted);
        }
        let found = look(&mut input)?;
        output.text(&found.text(&input, output.volume()));
        documents.push(found.json(&input));
    }
    output.json(&json!({ "inputs": documents }));
    Ok(())
}

/// What a whole input showed.
struct Found {
    bytes: u64,
    streams: Vec<StreamFound>,
    faults: Faults,
}

/// What one stream showed.
#[derive(Default)]
struct StreamFound {
    program: u16,
    pid: Option<Pid>,
    video: Option<VideoInfo>,
    audio: Option<AudioInfo>,
    packets: u64,
    units: u64,
    first: Option<Instant90>,
    last: Option<Instant90>,
    /// Presentation time of all units, jumps taken out.
    duration: Span,
    keys: Vec<(Instant90, Access)>,
    shortest: Option<Span>,
    presentation: crate::ladder::Presentation,
}

/// Reads an input twice over side by side: as it would be packaged, for the faults, and each stream alone.
fn look(input: &mut PlannedInput) -> Result<Found, CliError> {
    let packaged = input.programs.iter().filter_map(|program| program.select(&AudioChoice::First).ok());
    let mut packaged = Scanner::new(packaged.map(|selection| (selection, Span::ZERO)).collect());
    let mut streams = Vec::new();
    let mut alone = Vec::new();
    for program in &input.programs {
        for stream in &program.streams {
            if let Some(selection) = program.alone(stream.entry.pid) {
                alone.push((selection, Span::ZERO));
                let pid = Some(stream.entry.pid);
                streams.push(StreamFound { program: program.pmt.program, pid, ..StreamFound::default() });
            }
        }
    }
    let mut alone = Scanner::new(alone);
    let mut at_least = 1;
    let bytes = loop {
        let position = packaged.position();
        let (window, end) = input.reader.window(position, at_least)?;
        let held = window.len();
        let refuse = |error: crate::ts::SyncError| {
            CliError::from(PackageError::Input { input: input.name.clone(), source: error.into() })
        };
        let consumed = packaged.push(window, end).map_err(refuse)?;
        alone.push(window, end).map_err(refuse)?;
        packaged.take_events();
        for (track, event) in alone.take_events() {
            if let Some(stream) = streams.get_mut(track) {
                stream.event(event);
            }
        }
        at_least = if consumed == 0 { held + 1 } else { 1 };
        if let crate::package::input::Reader::Pipe(pipe) = &mut input.reader {
            pipe.release(packaged.position());
        }
        if end == EndOfInput::Reached {
            break position + held as u64;
        }
    };
    let counts: Vec<(Pid, u64)> = alone.packet_counts().collect();
    for stream in &mut streams {
        stream.packets = counts.iter().find(|count| Some(count.0) == stream.pid).map_or(0, |count| count.1);
        if let (Some(first), Some(end)) = (stream.first, stream.presentation.end()) {
            stream.duration = end.since(first);
        }
    }
    Ok(Found { bytes, streams, faults: packaged.faults().clone() })
}

impl StreamFound {
    fn event(&mut self, event: Event) {
        match event {
            Event::Unit(unit) => {
                self.units += 1;
                let position = self.presentation.unit(&unit);
                self.first = Some(self.first.map_or(position, |first| first.min(position)));
                self.last = Some(unit.at.time);
                if unit.duration > Span::ZERO {
                    self.shortest = Some(self.shortest.map_or(unit.duration, |least| least.min(unit.duration)));
                }
                if unit.access > Access::None && self.keys.len() < crate::limits::REPORTED_KEYS {
                    self.keys.push((unit.at.time, unit.access));
                }
            }
            Event::Video(info) => {
                self.video.get_or_insert(info);
            }
            Event::Audio(info) => {
                self.audio.get_or_insert(info);
            }
            Event::Pes { .. } | Event::Streams { .. } => {}
        }
    }

    fn bit_rate(&self) -> u64 {
        let seconds = self.duration.seconds();
        if seconds > 0.0 { ((self.packets * 188 * 8) as f64 / seconds) as u64 } else { 0 }
    }

    /// What the parameters fix, else the shortest step.
    fn frame_rate(&self) -> Option<f64> {
        let video = self.video.as_ref()?;
        let told = video.frame_rate.filter(|_| video.fixed_frame_rate).map(crate::es::FrameRate::per_second);
        let rate = told.or_else(|| self.shortest.map(|step| 1.0 / step.seconds()))?;
        Some((rate * 1000.0).round() / 1000.0)
    }

    /// The longest distance between key frames, in seconds.
    fn longest_gop(&self) -> Option<f64> {
        let gaps = self.keys.windows(2).filter_map(|pair| match pair {
            [a, b] => Some(b.0.since(a.0).abs()),
            _ => None,
        });
        gaps.max().map(Span::seconds)
    }
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::None => "none",
        Access::NeedsParameterSets => "idr-without-parameter-sets",
        Access::Open => "open",
        Access::Clean => "idr",
    }
}

fn content_name(stream: &StreamInfo) -> String {
    match &stream.content {
        Content::Carried(codec) => codec.name().to_owned(),
        Content::Other(name) => name.clone(),
    }
}

fn fate(program: &ProgramInfo, pid: Pid) -> String {
    match program.select(&AudioChoice::First) {
        Ok(selection) => match selection.left_out.iter().find(|one| one.pid == pid) {
            Some(one) => one.why.to_string(),
            None => "carried".to_owned(),
        },
        Err(_) => "the program holds nothing to play".to_owned(),
    }
}

impl Found {
    fn stream(&self, program: &ProgramInfo, pid: Pid) -> Option<&StreamFound> {
        self.streams.iter().find(|stream| stream.program == program.pmt.program && stream.pid == Some(pid))
    }

    fn json(&self, input: &PlannedInput) -> Value {
        let programs: Vec<Value> = input.programs.iter().map(|program| self.program_json(program)).collect();
        json!({
            "input": input.name,
            "packet_size": input.stride.len(),
            "bytes": self.bytes,
            "programs": programs,
            "faults": faults_json(&[(input.name.clone(), self.faults.clone())]),
        })
    }

    fn program_json(&self, program: &ProgramInfo) -> Value {
        let stream = |stream: &StreamInfo| {
            let pid = stream.entry.pid;
            let found = self.stream(program, pid);
            let video = found.and_then(|found| found.video.as_ref());
            let audio = found.and_then(|found| found.audio.as_ref());
            let codecs = video.map(|video| &video.codecs).or(audio.map(|audio| &audio.codecs));
            let keys = found.filter(|_| video.is_some()).map(|found| {
                let key = |(time, access): &(Instant90, Access)| json!({ "time": time.seconds(), "access": access_name(*access) });
                found.keys.iter().map(key).collect::<Vec<_>>()
            });
            json!({
                "pid": pid.value(),
                "stream_type": stream.entry.stream_type.0,
                "declared": stream.entry.stream_type.name(),
                "content": content_name(stream),
                "seen": !matches!(stream.seen, Seen::Nothing),
                "fate": fate(program, pid),
                "language": stream.language,
                "codecs": codecs,
                "width": video.map(|video| video.width),
                "height": video.map(|video| video.height),
                "display_width": video.map(|video| video.display_width),
                "frame_rate": found.and_then(StreamFound::frame_rate),
                "sample_rate": audio.map(|audio| audio.sample_rate),
                "channels": audio.map(|audio| audio.channels),
                "bit_rate": found.map(StreamFound::bit_rate),
                "duration": found.map(|found| found.duration.seconds()),
                "first": found.and_then(|found| found.first).map(Instant90::seconds),
                "last": found.and_then(|found| found.last).map(Instant90::seconds),
                "longest_gop": found.filter(|_| video.is_some()).and_then(StreamFound::longest_gop),
                "key_frames": keys,
            })
        };
        json!({
            "program": program.pmt.program,
            "pmt_pid": program.pmt_pid.value(),
            "pcr_pid": program.pmt.pcr_pid.value(),
            "streams": program.streams.iter().map(stream).collect::<Vec<_>>(),
        })
    }

    fn text(&self, input: &PlannedInput, volume: Volume) -> String {
        let mut out = format!("{}: {}, packets of {} bytes\n", input.name, bytes(self.bytes), input.stride.len());
        for program in &input.programs {
            out.push_str(&format!(
                "program {}, PMT on PID {}, PCR on PID {}\n",
                program.pmt.program, program.pmt_pid, program.pmt.pcr_pid
            ));
            out.push_str(&self.program_table(program));
            for stream in &program.streams {
                if let Some(found) = self.stream(program, stream.entry.pid)
                    && found.video.is_some()
                {
                    out.push_str(&key_frames(found, volume));
                }
            }
        }
        for (kind, tally) in self.faults.iter() {
            let shown = if volume == Volume::Verbose { tally.places.len() } else { 1 };
            for place in tally.places.iter().take(shown) {
                out.push_str(&format!("fault: {}\n", describe(kind, *place)));
            }
            if tally.count > shown as u64 {
                out.push_str(&format!(
                    "fault: {}, {} more\n",
                    kind.name().replace('_', " "),
                    tally.count - shown as u64
                ));
            }
        }
        out
    }

    fn program_table(&self, program: &ProgramInfo) -> String {
        let mut table = Table::new(&[
            ("  PID", Side::Left),
            ("type", Side::Left),
            ("content", Side::Left),
            ("codec", Side::Left),
            ("format", Side::Left),
            ("language", Side::Left),
            ("bit rate", Side::Right),
            ("start", Side::Right),
            ("duration", Side::Right),
            ("", Side::Left),
        ]);
        for stream in &program.streams {
            let pid = stream.entry.pid;
            let found = self.stream(program, pid);
            let video = found.and_then(|found| found.video.as_ref());
            let audio = found.and_then(|found| found.audio.as_ref());
            let format = match (video, audio) {
                (Some(video), _) => {
                    let rate =
                        found.and_then(StreamFound::frame_rate).map_or(String::new(), |rate| format!(" {rate}/s"));
                    format!("{}x{}{rate}", video.width, video.height)
                }
                (None, Some(audio)) => format!("{} Hz, {} ch", audio.sample_rate, audio.channels),
                (None, None) => "-".to_owned(),
            };
            let codecs = video.map(|video| &video.codecs).or(audio.map(|audio| &audio.codecs));
            let seen = found.filter(|found| found.units > 0);
            table.row(vec![
                format!("  {pid}"),
                format!("0x{:02x}", stream.entry.stream_type.0),
                content_name(stream),
                codecs.cloned().unwrap_or_else(|| "-".to_owned()),
                format,
                stream.language.clone().unwrap_or_else(|| "-".to_owned()),
                seen.map_or("-".to_owned(), |found| bit_rate(found.bit_rate())),
                seen.and_then(|found| found.first).map_or("-".to_owned(), |first| format!("{first}")),
                seen.map_or("-".to_owned(), |found| format!("{}", found.duration)),
                fate(program, pid),
            ]);
        }
        table.render()
    }
}

fn key_frames(found: &StreamFound, volume: Volume) -> String {
    let clean = found.keys.iter().filter(|key| key.1 == Access::Clean).count();
    let gop = found.longest_gop().map_or(String::new(), |gop| format!(", at most {gop:.3} s apart"));
    let mut line = format!("  {} key frames ({clean} IDR with parameter sets){gop}", found.keys.len());
    let shown = if volume == Volume::Verbose { found.keys.len() } else { 8 };
    let mut times: Vec<String> = found.keys.iter().take(shown).map(|key| format!("{:.3}", key.0.seconds())).collect();
    if found.keys.len() > shown {
        times.push("...".to_owned());
    }
    if !times.is_empty() {
        line.push_str(&format!(": {}", times.join(" ")));
    }
    line.push('\n');
    line
}
