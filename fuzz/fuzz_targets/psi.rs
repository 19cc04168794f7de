//! Program tables: out of packets, and back again.
//!
//! Byte 0 of the input is how: 0 takes what follows as packets, 1 puts their sync bytes and checksums right first, 2 takes
//! it as sections, each after two bytes of PID and length, and gives every one the right checksum.

#![no_main]

use keyrung::ts::{
    Descriptors, PACKET_LEN, Packet, Pat, Pid, Pmt, PsiEvent, PsiTracker, SectionAssembler, crc32_mpeg2, packetize,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else { return };
    match how % 3 {
        2 => track(&packets_of_sections(bytes)),
        how => {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(PACKET_LEN), 0xFF);
            if how == 1 {
                keyrung_fuzz::mend(&mut bytes);
            }
            track(&bytes);
        }
    }
    // As sections, without regard to checksums.
    let _ = Pat::parse(bytes);
    if let Ok(pmt) = Pmt::parse(bytes) {
        survives(&pmt);
    }
});

const PIDS: [u16; 4] = [0, 0x100, 0x1000, 0x1FFE];

fn packets_of_sections(mut bytes: &[u8]) -> Vec<u8> {
    let mut packets = Vec::new();
    let mut counters = [0u8; PIDS.len()];
    while let Some((&[high, low], rest)) = bytes.split_first_chunk::<2>() {
        let len = (usize::from(high & 3) << 8 | usize::from(low)).min(rest.len());
        let (body, rest) = rest.split_at(len);
        bytes = rest;
        let mut section = body.to_vec();
        keyrung_fuzz::mend_section(&mut section);
        let place = usize::from(high >> 6);
        let pid = Pid::masked(PIDS[place]);
        let count = packetize(&section, pid, counters[place], &mut packets);
        counters[place] = counters[place].wrapping_add(count as u8);
        // Sometimes a packet is missing after it.
        counters[place] = counters[place].wrapping_add(high >> 5 & 1);
    }
    packets
}

fn track(bytes: &[u8]) {
    let mut tracker = PsiTracker::new();
    let mut assembler = SectionAssembler::new();
    for (packet, offset) in bytes.as_chunks::<PACKET_LEN>().0.iter().zip((0..).step_by(PACKET_LEN)) {
        let Some(packet) = Packet::new(packet) else { continue };
        if let Some(field) = packet.adaptation() {
            let _ = (field.pcr(), field.opcr(), field.discontinuity(), field.random_access());
        }
        assembler.push(packet, &mut |section| {
            // Sections of the short form have no checksum.
            if let Ok(section @ [_, flags, ..]) = section {
                assert!(flags & 0x80 == 0 || crc32_mpeg2(section) == 0);
            }
        });
        tracker.packet(offset, packet, &mut |event| match event {
            PsiEvent::Pat { programs, .. } => assert!(programs.len() <= keyrung::limits::PROGRAMS),
            PsiEvent::Pmt { pmt, .. } => survives(&pmt),
            PsiEvent::Fault { .. } => {}
        });
    }
}

/// What was read is written and read again, over packets, as the same table.
fn survives(pmt: &Pmt) {
    let section = pmt.section();
    assert_eq!(Pmt::parse(&section).as_ref(), Ok(pmt));
    let mut packets = Vec::new();
    packetize(&section, Pid::masked(0x1000), 7, &mut packets);
    let (mut assembler, mut found) = (SectionAssembler::new(), Vec::new());
    for packet in packets.as_chunks::<PACKET_LEN>().0 {
        let packet = Packet::new(packet).expect("packetize writes sync bytes");
        assembler.push(packet, &mut |section| found.push(section.map(<[u8]>::to_vec)));
    }
    assert_eq!(found, [Ok(section)]);
    for info in pmt.streams.iter().map(|stream| &stream.info).chain([&pmt.program_info]) {
        for descriptor in Descriptors::new(info) {
            let _ = (
                descriptor.registration(),
                descriptor.language(),
                descriptor.audio_type(),
                descriptor.metadata_format(),
            );
        }
    }
}
