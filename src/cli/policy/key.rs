//! What would be decided about a use of a key.

use anyhow::{Context as _, bail};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use super::{Explain, Explained, PATIENCE, SECRET, Way, groups, named, namespace_uid, principal};
use crate::api::{KeyMaterial, ManagedKey, NamespaceRecord, PolicyRecord, Via};
use crate::authorization::{self, ObjectPlace, Subject};
use crate::policy::{
    Action, Context, Decision, KeyRules, Rbac, Request, check_policy, decide, foreign_namespaces,
    namespace_of_user,
};

/// By the manifest alone.
pub(super) fn by_manifest(key: &ManagedKey, args: &Explain) -> anyhow::Result<Explained> {
    let (action, context) = (named(&args.action, Action::ALL)?, context(&args.context)?);
    let place = place_of(key);
    let rules = rules_of_manifest(key, &place)?;
    let uid = namespace_of_user(&args.user).map(super::offline_uid);
    let decision = decided(args, &rules, action, &context, uid, Rbac::NotAsked)?;
    Ok(explained(action, &decision))
}

/// By what is in force in the cluster.
pub(super) async fn in_cluster(
    client: Client,
    key: &str,
    args: &Explain,
) -> anyhow::Result<Explained> {
    let (action, context) = (named(&args.action, Action::ALL)?, context(&args.context)?);
    let decision = decided_in_cluster(client, key, args, action, &context).await?;
    Ok(explained(action, &decision))
}

fn explained(action: Action, decision: &Decision) -> Explained {
    Explained {
        action: action.name(),
        allow: decision.allow,
        needs_rbac: decision.needs_rbac().is_some(),
        reason: decision.reason.to_string(),
    }
}

fn decided(
    args: &Explain,
    rules: &KeyRules,
    action: Action,
    context: &Context,
    uid: Option<String>,
    rbac: Rbac,
) -> anyhow::Result<Decision> {
    let secret = args.user.starts_with(SECRET);
    let principal = principal(args, uid)?;
    let request = Request {
        principal: &principal,
        action,
        context,
        via: (secret || args.via == Some(Way::Secrets)).then_some(Via::Secrets),
        now: Timestamp::now(),
    };
    Ok(decide(&request, rules, rbac))
}

pub(crate) fn place_of(key: &ManagedKey) -> (String, String) {
    let namespace = key.metadata.namespace.clone();
    let name = key.metadata.name.clone().unwrap_or_default();
    (namespace.unwrap_or_else(|| "default".to_owned()), name)
}

pub(crate) fn rules_of_manifest(
    key: &ManagedKey,
    place: &(String, String),
) -> anyhow::Result<KeyRules> {
    let named = key.spec.policy.iter();
    let names = named.flat_map(|policy| foreign_namespaces(policy, &place.0));
    let record = PolicyRecord {
        accepted: key.spec.policy.clone(),
        namespaces: names
            .map(|name| NamespaceRecord {
                uid: name.clone(),
                name,
            })
            .collect(),
        ignored: false,
    };
    if let Some(policy) = &key.spec.policy {
        check_policy(policy)?;
    }
    let place = (place.0.as_str(), place.1.as_str());
    Ok(KeyRules::new(place, Some(place.0), &record, &[])?)
}

async fn decided_in_cluster(
    client: Client,
    key: &str,
    args: &Explain,
    action: Action,
    context: &Context,
) -> anyhow::Result<Decision> {
    let Some((namespace, name)) = key.split_once('/') else {
        bail!("--key {key} is not of the form <namespace>/<name>");
    };
    let truth = truth(&client, &args.operator_namespace, namespace, name).await?;
    let rules = KeyRules::of(&truth.spec).context("the policy in force cannot be read")?;
    let uid = match namespace_of_user(&args.user) {
        Some(home) => namespace_uid(&client, home).await?,
        None => None,
    };
    let decision = decided(args, &rules, action, context, uid.clone(), Rbac::NotAsked)?;
    let Some(attributes) = decision.needs_rbac() else {
        return Ok(decision);
    };
    let subject = Subject {
        user: args.user.clone(),
        groups: groups(args),
        ..Subject::default()
    };
    let key = ObjectPlace { namespace, name };
    let rbac = authorization::ask(client, &subject, key, attributes, PATIENCE).await;
    let rbac = rbac.context("RBAC could not be asked (create on subjectaccessreviews)")?;
    decided(args, &rules, action, context, uid, rbac)
}

/// The truth about the key of that name that is in use.
async fn truth(
    client: &Client,
    operator: &str,
    namespace: &str,
    name: &str,
) -> anyhow::Result<KeyMaterial> {
    let materials: Api<KeyMaterial> = Api::namespaced(client.clone(), operator);
    let selector = format!("spec.namespace={namespace},spec.name={name}");
    let found = materials
        .list(&ListParams::default().fields(&selector))
        .await;
    let found = found.with_context(|| format!("KeyMaterials in {operator} cannot be listed"))?;
    let mut found = found.items;
    found.retain(|material| material.spec.destroyed.is_none());
    found.sort_by_key(|material| material.spec.parked_since.is_some());
    let first = found.into_iter().next();
    first.with_context(|| format!("there is no key {namespace}/{name}"))
}

fn context(pairs: &[String]) -> anyhow::Result<Context> {
    let pair = |pair: &String| {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--context {pair} is not of the form KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{offline_uid, tests::line};
    use super::*;

    fn manifest(spec: &str) -> ManagedKey {
        let text = format!(
            "apiVersion: keystead.dev/v1alpha1\nkind: ManagedKey\nmetadata: {{namespace: shop, name: orders}}\nspec: {spec}\n"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    fn explained(spec: &str, user: &str, action: &str) -> Decision {
        let args = line(&["-f", "-", "--as", user, "--action", action]);
        let key = manifest(spec);
        let place = place_of(&key);
        let rules = rules_of_manifest(&key, &place).unwrap();
        let uid = namespace_of_user(user).map(offline_uid);
        let action = named(action, Action::ALL).unwrap();
        decided(&args, &rules, action, &Context::new(), uid, Rbac::NotAsked).unwrap()
    }

    const POLICY: &str = "{policy: {delegateToRBAC: false, statements: [{sid: farm, effect: Allow, \
                          principals: {namespaces: [farm]}, actions: [Decrypt]}]}}";

    #[test]
    fn a_manifest_is_explained_without_a_cluster() {
        let cow = explained(POLICY, "system:serviceaccount:farm:cow", "Decrypt");
        assert!(cow.allow && cow.reason.to_string().contains("statement 0 (farm)"));
        assert!(explained(POLICY, "keystead:secret:farm:db", "Decrypt").allow);
        assert!(!explained(POLICY, "keystead:secret:farm:db", "GenerateDataKey").allow);
        assert!(explained(POLICY, "keystead:secret:shop:db", "GenerateDataKey").allow);
        assert!(!explained(POLICY, "ann", "Decrypt").allow);
    }

    #[test]
    fn without_a_cluster_what_only_rbac_knows_stays_open() {
        let decision = explained("{}", "ann", "Decrypt");
        assert!(decision.needs_rbac().is_some());
    }

    #[test]
    fn a_word_that_is_no_action_or_pair_is_refused_with_what_there_is() {
        let error = named("decrypt", Action::ALL).unwrap_err().to_string();
        assert!(error.contains("GenerateDataKey"), "{error}");
        assert!(context(&["team".to_owned()]).is_err());
        assert_eq!(context(&["a=b=c".to_owned()]).unwrap()["a"], "b=c");
    }
}
