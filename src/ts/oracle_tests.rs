//! The `mpeg2ts` crate reads back what this room writes and shifts: a second opinion on tables, clocks and stamps.

use mpeg2ts::ts::{ReadTsPacket, TsPacket, TsPacketReader, TsPayload};
use proptest::prelude::*;

use crate::time::{Span, Stamp};
use crate::ts::adaptation::{Pcr, pcr_only, shift_clocks};
use crate::ts::build::{Discontinuity, PesUnit, RandomAccess, TsBuilder};
use crate::ts::packet::{PACKET_LEN, Pid};
use crate::ts::pes::shift_pes_stamps;
use crate::ts::pmt::{Pmt, PmtStream, StreamType};

const MAP: Pid = Pid::masked(0x1000);
const VIDEO: Pid = Pid::masked(0x100);

fn read(bytes: &[u8]) -> Vec<TsPacket> {
    let mut reader = TsPacketReader::new(bytes);
    std::iter::from_fn(|| reader.read_ts_packet().unwrap()).collect()
}

/// PAT and PMT, and one packet with a PES and a clock.
fn stream(pts: Stamp, dts: Stamp, pcr: Pcr) -> Vec<u8> {
    let language = vec![0x0A, 4, b'd', b'e', b'u', 0];
    let streams = vec![
        PmtStream { stream_type: StreamType::H264, pid: VIDEO, info: vec![] },
        PmtStream { stream_type: StreamType::AAC_ADTS, pid: Pid::masked(0x101), info: language },
    ];
    let pmt =
        Pmt { program: 7, version: 5, pcr_pid: VIDEO, program_info: vec![0x05, 4, b'H', b'D', b'M', b'V'], streams };
    let unit = PesUnit {
        dts: Some(dts),
        pcr: Some(pcr),
        random_access: RandomAccess::Yes,
        discontinuity: Discontinuity::Yes,
        ..PesUnit::new(pts, b"payload")
    };
    let mut ts = TsBuilder::new();
    ts.pat(&[(7, MAP)]).pmt(MAP, &pmt).unit(VIDEO, &unit);
    ts.into_bytes()
}

#[test]
fn tables_are_read_by_another() {
    let pcr = Pcr { base: Stamp::wrapping(1), extension: 2 };
    let packets = read(&stream(Stamp::wrapping(9), Stamp::wrapping(5), pcr));
    let Some(TsPayload::Pat(pat)) = &packets[0].payload else { panic!("{packets:?}") };
    assert_eq!((pat.table[0].program_num, pat.table[0].program_map_pid.as_u16()), (7, MAP.value()));
    let Some(TsPayload::Pmt(pmt)) = &packets[1].payload else { panic!("{packets:?}") };
    assert_eq!((pmt.program_num, pmt.version_number.as_u8()), (7, 5));
    assert_eq!(pmt.pcr_pid.map(|pid| pid.as_u16()), Some(VIDEO.value()));
    assert_eq!((pmt.program_info[0].tag, &pmt.program_info[0].data[..]), (5, &b"HDMV"[..]));
    let streams: Vec<_> = pmt.es_info.iter().map(|es| (es.stream_type as u8, es.elementary_pid.as_u16())).collect();
    assert_eq!(streams, [(0x1B, 0x100), (0x0F, 0x101)]);
    assert_eq!(pmt.es_info[1].descriptors[0].data, b"deu\0");
}

proptest! {
    #[test]
    fn shifted_times_are_read_by_another(
        pts in 0..Stamp::MODULUS, dts in 0..Stamp::MODULUS, base in 0..Stamp::MODULUS, extension in 0u16..300,
        by in any::<i32>(),
    ) {
        let [pts, dts, base] = [pts, dts, base].map(Stamp::wrapping);
        let by = Span::from_ticks(i64::from(by));
        let mut bytes = stream(pts, dts, Pcr { base, extension });
        let packet = bytes.last_chunk_mut::<PACKET_LEN>().unwrap();
        shift_clocks(packet, by);
        let start = 5 + usize::from(packet[4]);
        shift_pes_stamps(&mut packet[start..], by);
        let clock = pcr_only(packet).unwrap();
        bytes.extend(clock);

        let packets = read(&bytes);
        let Some(TsPayload::PesStart(pes)) = &packets[2].payload else { panic!("{packets:?}") };
        prop_assert_eq!(pes.header.pts.unwrap().as_u64(), pts.shifted(by).value());
        prop_assert_eq!(pes.header.dts.unwrap().as_u64(), dts.shifted(by).value());
        prop_assert_eq!(&pes.data[..], b"payload");
        for packet in &packets[2..4] {
            let field = packet.adaptation_field.as_ref().unwrap();
            let ticks = base.shifted(by).value() * 300 + u64::from(extension);
            prop_assert_eq!(field.pcr.unwrap().as_u64(), ticks);
            prop_assert!(field.discontinuity_indicator);
        }
        prop_assert!(packets[3].payload.is_none());
    }

    #[test]
    fn a_shifted_escr_is_read_by_another(before: [u8; 6], by in any::<i32>()) {
        let by = Span::from_ticks(i64::from(by));
        // The marker and reserved bits that the other reader insists on.
        let [a, b, c, d, e, f] = before;
        let escr = [a & 0x3F | 0x04, b, c | 0x04, d, e | 0x04, f | 0x01];
        let read_escr = |escr: [u8; 6], by: Span| {
            let mut ts = TsBuilder::new();
            let unit = PesUnit { pts: None, header_stuffing: 6, ..PesUnit::new(Stamp::wrapping(0), b"x") };
            let mut pes = unit.to_bytes();
            pes[7] = 0x20;
            pes[9..15].copy_from_slice(&escr);
            shift_pes_stamps(&mut pes, by);
            let mut bytes = stream(Stamp::wrapping(0), Stamp::wrapping(0), Pcr { base: Stamp::wrapping(0), extension: 0 });
            let field = 183 - pes.len() as u8;
            ts.raw(&bytes[..2 * PACKET_LEN]).raw(&[0x47, 0x41, 0x00, 0x30, field, 0]);
            ts.raw(&vec![0xFF; usize::from(field) - 1]).raw(&pes);
            bytes = ts.into_bytes();
            match &read(&bytes)[2].payload {
                Some(TsPayload::PesStart(pes)) => pes.header.escr.unwrap().as_u64(),
                other => panic!("{other:?}"),
            }
        };
        // Both readers agree on the extension, so only the base may differ.
        let plain = read_escr(escr, Span::ZERO);
        let extension = u64::from(e & 3) << 7 | u64::from(f >> 1);
        let base = Stamp::wrapping((plain - extension) / 300);
        prop_assert_eq!(read_escr(escr, by), base.shifted(by).value() * 300 + extension);
    }
}
