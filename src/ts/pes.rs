//! The PES header: stream id, time stamps and where the payload begins, and the time stamps shifted in place
//! (ISO/IEC 13818-1 2.4.3.6 and 2.4.3.7, spec TS-020).

use crate::time::{Span, Stamp};

/// The longest PES header in bytes: nine fixed bytes and what PES_header_data_length can announce.
pub const MAX_PES_HEADER: usize = FIXED_LEN + 255;

const FIXED_LEN: usize = 9;
const STAMP_LEN: usize = 5;
const ESCR_LEN: usize = 6;

/// What a PES packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesHeader {
    /// stream_id.
    pub stream_id: u8,
    /// PES_packet_length: the bytes after that field. 0 = unbounded (video only).
    pub packet_length: u16,
    /// The presentation time stamp.
    pub pts: Option<Stamp>,
    /// The decoding time stamp as written; when it is absent it equals the PTS.
    pub dts: Option<Stamp>,
    /// Where the payload begins, in bytes from the start of the PES packet; never more than the bytes that were parsed.
    pub payload_offset: usize,
    /// PES_scrambling_control is not 00.
    pub scrambled: bool,
}

/// What stands at the start of a payload unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PesStart {
    /// A whole header.
    Header(PesHeader),
    /// The header goes on after these bytes. With [`MAX_PES_HEADER`] bytes this never happens.
    Incomplete,
    /// No packet_start_code_prefix.
    NotPes,
}

/// Reads the PES header at the start of `bytes`. Marker bits and the leading bits of the stamps are not checked: some
/// muxers get them wrong. Stream ids without the optional header (padding, private_stream_2, ECM ...) have no stamps.
#[must_use]
pub fn parse_pes(bytes: &[u8]) -> PesStart {
    if bytes.iter().zip([0, 0, 1]).any(|(&byte, prefix)| byte != prefix) {
        return PesStart::NotPes;
    }
    let Some(&[_, _, _, stream_id, high, low]) = bytes.first_chunk::<6>() else { return PesStart::Incomplete };
    let packet_length = u16::from_be_bytes([high, low]);
    let mut header = PesHeader { stream_id, packet_length, pts: None, dts: None, payload_offset: 6, scrambled: false };
    if !has_optional_header(stream_id) {
        return PesStart::Header(header);
    }
    let Some(&[.., control, _, data_len]) = bytes.first_chunk::<FIXED_LEN>() else { return PesStart::Incomplete };
    header.payload_offset = FIXED_LEN + usize::from(data_len);
    header.scrambled = control & 0x30 != 0;
    let Some(whole) = bytes.get(..header.payload_offset) else { return PesStart::Incomplete };
    let places = Places::of(whole);
    header.pts = places.pts.and_then(|place| read_stamp(whole.get(place..)?));
    header.dts = places.dts.and_then(|place| read_stamp(whole.get(place..)?));
    PesStart::Header(header)
}

/// Whether the flags and the stamps follow PES_packet_length (ISO/IEC 13818-1 table 2-21).
fn has_optional_header(stream_id: u8) -> bool {
    // Map, padding, private_stream_2, ECM, EMM, DSM-CC, H.222.1 type E, directory.
    !matches!(stream_id, 0xBC | 0xBE | 0xBF | 0xF0 | 0xF1 | 0xF2 | 0xF8 | 0xFF)
}

/// Where the time fields of a whole header with optional part stand; each is `None` when absent or cut off by
/// PES_header_data_length.
#[derive(Default)]
struct Places {
    pts: Option<usize>,
    dts: Option<usize>,
    escr: Option<usize>,
}

impl Places {
    fn of(header: &[u8]) -> Self {
        let mut places = Self::default();
        let Some(&flags) = header.get(7) else { return places };
        let mut at = FIXED_LEN;
        let mut field = |len: usize| {
            let place = at;
            at += len;
            (at <= header.len()).then_some(place)
        };
        // PTS_DTS_flags 01 is forbidden and has no fields.
        if flags & 0x80 != 0 {
            places.pts = field(STAMP_LEN);
            if flags & 0x40 != 0 {
                places.dts = field(STAMP_LEN);
            }
        }
        if flags & 0x20 != 0 {
            places.escr = field(ESCR_LEN);
        }
        places
    }
}

fn read_stamp(field: &[u8]) -> Option<Stamp> {
    let &[a, b, c, d, e] = field.first_chunk::<STAMP_LEN>()?;
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    Some(Stamp::wrapping((a >> 1 & 0x07) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1))
}

/// Writes `stamp` over a PTS or DTS field; the leading four bits and the marker bits stay.
fn write_stamp(field: &mut [u8; STAMP_LEN], stamp: Stamp) {
    let value = stamp.value();
    field[0] = field[0] & 0xF1 | ((value >> 29) as u8 & 0x0E);
    field[1] = (value >> 22) as u8;
    field[2] = field[2] & 0x01 | ((value >> 14) as u8 & 0xFE);
    field[3] = (value >> 7) as u8;
    field[4] = field[4] & 0x01 | ((value << 1) as u8 & 0xFE);
}

/// The five bytes of a PTS or DTS field that begins with the four bits `lead` (2 = PTS alone, 3 = PTS of two, 1 = DTS).
pub(crate) fn stamp_field(lead: u8, stamp: Stamp) -> [u8; STAMP_LEN] {
    let mut field = [lead << 4 | 1, 0, 1, 0, 1];
    write_stamp(&mut field, stamp);
    field
}

fn shift_escr(field: &mut [u8; ESCR_LEN], by: Span) {
    // rrbb bmbb bbbb bbbb bbbb bmbb bbbb bbbb bbbb bmee eeee eeem: base, marker and extension bits.
    let bits = field.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    let base = (bits >> 43 & 0x07) << 30 | (bits >> 27 & 0x7FFF) << 15 | bits >> 11 & 0x7FFF;
    let value = Stamp::wrapping(base).shifted(by).value();
    let fresh = (value >> 30) << 43 | (value >> 15 & 0x7FFF) << 27 | (value & 0x7FFF) << 11;
    let mask = 0x07 << 43 | 0x7FFF << 27 | 0x7FFF << 11;
    let [_, _, bytes @ ..] = (bits & !mask | fresh).to_be_bytes();
    *field = bytes;
}

/// Adds `by` to PTS, DTS and ESCR (modulo 2^33) in a slice that starts at the start of a PES packet. It does so only
/// where [`parse_pes`] finds a whole header; a slice that ends inside the header is left as it is, and
/// [`pes_stamp_patches`] serves once the header is assembled.
pub fn shift_pes_stamps(header: &mut [u8], by: Span) {
    let PesStart::Header(parsed) = parse_pes(header) else { return };
    if !has_optional_header(parsed.stream_id) {
        return;
    }
    let Some(whole) = header.get_mut(..parsed.payload_offset) else { return };
    let places = Places::of(whole);
    for place in [places.pts, places.dts].into_iter().flatten() {
        if let Some(field) = whole.get_mut(place..).and_then(<[u8]>::first_chunk_mut)
            && let Some(stamp) = read_stamp(field)
        {
            write_stamp(field, stamp.shifted(by));
        }
    }
    if let Some(field) = places.escr.and_then(|place| whole.get_mut(place..)?.first_chunk_mut()) {
        shift_escr(field, by);
    }
}

/// What [`shift_pes_stamps`] would change, for a header that was assembled from several packets: pairs of the offset
/// from the start of the PES packet and the new byte. `None` when the bytes hold no whole header.
#[must_use]
pub fn pes_stamp_patches(header_bytes: &[u8], by: Span) -> Option<Vec<(usize, u8)>> {
    let PesStart::Header(parsed) = parse_pes(header_bytes) else { return None };
    let before = header_bytes.get(..parsed.payload_offset)?;
    let mut after = before.to_vec();
    shift_pes_stamps(&mut after, by);
    let changed = before.iter().zip(after).enumerate().filter(|(_, (old, new))| *old != new);
    Some(changed.map(|(place, (_, new))| (place, new)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(flags: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0xE0, 0, 0, 0x80, flags, data.len() as u8];
        bytes.extend_from_slice(data);
        bytes
    }

    fn parsed(bytes: &[u8]) -> PesHeader {
        match parse_pes(bytes) {
            PesStart::Header(header) => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_header_written_by_ffmpeg() {
        // x264 in MPEG-TS: PTS 1.48 s = 133200, DTS 1.4 s = 126000.
        let bytes =
            [0, 0, 1, 0xE0, 0, 0, 0x80, 0xC0, 0x0A, 0x31, 0x00, 0x09, 0x10, 0xA1, 0x11, 0x00, 0x07, 0xD8, 0x61, 0x00];
        let header = parsed(&bytes);
        assert_eq!(header.pts, Some(Stamp::wrapping(133_200)));
        assert_eq!(header.dts, Some(Stamp::wrapping(126_000)));
        assert_eq!((header.stream_id, header.packet_length, header.payload_offset), (0xE0, 0, 19));
        assert!(!header.scrambled);
        assert_eq!(stamp_field(3, Stamp::wrapping(133_200)), bytes[9..14]);
        assert_eq!(stamp_field(1, Stamp::wrapping(126_000)), bytes[14..19]);
    }

    #[test]
    fn every_prefix_of_a_header_is_incomplete() {
        let mut data = stamp_field(3, Stamp::wrapping(5)).to_vec();
        data.extend(stamp_field(1, Stamp::wrapping(4)));
        let bytes = header(0xC0, &data);
        for len in 0..bytes.len() {
            assert_eq!(parse_pes(&bytes[..len]), PesStart::Incomplete, "{len} bytes");
            let mut cut = bytes[..len].to_vec();
            shift_pes_stamps(&mut cut, Span::from_ticks(1 << 20));
            assert_eq!(cut, &bytes[..len], "a cut header is not half shifted");
            assert_eq!(pes_stamp_patches(&cut, Span::from_ticks(1)), None);
        }
        assert_eq!(parse_pes(&[0, 0, 2]), PesStart::NotPes);
        assert_eq!(parse_pes(&[1]), PesStart::NotPes);
    }

    #[test]
    fn streams_without_optional_header() {
        for id in [0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF] {
            let mut bytes = vec![0, 0, 1, id, 0, 20, 0xBF, 0xFF, 5, 0x21, 0, 1, 0, 1];
            let before = bytes.clone();
            assert_eq!((parsed(&bytes).pts, parsed(&bytes).payload_offset), (None, 6), "{id:#x}");
            shift_pes_stamps(&mut bytes, Span::from_ticks(90_000));
            assert_eq!(bytes, before, "{id:#x}");
        }
    }

    #[test]
    fn header_data_too_short_for_its_flags() {
        let pts = stamp_field(3, Stamp::wrapping(77));
        let both = parsed(&header(0xC0, &pts));
        assert_eq!((both.pts, both.dts), (Some(Stamp::wrapping(77)), None));
        assert_eq!(parsed(&header(0x80, &pts[..4])).pts, None);
        assert_eq!(parsed(&header(0x40, &pts)).pts, None, "PTS_DTS_flags 01 is forbidden");
        let mut scrambled = header(0, &[]);
        scrambled[6] = 0xA0;
        assert!(parsed(&scrambled).scrambled);
    }

    #[test]
    fn escr_moves_with_the_stamps() {
        // Base 0x1_5555_5555, extension 0x0AA; reserved and marker bits set.
        let base = 0x1_5555_5555u64;
        let bits: u64 = 0b11 << 46
            | (base >> 30) << 43
            | 1 << 42
            | (base >> 15 & 0x7FFF) << 27
            | 1 << 26
            | (base & 0x7FFF) << 11
            | 1 << 10
            | 0x0AA << 1
            | 1;
        let mut field: [u8; 6] = bits.to_be_bytes()[2..].try_into().unwrap();
        let before = field;
        shift_escr(&mut field, Span::from_ticks(0x0AAA_AAAA_AAAB));
        let sum = Stamp::wrapping(base).shifted(Span::from_ticks(0x0AAA_AAAA_AAAB)).value();
        assert_eq!(sum, 0, "the wrap is met");
        let after = field.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        assert_eq!(after, 0b11 << 46 | 1 << 42 | 1 << 26 | 1 << 10 | 0x0AA << 1 | 1);
        shift_escr(&mut field, Span::from_ticks(-0x0AAA_AAAA_AAAB));
        assert_eq!(field, before);
    }

    proptest! {
        #[test]
        fn shifted_headers_read_shifted(
            pts in 0..Stamp::MODULUS, dts in 0..Stamp::MODULUS, by in any::<i32>(), stuffing in 0usize..30,
            escr: [u8; 6], flags in prop_oneof![Just(0xE0u8), Just(0xC0), Just(0xA0), Just(0x80), Just(0x20)],
        ) {
            let (pts, dts, by) = (Stamp::wrapping(pts), Stamp::wrapping(dts), Span::from_ticks(i64::from(by)));
            let mut data = Vec::new();
            if flags & 0x80 != 0 { data.extend(stamp_field(3, pts)); }
            if flags & 0x40 != 0 { data.extend(stamp_field(1, dts)); }
            if flags & 0x20 != 0 { data.extend(escr); }
            data.extend(vec![0xFF; stuffing]);
            let before = header(flags, &data);
            let mut after = before.clone();
            shift_pes_stamps(&mut after, by);
            prop_assert_eq!(parsed(&after).pts, parsed(&before).pts.map(|stamp| stamp.shifted(by)));
            prop_assert_eq!(parsed(&after).dts, parsed(&before).dts.map(|stamp| stamp.shifted(by)));
            if flags & 0x80 != 0 { prop_assert_eq!(parsed(&before).pts, Some(pts)); }

            let mut patched = before.clone();
            for (place, byte) in pes_stamp_patches(&before, by).unwrap() {
                patched[place] = byte;
            }
            prop_assert_eq!(&patched, &after);
            shift_pes_stamps(&mut after, by.negated());
            prop_assert_eq!(after, before);
        }

        #[test]
        fn no_header_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), by: i64, prefixed: bool) {
            if prefixed {
                bytes.splice(..0, [0, 0, 1]);
            }
            match parse_pes(&bytes) {
                PesStart::Header(header) => prop_assert!(header.payload_offset <= bytes.len()),
                PesStart::Incomplete => prop_assert!(bytes.len() < MAX_PES_HEADER),
                PesStart::NotPes => {}
            }
            let _ = pes_stamp_patches(&bytes, Span::from_ticks(by));
            shift_pes_stamps(&mut bytes, Span::from_ticks(by));
        }
    }
}
