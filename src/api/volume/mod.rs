//! What a pod says to the CSI driver in the attributes of a volume: which secrets it wants, in which files.
//!
//! Three parts read it and must agree: the webhook writes the attributes, the server reads from them which secrets a pod may
//! have, and the node plugin writes the files.

mod check;
mod error;
mod pod;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::check::{MAX_PATH, clean_path};
pub use self::error::VolumeError;
pub use self::source::{FileMode, VolumeItem, VolumeSource, VolumeStage};

use self::check::{check_names, check_places};
use super::names::{
    CSI_ATTRIBUTE_DEFAULT_MODE, CSI_ATTRIBUTE_FOLLOW, CSI_ATTRIBUTE_ITEMS, CSI_ATTRIBUTE_OPTIONAL,
    CSI_ATTRIBUTE_SECRET, CSI_ATTRIBUTE_SOURCES, CSI_ATTRIBUTE_STAGE, CSI_KUBELET_PREFIX,
};

/// Most secrets in one volume.
pub const MAX_SOURCES: usize = 64;
/// Most items in one volume.
pub const MAX_ITEMS: usize = 512;
/// Longest name of an object, and of a key.
const MAX_NAME: usize = 253;
/// Longest value of an attribute: more is not parsed. All items with long paths have room in it.
const MAX_ATTRIBUTE: usize = 512 * 1024;

/// Our attributes, for the message that names them.
const KNOWN: [&str; 7] = [
    CSI_ATTRIBUTE_SECRET,
    CSI_ATTRIBUTE_ITEMS,
    CSI_ATTRIBUTE_OPTIONAL,
    CSI_ATTRIBUTE_STAGE,
    CSI_ATTRIBUTE_SOURCES,
    CSI_ATTRIBUTE_DEFAULT_MODE,
    CSI_ATTRIBUTE_FOLLOW,
];
/// Those that say more of the one secret in [`CSI_ATTRIBUTE_SECRET`].
const OF_ONE_SECRET: [&str; 3] = [
    CSI_ATTRIBUTE_ITEMS,
    CSI_ATTRIBUTE_OPTIONAL,
    CSI_ATTRIBUTE_STAGE,
];

/// What a volume of the CSI driver shall hold.
///
/// # Guarantees
/// One that [`Self::parse`] or [`Self::new`] gave keeps all bounds: its paths stay inside the volume, and no two items have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRequest {
    sources: Vec<VolumeSource>,
    default_mode: FileMode,
    follows: bool,
}

impl VolumeRequest {
    /// A volume of these secrets.
    ///
    /// # Errors
    /// A bound is broken; the error names it.
    pub fn new(sources: Vec<VolumeSource>, default_mode: FileMode) -> Result<Self, VolumeError> {
        let (count, items) = (sources.len(), sources.iter().map(|one| one.items.len()));
        if count == 0 || count > MAX_SOURCES {
            return Err(VolumeError::SourceCount(count));
        }
        let items: usize = items.sum();
        if items > MAX_ITEMS {
            return Err(VolumeError::ItemCount(items));
        }
        for source in &sources {
            check_names(source)?;
        }
        check_places(&sources)?;
        Ok(Self {
            sources,
            default_mode,
            follows: true,
        })
    }

    /// The same with files that stay as they were when the pod started, whatever becomes of the secrets.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self {
            follows: false,
            ..self
        }
    }

    /// Reads the attributes of a volume. Those that kubelet adds are left aside.
    ///
    /// # Errors
    /// An attribute is not known, not valid, or breaks a bound.
    pub fn parse(attributes: &BTreeMap<String, String>) -> Result<Self, VolumeError> {
        let unknown = attributes
            .keys()
            .filter(|name| !name.starts_with(CSI_KUBELET_PREFIX))
            .find(|name| !KNOWN.contains(&name.as_str()));
        if let Some(unknown) = unknown {
            let shown = unknown.chars().take(MAX_NAME).collect();
            return Err(VolumeError::UnknownAttribute(shown));
        }
        let sources = match (
            attributes.get(CSI_ATTRIBUTE_SECRET),
            attributes.get(CSI_ATTRIBUTE_SOURCES),
        ) {
            (None, None) => return Err(VolumeError::NoSecret),
            (Some(_), Some(_)) => return Err(VolumeError::BothForms),
            (Some(secret), None) => vec![one_source(secret, attributes)?],
            (None, Some(sources)) => {
                let alone = |name: &&&str| attributes.contains_key(**name);
                if let Some(alone) = OF_ONE_SECRET.iter().find(alone) {
                    return Err(VolumeError::NotWithSources(alone));
                }
                json(CSI_ATTRIBUTE_SOURCES, sources)?
            }
        };
        let default_mode = attributes.get(CSI_ATTRIBUTE_DEFAULT_MODE);
        let default_mode = default_mode.map_or(Ok(FileMode::DEFAULT), |digits| {
            let problem = "write the octal digits that chmod takes, at most 0777, such as \"0400\"";
            FileMode::parse(digits).ok_or_else(|| form(CSI_ATTRIBUTE_DEFAULT_MODE, problem))
        })?;
        let request = Self::new(sources, default_mode)?;
        match truth(attributes, CSI_ATTRIBUTE_FOLLOW)? {
            Some(false) => Ok(request.fixed()),
            None | Some(true) => Ok(request),
        }
    }

    /// The attributes that [`Self::parse`] reads as this one.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let mut put = |name: &str, value: String| {
            attributes.insert(name.to_owned(), value);
        };
        if let [one] = self.sources.as_slice() {
            put(CSI_ATTRIBUTE_SECRET, one.secret.clone());
            if !one.items.is_empty() {
                put(CSI_ATTRIBUTE_ITEMS, written(&one.items));
            }
            if one.optional {
                put(CSI_ATTRIBUTE_OPTIONAL, true.to_string());
            }
            if !one.stage.is_default() {
                put(CSI_ATTRIBUTE_STAGE, one.stage.as_str().to_owned());
            }
        } else {
            put(CSI_ATTRIBUTE_SOURCES, written(&self.sources));
        }
        if self.default_mode != FileMode::DEFAULT {
            put(CSI_ATTRIBUTE_DEFAULT_MODE, self.default_mode.to_string());
        }
        if !self.follows {
            put(CSI_ATTRIBUTE_FOLLOW, false.to_string());
        }
        attributes
    }

    /// The secrets and what is wanted of each. Where two give a file one path, the later one wins.
    pub fn sources(&self) -> &[VolumeSource] {
        &self.sources
    }

    /// The mode of files that have none of their own.
    pub fn default_mode(&self) -> FileMode {
        self.default_mode
    }

    /// Whether the files follow changes of the secrets.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// The names of the secrets.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.sources
            .iter()
            .map(|source| source.secret.as_str())
            .collect()
    }
}

fn one_source(
    secret: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<VolumeSource, VolumeError> {
    let items = attributes.get(CSI_ATTRIBUTE_ITEMS);
    let stage = attributes.get(CSI_ATTRIBUTE_STAGE).map(String::as_str);
    Ok(VolumeSource {
        secret: secret.to_owned(),
        items: items.map_or(Ok(Vec::new()), |text| json(CSI_ATTRIBUTE_ITEMS, text))?,
        optional: truth(attributes, CSI_ATTRIBUTE_OPTIONAL)?.unwrap_or_default(),
        stage: match stage {
            None | Some("Current") => VolumeStage::Current,
            Some("Previous") => VolumeStage::Previous,
            Some("Pending") => VolumeStage::Pending,
            Some(_) => {
                let problem = "write \"Current\", \"Previous\" or \"Pending\"";
                return Err(form(CSI_ATTRIBUTE_STAGE, problem));
            }
        },
    })
}

fn truth(
    attributes: &BTreeMap<String, String>,
    name: &'static str,
) -> Result<Option<bool>, VolumeError> {
    match attributes.get(name).map(String::as_str) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(form(name, "write \"true\" or \"false\"")),
    }
}

fn json<T: serde::de::DeserializeOwned>(
    attribute: &'static str,
    text: &str,
) -> Result<T, VolumeError> {
    if text.len() > MAX_ATTRIBUTE {
        return Err(form(attribute, "it is too long"));
    }
    serde_json::from_str(text).map_err(|error| VolumeError::Form {
        attribute,
        problem: error.to_string(),
    })
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and booleans can be written as JSON")
}

fn form(attribute: &'static str, problem: impl Into<String>) -> VolumeError {
    let problem = problem.into();
    VolumeError::Form { attribute, problem }
}

#[cfg(test)]
mod tests;
