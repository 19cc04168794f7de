//! What a probe finds in small streams.

use proptest::prelude::*;

use super::*;
use crate::es::Codec;
use crate::ladder::select::Role;
use crate::ladder::testing::{AUDIO, ID3, Movie, Pes, Picture, VIDEO, adts, feed, pmt, probe, usual_pmt};

const STEP: i64 = 18_000;

/// Two seconds of what the PMT says.
fn movie(pmt: &Pmt) -> Movie {
    let mut movie = Movie::new(pmt);
    fill(&mut movie, 10);
    movie
}

fn fill(movie: &mut Movie, pictures: i64) {
    for number in 0..pictures {
        let kind = if number % 5 == 0 { Picture::Idr } else { Picture::P };
        movie.pes(number * STEP, VIDEO, Pes::picture(number * STEP, kind));
        movie.pes(number * STEP, AUDIO, Pes::new(number * STEP, adts().repeat(3)));
    }
}

fn seen(bytes: &[u8], pid: Pid) -> (Content, Seen) {
    probe(bytes)[0].known(pid)
}

#[test]
fn content_is_recognised() {
    let bytes = movie(&usual_pmt()).build();
    let programs = probe(&bytes);
    assert_eq!(programs.len(), 1);
    assert_eq!((programs[0].pmt.program, programs[0].pmt_pid), (1, Pid::masked(0x1000)));
    let known = |codec| (Content::Carried(codec), Seen::As(Sniffed::Known(codec)));
    assert_eq!(seen(&bytes, VIDEO), known(Codec::H264));
    assert_eq!(seen(&bytes, AUDIO), known(Codec::Aac));
    // No ID3 has come, which may yet.
    assert_eq!(seen(&bytes, ID3), (Content::Carried(Codec::Id3), Seen::Nothing));
    let selection = programs[0].select(&AudioChoice::First).expect("something to play");
    assert_eq!(selection.streams.len(), 3);
}

#[test]
fn a_pmt_may_lie() {
    let bytes = movie(&pmt(1, 0, VIDEO, &[(0x24, VIDEO), (0x04, AUDIO)])).build();
    assert_eq!(seen(&bytes, VIDEO).0, Content::Carried(Codec::H264));
    assert_eq!(seen(&bytes, AUDIO).0, Content::Carried(Codec::Aac));
    let bytes = movie(&pmt(1, 0, VIDEO, &[(0x06, VIDEO), (0x06, AUDIO)])).build();
    assert_eq!(seen(&bytes, VIDEO).0, Content::Carried(Codec::H264));
    assert_eq!(seen(&bytes, AUDIO).0, Content::Carried(Codec::Aac));
}

#[test]
fn audio_that_begins_inside_a_frame_is_recognised() {
    let mut movie = Movie::new(&usual_pmt());
    let stream = adts().repeat(40);
    for (number, piece) in stream[100..].chunks(1500).enumerate() {
        movie.pes(number as i64 * STEP, AUDIO, Pes::new(number as i64 * STEP, piece.to_vec()));
        movie.pes(number as i64 * STEP, VIDEO, Pes::picture(number as i64 * STEP, Picture::Idr));
    }
    assert_eq!(seen(&movie.build(), AUDIO).1, Seen::As(Sniffed::Known(Codec::Aac)));
}

#[test]
fn absent_and_scrambled_streams_are_told() {
    let mut bytes = movie(&pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO), (0x81, Pid::masked(0x200))])).build();
    assert_eq!(seen(&bytes, Pid::masked(0x200)), (Content::Carried(Codec::Ac3), Seen::Nothing));
    for packet in bytes.as_chunks_mut::<188>().0 {
        if Packet::new(packet).is_some_and(|packet| packet.pid() == AUDIO) {
            packet[3] |= 0x80;
        }
    }
    assert_eq!(seen(&bytes, AUDIO), (Content::Carried(Codec::Aac), Seen::Scrambled));
    let selection = probe(&bytes)[0].select(&AudioChoice::First).expect("video");
    assert_eq!(selection.left_out.iter().map(|one| one.why).collect::<Vec<_>>(), [Why::Scrambled, Why::Absent]);
}

#[test]
fn what_nobody_knows_is_private_data() {
    let mut movie = Movie::new(&pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x06, AUDIO)]));
    movie.pes(0, VIDEO, Pes::picture(0, Picture::Idr));
    for number in 0..10 {
        movie.pes(number * STEP, AUDIO, Pes::new(number * STEP, vec![0x5A; 1000]));
    }
    assert_eq!(seen(&movie.build(), AUDIO), (Content::Other("private data".to_owned()), Seen::Unknown));
}

#[test]
fn programs_come_in_the_order_of_the_pat() {
    let (one, two) = (pmt(7, 0, VIDEO, &[(0x1B, VIDEO)]), pmt(3, 0, AUDIO, &[(0x0F, AUDIO)]));
    let mut movie = Movie::of(&[one, two]);
    fill(&mut movie, 5);
    let bytes = movie.build();
    let numbers = |bytes: &[u8]| probe(bytes).iter().map(|program| program.pmt.program).collect::<Vec<_>>();
    assert_eq!(numbers(&bytes), [7, 3]);
    // The PMTs may come the other way round.
    let mut swapped = bytes.clone();
    swapped[188..376].copy_from_slice(&bytes[376..564]);
    swapped[376..564].copy_from_slice(&bytes[188..376]);
    assert_eq!(numbers(&swapped), [7, 3]);
}

#[test]
fn a_stream_without_tables_has_no_program() {
    let bytes = movie(&usual_pmt()).build().split_off(376);
    let mut probe = Probe::new();
    let (consumed, probed) = probe.push(&bytes, EndOfInput::Reached).expect("packets");
    assert_eq!((consumed, probed), (bytes.len(), Probed::Enough));
    let error = probe.finish().expect_err("no program");
    assert!(matches!(error, LadderError::NoProgram { searched } if searched == bytes.len() as u64));
    assert!(Probe::new().push(&vec![0; 3 << 20], EndOfInput::NotYet).is_err());
}

#[test]
fn no_more_is_read_than_is_needed() {
    let mut long = Movie::new(&pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO)]));
    fill(&mut long, 100);
    let bytes = long.build();
    let needed = |bytes: &[u8]| {
        let (mut probe, mut read) = (Probe::new(), None);
        feed(bytes, &[188], |bytes, end| {
            let (consumed, probed) = probe.push(bytes, end).expect("a stream");
            if probed == Probed::Enough {
                read.get_or_insert(probe.position);
            }
            Some(consumed)
        });
        read.expect("enough")
    };
    assert!(needed(&bytes) < 20 * 188, "{} bytes", needed(&bytes));
    // A stream that is listed and does not come is waited for, but not for ever.
    let mut waiting = Movie::new(&pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO), (0x81, Pid::masked(0x200))]));
    fill(&mut waiting, 100);
    let bytes = waiting.build();
    let read = needed(&bytes) as usize;
    assert!(read > bytes.len() / 3 && read < bytes.len(), "{read} of {} bytes", bytes.len());
}

#[test]
fn choosing_again_keeps_what_was_seen() {
    let first = pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x04, AUDIO), (0x81, Pid::masked(0x200))]);
    let bytes = movie(&first).build();
    let before = probe(&bytes)[0].select(&AudioChoice::First).expect("something to play");
    assert_eq!(before.role(Role::Audio).map(|one| one.codec), Some(Codec::Aac));
    // The same again, with another version: no change.
    assert_eq!(reselect(&Pmt { version: 5, ..first.clone() }, &before), None);
    // A new stream that changes nothing for the rendition.
    let mut more = first.clone();
    more.streams.push(pmt(1, 0, VIDEO, &[(0x06, ID3)]).streams.remove(0));
    assert_eq!(reselect(&more, &before), None);
    // Metadata is added; the lying audio stays what it was seen to be, the absent one stays absent.
    more.streams.push(pmt(1, 0, VIDEO, &[(0x15, Pid::masked(0x300))]).streams.remove(0));
    let after = reselect(&more, &before).expect("a change");
    assert_eq!(after.role(Role::Audio).map(|one| one.codec), Some(Codec::Aac));
    assert_eq!(after.streams.len(), 3);
    assert!(after.left_out.iter().any(|one| one.why == Why::Absent));
    // The audio leaves: the absent one is still not taken.
    let mut fewer = first.clone();
    fewer.streams.remove(1);
    assert_eq!(reselect(&fewer, &before).expect("a change").streams.len(), 1);
    // Nothing to play: the old choice stands.
    assert_eq!(reselect(&pmt(1, 1, VIDEO, &[(0x06, ID3)]), &before), None);
    assert_eq!(reselect(&fewer, &Selection { chosen_from: None, ..before }), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_finds_the_same(
        pieces in proptest::collection::vec(1usize..3000, 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
    ) {
        let mut bytes = movie(&usual_pmt()).build();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let find = |pieces: &[usize]| {
            let mut probe = Probe::new();
            feed(&bytes, pieces, |bytes, end| probe.push(bytes, end).ok().map(|done| done.0));
            let programs = probe.finish().map_err(|error| error.to_string());
            programs.map(|programs| programs.iter().map(|program| format!("{program:?}")).collect::<Vec<_>>())
        };
        prop_assert_eq!(find(&pieces), find(&[usize::MAX]));
    }
}
