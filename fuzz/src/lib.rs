//! What the targets share: checksums that mutations break, put right again.

use keyrung::ts::{PACKET_LEN, SYNC_BYTE, crc32_mpeg2};

/// Puts sync bytes at every 188th byte, and the right length and CRC_32 into every section of PAT or PMT that begins in a
/// packet and fits in it. Without this few mutations would come past the checksum.
pub fn mend(bytes: &mut [u8]) {
    for packet in bytes.chunks_exact_mut(PACKET_LEN) {
        packet[0] = SYNC_BYTE;
        let payload = match packet[3] >> 4 & 3 {
            1 => 4,
            3 => 5 + usize::from(packet[4]),
            _ => continue,
        };
        let Some(&pointer) = packet.get(payload) else { continue };
        let section = packet.get_mut(payload + 1 + usize::from(pointer)..).unwrap_or_default();
        if packet_starts_table(section) {
            mend_section(section);
        }
    }
}

fn packet_starts_table(section: &[u8]) -> bool {
    // A PES packet of any kind begins 00 00 01, which no section header of a PAT does.
    matches!(section, [0 | 2, second, ..] if second & 0xF0 == 0xB0)
}

/// Writes the CRC_32 where section_length puts it. A length that does not fit becomes the longest that does.
pub fn mend_section(section: &mut [u8]) {
    if section.len() < 12 {
        return;
    }
    let announced = 3 + (usize::from(section[1] & 0x0F) << 8 | usize::from(section[2]));
    let end = announced.clamp(12, section.len());
    let [high, low] = ((end - 3) as u16).to_be_bytes();
    section[1] = section[1] & 0xF0 | high & 0x0F;
    section[2] = low;
    let crc = crc32_mpeg2(&section[..end - 4]);
    section[end - 4..end].copy_from_slice(&crc.to_be_bytes());
}
