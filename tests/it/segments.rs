//! Every decrypted segment as an independent reader sees it: tables first, whole packets, whole PES packets, running
//! counters; and read back by the `mpeg2ts` crate and by ffprobe.

use std::collections::BTreeSet;
use std::fs;

use mpeg2ts::ts::{ReadTsPacket, TsPacketReader, TsPayload};

use super::common::{Check, every, tool};
use super::frames::{case_name, cases};
use super::package::{self, Rendition, path_text};
use super::stream::{Continuity, packets, program};
use super::table;

fn well_formed(rendition: &Rendition, holes: bool) -> Check {
    let mut continuity = Continuity::default();
    for segment in &rendition.segments {
        let at = |text: String| format!("{}/{}: {text}", rendition.name, segment.uri);
        let packets = packets(&segment.clear).map_err(at)?;
        let program = program(&packets).map_err(at)?;
        let streams: BTreeSet<u16> = program.streams.iter().map(|(_, pid)| *pid).collect();
        let (mut begun, mut clock) = (BTreeSet::new(), false);
        for packet in &packets {
            let pid = packet.pid();
            check!(holes || packet.0[1] & 0x80 == 0, "{}", at(format!("PID {pid:#x}: transport error")));
            check!(packet.0[3] & 0xC0 == 0, "{}", at(format!("PID {pid:#x}: scrambled")));
            clock |= pid == program.pcr_pid && packet.has_pcr();
            if pid == 0 || pid == program.pmt_pid {
                continuity.packet(*packet).map_err(at)?;
                continue;
            }
            let known = streams.contains(&pid) || pid == program.pcr_pid && !packet.has_payload();
            check!(known, "{}", at(format!("PID {pid:#x} is not in the PMT")));
            if !holes {
                continuity.packet(*packet).map_err(at)?;
                let whole = !packet.has_payload() || packet.starts() || begun.contains(&pid);
                check!(whole, "{}", at(format!("PID {pid:#x} begins inside a PES packet")));
            }
            if packet.starts() {
                begun.insert(pid);
            }
        }
        check!(clock, "{}", at("no PCR".to_owned()));
    }
    Ok(())
}

#[test]
fn segments_are_well_formed() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        package.renditions.iter().try_for_each(|rendition| well_formed(rendition, fixture.has_holes()))
    });
}

/// Reads a segment with the `mpeg2ts` crate and counts its media packets.
fn read_back(clear: &[u8]) -> Check<usize> {
    let mut reader = TsPacketReader::new(clear);
    let mut media = 0;
    loop {
        match reader.read_ts_packet() {
            Ok(Some(packet)) => {
                media +=
                    usize::from(matches!(packet.payload, Some(TsPayload::PesStart(_) | TsPayload::PesContinuation(_))));
            }
            Ok(None) => return Ok(media),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[test]
fn mpeg2ts_reads_every_segment() {
    // What this crate cannot read: sections over several packets and unknown stream types are hard errors in it, and a
    // PES header has to lie in one packet.
    let beyond = ["psi-over-packets.ts", "pes-header-straddles.ts", "nal-head-straddles.ts"];
    let fixtures = table::packaged().into_iter().filter(|f| !f.has_holes() && !beyond.contains(&f.name.as_str()));
    every(&cases(fixtures.collect()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        for rendition in &package.renditions {
            for segment in &rendition.segments {
                let read = read_back(&segment.clear).map_err(|e| format!("{}/{}: {e}", rendition.name, segment.uri))?;
                let packets = packets(&segment.clear)?;
                let tables = [0, program(&packets)?.pmt_pid];
                let media = packets.iter().filter(|p| p.has_payload() && !tables.contains(&p.pid())).count();
                check!(read == media, "{}/{}: {read} of {media} packets", rendition.name, segment.uri);
            }
        }
        Ok(())
    });
}

#[test]
fn ffprobe_finds_the_program_in_every_segment() {
    every(&cases(table::packaged()), case_name, |(fixture, seconds)| {
        let package = package::of(fixture, *seconds)?;
        for rendition in &package.renditions {
            for segment in &rendition.segments {
                let file = package.world.folder.join(format!("probe-{}-{}", rendition.name, segment.uri));
                fs::write(&file, &segment.clear).map_err(|e| e.to_string())?;
                let show =
                    ["-v", "error", "-show_entries", "program=program_num,nb_streams", "-of", "compact=nk=1:p=0"];
                let run = tool("ffprobe", &[&show[..], &[path_text(&file)]].concat()).expect(0)?;
                let text = run.text();
                let shown: Vec<&str> = text.lines().filter(|line| line.contains('|')).collect();
                let count = program(&packets(&segment.clear)?)?.streams.len();
                check!(
                    shown.len() == 1 && shown[0].split('|').nth(1) == Some(&count.to_string()),
                    "{}/{}: {count} streams in the PMT, ffprobe shows {shown:?}",
                    rendition.name,
                    segment.uri
                );
            }
        }
        Ok(())
    });
}
