//! Key material: one generation of a key, in the clear in memory and wrapped under the root key at rest.
//!
//! ```text
//! version 1 (01) | root fingerprint 16 | salt 32 | commitment 32 | ct | tag 16
//! ```
//!
//! The plaintext is a key's bytes, or a key pair's PKCS#8 structure; 32 bytes, 129 in all, of a symmetric key.
//!
//! Encrypted as `committed` describes, under the root key. The AAD also holds the [`MaterialBinding`], so
//! material moved to another key, namespace or installation does not open.

use super::{
    arn::Arn,
    bytes::Reader,
    committed,
    error::{ParseError, RandomError, UnwrapError},
    ids::{InstallationId, KeyId, MaterialId},
    kdf,
    random::Random,
    root::{Fingerprint, RootKey},
    secret::{SecretArray, SecretBytes},
};

const VERSION: u8 = 1;
const PREFIX_LENGTH: usize = 1 + 16;
const MATERIAL_LENGTH: usize = 32;
/// Most bytes of material: an RSA key pair of 4,096 bits has about 2,400, and 4,096 characters of base64 hold it wrapped.
pub const MAX_MATERIAL: usize = 2800;

/// One generation of a symmetric key.
#[derive(Debug, Eq, PartialEq)]
pub struct Material(SecretArray<MATERIAL_LENGTH>);

impl Material {
    /// Its length in bytes.
    pub const LENGTH: usize = MATERIAL_LENGTH;

    /// Fresh random material.
    pub fn generate(random: &mut dyn Random) -> Result<Self, RandomError> {
        SecretArray::fill_with(|bytes| random.fill(bytes)).map(Self)
    }

    /// Material with these bytes.
    pub fn from_secret(bytes: SecretArray<MATERIAL_LENGTH>) -> Self {
        Self(bytes)
    }

    pub(super) fn expose(&self) -> &[u8; MATERIAL_LENGTH] {
        self.0.expose()
    }
}

/// Material with its names: what encrypts, and what a look-up finds.
#[derive(Clone, Copy, Debug)]
pub struct WrappingKey<'a> {
    /// The key's ARN, which holds the key's id.
    pub arn: &'a Arn,
    /// The material's id.
    pub material_id: MaterialId,
    /// The material itself.
    pub material: &'a Material,
}

/// Finds material by the ids that a ciphertext names. Decryption is one look-up, never a trial.
pub trait MaterialLookup {
    /// The material of this generation of this key, if it is known and may be used.
    fn find(&self, key: KeyId, material: MaterialId) -> Option<WrappingKey<'_>>;
}

impl MaterialLookup for [WrappingKey<'_>] {
    fn find(&self, key: KeyId, material: MaterialId) -> Option<WrappingKey<'_>> {
        self.iter()
            .find(|known| known.arn.key == key && known.material_id == material)
            .copied()
    }
}

impl<const N: usize> MaterialLookup for [WrappingKey<'_>; N] {
    fn find(&self, key: KeyId, material: MaterialId) -> Option<WrappingKey<'_>> {
        self.as_slice().find(key, material)
    }
}

/// What wrapped material is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MaterialBinding<'a> {
    /// The installation.
    pub installation: InstallationId,
    /// The key.
    pub key: KeyId,
    /// This generation.
    pub material: MaterialId,
    /// The key's namespace.
    pub namespace: &'a str,
    /// The key's name.
    pub name: &'a str,
    /// The key's spec, such as `SymmetricDefault`.
    pub spec: &'a str,
    /// The key's usage, such as `EncryptDecrypt`.
    pub usage: &'a str,
    /// Where the material came from, such as `Keystead`.
    pub origin: &'a str,
}

impl MaterialBinding<'_> {
    /// Each field after its length in eight bytes, so that no two bindings have the same bytes.
    fn to_bytes(self) -> Vec<u8> {
        let fields: [&[u8]; 9] = [
            b"material",
            self.installation.as_bytes(),
            self.key.as_bytes(),
            self.material.as_bytes(),
            self.namespace.as_bytes(),
            self.name.as_bytes(),
            self.spec.as_bytes(),
            self.usage.as_bytes(),
            self.origin.as_bytes(),
        ];
        let mut out = Vec::new();
        for field in fields {
            out.extend_from_slice(&(field.len() as u64).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }
}

/// Encrypts material, at most [`MAX_MATERIAL`] bytes of it, under the root key, bound to `binding`.
pub fn wrap_material(
    root: &RootKey,
    binding: &MaterialBinding<'_>,
    material: &SecretBytes,
    random: &mut dyn Random,
) -> Result<Vec<u8>, RandomError> {
    let prefix = [&[VERSION], root.fingerprint().as_bytes().as_slice()].concat();
    let bound = binding.to_bytes();
    let info = [kdf::ROOT_WRAPS];
    committed::seal(
        root.expose(),
        &info,
        &prefix,
        &bound,
        material.expose(),
        random,
    )
}

/// Decrypts what [`wrap_material`] made under the same root key and binding.
pub fn unwrap_material(
    root: &RootKey,
    binding: &MaterialBinding<'_>,
    wrapped: &[u8],
) -> Result<SecretBytes, UnwrapError> {
    let wanted = root_of(wrapped).map_err(UnwrapError::Malformed)?;
    let have = root.fingerprint();
    if wanted != have {
        return Err(UnwrapError::RootMismatch { wanted, have });
    }
    let bound = binding.to_bytes();
    committed::open(
        root.expose(),
        &[kdf::ROOT_WRAPS],
        PREFIX_LENGTH,
        &bound,
        wrapped,
    )
    .map_err(UnwrapError::Decrypt)
}

/// Which root key wrapped this material.
pub fn root_of(wrapped: &[u8]) -> Result<Fingerprint, ParseError> {
    let mut reader = Reader::new(wrapped);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(ParseError::Version(version));
    }
    let fingerprint = Fingerprint::from_bytes(*reader.array()?);
    match committed::plaintext_length(wrapped, PREFIX_LENGTH)? {
        1..=MAX_MATERIAL => Ok(fingerprint),
        0 => Err(ParseError::Truncated),
        _ => Err(ParseError::TrailingBytes),
    }
}
