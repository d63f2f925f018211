//! Keys, and randomness that repeats.

use keystead::crypto::{
    AccountId, Arn, InstallationId, KeyId, Material, MaterialId, SecretArray, WrappingKey,
};

/// An installation that never was.
pub(crate) const INSTALLATION: InstallationId = InstallationId::from_bytes([0x1a; 16]);

/// A generation of a key that owns its parts.
pub(crate) struct Generation {
    pub(crate) arn: Arn,
    pub(crate) material_id: MaterialId,
    pub(crate) material: Material,
}

impl Generation {
    /// Generation `number` of key `key`, all of whose bytes follow from the two.
    pub(crate) fn new(key: u8, number: u8) -> Self {
        let arn = Arn {
            region: "eu-central-1".parse().unwrap(),
            account: AccountId::of(INSTALLATION, "shop"),
            key: KeyId::from_bytes([key; 16]),
        };
        let bytes = material_bytes(key, number);
        Self {
            arn,
            material_id: MaterialId::from_bytes([number; 16]),
            material: Material::from_secret(SecretArray::from_slice(&bytes).unwrap()),
        }
    }

    /// The material's bytes, for the other side of a test.
    pub(crate) fn material_bytes(&self) -> [u8; 32] {
        material_bytes(self.arn.key.as_bytes()[0], self.material_id.as_bytes()[0])
    }

    pub(crate) fn wrapping(&self) -> WrappingKey<'_> {
        WrappingKey {
            arn: &self.arn,
            material_id: self.material_id,
            material: &self.material,
        }
    }
}

fn material_bytes(key: u8, number: u8) -> [u8; 32] {
    let mut bytes = [number; 32];
    bytes[0] = key;
    bytes
}
