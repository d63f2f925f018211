//! What the status of a secret tells of the pods that get it. Pods are not watched and nothing of them is kept: one look at a
//! namespace, now and then, serves all of its secrets, and what it finds is written only where it is something else than before.

mod rounds;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::warn;

use self::rounds::Rounds;
use super::context::Context;
use super::error::Error;
use super::parking::Presence;
use super::rollout::cluster::{pages, unended};
use super::status::apply;
use crate::api::ManagedSecret;
use crate::api::managed_secret::{ConsumersStatus, SecretVersionStatus};
use crate::api::names::FIELD_MANAGER_CONSUMERS;
use crate::consumers::Tally;
use crate::secrets::Stage;

/// How often it is asked from memory whether a namespace is to be looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The secrets of each namespace that pods may get.
type Places = HashMap<String, Vec<Arc<ManagedSecret>>>;

/// Looks for ever, where a node plugin tells what pods have.
pub(super) async fn run(ctx: &Context, secrets: &Presence<ManagedSecret>) {
    secrets.complete().await;
    if !ctx.node_plugin {
        return forget(secrets, ctx).await;
    }
    let mut rounds = Rounds::default();
    loop {
        let places = places(secrets.all(), &ctx.namespace);
        let states = places.iter().map(|(name, all)| (name.clone(), state(all)));
        for namespace in rounds.due(&states.collect(), ctx.now()) {
            let found = look(&namespace, &places[&namespace], secrets, ctx).await;
            let is_behind = found.unwrap_or_else(|error| {
                warn!(namespace, %error, "which versions pods have is not known; it is looked again");
                true
            });
            rounds.looked(&namespace, is_behind, ctx.now());
        }
        tokio::time::sleep(ctx.clock.timer(EVERY)).await;
    }
}

/// Those that have a value, or of which pods are told that got them.
fn places(secrets: Vec<Arc<ManagedSecret>>, own: &str) -> Places {
    let mut places = Places::new();
    for secret in secrets {
        let namespace = secret.namespace().unwrap_or_default();
        if namespace != own && (!versions(&secret).is_empty() || told(&secret).is_some()) {
            places.entry(namespace).or_default().push(secret);
        }
    }
    places
}

/// What stands for the current versions of secrets, in any order: another number where one of them is another.
fn state(secrets: &[Arc<ManagedSecret>]) -> u64 {
    let of_one = |secret: &Arc<ManagedSecret>| {
        let current = Stage::Current;
        let is_current = |stages: &[String]| stages.iter().any(|name| name == current.as_str());
        let versions = versions(secret).iter();
        let mut current = versions.filter(|version| is_current(&version.stages));
        let mut hasher = DefaultHasher::new();
        (secret.name_any(), current.next().map(|it| &it.id)).hash(&mut hasher);
        hasher.finish()
    };
    secrets.iter().map(of_one).fold(0, |all, one| all ^ one)
}

/// Looks at the pods of a namespace, and tells what is news of its secrets. Returns whether pods are without what they ask for.
async fn look(
    namespace: &str,
    known: &[Arc<ManagedSecret>],
    secrets: &Presence<ManagedSecret>,
    ctx: &Context,
) -> Result<bool, Error> {
    let mut tally = Tally::default();
    let mut count = |pod: Pod| {
        tally.add(&pod);
        true
    };
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    pages(&api, &format!("Pods of {namespace}"), unended(), &mut count).await?;
    let mut is_behind = false;
    let mut failed = None;
    for secret in known {
        // As it is after the look, which takes a while.
        let Some(secret) = secrets.get(&ObjectRef::from_obj(&**secret)) else {
            continue;
        };
        let found = tally.status(&secret.name_any(), versions(&secret));
        is_behind |= found.as_ref().is_some_and(|it| it.up_to_date < it.pods);
        if found.as_ref() != told(&secret)
            && let Err(error) = tell(&secret, found.as_ref(), ctx).await
        {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(is_behind), Err)
}

/// Takes out what was told while there was a node plugin.
async fn forget(secrets: &Presence<ManagedSecret>, ctx: &Context) {
    for secret in secrets.all() {
        if told(&secret).is_some()
            && let Err(error) = tell(&secret, None, ctx).await
        {
            let secret = ObjectRef::from_obj(&*secret);
            warn!(%secret, %error, "status.consumers is out of date and stays until there is another leader");
        }
    }
}

async fn tell(
    secret: &ManagedSecret,
    found: Option<&ConsumersStatus>,
    ctx: &Context,
) -> Result<(), Error> {
    let status = found.map_or_else(|| json!({}), |found| json!({ "consumers": found }));
    apply(secret, FIELD_MANAGER_CONSUMERS, status, ctx).await?;
    Ok(())
}

fn told(secret: &ManagedSecret) -> Option<&ConsumersStatus> {
    secret.status.as_ref()?.consumers.as_ref()
}

fn versions(secret: &ManagedSecret) -> &[SecretVersionStatus] {
    let status = secret.status.as_ref();
    status.map_or(&[], |status| &status.versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(namespace: &str, name: &str, status: &serde_json::Value) -> Arc<ManagedSecret> {
        let secret = json!({
            "apiVersion": "keystead.dev/v1alpha1", "kind": "ManagedSecret", "metadata": {"namespace": namespace, "name": name},
            "spec": {"literals": {"a": "b"}}, "status": status,
        });
        Arc::new(serde_json::from_value(secret).unwrap())
    }

    fn with_current(name: &str, current: &str) -> Arc<ManagedSecret> {
        let version = |id: &str, stage: &str| json!({"id": id, "stages": [stage], "created": "2026-01-01T00:00:00Z", "keyId": "k"});
        let versions = [version(current, "Current"), version("old", "Previous")];
        secret("shop", name, &json!({"versions": versions}))
    }

    #[test]
    fn only_namespaces_are_looked_at_that_have_a_secret_with_a_value_and_never_the_operators_own() {
        let told = json!({"consumers": {"pods": 1, "upToDate": 1, "unknown": 0}});
        let places = places(
            vec![
                with_current("a", "1"),
                secret("shop", "b", &told),
                secret("bank", "new", &json!({})),
                secret("system", "own", &told),
            ],
            "system",
        );
        let counts: Vec<_> = places
            .iter()
            .map(|(name, all)| (name.as_str(), all.len()))
            .collect();
        assert_eq!(counts, [("shop", 2)]);
    }

    #[test]
    fn the_state_is_that_of_the_current_versions_in_any_order() {
        let of = |all: &[(&str, &str)]| {
            let all: Vec<_> = all
                .iter()
                .map(|(name, id)| with_current(name, id))
                .collect();
            state(&all)
        };
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        for other in [
            &[("a", "1"), ("b", "3")][..],
            &[("a", "2"), ("b", "1")],
            &[("a", "1")],
        ] {
            assert_ne!(of(&[("a", "1"), ("b", "2")]), of(other), "{other:?}");
        }
    }
}
