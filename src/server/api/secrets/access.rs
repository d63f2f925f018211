//! Whether a caller may do something with a secret: the secret's own decision, and that of its key.
//!
//! ```text
//! truth found ─▶ manifest opened ─▶ the secret's policy, its rotation, a mount, RBAC ─▶ the key's policy, with the caller as principal
//! ```

use super::look::Seen;
use super::read::{Asked, Found, PATIENCE, Reader, failure, unreadable};
use super::record::{NOT_ALLOWED, denied, found};
use crate::api::Via;
use crate::api::names::DEFAULT_KEY;
use crate::audit::Entry;
use crate::authorization::{self, ObjectPlace};
use crate::crypto::{EncryptionContext, peek};
use crate::keys::operations::{Call, Caller, Gate, Use};
use crate::keys::{Key, UseError};
use crate::policy::{
    Action, Basis, Context, Rbac, Reading, Request, SecretAction, SecretBasis, SecretDecision,
    SecretRules, decide, decide_reading,
};
use crate::secrets::Manifest;
use crate::server::api::error::ApiError;
use crate::server::api::pods::PodSeen;
use crate::server::gate::resource_of;

/// The strategy whose Jobs have pods that rotate.
const BY_JOB: &str = "job";

/// What a caller's pod has to do with a secret.
#[derive(Clone, Copy, Default)]
struct Standing {
    mounts: bool,
    rotates: bool,
}

/// Whether a pod rotates the secret of that manifest, and may do that as such. A pod that tries out what is current, outside of a rotation,
/// has the current version's id in its place, and may only read.
fn rotates(pod: &PodSeen, manifest: &Manifest, action: SecretAction) -> bool {
    let Some(version) = &pod.rotates else {
        return false;
    };
    let running = manifest.rotation().and_then(|all| all.running.as_ref());
    if let Some(running) = running {
        return running.strategy == BY_JOB && running.version == *version;
    }
    let current = manifest.current();
    !action.is_change() && current.is_some_and(|current| current.id == *version)
}

impl Reader {
    /// The secret, if the caller may do that.
    pub(super) async fn found(
        &self,
        asked: &Asked<'_>,
        line: &mut Entry,
    ) -> Result<Found, ApiError> {
        let Some(namespace) = asked.place.namespace.as_deref() else {
            return Err(denied(asked, &NOT_ALLOWED));
        };
        let seen = self.store.look(namespace, &asked.place.name).await?;
        let standing = self.standing(asked, namespace, seen.as_ref()).await?;
        if let Some(seen) = &seen {
            found(line, &seen.stored);
        }
        let decision = self
            .secret_lets(asked, namespace, standing, seen.as_ref())
            .await?;
        let Some(Seen { stored, described }) = seen else {
            // kubelet tries again for a pod that mounts it. Who may not read it is told what he would be if it were there.
            let mounts = standing.mounts && !asked.action.is_change();
            return Err(if mounts || decision.allow {
                ApiError::not_found("there is no such secret")
            } else {
                denied(asked, &NOT_ALLOWED)
            });
        };
        if !decision.allow {
            return Err(denied(asked, &decision.reason));
        }
        Ok(Found {
            described: described?,
            stored,
            basis: decision.reason,
        })
    }

    /// What the caller's pod, if it is of the secret's namespace, has to do with the secret.
    async fn standing(
        &self,
        asked: &Asked<'_>,
        namespace: &str,
        seen: Option<&Seen>,
    ) -> Result<Standing, ApiError> {
        let pod = asked.who.pod.as_ref();
        let Some(pod) = pod.filter(|pod| pod.namespace == namespace) else {
            return Ok(Standing::default());
        };
        let pod = self.pods.look(pod).await?;
        let described = seen.and_then(|seen| seen.described.as_ref().ok());
        Ok(Standing {
            mounts: pod.mounts.contains(&asked.place.name),
            rotates: described
                .is_some_and(|described| rotates(&pod, &described.manifest, asked.action)),
        })
    }

    /// Whether the secret's policy, its rotation, its mount or RBAC lets the caller, and what that rests on.
    async fn secret_lets(
        &self,
        asked: &Asked<'_>,
        namespace: &str,
        standing: Standing,
        seen: Option<&Seen>,
    ) -> Result<SecretDecision, ApiError> {
        let without_statements;
        let described = seen.and_then(|seen| seen.described.as_ref().ok());
        let rules = if let Some(described) = described {
            &described.rules
        } else {
            let uid = seen.map_or("", |seen| &seen.stored.claim.namespace_uid);
            without_statements = SecretRules::new((namespace, uid), None);
            &without_statements
        };
        let rules = rules
            .as_ref()
            .map_err(|error| ApiError::access_denied(error.to_string()))?;
        let reading = Reading {
            principal: &asked.who.caller.principal,
            action: asked.action,
            mounts: standing.mounts,
            rotates: standing.rotates,
        };
        let mut decision = decide_reading(&reading, rules, Rbac::NotAsked);
        if let Some(attributes) = decision.needs_rbac() {
            let place = ObjectPlace {
                namespace,
                name: &asked.place.name,
            };
            let (client, subject) = (self.client.clone(), &asked.who.caller.subject);
            let rbac = authorization::ask(client, subject, place, attributes, PATIENCE).await;
            let rbac = rbac.ok_or_else(ApiError::unanswered)?;
            decision = decide_reading(&reading, rules, rbac);
        }
        Ok(decision)
    }

    /// Whether the key lets the caller do that with a message of the secret, and why. A namespace's own default key asks nobody; and for
    /// whoever mounts or rotates a secret it is used in the secret's name, as when it is delivered, unless a Deny speaks of him.
    pub(super) async fn key_lets(
        &self,
        asked: &Asked<'_>,
        found: &Found,
        envelope: &[u8],
        (action, context): (Action, &EncryptionContext),
        line: &mut Entry,
    ) -> Result<String, ApiError> {
        let id = peek(envelope).map_err(|_| unreadable())?.key;
        let key = self.keyring.get(id);
        let key = key.ok_or_else(|| failure(&UseError::NotFound { key: id }))?;
        line.resources.insert(0, resource_of(&key));
        if key.truth.spec.name == DEFAULT_KEY {
            return Ok("the default key is used for secrets of its own namespace".to_owned());
        }
        if matches!(found.basis, SecretBasis::Mounted | SecretBasis::Rotates) {
            return self.is_not_denied(asked, &key, (action, context));
        }
        let caller = Caller {
            via: Some(Via::Secrets),
            ..asked.who.caller.clone()
        };
        let used = Use {
            call: Call {
                caller: &caller,
                request_id: asked.request_id,
                dry_run: false,
            },
            action: Some(action),
            key_id: Some(id),
            key: Some(&key),
            context,
        };
        Ok(self.gate.admit(&used).await?)
    }

    fn is_not_denied(
        &self,
        asked: &Asked<'_>,
        key: &Key,
        (action, context): (Action, &EncryptionContext),
    ) -> Result<String, ApiError> {
        let pairs: Context = context
            .pairs()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let request = Request {
            principal: &asked.who.caller.principal,
            action,
            context: &pairs,
            via: Some(Via::Secrets),
            now: self.clock.now(),
        };
        let rules = key.rules.as_ref();
        let rules = rules.map_err(|error| ApiError::access_denied(error.to_string()))?;
        match decide(&request, rules, Rbac::NotAsked).reason {
            why @ Basis::DeniedBy(_) => Err(denied(asked, &why)),
            _ => Ok("the key is used in the secret's name".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::secrets::testing::{IDS, with_versions};
    use crate::secrets::{Running, SecretRotation};

    fn pod(version: &str) -> PodSeen {
        PodSeen {
            rotates: Some(version.parse().unwrap()),
            ..PodSeen::default()
        }
    }

    fn rotating(strategy: &str, version: &str) -> Manifest {
        let mut manifest = with_versions(&IDS[..2]);
        let mut record = SecretRotation::new(Timestamp::UNIX_EPOCH);
        record.running = Some(Running {
            version: version.parse().unwrap(),
            strategy: strategy.to_owned(),
            begun: Timestamp::UNIX_EPOCH,
            created: None,
            cancelled: None,
            promoted: None,
            delivered: None,
            loaded: None,
            refused: 0,
        });
        manifest.record_rotation(record).unwrap();
        manifest
    }

    #[test]
    fn a_pod_of_the_running_rotation_may_do_everything_and_one_of_another_nothing() {
        let manifest = rotating("job", IDS[2]);
        for action in SecretAction::ALL {
            assert!(rotates(&pod(IDS[2]), &manifest, *action));
            assert!(
                !rotates(&pod(IDS[1]), &manifest, *action),
                "of the current version"
            );
            assert!(!rotates(
                &pod(IDS[2]),
                &rotating("postgres", IDS[2]),
                *action
            ));
            assert!(!rotates(&PodSeen::default(), &manifest, *action));
        }
    }

    #[test]
    fn a_pod_that_tries_what_is_current_reads_and_changes_nothing() {
        let manifest = with_versions(&IDS[..2]);
        for action in SecretAction::ALL {
            let reads = !action.is_change();
            assert_eq!(rotates(&pod(IDS[1]), &manifest, *action), reads);
            assert!(!rotates(&pod(IDS[0]), &manifest, *action));
        }
    }
}
