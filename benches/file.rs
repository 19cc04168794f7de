//! Whole files: encryption and decryption of 1 MiB with a 256-bit key in each mode, and the check of GCM's tag alone.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyrung::crypto::file::{FileCipher, FileIv, FileMode, FileScheme};
use keyrung::crypto::key::FileKey;
use std::hint::black_box;

const SIZE: usize = 1 << 20;

fn whole_files(c: &mut Criterion) {
    let mut group = c.benchmark_group("file");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for mode in [FileMode::Ctr, FileMode::Gcm, FileMode::Cbc] {
        let key = FileKey::from_bytes(&mut [7; 32]).expect("32 bytes");
        let scheme = FileScheme::new(mode, FileIv::Long([1; 16])).expect("16 bytes");
        let cipher = FileCipher::new(&key, scheme);
        let (data, mut out) = (vec![0x47; SIZE], Vec::with_capacity(2 * SIZE));
        group.bench_function(BenchmarkId::new("encrypt", mode), |b| {
            b.iter(|| {
                out.clear();
                cipher.encryptor().update(black_box(&data), &mut out)
            });
        });
        group.bench_function(BenchmarkId::new("decrypt", mode), |b| {
            b.iter(|| {
                out.clear();
                cipher.decryptor().update(black_box(&data), &mut out)
            });
        });
        if mode == FileMode::Gcm {
            group.bench_function("authenticate/gcm", |b| {
                b.iter(|| cipher.authenticator().update(black_box(&data)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, whole_files);
criterion_main!(benches);
