//! What is wanted of one secret: which keys, in which files, with which modes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The permission bits of a file: at most `0o777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FileMode(u16);

impl FileMode {
    /// What Kubernetes gives the files of a Secret when nothing is said.
    pub const DEFAULT: Self = Self(0o644);

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0.into()
    }

    /// Reads the digits that chmod takes, such as `0400`.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        // The parser of numbers would also take a sign.
        let octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        let bits = (octal && (3..=4).contains(&digits.len())).then_some(digits)?;
        u32::from_str_radix(bits, 8).ok()?.try_into().ok()
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for FileMode {
    type Error = &'static str;

    fn try_from(bits: u32) -> Result<Self, Self::Error> {
        let bits = u16::try_from(bits).ok().filter(|bits| *bits <= 0o777);
        bits.map(Self)
            .ok_or("a mode is a number from 0 to 511 (0777 in octal digits)")
    }
}

impl From<FileMode> for u32 {
    fn from(mode: FileMode) -> Self {
        mode.bits()
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// The version of a secret that a volume shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VolumeStage {
    /// The version that everybody uses.
    #[default]
    Current,
    /// The one before it.
    Previous,
    /// What a rotation is about to make current.
    Pending,
}

impl VolumeStage {
    /// As the attributes say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::Previous => "Previous",
            Self::Pending => "Pending",
        }
    }

    /// As the API says it.
    pub fn version_stage(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Previous => "AWSPREVIOUS",
            Self::Pending => "AWSPENDING",
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One key of a secret, in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeItem {
    /// The key.
    pub key: String,
    /// The file, relative to the volume.
    pub path: String,
    /// Its mode; default the volume's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
}

/// One secret of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSource {
    /// The name of a `ManagedSecret` of the pod's namespace.
    pub secret: String,
    /// The keys that become files; none: all of them, each in a file of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<VolumeItem>,
    /// Whether the pod starts without the secret, and without keys that items name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The version that is shown.
    #[serde(default, skip_serializing_if = "VolumeStage::is_default")]
    pub stage: VolumeStage,
}

impl VolumeSource {
    /// All keys of the current version of a secret that must be there.
    pub fn of(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            items: Vec::new(),
            optional: false,
            stage: VolumeStage::default(),
        }
    }
}
