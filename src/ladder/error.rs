//! Why inputs make no ladder.

use thiserror::Error;

use super::select::LeftOut;
use crate::ts::SyncError;

/// Why an input, or a set of them, is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LadderError {
    /// No packets were found.
    #[error("{0}")]
    Sync(#[from] SyncError),
    /// Packets, but no program.
    #[error("no program was found: no PAT and PMT in the first {searched} bytes")]
    NoProgram {
        /// Bytes looked at.
        searched: u64,
    },
    /// The program asked for is not there.
    #[error("there is no program {wanted}; the input has {}", list(.present))]
    NoSuchProgram {
        /// The number asked for.
        wanted: u16,
        /// The numbers that are there.
        present: Vec<u16>,
    },
    /// Nothing in the program can be played from HLS.
    #[error("program {program} holds nothing that HLS can carry in MPEG-TS{}", left_out_text(.left_out))]
    NothingPlayable {
        /// The program's number.
        program: u16,
        /// What it holds.
        left_out: Vec<LeftOut>,
    },
    /// The audio stream asked for is not there.
    #[error("program {program} has no such audio stream{}", left_out_text(.left_out))]
    NoSuchAudio {
        /// The program's number.
        program: u16,
        /// The streams that were not chosen.
        left_out: Vec<LeftOut>,
    },
    /// The video has no picture at which a decoder could start.
    #[error("rendition {rendition}: no key frame with parameter sets was found")]
    NoKeyFrame {
        /// The rendition's name.
        rendition: String,
    },
    /// No stream of the rendition has timestamps.
    #[error("rendition {rendition}: its audio has no timestamps")]
    NoTimestamps {
        /// The rendition's name.
        rendition: String,
    },
    /// The renditions cannot be cut at common times.
    #[error("the renditions cannot be cut at common times: {reason}\n{report}")]
    NotAlignable {
        /// What is wrong, in a sentence.
        reason: String,
        /// The key frames of each rendition around the trouble.
        report: String,
    },
    /// A limit was reached.
    #[error("{what} (limit {limit})")]
    Limit {
        /// What was too much.
        what: String,
        /// The limit.
        limit: u64,
    },
}

fn list(numbers: &[u16]) -> String {
    numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn left_out_text(left_out: &[LeftOut]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let list: Vec<String> =
        left_out.iter().map(|one| format!("{} on PID {} ({})", one.what, one.pid, one.why)).collect();
    format!(": {}", list.join("; "))
}
