//! The two algorithm suites of the message format that commit to their key.

use super::error::ParseError;

/// How a message is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Suite {
    /// 0x0478: AES-256-GCM under a key derived with HKDF-SHA-512, with key commitment. What we write.
    Committing,
    /// 0x0578: the same, and an ECDSA P-384 signature over everything. What the SDKs write by default.
    CommittingSigned,
}

impl Suite {
    /// The suite's id in the format.
    pub const fn id(self) -> u16 {
        match self {
            Self::Committing => 0x0478,
            Self::CommittingSigned => 0x0578,
        }
    }

    /// The suite with this id, if it is one we read.
    pub(super) fn from_id(id: u16) -> Result<Self, ParseError> {
        [Self::Committing, Self::CommittingSigned]
            .into_iter()
            .find(|suite| suite.id() == id)
            .ok_or(ParseError::Algorithm(id))
    }

    /// Whether a signature follows the body.
    pub(super) const fn is_signed(self) -> bool {
        matches!(self, Self::CommittingSigned)
    }
}
