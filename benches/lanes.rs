//! AES-128-CBC: one stream with the `cbc` crate against 1, 8 and 64 lanes in lock-step.
//!
//! 64 lanes of 32 KiB fill a 2 MiB cache; 8 KiB is the tile that stays well inside it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyrung::crypto::cbc::{self, CbcStream};
use keyrung::crypto::iv::Iv;
use keyrung::crypto::key::ContentKey;
use keyrung::crypto::lanes::{LaneCipher, tile_stride};
use std::hint::black_box;

const KIB: usize = 1024;

fn encrypt(c: &mut Criterion) {
    let key = ContentKey::from_bytes(&mut [7; 16]);
    let cipher = LaneCipher::new(&key);
    let mut group = c.benchmark_group("encrypt");
    group.throughput(Throughput::Bytes(32 * KIB as u64));
    group.bench_function("cbc/32KiB", |b| {
        let mut stream = CbcStream::new(&key, Iv::from_bytes([1; 16]));
        let mut data = vec![0x47; 32 * KIB];
        b.iter(|| stream.encrypt_blocks(black_box(&mut data)));
    });
    for lane_bytes in [8 * KIB, 32 * KIB] {
        for lanes in [1, 8, 64] {
            group.throughput(Throughput::Bytes((lanes * lane_bytes) as u64));
            let name = BenchmarkId::new(format!("{lanes} lanes"), format!("{}KiB", lane_bytes / KIB));
            group.bench_function(name, |b| {
                let stride = tile_stride(lane_bytes);
                let mut tile = vec![0x47; lanes * stride];
                let mut chains = vec![[1; 16]; lanes];
                b.iter(|| cipher.encrypt(&mut chains, black_box(&mut tile), stride, lane_bytes / cbc::BLOCK));
            });
        }
    }
    group.finish();
}

/// Lanes as the engine uses them: eight at a time, and the next segment takes the place of one that has ended.
fn uneven(c: &mut Criterion) {
    const LANES: usize = 8;
    let key = ContentKey::from_bytes(&mut [7; 16]);
    let cipher = LaneCipher::new(&key);
    let stride = tile_stride(32 * KIB);
    let lengths: Vec<usize> = (1..=40).map(|n| (n * 29 % 41) * 11 * KIB + n * cbc::BLOCK).collect();
    let mut group = c.benchmark_group("uneven");
    group.throughput(Throughput::Bytes(lengths.iter().sum::<usize>() as u64));
    group.bench_function("40 segments, 8 lanes", |b| {
        let (mut tile, mut chains) = (vec![0x47; LANES * stride], Vec::new());
        b.iter(|| {
            let mut waiting = lengths.iter().copied();
            let mut left: Vec<usize> = waiting.by_ref().take(LANES).collect();
            chains.clear();
            chains.resize(left.len(), [1; 16]);
            while !left.is_empty() {
                let most = left.iter().copied().max().unwrap_or(0).min(32 * KIB);
                cipher.encrypt(&mut chains, black_box(&mut tile), stride, most / cbc::BLOCK);
                for lane in (0..left.len()).rev() {
                    left[lane] = left[lane].saturating_sub(most);
                    if left[lane] > 0 {
                        continue;
                    }
                    match waiting.next() {
                        Some(length) => (left[lane], chains[lane]) = (length, [1; 16]),
                        None => {
                            left.swap_remove(lane);
                            chains.swap_remove(lane);
                        }
                    }
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, encrypt, uneven);
criterion_main!(benches);
