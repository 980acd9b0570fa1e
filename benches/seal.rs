//! What sealing and opening cost per byte, to be held against the disk and not against zero: a
//! core outruns any disk we write to, and more threads only help where that is not so.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::io::{self, Write};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keymanager::DataKey;
use recseal::domain::{RecordingId, SealedKind};
use recseal::seal::{Prefix, SealWriter, SealedReader, WriteAt, prove_equal, seal_file};

const SIZES: [(&str, usize); 3] =
    [("one chunk", 65_504), ("ten-minute call", 9_600_000), ("screen, 64 MiB", 64 << 20)];

/// Takes everything and keeps nothing.
struct Sink;

impl WriteAt for Sink {
    fn write_all_at(&self, buf: &[u8], _offset: u64) -> io::Result<()> {
        black_box(buf);
        Ok(())
    }
}

fn sealing(c: &mut Criterion) {
    let key = DataKey::generate();
    let prefix = Prefix::new(RecordingId::new(), &key, SealedKind::Media);
    let mut group = c.benchmark_group("seal");
    for (name, len_bytes) in SIZES {
        let plain = vec![0x5a; len_bytes];
        group.throughput(Throughput::Bytes(len_bytes as u64));
        for workers in [1, 2] {
            group.bench_function(BenchmarkId::new(format!("file, {workers} workers"), name), |b| {
                b.iter(|| seal_file(&key, prefix, black_box(&plain), &Sink, workers).unwrap());
            });
        }
        group.bench_function(BenchmarkId::new("stream", name), |b| {
            b.iter(|| {
                let mut writer = SealWriter::new(&key, prefix, io::sink()).unwrap();
                writer.write_all(black_box(&plain)).unwrap();
                writer.finish().unwrap().1
            });
        });
    }
    group.finish();
}

fn opening(c: &mut Criterion) {
    let key = DataKey::generate();
    let prefix = Prefix::new(RecordingId::new(), &key, SealedKind::Media);
    let mut group = c.benchmark_group("open");
    for (name, len_bytes) in SIZES {
        let plain = vec![0x5a; len_bytes];
        let mut writer = SealWriter::new(&key, prefix, Vec::new()).unwrap();
        writer.write_all(&plain).unwrap();
        let reader = SealedReader::open(&key, writer.finish().unwrap().0).unwrap();
        group.throughput(Throughput::Bytes(len_bytes as u64));
        group.bench_function(BenchmarkId::new("prove equal", name), |b| {
            b.iter(|| prove_equal(&reader, black_box(&plain), 1).unwrap().plain_bytes());
        });
        // What a player waits for after a seek, without the disk.
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("seek and read 4 KiB", name), |b| {
            let mut buf = [0; 4_096];
            b.iter(|| reader.read_at(&mut buf, black_box(len_bytes as u64 / 2)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, sealing, opening);
criterion_main!(benches);
