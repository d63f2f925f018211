//! The kept versions of a secret, and the way back to one of them.

use std::io::Write;

use serde_json::json;

use super::pods_with;
use crate::api::ManagedSecret;
use crate::api::managed_secret::SecretVersionStatus;
use crate::api::names::ANNOTATION_ROLLBACK;
use crate::plugin::connection::Cluster;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::objects::{Writing, change, get, tell};
use crate::plugin::output::{Format, Output, Table, print_value};

/// The stage of the version that is delivered.
const CURRENT: &str = "Current";

/// Arguments of `secret versions`.
#[derive(Debug, clap::Args)]
pub(super) struct Versions {
    /// Name of the secret.
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `secret rollback`.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// Name of the secret.
    name: String,
    /// The version: its id, the beginning of it, or a stage.
    #[arg(long, value_name = "VERSION", default_value = "Previous")]
    to: String,
    #[command(flatten)]
    writing: Writing,
}

pub(super) async fn list(
    cluster: &Cluster,
    args: &Versions,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let secret: ManagedSecret = get(cluster, &args.name).await?;
    let status = secret.status.unwrap_or_default();
    let versions = status.versions;
    match args.output.format {
        Format::Table => {
            let mut table = Table::new(&["VERSION", "STAGES", "CREATED", "KEY-ID", "PODS"]);
            for version in versions {
                let pods = pods_with(&version.id, status.consumers.as_ref());
                let (stages, created) = (version.stages.join(","), version.created.0);
                table.push(vec![
                    version.id,
                    stages,
                    created.to_string(),
                    version.key_id,
                    pods.map(|pods| pods.to_string()).unwrap_or_default(),
                ]);
            }
            table.print(out)?;
        }
        Format::Name => {
            for version in versions {
                writeln!(out, "{}", version.id)?;
            }
        }
        format => print_value(out, &json!({ "versions": versions }), format)?,
    }
    Ok(Exit::Ok)
}

pub(super) async fn rollback(
    cluster: &Cluster,
    args: &Rollback,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let secret: ManagedSecret = get(cluster, &args.name).await?;
    let status = secret.status.clone().unwrap_or_default();
    let version = chosen(&status.versions, &args.to)?;
    if version.has_stage(CURRENT) {
        return tell(&secret, "unchanged", args.writing, out);
    }
    let sequence = status.sequence.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            "the secret is not stored yet: wait until it is Ready",
        )
    })?;
    // Of no effect a second time: the sequence is another one then.
    let asked = json!({ANNOTATION_ROLLBACK: format!("{}@{sequence}", version.id)});
    let patch = json!({"metadata": {"annotations": asked}});
    let done = format!("is asked to go back to version {}", version.id);
    change(cluster, &secret, patch, &done, args.writing, out).await
}

/// The one version that is meant: by stage, by id, or by the beginning of its id.
fn chosen<'a>(
    versions: &'a [SecretVersionStatus],
    wanted: &str,
) -> Result<&'a SecretVersionStatus, Failure> {
    let staged = versions.iter().find(|version| version.has_stage(wanted));
    if let Some(version) = staged {
        return Ok(version);
    }
    let fits = |version: &&SecretVersionStatus| version.id.starts_with(wanted);
    let mut fitting = versions.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(version), None) => Ok(version),
        (Some(_), Some(_)) => Err(Failure::error(format!(
            "several versions begin with {wanted}: give more of the id"
        ))),
        (None, _) => Err(Failure::new(
            Exit::NotFound,
            format!(
                "no kept version is {wanted}: see `kubectl keystead secret versions`, and give one with --to"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions() -> Vec<SecretVersionStatus> {
        let version = |id: &str, stages: &[&str]| {
            let version = json!({"id": id, "stages": stages, "created": "2026-01-01T00:00:00Z", "keyId": "k"});
            serde_json::from_value(version).unwrap()
        };
        vec![
            version("aa11", &["Current"]),
            version("aa22", &["Previous"]),
            version("bb33", &[]),
        ]
    }

    #[test]
    fn a_version_is_named_by_stage_by_id_or_by_its_only_beginning() {
        let versions = versions();
        for (wanted, id) in [
            ("Previous", "aa22"),
            ("Current", "aa11"),
            ("aa22", "aa22"),
            ("b", "bb33"),
        ] {
            assert_eq!(chosen(&versions, wanted).unwrap().id, id, "{wanted}");
        }
        for (wanted, exit) in [
            ("aa", Exit::Error),
            ("", Exit::Error),
            ("cc", Exit::NotFound),
            ("Pending", Exit::NotFound),
        ] {
            assert_eq!(chosen(&versions, wanted).unwrap_err().exit, exit);
        }
    }
}
