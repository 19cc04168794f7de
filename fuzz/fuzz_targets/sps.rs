//! Sequence parameter sets of H.264 and HEVC: what is read of them is within the limits, and fit for a playlist.
//!
//! Byte 0 of the input is the codec, the rest the NAL unit.

#![no_main]

use keyrung::es::{Codec, Sniffed, sniff, video_info};
use keyrung::limits;
use keyrung::playlist::value::CodecString;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, nal)) = input.split_first() else { return };
    let codec = if how & 1 == 0 { Codec::H264 } else { Codec::Hevc };
    let Some(info) = video_info(codec, nal) else { return };
    assert_eq!(info.codec, codec);
    assert!((1..=limits::PICTURE_SIDE).contains(&info.width) && (1..=limits::PICTURE_SIDE).contains(&info.height));
    assert!(info.display_width > 0);
    if let Some(rate) = info.frame_rate {
        let rate = rate.per_second();
        assert!(rate > 0.0 && rate <= f64::from(limits::FRAME_RATE), "{rate} pictures a second");
    }
    CodecString::new(info.codecs).expect("a codec string that a playlist takes");
    // In a byte stream the same set is found again, and says what the stream is.
    if has_start_code(nal) || nal.last() == Some(&0) {
        return;
    }
    let stream = [&[0, 0, 1], nal, &[0, 0, 1, 0xFF]].concat();
    if matches!((codec, nal), (Codec::H264, [0x27 | 0x47 | 0x67, ..]) | (Codec::Hevc, [0x42, 0x01, ..])) {
        assert_eq!(sniff(&stream), Some(Sniffed::Known(codec)));
    }
});

fn has_start_code(nal: &[u8]) -> bool {
    nal.windows(3).any(|bytes| bytes == [0, 0, 1])
}
