//! What one line of the trail says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest user name, group, reason and value of a context that is written, in bytes; a longer one is cut. Kubernetes
/// names are shorter, and AWS allows 8 KiB for a whole context.
const MAX_TEXT: usize = 512;
/// Most groups of an identity that are written.
const MAX_GROUPS: usize = 32;
/// Most pairs of an encryption context that are written.
pub const MAX_PAIRS: usize = 32;
/// Most resources that are written.
const MAX_RESOURCES: usize = 8;

/// Something that somebody did, or was refused. The names of fields are those of a `CloudTrail` record where it has them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Which part of Keystead it was asked of.
    pub event_source: EventSource,
    /// The AWS call that does the same: `Decrypt`, `GenerateDataKey`, `ScheduleKeyDeletion` ...
    pub event_name: String,
    /// Who did it.
    pub user_identity: Identity,
    /// What it was done to: the key first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// What else was asked, without any value of a secret.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub request_parameters: Parameters,
    /// Whether it was let through.
    pub decision: Decision,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The AWS error, if it failed or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// What the lines of one request have in common.
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// How often, where one line stands for several of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whether it was only asked if it could be done.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Whether something was too long, and cut.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// The part of Keystead that was asked.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSource {
    /// Keys.
    #[serde(rename = "kms.keystead.dev")]
    Kms,
    /// Secrets.
    #[serde(rename = "secretsmanager.keystead.dev")]
    SecretsManager,
    /// The trail itself.
    #[serde(rename = "audit.keystead.dev")]
    Audit,
}

/// Who did it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// A Kubernetes user, or `keystead:secret:<namespace>:<name>`.
    pub user: String,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Through what: `secrets` for a use on behalf of a secret, `replication` if its value is read for a replica of it, `controller` for what follows from a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// The field manager that last wrote the field which asked for it, where that is all that is known of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_manager: Option<String>,
}

impl Identity {
    /// A `ManagedSecret`, which uses keys in its own name.
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("keystead:secret:{namespace}:{name}"),
            groups: vec![format!("keystead:secrets:{namespace}")],
            via: Some("secrets".to_owned()),
            field_manager: None,
        }
    }

    /// The controller, which does what resources ask for.
    pub fn controller() -> Self {
        Self {
            user: "keystead:controller".to_owned(),
            groups: Vec::new(),
            via: Some("controller".to_owned()),
            field_manager: None,
        }
    }
}

/// What it was done to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its kind.
    #[serde(rename = "type")]
    pub type_: ResourceType,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The ARN of a key; its last part is the key id.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "ARN")]
    pub arn: Option<String>,
}

/// The kind of a resource.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A key.
    ManagedKey,
    /// A secret.
    ManagedSecret,
}

/// What else was asked. Values of secrets have no place here.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// The user's pairs of the encryption context. They are no secret (AWS: they appear in plaintext in `CloudTrail`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encryption_context: BTreeMap<String, String>,
    /// Other parameters that are no secret, such as the date of a deletion.
    #[serde(flatten)]
    pub other: BTreeMap<String, String>,
}

impl Parameters {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.encryption_context.is_empty() && self.other.is_empty()
    }
}

/// Whether it was let through.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

impl Entry {
    /// Something that is let through.
    pub fn allowed(source: EventSource, name: &str, who: Identity, request: &str) -> Self {
        Self {
            event_source: source,
            event_name: name.to_owned(),
            user_identity: who,
            resources: Vec::new(),
            request_parameters: Parameters::default(),
            decision: Decision::Allow,
            reason: String::new(),
            error_code: None,
            request_id: request.to_owned(),
            count: None,
            dry_run: false,
            truncated: false,
        }
    }

    /// Cuts what is too long, so that a line has a largest size whoever asks for what.
    pub(super) fn bounded(mut self) -> Self {
        let mut cut = Cut(false);
        cut.text(&mut self.event_name);
        cut.text(&mut self.reason);
        cut.text(&mut self.request_id);
        cut.option(self.error_code.as_mut());
        cut.text(&mut self.user_identity.user);
        cut.list(&mut self.user_identity.groups, MAX_GROUPS);
        for group in &mut self.user_identity.groups {
            cut.text(group);
        }
        cut.option(self.user_identity.via.as_mut());
        cut.option(self.user_identity.field_manager.as_mut());
        cut.list(&mut self.resources, MAX_RESOURCES);
        for resource in &mut self.resources {
            cut.text(&mut resource.namespace);
            cut.text(&mut resource.name);
            cut.option(resource.uid.as_mut());
            cut.option(resource.arn.as_mut());
        }
        cut.pairs(&mut self.request_parameters.encryption_context);
        cut.pairs(&mut self.request_parameters.other);
        self.truncated |= cut.0;
        self
    }
}

/// Cuts, and remembers whether anything was cut.
struct Cut(bool);

impl Cut {
    fn text(&mut self, text: &mut String) {
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT)
                .rev()
                .find(|&end| text.is_char_boundary(end))
                .unwrap_or_default();
            text.truncate(end);
            self.0 = true;
        }
    }

    fn option(&mut self, text: Option<&mut String>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn list<T>(&mut self, list: &mut Vec<T>, most: usize) {
        self.0 |= list.len() > most;
        list.truncate(most);
    }

    fn pairs(&mut self, pairs: &mut BTreeMap<String, String>) {
        let long =
            |(key, value): (&String, &String)| key.len() > MAX_TEXT || value.len() > MAX_TEXT;
        if pairs.len() <= MAX_PAIRS && !pairs.iter().any(long) {
            return;
        }
        let kept = std::mem::take(pairs).into_iter().take(MAX_PAIRS);
        *pairs = kept
            .map(|(mut key, mut value)| {
                self.text(&mut key);
                self.text(&mut value);
                (key, value)
            })
            .collect();
        self.0 = true;
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_said_to_be() {
        let long = "é".repeat(2000);
        let mut entry = Entry::allowed(
            EventSource::Kms,
            &long,
            Identity::secret(&long, &long),
            &long,
        );
        entry.user_identity.groups = vec![long.clone(); 100];
        entry.reason.clone_from(&long);
        let pairs = (0..100).map(|i| (format!("{i}{long}"), long.clone()));
        entry.request_parameters.encryption_context = pairs.collect();
        let bounded = entry.bounded();
        assert!(bounded.truncated);
        assert!(bounded.user_identity.user.len() <= MAX_TEXT);
        assert_eq!(bounded.user_identity.groups.len(), MAX_GROUPS);
        let context = &bounded.request_parameters.encryption_context;
        assert!(context.len() <= MAX_PAIRS);
        let size = serde_json::to_string(&bounded).unwrap().len();
        assert!(size < super::super::MAX_LINE / 4, "{size}");
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let mut entry = Entry::allowed(
            EventSource::Kms,
            "Decrypt",
            Identity::secret("shop", "db"),
            "1",
        );
        let pair = ("team".to_owned(), "orders".to_owned());
        entry
            .request_parameters
            .encryption_context
            .insert(pair.0, pair.1);
        assert_eq!(entry.clone().bounded(), entry);
    }
}
