//! MPEG transport streams (ISO/IEC 13818-1), without I/O: packets out of bytes ([`Framer`]), the views on a packet
//! ([`Packet`], [`AdaptationField`], [`PesHeader`]), program tables out of packets ([`PsiTracker`]) and back again.
//! Nothing here panics on hostile input, and memory is bounded by the standard's own field widths and `limits`.

pub mod adaptation;
pub mod build;
pub mod continuity;
pub mod crc;
pub mod demux;
pub mod descriptor;
pub mod error;
#[cfg(test)]
mod oracle_tests;
pub mod packet;
pub mod pat;
pub mod pes;
pub mod pmt;
pub mod section;
pub mod sync;

pub use adaptation::{AdaptationField, Pcr, pcr_only, shift_clocks};
pub use continuity::{Continuity, Step};
pub use crc::crc32_mpeg2;
pub use demux::{PsiEvent, PsiTracker};
pub use descriptor::{Descriptor, Descriptors};
pub use error::{SectionFault, SyncError, TableError};
pub use packet::{PACKET_LEN, Packet, Pid, SYNC_BYTE};
pub use pat::Pat;
pub use pes::{PesHeader, PesStart, parse_pes, pes_stamp_patches, shift_pes_stamps};
pub use pmt::{Pmt, PmtStream, StreamType};
pub use section::{SectionAssembler, packetize};
pub use sync::{EndOfInput, Framer, LostWhy, PacketSink, Stride};
