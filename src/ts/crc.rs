//! CRC-32/MPEG-2: polynomial 0x04C11DB7, start 0xFFFFFFFF, not reflected, no final inversion (spec TS-007).

const POLYNOMIAL: u32 = 0x04C1_1DB7;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The CRC-32/MPEG-2 of `bytes`. Over a whole section with its CRC_32 field it is 0 (ISO/IEC 13818-1 annex A).
#[must_use]
pub fn crc32_mpeg2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        // The check value of the CRC catalogue, and two section bodies (spec section 9).
        assert_eq!(crc32_mpeg2(b"123456789"), 0x0376_E6E7);
        let pat = [0x00, 0xB0, 0x0D, 0x00, 0x01, 0xC1, 0x00, 0x00, 0x00, 0x01, 0xF0, 0x00];
        assert_eq!(crc32_mpeg2(&pat), 0x2AB1_04B2);
        let pmt = [
            0x02, 0xB0, 0x17, 0x00, 0x01, 0xC1, 0x00, 0x00, 0xE1, 0x00, 0xF0, 0x00, 0x1B, 0xE1, 0x00, 0xF0, 0x00, 0x0F,
            0xE1, 0x01, 0xF0, 0x00,
        ];
        assert_eq!(crc32_mpeg2(&pmt), 0x2F44_B99B);
        let mut whole = pmt.to_vec();
        whole.extend_from_slice(&0x2F44_B99Bu32.to_be_bytes());
        assert_eq!(crc32_mpeg2(&whole), 0);
    }
}
