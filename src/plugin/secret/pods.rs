//! The pods that get a secret by the node plugin, as they are now, by the user's own right to list pods.

use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::json;

use crate::api::ManagedSecret;
use crate::api::managed_secret::SecretVersionStatus;
use crate::consumers::{Has, of_pod};
use crate::plugin::connection::Cluster;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::objects::{all, get};
use crate::plugin::output::{Format, Output, Table, print_value};

/// Arguments of `secret pods`.
#[derive(Debug, clap::Args)]
pub(super) struct Pods {
    /// Name of the secret.
    name: String,
    /// Only those that are without the version that they ask for, or have not told what they have.
    #[arg(long)]
    behind: bool,
    #[command(flatten)]
    output: Output,
}

/// A pod that gets the secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    /// The version that it has, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The stages of that version.
    stages: Vec<String>,
    up_to_date: bool,
}

impl Line {
    fn of(name: String, has: Has, versions: &[SecretVersionStatus]) -> Self {
        let up_to_date = !has.is_behind(versions);
        let version = has.version.map(|version| version.to_string());
        let kept = versions
            .iter()
            .find(|kept| Some(&kept.id) == version.as_ref());
        Self {
            name,
            stages: kept.map(|kept| kept.stages.clone()).unwrap_or_default(),
            version,
            up_to_date,
        }
    }
}

pub(super) async fn list(
    cluster: &Cluster,
    args: &Pods,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let secret: ManagedSecret = get(cluster, &args.name).await?;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let pods = all(&api, None).await;
    let what = format!("list pods in {}", cluster.namespace);
    let pods = pods.map_err(|error| Failure::of_call(&what, &error))?;
    let versions = secret.status.unwrap_or_default().versions;
    let mut lines = lines(&pods, &args.name, &versions);
    if args.behind {
        lines.retain(|line| !line.up_to_date);
    }
    show(&lines, args.output.format, out)?;
    Ok(Exit::Ok)
}

fn lines(pods: &[Pod], secret: &str, versions: &[SecretVersionStatus]) -> Vec<Line> {
    let of_one = |pod: &Pod| {
        let has = of_pod(pod).remove(secret)?;
        Some(Line::of(pod.name_any(), has, versions))
    };
    pods.iter().filter_map(of_one).collect()
}

fn show(lines: &[Line], format: Format, out: &mut impl Write) -> Result<(), Failure> {
    match format {
        Format::Table if lines.is_empty() => eprintln!("no such pods"),
        Format::Table => {
            let mut table = Table::new(&["POD", "VERSION", "STAGES", "UP-TO-DATE"]);
            for line in lines {
                let version = line.version.as_deref().unwrap_or("<unknown>");
                table.push(vec![
                    line.name.clone(),
                    version.to_owned(),
                    line.stages.join(","),
                    line.up_to_date.to_string(),
                ]);
            }
            table.print(out)?;
        }
        Format::Name => {
            for line in lines {
                writeln!(out, "pod/{}", line.name)?;
            }
        }
        format => print_value(out, &json!({ "pods": lines }), format)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
    const OLD: &str = "1b4e28ba-2fa1-4d1c-8d8a-1f2e3d4c5b6a";

    fn pod(name: &str, secret: &str, version: Option<&str>) -> Pod {
        let told = version.map(|version| format!("{secret}={version}"));
        let attributes = json!({"secret": secret});
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"containers": [], "volumes": [
                {"name": "v", "csi": {"driver": "secrets.keystead.dev", "volumeAttributes": attributes}}]},
            "status": {"conditions": [
                {"type": "keystead.dev/SecretsLoaded", "status": "True", "message": told}]},
        }))
        .unwrap()
    }

    #[test]
    fn each_pod_that_gets_the_secret_has_a_line_that_says_how_far_it_is() {
        let version = |id: &str, stage: &str| {
            serde_json::from_value(
                json!({"id": id, "stages": [stage], "created": "2026-01-01T00:00:00Z", "keyId": "k"}),
            )
        };
        let versions = [
            version(NEW, "Current").unwrap(),
            version(OLD, "Previous").unwrap(),
        ];
        let pods = [
            pod("a", "db", Some(NEW)),
            pod("b", "db", Some(OLD)),
            pod("c", "db", None),
            pod("d", "other", Some(NEW)),
        ];
        let found = lines(&pods, "db", &versions);
        let mut out = Vec::new();
        show(&found, Format::Table, &mut out).unwrap();
        let table = format!(
            "POD   VERSION                                STAGES     UP-TO-DATE\n\
             a     {NEW}   Current    true\n\
             b     {OLD}   Previous   false\n\
             c     <unknown>                              <none>     false\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), table);
        let mut out = Vec::new();
        show(&found[1..], Format::Name, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "pod/b\npod/c\n");
    }
}
