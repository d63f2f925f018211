//! Clients and kubeconfigs for whoever a test wants to be.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};

use crate::{
    certificates::{Authority, Identity, Pki, Subject},
    http::{self, Credential},
    kubeconfig::{self, certificate_user, token_user},
};

/// Where the API server is and what signs its users.
#[derive(Debug)]
pub(crate) struct Access {
    url: String,
    dir: PathBuf,
    pki: Pki,
}

impl Access {
    pub(crate) fn new(url: String, dir: PathBuf, pki: Pki) -> Self {
        Self { url, dir, pki }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    /// A client with one of the kept certificates.
    pub(crate) fn client(&self, identity: &str) -> Result<Client> {
        self.connect(Credential::Certificate(&self.pki.read(identity)?))
    }

    /// A kubeconfig with one of the kept certificates.
    pub(crate) fn write_identity(&self, path: &Path, identity: &str) -> Result<()> {
        let user = certificate_user(&self.pki.read(identity)?);
        kubeconfig::write(path, &self.url, &self.authority()?, &user)
    }

    pub(crate) fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        self.connect(Credential::Certificate(&self.sign(user, groups)?))
    }

    pub(crate) fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let path = kubeconfig::path_for(&self.dir, user, groups)?;
        let entry = certificate_user(&self.sign(user, groups)?);
        kubeconfig::write(&path, &self.url, &self.authority()?, &entry)?;
        Ok(path)
    }

    pub(crate) async fn client_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Client> {
        self.connect(Credential::Token(
            self.token(namespace, name, &[], None).await?,
        ))
    }

    pub(crate) async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let token = self.token(namespace, name, &[], None).await?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let path = kubeconfig::path_for(&self.dir, &user, &[])?;
        kubeconfig::write(&path, &self.url, &self.authority()?, &token_user(&token))?;
        Ok(path)
    }

    pub(crate) async fn token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
        bound_to: Option<BoundObjectReference>,
    ) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client("admin")?, namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!audiences.is_empty())
                    .then(|| audiences.iter().map(ToString::to_string).collect()),
                bound_object_ref: bound_to,
                expiration_seconds: Some(3600),
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("request a token of {namespace}/{name}"))?;
        answer
            .status
            .and_then(|status| status.token)
            .context("the answer holds no token")
    }

    fn connect(&self, credential: Credential<'_>) -> Result<Client> {
        let config = http::config(&self.url, &self.authority()?, credential)?;
        Client::try_from(config).context("build a client")
    }

    fn authority(&self) -> Result<String> {
        self.pki.authority_pem(Authority::Cluster)
    }

    fn sign(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        self.pki.sign(
            Authority::Cluster,
            Subject {
                name: user,
                groups,
                hosts: &[],
            },
        )
    }
}
