//! The value of a secret, by the user's own right to the native Secret that it is delivered in. Nothing here decrypts.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use crate::api::ManagedSecret;
use crate::api::managed_secret::Form;
use crate::calling::answered;
use crate::crypto::SecretBytes;
use crate::plugin::connection::Cluster;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::objects;
use crate::plugin::output::{Format, Output, Table, print_value};

/// Arguments of `secret get`.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Name of the secret.
    name: String,
    /// Only this key. With --reveal its bytes are written as they are, with nothing added.
    #[arg(long)]
    key: Option<String>,
    /// Show values. Read from the Secret that the value is delivered in, by your own right to get it; only form Plain holds
    /// plaintext.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(
    cluster: &Cluster,
    args: &Get,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let secret: ManagedSecret = objects::get(cluster, &args.name).await?;
    let delivered = match (plain_target(&secret), args.reveal) {
        (Ok(target), _) => delivered(cluster, &target).await,
        (Err(failure), true) => Err(failure),
        (Err(_), false) => Ok(Vec::new()),
    };
    if args.reveal {
        let entries = only(delivered?, args.key.as_deref())?;
        return reveal(&entries, args, out);
    }
    // Without the right to the Secret the names are still known.
    let delivered = delivered.unwrap_or_default();
    let mut keys = sizes(&secret, &delivered);
    if let Some(wanted) = &args.key {
        keys.retain(|(key, _)| key == wanted);
        if keys.is_empty() {
            return Err(missing(wanted));
        }
    }
    show(&keys, args.output.format, out)
}

/// Where the plaintext is.
fn plain_target(secret: &ManagedSecret) -> Result<String, Failure> {
    let target = secret.status.as_ref().and_then(|s| s.target_ref.as_ref());
    let why = match target {
        Some(target) if target.form == Form::Plain => return Ok(target.name.clone()),
        Some(_) => {
            "its target is Sealed and holds ciphertext only: read it with a service account's token by the API (GetSecretValue), or \
             set spec.target.form: Plain"
        }
        None => {
            "it is not delivered: wait until it is Ready, or, if its form is None, set spec.target.form: Plain"
        }
    };
    Err(Failure::new(
        Exit::No,
        format!("no value can be shown: {why}"),
    ))
}

async fn delivered(cluster: &Cluster, target: &str) -> Result<Vec<(String, SecretBytes)>, Failure> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let found = answered(api.get(target)).await;
    let what = format!("get Secret {}/{target}", cluster.namespace);
    let found = found.map_err(|error| Failure::of_call(&what, &error))?;
    let data = found.data.unwrap_or_default().into_iter();
    Ok(data
        .map(|(key, bytes)| (key, SecretBytes::from(bytes.0)))
        .collect())
}

fn only(
    mut entries: Vec<(String, SecretBytes)>,
    key: Option<&str>,
) -> Result<Vec<(String, SecretBytes)>, Failure> {
    if let Some(wanted) = key {
        entries.retain(|(key, _)| key == wanted);
        if entries.is_empty() {
            return Err(missing(wanted));
        }
    }
    Ok(entries)
}

fn missing(key: &str) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("the secret has no key {key}: leave --key out to see what there is"),
    )
}

/// Every key that is known, with its size where that is known.
fn sizes(
    secret: &ManagedSecret,
    delivered: &[(String, SecretBytes)],
) -> Vec<(String, Option<usize>)> {
    if !delivered.is_empty() {
        let sized = delivered.iter();
        return sized
            .map(|(key, bytes)| (key.clone(), Some(bytes.len())))
            .collect();
    }
    let keys = secret.status.iter().flat_map(|status| &status.keys);
    keys.map(|key| (key.clone(), None)).collect()
}

fn show(
    keys: &[(String, Option<usize>)],
    format: Format,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    match format {
        Format::Table => {
            let mut table = Table::new(&["KEY", "BYTES"]);
            for (key, size) in keys {
                let size = size.map_or_else(|| "<unknown>".to_owned(), |size| size.to_string());
                table.push(vec![key.clone(), size]);
            }
            table.print(out)?;
        }
        Format::Name => {
            for (key, _) in keys {
                writeln!(out, "{key}")?;
            }
        }
        format => {
            let entry = |(key, size): &(String, Option<usize>)| json!({"key": key, "bytes": size});
            let keys: Vec<_> = keys.iter().map(entry).collect();
            print_value(out, &json!({ "keys": keys }), format)?;
        }
    }
    Ok(Exit::Ok)
}

/// Prints values. The one place of the program that does, beside `template render --reveal` and `seal open --reveal`.
fn reveal(
    entries: &[(String, SecretBytes)],
    args: &Get,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    match (args.output.format, entries) {
        (Format::Table, [(_, bytes)]) if args.key.is_some() => out.write_all(bytes.expose())?,
        (Format::Name, _) => {
            return Err(Failure::error(
                "-o name shows no values: take another format, or leave --reveal out",
            ));
        }
        (Format::Table, _) => {
            let mut table = Table::new(&["KEY", "VALUE"]);
            for (key, bytes) in entries {
                table.push(vec![key.clone(), text(bytes.expose())]);
            }
            table.print(out)?;
        }
        (format, _) => {
            let value = |bytes: &SecretBytes| match std::str::from_utf8(bytes.expose()) {
                Ok(text) => json!({ "value": text }),
                Err(_) => json!({"base64": STANDARD.encode(bytes.expose())}),
            };
            let values = entries
                .iter()
                .map(|(key, bytes)| (key.clone(), value(bytes)));
            print_value(out, &Value::Object(values.collect()), format)?;
        }
    }
    Ok(Exit::Ok)
}

/// A value for a table: text as it is, anything else in base64.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(form: &str) -> ManagedSecret {
        let mut secret = ManagedSecret::new("db", serde_json::from_value(json!({})).unwrap());
        let status = json!({"keys": ["a"], "targetRef": {"name": "db", "form": form}});
        secret.status = Some(serde_json::from_value(status).unwrap());
        secret
    }

    #[test]
    fn only_a_plain_target_has_a_value_to_show() {
        assert_eq!(plain_target(&secret("Plain")).unwrap(), "db");
        let failure = plain_target(&secret("Sealed")).unwrap_err();
        assert_eq!(failure.exit, Exit::No);
        assert!(failure.message.contains("form: Plain"), "{failure}");
        let mut none = secret("Plain");
        none.status = None;
        assert_eq!(plain_target(&none).unwrap_err().exit, Exit::No);
    }

    #[test]
    fn without_the_right_to_the_secret_keys_are_listed_without_sizes() {
        let keys = sizes(&secret("Plain"), &[]);
        assert_eq!(keys, [("a".to_owned(), None)]);
        let bytes = SecretBytes::from(b"C4N4RY".to_vec());
        let keys = sizes(&secret("Plain"), &[("a".to_owned(), bytes)]);
        let mut out = Vec::new();
        for format in [Format::Table, Format::Json, Format::Yaml, Format::Name] {
            show(&keys, format, &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains('6') && !out.contains("C4N4RY"), "{out}");
    }
}
