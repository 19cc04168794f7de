//! Descriptor loops of program tables and what the common ones say (ISO/IEC 13818-1 2.6, ETSI EN 300 468 6, spec TS-012).

/// Descriptor tags.
pub mod tag {
    /// registration_descriptor.
    pub const REGISTRATION: u8 = 0x05;
    /// CA_descriptor: the program or stream is scrambled.
    pub const CA: u8 = 0x09;
    /// ISO_639_language_descriptor.
    pub const LANGUAGE: u8 = 0x0A;
    /// metadata_pointer_descriptor (spec TS-014).
    pub const METADATA_POINTER: u8 = 0x25;
    /// metadata_descriptor (spec TS-014).
    pub const METADATA: u8 = 0x26;
    /// DVB stream_identifier_descriptor.
    pub const STREAM_IDENTIFIER: u8 = 0x52;
    /// DVB teletext_descriptor.
    pub const TELETEXT: u8 = 0x56;
    /// DVB subtitling_descriptor.
    pub const SUBTITLING: u8 = 0x59;
    /// DVB AC-3_descriptor.
    pub const AC3: u8 = 0x6A;
    /// DVB enhanced_AC-3_descriptor.
    pub const E_AC3: u8 = 0x7A;
    /// DVB DTS_descriptor.
    pub const DTS: u8 = 0x7B;
    /// DVB AAC_descriptor.
    pub const AAC: u8 = 0x7C;
    /// DVB extension_descriptor: the real tag is the first byte of the body.
    pub const EXTENSION: u8 = 0x7F;
}

/// One descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// descriptor_tag.
    pub tag: u8,
    /// The bytes after descriptor_length.
    pub body: &'a [u8],
}

impl<'a> Descriptor<'a> {
    /// format_identifier of a registration descriptor, e.g. `HDMV`.
    #[must_use]
    pub fn registration(self) -> Option<[u8; 4]> {
        if self.tag == tag::REGISTRATION { self.body.first_chunk().copied() } else { None }
    }

    /// The first ISO 639-2 code of a language, teletext or subtitling descriptor, as written.
    #[must_use]
    pub fn language(self) -> Option<[u8; 3]> {
        match self.tag {
            tag::LANGUAGE | tag::TELETEXT | tag::SUBTITLING => self.body.first_chunk().copied(),
            _ => None,
        }
    }

    /// audio_type of a language descriptor's first entry: 0 undefined, 1 clean effects, 2 hearing impaired, 3 visual
    /// impaired commentary.
    #[must_use]
    pub fn audio_type(self) -> Option<u8> {
        if self.tag == tag::LANGUAGE { self.body.get(3).copied() } else { None }
    }

    /// metadata_format_identifier of a metadata or metadata pointer descriptor, e.g. `ID3 ` (spec TS-014).
    #[must_use]
    pub fn metadata_format(self) -> Option<[u8; 4]> {
        if !matches!(self.tag, tag::METADATA | tag::METADATA_POINTER) {
            return None;
        }
        let rest = match self.body.split_first_chunk::<2>()? {
            ([0xFF, 0xFF], rest) => rest.get(4..)?, // metadata_application_format_identifier
            (_, rest) => rest,
        };
        match rest.split_first()? {
            (0xFF, rest) => rest.first_chunk().copied(),
            _ => None,
        }
    }
}

/// Walks a descriptor loop. A descriptor that runs out of the loop ends it.
#[derive(Debug, Clone, Copy)]
pub struct Descriptors<'a> {
    rest: &'a [u8],
}

impl<'a> Descriptors<'a> {
    /// The descriptors in `bytes`, such as `Pmt::program_info` or `PmtStream::info`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether there is one with `tag`.
    #[must_use]
    pub fn has(mut self, tag: u8) -> bool {
        self.any(|descriptor| descriptor.tag == tag)
    }

    /// The first registration's format_identifier.
    #[must_use]
    pub fn registration(mut self) -> Option<[u8; 4]> {
        self.find_map(Descriptor::registration)
    }

    /// The first language code.
    #[must_use]
    pub fn language(mut self) -> Option<[u8; 3]> {
        self.find_map(Descriptor::language)
    }
}

impl<'a> Iterator for Descriptors<'a> {
    type Item = Descriptor<'a>;

    fn next(&mut self) -> Option<Descriptor<'a>> {
        let (&[tag, len], rest) = self.rest.split_first_chunk::<2>()?;
        let (body, rest) = rest.split_at_checked(usize::from(len))?;
        self.rest = rest;
        Some(Descriptor { tag, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn walks_and_reads() {
        let bytes = [0x0A, 4, b'd', b'e', b'u', 3, 0x6A, 0, 0x05, 4, b'A', b'C', b'-', b'3', 0x0A, 9, 1];
        let loop_ = Descriptors::new(&bytes);
        assert_eq!(loop_.map(|d| d.tag).collect::<Vec<_>>(), [0x0A, 0x6A, 0x05], "the cut one is not there");
        assert!(loop_.has(tag::AC3) && !loop_.has(tag::E_AC3));
        assert_eq!(loop_.language(), Some(*b"deu"));
        assert_eq!(loop_.registration(), Some(*b"AC-3"));
        assert_eq!(loop_.into_iter().next().and_then(Descriptor::audio_type), Some(3));
        assert_eq!(Descriptors::new(&[0x0A, 2, b'd', b'e']).language(), None);
    }

    #[test]
    fn timed_metadata_of_apple() {
        // "Timed Metadata for HTTP Live Streaming", 2.3.3: both descriptors with format 0xFF, 'ID3 '.
        let pointer =
            [0x25, 0x0F, 0xFF, 0xFF, b'I', b'D', b'3', b' ', 0xFF, b'I', b'D', b'3', b' ', 0x00, 0x1F, 0x00, 0x01];
        let format = Descriptors::new(&pointer).find_map(Descriptor::metadata_format);
        assert_eq!(format, Some(*b"ID3 "));
    }

    proptest! {
        #[test]
        fn no_loop_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), tag in 0x24u8..0x27) {
            for mut descriptor in Descriptors::new(&bytes) {
                let _ = (descriptor.registration(), descriptor.language(), descriptor.audio_type());
                descriptor.tag = tag;
                let _ = descriptor.metadata_format();
            }
        }
    }
}
