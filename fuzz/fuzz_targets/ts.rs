//! A whole input through the probe and the scanner, in pieces. What they find must not depend on the pieces.
//!
//! Byte 0 of the input is how: bit 7 puts sync bytes and checksums right, the other bits give the length of the pieces.

#![no_main]

use keyrung::ladder::{AudioChoice, Event, Probe, ProgramInfo, Scanner};
use keyrung::time::Span;
use keyrung::ts::{EndOfInput, SYNC_BYTE, SyncError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 0x80 != 0 {
        keyrung_fuzz::mend(&mut bytes);
    }
    let piece = 1 + usize::from(how & 0x7F) * 11;
    let programs = probe(&bytes, bytes.len());
    assert_eq!(format!("{programs:?}"), format!("{:?}", probe(&bytes, piece)), "the probe, in pieces of {piece}");
    let Ok(programs) = programs else { return };
    let whole = scan(&bytes, bytes.len(), &programs);
    let split = scan(&bytes, piece, &programs);
    assert_eq!(whole, split, "the scan, in pieces of {piece}");
});

/// Hands `bytes` over as a caller does that reads `piece` bytes at a time: what was not consumed comes again.
fn feed(
    bytes: &[u8],
    piece: usize,
    mut push: impl FnMut(&[u8], EndOfInput) -> Result<usize, SyncError>,
) -> Result<(), SyncError> {
    let (mut from, mut to) = (0, 0);
    loop {
        to = bytes.len().min(to + piece);
        let end = if to == bytes.len() { EndOfInput::Reached } else { EndOfInput::NotYet };
        from += push(&bytes[from..to], end)?;
        assert!(from <= to, "more was consumed than there is");
        if end == EndOfInput::Reached {
            assert_eq!(from, bytes.len(), "the end was not consumed");
            return Ok(());
        }
    }
}

/// Reads on after the probe has enough: where that is depends on the pieces.
fn probe(bytes: &[u8], piece: usize) -> Result<Vec<ProgramInfo>, String> {
    let mut probe = Probe::new();
    feed(bytes, piece, |bytes, end| probe.push(bytes, end).map(|pushed| pushed.0)).map_err(|e| e.to_string())?;
    probe.finish().map_err(|e| e.to_string())
}

fn scan(bytes: &[u8], piece: usize, programs: &[ProgramInfo]) -> String {
    let choices = programs.iter().filter_map(|program| program.select(&AudioChoice::First).ok());
    // Every other track is shifted, so that stamps which lie over two packets make patches.
    let tracks: Vec<_> =
        choices.enumerate().map(|(n, choice)| (choice, Span::from_ticks(n as i64 % 2 * 4711))).collect();
    let count = tracks.len();
    let mut scanner = Scanner::new(tracks);
    let (mut events, mut lost, mut patches) = (Vec::new(), Vec::new(), Vec::new());
    let mut reported = 0;
    let outcome = feed(bytes, piece, |bytes, end| {
        let consumed = scanner.push(bytes, end)?;
        for (track, event) in scanner.take_events() {
            if let Event::Unit(keyrung::ladder::Unit { offset, .. }) | Event::Pes { offset, .. } = event {
                assert!(offset >= reported, "{offset} comes after all before {reported} was reported");
            }
            events.push((track, event));
        }
        assert!(scanner.reported_up_to() >= reported);
        reported = scanner.reported_up_to();
        lost.extend(scanner.take_lost());
        patches.extend(scanner.take_patches());
        Ok(consumed)
    });
    for (_, event) in &events {
        if let Event::Unit(keyrung::ladder::Unit { offset, .. }) | Event::Pes { offset, .. } = event {
            assert_eq!(bytes.get(*offset as usize), Some(&SYNC_BYTE), "no packet stands at {offset}");
        }
    }
    assert!(patches.iter().all(|patch| patch.1 < bytes.len() as u64), "a patch beyond the end");
    assert!(lost.windows(2).all(|pair| pair[0].end <= pair[1].start), "lost ranges overlap: {lost:?}");
    assert!(outcome.is_err() || scanner.position() == bytes.len() as u64);
    let tracks: Vec<_> = (0..count)
        .map(|track| (scanner.captions(track), scanner.unit_duration(track), scanner.shortest_step(track)))
        .collect();
    let packets: Vec<_> = scanner.packet_counts().collect();
    let (faults, stride) = (scanner.faults(), scanner.stride());
    format!("{outcome:?}\n{events:#?}\n{lost:?}\n{patches:?}\n{tracks:?}\n{packets:?}\n{faults:?}\n{stride:?}")
}
