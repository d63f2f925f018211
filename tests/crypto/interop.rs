//! Both directions against the AWS Encryption SDK for Python, from `PyPI`.
//!
//! The SDK runs in a virtual environment below `$KEYSTEAD_CACHE` (by default `~/.cache/keystead`), made on first
//! use from the pinned requirements and named by their hash.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keystead::crypto::{
    EncryptionContext, Limits, OpenError, OsRandom, Suite, encrypt, open, peek, seal,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::Generation;

const LENGTHS: [usize; 5] = [0, 1, 4096, 5000, 1024 * 1024];
const FRAMED: u32 = 4096;
const NON_FRAMED: u32 = 0;

fn contexts() -> [EncryptionContext; 3] {
    let pairs = [
        ("team", "orders"),
        ("stage", "Pr\u{fc}fung \u{1f511}"),
        ("zone", ""),
    ];
    [
        EncryptionContext::empty(),
        EncryptionContext::user([("team", "orders")]).unwrap(),
        EncryptionContext::user(pairs).unwrap(),
    ]
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn the_python_sdk_opens_what_we_seal() {
    let key = Generation::new(1, 1);
    let cases: Vec<_> = cases().collect();
    let jobs = cases.iter().map(|(length, context)| {
        let message = seal(&plaintext(*length), context, &key.wrapping(), &mut OsRandom).unwrap();
        json!({"do": "decrypt", "message": STANDARD.encode(message), "key": key_json(&key)})
    });
    let results = run_sdk(jobs.collect());
    for ((length, context), result) in cases.iter().zip(&results) {
        assert_eq!(decode(&result["plaintext"]), plaintext(*length));
        assert_eq!(result["context"], context_json(context));
    }
    assert_eq!(results.len(), 15);
}

#[test]
fn we_open_what_the_python_sdk_seals() {
    let key = Generation::new(1, 1);
    let mut wanted = Vec::new();
    for (length, context) in cases() {
        for suite in [Suite::Committing, Suite::CommittingSigned] {
            for frame in [FRAMED, NON_FRAMED] {
                wanted.push((length, context.clone(), suite, frame));
            }
        }
    }
    let jobs = wanted.iter().map(|(length, context, suite, frame)| {
        json!({
            "do": "encrypt",
            "plaintext": STANDARD.encode(plaintext(*length)),
            "context": context_json(context),
            "suite": suite.id(),
            "frame": frame,
            "keys": [key_json(&key)],
        })
    });
    let results = run_sdk(jobs.collect());
    for ((length, context, suite, frame), result) in wanted.iter().zip(&results) {
        let message = decode(&result["message"]);
        assert_eq!(peek(&message).unwrap().suite, *suite);
        let opened = open(&message, context, &[key.wrapping()], Limits::default());
        let opened = opened.unwrap_or_else(|error| panic!("{length} {suite:?} {frame}: {error:?}"));
        assert_eq!(opened.expose(), plaintext(*length), "{suite:?} {frame}");
    }
    assert_eq!(results.len(), 60);
}

#[test]
fn damage_to_the_sdks_messages_is_noticed() {
    let key = Generation::new(1, 1);
    let context = EncryptionContext::user([("team", "orders")]).unwrap();
    let jobs = [
        (Suite::Committing, NON_FRAMED),
        (Suite::CommittingSigned, FRAMED),
    ];
    let jobs = jobs.map(|(suite, frame)| {
        json!({
            "do": "encrypt",
            "plaintext": STANDARD.encode("secret"),
            "context": context_json(&context),
            "suite": suite.id(),
            "frame": frame,
            "keys": [key_json(&key)],
        })
    });
    for result in run_sdk(jobs.to_vec()) {
        let message = decode(&result["message"]);
        let open = |bytes: &[u8]| open(bytes, &context, &[key.wrapping()], Limits::default());
        assert!(open(&message).is_ok());
        for position in 0..message.len() {
            let mut changed = message.clone();
            changed[position] ^= 1 << (position % 8);
            assert!(open(&changed).is_err(), "byte {position}");
            assert!(open(&message[..position]).is_err(), "{position} bytes");
        }
        assert!(open(&[message, vec![0]].concat()).is_err());
    }
}

#[test]
fn one_of_several_wrapped_keys_must_be_ours() {
    let (key, other) = (Generation::new(1, 1), Generation::new(2, 1));
    let foreign = json!({"foreign": "5a".repeat(32)});
    let job = |keys: Value| {
        json!({
            "do": "encrypt",
            "plaintext": STANDARD.encode("secret"),
            "context": {},
            "suite": Suite::Committing.id(),
            "frame": FRAMED,
            "keys": keys,
        })
    };
    let results = run_sdk(vec![
        job(json!([key_json(&key), foreign])),
        job(json!([foreign, key_json(&key)])),
        job(json!([foreign])),
        job(json!([key_json(&key), key_json(&other)])),
    ]);
    let empty = EncryptionContext::empty();
    let opened: Vec<_> = results
        .iter()
        .map(|result| {
            open(
                &decode(&result["message"]),
                &empty,
                &[key.wrapping()],
                Limits::default(),
            )
        })
        .collect();
    assert_eq!(opened[0].as_ref().unwrap().expose(), b"secret");
    assert_eq!(opened[1].as_ref().unwrap().expose(), b"secret");
    assert_eq!(opened[2], Err(OpenError::NoKey));
    assert_eq!(opened[3], Err(OpenError::SeveralKeys));
}

#[test]
fn small_ciphertexts_open_by_their_description() {
    let key = Generation::new(1, 1);
    let jobs = contexts().map(|context| {
        let blob = encrypt(b"small", &context, &key.wrapping(), &mut OsRandom).unwrap();
        json!({
            "do": "unwrap",
            "blob": STANDARD.encode(blob),
            "context": context_json(&context),
            "key": key_json(&key),
        })
    });
    for result in run_sdk(jobs.to_vec()) {
        assert_eq!(decode(&result["plaintext"]), b"small");
    }
}

fn cases() -> impl Iterator<Item = (usize, EncryptionContext)> {
    LENGTHS
        .into_iter()
        .flat_map(|length| contexts().map(|context| (length, context)))
}

fn decode(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn context_json(context: &EncryptionContext) -> Value {
    context
        .pairs()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn key_json(generation: &Generation) -> Value {
    json!({
        "arn": generation.arn.to_string(),
        "key": hex(generation.arn.key.as_bytes()),
        "material_id": hex(generation.material_id.as_bytes()),
        "material": hex(&generation.material_bytes()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Runs the jobs in one process of the SDK.
fn run_sdk(jobs: Vec<Value>) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let mut child = Command::new(&*PYTHON)
        .arg("-I")
        .arg(folder.join("interop.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = Value::Array(jobs).to_string();
    // From a thread of its own: the child may fill its output before it has read all input.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "interop.py failed; its error is above"
    );
    writer.join().unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The interpreter of the virtual environment.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(make_python);

fn make_python() -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/requirements.txt");
    let hash = Sha256::digest(fs::read(&requirements).unwrap());
    let cache = env::var_os("KEYSTEAD_CACHE").map_or_else(
        || {
            PathBuf::from(env::var_os("HOME").expect("HOME or KEYSTEAD_CACHE is set"))
                .join(".cache/keystead")
        },
        PathBuf::from,
    );
    let venv = cache.join(format!("venv-{}", &hex(&hash)[..16]));
    if !venv.exists() {
        // Made aside and renamed, so that an interrupted or simultaneous set-up leaves nothing half made.
        fs::create_dir_all(&cache).unwrap();
        let aside = tempfile::tempdir_in(&cache).unwrap();
        let fresh = aside.path().join("venv");
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&fresh));
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ];
        succeed(
            Command::new(fresh.join("bin/python"))
                .args(pip)
                .arg(requirements),
        );
        if fs::rename(&fresh, &venv).is_err() {
            assert!(venv.exists(), "another test made it first");
        }
    }
    venv.join("bin/python")
}

fn succeed(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| {
        panic!(
            "{}: {error} (the interoperability tests need python3 with venv)",
            name(command)
        )
    });
    assert!(
        status.success(),
        "{command:?} failed: python3 with its venv module is needed"
    );
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
