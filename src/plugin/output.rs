//! What is printed: tables for people, JSON, YAML and names for programs. No colours, and nothing that depends on a terminal.

use std::io::Write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::exit::Failure;
use crate::api::ConditionType;
use crate::api::condition::find;

/// How objects are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON, as the API server has it.
    Json,
    /// YAML, as the API server has it.
    Yaml,
    /// One `kind.group/name` a line.
    Name,
}

/// The option -o.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// How the result is printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Lines of cells below a heading.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with that heading and no line.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Writes it, with columns as wide as their widest cell. Control characters of a cell are escaped: they would move a
    /// terminal's cursor.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| shown(cell)).collect())
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(out, "{}", line.join("   ").trim_end())?;
        }
        Ok(())
    }
}

/// A cell or a field as a terminal may have it; `<none>` if it is empty.
pub(crate) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "<none>".to_owned();
    }
    let safe = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(safe).collect()
}

/// Fields of one object, one a line.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// No field yet.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((format!("{name}:"), value.into()));
    }

    /// Adds a field if there is a value.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(name, value.to_string());
        }
    }

    /// Adds the conditions, each with its message.
    pub(crate) fn conditions(&mut self, conditions: &[Condition]) {
        for condition in conditions {
            let Condition {
                type_,
                status,
                reason,
                message,
                ..
            } = condition;
            self.add(type_, format!("{status} ({reason}) {message}"));
        }
    }

    /// Writes them.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        let names = self.0.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0);
        for (name, value) in &self.0 {
            writeln!(out, "{name:width$}   {}", shown(value))?;
        }
        Ok(())
    }
}

/// `kind.group/name`, as kubectl takes it.
pub(crate) fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let kind = K::kind(&()).to_lowercase();
    format!("{kind}.{}/{}", K::group(&()), object.name_any())
}

/// An object as the API server has it, without the bookkeeping of who wrote which field.
pub(crate) fn plain_json<K: Serialize>(object: &K) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(object)
        .map_err(|_| Failure::error("the object cannot be written as JSON"))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(value)
}

/// Several objects as kubectl lists them.
pub(crate) fn list_json<K: Serialize>(objects: &[K]) -> Result<Value, Failure> {
    let items: Result<Vec<_>, _> = objects.iter().map(plain_json).collect();
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items?}))
}

/// Writes a value as JSON or, if that is asked for, as YAML.
pub(crate) fn print_value(
    out: &mut impl Write,
    value: &Value,
    format: Format,
) -> Result<(), Failure> {
    let text = if format == Format::Yaml {
        serde_saphyr::to_string(value).map_err(|_| ())
    } else {
        serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|_| ())
    };
    let text = text.map_err(|()| Failure::error("the result cannot be written in that format"))?;
    Ok(out.write_all(text.as_bytes())?)
}

/// The status and reason of the summary, for a table.
pub(crate) fn readiness(conditions: &[Condition]) -> [String; 2] {
    match find(conditions, ConditionType::Ready) {
        Some(ready) => [ready.status.clone(), ready.reason.clone()],
        None => ["Unknown".to_owned(), String::new()],
    }
}

/// How long ago an object was made, as kubectl says it: `5d`, `3h`, `12m`, `40s`.
pub(crate) fn age<K: Resource>(object: &K, now: Timestamp) -> String {
    let Some(created) = &object.meta().creation_timestamp else {
        return "<unknown>".to_owned();
    };
    let seconds = now.duration_since(created.0).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ManagedKey, ManagedKeySpec};

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_harmless_to_a_terminal() {
        let mut table = Table::new(&["NAME", "READY", "MESSAGE"]);
        table.push(vec!["a".into(), String::new(), "x\u{1b}[31m\ny".into()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "NAME   READY    MESSAGE\na      <none>   x\\u{1b}[31m\\ny\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_people_think_in() {
        let mut key = ManagedKey::new("", ManagedKeySpec::default());
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        assert_eq!(age(&key, now), "<unknown>");
        for (created, told) in [
            ("2026-01-09T23:59:20Z", "40s"),
            ("2026-01-09T23:48:00Z", "12m"),
            ("2026-01-09T21:00:00Z", "3h"),
            ("2026-01-05T00:00:00Z", "5d"),
            ("2026-01-10T00:00:09Z", "0s"),
        ] {
            let time = serde_json::from_value(json!(created)).unwrap();
            key.metadata.creation_timestamp = Some(time);
            assert_eq!(age(&key, now), told);
        }
    }

    #[test]
    fn objects_are_printed_without_the_bookkeeping_of_their_fields() {
        let mut key = ManagedKey::new("", ManagedKeySpec::default());
        key.metadata.name = Some("orders".to_owned());
        key.metadata.managed_fields = Some(Vec::new());
        assert_eq!(name_of(&key), "managedkey.keystead.dev/orders");
        let list = list_json(&[key]).unwrap();
        assert_eq!(list["items"][0]["metadata"], json!({"name": "orders"}));
        let mut out = Vec::new();
        print_value(&mut out, &list, Format::Yaml).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("kind: List"));
    }
}
