//! Puts entries into the manifest of a `ManagedSecret` in a file. Comments, order and everything else stay byte for byte: only lines
//! of `spec.sealed` are written, and the result is read back and compared before anything reaches the file.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::place::Place;
use crate::plugin::exit::Failure;
use crate::plugin::manifest::read;

/// A file with one manifest in it that is looked at or changed.
pub(super) struct Document {
    /// The whole file.
    text: String,
    /// Where the manifest is in it.
    range: Range<usize>,
    manifest: Value,
}

impl Document {
    /// The only `ManagedSecret` of a file, or the one of that name.
    pub(super) fn read(path: &Path, name: Option<&str>) -> Result<Self, Failure> {
        let mut found = all(path)?;
        if let Some(name) = name {
            found.retain(|document| document.manifest["metadata"]["name"] == name);
        }
        let shown = path.display();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::error(format!("{shown} has no such ManagedSecret"))),
            _ => Err(Failure::error(format!(
                "{shown} has several ManagedSecrets: give one with --name"
            ))),
        }
    }

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

    /// The same with these entries, in the place of those of the same keys.
    pub(super) fn with_entries(self, entries: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let unclear = || {
            Failure::error(
                "the file cannot be edited without touching more than spec.sealed: write spec and spec.sealed in YAML's block style",
            )
        };
        let mut expected = self.manifest.clone();
        for (key, entry) in entries {
            expected["spec"]["sealed"][key] = Value::String(entry.clone());
        }
        let edited = edited(&self.text[self.range.clone()], entries).ok_or_else(unclear)?;
        let read: Value = serde_saphyr::from_str(&edited).map_err(|_| unclear())?;
        if read != expected {
            return Err(unclear());
        }
        let Range { start, end } = self.range;
        let text = [&self.text[..start], &edited, &self.text[end..]].concat();
        Ok(Self {
            range: start..start + edited.len(),
            text,
            manifest: read,
        })
    }

    /// Writes the whole file, by a new one beside it, so that nobody ever finds half of it.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let written = write(path, self.text.as_bytes());
        written.map_err(|error| {
            Failure::error(format!(
                "{} cannot be written: {}",
                path.display(),
                error.kind()
            ))
        })
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // What a link leads to is meant, not the link.
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".keystead-new");
    let beside = path.with_file_name(name);
    let mut file = std::fs::File::create_new(&beside)?;
    let done = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(std::fs::metadata(&path)?.permissions()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, &path));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

/// The `ManagedSecrets` of a file. What else is in it is not looked at, but it must be YAML.
pub(super) fn all(path: &Path) -> Result<Vec<Document>, Failure> {
    let bytes = read(path)?;
    let shown = path.display();
    let text = std::str::from_utf8(bytes.expose())
        .map_err(|_| Failure::error(format!("{shown} is not UTF-8 text")))?;
    let mut found = Vec::new();
    for range in documents(text) {
        let part = &text[range.clone()];
        if !part.contains("ManagedSecret") {
            continue;
        }
        let manifest: Value = serde_saphyr::from_str(part)
            .map_err(|_| Failure::error(format!("{shown}: a ManagedSecret in it is no YAML")))?;
        if manifest["kind"] == "ManagedSecret" {
            let text = text.to_owned();
            found.push(Document {
                text,
                range,
                manifest,
            });
        }
    }
    Ok(found)
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
fn edited(text: &str, entries: &BTreeMap<String, String>) -> Option<String> {
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
        edited(text, &pairs.iter().map(owned).collect())
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
        std::fs::write(&path, flow).unwrap();
        let refused = Document::read(&path, None).unwrap().with_entries(&entries);
        assert!(refused.err().unwrap().message.contains("block style"));
        std::fs::write(&path, good).unwrap();
        let document = Document::read(&path, Some("db")).unwrap();
        document
            .with_entries(&entries)
            .unwrap()
            .write(&path)
            .unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let expected = good.replace("# z\n", "# z\n  sealed:\n    c: d\n");
        assert_eq!(written, expected);
        assert!(Document::read(&path, Some("other")).is_err());
    }
}
