//! Tests of the framer: known layouts, damage, refusals, and that no split of the input changes what comes out.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    /// The offset and a byte of the packet.
    Packet(u64, u8),
    Lost(Range<u64>, LostWhy),
}

#[derive(Default)]
struct Log(Vec<Call>);

impl PacketSink for Log {
    fn packet(&mut self, offset: u64, bytes: &[u8; PACKET_LEN]) {
        assert_eq!(bytes[0], SYNC_BYTE);
        self.0.push(Call::Packet(offset, bytes[187]));
    }

    fn lost(&mut self, range: Range<u64>, why: LostWhy) {
        self.0.push(Call::Lost(range, why));
    }
}

type Outcome = (Vec<Call>, Result<Option<Stride>, SyncError>);

/// The whole input at once, beginning at byte `base`.
fn at_once(input: &[u8], base: u64) -> Outcome {
    let (mut framer, mut log) = (Framer::new(), Log::default());
    let result = framer.push(input, base, EndOfInput::Reached, &mut log);
    if let Ok(consumed) = result {
        assert_eq!(consumed, input.len());
    }
    (log.0, result.map(|_| framer.stride()))
}

/// The input in pieces, the unconsumed rest presented again; the end is told with the last piece or after it.
fn in_pieces(input: &[u8], pieces: &[usize], late_end: bool) -> Outcome {
    let (mut framer, mut log) = (Framer::new(), Log::default());
    let (mut from, mut to) = (0, 0);
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        to = (to + pieces.next().unwrap_or(1).max(1)).min(input.len());
        let end = if to == input.len() && !late_end { EndOfInput::Reached } else { EndOfInput::NotYet };
        match framer.push(&input[from..to], from as u64, end, &mut log) {
            Ok(consumed) => from += consumed,
            Err(error) => return (log.0, Err(error)),
        }
        assert!(to - from < Framer::LOOKAHEAD, "a full lookahead makes progress");
        if to == input.len() {
            break;
        }
    }
    let result = framer.push(&input[from..], from as u64, EndOfInput::Reached, &mut log);
    (log.0, result.map(|_| framer.stride()))
}

/// `count` packets at `stride`, numbered in their last byte.
fn stream(stride: Stride, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..count {
        if stride == Stride::M2ts192 {
            out.extend([0, 0, n as u8, 0]);
        }
        let mut packet = [0x11; PACKET_LEN];
        packet[0] = SYNC_BYTE;
        packet[187] = n as u8;
        out.extend(packet);
        if stride == Stride::Fec204 {
            out.extend([0xEC; 16]);
        }
    }
    out
}

fn packets(stride: Stride, numbers: Range<usize>) -> Vec<Call> {
    let offset = |n: usize| (n * stride.len()) as u64 + stride.prefix();
    numbers.map(|n| Call::Packet(offset(n), n as u8)).collect()
}

#[test]
fn whole_streams_of_any_length() {
    for stride in Stride::ALL {
        for count in 1..12 {
            let (calls, result) = at_once(&stream(stride, count), 0);
            assert_eq!(calls, packets(stride, 0..count), "{stride:?} {count}");
            assert_eq!(result, Ok(Some(stride)), "{count}");
        }
    }
}

#[test]
fn a_last_packet_without_its_suffix_is_whole() {
    let mut input = stream(Stride::Fec204, 8);
    input.truncate(input.len() - 16);
    assert_eq!(at_once(&input, 0).0, packets(Stride::Fec204, 0..8));
}

#[test]
fn leading_garbage_is_one_range() {
    for stride in Stride::ALL {
        let mut input = vec![0x47; 3];
        input.extend([0x20; 997]);
        input.extend(stream(stride, 6));
        let (calls, result) = at_once(&input, 0);
        let mut expected = vec![Call::Lost(0..1000, LostWhy::LeadingGarbage)];
        expected.extend((0..6).map(|n| Call::Packet((1000 + n * stride.len()) as u64 + stride.prefix(), n as u8)));
        assert_eq!(calls, expected, "{stride:?}");
        assert_eq!(result, Ok(Some(stride)));
    }
}

#[test]
fn offsets_count_from_the_given_base() {
    let mut input = vec![1; 10];
    input.extend(stream(Stride::Ts188, 5));
    let (calls, _) = at_once(&input, 5000);
    assert_eq!(calls[0], Call::Lost(5000..5010, LostWhy::LeadingGarbage));
    assert_eq!(calls[1], Call::Packet(5010, 0));
}

#[test]
fn one_wrong_sync_byte_costs_one_packet() {
    for stride in Stride::ALL {
        // At the 20 places that a lock does not stand on, up to the very last packet.
        for bad in 5..20 {
            let mut input = stream(stride, 20);
            let place = bad * stride.len() + stride.prefix() as usize;
            input[place] = 0x46;
            let mut expected = packets(stride, 0..20);
            expected[bad] = Call::Lost(place as u64..place as u64 + 188, LostWhy::BadSync);
            assert_eq!(at_once(&input, 0).0, expected, "{stride:?} packet {bad}");
        }
    }
}

#[test]
fn neighbouring_losses_are_one_range() {
    for stride in Stride::ALL {
        for bad in 2..6 {
            let mut input = stream(stride, 30);
            let step = stride.len();
            let place = 10 * step + stride.prefix() as usize;
            for n in 0..bad {
                input[place + n * step] = 0;
            }
            let (calls, _) = at_once(&input, 0);
            let lost: Vec<_> = calls.iter().filter(|call| matches!(call, Call::Lost(..))).collect();
            let [Call::Lost(range, LostWhy::BadSync)] = lost[..] else { panic!("{lost:?}") };
            assert_eq!(range.start, place as u64);
            assert!(range.end as usize + 16 >= place + bad * step - stride.prefix() as usize, "{range:?}");
            assert_eq!(calls.len(), 30 - bad + 1);
        }
    }
}

#[test]
fn bytes_missing_or_added_are_found_out() {
    let clean = stream(Stride::Ts188, 40);
    for cut in 1..188 {
        let mut input = clean.clone();
        input.drain(10 * 188 + 50..10 * 188 + 50 + cut);
        let (calls, _) = at_once(&input, 0);
        // Packet 10 came out with the first bytes of its neighbours in it, if they were all there.
        let after = calls.iter().position(|call| matches!(call, Call::Lost(..))).unwrap();
        assert_eq!(after, 11);
        assert_eq!(calls[after], Call::Lost(11 * 188..(12 * 188 - cut) as u64, LostWhy::BadSync));
        assert_eq!(calls.len() - after - 1, 40 - 12);

        let mut input = clean.clone();
        input.splice(10 * 188..10 * 188, vec![0; cut]);
        let (calls, _) = at_once(&input, 0);
        assert_eq!(calls[10], Call::Lost(10 * 188..(10 * 188 + cut) as u64, LostWhy::BadSync));
        assert_eq!(calls.len(), 41);
    }
}

#[test]
fn a_good_packet_between_two_bad_ones_is_kept() {
    let mut input = stream(Stride::Ts188, 30);
    let mut expected = packets(Stride::Ts188, 0..30);
    for bad in [10, 12] {
        input[bad * 188] = 0;
        expected[bad] = Call::Lost(bad as u64 * 188..bad as u64 * 188 + 188, LostWhy::BadSync);
    }
    assert_eq!(at_once(&input, 0).0, expected);
}

#[test]
fn sync_is_found_again_close_to_the_end() {
    for left in 1..6 {
        let mut input = stream(Stride::Ts188, 20);
        let place = (20 - left) * 188;
        input.splice(place..place, [0; 100]);
        let (calls, _) = at_once(&input, 0);
        assert_eq!(calls.len(), 21, "{left} packets left");
        assert_eq!(calls[20 - left], Call::Lost(place as u64..place as u64 + 100, LostWhy::BadSync));
    }
}

#[test]
fn the_stride_may_change() {
    let mut input = stream(Stride::Ts188, 10);
    input.extend(stream(Stride::M2ts192, 10));
    let (calls, result) = at_once(&input, 0);
    assert_eq!(calls.len(), 20, "the first arrival time takes the place of nothing");
    assert_eq!(calls[10], Call::Packet(1884, 0));
    assert_eq!(result, Ok(Some(Stride::M2ts192)));
}

#[test]
fn arrival_times_may_look_like_sync_bytes() {
    let mut input = stream(Stride::M2ts192, 50);
    for packet in input.chunks_exact_mut(192) {
        packet[0] = SYNC_BYTE;
    }
    assert_eq!(at_once(&input, 0).0, packets(Stride::M2ts192, 0..50));
    // The same where the sync is lost and found.
    input[20 * 192 + 4..26 * 192].fill(0);
    let (calls, _) = at_once(&input, 0);
    assert_eq!(calls[20], Call::Lost(20 * 192 + 4..26 * 192, LostWhy::BadSync));
    assert_eq!(calls[21..], packets(Stride::M2ts192, 26..50));
}

#[test]
fn a_cut_tail_is_told() {
    for stride in Stride::ALL {
        for tail in 1..188 {
            for count in [1, 3, 9] {
                let mut input = stream(stride, count + 1);
                let place = count * stride.len() + stride.prefix() as usize;
                input.truncate(place + tail);
                let (calls, _) = at_once(&input, 0);
                let mut expected = packets(stride, 0..count);
                expected.push(Call::Lost(place as u64..(place + tail) as u64, LostWhy::TruncatedTail));
                assert_eq!(calls, expected, "{stride:?} {count} packets and {tail}");
            }
        }
    }
}

#[test]
fn what_is_no_transport_stream_is_refused() {
    let refused = |input: &[u8]| {
        let (calls, result) = at_once(input, 0);
        assert_eq!(calls, []);
        result.unwrap_err()
    };
    assert_eq!(refused(&[]), SyncError::NotTransportStream { offset: 0 });
    assert_eq!(refused(&[0x47; 100]), SyncError::NotTransportStream { offset: 100 });
    let text = "Greetings. Export the const GREETING: string = 'GGGG';\n".repeat(10);
    // Of exactly one packet's length, a text that begins with G cannot be told from a packet.
    for len in (1..text.len()).filter(|len| ![188, 204].contains(len)) {
        refused(&text.as_bytes()[..len]);
    }
    refused("import { Guard } from './Guard';\nexport class G { get(): G { return G }}\n".repeat(40_000).as_bytes());
    let mut mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41".to_vec();
    mp4.extend(stream(Stride::Ts188, 4));
    refused(&mp4);
    let mut too_late = vec![0; SYNC_SEARCH as usize];
    too_late.extend(stream(Stride::Ts188, 10));
    assert_eq!(refused(&too_late), SyncError::NotTransportStream { offset: SYNC_SEARCH });
    assert!(at_once(&too_late[1..], 0).1.is_ok());
}

#[test]
fn sync_bytes_everywhere_take_linear_time() {
    // Runs of four at every stride and place: each place is a candidate, and none is a lock.
    let mut input = stream(Stride::Ts188, 10);
    let mut hostile = vec![SYNC_BYTE; 4 << 20];
    for place in (0..hostile.len()).step_by(564) {
        let end = (place + 188).min(hostile.len());
        hostile[place..end].fill(0);
    }
    input.extend(&hostile);
    let (calls, result) = at_once(&input, 0);
    assert!(result.is_ok());
    assert!(calls.len() > 10);
    let (all, result) = at_once(&vec![SYNC_BYTE; 188 * 1000], 0);
    assert_eq!((all.len(), result), (1000, Ok(Some(Stride::Ts188))));
}

/// Pieces of input: packets at a stride, some damaged, and bytes with many 0x47 among them.
fn hostile_input() -> impl Strategy<Value = Vec<u8>> {
    let stride = prop_oneof![4 => Just(Stride::Ts188), 1 => Just(Stride::M2ts192), 1 => Just(Stride::Fec204)];
    let run = (stride, 1usize..16, proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4)).prop_map(
        |(stride, count, damage)| {
            let mut bytes = stream(stride, count);
            for (packet, value) in damage {
                let place = packet % count * stride.len() + stride.prefix() as usize;
                bytes[place] = value;
            }
            bytes
        },
    );
    let byte = prop_oneof![Just(SYNC_BYTE), Just(0u8), any::<u8>()];
    let noise = proptest::collection::vec(byte, 0..500);
    let same = (prop_oneof![Just(SYNC_BYTE), Just(0u8)], 0usize..3000).prop_map(|(byte, len)| vec![byte; len]);
    let piece = prop_oneof![6 => run, 2 => noise, 1 => same];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_split_changes_the_result(
        input in hostile_input(),
        pieces in proptest::collection::vec(prop_oneof![1usize..8, 100usize..300, 1000usize..3000], 1..20),
        late_end: bool,
    ) {
        prop_assert_eq!(in_pieces(&input, &pieces, late_end), at_once(&input, 0));
    }

    #[test]
    fn every_byte_is_accounted_for(input in hostile_input()) {
        let (calls, result) = at_once(&input, 0);
        let mut end = 0;
        let mut lost_before = false;
        for call in &calls {
            let (range, lost) = match call {
                Call::Packet(offset, _) => (*offset..offset + 188, false),
                Call::Lost(range, _) => (range.clone(), true),
            };
            prop_assert!(range.start >= end && range.start - end <= 20, "between {end} and {range:?}");
            prop_assert!(range.start < range.end);
            prop_assert!(!(lost && lost_before), "two ranges in a row");
            (end, lost_before) = (range.end, lost);
        }
        if result.is_ok() {
            prop_assert!(end <= input.len() as u64 && input.len() as u64 - end <= 20);
        } else {
            prop_assert!(calls.is_empty());
        }
    }
}
