//! No bytes make the walk panic, and how they are cut into pieces does not matter.

use proptest::prelude::*;

use super::{Fault, Walker};
use crate::ts::build::TsBuilder;
use crate::ts::{PACKET_LEN, Pid, Pmt, PmtStream, StreamType};
use crate::verify::facts::Ts;

fn walk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Ts, Vec<(u64, Option<u16>, Fault)>) {
    let (mut walker, mut faults) = (Walker::default(), Vec::new());
    for piece in pieces {
        walker.push(piece, &mut |byte, pid, fault| faults.push((byte, pid, fault)));
    }
    let ts = walker.finish(&mut |byte, pid, fault| faults.push((byte, pid, fault)));
    (ts, faults)
}

fn tables() -> Vec<u8> {
    let (map, video) = (Pid::masked(0x1000), Pid::masked(0x100));
    let stream = PmtStream { stream_type: StreamType::H264, pid: video, info: vec![] };
    let pmt = Pmt { program: 1, version: 0, pcr_pid: video, program_info: vec![], streams: vec![stream] };
    let mut ts = TsBuilder::new();
    ts.pat(&[(1, map)]).pmt(map, &pmt);
    ts.into_bytes()
}

#[test]
fn tables_are_found_where_they_are() {
    let (ts, faults) = walk(std::iter::once(tables().as_slice()));
    assert_eq!((ts.pat_at, ts.pmt_at, ts.programs), (Some(0), Some(188), 1));
    assert_eq!(ts.first, [Some(0), Some(0x1000)]);
    assert!(faults.is_empty() && !ts.first_section_bad);
}

#[test]
fn lost_bytes_and_a_cut_tail_are_told_with_their_place() {
    let mut bytes = tables();
    bytes.splice(188..188, [0; 50]);
    bytes.extend([0x47; 20]);
    let (ts, faults) = walk(bytes.chunks(33));
    assert_eq!(faults, [(188, None, Fault::Sync(50)), (426, None, Fault::Partial(20))]);
    assert_eq!(ts.pmt_at, Some(238));
}

#[test]
fn a_damaged_first_table_shows() {
    let mut bytes = tables();
    bytes[15] ^= 1;
    assert!(walk(std::iter::once(bytes.as_slice())).0.first_section_bad);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        packets in prop::collection::vec((0_u8..4, 0_u8..=255, 0_u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        cut in 1_usize..600, damage in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut bytes = tables();
        for (pid, flags, control, payload) in packets {
            let mut packet = [0xff; PACKET_LEN];
            packet[..4].copy_from_slice(&[0x47, flags & 0x41, pid, control]);
            packet[4..4 + payload.len()].copy_from_slice(&payload);
            bytes.extend(packet);
        }
        for place in damage {
            let at = place.index(bytes.len());
            bytes[at] ^= 0x55;
        }
        let (whole, faults) = walk(std::iter::once(bytes.as_slice()));
        let (pieces, again) = walk(bytes.chunks(cut));
        prop_assert_eq!(faults, again);
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
        walk(bytes.chunks(77));
    }
}
