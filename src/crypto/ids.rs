//! Random 16-byte names of keys, generations of material and installations. They are public.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{
    error::RandomError,
    random::{Random, public_bytes},
};

/// Text is no id of the expected form.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a valid id")]
pub struct IdError;

/// Where the text form of a UUID has its hyphens.
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Declares an id whose text form has hyphens after the given positions.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $hyphens:expr, $finish:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh random id.
            pub fn generate(random: &mut dyn Random) -> Result<Self, RandomError> {
                let finish: fn([u8; 16]) -> [u8; 16] = $finish;
                public_bytes(random).map(|bytes| Self(finish(bytes)))
            }

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its bytes, as they stand in every format.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0, $hyphens)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                read_hex(text, $hyphens).map(Self)
            }
        }
    };
}

id!(
    /// Names a `ManagedKey` for life; shown as a UUID.
    KeyId,
    &UUID_HYPHENS,
    as_random_uuid
);
id!(
    /// Names one generation of a key's material; shown as 32 hexadecimal digits.
    MaterialId,
    &[],
    |bytes| bytes
);
id!(
    /// Names one installation, made once and restored with its data; shown as a UUID.
    InstallationId,
    &UUID_HYPHENS,
    as_random_uuid
);

id!(
    /// Names one sealing key pair of an installation; shown as 32 hexadecimal digits. It follows from the public key.
    SealingKeyId,
    &[],
    |bytes| bytes
);

/// Sets the version (4, random) and variant of RFC 9562, so that tools accept the text as a UUID.
fn as_random_uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// Writes lower-case hexadecimal with hyphens at the given positions of the text.
pub(super) fn write_hex(
    f: &mut fmt::Formatter<'_>,
    bytes: &[u8; 16],
    hyphens: &[usize],
) -> fmt::Result {
    let mut position = 0;
    for byte in bytes {
        if hyphens.contains(&position) {
            f.write_str("-")?;
            position += 1;
        }
        write!(f, "{byte:02x}")?;
        position += 2;
    }
    Ok(())
}

/// Reads exactly what [`write_hex`] writes: one text form an id, so that texts compare as ids do.
pub(super) fn read_hex(text: &str, hyphens: &[usize]) -> Result<[u8; 16], IdError> {
    if text.len() != 32 + hyphens.len() {
        return Err(IdError);
    }
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (position, digit) in text.bytes().enumerate() {
        if hyphens.contains(&position) {
            if digit != b'-' {
                return Err(IdError);
            }
            continue;
        }
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(IdError),
        };
        bytes[digits / 2] = bytes[digits / 2] << 4 | value;
        digits += 1;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::OsRandom;

    #[test]
    fn ids_survive_their_text_form() {
        let key = KeyId::generate(&mut OsRandom).unwrap();
        let material = MaterialId::generate(&mut OsRandom).unwrap();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(material.to_string().parse(), Ok(material));
    }

    #[test]
    fn a_key_id_is_shown_as_a_random_uuid() {
        let text = KeyId::generate(&mut OsRandom).unwrap().to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]), "{text}");
        let fixed =
            KeyId::from_bytes(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
        assert_eq!(fixed.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn only_the_canonical_text_form_is_read() {
        for text in [
            "",
            "00112233-4455-6677-8899-AABBCCDDEEFF",
            "00112233445566778899aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddeef",
            "00112233-4455-6677-8899-aabbccddeeff0",
            "00112233-4455-6677-8899_aabbccddeeff",
            "00112233-4455-6677-88-99aabbccddeeff",
            "g0112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(IdError), "{text}");
        }
    }
}
