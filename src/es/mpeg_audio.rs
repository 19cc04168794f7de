//! MPEG audio headers, layers I to III (ISO/IEC 11172-3 2.4.1.3, 13818-3 2.4.1.3, and the "2.5" extension).

use super::Codec;
use super::audio::{Format, Frame, Object};

pub(super) const FORMAT: Format = Format { sync: 0xff, header: 4, read };

/// What layer I is called in CODECS; layers II and III follow.
pub(super) const LAYER_1: Object = Object::Mpeg4(32);

/// Rates of MPEG-1; MPEG-2 has half of them, 2.5 a quarter.
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];

/// bitrate_index 1 to 14, in kbit/s.
type BitRates = [u16; 14];
const MPEG1_LAYER1: BitRates = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const MPEG1_LAYER2: BitRates = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const MPEG1_LAYER3: BitRates = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_LAYER1: BitRates = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const MPEG2_LAYER2_3: BitRates = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

fn read(bytes: &[u8]) -> Option<Frame> {
    let &[sync, flags, rates, modes] = bytes.first_chunk()?;
    if sync != 0xff || flags & 0xe0 != 0xe0 {
        return None;
    }
    let (mpeg1, slower) = match flags >> 3 & 3 {
        3 => (true, 0),
        2 => (false, 1),
        0 => (false, 2),
        _ => return None,
    };
    let layer = 4 - (flags >> 1 & 3); // 4 is reserved
    let table = match (layer, mpeg1) {
        (1, true) => &MPEG1_LAYER1,
        (2, true) => &MPEG1_LAYER2,
        (3, true) => &MPEG1_LAYER3,
        (1, false) => &MPEG2_LAYER1,
        (2 | 3, false) => &MPEG2_LAYER2_3,
        _ => return None,
    };
    // Free format (0) has no length in its header; 15 is forbidden.
    let bit_rate = usize::from(*table.get(usize::from(rates >> 4).checked_sub(1)?)?) * 1000;
    let sample_rate = SAMPLE_RATES.get(usize::from(rates >> 2 & 3))? >> slower;
    let padding = usize::from(rates >> 1 & 1);
    if modes & 3 == 2 {
        return None; // reserved emphasis
    }
    let rate = usize::try_from(sample_rate).ok()?;
    let (samples, len) = match (layer, mpeg1) {
        (1, _) => (384, (12 * bit_rate / rate + padding) * 4),
        (3, false) => (576, 72 * bit_rate / rate + padding),
        _ => (1152, 144 * bit_rate / rate + padding),
    };
    Some(Frame {
        codec: if layer == 3 { Codec::Mp3 } else { Codec::Mp2 },
        object: Object::Mpeg4(31 + layer), // 32 to 34: layers I to III
        sample_rate,
        channels: if modes >> 6 == 3 { 1 } else { 2 },
        samples,
        len,
        independent: true,
    })
}
