//! Manifests that are read: a file or standard input, never the command line, which everybody on the machine can see.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::exit::Failure;
use crate::crypto::SecretBytes;

/// Largest file that is read, in bytes: more than the API server takes.
const MAX_FILE: u64 = 4 << 20;

/// The content of a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<SecretBytes, Failure> {
    let shown = path.display();
    let unreadable =
        |error: io::Error| Failure::error(format!("{shown} cannot be read: {}", error.kind()));
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    let mut bytes = Vec::new();
    let mut bounded = reader.take(MAX_FILE + 1);
    let size = bounded.read_to_end(&mut bytes).map_err(unreadable)?;
    let bytes = SecretBytes::from(bytes);
    if size as u64 > MAX_FILE {
        return Err(Failure::error(format!(
            "{shown} has more than {MAX_FILE} bytes"
        )));
    }
    Ok(bytes)
}

/// Reads YAML or JSON of one object. An error names the place, and quotes nothing: the file may hold values.
pub(crate) fn parse<T: DeserializeOwned>(
    path: &Path,
    bytes: &SecretBytes,
    what: &str,
) -> Result<T, Failure> {
    let shown = path.display();
    let text = std::str::from_utf8(bytes.expose())
        .map_err(|_| Failure::error(format!("{shown} is not UTF-8 text")))?;
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map_or_else(String::new, |place| {
            format!(", line {} column {}", place.line(), place.column())
        });
        Failure::error(format!("{shown}{place}: this is no {what}"))
    })
}

/// A text that may be a value.
pub(crate) struct Text(pub(crate) SecretBytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretBytes::from(text)))
    }
}

/// The manifest of a native Secret. Of its metadata only the place: annotations may hold a copy of the values.
#[derive(Deserialize)]
pub(crate) struct SecretManifest {
    #[serde(rename = "kind")]
    _kind: SecretKind,
    /// Its name and namespace.
    #[serde(default)]
    pub(crate) metadata: SecretPlace,
    /// Its type.
    #[serde(default, rename = "type")]
    pub(crate) type_: Option<String>,
    #[serde(default)]
    data: BTreeMap<String, Text>,
    #[serde(default, rename = "stringData")]
    string_data: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
enum SecretKind {
    Secret,
}

/// Where a Secret is, as far as its manifest says.
#[derive(Default, Deserialize)]
pub(crate) struct SecretPlace {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
}

impl SecretManifest {
    /// The keys with their bytes; `stringData` wins, as in the API server.
    pub(crate) fn entries(self) -> Result<BTreeMap<String, SecretBytes>, Failure> {
        let mut entries = BTreeMap::new();
        for (key, text) in self.data {
            let decoded = STANDARD
                .decode(text.0.expose())
                .map_err(|_| Failure::error(format!("the value of data.{key} is not base64")))?;
            entries.insert(key, SecretBytes::from(decoded));
        }
        let texts = self.string_data.into_iter();
        entries.extend(texts.map(|(key, text)| (key, text.0)));
        Ok(entries)
    }
}
