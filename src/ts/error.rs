//! What can be wrong with a transport stream, sorted by what the reader does about it: refuse the input, report a
//! damaged section and go on, or pass over a table.

/// The input is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// No packets were found at any stride (spec TS-001).
    #[error("not an MPEG transport stream: no run of sync bytes before byte {offset}")]
    NotTransportStream {
        /// Where the search gave up: the end of the input, or the limit `limits::SYNC_SEARCH` past its start.
        offset: u64,
    },
}

/// A section is lost; the next one is read as usual (spec TS-007).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SectionFault {
    /// The CRC-32 does not match.
    #[error("the section's CRC-32 is wrong")]
    Crc,
    /// section_length is more than the table may have.
    #[error("the section is longer than its table allows")]
    TooLong,
    /// The section ended early: packets are missing, or the next section begins before it is complete.
    #[error("the section is cut short")]
    Truncated,
    /// The CRC-32 is right, but the fields inside contradict one another.
    #[error("the section's contents are malformed")]
    Malformed,
    /// The PAT lists more programs than `limits::PROGRAMS`; the rest of them are not followed.
    #[error("the PAT lists more programs than are followed")]
    TooManyPrograms,
}

/// A section is not the table that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TableError {
    /// Another table_id, or no section syntax (private tables may share the PID).
    #[error("another table")]
    OtherTable,
    /// current_next_indicator is 0: announced, not yet in force.
    #[error("the table is not yet applicable")]
    NotCurrent,
    /// A length field points outside the section.
    #[error("a length field points outside the section")]
    Malformed,
}
