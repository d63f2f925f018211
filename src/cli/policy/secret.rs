//! What would be decided about a read of a secret by the API.

use anyhow::{Context as _, bail};
use kube::{Api, Client};

use super::{Explain, Explained, PATIENCE, groups, named, namespace_uid, offline_uid, principal};
use crate::api::{ManagedSecret, NamespaceRecord};
use crate::authorization::{self, ObjectPlace, Subject};
use crate::policy::{
    AccessRecord, Rbac, Reading, SecretAction, SecretDecision, SecretRules, check_secret_policy,
    decide_reading, foreign_namespaces_of_secret, namespace_of_user,
};

/// By the manifest alone.
pub(super) fn by_manifest(secret: &ManagedSecret, args: &Explain) -> anyhow::Result<Explained> {
    let namespace = secret.metadata.namespace.as_deref().unwrap_or("default");
    let named = foreign(secret, namespace).into_iter();
    let recorded = named.map(|name| NamespaceRecord {
        uid: offline_uid(&name),
        name,
    });
    let place = (namespace, offline_uid(namespace));
    let rules = rules(secret, &place, recorded.collect())?;
    let uid = namespace_of_user(&args.user).map(offline_uid);
    let (action, decision) = decided(args, &rules, namespace, uid, Rbac::NotAsked)?;
    Ok(explained(action, &decision))
}

/// By what the resource says in the cluster; each namespace counts as the one that was meant.
pub(super) async fn in_cluster(
    client: Client,
    secret: &str,
    args: &Explain,
) -> anyhow::Result<Explained> {
    let Some((namespace, name)) = secret.split_once('/') else {
        bail!("--secret {secret} is not of the form <namespace>/<name>");
    };
    let secrets: Api<ManagedSecret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get(name).await;
    let found = found.with_context(|| format!("ManagedSecret {secret} cannot be read"))?;
    let mut recorded = Vec::new();
    for other in foreign(&found, namespace) {
        let uid = namespace_uid(&client, &other).await?;
        recorded.extend(uid.map(|uid| NamespaceRecord { name: other, uid }));
    }
    let own = namespace_uid(&client, namespace).await?.unwrap_or_default();
    let rules = rules(&found, &(namespace, own), recorded)?;
    let uid = match namespace_of_user(&args.user) {
        Some(home) => namespace_uid(&client, home).await?,
        None => None,
    };
    let (action, decision) = decided(args, &rules, namespace, uid.clone(), Rbac::NotAsked)?;
    let Some(attributes) = decision.needs_rbac() else {
        return Ok(explained(action, &decision));
    };
    let subject = Subject {
        user: args.user.clone(),
        groups: groups(args),
        ..Subject::default()
    };
    let place = ObjectPlace { namespace, name };
    let rbac = authorization::ask(client, &subject, place, attributes, PATIENCE).await;
    let rbac = rbac.context("RBAC could not be asked (create on subjectaccessreviews)")?;
    let (action, decision) = decided(args, &rules, namespace, uid, rbac)?;
    Ok(explained(action, &decision))
}

/// The namespaces of principals of its policy.
fn foreign(secret: &ManagedSecret, own: &str) -> Vec<String> {
    let policy = secret.spec.policy.iter();
    policy
        .flat_map(|policy| foreign_namespaces_of_secret(policy, own))
        .collect()
}

fn rules(
    secret: &ManagedSecret,
    (namespace, uid): &(&str, String),
    namespaces: Vec<NamespaceRecord>,
) -> anyhow::Result<SecretRules> {
    if let Some(policy) = &secret.spec.policy {
        check_secret_policy(policy)?;
    }
    let access = AccessRecord {
        policy: secret.spec.policy.clone(),
        consumers: secret.spec.consumers.clone(),
        namespaces,
        ignored: false,
    };
    Ok(SecretRules::new((namespace, uid), Some(&access))?)
}

fn decided(
    args: &Explain,
    rules: &SecretRules,
    namespace: &str,
    uid: Option<String>,
    rbac: Rbac,
) -> anyhow::Result<(SecretAction, SecretDecision)> {
    let action = named(&args.action, SecretAction::ALL)?;
    let principal = principal(args, uid)?;
    if args.mounts && principal.namespace() != Some(namespace) {
        bail!("--mounts: a pod mounts secrets of its own namespace only");
    }
    let reading = Reading {
        principal: &principal,
        action,
        mounts: args.mounts,
        rotates: false,
    };
    Ok((action, decide_reading(&reading, rules, rbac)))
}

fn explained(action: SecretAction, decision: &SecretDecision) -> Explained {
    Explained {
        action: action.name(),
        allow: decision.allow,
        needs_rbac: decision.needs_rbac().is_some(),
        reason: decision.reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::super::tests::line;
    use super::*;

    const SPEC: &str = "{literals: {a: b}, consumers: {serviceAccounts: [web]}, policy: {statements: [{sid: farm, effect: Allow, \
                        principals: {namespaces: [farm]}, actions: [GetSecretValue]}, {effect: Deny, principals: {users: [eve]}, \
                        actions: ['*']}]}}";

    fn answer(user: &str, more: &[&str]) -> anyhow::Result<(Answer, String)> {
        let text = format!(
            "apiVersion: keystead.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {{namespace: shop, name: db}}\nspec: {SPEC}\n"
        );
        let secret: ManagedSecret = serde_saphyr::from_str(&text).unwrap();
        let args = [
            &["-f", "-", "--as", user, "--action", "GetSecretValue"][..],
            more,
        ]
        .concat();
        let explained = by_manifest(&secret, &line(&args))?;
        Ok((explained.answer(), explained.reason))
    }

    #[test]
    fn a_manifest_is_explained_without_a_cluster() {
        let (decision, reason) = answer("system:serviceaccount:farm:cow", &[]).unwrap();
        assert_eq!(decision, Answer::Allowed);
        assert!(reason.contains("statement 0 (farm)"), "{reason}");
        assert_eq!(answer("eve", &[]).unwrap().0, Answer::Denied);
        assert_eq!(answer("ann", &[]).unwrap().0, Answer::Undecided);
    }

    #[test]
    fn a_pod_that_mounts_it_may_read_if_it_is_a_consumer() {
        let mounts = |user| answer(user, &["--mounts"]);
        assert_eq!(
            mounts("system:serviceaccount:shop:web").unwrap().0,
            Answer::Allowed
        );
        assert_eq!(
            mounts("system:serviceaccount:shop:job").unwrap().0,
            Answer::Undecided
        );
        assert!(mounts("system:serviceaccount:farm:cow").is_err());
    }
}
