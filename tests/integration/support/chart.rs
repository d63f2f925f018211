//! The chart, installed by Helm.

use std::fs;
use std::path::{Path, PathBuf};

use keystead_cluster::Snapshot;
use tokio::sync::OnceCell;

use super::{SYSTEM, Tools, run};

static INSTALLED: OnceCell<Snapshot> = OnceCell::const_new();

/// What a control plane holds once the chart is installed as it is by default. Most tests begin there.
pub(super) async fn installed(tools: &Tools) -> &'static Snapshot {
    let make = || async {
        let content = content();
        let snapshot = Snapshot::cached(&content, async |cluster| {
            install(tools, cluster.kubeconfig(), "keystead", &[]).await;
        });
        snapshot.await.expect("a control plane starts and is kept")
    };
    INSTALLED.get_or_init(make).await
}

/// Installs it under a release name with values (`key=value`).
pub(super) async fn install(tools: &Tools, kubeconfig: &Path, release: &str, values: &[&str]) {
    let folder = folder();
    let chart = folder.to_string_lossy();
    let mut args = vec![
        "install",
        release,
        &chart,
        "-n",
        SYSTEM,
        "--create-namespace",
    ];
    for value in values {
        args.extend(["--set", value]);
    }
    run(&tools.helm, kubeconfig, &args, "").await.expect_ok();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/keystead")
}

/// All files of the chart.
fn content() -> Vec<u8> {
    let mut files = Vec::new();
    collect(&folder(), &mut files);
    files.sort();
    let mut content = Vec::new();
    for file in files {
        content.extend_from_slice(file.as_os_str().as_encoded_bytes());
        content.extend(fs::read(&file).expect("a file of the chart can be read"));
    }
    content
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the chart's folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
