//! The scan on small streams, sound and broken.

use proptest::prelude::*;

use super::*;
use crate::ladder::testing::{
    AUDIO, ID3, Movie, Pes, Picture, VIDEO, feed, other_adts, picture, pmt, scan, selections, usual_pmt,
};
use crate::ladder::{Access, AudioChoice, EpochTime, Unit};

const SECOND: i64 = 90_000;
const STEP: i64 = SECOND / 5;

/// Two seconds: key frames at 0 and 1 s, audio beside each picture.
fn movie() -> Movie {
    let mut movie = Movie::new(&usual_pmt());
    for number in 0..10 {
        let kind = if number % 5 == 0 { Picture::Idr } else { Picture::P };
        movie.pes(number * STEP, VIDEO, Pes::picture(SECOND + number * STEP, kind));
        movie.pes(number * STEP, AUDIO, Pes::audio(SECOND + number * STEP));
    }
    movie
}

fn units(events: &[(usize, Event)]) -> Vec<Unit> {
    let unit = |event: &(usize, Event)| if let Event::Unit(unit) = event.1 { Some(unit) } else { None };
    events.iter().filter_map(unit).collect()
}

fn pes_of(events: &[(usize, Event)], wanted: Pid) -> Vec<(u64, Option<EpochTime>)> {
    let pes = |event: &(usize, Event)| match event.1 {
        Event::Pes { pid, offset, at } if pid == wanted => Some((offset, at)),
        _ => None,
    };
    events.iter().filter_map(pes).collect()
}

/// The numbers of a PID's packets.
fn packets_of(bytes: &[u8], pid: Pid) -> Vec<usize> {
    let of = |(number, bytes): (usize, &[u8; 188])| Packet::new(bytes).filter(|one| one.pid() == pid).map(|_| number);
    bytes.as_chunks::<188>().0.iter().enumerate().filter_map(of).collect()
}

#[test]
fn units_and_pes_are_told_with_their_times() {
    let bytes = movie().build();
    let (scanner, events) = scan(&bytes);
    let units = units(&events);
    assert_eq!(units.len(), 10);
    let video = packets_of(&bytes, VIDEO);
    for (number, unit) in units.iter().enumerate() {
        assert_eq!(unit.offset, video[number] as u64 * 188);
        assert_eq!(unit.at.time.ticks(), SECOND + number as i64 * STEP);
        assert_eq!(unit.at.epoch, 0);
        assert_eq!(unit.access, if number % 5 == 0 { Access::Clean } else { Access::None });
        assert!(!unit.breaks);
    }
    let audio = pes_of(&events, AUDIO);
    assert_eq!(audio.len(), 10);
    assert_eq!(audio[3].1.map(|at| at.time.ticks()), Some(SECOND + 3 * STEP));
    assert_eq!(events.iter().filter(|one| matches!(one.1, Event::Video(_))).count(), 1);
    assert_eq!(events.iter().filter(|one| matches!(one.1, Event::Audio(_))).count(), 1);
    assert_eq!(scanner.faults().iter().count(), 0);
    assert_eq!(scanner.shortest_step(0), Some(Span::from_ticks(STEP)));
    assert_eq!((scanner.position(), scanner.stride()), (bytes.len() as u64, Some(Stride::Ts188)));
    let counts: Vec<_> = scanner.packet_counts().filter(|count| count.0 == VIDEO).collect();
    assert_eq!(counts, [(VIDEO, video.len() as u64)]);
}

#[test]
fn decoding_times_are_used_where_they_are() {
    let mut movie = Movie::new(&usual_pmt());
    for (number, shown) in [(0, 2), (1, 5), (2, 3), (3, 4)] {
        let mut pes = Pes::picture(shown * STEP, if number == 0 { Picture::Idr } else { Picture::P });
        pes.dts = Some(number * STEP);
        movie.pes(number * STEP, VIDEO, pes);
    }
    let units = units(&scan(&movie.build()).1);
    let times: Vec<_> = units.iter().map(|unit| (unit.decode.ticks() / STEP, unit.at.time.ticks() / STEP)).collect();
    assert_eq!(times, [(0, 2), (1, 5), (2, 3), (3, 4)]);
}

#[test]
fn access_is_told_by_the_content() {
    let kinds = [Picture::P, Picture::BareIdr, Picture::Open, Picture::P, Picture::BareIdr, Picture::Idr];
    let mut movie = Movie::new(&usual_pmt());
    for (number, kind) in kinds.iter().enumerate() {
        movie.pes(number as i64 * STEP, VIDEO, Pes::picture(number as i64 * STEP, *kind));
    }
    let (scanner, events) = scan(&movie.build());
    let access: Vec<_> = units(&events).iter().map(|unit| unit.access).collect();
    let bare = Access::NeedsParameterSets;
    assert_eq!(access, [Access::None, bare, Access::Open, Access::None, bare, Access::Clean]);
    assert_eq!(scanner.faults().count(FaultKind::MissingParameterSets), 2);
    assert_eq!(scanner.faults().count(FaultKind::BeforeFirstKeyFrame), 2);
}

#[test]
fn headers_and_heads_over_several_packets_are_put_together() {
    let whole = scan(&movie().build()).1;
    let mut long = Movie::new(&usual_pmt());
    for number in 0..10 {
        let kind = if number % 5 == 0 { Picture::Idr } else { Picture::P };
        // What comes before the first slice fills several packets.
        let mut payload = vec![0; 1000];
        payload.extend(picture(kind));
        let mut pes = Pes::new(SECOND + number * STEP, payload);
        pes.stuffing = 230;
        long.pes(number * STEP, VIDEO, pes);
    }
    let bytes = long.build();
    let (scanner, events) = scan(&bytes);
    let told = |units: &[Unit]| units.iter().map(|unit| (unit.at, unit.access)).collect::<Vec<_>>();
    assert_eq!(told(&units(&events)), told(&units(&whole)));
    let packets = bytes.as_chunks::<188>().0;
    let starts = |number: &usize| packets.get(*number).is_some_and(|bytes| bytes[1] & 0x40 != 0);
    let second = packets_of(&bytes, VIDEO).into_iter().filter(starts).nth(1);
    assert_eq!(Some(units(&events)[1].offset as usize / 188), second);
    assert_eq!(scanner.faults().iter().count(), 0);
}

#[test]
fn a_signalled_discontinuity_breaks_at_the_next_key_frame() {
    for place in [5, 6, 4] {
        let mut movie = Movie::new(&usual_pmt());
        for number in 0..15 {
            let mut pes = Pes::picture(number * STEP, if number % 5 == 0 { Picture::Idr } else { Picture::P });
            pes.discontinuity = number == place;
            movie.pes(number * STEP, VIDEO, pes);
        }
        let (scanner, events) = scan(&movie.build());
        let breaks: Vec<_> =
            units(&events).iter().enumerate().filter(|(_, unit)| unit.breaks).map(|(n, _)| n).collect();
        assert_eq!(breaks, [if place == 6 { 10 } else { 5 }], "signalled at {place}");
        assert_eq!(scanner.faults().count(FaultKind::SignalledDiscontinuity), 1);
    }
}

#[test]
fn jumps_and_new_parameters_break() {
    let mut movie = Movie::new(&usual_pmt());
    for number in 0..20 {
        let kind = match number {
            10.. if number % 5 == 0 => Picture::OtherIdr,
            _ if number % 5 == 0 => Picture::Idr,
            _ => Picture::P,
        };
        let by = if number >= 15 { 1000 * SECOND } else { 0 };
        movie.pes(number * STEP, VIDEO, Pes::picture(number * STEP + by, kind));
        let mut pes = Pes::audio(number * STEP + by);
        if number >= 18 {
            pes.payload = other_adts();
        }
        movie.pes(number * STEP, AUDIO, pes);
    }
    movie.pes(20 * STEP, VIDEO, Pes::picture(20 * STEP + 1000 * SECOND, Picture::OtherIdr));
    let (scanner, events) = scan(&movie.build());
    let breaks: Vec<_> = units(&events).iter().enumerate().filter(|(_, unit)| unit.breaks).map(|(n, _)| n).collect();
    assert_eq!(breaks, [10, 15, 20], "new video parameters, a jump, new audio parameters");
    assert_eq!(units(&events).iter().map(|unit| unit.at.epoch).max(), Some(1));
    assert_eq!(scanner.faults().count(FaultKind::TimestampJump), 1);
    assert_eq!(scanner.faults().count(FaultKind::StreamChange), 2);
    assert_eq!(events.iter().filter(|one| matches!(one.1, Event::Video(_))).count(), 2);
    assert_eq!(events.iter().filter(|one| matches!(one.1, Event::Audio(_))).count(), 2);
}

#[test]
fn damage_is_counted_with_its_place() {
    let good = movie().build();
    let video = packets_of(&good, VIDEO);
    let audio = packets_of(&good, AUDIO);
    let spoilt = |kind: FaultKind, spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        spoil(&mut bytes);
        let selection = selections(&good).remove(0);
        let mut scanner = Scanner::new(vec![(selection, Span::ZERO)]);
        feed(&bytes, &[usize::MAX], |bytes, end| scanner.push(bytes, end).ok());
        let tally = scanner.faults().iter().find(|one| one.0 == kind).map(|one| one.1.clone());
        let tally = tally.unwrap_or_else(|| panic!("no {}", kind.name()));
        (tally.count, tally.places[0], units(&scanner.take_events().collect::<Vec<_>>()).len())
    };
    let at = |number: usize| number * 188;
    let (count, place, units) = spoilt(FaultKind::ScrambledPacket, &|bytes| bytes[at(video[3]) + 3] |= 0x80);
    assert_eq!((count, place, units), (1, Place::packet(at(video[3]) as u64, VIDEO), 9));
    let (count, place, _) = spoilt(FaultKind::TransportError, &|bytes| bytes[at(audio[2]) + 1] |= 0x80);
    assert_eq!((count, place), (1, Place::packet(at(audio[2]) as u64, AUDIO)));
    let (count, place, units) =
        spoilt(FaultKind::ContinuityGap, &|bytes| drop(bytes.drain(at(video[3])..at(video[3] + 1))));
    assert_eq!((count, place.offset, units), (1, at(video[4]) as u64 - 188, 9));
    let (count, place, units) = spoilt(FaultKind::DuplicatePacket, &|bytes| {
        let packet = bytes[at(video[3])..at(video[3]) + 188].to_vec();
        bytes.splice(at(video[3])..at(video[3]), packet);
    });
    assert_eq!((count, place.offset, units), (1, at(video[3]) as u64 + 188, 10), "a duplicate is no second unit");
    let (count, _, units) =
        spoilt(FaultKind::BadPes, &|bytes| bytes[at(video[3]) + 188 - picture(Picture::P).len() - 14 + 2] = 9);
    assert_eq!((count, units), (1, 9));
    let (count, _, _) = spoilt(FaultKind::BadSection, &|bytes| bytes[188 + 20] ^= 1);
    assert_eq!(count, 1);
    let (count, place, _) = spoilt(FaultKind::TruncatedTail, &|bytes| bytes.truncate(good.len() - 10));
    assert_eq!((count, place.bytes), (1, 178));
    let (_, place, units) = spoilt(FaultKind::LostSync, &|bytes| drop(bytes.splice(at(20)..at(20), [1; 77])));
    assert_eq!((place.offset, place.bytes, units), (at(20) as u64, 77, 10));
    let (_, place, units) = spoilt(FaultKind::LeadingGarbage, &|bytes| drop(bytes.splice(0..0, [1; 77])));
    assert_eq!((place.offset, place.bytes, units), (0, 77, 10));
}

#[test]
fn lost_ranges_reach_to_the_next_packet() {
    let mut bytes = movie().build();
    bytes.splice(20 * 188..20 * 188, [1; 77]);
    bytes.truncate(bytes.len() - 10);
    let (mut scanner, _) = scan(&bytes);
    assert_eq!(scanner.take_lost(), vec![Range { start: 20 * 188, end: 20 * 188 + 77 }]);
    assert!(scanner.take_lost().is_empty());
}

#[test]
fn nothing_is_reported_settled_that_may_be_lost() {
    let mut bytes = movie().build();
    let from = 20 * 188;
    bytes.splice(from..from, [1; 3000]);
    let mut scanner = Scanner::new(vec![(selections(&bytes).remove(0), Span::ZERO)]);
    feed(&bytes, &[50], |bytes, end| {
        let consumed = scanner.push(bytes, end).expect("a stream");
        let told = scanner.take_lost();
        assert!(scanner.reported_up_to() <= from as u64 || scanner.reported_up_to() > from as u64 + 3000, "{told:?}");
        assert!(scanner.reported_up_to() <= scanner.position());
        Some(consumed)
    });
    assert_eq!(scanner.reported_up_to(), bytes.len() as u64);
}

#[test]
fn a_stream_that_leaves_in_the_middle_of_a_head_holds_nothing_up() {
    let selection = selections(&movie().build()).remove(0);
    let mut movie = Movie::new(&usual_pmt());
    // Audio in which no frame can be seen is collected until its next PES packet.
    movie.pes(0, AUDIO, Pes::new(0, vec![0x55; 100]));
    movie.pmt(1, pmt(1, 1, VIDEO, &[(0x1B, VIDEO)]));
    for number in 1..10 {
        movie.pes(number * STEP, VIDEO, Pes::picture(number * STEP, Picture::Idr));
    }
    let bytes = movie.build();
    let mut scanner = Scanner::new(vec![(selection, Span::ZERO)]);
    scanner.push(&bytes, EndOfInput::NotYet).expect("a stream");
    assert!(scanner.take_events().any(|one| matches!(one.1, Event::Streams { .. })));
    assert_eq!(scanner.reported_up_to(), scanner.position());
}

#[test]
fn a_shared_pid_serves_both_programs() {
    let second = pmt(2, 0, VIDEO, &[(0x0F, AUDIO)]);
    let mut movie = Movie::of(&[usual_pmt(), second]);
    for number in 0..10 {
        movie.pes(
            number * STEP,
            VIDEO,
            Pes::picture(number * STEP, if number == 0 { Picture::Idr } else { Picture::P }),
        );
        movie.pes(number * STEP, AUDIO, Pes::audio(number * STEP));
    }
    let (_, events) = scan(&movie.build());
    let of = |track: usize| events.iter().filter(|one| one.0 == track && matches!(one.1, Event::Unit(_))).count();
    assert_eq!((of(0), of(1)), (10, 10));
    assert_eq!(pes_of(&events, AUDIO).len(), 10);
}

#[test]
fn shifts_of_headers_in_two_packets_are_told_as_patches() {
    let mut movie = Movie::new(&usual_pmt());
    for number in 0..4 {
        let mut pes = Pes::picture(number * STEP, if number == 0 { Picture::Idr } else { Picture::P });
        pes.stuffing = if number == 2 { 200 } else { 0 };
        movie.pes(number * STEP, VIDEO, pes);
    }
    let bytes = movie.build();
    let selection = selections(&bytes).remove(0);
    let mut scanner = Scanner::new(vec![(selection.clone(), Span::from_ticks(90)), (selection, Span::ZERO)]);
    feed(&bytes, &[100], |bytes, end| scanner.push(bytes, end).ok());
    let patches = scanner.take_patches();
    assert!(!patches.is_empty());
    let packet = packets_of(&bytes, VIDEO)[2] as u64 * 188;
    assert!(patches.iter().all(|(track, at, _)| *track == 0 && (packet..packet + 188).contains(at)), "{patches:?}");
}

#[test]
fn captions_are_tallied() {
    let (scanner, _) = scan(&movie().build());
    let tally = scanner.captions(0);
    assert_eq!((tally.units, tally.with_captions), (10, 0));
    assert_eq!(scanner.captions(7).units, 0);
}

#[test]
fn id3_is_a_stream_beside_the_others() {
    let mut movie = movie();
    movie.pes(STEP, ID3, Pes::new(SECOND + STEP, b"ID3\x04\0\0\0\0\0\0".to_vec()));
    assert_eq!(pes_of(&scan(&movie.build()).1, ID3).len(), 1);
}

#[test]
fn one_stream_alone_can_be_looked_at() {
    let bytes = movie().build();
    let program = crate::ladder::testing::probe(&bytes).remove(0);
    let alone = program.alone(AUDIO).expect("audio");
    let mut scanner = Scanner::new(vec![(alone, Span::ZERO)]);
    feed(&bytes, &[usize::MAX], |bytes, end| scanner.push(bytes, end).ok());
    assert_eq!(units(&scanner.take_events().collect::<Vec<_>>()).len(), 10);
    assert!(program.select(&AudioChoice::First).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_events(
        pieces in proptest::collection::vec(1usize..2000, 1..8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
    ) {
        let mut bytes = movie().build();
        let selection = selections(&bytes).remove(0);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let run = |pieces: &[usize]| {
            let mut scanner = Scanner::new(vec![(selection.clone(), Span::from_ticks(90))]);
            let (mut events, mut lost, mut patches) = (Vec::new(), Vec::new(), Vec::new());
            feed(&bytes, pieces, |bytes, end| {
                let consumed = scanner.push(bytes, end).ok();
                events.extend(scanner.take_events().map(|event| format!("{event:?}")));
                lost.extend(scanner.take_lost());
                patches.extend(scanner.take_patches());
                consumed
            });
            let faults: Vec<_> = scanner.faults().iter().map(|(kind, tally)| (kind, tally.count, tally.bytes)).collect();
            (events, lost, patches, faults)
        };
        prop_assert_eq!(run(&pieces), run(&[usize::MAX]));
    }
}
