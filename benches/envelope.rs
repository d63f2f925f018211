//! What an envelope costs beside the bare cipher, for messages from 64 bytes to 1 MiB.
//!
//! The bare ciphers do one call over the whole message with a prepared key and buffer; the envelope also
//! allocates, draws randomness, derives its keys, writes the header and cuts the body into frames.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that fails to set up has nothing to report"
)]

use std::hint::black_box;

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{AeadInOut as _, inout::InOutBuf},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use keystead::crypto::{
    AccountId, Arn, EncryptionContext, InstallationId, KeyId, Limits, Material, MaterialId,
    OsRandom, Purpose, WrappingKey, open, seal,
};

const SIZES: [usize; 4] = [64, 4 * 1024, 64 * 1024, 1024 * 1024];
const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [9; 12];
const AAD: &[u8] = b"context";

fn benchmarks(criterion: &mut Criterion) {
    let arn = Arn {
        region: "eu-central-1".parse().unwrap(),
        account: AccountId::of(InstallationId::from_bytes([1; 16]), "shop"),
        key: KeyId::from_bytes([2; 16]),
    };
    let material = Material::generate(&mut OsRandom).unwrap();
    let material_id = MaterialId::from_bytes([3; 16]);
    let key = WrappingKey {
        arn: &arn,
        material_id,
        material: &material,
    };
    let place = Purpose::Value {
        namespace: "shop",
        secret: "orders-db",
        version: "v1",
    };
    let context = place.context(&EncryptionContext::empty()).unwrap();
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        let mut group = criterion.benchmark_group(format!("seal {size}"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("envelope", |bencher| {
            bencher.iter(|| seal(black_box(&plaintext), &context, &key, &mut OsRandom).unwrap());
        });
        bare_seal(&mut group, &plaintext);
        group.finish();

        let message = seal(&plaintext, &context, &key, &mut OsRandom).unwrap();
        let mut group = criterion.benchmark_group(format!("open {size}"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("envelope", |bencher| {
            bencher
                .iter(|| open(black_box(&message), &context, &[key], Limits::default()).unwrap());
        });
        bare_open(&mut group, &plaintext);
        group.finish();
    }
}

fn bare_seal(group: &mut BenchmarkGroup<'_, WallTime>, plaintext: &[u8]) {
    let mut out = vec![0; plaintext.len()];
    let cipher = Aes256Gcm::new(&KEY.into());
    group.bench_function("aes-gcm", |bencher| {
        bencher.iter(|| {
            let buffer = InOutBuf::new(black_box(plaintext), &mut out).unwrap();
            cipher
                .encrypt_inout_detached(&NONCE.into(), AAD, buffer)
                .unwrap()
        });
    });
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    group.bench_function("aws-lc-rs", |bencher| {
        bencher.iter(|| {
            let nonce = Nonce::assume_unique_for_key(NONCE);
            key.seal_in_place_separate_tag(nonce, Aad::from(AAD), black_box(&mut out))
                .unwrap()
        });
    });
}

fn bare_open(group: &mut BenchmarkGroup<'_, WallTime>, plaintext: &[u8]) {
    let cipher = Aes256Gcm::new(&KEY.into());
    let mut ciphertext = plaintext.to_vec();
    let buffer = ciphertext.as_mut_slice().into();
    let tag = cipher
        .encrypt_inout_detached(&NONCE.into(), AAD, buffer)
        .unwrap();
    let mut out = vec![0; plaintext.len()];
    group.bench_function("aes-gcm", |bencher| {
        bencher.iter(|| {
            let buffer = InOutBuf::new(black_box(&ciphertext), &mut out).unwrap();
            cipher
                .decrypt_inout_detached(&NONCE.into(), AAD, buffer, &tag)
                .unwrap();
        });
    });
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    group.bench_function("aws-lc-rs", |bencher| {
        bencher.iter(|| {
            let nonce = Nonce::assume_unique_for_key(NONCE);
            key.open_separate_gather(
                nonce,
                Aad::from(AAD),
                black_box(&ciphertext),
                &tag,
                &mut out,
            )
            .unwrap();
        });
    });
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
