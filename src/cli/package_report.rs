//! What `keyrung package` tells at the end: a table and the next command, or a JSON document.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ladder::{Access, Faults, LeftOut, Role, Selection};
use crate::package::build::{MASTER_FILE, describe};
use crate::package::conductor::Conductor;
use crate::package::job::{Job, Outcome, Published};
use crate::package::outcome::{RenditionOutcome, Warning, audio_switch};
use crate::package::plan::Plan;
#[cfg(feature = "server")]
use crate::package::site::Destination;
use crate::segment::Segment;
use crate::time::Span;

use super::output::{Output, Volume};
use super::table::{Side, Table, bit_rate, bytes};

/// Tells what a job made.
pub fn made(output: Output, job: &Job, outcome: &Outcome, filled: Option<&Value>) {
    let built = &outcome.built;
    let mut document = json!({
        "master": MASTER_FILE,
        "content_id": job.content_id.to_string(),
        "key_id": outcome.key.as_ref().map(|key| key.key_id.to_string()),
        "sealed_key": outcome.key,
        "renditions": built.renditions.iter().map(rendition_json).collect::<Vec<_>>(),
        "target_duration": built.target_duration,
        "bytes_in": built.bytes_in,
        "bytes_out": built.bytes_out,
        "elapsed": outcome.elapsed.as_secs_f64(),
        "audio_switch": audio_switch(&built.renditions).map(|switch| {
            json!({ "apart": switch.apart.seconds(), "segment": switch.segment })
        }),
        "faults": faults_json(&built.faults),
        "warnings": outcome.warnings.iter().map(warning_json).collect::<Vec<_>>(),
    });
    with_job(&mut document, filled);
    output.json(&document);
    for warning in &outcome.warnings {
        output.warning(&warning_text(warning));
    }
    fault_lines(output, &built.faults);
    for rendition in &built.renditions {
        left_out_lines(output, &rendition.name, rendition.left_out());
        if rendition.shift != Span::ZERO {
            let shift = rendition.shift.seconds() * 1000.0;
            output.note(&format!(
                "{}: all timestamps were moved by {shift:.1} ms, onto the common clock",
                rendition.name
            ));
        }
    }
    if let Some(switch) = audio_switch(&built.renditions)
        && switch.apart > Span::ZERO
    {
        output.note(&format!(
            "a switch between renditions may skip or repeat up to {:.0} ms of audio (at segment {}), which is cut at \
             whole PES packets",
            switch.apart.seconds() * 1000.0,
            switch.segment,
        ));
    }
    if output.volume() == Volume::Quiet {
        return;
    }
    let mut table = Table::new(&[
        ("rendition", Side::Left),
        ("size", Side::Left),
        ("frame rate", Side::Right),
        ("codecs", Side::Left),
        ("peak", Side::Right),
        ("average", Side::Right),
        ("segments", Side::Right),
        ("duration", Side::Right),
    ]);
    for rendition in &built.renditions {
        table.row(vec![
            rendition.name.clone(),
            rendition.resolution.map_or("-".to_owned(), |size| format!("{}x{}", size.width, size.height)),
            rendition.frame_rate.map_or("-".to_owned(), |rate| rate.to_string()),
            rendition.codecs.join(","),
            bit_rate(rendition.bandwidth),
            bit_rate(rendition.average_bandwidth),
            rendition.segments.len().to_string(),
            format!("{:.3} s", rendition.duration_us() as f64 / 1e6),
        ]);
    }
    output.text(&table.render());
    let dest = &job.dest;
    let seconds = outcome.elapsed.as_secs_f64();
    output.text(&format!("{} in {seconds:.2} s, in {dest}/{MASTER_FILE}\n", bytes(built.bytes_out)));
    match &outcome.key {
        Some(key) => output.text(&format!("key {}, content id {}\n", key.key_id, job.content_id)),
        None => output.text(&format!("not encrypted, content id {}\n", job.content_id)),
    }
    output.text(&format!("next: {}\n", next_command(job)));
}

/// Tells that an earlier run had made the package already: the same document, from its record.
pub fn was_published(output: Output, job: &Job, plan: &Plan, published: &Published, filled: Option<&Value>) {
    let record = &published.record;
    let renditions = record.renditions.iter().map(|rendition| {
        let planned = plan.renditions.iter().find(|planned| planned.name == rendition.name);
        let source = planned.and_then(|planned| plan.inputs.get(planned.input)).map(|input| input.name.clone());
        json!({
            "name": rendition.name,
            "playlist": rendition.playlist,
            "segments": rendition.segments.len(),
            "duration": rendition.segments.iter().map(|segment| segment.duration_us).sum::<u64>() as f64 / 1e6,
            "bandwidth": rendition.bandwidth,
            "average_bandwidth": rendition.average_bandwidth,
            "codecs": rendition.codecs,
            "resolution": rendition.resolution,
            "frame_rate": rendition.frame_rate.as_ref().and_then(|rate| rate.parse::<f64>().ok()),
            "source": source,
            "program": planned.map(|planned| planned.selection.program),
            "streams": planned.map(|planned| streams_json(&planned.selection)).unwrap_or_default(),
            "left_out": planned.map(|planned| left_out_json(&planned.selection.left_out)).unwrap_or_default(),
            "shift": planned.map(|planned| planned.shift.seconds()),
        })
    });
    let mut document = json!({
        "master": record.master,
        "content_id": record.content_id,
        "key_id": record.key_id,
        "sealed_key": published.key,
        "renditions": renditions.collect::<Vec<_>>(),
        "target_duration": record.target_duration,
        "bytes_in": 0,
        "bytes_out": record.files.iter().map(|file| file.bytes).sum::<u64>(),
        "elapsed": 0.0,
        "faults": {},
        "warnings": [],
        "already_published": true,
    });
    with_job(&mut document, filled);
    output.json(&document);
    output.text(&format!(
        "{} is complete: an earlier run put it in place and was stopped before it could say so\nnext: {}\n",
        job.dest,
        next_command(job)
    ));
}

/// The job of Elastic Transcoder that asked for the package, with the key in it.
fn with_job(document: &mut Value, filled: Option<&Value>) {
    if let (Value::Object(fields), Some(job)) = (document, filled) {
        fields.insert("job".to_owned(), job.clone());
    }
}

#[cfg(feature = "server")]
fn next_command(job: &Job) -> String {
    match &job.dest {
        Destination::Folder(folder) => format!("keyrung serve {}", folder.display()),
        #[cfg(feature = "aws")]
        Destination::Bucket { .. } => {
            "keyrung serve gives the key to players; the bucket or a CDN gives them the rest".to_owned()
        }
    }
}

#[cfg(not(feature = "server"))]
fn next_command(job: &Job) -> String {
    format!("publish {} and serve the key at its URI", job.dest)
}

fn rendition_json(rendition: &RenditionOutcome) -> Value {
    json!({
        "name": rendition.name,
        "playlist": rendition.playlist,
        "segments": rendition.segments.len(),
        "duration": rendition.duration_us() as f64 / 1e6,
        "bandwidth": rendition.bandwidth,
        "average_bandwidth": rendition.average_bandwidth,
        "codecs": rendition.codecs.join(","),
        "resolution": rendition.resolution.map(|size| format!("{}x{}", size.width, size.height)),
        "frame_rate": rendition.frame_rate.and_then(|rate| rate.to_string().parse::<f64>().ok()),
        "source": rendition.source,
        "program": rendition.selection.program,
        "streams": streams_json(&rendition.selection),
        "left_out": left_out_json(rendition.left_out()),
        "shift": rendition.shift.seconds(),
        "independent_segments": rendition.independent,
    })
}

fn streams_json(selection: &Selection) -> Vec<Value> {
    let role = |role| match role {
        Role::Video => "video",
        Role::Audio => "audio",
        Role::Data => "data",
    };
    let stream = |stream: &crate::ladder::CarriedStream| {
        json!({
            "pid": stream.pid.value(), "codec": stream.codec.name(),
            "kind": role(stream.role), "language": stream.language,
        })
    };
    selection.streams.iter().map(stream).collect()
}

/// What is left out, as JSON.
pub(super) fn left_out_json(left_out: &[LeftOut]) -> Vec<Value> {
    let one = |one: &LeftOut| json!({ "pid": one.pid.value(), "what": one.what, "why": one.why.to_string() });
    left_out.iter().map(one).collect()
}

/// A warning as JSON.
pub(super) fn warning_json(warning: &Warning) -> Value {
    json!({ "code": warning.code, "rendition": warning.rendition, "message": warning.message })
}

fn warning_text(warning: &Warning) -> String {
    match &warning.rendition {
        Some(rendition) => format!("{rendition}: {}", warning.message),
        None => warning.message.clone(),
    }
}

/// The faults of all inputs as JSON: by kind, with the first places.
pub(super) fn faults_json(faults: &[(String, Faults)]) -> Value {
    let mut kinds: BTreeMap<&str, (u64, u64, Vec<Value>)> = BTreeMap::new();
    for (input, faults) in faults {
        for (kind, tally) in faults.iter() {
            let entry = kinds.entry(kind.name()).or_default();
            entry.0 += tally.count;
            entry.1 += tally.bytes;
            entry.2.extend(tally.places.iter().map(|place| {
                json!({
                    "input": input, "offset": place.offset, "bytes": place.bytes,
                    "pid": place.pid.map(|pid| pid.value()), "time": place.time.map(|time| time.seconds()),
                })
            }));
        }
    }
    let kind = |(name, (count, bytes, places)): (&str, (u64, u64, Vec<Value>))| {
        (name.to_owned(), json!({ "count": count, "bytes": bytes, "places": places }))
    };
    Value::Object(kinds.into_iter().map(kind).collect())
}

fn fault_lines(output: Output, faults: &[(String, Faults)]) {
    for (input, faults) in faults {
        for (kind, tally) in faults.iter() {
            let Some(first) = tally.places.first() else {
                continue;
            };
            let more = if tally.count > 1 { format!(", and {} more", tally.count - 1) } else { String::new() };
            output.warning(&format!("{input}: {}{more}", describe(kind, *first)));
            if output.volume() == Volume::Verbose {
                for place in tally.places.iter().skip(1) {
                    output.note(&format!("{input}: {}", describe(kind, *place)));
                }
            }
        }
    }
}

fn left_out_lines(output: Output, rendition: &str, left_out: &[LeftOut]) {
    for one in left_out {
        output.note(&format!("{rendition}: {} on PID {} is left out: {}", one.what, one.pid, one.why));
    }
}

/// Tells what a job would make.
pub fn dry_run(output: Output, plan: &Plan, conductor: &mut Conductor, segments: &[(usize, Segment)]) {
    let faults: Vec<(String, Faults)> = plan
        .inputs
        .iter()
        .enumerate()
        .map(|(number, input)| (input.name.clone(), conductor.faults(number).cloned().unwrap_or_default()))
        .collect();
    let mut renditions = Vec::new();
    let mut table = Table::new(&[
        ("rendition", Side::Left),
        ("source", Side::Left),
        ("program", Side::Right),
        ("carries", Side::Left),
        ("segments", Side::Right),
        ("longest", Side::Right),
        ("duration", Side::Right),
        ("shift", Side::Right),
    ]);
    for (number, planned) in plan.renditions.iter().enumerate() {
        let own: Vec<&Segment> = segments.iter().filter(|(of, _)| *of == number).map(|(_, segment)| segment).collect();
        let durations: Vec<f64> = own.iter().map(|segment| segment.duration.seconds()).collect();
        let longest = durations.iter().copied().fold(0.0, f64::max);
        let total: f64 = durations.iter().sum();
        let source = plan.inputs.get(planned.input).map(|input| input.name.clone()).unwrap_or_default();
        let keys = conductor.renditions().get(number).map(|rendition| rendition.keys.clone()).unwrap_or_default();
        let carries: Vec<String> = planned
            .selection
            .streams
            .iter()
            .map(|stream| format!("{} ({})", stream.codec.name(), stream.pid))
            .collect();
        table.row(vec![
            planned.name.clone(),
            source.clone(),
            planned.selection.program.to_string(),
            carries.join(", "),
            own.len().to_string(),
            format!("{longest:.3} s"),
            format!("{total:.3} s"),
            format!("{:.1} ms", planned.shift.seconds() * 1000.0),
        ]);
        renditions.push(json!({
            "name": planned.name,
            "playlist": format!("{}/index.m3u8", planned.name),
            "source": source,
            "program": planned.selection.program,
            "streams": streams_json(&planned.selection),
            "left_out": left_out_json(&planned.selection.left_out),
            "shift": planned.shift.seconds(),
            "segments": own.len(),
            "durations": durations,
            "discontinuities": own.iter().filter(|segment| segment.discontinuity).map(|s| s.index).collect::<Vec<_>>(),
            "independent_segments": own.iter().all(|segment| segment.access == Access::Clean),
            "key_frames": keys.iter().map(|key| key.0.seconds()).collect::<Vec<_>>(),
        }));
        left_out_lines(output, &planned.name, &planned.selection.left_out);
    }
    fault_lines(output, &faults);
    output.json(&json!({ "dry_run": true, "renditions": renditions, "faults": faults_json(&faults) }));
    output.text(&table.render());
    output.text("nothing was written\n");
}
