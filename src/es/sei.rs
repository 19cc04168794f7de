//! Supplemental enhancement information: recovery points (H.264 D.1.8) and closed captions (ATSC A/53 part 4, 6.2.3).

use super::annexb::without_emulation;

/// What an access unit says about CEA-608/708 captions (spec TS-015).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Captions {
    /// There is no caption data.
    #[default]
    None,
    /// There is room for captions, filled with padding only.
    Empty,
    /// There is at least one byte pair of captions.
    Present,
}

const USER_DATA_REGISTERED_ITU_T_T35: usize = 4;
const RECOVERY_POINT: usize = 6;

/// What the messages of one SEI NAL unit say.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sei {
    pub(super) recovery_point: bool,
    pub(super) captions: Captions,
}

/// Reads the messages that follow the NAL header (`nal` is without it, emulation prevention bytes still in). Stops at
/// the first message that does not fit.
pub(super) fn read(nal: &[u8]) -> Sei {
    let rbsp = without_emulation(nal);
    let mut rest: &[u8] = &rbsp;
    let mut sei = Sei::default();
    // A last byte of 0x80 is the RBSP's trailing bits, not a message.
    while rest.len() > 1 {
        let Some((kind, size, payload)) = message(rest) else { break };
        let Some((message, after)) = payload.split_at_checked(size) else { break };
        match kind {
            RECOVERY_POINT => sei.recovery_point = true,
            USER_DATA_REGISTERED_ITU_T_T35 => sei.captions = sei.captions.max(captions(message)),
            _ => {}
        }
        rest = after;
    }
    sei
}

/// Type and size of the message that `rest` begins with, and what follows them.
fn message(rest: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (kind, rest) = extended(rest)?;
    let (size, rest) = extended(rest)?;
    Some((kind, size, rest))
}

/// A number in bytes of 255 and a last one below that (7.3.2.3.1).
fn extended(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().position(|&byte| byte != 0xff)?;
    let (last, rest) = bytes.get(full..)?.split_first()?;
    Some((full * 255 + usize::from(*last), rest))
}

fn captions(t35: &[u8]) -> Captions {
    // itu_t_t35_country_code (United States), itu_t_t35_provider_code (ATSC), user_identifier, user_data_type_code.
    let Some([flags, _em_data, triplets @ ..]) = t35.strip_prefix(b"\xb5\x00\x31GA94\x03") else {
        return Captions::None;
    };
    let count = usize::from(flags & 0x1f);
    let process_cc_data = flags & 0x40 != 0;
    let holds_data = |triplet: &[u8]| {
        let [head, first, second] = triplet else { return false };
        let valid = head & 0x04 != 0;
        let cea_708 = head & 0x02 != 0;
        // CEA-608 fills up with pairs of zeros, which with odd parity are 0x80 0x80.
        valid && (cea_708 || (first | second) & 0x7f != 0)
    };
    if process_cc_data && triplets.chunks_exact(3).take(count).any(holds_data) {
        Captions::Present
    } else {
        Captions::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cc(flags: u8, triplets: &[[u8; 3]]) -> Vec<u8> {
        let mut message = b"\xb5\x00\x31GA94\x03".to_vec();
        message.extend([flags, 0xff]);
        message.extend(triplets.as_flattened());
        message.push(0xff);
        let mut nal = vec![4, message.len() as u8];
        nal.extend(message);
        nal.push(0x80);
        nal
    }

    #[test]
    fn captions_are_told_from_padding() {
        let padding = [0xfc, 0x80, 0x80];
        let pair = [0xfc, 0x94, 0x20];
        let cases = [
            (cc(0xc2, &[padding, pair]), Captions::Present),
            (cc(0xc1, &[padding, pair]), Captions::Empty), // the pair is beyond cc_count
            (cc(0xc2, &[padding, [0xfd, 0, 0]]), Captions::Empty),
            (cc(0xc1, &[[0xf8, 0x94, 0x20]]), Captions::Empty), // cc_valid is 0
            (cc(0xc1, &[[0xff, 0x02, 0x21]]), Captions::Present), // CEA-708
            (cc(0xc1, &[[0xfa, 0x00, 0x00]]), Captions::Empty),
            (cc(0x82, &[pair, pair]), Captions::Empty), // process_cc_data_flag is 0
            (cc(0xc0, &[]), Captions::Empty),
            (cc(0xc3, &[]), Captions::Empty), // cut short
        ];
        for (nal, expected) in cases {
            assert_eq!(read(&nal).captions, expected, "{nal:02x?}");
        }
        let mut other = cc(0xc1, &[pair]);
        other[5..9].copy_from_slice(b"DTG1");
        assert_eq!(read(&other).captions, Captions::None);
    }

    #[test]
    fn messages_follow_each_other_and_large_numbers_extend() {
        let mut nal = vec![5, 0xff, 0x01]; // user_data_unregistered, 256 bytes
        nal.extend([0x11; 256]);
        nal.extend([6, 1, 0xc4]);
        nal.extend(cc(0xc1, &[[0xfc, 0x94, 0x20]]));
        assert_eq!(read(&nal), Sei { recovery_point: true, captions: Captions::Present });
    }

    #[test]
    fn what_does_not_fit_is_left() {
        assert_eq!(read(&[6, 9, 0xc4]), Sei::default());
        assert_eq!(read(&[0xff, 0xff]), Sei::default());
        assert_eq!(read(&[6]), Sei::default());
    }
}
