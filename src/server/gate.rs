//! What stands before the keys of a server replica: the key's policy and grants, RBAC where they leave it to RBAC, and the
//! audit trail.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tracing::warn;

use crate::api::{KeyState, Via};
use crate::audit::{Decision, Entry, EventSource, Identity, Resource, ResourceType, Trail};
use crate::authorization::{self, ObjectPlace, Subject};
use crate::calling::within;
use crate::clock::Clock;
use crate::crypto::{KeyId, OWN_PREFIX};
use crate::keys::operations::{Caller, Gate, OperationError, Outcome, Refused, Unrecorded, Use};
use crate::keys::{Key, StateRefusal, Uses};
use crate::policy::{
    Action, Context, Principal, Rbac, Request, ReservedName, decide, namespace_of_user,
};
use crate::telling::describe;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Decides by policy, grants and RBAC, and writes to the audit trail.
pub struct PolicyGate {
    client: Client,
    trail: Trail,
    clock: Arc<dyn Clock>,
    uses: Arc<Uses>,
}

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// The name is one of those that only secrets have.
    #[error(transparent)]
    Reserved(#[from] ReservedName),
    /// Nobody could say which namespace that is. It may be tried again.
    #[error("the namespace of the caller could not be looked at; try again")]
    Unanswered,
}

impl PolicyGate {
    /// A gate that asks RBAC by that client, and tells `uses` of what is done with keys.
    pub fn new(client: Client, trail: Trail, clock: Arc<dyn Clock>, uses: Arc<Uses>) -> Self {
        Self {
            client,
            trail,
            clock,
            uses,
        }
    }

    /// Takes note of what came of a use, for the controller.
    pub(super) fn note(&self, key: KeyId, user: &str, action: Action, noted: Noted) {
        match noted {
            Noted::Used => self.uses.used(key, action, self.clock.now()),
            Noted::PendingDeletion => self.uses.refused(key, user, action, self.clock.now()),
        }
    }

    /// Somebody whom the API server has authenticated, as a caller. The namespace of a service account is looked at, since one
    /// that was made anew inherits nothing.
    ///
    /// # Errors
    /// His name is one of those that only secrets have, or his namespace could not be looked at.
    pub async fn caller(&self, subject: Subject) -> Result<Caller, Unidentified> {
        let uid = match namespace_of_user(&subject.user) {
            Some(namespace) => self.namespace_uid(namespace).await?,
            None => None,
        };
        Ok(Caller {
            principal: Principal::user(subject.user.clone(), subject.groups.clone(), uid)?,
            subject,
            via: None,
        })
    }

    /// The UID that a namespace has now; `None` if there is none.
    ///
    /// # Errors
    /// Nobody could say.
    pub(super) async fn namespace_uid(&self, name: &str) -> Result<Option<String>, Unidentified> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match within(PATIENCE, namespaces.get_metadata_opt(name)).await {
            Ok(found) => Ok(found.and_then(|namespace| namespace.metadata.uid)),
            Err(error) => {
                let error = describe(&error);
                warn!(
                    namespace = name,
                    error, "a caller's namespace could not be looked at"
                );
                Err(Unidentified::Unanswered)
            }
        }
    }

    /// Writes a line that is no use of a key by itself.
    pub(super) async fn write(&self, entry: Entry) -> Result<(), Unrecorded> {
        self.trail.write(entry).await.map_err(|_| Unrecorded)
    }

    async fn decided(&self, key: &Key, action: Action, asked: &Use<'_>) -> Result<String, Refused> {
        let caller = asked.call.caller;
        let refused = |reason: &dyn std::fmt::Display| {
            let (who, arn) = (caller.principal.name(), &key.arn);
            Refused::Denied(format!("{who} may not {action} with {arn}: {reason}"))
        };
        let rules = key.rules.as_ref().map_err(|error| refused(error))?;
        let context: Context = asked
            .context
            .pairs()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if caller.via.is_none() && context.keys().any(|key| key.starts_with(OWN_PREFIX)) {
            return Err(refused(
                &"that is the context of a stored secret, which is read as a secret and not by its key",
            ));
        }
        let request = Request {
            principal: &caller.principal,
            action,
            context: &context,
            via: caller.via,
            now: self.clock.now(),
        };
        let mut decision = decide(&request, rules, Rbac::NotAsked);
        if let Some(attributes) = decision.needs_rbac() {
            let truth = &key.truth.spec;
            let place = ObjectPlace {
                namespace: &truth.namespace,
                name: &truth.name,
            };
            let client = self.client.clone();
            let answer =
                authorization::ask(client, &caller.subject, place, attributes, PATIENCE).await;
            // Asking takes time, in which a grant may have ended.
            let request = Request {
                now: self.clock.now(),
                ..request
            };
            decision = decide(&request, rules, answer.ok_or(Refused::Undecided)?);
        }
        if decision.allow {
            Ok(decision.reason.to_string())
        } else {
            Err(refused(&decision.reason))
        }
    }
}

impl Gate for PolicyGate {
    async fn admit(&self, asked: &Use<'_>) -> Result<String, Refused> {
        match (asked.key, asked.action) {
            (Some(key), Some(action)) => self.decided(key, action, asked).await,
            _ => Err(Refused::Undecided),
        }
    }

    async fn record(&self, asked: &Use<'_>, outcome: Outcome<'_>) -> Result<(), Unrecorded> {
        self.write(entry(asked, outcome)).await?;
        let noted = match outcome {
            Ok(_) => Some(Noted::Used),
            Err(OperationError::State(StateRefusal::Invalid(
                KeyState::PendingDeletion | KeyState::DestructionDue,
            ))) => Some(Noted::PendingDeletion),
            Err(_) => None,
        };
        if let (Some(key), Some(action), Some(noted)) = (asked.key, asked.action, noted)
            && action != Action::DescribeKey
        {
            let user = asked.call.caller.principal.name();
            self.note(key.id, user, action, noted);
        }
        Ok(())
    }
}

/// What of a use the controller is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noted {
    /// It was let through.
    Used,
    /// It was refused since the deletion of the key is pending.
    PendingDeletion,
}

/// The audit line of a use.
fn entry(asked: &Use<'_>, outcome: Outcome<'_>) -> Entry {
    let caller = asked.call.caller;
    let who = Identity {
        user: caller.principal.name().to_owned(),
        groups: caller.principal.groups().to_vec(),
        via: caller.via.map(|Via::Secrets| "secrets".to_owned()),
        field_manager: None,
    };
    let name = asked.action.map_or("GenerateRandom", Action::name);
    let mut entry = Entry::allowed(EventSource::Kms, name, who, asked.call.request_id);
    entry.resources.extend(asked.key.map(resource_of));
    if let (None, Some(id)) = (asked.key, asked.key_id) {
        let asked_for = [("keyId".to_owned(), id.to_string())];
        entry.request_parameters.other.extend(asked_for);
    }
    let pairs = asked.context.user_pairs();
    entry.request_parameters.encryption_context = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    entry.dry_run = asked.call.dry_run;
    match outcome {
        Ok(basis) => basis.clone_into(&mut entry.reason),
        Err(error) => {
            if !was_let_through(error) {
                entry.decision = Decision::Deny;
            }
            entry.reason = error.to_string();
            entry.error_code = Some(error.name().to_owned());
        }
    }
    entry
}

/// Whether the use was begun, and failed by what was given to it. (What breaks a limit before a key is looked for has no line.)
fn was_let_through(error: &OperationError) -> bool {
    matches!(
        error,
        OperationError::Validation(_)
            | OperationError::InvalidCiphertext
            | OperationError::IncorrectKey
            | OperationError::InvalidMac
            | OperationError::InvalidSignature
            | OperationError::DryRun
            | OperationError::Internal
    )
}

/// A key, as the audit trail names it.
pub(super) fn resource_of(key: &Key) -> Resource {
    let spec = &key.truth.spec;
    Resource {
        type_: ResourceType::ManagedKey,
        namespace: spec.namespace.clone(),
        name: spec.name.clone(),
        uid: Some(spec.object_uid.clone()),
        arn: Some(spec.arn.clone()),
    }
}
