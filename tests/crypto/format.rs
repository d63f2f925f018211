//! The bytes themselves: the documented example, and messages that no writer of ours would make.

use keystead::crypto::{
    AccountId, Arn, EncryptionContext, Limits, Material, MaterialBinding, MaterialId, OpenError,
    OsRandom, ParseError, Purpose, Random, RandomError, RootKey, SealingKeys, SealingPrivateKey,
    SecretArray, SecretBytes, WrappingKey, open, open_sealed, seal, seal_to, unwrap_material,
    wrap_material,
};

use crate::support::{Generation, INSTALLATION};

const FORMATS: &str = include_str!("../../docs/formats.md");

/// Counts bytes up from zero: reproducible, and no secret.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

/// The bytes of the document's hex block of this number, without the remarks.
fn documented(number: usize) -> Vec<u8> {
    let block = FORMATS
        .split("```hex\n")
        .nth(number + 1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let digits = block
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn example_arn() -> Arn {
    Arn {
        region: "eu-central-1".parse().unwrap(),
        account: AccountId::of(INSTALLATION, "shop"),
        key: "11111111-1111-4111-8111-111111111111".parse().unwrap(),
    }
}

fn example_material() -> Material {
    Material::from_secret(SecretArray::from_slice(&[0x33; 32]).unwrap())
}

const EXAMPLE_MATERIAL_ID: MaterialId = MaterialId::from_bytes([0x22; 16]);

#[test]
fn the_documented_envelope_is_what_we_write_and_read() {
    let (arn, material) = (example_arn(), example_material());
    let key = WrappingKey {
        arn: &arn,
        material_id: EXAMPLE_MATERIAL_ID,
        material: &material,
    };
    let user = EncryptionContext::user([("team", "orders")]).unwrap();
    let place = Purpose::Value {
        namespace: "shop",
        secret: "orders-db",
        version: "v1",
    };
    let context = place.context(&user).unwrap();
    let message = seal(b"correct horse", &context, &key, &mut Counting(0)).unwrap();
    assert_eq!(message, documented(0));
    let opened = open(&documented(0), &context, &[key], Limits::default()).unwrap();
    assert_eq!(opened.expose(), b"correct horse");
}

#[test]
fn the_documented_material_is_what_we_write_and_read() {
    let root = RootKey::from_secret(SecretArray::from_slice(&[0x44; 32]).unwrap());
    let binding = MaterialBinding {
        installation: INSTALLATION,
        key: example_arn().key,
        material: EXAMPLE_MATERIAL_ID,
        namespace: "shop",
        name: "orders",
        spec: "SymmetricDefault",
        usage: "EncryptDecrypt",
        origin: "Keystead",
    };
    let bytes = || SecretBytes::copy_of(&[0x33; 32]);
    let wrapped = wrap_material(&root, &binding, &bytes(), &mut Counting(0)).unwrap();
    assert_eq!(wrapped, documented(1));
    assert_eq!(
        unwrap_material(&root, &binding, &documented(1)),
        Ok(bytes())
    );
}

/// An envelope without context, whose fields have fixed places.
struct Fields {
    message: Vec<u8>,
    key: Generation,
}

/// Where the fields of [`Fields`] lie.
mod at {
    pub(super) const VERSION: usize = 0;
    pub(super) const SUITE: usize = 1;
    pub(super) const CONTEXT: usize = 35;
    pub(super) const KEY_COUNT: usize = 37;
    pub(super) const KEYS: usize = 39;
    pub(super) const CONTENT_TYPE: usize = KEYS + 2 + 7 + 2 + 78 + 2 + 146;
    pub(super) const FRAME_LENGTH: usize = CONTENT_TYPE + 1;
    pub(super) const BODY: usize = FRAME_LENGTH + 4 + 32 + 16;
}

impl Fields {
    fn new(length: usize) -> Self {
        let key = Generation::new(1, 1);
        let empty = EncryptionContext::empty();
        let message = seal(&vec![7; length], &empty, &key.wrapping(), &mut OsRandom).unwrap();
        Self { message, key }
    }

    fn set(mut self, at: usize, bytes: &[u8]) -> Self {
        self.message[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn insert(mut self, at: usize, bytes: &[u8]) -> Self {
        self.message.splice(at..at, bytes.iter().copied());
        self
    }

    fn error(&self) -> OpenError {
        let empty = EncryptionContext::empty();
        open(
            &self.message,
            &empty,
            &[self.key.wrapping()],
            Limits::default(),
        )
        .unwrap_err()
    }
}

#[test]
fn every_structural_fault_has_its_name() {
    let one_key = Fields::new(0).message[at::KEYS..at::CONTENT_TYPE].to_vec();
    let pair = b"\x00\x0a\x00\x01\x00\x01k\x00\x03abc".as_slice();
    let with_context = |context: &[u8]| {
        let length = u16::try_from(context.len()).unwrap().to_be_bytes();
        Fields::new(0)
            .set(at::CONTEXT, &length)
            .insert(at::CONTEXT + 2, context)
    };
    let cases = [
        (
            Fields::new(0).set(at::VERSION, &[1]),
            ParseError::Version(1),
        ),
        (
            Fields::new(0).set(at::SUITE, &[3, 0x78]),
            ParseError::Algorithm(0x0378),
        ),
        (with_context(&pair[2..4]), ParseError::Context),
        (with_context(b"\x00\x00"), ParseError::Context),
        (
            Fields::new(0).set(at::KEY_COUNT, &[0, 0]),
            ParseError::KeyCount(0),
        ),
        (
            Fields::new(0)
                .set(at::KEY_COUNT, &[0, 11])
                .insert(at::KEYS, &one_key.repeat(10)),
            ParseError::KeyCount(11),
        ),
        (
            Fields::new(0).set(at::KEY_COUNT, &[0xff, 0xff]),
            ParseError::KeyCount(0xffff),
        ),
        (
            Fields::new(0).set(at::KEYS, &[0xff, 0xff]),
            ParseError::Truncated,
        ),
        (
            Fields::new(0).set(at::CONTENT_TYPE, &[3]),
            ParseError::ContentType(3),
        ),
        (
            Fields::new(0).set(at::CONTENT_TYPE, &[1]),
            ParseError::FrameLength,
        ),
        (
            Fields::new(0).set(at::FRAME_LENGTH, &[0; 4]),
            ParseError::FrameLength,
        ),
        (
            Fields::new(0).set(at::FRAME_LENGTH, &[0x80, 0, 0, 0]),
            ParseError::FrameLength,
        ),
        // A final frame longer than a frame.
        (
            Fields::new(17).set(at::FRAME_LENGTH, &[0, 0, 0, 16]),
            ParseError::FrameLength,
        ),
        // The final frame's number, and the number in its IV.
        (
            Fields::new(0).set(at::BODY + 4, &[0, 0, 0, 2]),
            ParseError::FrameOrder,
        ),
        (
            Fields::new(0).set(at::BODY + 16, &[0, 0, 0, 0]),
            ParseError::FrameOrder,
        ),
        // A final frame that announces more than there is.
        (
            Fields::new(0).set(at::BODY + 20, &[0, 0, 0x10, 0]),
            ParseError::Truncated,
        ),
    ];
    for (index, (fields, expected)) in cases.iter().enumerate() {
        assert_eq!(
            fields.error(),
            OpenError::Malformed(*expected),
            "case {index}"
        );
    }
}

#[test]
fn a_non_framed_length_beyond_the_message_is_refused_before_any_allocation() {
    let whole = Fields::new(0)
        .set(at::CONTENT_TYPE, &[1])
        .set(at::FRAME_LENGTH, &[0; 4]);
    let mut body = vec![0; 12];
    body[11] = 1;
    body.extend_from_slice(&u64::MAX.to_be_bytes());
    let mut whole = whole;
    whole.message.truncate(at::BODY);
    whole.message.extend_from_slice(&body);
    assert_eq!(whole.error(), OpenError::Malformed(ParseError::Truncated));
}

#[test]
fn frames_cannot_be_swapped_dropped_or_repeated() {
    const FRAME: usize = 4 + 12 + 4096 + 16;
    let original = Fields::new(3 * 4096);
    let body = |from: usize, to: usize| original.message[from..to].to_vec();
    let head = body(0, at::BODY);
    let first = body(at::BODY, at::BODY + FRAME);
    let second = body(at::BODY + FRAME, at::BODY + 2 * FRAME);
    let last = body(at::BODY + 2 * FRAME, original.message.len());
    let orders = [
        vec![&head, &second, &first, &last],
        vec![&head, &first, &last],
        vec![&head, &first, &first, &second, &last],
        vec![&head, &last],
    ];
    for parts in orders {
        let parts: Vec<_> = parts.into_iter().map(Vec::as_slice).collect();
        let changed = Fields {
            message: parts.concat(),
            key: Generation::new(1, 1),
        };
        assert_eq!(
            changed.error(),
            OpenError::Malformed(ParseError::FrameOrder)
        );
    }
    // Renumbered, they are in order, but each is authenticated with its number.
    let mut renumbered = first.clone();
    renumbered[..4].copy_from_slice(&[0, 0, 0, 2]);
    renumbered[12..16].copy_from_slice(&[0, 0, 0, 2]);
    let message = [head, first, renumbered, last].concat();
    let changed = Fields {
        message,
        key: Generation::new(1, 1),
    };
    assert!(matches!(changed.error(), OpenError::Decrypt(_)));
}

#[test]
fn two_wrapped_keys_of_ours_and_none_are_refused() {
    let one_key = Fields::new(0).message[at::KEYS..at::CONTENT_TYPE].to_vec();
    let twice = Fields::new(0)
        .set(at::KEY_COUNT, &[0, 2])
        .insert(at::KEYS, &one_key);
    assert_eq!(twice.error(), OpenError::SeveralKeys);
    let provider = Fields::new(0).set(at::KEYS + 2, b"AWS");
    assert_eq!(provider.error(), OpenError::NoKey);
    // The ARN's last digit: then it names another key than the wrapped key does.
    let arn = Fields::new(0).set(at::KEYS + 2 + 7 + 2 + 77, b"f");
    assert_eq!(arn.error(), OpenError::NoKey);
    // Another account or region: the same key id, but not our ARN.
    let region = Fields::new(0).set(at::KEYS + 2 + 7 + 2 + 12, b"us");
    assert_eq!(region.error(), OpenError::NoKey);
}

#[test]
fn the_documented_sealed_envelope_is_what_we_write_and_read() {
    let private = || {
        let seed = SecretArray::from_slice(&[0x55; 32]).unwrap();
        SealingPrivateKey::from_seed(INSTALLATION, seed)
    };
    let public = private().public(INSTALLATION);
    assert!(FORMATS.contains(&public.id().to_string()));
    let place = Purpose::Sealed {
        namespace: "shop",
        secret: "orders-db",
        key: "password",
    };
    let context = place.context(&EncryptionContext::empty()).unwrap();
    let message = seal_to(b"correct horse", &context, &[public], &mut Counting(0)).unwrap();
    assert_eq!(message, documented(2));
    let keys = SealingKeys::new(INSTALLATION, vec![private()]);
    let opened = open_sealed(&documented(2), &context, &keys, Limits::default()).unwrap();
    assert_eq!(opened.expose(), b"correct horse");
}
