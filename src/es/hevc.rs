//! HEVC: NAL unit types (table 7-1), the first field of a slice header (7.3.6), sequence parameter sets (7.3.2.2).

use std::fmt::Write as _;

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::Codec;
use super::annexb::without_emulation;
use super::video::{FrameRate, NalKind, Scan, SliceHead, SliceKind, VideoInfo, VideoRange, display_width};

/// What the NAL unit is. Those of layers above the base (scalable, multiview) are for none of our purposes.
pub(super) fn kind(header: [u8; 2]) -> Option<NalKind> {
    let word = u16::from_be_bytes(header);
    let (forbidden_zero, layer, temporal_id_plus1) = (word >> 15, (word >> 3) & 0x3f, word & 7);
    if forbidden_zero != 0 || layer != 0 || temporal_id_plus1 == 0 {
        return Some(NalKind::Other);
    }
    Some(match word >> 9 {
        16..=20 => NalKind::Slice(SliceKind::Idr),
        21 => NalKind::Slice(SliceKind::Cra),
        0..=9 => NalKind::Slice(SliceKind::Other),
        32 => NalKind::Vps,
        33 => NalKind::Sps,
        34 => NalKind::Pps,
        35 => NalKind::Aud,
        39 => NalKind::Sei { header: 2 },
        _ => NalKind::Other,
    })
}

/// The head of a slice segment; `nal` needs to be its first bytes only. None when it is cut short.
pub(super) fn slice_head(nal: &[u8]) -> Option<SliceHead> {
    Some(SliceHead { first: nal.get(2)? & 0x80 != 0, intra: false })
}

type Bits<'a> = BitReader<&'a [u8]>;
type Read<T> = Result<T, BitReaderError>;

pub(super) fn video_info(nal: &[u8]) -> Option<VideoInfo> {
    if kind(*nal.first_chunk()?) != Some(NalKind::Sps) {
        return None;
    }
    let rbsp = without_emulation(nal.get(2..)?);
    let mut bits = BitReader::new(&*rbsp);
    let (profile, sps) = sequence(&mut bits).ok()?;
    // What comes after the size is worth having, but not worth losing the size for.
    let vui = to_vui(&mut bits, &sps).ok().flatten().unwrap_or_default();
    let (width, height) = sps.cropped()?;
    Some(VideoInfo {
        codec: Codec::Hevc,
        codecs: profile.codecs(),
        width,
        height,
        display_width: display_width(width, vui.sar),
        frame_rate: vui.timing.and_then(|(ticks, scale)| FrameRate::new(scale.into(), ticks.into())),
        fixed_frame_rate: false,
        range: VideoRange::of_transfer(vui.transfer_characteristics),
        scan: if vui.field_seq || profile.interlaced_source() { Scan::MaybeInterlaced } else { Scan::Progressive },
    })
}

/// profile_tier_level() of the whole stream (7.3.3).
struct Profile {
    space: u8,
    high_tier: bool,
    idc: u8,
    compatibility: u32,
    constraints: [u8; 6],
    level_idc: u8,
}

impl Profile {
    fn read(bits: &mut Bits<'_>, max_sub_layers_minus1: u8) -> Read<Self> {
        let mut profile = Self {
            space: bits.read::<2, u8>("general_profile_space")?,
            high_tier: bits.read_bit("general_tier_flag")?,
            idc: bits.read::<5, u8>("general_profile_idc")?,
            compatibility: bits.read::<32, u32>("general_profile_compatibility_flag")?,
            constraints: [0; 6],
            level_idc: 0,
        };
        for byte in &mut profile.constraints {
            *byte = bits.read::<8, u8>("general constraint flags")?;
        }
        profile.level_idc = bits.read::<8, u8>("general_level_idc")?;
        let mut present = [(false, false); 8];
        for flags in present.iter_mut().take(max_sub_layers_minus1.into()) {
            *flags = (bits.read_bit("sub_layer_profile_present_flag")?, bits.read_bit("sub_layer_level_present_flag")?);
        }
        if max_sub_layers_minus1 > 0 {
            bits.skip(2 * (8 - u32::from(max_sub_layers_minus1)), "reserved_zero_2bits")?;
        }
        for (profile_present, level_present) in present {
            bits.skip(u32::from(profile_present) * 88 + u32::from(level_present) * 8, "sub-layer profile and level")?;
        }
        Ok(profile)
    }

    fn interlaced_source(&self) -> bool {
        self.constraints[0] & 0x40 != 0
    }

    /// The CODECS string (ISO/IEC 14496-15 annex E.3; spec TS-041, AMB-24).
    fn codecs(&self) -> String {
        let space = ["", "A", "B", "C"].get(usize::from(self.space)).unwrap_or(&"");
        let tier = if self.high_tier { 'H' } else { 'L' };
        let compatibility = self.compatibility.reverse_bits();
        let mut codecs = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", self.idc, self.level_idc);
        let used = self.constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for byte in self.constraints.iter().take(used) {
            let _ = write!(codecs, ".{byte:X}"); // a String takes everything
        }
        codecs
    }
}

struct Sequence {
    max_sub_layers_minus1: u8,
    chroma_format_idc: u32,
    size: (u32, u32),
    /// Conformance window: left, right, top, bottom, in chroma samples.
    window: [u32; 4],
}

impl Sequence {
    /// Width and height in luma samples inside the conformance window (7.4.3.2.1, table 6-1).
    fn cropped(&self) -> Option<(u32, u32)> {
        let unit_width = if matches!(self.chroma_format_idc, 1 | 2) { 2 } else { 1 };
        let unit_height = if self.chroma_format_idc == 1 { 2 } else { 1 };
        let [left, right, top, bottom] = self.window;
        let width = self.size.0.checked_sub(left.checked_add(right)?.checked_mul(unit_width)?)?;
        let height = self.size.1.checked_sub(top.checked_add(bottom)?.checked_mul(unit_height)?)?;
        Some((width, height))
    }
}

fn sequence(bits: &mut Bits<'_>) -> Read<(Profile, Sequence)> {
    bits.skip(4, "sps_video_parameter_set_id")?;
    let max_sub_layers_minus1 = bits.read::<3, u8>("sps_max_sub_layers_minus1")?;
    bits.skip(1, "sps_temporal_id_nesting_flag")?;
    let profile = Profile::read(bits, max_sub_layers_minus1)?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma_format_idc = at_most(bits, 3, "chroma_format_idc")?;
    if chroma_format_idc == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    let size = (bits.read_ue("pic_width_in_luma_samples")?, bits.read_ue("pic_height_in_luma_samples")?);
    let window = if bits.read_bit("conformance_window_flag")? { window(bits)? } else { [0; 4] };
    Ok((profile, Sequence { max_sub_layers_minus1, chroma_format_idc, size, window }))
}

fn window(bits: &mut Bits<'_>) -> Read<[u32; 4]> {
    let mut window = [0; 4];
    for offset in &mut window {
        *offset = bits.read_ue("window offset")?;
    }
    Ok(window)
}

/// A number that counts something or selects one of a few: more than `max` is an error, not a long loop.
fn at_most(bits: &mut Bits<'_>, max: u32, name: &'static str) -> Read<u32> {
    let value = bits.read_ue(name)?;
    if value > max { Err(BitReaderError::ExpGolombTooLarge(name)) } else { Ok(value) }
}

#[derive(Default)]
struct Vui {
    sar: Option<(u16, u16)>,
    transfer_characteristics: u8,
    field_seq: bool,
    /// vui_num_units_in_tick and vui_time_scale.
    timing: Option<(u32, u32)>,
}

/// From behind the conformance window to the end of the VUI's timing.
fn to_vui(bits: &mut Bits<'_>, sps: &Sequence) -> Read<Option<Vui>> {
    at_most(bits, 8, "bit_depth_luma_minus8")?;
    at_most(bits, 8, "bit_depth_chroma_minus8")?;
    let poc_lsb_bits = at_most(bits, 12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
    let every_sub_layer = bits.read_bit("sps_sub_layer_ordering_info_present_flag")?;
    for _ in 0..=(if every_sub_layer { sps.max_sub_layers_minus1 } else { 0 }) {
        for _ in 0..3 {
            bits.read_ue("sub-layer ordering")?;
        }
    }
    for _ in 0..6 {
        bits.read_ue("block sizes and depths")?;
    }
    if bits.read_bit("scaling_list_enabled_flag")? && bits.read_bit("sps_scaling_list_data_present_flag")? {
        scaling_list_data(bits)?;
    }
    bits.skip(2, "amp_enabled_flag, sample_adaptive_offset_enabled_flag")?;
    if bits.read_bit("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.read_ue("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.read_ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.skip(1, "pcm_loop_filter_disabled_flag")?;
    }
    let mut delta_pocs = 0;
    for set in 0..at_most(bits, 64, "num_short_term_ref_pic_sets")? {
        delta_pocs = st_ref_pic_set(bits, set, delta_pocs)?;
    }
    if bits.read_bit("long_term_ref_pics_present_flag")? {
        for _ in 0..at_most(bits, 32, "num_long_term_ref_pics_sps")? {
            bits.skip(poc_lsb_bits + 1, "lt_ref_pic_poc_lsb_sps, used_by_curr_pic_lt_sps_flag")?;
        }
    }
    bits.skip(2, "sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag")?;
    if bits.read_bit("vui_parameters_present_flag")? { vui(bits).map(Some) } else { Ok(None) }
}

/// 7.3.4: read over.
fn scaling_list_data(bits: &mut Bits<'_>) -> Read<()> {
    for size_id in 0..4_u32 {
        for _ in (0..6).step_by(if size_id == 3 { 3 } else { 1 }) {
            if !bits.read_bit("scaling_list_pred_mode_flag")? {
                bits.read_ue("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size_id > 1 {
                bits.read_se("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..(1_u32 << (4 + (size_id << 1))).min(64) {
                bits.read_se("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

/// 7.3.7: read over. Takes NumDeltaPocs of the set before, returns that of this one.
fn st_ref_pic_set(bits: &mut Bits<'_>, index: u32, previous: u32) -> Read<u32> {
    if index > 0 && bits.read_bit("inter_ref_pic_set_prediction_flag")? {
        bits.skip(1, "delta_rps_sign")?;
        bits.read_ue("abs_delta_rps_minus1")?;
        let mut kept = 0;
        for _ in 0..=previous {
            let used = bits.read_bit("used_by_curr_pic_flag")?;
            if used || bits.read_bit("use_delta_flag")? {
                kept += 1;
            }
        }
        return Ok(kept);
    }
    let negative = at_most(bits, 16, "num_negative_pics")?;
    let positive = at_most(bits, 16, "num_positive_pics")?;
    for _ in 0..negative + positive {
        bits.read_ue("delta_poc_minus1")?;
        bits.skip(1, "used_by_curr_pic_flag")?;
    }
    Ok(negative + positive)
}

/// vui_parameters() (E.2.1) as far as the timing.
fn vui(bits: &mut Bits<'_>) -> Read<Vui> {
    let mut vui = Vui::default();
    if bits.read_bit("aspect_ratio_info_present_flag")? {
        vui.sar = match bits.read::<8, u8>("aspect_ratio_idc")? {
            255 => Some((bits.read::<16, u16>("sar_width")?, bits.read::<16, u16>("sar_height")?)),
            idc => usize::from(idc).checked_sub(1).and_then(|index| SAMPLE_ASPECT_RATIOS.get(index)).copied(),
        };
    }
    if bits.read_bit("overscan_info_present_flag")? {
        bits.skip(1, "overscan_appropriate_flag")?;
    }
    if bits.read_bit("video_signal_type_present_flag")? {
        bits.skip(4, "video_format, video_full_range_flag")?;
        if bits.read_bit("colour_description_present_flag")? {
            bits.skip(8, "colour_primaries")?;
            vui.transfer_characteristics = bits.read::<8, u8>("transfer_characteristics")?;
            bits.skip(8, "matrix_coeffs")?;
        }
    }
    if bits.read_bit("chroma_loc_info_present_flag")? {
        bits.read_ue("chroma_sample_loc_type_top_field")?;
        bits.read_ue("chroma_sample_loc_type_bottom_field")?;
    }
    bits.skip(1, "neutral_chroma_indication_flag")?;
    vui.field_seq = bits.read_bit("field_seq_flag")?;
    bits.skip(1, "frame_field_info_present_flag")?;
    if bits.read_bit("default_display_window_flag")? {
        window(bits)?;
    }
    if bits.read_bit("vui_timing_info_present_flag")? {
        vui.timing = Some((bits.read::<32, u32>("vui_num_units_in_tick")?, bits.read::<32, u32>("vui_time_scale")?));
    }
    Ok(vui)
}

/// Table E-1, aspect_ratio_idc 1 to 16.
const SAMPLE_ASPECT_RATIOS: [(u16, u16); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

#[cfg(test)]
mod tests {
    use h264_reader::rbsp::{BitWrite, BitWriter};

    use super::*;

    fn profile() -> Profile {
        let constraints = [0xb0, 0, 0, 0, 0, 0];
        Profile { space: 0, high_tier: false, idc: 1, compatibility: 0x6000_0000, constraints, level_idc: 93 }
    }

    #[test]
    fn codecs_strings() {
        assert_eq!(profile().codecs(), "hvc1.1.6.L93.B0");
        let main10 = Profile { idc: 2, compatibility: 0x2000_0000, level_idc: 123, ..profile() };
        assert_eq!(main10.codecs(), "hvc1.2.4.L123.B0"); // Apple's own example
        let none = Profile { constraints: [0; 6], high_tier: true, level_idc: 150, ..profile() };
        assert_eq!(none.codecs(), "hvc1.1.6.H150");
        // Range extensions (idc 4): zeros between bytes that are not stay.
        let constraints = [0x9d, 0, 0x08, 0, 0, 0];
        let extended = Profile { space: 2, idc: 4, compatibility: 0x0800_0000, constraints, ..profile() };
        assert_eq!(extended.codecs(), "hvc1.B4.10.L93.9D.0.8");
    }

    /// Adds emulation prevention bytes.
    fn escape(rbsp: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut zeros = 0;
        for &byte in rbsp {
            if zeros >= 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }

    /// A sequence parameter set with all the parts that must be read over.
    fn full_sps() -> std::io::Result<Vec<u8>> {
        let mut out = vec![0x42, 0x01];
        let mut rbsp = Vec::new();
        let mut bits = BitWriter::new(&mut rbsp);
        bits.write::<4, u8>(0)?;
        bits.write::<3, u8>(2)?; // sps_max_sub_layers_minus1
        bits.write_bit(true)?;
        bits.write::<8, u8>(0x24)?; // High tier, format range extensions
        bits.write::<32, u32>(0x0800_0000)?;
        for byte in [0x50_u8, 0, 0, 0, 0, 0] {
            bits.write::<8, u8>(byte)?; // general_interlaced_source_flag
        }
        bits.write::<8, u8>(120)?;
        bits.write::<4, u8>(0b1101)?; // sub-layer 0 has profile and level, 1 has a level
        bits.write::<12, u16>(0)?;
        for byte in [0xaa_u8; 11 + 1 + 1] {
            bits.write::<8, u8>(byte)?;
        }
        bits.write_ue(0)?;
        bits.write_ue(2)?; // 4:2:2
        bits.write_ue(1920)?;
        bits.write_ue(1088)?;
        bits.write_bit(true)?;
        for offset in [2, 3, 0, 8] {
            bits.write_ue(offset)?;
        }
        bits.write_ue(2)?;
        bits.write_ue(2)?;
        bits.write_ue(4)?; // 8 bits of POC
        bits.write_bit(true)?;
        for number in [4, 2, 0, 4, 2, 0, 4, 2, 0] {
            bits.write_ue(number)?;
        }
        for number in [0, 3, 0, 3, 1, 1] {
            bits.write_ue(number)?;
        }
        bits.write_bit(true)?;
        bits.write_bit(true)?; // scaling_list_data
        for (size_id, lists) in [(0, 6), (1, 6), (2, 6), (3, 2)] {
            for list in 0..lists {
                bits.write_bit(list % 2 == 0)?;
                if list % 2 == 1 {
                    bits.write_ue(1)?;
                    continue;
                }
                if size_id > 1 {
                    bits.write_se(-3)?;
                }
                for coefficient in 0..if size_id == 0 { 16 } else { 64 } {
                    bits.write_se(coefficient - 20)?;
                }
            }
        }
        bits.write::<2, u8>(3)?;
        bits.write_bit(true)?; // PCM
        bits.write::<8, u8>(0x77)?;
        bits.write_ue(0)?;
        bits.write_ue(2)?;
        bits.write_bit(true)?;
        bits.write_ue(3)?; // num_short_term_ref_pic_sets
        bits.write_ue(2)?;
        bits.write_ue(1)?;
        for delta in [0, 1, 5] {
            bits.write_ue(delta)?;
            bits.write_bit(true)?;
        }
        bits.write_bit(true)?; // predicted from the one before, which has three: four flags
        bits.write_bit(false)?;
        bits.write_ue(0)?;
        bits.write_bit(true)?;
        bits.write_bit(false)?;
        bits.write_bit(true)?;
        bits.write_bit(false)?;
        bits.write_bit(false)?;
        bits.write_bit(true)?;
        bits.write_bit(true)?; // three pictures were kept: four flags again
        bits.write_bit(true)?;
        bits.write_ue(3)?;
        for used in [true, true, true, true] {
            bits.write_bit(used)?;
        }
        bits.write_bit(true)?; // long-term reference pictures
        bits.write_ue(2)?;
        bits.write::<18, u32>(0x2_aa55)?;
        bits.write::<2, u8>(3)?;
        bits.write_bit(true)?; // VUI
        bits.write_bit(true)?;
        bits.write::<8, u8>(255)?;
        bits.write::<16, u16>(3)?;
        bits.write::<16, u16>(2)?;
        bits.write::<2, u8>(3)?; // overscan
        bits.write_bit(true)?;
        bits.write::<4, u8>(0b1010)?;
        bits.write_bit(true)?;
        bits.write::<24, u32>(0x09_12_09)?; // transfer_characteristics 18
        bits.write_bit(true)?;
        bits.write_ue(2)?;
        bits.write_ue(2)?;
        bits.write::<3, u8>(0b010)?; // field_seq_flag
        bits.write_bit(true)?;
        for offset in [0, 0, 1, 1] {
            bits.write_ue(offset)?;
        }
        bits.write_bit(true)?;
        bits.write::<32, u32>(1001)?;
        bits.write::<32, u32>(60_000)?;
        bits.write::<8, u8>(0b1000_0000)?;
        bits.write_rbsp_trailing_bits()?;
        out.extend(escape(&rbsp));
        Ok(out)
    }

    #[test]
    fn every_part_is_read_over() {
        let sps = full_sps().unwrap();
        let info = video_info(&sps).unwrap();
        assert_eq!(info.codecs, "hvc1.4.10.H120.50");
        assert_eq!((info.width, info.height), (1920 - 10, 1080));
        assert_eq!(info.display_width, 1910 * 3 / 2);
        assert_eq!(info.frame_rate, Some(FrameRate { num: 60_000, den: 1001 }));
        assert_eq!((info.range, info.scan), (VideoRange::Hlg, Scan::MaybeInterlaced));
    }

    #[test]
    fn a_cut_after_the_size_leaves_the_size() {
        let sps = full_sps().unwrap();
        let info = video_info(&sps[..sps.len() - 12]).unwrap();
        assert_eq!((info.width, info.height, info.frame_rate), (1910, 1080, None));
        assert!(video_info(&sps[..20]).is_none());
    }
}
