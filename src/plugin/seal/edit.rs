//! Puts entries into the manifest of a `ManagedSecret` in a file. Comments, order and everything else stay byte for byte: only lines
//! of `spec.sealed` are written, and the result is read back and compared before anything reaches the file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::crypto::SecretBytes;
use crate::plugin::exit::Failure;
use crate::plugin::manifest::read;
use crate::sealing::Place;

/// A file with manifests in it that are looked at or changed.
pub(super) struct File {
    path: PathBuf,
    /// What was read.
    found: SecretBytes,
    /// All of it, as it is to be.
    text: String,
    documents: Vec<Document>,
}

/// A `ManagedSecret` in a file.
pub(super) struct Document {
    /// Where it is in the text.
    range: Range<usize>,
    manifest: Value,
}

impl File {
    /// Reads the `ManagedSecrets` of a file. What else is in it is not looked at, but it must be YAML.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read(path)?;
        let shown = path.display();
        let text = std::str::from_utf8(bytes.expose())
            .map_err(|_| Failure::error(format!("{shown} is not UTF-8 text")))?;
        let mut all = Vec::new();
        for range in documents(text) {
            let part = &text[range.clone()];
            if !part.contains("ManagedSecret") {
                continue;
            }
            let manifest: Value = serde_saphyr::from_str(part).map_err(|_| {
                Failure::error(format!("{shown}: a ManagedSecret in it is no YAML"))
            })?;
            if manifest["kind"] == "ManagedSecret" {
                all.push(Document { range, manifest });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            documents: all,
            found: bytes,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub(super) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Which is the only `ManagedSecret`, or the one of that name.
    pub(super) fn only(&self, name: Option<&str>) -> Result<usize, Failure> {
        let named = |document: &Document| {
            name.is_none_or(|name| document.manifest["metadata"]["name"] == name)
        };
        let documents = self.documents.iter().enumerate();
        let mut found = documents.filter(|(_, document)| named(document));
        let shown = self.path.display();
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(Failure::error(format!("{shown} has no such ManagedSecret"))),
            (Some(_), Some(_)) => Err(Failure::error(format!(
                "{shown} has several ManagedSecrets: give one with --name"
            ))),
        }
    }

    /// Puts entries into one of the documents, in the place of those of the same keys.
    pub(super) fn set(
        &mut self,
        at: usize,
        entries: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let Document { range, manifest } = &self.documents[at];
        let mut expected = manifest.clone();
        for (key, entry) in entries {
            expected["spec"]["sealed"][key] = Value::String(entry.clone());
        }
        let before = &self.text[range.clone()];
        let right = |text: &String| {
            let read: Option<Value> = serde_saphyr::from_str(text).ok();
            read.as_ref() == Some(&expected)
        };
        let edited = replaced(before, manifest, entries).filter(right);
        let edited = edited.or_else(|| edited_lines(before, entries).filter(right));
        let edited = edited.ok_or_else(|| {
            Failure::error(
                "the file cannot be edited without touching more than spec.sealed: write spec and spec.sealed in YAML's block style",
            )
        })?;
        let (range, length) = (range.clone(), edited.len());
        self.text.replace_range(range.clone(), &edited);
        self.documents[at].manifest = expected;
        self.documents[at].range.end = range.start + length;
        for later in &mut self.documents[at + 1..] {
            let moved = |place: usize| place - range.end + range.start + length;
            later.range = moved(later.range.start)..moved(later.range.end);
        }
        Ok(())
    }

    /// Writes the whole file, by a new one beside it, so that nobody ever finds half of it. Not over what somebody else wrote into
    /// it since it was read, which may be minutes ago.
    pub(super) fn write(&self) -> Result<(), Failure> {
        if read(&self.path)?.expose() != self.found.expose() {
            let shown = self.path.display();
            let message = format!("{shown} was changed meanwhile: run the command again");
            return Err(Failure::error(message));
        }
        let written = write(&self.path, self.text.as_bytes());
        written.map_err(|error| {
            Failure::error(format!(
                "{} cannot be written: {}",
                self.path.display(),
                error.kind()
            ))
        })
    }
}

impl Document {
    /// Where the secret is. A namespace that is not written cannot be known.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        let metadata = &self.manifest["metadata"];
        let text = |name: &str| metadata[name].as_str().map(str::to_owned);
        let lacks = |name: &str| Failure::error(format!("the manifest has no metadata.{name}"));
        let pairs = self.manifest["spec"]["encryptionContext"].as_object();
        let pairs = pairs.into_iter().flatten();
        let pair =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Ok(Place {
            namespace: text("namespace").ok_or_else(|| lacks("namespace"))?,
            name: text("name").ok_or_else(|| lacks("name"))?,
            context: pairs.filter_map(pair).collect(),
        })
    }

    /// The sealed entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let sealed = self.manifest["spec"]["sealed"].as_object();
        let entries = sealed.into_iter().flatten();
        entries.filter_map(|(key, entry)| Some((key.as_str(), entry.as_str()?)))
    }
}

/// The text with each entry in the place of its predecessor, whatever is around that. `None`: one has none, or it is not written
/// in one piece and once.
fn replaced(text: &str, manifest: &Value, entries: &BTreeMap<String, String>) -> Option<String> {
    let mut text = text.to_owned();
    for (key, entry) in entries {
        let before = manifest["spec"]["sealed"][key].as_str()?;
        let mut found = text.match_indices(before);
        let (Some((at, _)), None) = (found.next(), found.next()) else {
            return None;
        };
        text.replace_range(at..at + before.len(), entry);
    }
    Some(text)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // What a link leads to is meant, not the link.
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // What was killed leaves its file behind, which is in nobody's way.
    name.push(format!(".{}.keystead-new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = fs::File::create_new(&beside)?;
    let done = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(fs::metadata(&path)?.permissions()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, &path));
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done
}

/// The parts of a text between lines `---`.
fn documents(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "---" {
            ranges.push(start..at);
            start = at + line.len();
        }
        at += line.len();
    }
    ranges.push(start..at);
    ranges
}

/// The text with entries set in its block `spec.sealed`, which is made if it is not there. `None`: it is written in another style.
fn edited_lines(text: &str, entries: &BTreeMap<String, String>) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
        last.push('\n');
    }
    let spec = lines.iter().position(|line| is_key(line, 0, "spec"))?;
    let spec_end = block_end(&lines, spec, 0);
    let children = lines[spec + 1..spec_end].iter();
    let indent = children
        .clone()
        .find(|line| has_content(line))
        .map_or(2, |line| indent(line));
    let sealed = (spec + 1..spec_end).find(|&at| is_key(&lines[at], indent, "sealed"));
    let sealed = sealed.unwrap_or_else(|| {
        lines.insert(spec_end, format!("{:indent$}sealed:\n", ""));
        spec_end
    });
    for (key, entry) in entries {
        let end = block_end(&lines, sealed, indent);
        let inner = lines[sealed + 1..end].iter().find(|line| has_content(line));
        let inner = inner.map_or(indent + 2, |line| self::indent(line));
        let line = format!("{:inner$}{}: {entry}\n", "", quoted(key));
        let there = (sealed + 1..end).find(|&at| {
            is_key(&lines[at], inner, key)
                || is_key(&lines[at], inner, &format!("\"{key}\""))
                || is_key(&lines[at], inner, &format!("'{key}'"))
        });
        match there {
            Some(at) => {
                let after = block_end(&lines, at, inner);
                lines.splice(at..after, [line]);
            }
            None => lines.insert(end, line),
        }
    }
    Some(lines.concat())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Whether a line begins the value of that key at that depth.
fn is_key(line: &str, depth: usize, key: &str) -> bool {
    indent(line) == depth
        && line[depth..]
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(':'))
}

/// The line after the last one with content that belongs to the key at `at`. Comments and empty lines behind it do not.
fn block_end(lines: &[String], at: usize, depth: usize) -> usize {
    let mut end = at + 1;
    for (index, line) in lines.iter().enumerate().skip(at + 1) {
        if !has_content(line) {
            continue;
        }
        if indent(line) <= depth {
            break;
        }
        end = index + 1;
    }
    end
}

/// A key as YAML takes it for a text.
fn quoted(key: &str) -> String {
    let word = key.starts_with(|c: char| c.is_ascii_alphabetic());
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let taken = reserved.iter().any(|word| key.eq_ignore_ascii_case(word));
    if word && !taken {
        return key.to_owned();
    }
    format!("\"{key}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let owned = |(key, entry): &(&str, &str)| ((*key).to_owned(), (*entry).to_owned());
        edited_lines(text, &pairs.iter().map(owned).collect())
    }

    #[test]
    fn one_entry_is_written_and_every_other_byte_stays() {
        let text = "# head\nkind: ManagedSecret\nspec:\n  # why\n  sealed:\n    a: old # note\n    # about b\n    b: two\n\n  literals: {x: y}  # kept\n# tail\n";
        let expected = text.replace("a: old # note", "a: new");
        assert_eq!(set(text, &[("a", "new")]).unwrap(), expected);
        let expected = text.replace("    b: two\n", "    b: two\n    c: three\n");
        assert_eq!(set(text, &[("c", "three")]).unwrap(), expected);
    }

    #[test]
    fn a_folded_value_is_replaced_whole() {
        let text = "spec:\n  sealed:\n    a: >-\n      one\n      two\n    b: x\n";
        let expected = "spec:\n  sealed:\n    a: new\n    b: x\n";
        assert_eq!(set(text, &[("a", "new")]).unwrap(), expected);
    }

    #[test]
    fn a_block_that_is_not_there_is_made_at_the_end_of_spec() {
        let text = "spec:\n    literals:\n        x: y\nstatus: {}\n";
        let expected = "spec:\n    literals:\n        x: y\n    sealed:\n      \"1\": e\n      a: f\nstatus: {}\n";
        assert_eq!(set(text, &[("1", "e"), ("a", "f")]).unwrap(), expected);
        assert!(set("{spec: {sealed: {}}}", &[("a", "b")]).is_none());
    }

    #[test]
    fn what_would_come_out_wrong_is_refused_before_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.yaml");
        let flow =
            "kind: ManagedSecret\nmetadata: {name: db, namespace: shop}\nspec:\n  sealed: {a: b}\n";
        let good = "kind: Other\n---\nkind: ManagedSecret\nmetadata: {name: db, namespace: shop}\nspec:\n  literals: {x: y} # z\n---\nkind: Third\n";
        let entries = BTreeMap::from([("c".to_owned(), "d".to_owned())]);
        fs::write(&path, flow).unwrap();
        let refused = File::read(&path).unwrap().set(0, &entries);
        assert!(refused.err().unwrap().message.contains("block style"));
        fs::write(&path, good).unwrap();
        let mut file = File::read(&path).unwrap();
        let at = file.only(Some("db")).unwrap();
        file.set(at, &entries).unwrap();
        file.write().unwrap();
        let written = fs::read_to_string(&path).unwrap();
        let expected = good.replace("# z\n", "# z\n  sealed:\n    c: d\n");
        assert_eq!(written, expected);
        assert!(file.only(Some("other")).is_err());
    }

    #[test]
    fn entries_of_several_documents_are_replaced_in_whatever_style_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.yaml");
        let text = "# head\nkind: ManagedSecret\nspec:\n  sealed:\n    a: \"b25l\" # quoted\n    b: >-\n      dHdv\n      dHdv\n---\n\
                    {\"kind\": \"ManagedSecret\", \"spec\": {\"sealed\": {\"a\": \"dGhyZWU=\", \"x\": \"keep\"}}}\n---\n\
                    kind: ManagedSecret\nspec:\n  sealed: {a: Zm91cg==}\n  # ZZ\n";
        fs::write(&path, text).unwrap();
        let mut file = File::read(&path).unwrap();
        assert_eq!(file.documents().len(), 3);
        let new = |text: &str| BTreeMap::from([("a".to_owned(), text.to_owned())]);
        file.set(0, &new("longer-than-before")).unwrap();
        file.set(1, &new("2")).unwrap();
        file.set(2, &new("third")).unwrap();
        file.set(0, &new("1")).unwrap();
        file.write().unwrap();
        let expected = text
            .replace("b25l", "1")
            .replace("dGhyZWU=", "2")
            .replace("Zm91cg==", "third");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        // Somebody else's edit is not lost.
        assert!(file.write().unwrap_err().message.contains("meanwhile"));
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        // A folded one is no piece of the text: its lines are written anew, and a text that is there twice is not mistaken.
        let folded = BTreeMap::from([("b".to_owned(), "five".to_owned())]);
        file.set(0, &folded).unwrap();
        let expected = expected.replace(">-\n      dHdv\n      dHdv\n", "five\n");
        assert_eq!(file.text, expected);
        let twice = "kind: ManagedSecret\nmetadata: {annotations: {a: b25l}}\nspec:\n  sealed:\n    a: b25l # note\n";
        fs::write(&path, twice).unwrap();
        let mut file = File::read(&path).unwrap();
        file.set(0, &new("one")).unwrap();
        assert_eq!(file.text, twice.replace("    a: b25l # note", "    a: one"));
    }
}
