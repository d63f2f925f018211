//! The public keys that are sealed for: from files, or as the installation publishes them. And the private ones, exported.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::api::names::{PUBLIC, PUBLIC_NAMESPACE};
use crate::calling::answered;
use crate::crypto::{SealingKeys, SealingPublicKey};
use crate::plugin::connection::{Cluster, Connection};
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::manifest::read;
use crate::sealing::import;

/// How the text of a public key begins.
const PREFIX: &str = "kssk1_";

/// Where the keys come from.
#[derive(Debug, clap::Args)]
pub(super) struct KeySource {
    /// A file with the public keys of an installation, its active one first (see `fetch-key`). Without it the cluster is asked.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// The same of a further installation that shall be able to open the entries; can be given several times.
    #[arg(long, value_name = "FILE")]
    recipient: Vec<PathBuf>,
    /// The kubeconfig file; default those in KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl KeySource {
    /// The active key of each installation.
    pub(super) async fn recipients(&self) -> Result<Vec<SealingPublicKey>, Failure> {
        let mut active = vec![self.known().await?.swap_remove(0)];
        for file in &self.recipient {
            active.push(of_file(file)?.swap_remove(0));
        }
        Ok(active)
    }

    /// All keys of the installation, the active one first. Not empty.
    pub(super) async fn known(&self) -> Result<Vec<SealingPublicKey>, Failure> {
        if let Some(file) = &self.public_key {
            return of_file(file);
        }
        published(&self.connection().open().await?).await
    }

    /// The way to the cluster.
    pub(super) fn connection(&self) -> Connection {
        Connection::of(self.kubeconfig.clone(), self.context.clone())
    }

    /// The same for kubectl.
    pub(super) fn for_kubectl(&self) -> Vec<OsString> {
        let file = self.kubeconfig.as_ref().map(|file| file.clone().into());
        let context = self.context.as_ref().map(OsString::from);
        let flags = [("--kubeconfig", file), ("--context", context)].into_iter();
        let given = flags.filter_map(|(flag, value)| Some([flag.into(), value?]));
        given.flatten().collect()
    }
}

/// The exported private keys in a file. One that others can read is used, and told of.
pub(super) fn private(path: &Path) -> Result<SealingKeys, Failure> {
    let text = read(path)?;
    // Standard input has no mode.
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o077 != 0 {
        let (file, mode) = (path.display(), mode & 0o777);
        eprintln!("warning: {file} can be read by others (mode {mode:o}): chmod 600 {file}");
    }
    import(text.expose()).map_err(|error| Failure::error(format!("{}: {error}", path.display())))
}

/// The keys that the installation publishes, the active one first. Not empty.
pub(super) async fn published(cluster: &Cluster) -> Result<Vec<SealingPublicKey>, Failure> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), PUBLIC_NAMESPACE);
    let found = answered(api.get(PUBLIC)).await;
    let found = found.map_err(|error| {
        let mut failure = Failure::of_call("look for the public key in kube-public", &error);
        failure
            .message
            .push_str("; or give the key with --public-key");
        failure
    })?;
    let texts = found.data.unwrap_or_default();
    keys(&texts.into_values().collect::<Vec<_>>().join("\n"))
}

fn of_file(path: &Path) -> Result<Vec<SealingPublicKey>, Failure> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(bytes.expose());
    keys(&text).map_err(|failure| {
        Failure::new(
            failure.exit,
            format!("{}: {}", path.display(), failure.message),
        )
    })
}

/// All keys in a text, in their order; whatever is around them is not looked at.
fn keys(text: &str) -> Result<Vec<SealingPublicKey>, Failure> {
    let outside = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let words = text.split(outside).filter(|word| word.starts_with(PREFIX));
    let keys: Result<Vec<SealingPublicKey>, _> = words.map(str::parse).collect();
    let keys = keys.map_err(|error| Failure::error(error.to_string()))?;
    if keys.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            "no sealing key is there: fetch it with `kubectl keystead seal fetch-key`",
        ));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{InstallationId, OsRandom, SealingPrivateKey};

    #[test]
    fn keys_are_found_in_whatever_text_and_a_cut_one_is_refused() {
        let installation = InstallationId::from_bytes([1; 16]);
        let key = || {
            let private = SealingPrivateKey::generate(installation, &mut OsRandom).unwrap();
            private.public(installation)
        };
        let [first, second] = [key(), key()];
        let text = format!("# ours\nactive: \"{first}\"\nolder: [{second}]\n");
        let found: Vec<_> = keys(&text)
            .unwrap()
            .iter()
            .map(SealingPublicKey::id)
            .collect();
        assert_eq!(found, [first.id(), second.id()]);
        let cut = &first.to_string()[..200];
        assert!(keys(cut).unwrap_err().message.contains("characters"));
        assert_eq!(keys("nothing").unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn kubectl_goes_where_we_go() {
        let mut source = KeySource {
            public_key: None,
            recipient: Vec::new(),
            kubeconfig: None,
            context: None,
        };
        assert!(source.for_kubectl().is_empty());
        source.kubeconfig = Some("/k".into());
        source.context = Some("new".to_owned());
        let flags = ["--kubeconfig", "/k", "--context", "new"];
        assert_eq!(source.for_kubectl(), flags);
    }
}
