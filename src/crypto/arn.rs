//! The name under which AWS tools know a key: `arn:aws:kms:<region>:<12 digits>:key/<uuid>`.
//!
//! It authorises nothing. Region and account are fixed for life, because messages carry them.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::ids::{InstallationId, KeyId};

/// The provider id beside our ARNs in wrapped keys: the one AWS SDKs use for KMS keys.
pub const PROVIDER_ID: &str = "aws-kms";

/// Account numbers have twelve decimal digits.
const ACCOUNTS: u64 = 1_000_000_000_000;
/// No region name is longer; it bounds the ARN.
const REGION_LENGTH: usize = 32;

/// Bytes of the longest ARN.
pub(super) const MAX_ARN_LENGTH: usize = 12 + REGION_LENGTH + 1 + 12 + 5 + 36;

/// Text is no region or no ARN of a key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a key ARN")]
pub struct ArnError;

/// The region in our ARNs, such as `eu-central-1`: up to 32 lower-case letters, digits and inner hyphens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Region(String);

impl Region {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=REGION_LENGTH).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError)
        }
    }
}

/// The twelve digits that stand for a namespace of an installation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AccountId(u64);

impl AccountId {
    /// SHA-256 of the installation id's 16 bytes followed by the namespace's name in UTF-8, read as one
    /// big-endian number, modulo 10^12.
    pub fn of(installation: InstallationId, namespace: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(installation.as_bytes())
            .chain_update(namespace)
            .finalize();
        // Horner's rule; the intermediate value stays below 256 * 10^12.
        Self(
            digest
                .iter()
                .fold(0, |rest, &byte| (rest * 256 + u64::from(byte)) % ACCOUNTS),
        )
    }
}

/// The ARN of a secret of that installation. It authorises nothing.
pub fn secret_arn(
    installation: InstallationId,
    region: &Region,
    namespace: &str,
    name: &str,
) -> String {
    let account = AccountId::of(installation, namespace);
    format!(
        "arn:aws:secretsmanager:{}:{account}:secret:{name}",
        region.as_str()
    )
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if valid {
            text.parse().map(Self).map_err(|_| ArnError)
        } else {
            Err(ArnError)
        }
    }
}

/// A key's ARN.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Arn {
    /// The installation's region.
    pub region: Region,
    /// The namespace's account.
    pub account: AccountId,
    /// The key.
    pub key: KeyId,
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:aws:kms:{}:{}:key/{}",
            self.region.0, self.account, self.key
        )
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let rest = text.strip_prefix("arn:aws:kms:").ok_or(ArnError)?;
        let (region, rest) = rest.split_once(':').ok_or(ArnError)?;
        let (account, rest) = rest.split_once(':').ok_or(ArnError)?;
        let key = rest.strip_prefix("key/").ok_or(ArnError)?;
        Ok(Self {
            region: region.parse()?,
            account: account.parse()?,
            key: key.parse().map_err(|_| ArnError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLATION: InstallationId = InstallationId::from_bytes([7; 16]);

    #[test]
    fn an_arn_survives_its_text_form() {
        let arn = Arn {
            region: "eu-central-1".parse().unwrap(),
            account: AccountId::of(INSTALLATION, "shop"),
            key: KeyId::from_bytes([9; 16]),
        };
        let text = arn.to_string();
        assert!(text.starts_with("arn:aws:kms:eu-central-1:"), "{text}");
        assert!(
            text.ends_with(":key/09090909-0909-0909-0909-090909090909"),
            "{text}"
        );
        assert_eq!(text.parse(), Ok(arn));
    }

    #[test]
    fn the_account_is_the_digest_modulo_ten_to_the_twelve() {
        // python3: int.from_bytes(hashlib.sha256(bytes([7]) * 16 + b"shop").digest(), "big") % 10**12
        assert_eq!(
            AccountId::of(INSTALLATION, "shop").to_string(),
            "384998546774"
        );
        assert_ne!(
            AccountId::of(INSTALLATION, "shop"),
            AccountId::of(INSTALLATION, "shop2")
        );
    }

    #[test]
    fn other_arns_are_refused() {
        for text in [
            "",
            "arn:aws:kms:eu:123456789012:alias/x",
            "arn:aws-cn:kms:eu:123456789012:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms::123456789012:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms:EU:123456789012:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms:-eu:123456789012:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms:eu:12345678901:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms:eu:+12345678901:key/09090909-0909-0909-0909-090909090909",
            "arn:aws:kms:eu:123456789012:key/mrk-0909090909090909090909090909090909",
            "arn:aws:kms:eu:123456789012:key/09090909-0909-0909-0909-090909090909:x",
        ] {
            assert_eq!(text.parse::<Arn>(), Err(ArnError), "{text}");
        }
    }
}
