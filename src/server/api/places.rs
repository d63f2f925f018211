//! Where what a caller names is: a namespace stands for an account, and its twelve digits for the namespace.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tracing::warn;

use super::authenticate::Identity;
use super::error::ApiError;
use crate::api::names::is_object_name;
use crate::calling::within;
use crate::crypto::{AccountId, InstallationId, Region, secret_arn};
use crate::remember::Remembered;
use crate::telling::describe;

/// How long it is remembered which namespace an account stands for.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most accounts that are remembered.
const MOST: usize = 4096;
/// How long the API server may take to list namespaces.
const PATIENCE: Duration = Duration::from_secs(5);
/// Namespaces a page.
const PAGE: u32 = 500;
/// Longest name or ARN that is looked at, in characters; as in AWS.
const MAX_ID: usize = 2048;

/// A secret that a caller names, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretPlace {
    /// Its namespace; `None` if that of the account that the caller names is not there.
    pub(super) namespace: Option<String>,
    /// Its name.
    pub(super) name: String,
}

/// What a `SecretId` says.
#[derive(Debug, PartialEq, Eq)]
enum SecretId<'a> {
    /// A name: in the caller's own account.
    Name(&'a str),
    /// An ARN.
    Arn(AccountId, &'a str),
}

/// The accounts of an installation.
pub(super) struct Accounts {
    client: Client,
    installation: InstallationId,
    region: Region,
    known: Remembered<AccountId, Option<String>>,
}

impl Accounts {
    pub(super) fn new(client: Client, installation: InstallationId, region: Region) -> Self {
        Self {
            client,
            installation,
            region,
            known: Remembered::new(REMEMBERED, MOST),
        }
    }

    /// The ARN of a secret.
    pub(super) fn arn(&self, namespace: &str, name: &str) -> String {
        secret_arn(self.installation, &self.region, namespace, name)
    }

    /// The secret that a `SecretId` stands for, whether it exists or not.
    ///
    /// # Errors
    /// It is neither a name nor an ARN, or nobody could say what it stands for.
    pub(super) async fn secret(&self, id: &str, who: &Identity) -> Result<SecretPlace, ApiError> {
        let own = who.caller.principal.namespace();
        let (namespace, name) = match parse(id, &self.region)? {
            SecretId::Name(name) => {
                let own = own.ok_or_else(|| {
                    ApiError::invalid_parameter(
                        "SecretId: only a service account has secrets of its own; name the secret by its ARN",
                    )
                })?;
                (Some(own.to_owned()), name)
            }
            SecretId::Arn(account, name) => (self.namespace(account, own).await?, name),
        };
        Ok(SecretPlace {
            namespace,
            name: name.to_owned(),
        })
    }

    /// The namespace that an account stands for, if it is there.
    async fn namespace(
        &self,
        account: AccountId,
        own: Option<&str>,
    ) -> Result<Option<String>, ApiError> {
        if let Some(own) = own.filter(|own| AccountId::of(self.installation, own) == account) {
            return Ok(Some(own.to_owned()));
        }
        let asked = Instant::now();
        if let Some(known) = self.known.get(&account, asked) {
            return Ok(known);
        }
        let found = self.look_for(account).await?;
        self.known.put(account, asked, found.clone());
        Ok(found)
    }

    async fn look_for(&self, account: AccountId) -> Result<Option<String>, ApiError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = within(PATIENCE, namespaces.list_metadata(&params)).await;
            let page = page.map_err(|error| {
                let error = describe(&error);
                warn!(error, "namespaces could not be listed");
                ApiError::unanswered()
            })?;
            let mut names = page.items.iter().map(ResourceExt::name_any);
            if let Some(name) = names.find(|n| AccountId::of(self.installation, n) == account) {
                return Ok(Some(name));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(None),
            }
        }
    }
}

fn parse<'a>(id: &'a str, region: &Region) -> Result<SecretId<'a>, ApiError> {
    let invalid = |why: &str| ApiError::invalid_parameter(format!("SecretId: {why}"));
    if id.len() > MAX_ID {
        return Err(invalid("it has more than 2048 characters"));
    }
    let Some(rest) = id.strip_prefix("arn:") else {
        return name(id).map(SecretId::Name);
    };
    let parts: Vec<_> = rest.splitn(6, ':').collect();
    let [_, "secretsmanager", of, account, "secret", named] = parts[..] else {
        let form =
            "an ARN of a secret is arn:aws:secretsmanager:<region>:<12 digits>:secret:<name>";
        return Err(invalid(form));
    };
    let account: AccountId = account
        .parse()
        .map_err(|_| invalid("the account in the ARN has not twelve digits"))?;
    if of != region.as_str() {
        let here = region.as_str();
        return Err(invalid(&format!(
            "the ARN is of another region; this one is {here}"
        )));
    }
    Ok(SecretId::Arn(account, name(named)?))
}

fn name(text: &str) -> Result<&str, ApiError> {
    if is_object_name(text) {
        return Ok(text);
    }
    Err(ApiError::invalid_parameter(
        "SecretId: the name of a ManagedSecret has 1 to 253 lower-case letters, digits, '-' and '.', and begins and ends with a \
         letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> Region {
        "ks-local-1".parse().unwrap()
    }

    #[test]
    fn a_secret_is_named_by_its_name_or_its_arn() {
        assert_eq!(parse("db", &region()), Ok(SecretId::Name("db")));
        assert_eq!(parse("a.b-c.d", &region()), Ok(SecretId::Name("a.b-c.d")));
        let arn = "arn:aws:secretsmanager:ks-local-1:000000000042:secret:db";
        let account = "000000000042".parse().unwrap();
        assert_eq!(parse(arn, &region()), Ok(SecretId::Arn(account, "db")));
    }

    #[test]
    fn what_names_no_secret_is_refused_and_not_asked_for() {
        for id in [
            "",
            "DB",
            "../db",
            "shop/db",
            "db?watch=1",
            "-db",
            "db-",
            "a..b",
            "db\n",
            &"x".repeat(254),
            &"x".repeat(3000),
            "arn:aws:secretsmanager:ks-local-1:42:secret:db",
            "arn:aws:secretsmanager:elsewhere:000000000042:secret:db",
            "arn:aws:secretsmanager:ks-local-1:000000000042:secret:",
            "arn:aws:secretsmanager:ks-local-1:000000000042:secret:../db",
            "arn:aws:kms:ks-local-1:000000000042:key/db",
            "arn:",
        ] {
            let refused = parse(id, &region()).unwrap_err();
            assert_eq!(refused.code, "InvalidParameterException", "{id}");
        }
    }
}
