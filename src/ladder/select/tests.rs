//! What streams are taken for, and which of them a rendition carries.

use super::*;
use crate::ladder::testing::{AUDIO, ID3, VIDEO, pmt, usual_pmt};
use crate::ts::StreamType;

fn stream(kind: u8, info: &[u8]) -> PmtStream {
    PmtStream { stream_type: StreamType(kind), pid: AUDIO, info: info.to_vec() }
}

fn descriptor(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag, body.len() as u8], body].concat()
}

fn language_of(code: &[u8; 3]) -> Vec<u8> {
    descriptor(tag::LANGUAGE, &[code[0], code[1], code[2], 0])
}

/// Chooses with every stream being what the PMT says, and seen.
fn choose(pmt: &Pmt, audio: &AudioChoice) -> Result<Selection, LadderError> {
    let content = |entry: &PmtStream| (identify(declared(entry, &pmt.program_info), &Seen::Unknown), Seen::Unknown);
    select(pmt, content, audio)
}

#[test]
fn stream_types_say_what_streams_are() {
    let carried =
        [(0x1B, Codec::H264), (0x24, Codec::Hevc), (0x0F, Codec::Aac), (0x81, Codec::Ac3), (0x87, Codec::Eac3)];
    let more = [(0x84, Codec::Eac3), (0x03, Codec::Mp3), (0x04, Codec::Mp3), (0x15, Codec::Id3)];
    for (kind, codec) in carried.into_iter().chain(more) {
        assert_eq!(declared(&stream(kind, &[]), &[]), Some(Content::Carried(codec)), "{kind:#x}");
    }
    for kind in [0x01, 0x02, 0x10, 0x11, 0x20, 0x33, 0x42, 0x82, 0x86, 0xEA, 0xDB, 0xCF] {
        assert!(matches!(declared(&stream(kind, &[]), &[]), Some(Content::Other(_))), "{kind:#x}");
    }
    for kind in [0x00, 0x05, 0x06, 0x0B, 0xFF] {
        assert_eq!(declared(&stream(kind, &[]), &[]), None, "{kind:#x}");
    }
}

#[test]
fn hdmv_gives_types_other_meanings() {
    let hdmv = descriptor(tag::REGISTRATION, b"HDMV");
    for (kind, name) in [(0x80, "LPCM"), (0x83, "TrueHD"), (0x86, "DTS-HD MA"), (0x90, "PGS subtitles")] {
        assert_eq!(declared(&stream(kind, &[]), &hdmv), Some(Content::Other(name.to_owned())));
    }
    assert_eq!(declared(&stream(0x80, &[]), &[]), None);
}

#[test]
fn private_data_is_told_by_its_descriptors() {
    let carried: [(u8, &[u8], Codec); 5] = [
        (tag::AC3, &[0], Codec::Ac3),
        (tag::E_AC3, &[0], Codec::Eac3),
        (tag::REGISTRATION, b"AC-3", Codec::Ac3),
        (tag::REGISTRATION, b"EAC3", Codec::Eac3),
        (tag::REGISTRATION, b"HEVC", Codec::Hevc),
    ];
    for (tag, body, codec) in carried {
        let info = [descriptor(tag::STREAM_IDENTIFIER, &[1]), descriptor(tag, body)].concat();
        assert_eq!(declared(&stream(0x06, &info), &[]), Some(Content::Carried(codec)));
    }
    let others: [(u8, &[u8]); 4] =
        [(tag::TELETEXT, &[0; 5]), (tag::SUBTITLING, &[0; 8]), (tag::DTS, &[0; 5]), (tag::REGISTRATION, b"KLVA")];
    for (tag, body) in others {
        assert!(matches!(declared(&stream(0x06, &descriptor(tag, body)), &[]), Some(Content::Other(_))));
    }
    let other_metadata = descriptor(tag::METADATA, b"\xFF\xFFKLVA\xFFKLVA\0\x0F");
    assert!(matches!(declared(&stream(0x15, &other_metadata), &[]), Some(Content::Other(_))));
    let id3 = descriptor(tag::METADATA, b"\xFF\xFFID3 \xFFID3 \0\x0F");
    assert_eq!(declared(&stream(0x15, &id3), &[]), Some(Content::Carried(Codec::Id3)));
}

#[test]
fn content_decides_where_it_was_seen() {
    let aac = Seen::As(Sniffed::Known(Codec::Aac));
    let other = |name: &str| Some(Content::Other(name.to_owned()));
    assert_eq!(identify(Some(Content::Carried(Codec::Mp3)), &aac), Content::Carried(Codec::Aac));
    assert_eq!(identify(None, &aac), Content::Carried(Codec::Aac));
    assert_eq!(identify(other("AAC in LATM"), &aac), Content::Carried(Codec::Aac));
    assert_eq!(identify(other("DVB subtitles"), &aac), Content::Other("DVB subtitles".to_owned()));
    let latm = identify(Some(Content::Carried(Codec::Aac)), &Seen::As(Sniffed::Latm));
    assert_eq!(latm, Content::Other(Sniffed::Latm.name().to_owned()));
    for seen in [Seen::Nothing, Seen::Scrambled, Seen::Unknown] {
        assert_eq!(identify(Some(Content::Carried(Codec::Mp3)), &seen), Content::Carried(Codec::Mp3));
        assert_eq!(identify(None, &seen), Content::Other("private data".to_owned()));
    }
}

#[test]
fn the_usual_program_is_carried_whole() {
    let selection = choose(&usual_pmt(), &AudioChoice::First).expect("something to play");
    assert_eq!((selection.main, selection.pcr_pid, selection.clock_only()), (VIDEO, VIDEO, false));
    let roles: Vec<_> = selection.streams.iter().map(|one| (one.pid, one.role)).collect();
    assert_eq!(roles, [(VIDEO, Role::Video), (AUDIO, Role::Audio), (ID3, Role::Data)]);
    assert!(selection.left_out.is_empty());
    assert_eq!(selection.role(Role::Audio).map(|one| one.codec), Some(Codec::Aac));
}

#[test]
fn one_stream_of_a_kind_is_carried_and_the_others_are_named() {
    let second = Pid::masked(0x111);
    let streams = [(0x81, second), (0x1B, VIDEO), (0x0F, AUDIO), (0x24, Pid::masked(0x110)), (0x06, ID3)];
    let mut pmt = pmt(1, 0, Pid::masked(0x1F0), &streams);
    pmt.streams[0].info = language_of(b"DEU");
    pmt.streams[2].info = language_of(b"eng");
    let first = choose(&pmt, &AudioChoice::First).expect("something to play");
    assert_eq!(first.role(Role::Audio).map(|one| one.pid), Some(second));
    assert_eq!(first.role(Role::Audio).and_then(|one| one.language.clone()), Some("deu".to_owned()));
    assert!(first.clock_only());
    let left: Vec<_> = first.left_out.iter().map(|one| (one.pid.value(), one.why)).collect();
    assert_eq!(left, [(0x101, Why::OneOfRole), (0x110, Why::OneOfRole), (0x102, Why::NotCarried)]);
    for choice in [AudioChoice::Language("eng".to_owned()), AudioChoice::Pid(AUDIO)] {
        let chosen = choose(&pmt, &choice).expect("that audio");
        assert_eq!(chosen.role(Role::Audio).map(|one| one.pid), Some(AUDIO));
        assert_eq!(chosen.left_out[0].why, Why::NotChosen);
    }
    for choice in [AudioChoice::Language("fra".to_owned()), AudioChoice::Pid(VIDEO)] {
        let error = choose(&pmt, &choice).expect_err("no such audio");
        assert!(matches!(&error, LadderError::NoSuchAudio { program: 1, .. }), "{error}");
        assert!(error.to_string().contains("AC-3 on PID 0x0111"), "{error}");
    }
}

#[test]
fn what_did_not_come_or_is_scrambled_is_left_out() {
    let pmt = usual_pmt();
    for (seen, why) in [(Seen::Nothing, Why::Absent), (Seen::Scrambled, Why::Scrambled)] {
        let content = |entry: &PmtStream| {
            let content = identify(declared(entry, &[]), &Seen::Unknown);
            (content, if entry.pid == VIDEO { seen.clone() } else { Seen::Unknown })
        };
        let selection = select(&pmt, content, &AudioChoice::First).expect("audio");
        assert_eq!((selection.main, selection.left_out[0].why), (AUDIO, why));
        // Its clock is kept.
        assert!(selection.clock_only());
        let nothing = select(&pmt, |entry| (content(entry).0, seen.clone()), &AudioChoice::First);
        let error = nothing.expect_err("nothing to play").to_string();
        assert!(error.contains("H.264 on PID 0x0100") && error.contains(&why.to_string()), "{error}");
    }
    // Metadata alone is nothing to play.
    let error = choose(&crate::ladder::testing::pmt(1, 0, ID3, &[(0x15, ID3)]), &AudioChoice::First);
    assert!(matches!(error, Err(LadderError::NothingPlayable { program: 1, .. })));
}

#[test]
fn the_output_announces_the_truth_and_no_scrambling() {
    let ca = descriptor(tag::CA, &[0, 1, 2, 3]);
    let ac3 = descriptor(tag::AC3, &[0]);
    let mut pmt = pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x06, AUDIO)]);
    pmt.streams[1].info = [ca.clone(), ac3.clone(), language_of(b"eng")].concat();
    let pointer = descriptor(tag::METADATA_POINTER, b"pointer");
    pmt.program_info =
        [descriptor(tag::REGISTRATION, b"HDMV"), ca, pointer.clone(), descriptor(tag::REGISTRATION, b"CUEI")].concat();
    let selection = choose(&pmt, &AudioChoice::First).expect("something to play");
    let audio = selection.role(Role::Audio).expect("audio");
    assert_eq!(audio.entry.stream_type.0, 0x81);
    assert_eq!(audio.entry.info, [ac3, language_of(b"eng")].concat());
    assert_eq!(selection.program_info, pointer);
    // ADTS under 0x04.
    let lying = crate::ladder::testing::pmt(1, 0, AUDIO, &[(0x04, AUDIO)]);
    let aac = |_: &PmtStream| (Content::Carried(Codec::Aac), Seen::As(Sniffed::Known(Codec::Aac)));
    let selection = select(&lying, aac, &AudioChoice::First).expect("audio");
    assert_eq!(selection.streams[0].entry.stream_type.0, 0x0F);
}

#[test]
fn audio_choices_are_read() {
    assert_eq!("0x101".parse(), Ok(AudioChoice::Pid(AUDIO)));
    assert_eq!("257".parse(), Ok(AudioChoice::Pid(AUDIO)));
    assert_eq!("ENG".parse(), Ok(AudioChoice::Language("eng".to_owned())));
    for wrong in ["", "en", "english", "8192", "0x2000", "-1", "é12"] {
        assert!(wrong.parse::<AudioChoice>().is_err(), "{wrong}");
    }
}

#[test]
fn languages_are_three_letters() {
    assert_eq!(language(&language_of(b"Fra")), Some("fra".to_owned()));
    assert_eq!(language(&language_of(b"f\"a")), None);
    assert_eq!(language(&descriptor(tag::LANGUAGE, b"f")), None);
    assert_eq!(language(&[]), None);
}

#[test]
fn the_same_streams_are_no_change() {
    let one = choose(&usual_pmt(), &AudioChoice::First).expect("something to play");
    let mut described = usual_pmt();
    described.streams[1].info = language_of(b"eng");
    assert!(one.same_streams(&choose(&described, &AudioChoice::First).expect("something to play")));
    for other in [
        pmt(1, 0, AUDIO, &[(0x1B, VIDEO), (0x0F, AUDIO), (0x15, ID3)]),
        pmt(1, 0, VIDEO, &[(0x1B, VIDEO), (0x0F, AUDIO)]),
        pmt(1, 0, VIDEO, &[(0x24, VIDEO), (0x0F, AUDIO), (0x15, ID3)]),
    ] {
        assert!(!one.same_streams(&choose(&other, &AudioChoice::First).expect("something to play")));
    }
}
