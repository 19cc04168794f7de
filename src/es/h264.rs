//! H.264: NAL unit types (table 7-1), the first fields of a slice header (7.3.3), sequence parameter sets (7.3.2.1).

use h264_reader::nal::sps::{FrameMbsFlags, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, Integer, Primitive};

use super::Codec;
use super::annexb::without_emulation;
use super::video::{FrameRate, NalKind, Scan, SliceHead, SliceKind, VideoInfo, VideoRange, display_width};

pub(super) fn kind(header: u8) -> NalKind {
    if header & 0x80 != 0 {
        return NalKind::Other; // forbidden_zero_bit
    }
    match header & 0x1f {
        1..=4 => NalKind::Slice(SliceKind::Other),
        5 => NalKind::Slice(SliceKind::Idr),
        6 => NalKind::Sei { header: 1 },
        7 => NalKind::Sps,
        8 => NalKind::Pps,
        9 => NalKind::Aud,
        _ => NalKind::Other,
    }
}

/// The head of a slice; `nal` needs to be its first bytes only. None when it is broken or cut short.
pub(super) fn slice_head(nal: &[u8]) -> Option<SliceHead> {
    let (&header, data) = nal.split_first()?;
    if matches!(header & 0x1f, 3 | 4) {
        // Slice data partitions B and C follow their partition A.
        return Some(SliceHead { first: false, intra: false });
    }
    let rbsp = without_emulation(data);
    let mut reader = BitReader::new(&*rbsp);
    let first_mb_in_slice = reader.read_ue("first_mb_in_slice").ok()?;
    let slice_type = reader.read_ue("slice_type").ok()?;
    Some(SliceHead { first: first_mb_in_slice == 0, intra: matches!(slice_type, 2 | 7) })
}

pub(super) fn video_info(nal: &[u8]) -> Option<VideoInfo> {
    if kind(*nal.first()?) != NalKind::Sps {
        return None;
    }
    let rbsp = without_emulation(nal.get(1..)?);
    let (&[profile, constraints, level], rest) = rbsp.split_first_chunk()?;
    // A level below what the picture size needs is common, and no reason to know nothing: the reader checks sizes
    // against levels that it knows, so it gets one that it does not.
    let unlevelled: Vec<u8> = [profile, constraints, 0xff].iter().chain(rest).copied().collect();
    let sps = read(&unlevelled, Vui::AsStated).or_else(|| read(&unlevelled, Vui::Absent))?;
    let (width, height) = sps.pixel_dimensions().ok()?;
    let vui = sps.vui_parameters.as_ref();
    let timing = vui.and_then(|vui| vui.timing_info.as_ref());
    let transfer = vui
        .and_then(|vui| vui.video_signal_type.as_ref()?.colour_description.as_ref())
        .map_or(2, |colour| colour.transfer_characteristics);
    Some(VideoInfo {
        codec: Codec::H264,
        codecs: format!("avc1.{profile:02x}{constraints:02x}{level:02x}"),
        width,
        height,
        display_width: display_width(width, vui.and_then(|vui| vui.aspect_ratio_info.as_ref()?.get())),
        // A tick is a field (E.2.1), also where there are only frames.
        frame_rate: timing
            .and_then(|timing| FrameRate::new(timing.time_scale.into(), u64::from(timing.num_units_in_tick) * 2)),
        fixed_frame_rate: timing.is_some_and(|timing| timing.fixed_frame_rate_flag),
        range: VideoRange::of_transfer(transfer),
        scan: match sps.frame_mbs_flags {
            FrameMbsFlags::Frames => Scan::Progressive,
            FrameMbsFlags::Fields { .. } => Scan::MaybeInterlaced,
        },
    })
}

fn read(rbsp: &[u8], vui: Vui) -> Option<SeqParameterSet> {
    SeqParameterSet::from_bits(Lenient { reader: BitReader::new(rbsp), vui }).ok()
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Vui {
    AsStated,
    Absent,
}

/// A bit reader that hides what we do not need and encoders get wrong: the bitstream restrictions, what stands after
/// the parameters, and, if asked, the whole VUI.
struct Lenient<'a> {
    reader: BitReader<&'a [u8]>,
    vui: Vui,
}

impl BitRead for Lenient<'_> {
    fn read_ue(&mut self, name: &'static str) -> Result<u32, BitReaderError> {
        self.reader.read_ue(name)
    }

    fn read_se(&mut self, name: &'static str) -> Result<i32, BitReaderError> {
        self.reader.read_se(name)
    }

    fn read_bit(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        match name {
            "bitstream_restriction_flag" => Ok(false),
            "vui_parameters_present_flag" if self.vui == Vui::Absent => Ok(false),
            _ => self.reader.read_bit(name),
        }
    }

    fn read<const BITS: u32, I: Integer>(&mut self, name: &'static str) -> Result<I, BitReaderError> {
        self.reader.read::<BITS, I>(name)
    }

    fn read_var<I: Integer>(&mut self, bit_count: u32, name: &'static str) -> Result<I, BitReaderError> {
        self.reader.read_var(bit_count, name)
    }

    fn read_to<V: Primitive>(&mut self, name: &'static str) -> Result<V, BitReaderError> {
        self.reader.read_to(name)
    }

    fn skip(&mut self, bit_count: u32, name: &'static str) -> Result<(), BitReaderError> {
        self.reader.skip(bit_count, name)
    }

    fn byte_aligned(&self) -> bool {
        self.reader.byte_aligned()
    }

    fn has_more_rbsp_data(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.reader.has_more_rbsp_data(name)
    }

    fn finish_rbsp(self) -> Result<(), BitReaderError> {
        Ok(())
    }

    fn finish_sei_payload(self) -> Result<(), BitReaderError> {
        Ok(())
    }
}
