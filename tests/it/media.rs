//! What ffmpeg and ffprobe see in a stream.

use std::path::Path;

use super::common::{Check, tool};
use super::package::path_text;

/// A decoded frame: its time in 1/90000 s and the MD5 of its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Presentation time.
    pub at: i64,
    /// How long it is shown, in the same unit.
    pub lasts: i64,
    /// MD5 of the pixels or samples.
    pub hash: String,
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// PIDs on which pictures or sound come, as ffprobe finds them.
pub fn streams(file: &Path) -> Check<Vec<(u16, Kind)>> {
    let show = ["-v", "error", "-count_packets", "-show_entries", "stream=id,codec_type,nb_read_packets"];
    let run = tool("ffprobe", &[&show[..], &["-of", "compact=p=0", path_text(file)]].concat()).expect(0)?;
    let mut found = Vec::new();
    for line in run.text().lines() {
        let field = |name: &str| line.split('|').find_map(|part| part.strip_prefix(name));
        let pid = field("id=0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let kind = match field("codec_type=") {
            Some("video") => Kind::Video,
            Some("audio") => Kind::Audio,
            _ => continue,
        };
        // A stream that the PMT lists and that never comes has nothing to compare.
        if matches!(field("nb_read_packets="), None | Some("0" | "N/A")) {
            continue;
        }
        if let Some(pid) = pid.filter(|pid| !found.contains(&(*pid, kind))) {
            found.push((pid, kind));
        }
    }
    Ok(found)
}

/// What ffmpeg decodes of the given PIDs, and what it complains of.
pub struct Decoded {
    /// The frames of each PID.
    pub frames: Vec<Vec<Frame>>,
    /// ffmpeg's errors, empty when there is none.
    pub errors: String,
}

/// Decodes some PIDs of a file, with the timestamps as they are.
pub fn decode(file: &Path, pids: &[u16]) -> Check<Decoded> {
    let maps: Vec<String> = pids.iter().map(|pid| format!("0:i:{pid:#x}")).collect();
    let mut arguments = vec!["-v", "error", "-nostdin", "-copyts", "-i", path_text(file)];
    for map in &maps {
        arguments.extend(["-map", map]);
    }
    arguments.extend(["-fps_mode", "passthrough", "-autoscale", "0", "-enc_time_base", "-1", "-f", "framemd5", "-"]);
    let run = tool("ffmpeg", &arguments);
    check!(run.code == Some(0), "ffmpeg does not decode {}: {}", file.display(), run.stderr);
    let mut frames = vec![Vec::new(); pids.len()];
    for line in run.text().lines() {
        if let Some(base) = line.strip_prefix("#tb ") {
            check!(base.ends_with(": 1/90000"), "ffmpeg counts in another time base: {line}");
        }
        if line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let [stream, _, at, lasts, _, hash] = cells[..] else { return Err(format!("not a framemd5 line: {line}")) };
        let number = |text: &str| text.parse::<i64>().map_err(|e| format!("{line}: {e}"));
        let list: Option<&mut Vec<Frame>> = usize::try_from(number(stream)?).ok().and_then(|n| frames.get_mut(n));
        let frame = Frame { at: number(at)?, lasts: number(lasts)?, hash: hash.to_owned() };
        list.ok_or("a stream that was not asked for")?.push(frame);
    }
    Ok(Decoded { frames, errors: run.stderr })
}

/// Compares two decodings: the same frames, at the same times apart from `offset`, which the first frame sets.
pub fn same_frames(before: &[Frame], after: &[Frame], offset: &mut Option<i64>) -> Check {
    for (n, (old, new)) in before.iter().zip(after).enumerate() {
        check!(old.hash == new.hash, "frame {n} of {} (at {}) is another picture or sound", before.len(), old.at);
        let shift = *offset.get_or_insert(new.at - old.at);
        check!(new.at - old.at == shift, "frame {n} is moved by {} ticks, others by {shift}", new.at - old.at);
    }
    check!(before.len() == after.len(), "{} frames became {}", before.len(), after.len());
    Ok(())
}
