//! The way to the cluster: the user's own kubeconfig, as kubectl reads it, and nothing else. No Service, no proxy, no name of a
//! release is needed.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::exit::{Exit, Failure};

/// Which cluster, and as whom. The same words as kubectl's.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The kubeconfig file; default those in KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The namespace; default that of the context.
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// The user to act as, if you may impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    user: Option<String>,
    /// A group to act as; can be given several times, with --as.
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "user"
    )]
    groups: Vec<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The client.
    pub(crate) client: Client,
    /// The namespace of the command.
    pub(crate) namespace: String,
}

impl Connection {
    /// The way that a kubeconfig and a context say.
    pub(crate) fn of(kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        Self {
            kubeconfig,
            context,
            ..Self::default()
        }
    }

    /// Reads the kubeconfig and makes the client. Nothing is sent yet.
    pub(crate) async fn open(&self) -> Result<Cluster, Failure> {
        let config = self.config().await?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| Failure::of_call("make a client from the kubeconfig", &error))?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let read = match &self.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(|error| unreadable(&error))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let mut config = match read {
            Ok(config) => config,
            // Inside of a pod there is no kubeconfig, and its ServiceAccount is meant.
            Err(error) if self.kubeconfig.is_none() && self.context.is_none() => {
                Config::incluster().map_err(|_| unreadable(&error))?
            }
            Err(error) => return Err(unreadable(&error)),
        };
        self.applied_to(&mut config);
        Ok(config)
    }

    /// What the command line says on top of the kubeconfig.
    fn applied_to(&self, config: &mut Config) {
        // A person waits, and repeats the command himself.
        config.default_retry = false;
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if let Some(user) = &self.user {
            let auth = &mut config.auth_info;
            auth.impersonate = Some(user.clone());
            auth.impersonate_groups = (!self.groups.is_empty()).then(|| self.groups.clone());
        }
    }
}

/// The library's words on a kubeconfig name files and contexts; what was in the file they may quote, so that only the kind of
/// error is told.
fn unreadable(error: &kube::config::KubeconfigError) -> Failure {
    use kube::config::KubeconfigError;
    let what = match error {
        KubeconfigError::LoadContext(name) => {
            format!("the kubeconfig has no context {name}: see `kubectl config get-contexts`")
        }
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig has no current context: give --context".to_owned()
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("the kubeconfig lacks the cluster {name} of its context")
        }
        KubeconfigError::ReadConfig(error, path) => {
            format!(
                "{} cannot be read ({}): check --kubeconfig and KUBECONFIG",
                path.display(),
                error.kind()
            )
        }
        KubeconfigError::FindPath => {
            "there is no kubeconfig: give --kubeconfig, or set KUBECONFIG".to_owned()
        }
        _ => "the kubeconfig cannot be used: check it with `kubectl config view`".to_owned(),
    };
    Failure::new(Exit::Error, what)
}
