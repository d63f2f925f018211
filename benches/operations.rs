//! What the operations on keys cost, checks included, with a gate that allows everything at once.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that fails to set up has nothing to report"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::executor::block_on;
use k8s_openapi::jiff::Timestamp;
use keystead::authorization::Subject;
use keystead::crypto::{
    EncryptionContext, InstallationId, KeyId, MacAlgorithm, Message, OaepAlgorithm, OsRandom,
    RootKey, SigningAlgorithm,
};
use keystead::keys::operations::{
    Call, Caller, DataKeyLength, DataKeyRequest, DecryptRequest, EncryptRequest,
    EncryptionAlgorithm, Gate, MacRequest, Operations, Outcome, Refused, SignRequest, Unrecorded,
    Use, VerifyRequest,
};
use keystead::keys::{Key, Keyring, NewKey, new_generation};
use keystead::policy::Principal;
use keystead::roots::RootKeys;
use serde_json::json;

struct Open;

impl Gate for Open {
    async fn admit(&self, _: &Use<'_>) -> Result<String, Refused> {
        Ok(String::new())
    }

    async fn record(&self, _: &Use<'_>, _: Outcome<'_>) -> Result<(), Unrecorded> {
        Ok(())
    }
}

fn id(number: u8) -> KeyId {
    KeyId::from_bytes([number; 16])
}

fn key(number: u8, spec: &str, usage: &str) -> Key {
    let (installation, id) = (InstallationId::from_bytes([7; 16]), id(number));
    let root = RootKey::generate(&mut OsRandom).unwrap();
    let mut truth: keystead::api::KeyMaterial = serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1", "kind": "KeyMaterial",
        "metadata": {"namespace": "keystead-system", "name": id.to_string()},
        "spec": {
            "namespace": "shop", "name": "orders", "namespaceUid": "n", "objectUid": "o",
            "arn": format!("arn:aws:kms:ks-local-1:123456789012:key/{id}"),
            "keySpec": spec, "keyUsage": usage, "origin": "Keystead", "enabled": true, "generations": [],
        },
    }))
    .unwrap();
    let new = NewKey {
        installation,
        root: &root,
        id,
        now: Timestamp::UNIX_EPOCH,
    };
    let made = new_generation(&new, &truth.spec, &mut OsRandom).unwrap();
    truth.spec.generations.push(made);
    Key::load(truth, installation, &RootKeys::only(Arc::new(root))).unwrap()
}

fn benchmarks(criterion: &mut Criterion) {
    let keyring = Arc::new(Keyring::default());
    let signers = [
        (1, "EccNistP256", SigningAlgorithm::EcdsaSha256),
        (2, "EccNistP384", SigningAlgorithm::EcdsaSha384),
        (3, "EccNistEdwards25519", SigningAlgorithm::Ed25519Sha512),
        (4, "Rsa2048", SigningAlgorithm::RsassaPssSha256),
        (5, "Rsa4096", SigningAlgorithm::RsassaPssSha256),
    ];
    for (number, spec, _) in signers {
        keyring.insert(key(number, spec, "SignVerify"));
    }
    keyring.insert(key(6, "SymmetricDefault", "EncryptDecrypt"));
    keyring.insert(key(7, "Hmac256", "GenerateVerifyMac"));
    keyring.insert(key(8, "Rsa2048", "EncryptDecrypt"));
    let operations = Operations::new(keyring, Open);
    let caller = Caller {
        principal: Principal::user("ann", [], None).unwrap(),
        subject: Subject::default(),
        via: None,
    };
    let call = Call {
        caller: &caller,
        request_id: "r",
        dry_run: false,
    };
    symmetric(criterion, &operations, call);
    for (number, spec, algorithm) in signers {
        let request = SignRequest {
            key: id(number),
            message: Message::Raw(&[0x5a; 1024]),
            algorithm,
        };
        let signed = block_on(operations.sign(call, request)).unwrap();
        criterion.bench_function(&format!("sign {spec}"), |bencher| {
            bencher.iter(|| block_on(operations.sign(call, black_box(request))).unwrap());
        });
        let verify = VerifyRequest {
            signed: request,
            signature: &signed.signature,
        };
        criterion.bench_function(&format!("verify {spec}"), |bencher| {
            bencher.iter(|| block_on(operations.verify(call, black_box(verify))).unwrap());
        });
    }
}

fn symmetric(criterion: &mut Criterion, operations: &Operations<Open>, call: Call<'_>) {
    let context = EncryptionContext::user([("team", "orders")]).unwrap();
    let encrypt = EncryptRequest {
        key: id(6),
        plaintext: &[0x5a; 1024],
        context: &context,
        algorithm: EncryptionAlgorithm::Symmetric,
    };
    criterion.bench_function("encrypt 1 KiB", |bencher| {
        bencher.iter(|| block_on(operations.encrypt(call, black_box(encrypt))).unwrap());
    });
    let made = block_on(operations.encrypt(call, encrypt)).unwrap();
    let decrypt = DecryptRequest {
        key: None,
        ciphertext: &made.ciphertext,
        context: &context,
        algorithm: EncryptionAlgorithm::Symmetric,
    };
    criterion.bench_function("decrypt 1 KiB", |bencher| {
        bencher.iter(|| block_on(operations.decrypt(call, black_box(decrypt))).unwrap());
    });
    let data_key = DataKeyRequest {
        key: id(6),
        context: &context,
        length: DataKeyLength::Aes256,
    };
    criterion.bench_function("generate data key", |bencher| {
        bencher.iter(|| block_on(operations.generate_data_key(call, black_box(data_key))).unwrap());
    });
    let mac = MacRequest {
        key: id(7),
        message: &[0x5a; 1024],
        algorithm: MacAlgorithm::HmacSha256,
    };
    criterion.bench_function("generate MAC 1 KiB", |bencher| {
        bencher.iter(|| block_on(operations.generate_mac(call, black_box(mac))).unwrap());
    });
    let none = EncryptionContext::empty();
    let algorithm = EncryptionAlgorithm::Oaep(OaepAlgorithm::RsaesOaepSha256);
    let encrypt = EncryptRequest {
        key: id(8),
        plaintext: &[0x5a; 32],
        context: &none,
        algorithm,
    };
    let made = block_on(operations.encrypt(call, encrypt)).unwrap();
    let decrypt = DecryptRequest {
        key: Some(id(8)),
        ciphertext: &made.ciphertext,
        context: &none,
        algorithm,
    };
    criterion.bench_function("decrypt Rsa2048", |bencher| {
        bencher.iter(|| block_on(operations.decrypt(call, black_box(decrypt))).unwrap());
    });
}

criterion_group!(all, benchmarks);
criterion_main!(all);
