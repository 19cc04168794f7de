//! AC-3 and E-AC-3 sync frames (ETSI TS 102 366 4.3 and E.1.2). Both begin with 0x0B77; bsid tells them apart.

use super::Codec;
use super::audio::{Format, Frame, Object};

pub(super) const FORMAT: Format = Format { sync: 0x0b, header: 8, read };

/// fscod (4.4.1.3).
const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// frmsizecod / 2 (table 4.13), in kbit/s.
const BIT_RATES: [usize; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
/// acmod (table 4.3): full-bandwidth channels.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
/// numblkscod (E.1.3.1.4): blocks of 256 samples.
const BLOCKS: [u32; 4] = [1, 2, 3, 6];

fn read(bytes: &[u8]) -> Option<Frame> {
    let header: &[u8; 8] = bytes.first_chunk()?;
    if !header.starts_with(&[0x0b, 0x77]) {
        return None;
    }
    match header[5] >> 3 {
        0..=10 => ac3(header),
        11..=16 => eac3(header),
        _ => None,
    }
}

fn ac3(header: &[u8; 8]) -> Option<Frame> {
    let &[_, _, _, _, rates, identification, modes, rest] = header;
    let fscod = usize::from(rates >> 6);
    let frmsizecod = usize::from(rates & 0x3f);
    let sample_rate = *SAMPLE_RATES.get(fscod)?;
    let bit_rate = *BIT_RATES.get(frmsizecod / 2)?;
    // A frame is 1536 samples, in 16-bit words; at 44.1 kHz some are padded by one.
    let words = match fscod {
        0 => bit_rate * 2,
        1 => bit_rate * 320 / 147 + frmsizecod % 2,
        _ => bit_rate * 3,
    };
    // bsid 9 and 10 are for half and quarter of the sample rate, with the same frame sizes.
    let slower = (identification >> 3).saturating_sub(8);
    let acmod = modes >> 5;
    // Two-bit mix levels stand between acmod and lfeon, which of them depends on acmod (4.3.2).
    let centre = acmod & 1 == 1 && acmod != 1;
    let surround = acmod & 4 != 0;
    let dolby_surround = acmod == 2;
    let skipped = 3 + 2 * (u32::from(centre) + u32::from(surround) + u32::from(dolby_surround));
    let lfeon = (u16::from_be_bytes([modes, rest]) >> (15 - skipped)) & 1;
    Some(Frame {
        codec: Codec::Ac3,
        object: Object::Ac3,
        sample_rate: sample_rate >> slower,
        channels: channels(acmod, lfeon == 1)?,
        samples: 1536,
        len: words * 2,
        independent: true,
    })
}

fn eac3(header: &[u8; 8]) -> Option<Frame> {
    let &[_, _, size_high, size_low, modes, ..] = header;
    let strmtyp = size_high >> 6;
    let substreamid = (size_high >> 3) & 7;
    let len = (usize::from(size_high & 7) << 8 | usize::from(size_low)) * 2 + 2;
    let (fscod, second) = (modes >> 6, (modes >> 4) & 3);
    let (sample_rate, blocks) = match SAMPLE_RATES.get(usize::from(fscod)) {
        Some(&rate) => (rate, *BLOCKS.get(usize::from(second))?),
        None => (*SAMPLE_RATES.get(usize::from(second))? / 2, 6), // fscod2
    };
    if strmtyp == 3 || len <= header.len() {
        return None;
    }
    Some(Frame {
        codec: Codec::Eac3,
        object: Object::Eac3,
        sample_rate,
        channels: channels((modes >> 1) & 7, modes & 1 == 1)?,
        samples: 256 * blocks,
        len,
        // The main programme: other substreams add channels to it, or are programmes of their own.
        independent: strmtyp != 1 && substreamid == 0,
    })
}

fn channels(acmod: u8, lfe: bool) -> Option<u8> {
    CHANNELS.get(usize::from(acmod)).map(|full| full + u8::from(lfe))
}
