//! The program association table (ISO/IEC 13818-1 2.4.4.3, spec TS-008 and TS-009).

use crate::ts::error::TableError;
use crate::ts::packet::Pid;
use crate::ts::section::LongSection;

const TABLE_ID: u8 = 0x00;
/// Entries of four bytes that fit in one section.
const MAX_ENTRIES: usize = (1021 - 5 - 4) / 4;

/// One section of the program association table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pat {
    /// transport_stream_id.
    pub transport_stream_id: u16,
    /// version_number, 0 to 31.
    pub version: u8,
    /// section_number.
    pub section: u8,
    /// last_section_number.
    pub last_section: u8,
    /// program_number and the PID of its PMT, in the section's order; without program 0, which is the network PID.
    pub programs: Vec<(u16, Pid)>,
}

impl Pat {
    /// Reads a whole section whose CRC is already checked.
    ///
    /// # Errors
    /// Another table, a PAT that is not yet applicable, or lengths that do not fit.
    pub fn parse(section: &[u8]) -> Result<Self, TableError> {
        if section.first() != Some(&TABLE_ID) {
            return Err(TableError::OtherTable);
        }
        let fields = LongSection::parse(section).ok_or(TableError::Malformed)?;
        let (entries, []) = fields.body.as_chunks::<4>() else { return Err(TableError::Malformed) };
        if fields.number > fields.last_number {
            return Err(TableError::Malformed);
        }
        if !fields.current {
            return Err(TableError::NotCurrent);
        }
        let pairs =
            entries.iter().map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), Pid::masked(u16::from_be_bytes([c, d]))));
        Ok(Self {
            transport_stream_id: fields.extension,
            version: fields.version,
            section: fields.number,
            last_section: fields.last_number,
            programs: pairs.filter(|(program, _)| *program != 0).collect(),
        })
    }

    /// The section's bytes with its CRC_32. A section holds 253 programs; what was parsed always fits, and programs
    /// beyond that are left out.
    #[must_use]
    pub fn section(&self) -> Vec<u8> {
        let entries = self.programs.iter().take(MAX_ENTRIES);
        let body: Vec<u8> = entries
            .flat_map(|(program, pid)| {
                let ([a, b], [c, d]) = (program.to_be_bytes(), (0xE000 | pid.value()).to_be_bytes());
                [a, b, c, d]
            })
            .collect();
        let fields = LongSection {
            table: TABLE_ID,
            extension: self.transport_stream_id,
            version: self.version,
            current: true,
            number: self.section,
            last_number: self.last_section,
            body: &body,
        };
        fields.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vector of spec section 9.
    const BODY: [u8; 16] =
        [0x00, 0xB0, 0x0D, 0x00, 0x01, 0xC1, 0x00, 0x00, 0x00, 0x01, 0xF0, 0x00, 0x2A, 0xB1, 0x04, 0xB2];

    #[test]
    fn a_known_section_both_ways() {
        let pat = Pat::parse(&BODY).unwrap();
        assert_eq!((pat.transport_stream_id, pat.version, pat.section, pat.last_section), (1, 0, 0, 0));
        assert_eq!(pat.programs, [(1, Pid::masked(0x1000))]);
        assert_eq!(pat.section(), BODY);
    }

    #[test]
    fn refusals() {
        let mut later = BODY;
        later[5] = 0xC0;
        assert_eq!(Pat::parse(&later), Err(TableError::NotCurrent));
        assert_eq!(Pat::parse(&BODY[..15]), Err(TableError::Malformed));
        let mut pmt = BODY;
        pmt[0] = 2;
        assert_eq!(Pat::parse(&pmt), Err(TableError::OtherTable));
        let mut beyond = BODY;
        beyond[6] = 1;
        assert_eq!(Pat::parse(&beyond), Err(TableError::Malformed), "section 1 of 0");
        let mut network = BODY;
        network[9] = 0;
        assert_eq!(Pat::parse(&network).unwrap().programs, []);
    }

    #[test]
    fn too_many_programs_still_make_a_legal_section() {
        let programs = (1..=300).map(|program| (program, Pid::masked(0x100))).collect();
        let pat = Pat { transport_stream_id: 1, version: 0, section: 0, last_section: 0, programs };
        assert_eq!(pat.section().len(), 1024);
        assert_eq!(Pat::parse(&pat.section()).unwrap().programs.len(), 253);
    }

    proptest! {
        #[test]
        fn written_tables_read_back(
            transport_stream_id: u16, version in 0u8..32, section: u8, more: u8,
            programs in proptest::collection::vec((1u16.., 0u16..0x2000), 0..=253),
        ) {
            let programs = programs.into_iter().map(|(program, pid)| (program, Pid::masked(pid))).collect();
            let last_section = section.saturating_add(more);
            let pat = Pat { transport_stream_id, version, section, last_section, programs };
            prop_assert_eq!(Pat::parse(&pat.section()), Ok(pat));
        }

        #[test]
        fn no_section_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Pat::parse(&bytes);
        }
    }
}
