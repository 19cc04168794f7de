//! The program map table (ISO/IEC 13818-1 2.4.4.8, spec TS-010 and TS-011).

use crate::limits::PSI_SECTION;
use crate::ts::error::TableError;
use crate::ts::packet::Pid;
use crate::ts::section::LongSection;

const TABLE_ID: u8 = 0x02;
/// Room for the body: a section without its eight header bytes and its CRC_32.
const MAX_BODY: usize = PSI_SECTION - 8 - 4;

/// stream_type of an elementary stream. An open registry: every value is legal, the known ones have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamType(pub u8);

macro_rules! stream_types {
    ($($constant:ident = $value:literal, $name:literal;)*) => {
        impl StreamType {
            $(#[doc = $name] pub const $constant: Self = Self($value);)*

            /// What the type means without a look at descriptors: registrations such as `HDMV` give 0x80 and above
            /// other meanings.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$constant => $name,)*
                    _ => "unknown stream type",
                }
            }
        }
    };
}

stream_types! {
    MPEG1_VIDEO = 0x01, "MPEG-1 video";
    MPEG2_VIDEO = 0x02, "MPEG-2 video";
    MPEG1_AUDIO = 0x03, "MPEG-1 audio";
    MPEG2_AUDIO = 0x04, "MPEG-2 audio";
    PRIVATE_SECTIONS = 0x05, "private sections";
    PRIVATE_PES = 0x06, "private PES data";
    AAC_ADTS = 0x0F, "AAC (ADTS)";
    MPEG4_VIDEO = 0x10, "MPEG-4 part 2 video";
    AAC_LATM = 0x11, "AAC (LATM)";
    METADATA_PES = 0x15, "metadata in PES";
    H264 = 0x1B, "H.264 video";
    H264_MVC = 0x20, "H.264 MVC video";
    HEVC = 0x24, "HEVC video";
    VVC = 0x33, "VVC video";
    AVS = 0x42, "AVS video";
    LPCM = 0x80, "LPCM audio";
    AC3 = 0x81, "AC-3 audio";
    DTS = 0x82, "DTS audio";
    SCTE35 = 0x86, "SCTE-35 splice information";
    E_AC3 = 0x87, "E-AC-3 audio";
    DTS_8A = 0x8A, "DTS audio";
    SAMPLE_AES_AC3 = 0xC1, "SAMPLE-AES AC-3 audio";
    SAMPLE_AES_E_AC3 = 0xC2, "SAMPLE-AES E-AC-3 audio";
    SAMPLE_AES_AAC = 0xCF, "SAMPLE-AES AAC audio";
    DIRAC = 0xD1, "Dirac video";
    AVS2 = 0xD2, "AVS2 video";
    AVS3 = 0xD4, "AVS3 video";
    SAMPLE_AES_H264 = 0xDB, "SAMPLE-AES H.264 video";
    VC1 = 0xEA, "VC-1 video";
}

/// A program map: what one program consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pmt {
    /// program_number.
    pub program: u16,
    /// version_number, 0 to 31.
    pub version: u8,
    /// The PID that carries the program's clock; [`Pid::NULL`] when none does.
    pub pcr_pid: Pid,
    /// The program's descriptors, raw; at most 1,023 bytes.
    pub program_info: Vec<u8>,
    /// The elementary streams, in the table's order.
    pub streams: Vec<PmtStream>,
}

/// One elementary stream of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmtStream {
    /// What kind of stream the table says it is.
    pub stream_type: StreamType,
    /// Where its packets are.
    pub pid: Pid,
    /// Its descriptors, raw; at most 1,023 bytes.
    pub info: Vec<u8>,
}

impl Pmt {
    /// Reads a whole section whose CRC is already checked.
    ///
    /// # Errors
    /// Another table, a PMT that is not yet applicable, or lengths that do not fit.
    pub fn parse(section: &[u8]) -> Result<Self, TableError> {
        if section.first() != Some(&TABLE_ID) {
            return Err(TableError::OtherTable);
        }
        let fields = LongSection::parse(section).ok_or(TableError::Malformed)?;
        let (pcr_pid, rest) = pid_and_rest(fields.body).ok_or(TableError::Malformed)?;
        let (program_info, mut rest) = info_and_rest(rest).ok_or(TableError::Malformed)?;
        let mut streams = Vec::new();
        while let Some((&stream_type, after)) = rest.split_first() {
            let (pid, after) = pid_and_rest(after).ok_or(TableError::Malformed)?;
            let (info, after) = info_and_rest(after).ok_or(TableError::Malformed)?;
            streams.push(PmtStream { stream_type: StreamType(stream_type), pid, info: info.to_vec() });
            rest = after;
        }
        if !fields.current {
            return Err(TableError::NotCurrent);
        }
        let program_info = program_info.to_vec();
        Ok(Self { program: fields.extension, version: fields.version, pcr_pid, program_info, streams })
    }

    /// The section's bytes with its CRC_32. What was parsed, or a part of it, always fits; streams beyond 1,024 bytes
    /// are left out, and so are program descriptors longer than that.
    #[must_use]
    pub fn section(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&(0xE000 | self.pcr_pid.value()).to_be_bytes());
        let info = if self.program_info.len() + 4 <= MAX_BODY { &self.program_info[..] } else { &[] };
        push_info(&mut body, info);
        for stream in &self.streams {
            if body.len() + 5 + stream.info.len() > MAX_BODY {
                break;
            }
            body.push(stream.stream_type.0);
            body.extend_from_slice(&(0xE000 | stream.pid.value()).to_be_bytes());
            push_info(&mut body, &stream.info);
        }
        let fields = LongSection {
            table: TABLE_ID,
            extension: self.program,
            version: self.version,
            current: true,
            number: 0,
            last_number: 0,
            body: &body,
        };
        fields.to_bytes()
    }

    /// Whether this says the same as `other`, whatever the version numbers are (spec TS-010).
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.program == other.program
            && self.pcr_pid == other.pcr_pid
            && self.program_info == other.program_info
            && self.streams == other.streams
    }
}

fn pid_and_rest(bytes: &[u8]) -> Option<(Pid, &[u8])> {
    let (&pid, rest) = bytes.split_first_chunk::<2>()?;
    Some((Pid::masked(u16::from_be_bytes(pid)), rest))
}

/// A 12-bit length and that many bytes. The length's first two bits are 00 by the standard; they are read as reserved.
fn info_and_rest(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len) & 0x03FF))
}

fn push_info(body: &mut Vec<u8>, info: &[u8]) {
    body.extend_from_slice(&(0xF000 | info.len() as u16).to_be_bytes());
    body.extend_from_slice(info);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vector of spec section 9.
    const SECTION: [u8; 26] = [
        0x02, 0xB0, 0x17, 0x00, 0x01, 0xC1, 0x00, 0x00, 0xE1, 0x00, 0xF0, 0x00, 0x1B, 0xE1, 0x00, 0xF0, 0x00, 0x0F,
        0xE1, 0x01, 0xF0, 0x00, 0x2F, 0x44, 0xB9, 0x9B,
    ];

    fn stream(stream_type: u8, pid: u16, info: Vec<u8>) -> PmtStream {
        PmtStream { stream_type: StreamType(stream_type), pid: Pid::masked(pid), info }
    }

    #[test]
    fn a_known_section_both_ways() {
        let pmt = Pmt::parse(&SECTION).unwrap();
        assert_eq!((pmt.program, pmt.version, pmt.pcr_pid), (1, 0, Pid::masked(0x100)));
        assert_eq!(pmt.streams, [stream(0x1B, 0x100, vec![]), stream(0x0F, 0x101, vec![])]);
        assert_eq!(pmt.streams[0].stream_type, StreamType::H264);
        assert_eq!(pmt.streams[1].stream_type.name(), "AAC (ADTS)");
        assert_eq!(pmt.section(), SECTION);
    }

    #[test]
    fn refusals() {
        let mut later = SECTION;
        later[5] = 0xC0;
        assert_eq!(Pmt::parse(&later), Err(TableError::NotCurrent));
        let mut overrun = SECTION;
        overrun[21] = 1;
        assert_eq!(Pmt::parse(&overrun), Err(TableError::Malformed));
        let mut cut = Pmt::parse(&SECTION).unwrap().section();
        cut.truncate(20);
        assert_eq!(Pmt::parse(&cut), Err(TableError::Malformed));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let streams = (0..100).map(|n| stream(0x0F, 0x100 + n, vec![0; 15])).collect();
        let mut pmt = Pmt { program: 1, version: 0, pcr_pid: Pid::NULL, program_info: vec![0; 2000], streams };
        assert!(pmt.section().len() <= PSI_SECTION);
        assert_eq!(Pmt::parse(&pmt.section()).unwrap().streams.len(), (MAX_BODY - 4) / 20);
        pmt.program_info = vec![0; MAX_BODY - 4];
        assert_eq!(pmt.section().len(), PSI_SECTION);
        assert_eq!(Pmt::parse(&pmt.section()).unwrap().program_info, pmt.program_info);
    }

    proptest! {
        #[test]
        fn written_tables_read_back(
            program: u16, version in 0u8..32, pcr_pid in 0u16..0x2000,
            program_info in proptest::collection::vec(any::<u8>(), 0..100),
            streams in proptest::collection::vec(
                (any::<u8>(), 0u16..0x2000, proptest::collection::vec(any::<u8>(), 0..30)), 0..25),
        ) {
            let streams = streams.into_iter().map(|(kind, pid, info)| stream(kind, pid, info)).collect();
            let pmt = Pmt { program, version, pcr_pid: Pid::masked(pcr_pid), program_info, streams };
            prop_assert_eq!(Pmt::parse(&pmt.section()), Ok(pmt));
        }

        #[test]
        fn no_section_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = bytes;
            let _ = Pmt::parse(&bytes);
            // With the lengths right, the loops are reached.
            bytes.splice(..0, [0x02, 0xB0, (bytes.len() + 5) as u8, 0, 1, 0xC1, 0, 0]);
            let _ = Pmt::parse(&bytes);
        }
    }
}
