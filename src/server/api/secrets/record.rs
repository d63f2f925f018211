//! What is said of a call about a secret: its audit line, and a refusal.

use super::read::Asked;
use crate::audit::{Entry, EventSource, Identity as Who, Resource, ResourceType};
use crate::server::api::error::ApiError;
use crate::truth::Stored;

/// Why whoever may not read a secret may not, also if there is none.
pub(super) const NOT_ALLOWED: &str = "no statement and no right of RBAC allows it";

/// The refusal of a caller who may not. It names the secret as he did: which namespace an ARN stands for is not his to learn.
pub(super) fn denied(asked: &Asked<'_>, why: &dyn std::fmt::Display) -> ApiError {
    let (who, action, said) = (asked.who.caller.principal.name(), asked.action, asked.said);
    ApiError::access_denied(format!("{who} may not {action} of {said}: {why}"))
}

/// The audit line of a call, before it is decided.
pub(super) fn line(asked: &Asked<'_>) -> Entry {
    let principal = &asked.who.caller.principal;
    let who = Who {
        user: principal.name().to_owned(),
        groups: principal.groups().to_vec(),
        via: None,
        field_manager: None,
    };
    let mut line = Entry::allowed(
        EventSource::SecretsManager,
        asked.action.name(),
        who,
        asked.request_id,
    );
    line.resources.push(Resource {
        type_: ResourceType::ManagedSecret,
        namespace: asked.place.namespace.clone().unwrap_or_default(),
        name: asked.place.name.clone(),
        uid: None,
        arn: None,
    });
    let other = &mut line.request_parameters.other;
    other.insert("secretId".to_owned(), asked.said.to_owned());
    if let Some(pod) = &asked.who.pod {
        other.insert("pod".to_owned(), pod.to_string());
    }
    line
}

/// Says in the line which resource it was found to be.
pub(super) fn found(line: &mut Entry, stored: &Stored) {
    for resource in &mut line.resources {
        resource.uid = Some(stored.claim.object_uid.clone());
    }
}
