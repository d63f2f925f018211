//! Kubeconfig files: for programs what `kube::Config` is for us.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use crate::certificates::{Identity, write_private};

/// The user entry for a client certificate.
pub(crate) fn certificate_user(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": BASE64.encode(&identity.certificate),
        "client-key-data": BASE64.encode(&identity.key),
    })
}

/// The user entry for a token.
pub(crate) fn token_user(token: &str) -> Value {
    json!({"token": token})
}

/// Writes a self-contained kubeconfig. JSON, which every reader of YAML takes.
pub(crate) fn write(path: &Path, url: &str, authority_pem: &str, user: &Value) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "keystead",
            "cluster": {"server": url, "certificate-authority-data": BASE64.encode(authority_pem)},
        }],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "keystead", "context": {"cluster": "keystead", "user": "user"}}],
        "current-context": "keystead",
    });
    write_private(path, &serde_json::to_string_pretty(&config)?)
}

/// Where the kubeconfig of a user goes. Names may hold what file names may not.
pub(crate) fn path_for(dir: &Path, user: &str, groups: &[&str]) -> Result<PathBuf> {
    let dir = dir.join("kubeconfigs");
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let plain = |text: &str| {
        text.replace(
            |letter: char| !letter.is_ascii_alphanumeric() && letter != '-',
            "_",
        )
    };
    let mut name = plain(user);
    for group in groups {
        name.push('+');
        name.push_str(&plain(group));
    }
    name.truncate(200);
    Ok(dir.join(name))
}
