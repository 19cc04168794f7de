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

criterion_group!(benches, encrypt);
criterion_main!(benches);
