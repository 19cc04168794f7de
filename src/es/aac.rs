//! ADTS headers (ISO/IEC 14496-3 1.A.2.2).

use super::Codec;
use super::audio::{Format, Frame, Object};

pub(super) const FORMAT: Format = Format { sync: 0xff, header: 7, read };

/// samplingFrequencyIndex (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

fn read(bytes: &[u8]) -> Option<Frame> {
    let &[sync, flags, b2, b3, b4, b5, b6] = bytes.first_chunk()?;
    // syncword, any ID (MPEG-4 or MPEG-2), layer 0.
    if sync != 0xff || flags & 0xf6 != 0xf0 {
        return None;
    }
    let header = if flags & 1 == 1 { 7 } else { 9 }; // protection_absent, or a CRC
    let profile = b2 >> 6;
    let sample_rate = *SAMPLE_RATES.get(usize::from((b2 >> 2) & 0x0f))?;
    let channel_configuration = (b2 & 1) << 2 | b3 >> 6;
    let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    if len <= header {
        return None;
    }
    Some(Frame {
        codec: Codec::Aac,
        object: Object::Mpeg4(profile + 1),
        sample_rate,
        channels: if channel_configuration == 7 { 8 } else { channel_configuration },
        samples: 1024 * (u32::from(b6 & 3) + 1), // number_of_raw_data_blocks_in_frame is one less
        len,
        independent: true,
    })
}
