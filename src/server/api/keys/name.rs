//! Which key a caller names: by its id, its ARN, or an alias of the caller's own namespace.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client};
use tracing::warn;

use crate::api::KeyAlias;
use crate::api::names::is_object_name;
use crate::calling::within;
use crate::crypto::{AccountId, Arn, InstallationId, KeyId};
use crate::keys::Keyring;
use crate::server::api::authenticate::Identity;
use crate::server::api::error::ApiError;
use crate::telling::describe;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest name that is looked at, in characters; as in AWS.
const MAX_ID: usize = 2048;

/// Finds keys.
pub(in crate::server::api) struct Names {
    pub(in crate::server::api) client: Client,
    pub(in crate::server::api) keyring: Arc<Keyring>,
    pub(in crate::server::api) installation: InstallationId,
}

/// What a `KeyId` says.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    /// The key itself.
    Key(KeyId),
    /// An alias of the caller's account.
    Alias(&'a str),
    /// An alias of that account.
    AliasOf(AccountId, &'a str),
}

impl Names {
    /// The key that a `KeyId` stands for, whether it exists or not.
    ///
    /// # Errors
    /// It is none of the forms, or an alias that stands for no key.
    pub(super) async fn key(&self, id: &str, who: &Identity) -> Result<KeyId, ApiError> {
        let own = who.caller.principal.namespace();
        let alias = match parse(id)? {
            Named::Key(key) => return Ok(key),
            Named::Alias(alias) => alias,
            Named::AliasOf(account, alias) => {
                let is_own =
                    own.is_some_and(|own| AccountId::of(self.installation, own) == account);
                if !is_own {
                    let message =
                        "KeyId: an alias is known in its own account only; name the key by its ARN";
                    return Err(ApiError::no_key(message));
                }
                alias
            }
        };
        let Some(namespace) = own else {
            let message =
                "KeyId: only a service account has aliases of its own; name the key by its ARN";
            return Err(ApiError::validation(message));
        };
        self.alias(namespace, alias).await
    }

    /// An alias gives no right: it only finds the key, by what it says now.
    async fn alias(&self, namespace: &str, name: &str) -> Result<KeyId, ApiError> {
        let missing =
            || ApiError::no_key(format!("there is no alias/{name} that stands for a key"));
        let aliases: Api<KeyAlias> = Api::namespaced(self.client.clone(), namespace);
        let found = within(PATIENCE, aliases.get_opt(name)).await;
        let found = found.map_err(|error| {
            let error = describe(&error);
            warn!(namespace, name, error, "an alias could not be read");
            ApiError::unanswered()
        })?;
        let alias = found.ok_or_else(missing)?;
        let keys = self.keyring.named(namespace, &alias.spec.key_ref.name);
        keys.first().map(|key| key.id).ok_or_else(missing)
    }
}

fn parse(id: &str) -> Result<Named<'_>, ApiError> {
    let invalid = || {
        ApiError::validation(
            "KeyId: name a key by its id, its ARN, alias/<name of a KeyAlias>, or the ARN of an alias",
        )
    };
    if id.len() > MAX_ID {
        return Err(invalid());
    }
    if let Some(alias) = id.strip_prefix("alias/") {
        return alias_name(alias).map(Named::Alias).ok_or_else(invalid);
    }
    if !id.starts_with("arn:") {
        return id.parse().map(Named::Key).map_err(|_| invalid());
    }
    if let Ok(arn) = id.parse::<Arn>() {
        return Ok(Named::Key(arn.key));
    }
    let parts: Vec<_> = id.splitn(6, ':').collect();
    let ["arn", _, "kms", _, account, resource] = parts[..] else {
        return Err(invalid());
    };
    let alias = resource.strip_prefix("alias/").and_then(alias_name);
    match (account.parse(), alias) {
        (Ok(account), Some(alias)) => Ok(Named::AliasOf(account, alias)),
        _ => Err(invalid()),
    }
}

/// The name of a `KeyAlias`, which is that of an object of Kubernetes.
fn alias_name(name: &str) -> Option<&str> {
    is_object_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    #[test]
    fn a_key_is_named_by_its_id_its_arn_or_an_alias() {
        let key: KeyId = ID.parse().unwrap();
        assert_eq!(parse(ID), Ok(Named::Key(key)));
        let arn = format!("arn:aws:kms:ks-local-1:000000000042:key/{ID}");
        assert_eq!(parse(&arn), Ok(Named::Key(key)));
        assert_eq!(parse("alias/orders"), Ok(Named::Alias("orders")));
        let account = "000000000042".parse().unwrap();
        let arn = "arn:aws:kms:ks-local-1:000000000042:alias/orders";
        assert_eq!(parse(arn), Ok(Named::AliasOf(account, "orders")));
    }

    #[test]
    fn what_names_no_key_is_refused_and_not_asked_for() {
        let long = format!("alias/{}", "x".repeat(3000));
        for id in [
            "",
            "orders",
            "alias/",
            "alias/../orders",
            "alias/A",
            "arn:aws:kms:x",
            "arn:aws:kms:r:42:alias/a",
            &long,
        ] {
            assert_eq!(parse(id).unwrap_err().code, "ValidationException", "{id}");
        }
    }
}
