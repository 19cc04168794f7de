//! NAL units of a byte stream: start codes (H.264 and HEVC Annex B) and emulation prevention (7.4.1).

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

static START_CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0, 0, 1]));

/// One NAL unit of a byte stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Nal<'a> {
    /// Offset of its first byte (the NAL header) in the payload.
    pub offset: usize,
    /// Header and content, emulation prevention bytes still in, trailing zero bytes off.
    pub bytes: &'a [u8],
    /// Whether the next start code was seen; otherwise more of the unit may follow the payload.
    pub complete: bool,
}

/// The offset just after the first start code (`00 00 01`) at or after `from`.
#[must_use]
pub fn after_start_code(payload: &[u8], from: usize) -> Option<usize> {
    let found = START_CODE.find(payload.get(from..)?)?;
    Some(from + found + 3)
}

/// The NAL unit whose first byte is at `offset`, and the offset of the one after it.
#[must_use]
pub fn nal_at(payload: &[u8], offset: usize) -> (Nal<'_>, Option<usize>) {
    let next = after_start_code(payload, offset);
    let end = next.map_or(payload.len(), |next| next - 3);
    let bytes = payload.get(offset..end).unwrap_or_default();
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    (Nal { offset, bytes: bytes.get(..used).unwrap_or_default(), complete: next.is_some() }, next)
}

/// The NAL units of `payload` in order. Bytes before the first start code are passed over.
#[must_use]
pub fn nals(payload: &[u8]) -> Nals<'_> {
    Nals { payload, next: after_start_code(payload, 0) }
}

/// Iterator over NAL units: see [`nals`].
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    payload: &'a [u8],
    next: Option<usize>,
}

impl<'a> Iterator for Nals<'a> {
    type Item = Nal<'a>;

    fn next(&mut self) -> Option<Nal<'a>> {
        let (nal, next) = nal_at(self.payload, self.next?);
        self.next = next;
        Some(nal)
    }
}

/// How a payload begins, as far as start codes tell.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With a start code; the offset is that of the first NAL unit.
    Nal(usize),
    /// With something else: the payload begins inside a NAL unit.
    Inside,
    /// Zero bytes only, so far.
    Unknown,
}

/// How `payload` begins. Any number of zero bytes may stand before the start code (leading_zero_8bits).
pub(super) fn start(payload: &[u8]) -> Start {
    match payload.iter().position(|&byte| byte != 0) {
        Some(zeros) if zeros >= 2 && payload.get(zeros) == Some(&1) => Start::Nal(zeros + 1),
        Some(_) => Start::Inside,
        None => Start::Unknown,
    }
}

/// The bytes of a NAL unit without the emulation prevention bytes.
pub(super) fn without_emulation(nal: &[u8]) -> Cow<'_, [u8]> {
    let mut zeros = 0;
    let mut out: Option<Vec<u8>> = None;
    for (at, &byte) in nal.iter().enumerate() {
        if byte == 3 && zeros >= 2 {
            zeros = 0;
            out.get_or_insert_with(|| nal.get(..at).unwrap_or_default().to_vec());
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        if let Some(out) = &mut out {
            out.push(byte);
        }
    }
    out.map_or(Cow::Borrowed(nal), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nal_units_with_both_start_codes_and_trailing_zeros() {
        let payload = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67, 0xaa, 0, 0, 0, 0, 1, 0x65, 0x88, 0];
        let units: Vec<_> = nals(&payload).collect();
        assert_eq!(
            units,
            [
                Nal { offset: 4, bytes: &[9, 0xf0], complete: true },
                Nal { offset: 9, bytes: &[0x67, 0xaa], complete: true },
                Nal { offset: 16, bytes: &[0x65, 0x88], complete: false },
            ]
        );
    }

    #[test]
    fn payload_starts() {
        assert_eq!(start(&[0, 0, 1]), Start::Nal(3));
        assert_eq!(start(&[0, 0, 0, 0, 1, 9]), Start::Nal(5));
        assert_eq!(start(&[0, 1, 9]), Start::Inside);
        assert_eq!(start(&[0, 0, 2]), Start::Inside);
        assert_eq!(start(&[0, 0]), Start::Unknown);
        assert_eq!(start(&[]), Start::Unknown);
    }

    #[test]
    fn emulation_prevention() {
        assert_eq!(&*without_emulation(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert!(matches!(without_emulation(&[1, 0, 3, 0]), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn units_tile_the_payload(payload in prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..200)) {
            let mut end = 0;
            for nal in nals(&payload) {
                prop_assert!(nal.offset >= end + 3 || (end == 0 && nal.offset >= 3));
                prop_assert_eq!(&payload[nal.offset - 3..nal.offset], &[0, 0, 1]);
                prop_assert!(payload[nal.offset..].starts_with(nal.bytes));
                prop_assert!(memchr::memmem::find(nal.bytes, &[0, 0, 1]).is_none());
                end = nal.offset + nal.bytes.len();
            }
        }
    }
}
