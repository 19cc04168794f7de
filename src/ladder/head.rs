//! The start of a PES packet: collected when it lies in several TS packets, and looked at for what it begins.

use crate::es::{self, AudioInfo, Captions, Codec, HeadScan, PayloadEnd, RandomAccess};

use super::event::Access;
use super::select::Role;

/// A PES start that is being collected, because what matters lies in a later packet.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) open: bool,
    /// Byte offset of the packet in which the PES starts.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Where each packet's payload came from: (first byte in `bytes`, byte offset in the input).
    pub(super) pieces: Vec<(usize, u64)>,
    /// The number of bytes at which to look again.
    pub(super) scan_at: usize,
}

impl Head {
    pub(super) fn begin(&mut self, offset: u64) {
        self.open = true;
        self.offset = offset;
        self.bytes.clear();
        self.pieces.clear();
        self.scan_at = 0;
    }

    pub(super) fn append(&mut self, from: u64, payload: &[u8]) {
        self.pieces.push((self.bytes.len(), from));
        self.bytes.extend_from_slice(payload);
    }
}

/// What a PES packet's content begins with, as far as cutting needs to know.
#[derive(Debug)]
pub(super) enum OwnedHead {
    /// The head of an access unit.
    Picture {
        access: Access,
        /// The sequence parameter set, at units where a decoder can start.
        sps: Option<Vec<u8>>,
        captions: Captions,
    },
    /// Audio whose configuration is not the one seen before.
    Audio {
        /// The bits of the frame header that stay the same while the configuration does.
        signature: u64,
        info: AudioInfo,
    },
}

/// Whether what was collected is enough.
pub(super) enum Look {
    Done(Option<OwnedHead>),
    More,
}

/// Looks at the start of a PES packet's content. `known` is the signature of the audio seen before.
pub(super) fn look(codec: Option<Codec>, role: Role, content: &[u8], known: Option<u64>, end: PayloadEnd) -> Look {
    let Some(codec) = codec else {
        return Look::Done(None);
    };
    match role {
        Role::Video => match es::scan_head(codec, content, end) {
            HeadScan::Complete(head) => {
                let access = match head.random_access {
                    RandomAccess::None => Access::None,
                    RandomAccess::IdrWithoutParameterSets => Access::NeedsParameterSets,
                    RandomAccess::RecoveryPoint => Access::Open,
                    RandomAccess::Idr => Access::Clean,
                };
                let sps = if access >= Access::Open { head.sps.map(<[u8]>::to_vec) } else { None };
                Look::Done(Some(OwnedHead::Picture { access, sps, captions: head.captions }))
            }
            HeadScan::NeedMore => Look::More,
        },
        Role::Audio => match audio(codec, content, known) {
            // A PES that begins inside a frame tells its configuration further in.
            None if known.is_none() && matches!(end, PayloadEnd::More) => Look::More,
            found => Look::Done(found),
        },
        Role::Data => Look::Done(None),
    }
}

fn audio(codec: Codec, content: &[u8], known: Option<u64>) -> Option<OwnedHead> {
    let signature = signature(codec, content);
    match (signature, known) {
        (Some(signature), Some(known)) if signature == known => None,
        // The PES begins inside a frame: nothing new to learn from it, unless nothing is known at all.
        (None, Some(_)) => None,
        (signature, _) => {
            let info = es::audio_info(codec, content)?;
            Some(OwnedHead::Audio { signature: signature.unwrap_or_default(), info })
        }
    }
}

/// The bits of an audio frame header that stay the same while the configuration does. None where the content does
/// not begin with a frame.
fn signature(codec: Codec, content: &[u8]) -> Option<u64> {
    let head: &[u8; 8] = content.first_chunk()?;
    let whole = u64::from_be_bytes(*head);
    let (sync, bits) = match codec {
        // ADTS: sync word, ID, layer, protection, profile, rate, (private bit) and channels.
        Codec::Aac => (whole >> 52 == 0xfff, whole & 0xffff_fdc0_0000_0000),
        // Sync word, then rate and frame size, bsid and bsmod, channels (the CRC between them is left out).
        Codec::Ac3 => (whole >> 48 == 0x0b77, whole & 0xffff_0000_c0ff_e000),
        // Sync word, rate, blocks, channels, bsid.
        Codec::Eac3 => (whole >> 48 == 0x0b77, whole & 0xffff_0000_fff8_0000),
        // Sync, version, layer, rate, channel mode (the bit rate may change with every frame).
        Codec::Mp3 | Codec::Mp2 => (whole >> 53 == 0x7ff, whole & 0xfffe_0cc0_0000_0000),
        _ => return None,
    };
    sync.then_some(bits)
}
