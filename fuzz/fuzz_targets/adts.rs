//! Audio frames of every kind, and the recognition of what a payload holds.

#![no_main]

use keyrung::es::{Codec, Sniffed, audio_info, count_access_units, sniff};
use keyrung::playlist::value::CodecString;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    for codec in [Codec::Aac, Codec::Ac3, Codec::Eac3, Codec::Mp3, Codec::Mp2] {
        let frames = count_access_units(codec, payload);
        let Some(info) = audio_info(codec, payload) else {
            assert_eq!(frames, 0, "{codec}: frames without parameters");
            continue;
        };
        assert_eq!(info.codec, codec);
        assert!(frames > 0, "{codec}: parameters without frames");
        assert!(info.sample_rate > 0 && info.frame_samples > 0 && info.frame_len > 0, "{info:?}");
        assert!(frames <= payload.len(), "{codec}: {frames} frames");
        assert!(info.same_configuration(&info.clone()));
        CodecString::new(info.codecs).expect("a codec string that a playlist takes");
    }
    match sniff(payload) {
        // Of E-AC-3, a dependent substream may come first, and it has no parameters of its own.
        Some(Sniffed::Known(codec)) if codec.is_audio() && codec != Codec::Eac3 => {
            assert!(audio_info(codec, payload).is_some(), "{codec} without parameters");
        }
        Some(other) => assert!(!other.name().is_empty()),
        None => {}
    }
});
