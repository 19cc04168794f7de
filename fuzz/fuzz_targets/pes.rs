//! The start of a PES packet: its header, its stamps shifted and shifted back, and the access unit that it begins. What is
//! known of a prefix must hold for the whole. The same bytes as a packet have their clocks shifted.

#![no_main]

use keyrung::es::{Codec, HeadScan, PayloadEnd, count_access_units, scan_head};
use keyrung::time::Span;
use keyrung::ts::pes::MAX_PES_HEADER;
use keyrung::ts::{
    PACKET_LEN, Packet, PesStart, SYNC_BYTE, parse_pes, pcr_only, pes_stamp_patches, shift_clocks, shift_pes_stamps,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[how, a, b], bytes)) = input.split_first_chunk::<3>() else { return };
    let by = Span::from_ticks(i64::from(u16::from_be_bytes([a, b])) * 97_001 - 3_000_000_000);
    let cut = usize::from(how).min(bytes.len());
    header(bytes, cut, by);
    clocks(bytes, by);
    let content = match parse_pes(bytes) {
        PesStart::Header(header) => bytes.get(header.payload_offset..).expect("the payload begins in what was parsed"),
        PesStart::Incomplete | PesStart::NotPes => bytes,
    };
    for codec in [Codec::H264, Codec::Hevc] {
        head(codec, content, cut.min(content.len()));
    }
});

fn header(bytes: &[u8], cut: usize, by: Span) {
    let whole = parse_pes(bytes);
    match parse_pes(&bytes[..cut]) {
        PesStart::Incomplete => assert!(cut < MAX_PES_HEADER),
        known => assert_eq!(known, whole, "of {cut} bytes"),
    }
    let mut shifted = bytes.to_vec();
    shift_pes_stamps(&mut shifted, by);
    let patches = pes_stamp_patches(bytes, by);
    let PesStart::Header(before) = whole else {
        assert!(shifted == bytes && patches.is_none());
        return;
    };
    let mut expected = before;
    expected.pts = before.pts.map(|stamp| stamp.shifted(by));
    expected.dts = before.dts.map(|stamp| stamp.shifted(by));
    assert_eq!(parse_pes(&shifted), PesStart::Header(expected));
    let mut patched = bytes.to_vec();
    for (place, value) in patches.expect("the header is whole") {
        assert!(place < before.payload_offset);
        patched[place] = value;
    }
    assert_eq!(patched, shifted);
    shift_pes_stamps(&mut shifted, by.negated());
    assert_eq!(shifted, bytes, "shifted and shifted back");
}

fn clocks(bytes: &[u8], by: Span) {
    let Some(mut packet) = bytes.first_chunk::<PACKET_LEN>().copied() else { return };
    packet[0] = SYNC_BYTE;
    let mut shifted = packet;
    shift_clocks(&mut shifted, by);
    let pcr = |packet: &[u8; PACKET_LEN]| Packet::new(packet)?.adaptation()?.pcr();
    assert_eq!(pcr(&shifted).map(|pcr| pcr.base), pcr(&packet).map(|pcr| pcr.base.shifted(by)));
    if let Some(alone) = pcr_only(&packet) {
        assert_eq!(pcr(&alone), pcr(&packet));
        assert_eq!(Packet::new(&alone).map(|packet| packet.payload().len()), Some(0));
    } else {
        assert_eq!(pcr(&packet), None);
    }
    shift_clocks(&mut shifted, by.negated());
    assert_eq!(shifted, packet, "shifted and shifted back");
}

fn head(codec: Codec, content: &[u8], cut: usize) {
    let whole = scan_head(codec, content, PayloadEnd::More);
    match scan_head(codec, &content[..cut], PayloadEnd::More) {
        HeadScan::NeedMore => {}
        known => assert_eq!(known, whole, "of {cut} bytes"),
    }
    let HeadScan::Complete(unit) = scan_head(codec, content, PayloadEnd::Whole) else {
        panic!("more is asked for after the end");
    };
    if let complete @ HeadScan::Complete(_) = whole {
        assert_eq!(complete, HeadScan::Complete(unit));
    }
    assert!(unit.nal_offset_of_slice.is_none_or(|offset| offset < content.len()));
    assert!(!unit.slice_is_first || count_access_units(codec, content) > 0);
}
