//! AES-128-CBC of many segments in lock-step. One CBC stream is a serial chain that leaves most of an AES unit idle; a block
//! of each of many independent streams per step fills it. Byte for byte the same as [`cbc`](crate::crypto::cbc).

use crate::crypto::cbc::BLOCK;
use crate::crypto::key::ContentKey;
use aes::Aes128Enc;
use aes::cipher::consts::{U8, U16};
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    Array, Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOut, KeyInit,
    ParBlocks, ParBlocksSizeUser,
};

/// The widest AES backend encrypts this many blocks at once (VAES on AVX-512); more lanes than that gain nothing.
pub const MAX_LANES: usize = 64;

/// Bytes of a cache line, and the unit of a tile's stride.
const LINE: usize = 64;

/// Blocks that are taken from each lane between two looks at the tile's bounds.
const RUN: usize = 32;

/// Distance in bytes between two lanes of a tile whose lanes hold `lane_bytes` each: an odd number of cache lines, so that
/// the same block of every lane falls into another cache set. At a power of two all of them would fight for one.
#[must_use]
pub const fn tile_stride(lane_bytes: usize) -> usize {
    (lane_bytes.div_ceil(LINE) | 1) * LINE
}

/// AES-128 with one key, ready to encrypt any number of CBC streams side by side.
pub struct LaneCipher(Aes128Enc);

impl LaneCipher {
    /// Expands the key schedule once; it is wiped on drop.
    #[must_use]
    pub fn new(key: &ContentKey) -> Self {
        Self(Aes128Enc::new(key.expose().into()))
    }

    /// The number of lanes that this machine encrypts in one step, at most [`MAX_LANES`]: 64 with VAES on AVX-512, 8 with
    /// AES-NI or ARMv8. Multiples of it are the best numbers of lanes. The 30 of VAES on AVX2 are not reached before
    /// `cpufeatures` tells it from AVX-512 (RustCrypto/utils#1528).
    #[must_use]
    pub fn width(&self) -> usize {
        let mut width = 0;
        self.0.encrypt_with_backend(Width(&mut width));
        width
    }

    /// Encrypts `lane_blocks` blocks of every lane in place.
    ///
    /// There is one lane for each of `chains`: the IV before a segment's first block, afterwards its last cipher block,
    /// which is what the call leaves there. Lane i is `tile[i * stride..][..lane_blocks * 16]`; the bytes between
    /// lanes are not touched. For `stride` see [`tile_stride`]. Padding is the caller's.
    ///
    /// # Panics
    /// When the lanes overlap or `tile` does not hold them all. Neither depends on what is encrypted.
    pub fn encrypt(&self, chains: &mut [[u8; BLOCK]], tile: &mut [u8], stride: usize, lane_blocks: usize) {
        let Some(before_last) = chains.len().checked_sub(1) else { return };
        let lane_bytes = lane_blocks.checked_mul(BLOCK).expect("a lane fits the address space");
        let end = before_last.checked_mul(stride).and_then(|at| at.checked_add(lane_bytes));
        assert!(lane_bytes <= stride || before_last == 0, "lanes of {lane_bytes} bytes overlap at stride {stride}");
        assert!(end.is_some_and(|end| end <= tile.len()), "a tile of {} bytes does not hold its lanes", tile.len());
        if lane_blocks > 0 {
            self.0.encrypt_with_backend(LockStep { chains, tile, stride: stride.max(lane_bytes), lane_blocks });
        }
    }
}

/// Asks the backend how many blocks it takes at once.
struct Width<'a>(&'a mut usize);

impl BlockSizeUser for Width<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Width<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, _: &B) {
        *self.0 = B::ParBlocksSize::USIZE;
    }
}

/// The whole call as one closure: the choice of backend and the loading of round keys happen once, not once a step.
struct LockStep<'a> {
    chains: &'a mut [[u8; BLOCK]],
    tile: &'a mut [u8],
    stride: usize,
    lane_blocks: usize,
}

impl BlockSizeUser for LockStep<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for LockStep<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { mut chains, mut tile, stride, lane_blocks } = self;
        let widest = B::ParBlocksSize::USIZE;
        while !chains.is_empty() {
            // A wide step costs the same however many of its lanes are real: about as much as six narrow ones of 8 lanes
            // on AVX-512, three on AVX2.
            let wide = widest <= NarrowWidth::USIZE || chains.len() > widest / 4 * 3;
            let lanes = chains.len().min(if wide { widest } else { NarrowWidth::USIZE });
            let (group, other_chains) = chains.split_at_mut(lanes);
            let (group_tile, other_lanes) = tile.split_at_mut(tile.len().min(lanes * stride));
            if let [chain] = group {
                encrypt_one(backend, chain, group_tile, lane_blocks);
            } else if wide {
                encrypt_group(backend, group, group_tile, stride, lane_blocks);
            } else {
                encrypt_group(&Narrow(backend), group, group_tile, stride, lane_blocks);
            }
            (chains, tile) = (other_chains, other_lanes);
        }
    }
}

type NarrowWidth = U8;

/// A wide backend with 8 blocks in parallel: single-block encryptions that do not depend on each other, which the CPU
/// overlaps by itself.
struct Narrow<'a, B>(&'a B);

impl<B> BlockSizeUser for Narrow<'_, B> {
    type BlockSize = U16;
}

impl<B> ParBlocksSizeUser for Narrow<'_, B> {
    type ParBlocksSize = NarrowWidth;
}

impl<B: BlockCipherEncBackend<BlockSize = U16>> BlockCipherEncBackend for Narrow<'_, B> {
    #[inline(always)]
    fn encrypt_block(&self, block: InOut<'_, '_, Block<Self>>) {
        self.0.encrypt_block(block);
    }
}

/// Encrypts a lane that has no company, as [`cbc`](crate::crypto::cbc) does.
#[inline(always)]
fn encrypt_one<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    chain: &mut [u8; BLOCK],
    lane: &mut [u8],
    lane_blocks: usize,
) {
    let mut state = Array(*chain);
    for block in lane.as_chunks_mut::<BLOCK>().0.iter_mut().take(lane_blocks) {
        state.0 = xor(state.0, *block);
        backend.encrypt_block_inplace(&mut state);
        *block = state.0;
    }
    *chain = state.0;
}

/// The next N blocks of as many lanes as the backend takes. Arrays of fixed size: the loops over them check no bounds.
type Lanes<'a, B, const N: usize> = Array<&'a mut [[u8; BLOCK]; N], <B as ParBlocksSizeUser>::ParBlocksSize>;

/// Encrypts up to `B::ParBlocksSize` lanes; the missing ones are played by a scratch area.
#[inline(always)]
fn encrypt_group<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    chains: &mut [[u8; BLOCK]],
    tile: &mut [u8],
    stride: usize,
    lane_blocks: usize,
) {
    let mut state = ParBlocks::<B>::default();
    for (state, chain) in state.iter_mut().zip(&*chains) {
        state.0 = *chain;
    }
    let mut scratch;
    let missing: &mut [[[u8; BLOCK]; RUN]] = if chains.len() < B::ParBlocksSize::USIZE {
        scratch = [[[0; BLOCK]; RUN]; MAX_LANES];
        &mut scratch
    } else {
        &mut []
    };
    let whole_runs = lane_blocks - lane_blocks % RUN;
    for at in (0..whole_runs).step_by(RUN) {
        encrypt_run(backend, &mut state, lanes_at::<B, RUN>(tile, stride, at, missing));
    }
    for at in whole_runs..lane_blocks {
        encrypt_run(backend, &mut state, lanes_at::<B, 1>(tile, stride, at, missing));
    }
    for (state, chain) in state.iter().zip(chains) {
        *chain = state.0;
    }
}

/// Blocks `at..at + N` of every lane of the tile, then of `missing`.
#[inline(always)]
fn lanes_at<'a, B: ParBlocksSizeUser, const N: usize>(
    tile: &'a mut [u8],
    stride: usize,
    at: usize,
    missing: &'a mut [[[u8; BLOCK]; RUN]],
) -> Lanes<'a, B, N> {
    let mut lanes = tile
        .chunks_mut(stride)
        .filter_map(|lane| lane.as_chunks_mut::<BLOCK>().0.get_mut(at..)?.first_chunk_mut())
        .chain(missing.iter_mut().filter_map(|lane| lane.first_chunk_mut()));
    Array::from_fn(|_| lanes.next().expect("the tile was checked, and no backend is wider than MAX_LANES"))
}

/// N steps: a block of every lane is mixed into its chain, encrypted, and put back.
#[inline(always)]
fn encrypt_run<B: BlockCipherEncBackend<BlockSize = U16>, const N: usize>(
    backend: &B,
    state: &mut ParBlocks<B>,
    mut lanes: Lanes<'_, B, N>,
) {
    // A wide backend reads its blocks by vectors that hold several. Right after single blocks were stored there that
    // stalls until the stores are through, so they are gathered one step ahead, while the AES unit is busy.
    let ahead = B::ParBlocksSize::USIZE > NarrowWidth::USIZE;
    let mut plain = ParBlocks::<B>::default();
    if ahead {
        gather::<B, N>(&mut plain, &lanes, 0);
    }
    for step in 0..N {
        if ahead {
            xor_words(state, &plain);
            if step + 1 < N {
                gather::<B, N>(&mut plain, &lanes, step + 1);
            }
        } else {
            xor_blocks::<B, N>(state, &lanes, step);
        }
        backend.encrypt_par_blocks_inplace(state);
        for (state, lane) in state.iter().zip(&mut lanes) {
            lane[step] = state.0;
        }
    }
}

/// Copies block `step` of every lane to where the lanes' blocks lie side by side.
#[inline(always)]
fn gather<B: BlockCipherEncBackend<BlockSize = U16>, const N: usize>(
    plain: &mut ParBlocks<B>,
    lanes: &Lanes<'_, B, N>,
    step: usize,
) {
    for (plain, lane) in plain.iter_mut().zip(lanes) {
        plain.0 = lane[step];
    }
}

/// Mixes block `step` of every lane into its chain, block by block: a narrow backend loads what was stored here.
#[inline(always)]
fn xor_blocks<B: BlockCipherEncBackend<BlockSize = U16>, const N: usize>(
    state: &mut ParBlocks<B>,
    lanes: &Lanes<'_, B, N>,
    step: usize,
) {
    for (state, lane) in state.iter_mut().zip(lanes) {
        state.0 = xor(state.0, lane[step]);
    }
}

#[inline(always)]
fn xor(a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}

/// `state ^= plain` by words and not by blocks, which the compiler turns into the widest vectors there are.
#[inline(always)]
fn xor_words(state: &mut [Array<u8, U16>], plain: &[Array<u8, U16>]) {
    let state = Array::cast_slice_to_core_mut(state).as_flattened_mut().as_chunks_mut::<8>().0;
    let plain = Array::cast_slice_to_core(plain).as_flattened().as_chunks::<8>().0;
    for (state, plain) in state.iter_mut().zip(plain) {
        *state = (u64::from_ne_bytes(*state) ^ u64::from_ne_bytes(*plain)).to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::cbc::CbcStream;
    use crate::crypto::iv::Iv;
    use aes::cipher::array::ArraySize;
    use aes::cipher::consts::{U2, U30, U64};
    use proptest::prelude::*;
    use std::marker::PhantomData;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Encrypts `lanes` lanes in one call for each of `calls` (a number of blocks) and holds tile and chains against `cbc`.
    fn check(seed: u64, lanes: usize, stride: usize, calls: &[usize]) {
        let gap = (seed % 3 * 200) as usize;
        let key = ContentKey::from_bytes(&mut noise(seed, 16).try_into().unwrap());
        let cipher = LaneCipher::new(&key);
        let mut chains = noise(!seed, lanes * BLOCK).as_chunks::<BLOCK>().0.to_vec();
        let mut streams: Vec<_> = chains.iter().map(|iv| CbcStream::new(&key, Iv::from_bytes(*iv))).collect();
        for (call, &blocks) in (0..).zip(calls) {
            // A tile may be larger than its lanes; what lies behind them stays.
            let mut tile = noise(seed ^ call, (lanes - 1) * stride + blocks * BLOCK + gap);
            let (mut expected, mut expected_chains) = (tile.clone(), chains.clone());
            for (i, stream) in streams.iter_mut().enumerate() {
                let lane = &mut expected[i * stride..][..blocks * BLOCK];
                stream.encrypt_blocks(lane).unwrap();
                if let Some(last) = lane.last_chunk() {
                    expected_chains[i] = *last;
                }
            }
            cipher.encrypt(&mut chains, &mut tile, stride, blocks);
            assert!(tile == expected, "{lanes} lanes of {blocks} blocks at {stride}");
            assert!(chains == expected_chains, "chains of {lanes} lanes of {blocks} blocks at {stride}");
        }
    }

    /// Every number of lanes around the widths of all backends, every number of blocks around one run.
    #[test]
    fn lanes_equal_cbc() {
        for lanes in (1..=70).chain([127, 128, 129, 150]) {
            check(lanes as u64, lanes, tile_stride(3 * BLOCK), &[0, 1, 2, 3]);
        }
        for blocks in 0..=2 * RUN + 1 {
            for lanes in [1, 8, 33, 64] {
                check(blocks as u64, lanes, tile_stride(blocks * BLOCK), &[blocks, 1, blocks]);
            }
        }
    }

    /// The machine's backend made to look `W` blocks wide, which takes the paths of other machines.
    struct AsWideAs<'a, B, W>(&'a B, PhantomData<W>);

    impl<B, W> BlockSizeUser for AsWideAs<'_, B, W> {
        type BlockSize = U16;
    }

    impl<B, W: ArraySize> ParBlocksSizeUser for AsWideAs<'_, B, W> {
        type ParBlocksSize = W;
    }

    impl<B: BlockCipherEncBackend<BlockSize = U16>, W: ArraySize> BlockCipherEncBackend for AsWideAs<'_, B, W> {
        fn encrypt_block(&self, block: InOut<'_, '_, Block<Self>>) {
            self.0.encrypt_block(block);
        }
    }

    struct OnWidth<'a, W>(LockStep<'a>, PhantomData<W>);

    impl<W> BlockSizeUser for OnWidth<'_, W> {
        type BlockSize = U16;
    }

    impl<W: ArraySize> BlockCipherEncClosure for OnWidth<'_, W> {
        fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
            self.0.call(&AsWideAs::<B, W>(backend, PhantomData));
        }
    }

    fn check_width<W: ArraySize>() {
        let cipher = LaneCipher::new(&ContentKey::from_bytes(&mut [1; 16]));
        for lanes in 1..=70 {
            let (lane_blocks, stride) = (RUN + 2, tile_stride((RUN + 2) * BLOCK));
            let mut chains = noise(1, lanes * BLOCK).as_chunks::<BLOCK>().0.to_vec();
            let mut tile = noise(2, lanes * stride);
            let (mut expected_chains, mut expected) = (chains.clone(), tile.clone());
            cipher.encrypt(&mut expected_chains, &mut expected, stride, lane_blocks);
            let lock_step = LockStep { chains: &mut chains, tile: &mut tile, stride, lane_blocks };
            cipher.0.encrypt_with_backend(OnWidth::<W>(lock_step, PhantomData));
            assert!(tile == expected && chains == expected_chains, "{lanes} lanes on a width of {}", W::USIZE);
        }
    }

    /// Software (2 and up), AES-NI and ARMv8 (8), VAES on AVX2 (30), VAES on AVX-512 (64).
    #[test]
    fn every_backend_width_gives_the_same() {
        check_width::<U2>();
        check_width::<U8>();
        check_width::<U30>();
        check_width::<U64>();
    }

    proptest! {
        #[test]
        fn random_shapes_equal_cbc(seed: u64, lanes in 1_usize..200, calls in prop::collection::vec(0_usize..80, 1..4), gap in 0_usize..100) {
            let longest = calls.iter().max().map_or(0, |blocks| blocks * BLOCK);
            check(seed, lanes, longest + gap, &calls);
        }
    }

    #[test]
    fn no_lanes_and_no_blocks_are_fine() {
        let cipher = LaneCipher::new(&ContentKey::from_bytes(&mut [1; 16]));
        cipher.encrypt(&mut [], &mut [], 0, 5);
        let mut chains = [[9; BLOCK]; 3];
        cipher.encrypt(&mut chains, &mut [], 0, 0);
        assert_eq!(chains, [[9; BLOCK]; 3]);
        // One lane needs no stride.
        cipher.encrypt(&mut chains[..1], &mut [0; 32], 0, 2);
        assert_ne!(chains[0], [9; BLOCK]);
    }

    #[test]
    #[should_panic(expected = "does not hold its lanes")]
    fn a_short_tile_is_refused() {
        LaneCipher::new(&ContentKey::from_bytes(&mut [1; 16])).encrypt(&mut [[0; BLOCK]; 2], &mut [0; 63], 48, 1);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_lanes_are_refused() {
        LaneCipher::new(&ContentKey::from_bytes(&mut [1; 16])).encrypt(&mut [[0; BLOCK]; 2], &mut [0; 640], 31, 2);
    }

    #[test]
    fn strides_are_odd_numbers_of_lines() {
        for bytes in [0, 1, 64, 65, 2048, 8192, 32_768, 32_769] {
            let stride = tile_stride(bytes);
            assert!(
                stride >= bytes && stride < bytes + 3 * LINE && stride.is_multiple_of(LINE) && stride / LINE % 2 == 1,
                "{bytes}"
            );
        }
    }

    #[test]
    fn the_width_is_the_backends() {
        let width = LaneCipher::new(&ContentKey::from_bytes(&mut [1; 16])).width();
        assert!((1..=MAX_LANES).contains(&width));
    }
}
