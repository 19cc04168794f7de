//! The room on real streams (made with ffmpeg 5.1.9: x264 core 164, x265 3.5, its own audio encoders; expected values
//! from ffprobe) and on broken ones.

use proptest::prelude::*;

use super::*;

/// `testsrc2=s=320x180:r=25`, libx264 `-profile:v baseline -level 3.1`.
const H264_BASELINE_SPS: &str = "6742c01fd901419f9f011000000300100000030320f1832480";
/// `testsrc2=s=1920x1080:r=30000/1001`, libx264 `-preset ultrafast -profile:v high`.
const H264_1080_SPS: &str = "6742c028da01e0089f97011000003e90000ea600f1832a";
/// `testsrc2=s=720x576:r=25`, `setsar=64/45,interlace`, libx264 `+ilme+ildct`, `tff=1`.
const H264_INTERLACED_SPS: &str = "67640016acd900b424dff802000168800000030100000300190f8a14cb";
/// `testsrc2=s=320x180:r=25`, libx264 `open-gop=1`: parameter sets, recovery point SEI.
const H264_OPEN_SPS: &str = "6764000cacd941419f9f011000000300100000030320f1429960";
const H264_PPS: &str = "68ebe3cb22c0";
const H264_RECOVERY_POINT: &str = "060601c480";
const H264_I_SLICE_IDR: &str = "6588840047dae3985bd757da423e838996cbc51b4222ad82";
/// first_mb_in_slice 0, slice_type 7 (I); the same made P (5) below.
const H264_I_SLICE: &str = "418840a8bc2fe00160c4e72493ece77527ea070371eab504";
const H264_P_SLICE: &str = "419a384fe1d8b9309f8ae7c97584000741c4a61001118a00";

const HEVC_VPS: &str = "40010c01ffff01600000030090000003000003003c959809";
/// `testsrc2=s=320x180:r=25`, libx265.
const HEVC_MAIN_SPS: &str = "42010101600000030090000003000003003ca00a080b9f796566924caf016808000003000800000300c840";
const HEVC_PPS: &str = "4401c172b46240";
/// `testsrc2=s=1920x1080:r=50`, 10 bits, libx265 with smpte2084, bt2020nc and HRD parameters.
const HEVC_PQ_SPS: &str = "42010102200000030090000003000003007ba003c08010e4d96566924caf016a12201208000003000800000301930924c370007a12000f4244";
/// `testsrc2=s=854x480:r=24000/1001`, `setsar=4/3`, 10 bits, libx265 with arib-std-b67, `high-tier=1:level-idc=4.1`.
const HEVC_HLG_SPS: &str = "42010102200000030090000003000003007ba006b201e1d6d96565924caf0e6a0424040800001f480002ee0040";
const HEVC_IDR: &str = "2801af1d62f7637680627c25cc73bd49457ffcea7b018dc2";
const HEVC_CRA: &str = "2a01ac645b4971962f4643485a4217c0cf2059e4f02fa288";
const HEVC_TRAIL: &str = "0201d0294be10c638c5c4b39305f647767dd7554d406436c";

const SPS: [(Codec, &str); 7] = [
    (Codec::H264, H264_BASELINE_SPS),
    (Codec::H264, H264_1080_SPS),
    (Codec::H264, H264_INTERLACED_SPS),
    (Codec::H264, H264_OPEN_SPS),
    (Codec::Hevc, HEVC_MAIN_SPS),
    (Codec::Hevc, HEVC_PQ_SPS),
    (Codec::Hevc, HEVC_HLG_SPS),
];

/// First frames' headers: (codec, sniffed from, header, CODECS, rate, channels, samples, length of the frame).
type AudioVector = (Codec, &'static str, &'static str, u32, u8, u32, usize);
const AUDIO: [AudioVector; 9] = [
    (Codec::Aac, "fff14c4018fffcde", "mp4a.40.2", 48_000, 1, 1024, 199),
    (Codec::Aac, "fff15180327ffcde", "mp4a.40.2", 44_100, 6, 1024, 403),
    (Codec::Ac3, "0b77fe95144043e1", "ac-3", 48_000, 2, 1536, 768),
    (Codec::Ac3, "0b770dce5e40ebf8", "ac-3", 44_100, 6, 1536, 1950),
    (Codec::Eac3, "0b7701ff3f87c000", "ec-3", 48_000, 6, 1536, 1024),
    (Codec::Mp3, "fffb9464000001ee", "mp4a.40.34", 48_000, 2, 1152, 384),
    (Codec::Mp3, "fff340c400133062", "mp4a.40.34", 22_050, 1, 576, 104),
    (Codec::Mp2, "fffda40455333344", "mp4a.40.33", 48_000, 2, 1152, 576),
    (Codec::Mp2, "fffe480000000000", "mp4a.40.32", 32_000, 2, 384, 192), // by hand: layer I, 128 kbit/s at 32 kHz
];

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// A byte stream of the NAL units given in hex.
fn stream(nals: &[&str]) -> Vec<u8> {
    let mut out = vec![0];
    for nal in nals {
        out.extend([0, 0, 1]);
        out.extend(bytes(nal));
    }
    out
}

/// `count` frames that begin with `header` and are `len` bytes long. The filling has no sync words.
fn frames(header: &str, len: usize, count: usize) -> Vec<u8> {
    let mut frame = bytes(header);
    frame.resize(len, 0x11);
    frame.repeat(count)
}

/// Layer I is read, but not recognised.
fn sniffed(codec: Codec, codecs: &str) -> Option<Sniffed> {
    (codecs != "mp4a.40.32").then_some(Sniffed::Known(codec))
}

fn head(codec: Codec, payload: &[u8]) -> AccessUnitHead<'_> {
    match scan_head(codec, payload, PayloadEnd::More) {
        HeadScan::Complete(head) => head,
        HeadScan::NeedMore => panic!("needs more"),
    }
}

fn access(codec: Codec, nals: &[&str]) -> RandomAccess {
    head(codec, &stream(nals)).random_access
}

fn info(codec: Codec, sps: &str) -> VideoInfo {
    video_info(codec, &bytes(sps)).unwrap()
}

#[test]
fn h264_parameters() {
    let baseline = VideoInfo {
        codec: Codec::H264,
        codecs: "avc1.42c01f".into(),
        width: 320,
        height: 180,
        display_width: 320,
        frame_rate: Some(FrameRate { num: 25, den: 1 }),
        fixed_frame_rate: false,
        range: VideoRange::Sdr,
        scan: Scan::Progressive,
    };
    assert_eq!(info(Codec::H264, H264_BASELINE_SPS), baseline);
    let full_hd = info(Codec::H264, H264_1080_SPS);
    assert_eq!((full_hd.width, full_hd.height, full_hd.codecs.as_str()), (1920, 1080, "avc1.42c028"));
    assert_eq!(full_hd.frame_rate, Some(FrameRate { num: 30_000, den: 1001 }));
    let interlaced = info(Codec::H264, H264_INTERLACED_SPS);
    assert_eq!((interlaced.width, interlaced.height, interlaced.display_width), (720, 576, 1024));
    assert_eq!((interlaced.scan, interlaced.codecs.as_str()), (Scan::MaybeInterlaced, "avc1.640016"));
    assert_eq!(info(Codec::H264, H264_OPEN_SPS).codecs, "avc1.64000c");
}

#[test]
fn h264_with_a_level_too_low_or_a_broken_tail_is_still_known() {
    let mut low = bytes(H264_1080_SPS);
    low[3] = 10; // level 1 has 99 macroblocks
    let info = video_info(Codec::H264, &low).unwrap();
    assert_eq!((info.width, info.height, info.codecs.as_str()), (1920, 1080, "avc1.42c00a"));
    let whole = bytes(H264_1080_SPS);
    let info = video_info(Codec::H264, &whole[..13]).unwrap(); // ends in the VUI
    assert_eq!((info.width, info.height, info.frame_rate), (1920, 1080, None));
}

#[test]
fn hevc_parameters() {
    let main = VideoInfo {
        codec: Codec::Hevc,
        codecs: "hvc1.1.6.L60.90".into(),
        width: 320,
        height: 180,
        display_width: 320,
        frame_rate: Some(FrameRate { num: 25, den: 1 }),
        fixed_frame_rate: false,
        range: VideoRange::Sdr,
        scan: Scan::Progressive,
    };
    assert_eq!(info(Codec::Hevc, HEVC_MAIN_SPS), main);
    let pq = info(Codec::Hevc, HEVC_PQ_SPS);
    assert_eq!((pq.width, pq.height, pq.range), (1920, 1080, VideoRange::Pq));
    assert_eq!((pq.codecs.as_str(), pq.frame_rate), ("hvc1.2.4.L123.90", Some(FrameRate { num: 50, den: 1 })));
    let hlg = info(Codec::Hevc, HEVC_HLG_SPS);
    assert_eq!((hlg.width, hlg.height, hlg.display_width), (854, 480, 1139));
    assert_eq!((hlg.range, hlg.frame_rate), (VideoRange::Hlg, Some(FrameRate { num: 24_000, den: 1001 })));
}

#[test]
fn frame_rates_that_are_clocks_are_not_believed() {
    assert_eq!(FrameRate::new(180_000, 2), None);
    assert_eq!(FrameRate::new(0, 2), None);
    assert_eq!(FrameRate::new(50, 0), None);
    assert_eq!(FrameRate::new(u64::from(u32::MAX), 2), None);
    assert_eq!(FrameRate::new(600, 2), Some(FrameRate { num: 300, den: 1 }));
    assert!((FrameRate { num: 30_000, den: 1001 }.per_second() - 29.97).abs() < 0.001);
}

#[test]
fn h264_access_units() {
    let (sps, pps) = (H264_OPEN_SPS, H264_PPS);
    let unit = stream(&["09f0", sps, pps, H264_I_SLICE_IDR]);
    let head = head(Codec::H264, &unit);
    assert_eq!(head.random_access, RandomAccess::Idr);
    assert_eq!(head.sps, Some(bytes(sps).as_slice()));
    assert!(head.has_aud && head.slice_is_first);
    assert_eq!(unit[head.nal_offset_of_slice.unwrap()], 0x65);
    let access = |nals: &[&str]| access(Codec::H264, nals);
    assert_eq!(access(&["09f0", H264_I_SLICE_IDR]), RandomAccess::IdrWithoutParameterSets);
    assert_eq!(access(&["09f0", sps, H264_I_SLICE_IDR]), RandomAccess::IdrWithoutParameterSets);
    assert_eq!(access(&["09f0", sps, pps, H264_RECOVERY_POINT, H264_I_SLICE]), RandomAccess::RecoveryPoint);
    assert_eq!(access(&[sps, pps, H264_RECOVERY_POINT, H264_P_SLICE]), RandomAccess::None);
    assert_eq!(access(&[sps, pps, H264_I_SLICE]), RandomAccess::None);
    assert_eq!(access(&[H264_RECOVERY_POINT, H264_I_SLICE]), RandomAccess::None);
    assert_eq!(access(&["09f0", H264_P_SLICE]), RandomAccess::None);
}

#[test]
fn hevc_access_units() {
    let sets = [HEVC_VPS, HEVC_MAIN_SPS, HEVC_PPS];
    let access = |nals: &[&str]| access(Codec::Hevc, nals);
    let with_sets = |slice| access(&["460110", sets[0], sets[1], sets[2], slice]);
    assert_eq!(with_sets(HEVC_IDR), RandomAccess::Idr);
    assert_eq!(with_sets("2601af1d"), RandomAccess::Idr); // IDR_W_RADL
    assert_eq!(with_sets("2001af1d"), RandomAccess::Idr); // BLA_W_LP
    assert_eq!(with_sets(HEVC_CRA), RandomAccess::RecoveryPoint);
    assert_eq!(with_sets(HEVC_TRAIL), RandomAccess::None);
    assert_eq!(with_sets("28012f1d"), RandomAccess::None); // first_slice_segment_in_pic_flag is 0
    assert_eq!(access(&[sets[1], sets[2], HEVC_IDR]), RandomAccess::IdrWithoutParameterSets);
    assert_eq!(access(&[HEVC_CRA]), RandomAccess::None);
    // A slice of an enhancement layer is not what the unit begins with.
    assert_eq!(access(&[sets[0], sets[1], sets[2], "2809af1d", HEVC_IDR]), RandomAccess::Idr);
}

#[test]
fn captions_before_the_first_slice_count() {
    let sei = "0603ff";
    let captions = "06040eb500314741393403c1fffc9420ff80"; // 14 bytes of T.35
    let unit = stream(&[H264_OPEN_SPS, H264_PPS, sei, captions, H264_P_SLICE]);
    assert_eq!(head(Codec::H264, &unit).captions, Captions::Present);
    let unit = stream(&["4e01040eb500314741393403c1fffc8080ff80", HEVC_TRAIL]);
    assert_eq!(head(Codec::Hevc, &unit).captions, Captions::Empty);
    let unit = stream(&[H264_P_SLICE, captions]);
    assert_eq!(head(Codec::H264, &unit).captions, Captions::None);
}

#[test]
fn payloads_that_begin_inside_a_picture() {
    let mut inside = vec![0x5a; 3];
    inside.extend(stream(&[H264_OPEN_SPS, H264_PPS, H264_I_SLICE_IDR]));
    assert_eq!(head(Codec::H264, &inside), AccessUnitHead::default());
    // first_mb_in_slice is 3 (00100).
    let unit = stream(&[H264_OPEN_SPS, H264_PPS, "6524ff"]);
    let head = head(Codec::H264, &unit);
    assert_eq!((head.random_access, head.slice_is_first), (RandomAccess::None, false));
}

#[test]
fn payloads_without_a_slice() {
    let unit = stream(&["09f0", H264_OPEN_SPS, H264_PPS]);
    assert_eq!(scan_head(Codec::H264, &unit, PayloadEnd::More), HeadScan::NeedMore);
    let HeadScan::Complete(head) = scan_head(Codec::H264, &unit, PayloadEnd::Whole) else { panic!("is whole") };
    assert_eq!((head.random_access, head.sps.is_some(), head.slice_is_first), (RandomAccess::None, true, false));
    for payload in [&[][..], &[0, 0], &[0, 0, 1]] {
        assert_eq!(scan_head(Codec::Hevc, payload, PayloadEnd::More), HeadScan::NeedMore);
        let whole = scan_head(Codec::Hevc, payload, PayloadEnd::Whole);
        assert_eq!(whole, HeadScan::Complete(AccessUnitHead::default()));
    }
    let audio = scan_head(Codec::Aac, &[0, 0], PayloadEnd::More);
    assert_eq!(audio, HeadScan::Complete(AccessUnitHead::default()));
}

#[test]
fn pictures_are_counted() {
    let two = stream(&["09f0", H264_OPEN_SPS, H264_PPS, H264_I_SLICE_IDR, "6524ff", "0930", H264_P_SLICE]);
    assert_eq!(count_access_units(Codec::H264, &two), 2);
    let two = stream(&[HEVC_IDR, "28012f1d", HEVC_TRAIL]);
    assert_eq!(count_access_units(Codec::Hevc, &two), 2);
    assert_eq!(count_access_units(Codec::H264, &[1, 2, 3]), 0);
    assert_eq!(count_access_units(Codec::Id3, b"ID3\x04"), 1);
}

#[test]
fn audio_frames_at_the_start() {
    for (codec, header, codecs, sample_rate, channels, frame_samples, frame_len) in AUDIO {
        let expected = AudioInfo { codec, codecs: codecs.into(), sample_rate, channels, frame_samples, frame_len };
        let one = frames(header, frame_len, 1);
        assert_eq!(audio_info(codec, &one).as_ref(), Some(&expected), "{header}");
        assert_eq!(audio_info(codec, &one[..8]).as_ref(), Some(&expected), "{header}");
        assert_eq!(sniff(&one), sniffed(codec, codecs), "{header}");
        assert_eq!(count_access_units(codec, &frames(header, frame_len, 5)), 5, "{header}");
        // What follows is not a frame.
        let mut wrong = one.clone();
        wrong.extend([0x22; 16]);
        assert_eq!(audio_info(codec, &wrong), None, "{header}");
        assert_eq!(sniff(&wrong), None, "{header}");
    }
}

#[test]
fn audio_frames_after_the_middle_of_one() {
    for (codec, header, codecs, .., frame_len) in AUDIO {
        let three = frames(header, frame_len, 3);
        let inside = &three[20..];
        let found = audio_info(codec, &frames(header, frame_len, 3)[20..]).unwrap();
        assert_eq!(found, audio_info(codec, &three).unwrap(), "{header}");
        assert_eq!(count_access_units(codec, inside), 2, "{header}");
        assert_eq!(audio_info(codec, &inside[..frame_len]), None, "{header}: one header inside is no evidence");
        assert_eq!(sniff(inside), None, "{header}: nor are two, when nothing is known");
        assert_eq!(sniff(&frames(header, frame_len, 4)[20..]), sniffed(codec, codecs), "{header}");
    }
}

#[test]
fn audio_of_another_format_is_not_taken() {
    for (codec, header, .., frame_len) in AUDIO {
        for (other, ..) in AUDIO {
            assert_eq!(
                audio_info(other, &frames(header, frame_len, 3)).is_some(),
                other == codec,
                "{other} in {header}"
            );
        }
    }
}

#[test]
fn frame_lengths_do_not_change_the_configuration() {
    let info = |header: &str, len| audio_info(Codec::Aac, &frames(header, len, 1)).unwrap();
    let (short, long) = (info("fff14c4018fffcde", 199), info("fff14c401f1ffcde", 248));
    assert_ne!(short, long);
    assert!(short.same_configuration(&long));
    assert!(!short.same_configuration(&info("fff1508018fffcde", 199)));
}

#[test]
fn dependent_substreams_are_not_frames_of_their_own() {
    let (independent, dependent) = (frames("0b7701ff3f87c000", 1024, 1), frames("0b7741ff3f87c000", 1024, 1));
    let payload = [&independent[..], &dependent, &independent, &dependent].concat();
    assert_eq!(count_access_units(Codec::Eac3, &payload), 2);
    assert_eq!(audio_info(Codec::Eac3, &payload).unwrap().frame_len, 1024);
    assert_eq!(audio_info(Codec::Eac3, &payload[1024..]), audio_info(Codec::Eac3, &payload));
}

#[test]
fn formats_by_content() {
    let known = |codec| Some(Sniffed::Known(codec));
    assert_eq!(sniff(&stream(&["09f0", H264_P_SLICE])), known(Codec::H264));
    assert_eq!(sniff(&stream(&[H264_OPEN_SPS, H264_PPS])), known(Codec::H264));
    assert_eq!(sniff(&stream(&[H264_P_SLICE])), None);
    assert_eq!(sniff(&stream(&["460150", HEVC_TRAIL])), known(Codec::Hevc));
    assert_eq!(sniff(&stream(&[HEVC_VPS, HEVC_MAIN_SPS])), known(Codec::Hevc));
    assert_eq!(sniff(&stream(&[HEVC_MAIN_SPS, HEVC_PPS])), known(Codec::Hevc));
    assert_eq!(sniff(&stream(&[HEVC_TRAIL])), None);
    assert_eq!(sniff(b"ID3\x04\x00\x00\x00\x00\x00\x3f"), known(Codec::Id3));
    // mpeg2video, 320x180.
    assert_eq!(sniff(&bytes("000001b31400b433ffffe018000001b5148a0001")), Some(Sniffed::Mpeg2Video));
    // VVC access unit delimiter, then a picture header.
    assert_eq!(sniff(&bytes("0000000100a1280000010099")), Some(Sniffed::Vvc));
    assert_eq!(sniff(&bytes("7ffe8001fc3c")), Some(Sniffed::Dts));
    let mut loas = bytes("56e003aabbcc").repeat(3);
    assert_eq!(sniff(&loas), Some(Sniffed::Latm));
    loas[6] = 0;
    assert_eq!(sniff(&loas), None);
    // Teletext, DVB subtitles, SMPTE 336 KLV, stuffing, nothing.
    for other in ["102c0255", "2000", "060e2b3402050101", "ffffffffffffffff", "0000000000000000", ""] {
        assert_eq!(sniff(&bytes(other)), None, "{other}");
    }
}

/// Bytes in which start codes, headers and parameter sets are likely.
fn hostile_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "000001", "00000001", "0000", "00", "03", "80", "09f0", "6524ff", "0604", "4e0104", "460110", "b3",
            H264_OPEN_SPS, H264_PPS, H264_RECOVERY_POINT, H264_I_SLICE_IDR, H264_I_SLICE, H264_P_SLICE,
            HEVC_VPS, HEVC_HLG_SPS, HEVC_PPS, HEVC_IDR, HEVC_CRA, HEVC_TRAIL,
            "06040eb500314741393403c1fffc9420ff80", "56e003", "fff14c4018fffcde", "0b77fe95144043e1", "fffda404",
        ]).prop_map(bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![
        Codec::H264,
        Codec::Hevc,
        Codec::Aac,
        Codec::Ac3,
        Codec::Eac3,
        Codec::Mp3,
        Codec::Mp2,
        Codec::Id3,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_longer_payload_gives_the_same_head(payload in hostile_stream(), codec in any_codec()) {
        let mut known = None;
        for end in 0..=payload.len() {
            let found = scan_head(codec, &payload[..end], PayloadEnd::More);
            match (known, found) {
                (Some(known), found) => prop_assert_eq!(known, found, "at {} bytes", end),
                (None, HeadScan::Complete(_)) => known = Some(found),
                (None, HeadScan::NeedMore) => {}
            }
        }
        let whole = scan_head(codec, &payload, PayloadEnd::Whole);
        prop_assert_ne!(whole, HeadScan::NeedMore);
        if let Some(known) = known {
            prop_assert_eq!(known, whole);
        }
    }

    #[test]
    fn mutated_parameter_sets_do_no_harm(
        which in prop::sample::select(SPS.to_vec()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (codec, hex) = which;
        let mut nal = bytes(hex);
        for (at, value) in flips {
            let at = at.index(nal.len());
            nal[at] = value;
        }
        for end in [nal.len(), cut.index(nal.len())] {
            if let Some(info) = video_info(codec, &nal[..end]) {
                prop_assert!(info.width > 0 && info.height > 0 && info.display_width > 0);
                prop_assert!(info.width <= crate::limits::PICTURE_SIDE);
                prop_assert!(info.codecs.starts_with("avc1.") || info.codecs.starts_with("hvc1."));
            }
        }
    }

    #[test]
    fn nothing_panics(payload in prop_oneof![hostile_stream(), prop::collection::vec(any::<u8>(), 0..600)], codec in any_codec()) {
        let _ = sniff(&payload);
        let _ = video_info(codec, &payload);
        prop_assert!(count_access_units(codec, &payload) <= payload.len());
        if let Some(info) = audio_info(codec, &payload) {
            prop_assert!(info.codec == codec && info.frame_len > 0 && info.sample_rate > 0);
        }
    }
}
