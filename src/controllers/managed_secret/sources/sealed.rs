//! Entries of `spec.sealed`: which were taken before, and what the others say.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::super::observe::Observed;
use super::super::step::{Refusal, context_refused};
use super::super::truth::base::base;
use crate::api::{KeyState, Reason};
use crate::audit::{Entry, EventSource, Identity};
use crate::controllers::context::{Context, request_id};
use crate::controllers::error::Error;
use crate::controllers::uses::{KeyAccess, resource_of};
use crate::crypto::{
    EncryptionContext, KeyId, Limits, MaterialId, OpenError, SealingKeys, SecretBytes, open_sealed,
    peek, peek_sealed,
};
use crate::hex::Hex;
use crate::keys::UseError;
use crate::sealing::{Place, Scope};
use crate::secrets::{MAX_PLAINTEXT, SealedKey};
use crate::truth::Materials;

/// An entry, as it was found.
pub(crate) struct SealedEntry {
    /// The key.
    pub(crate) key: String,
    /// SHA-256 of the entry's text, in hexadecimal digits.
    pub(crate) digest: String,
    /// What it says, or why it does not open; `None` if it was taken before: then it need not open ever again.
    pub(crate) opened: Option<Result<SecretBytes, Refusal>>,
    /// The material of a `ManagedKey` that it is under, by its own header; `None` if a sealing key opens it.
    pub(crate) material: Option<(KeyId, MaterialId)>,
    /// Whether a sealing key opened it, and not a `ManagedKey`.
    pub(crate) by_sealing_key: bool,
}

/// Looks at all entries, and opens those that were not taken before.
pub(crate) fn look(seen: &Observed, ctx: &Context) -> Vec<SealedEntry> {
    let entries = &seen.secret.spec.sealed;
    if entries.is_empty() {
        return Vec::new();
    }
    let base = base(seen);
    let truth = base.as_ref().ok().and_then(|base| base.truth());
    let sealing = ctx.keyring.sealing();
    let none = SealingKeys::new(ctx.installation.id, Vec::new());
    let opener = Opener {
        place: Place {
            namespace: seen.secret.namespace().unwrap_or_default(),
            name: seen.secret.name_any(),
            context: seen.secret.spec.encryption_context.clone(),
        },
        keys: sealing.as_ref().map_or(&none, |sealing| &sealing.keys),
        access: &seen.key_access(ctx),
    };
    let look = |(key, text): (&String, &String)| {
        let digest = digest(text);
        // A version that is asked back is compared with what the entries say.
        let taken = seen.earlier.is_none()
            && truth.is_some_and(|truth| {
                truth.manifest.sealed().get(key) == Some(&digest)
                    && truth.current.get(key).is_some()
            });
        let opened = (!taken).then(|| opener.open(key, text));
        let by_sealing_key = opened.as_ref().is_some_and(|(_, by)| *by);
        SealedEntry {
            key: key.clone(),
            digest,
            material: material_of(text),
            opened: opened.map(|(opened, _)| opened),
            by_sealing_key,
        }
    };
    entries.iter().map(look).collect()
}

/// The keys, as a source of the next version.
///
/// # Errors
/// The first entry that does not open.
pub(crate) fn keys(seen: &Observed) -> Result<Vec<SealedKey<'_>>, Refusal> {
    let key = |entry: &'_ SealedEntry| match &entry.opened {
        Some(Err(Refusal(reason, message))) => Err(Refusal(*reason, message.clone())),
        Some(Ok(_)) | None => Ok(()),
    };
    seen.sealed.iter().try_for_each(key)?;
    let keys = seen.sealed.iter().map(|entry| SealedKey {
        key: &entry.key,
        bytes: match &entry.opened {
            Some(Ok(bytes)) => Some(bytes.expose()),
            Some(Err(_)) | None => None,
        },
    });
    Ok(keys.collect())
}

/// What is remembered of the entries that the next version has.
pub(crate) fn taken(seen: &Observed) -> BTreeMap<String, String> {
    let entries = seen.sealed.iter();
    entries
        .map(|entry| (entry.key.clone(), entry.digest.clone()))
        .collect()
}

/// The material of keys that the entries need: as long as they are in the resource, they are to open.
pub(crate) fn needs(seen: &Observed) -> Materials {
    let mut needs = Materials::new();
    for (key, material) in seen.sealed.iter().filter_map(|entry| entry.material) {
        needs.entry(key).or_default().insert(material);
    }
    needs
}

/// One line of the audit trail for all entries that sealing keys opened, before anything of them leaves the operator. The uses of
/// a `ManagedKey` are told as every other of its uses.
pub(crate) async fn record(seen: &Observed, ctx: &Context) -> Result<(), Error> {
    let opened = seen.sealed.iter().filter(|entry| entry.by_sealing_key);
    let count = u32::try_from(opened.count()).unwrap_or(u32::MAX);
    if count == 0 {
        return Ok(());
    }
    let secret = resource_of(&seen.secret);
    let who = Identity::secret(&secret.namespace, &secret.name);
    let event = EventSource::SecretsManager;
    let mut entry = Entry::allowed(event, "OpenSealedValue", who, &request_id());
    entry.resources = vec![secret];
    entry.count = (count > 1).then_some(count);
    "sealed for this place with the installation's public key".clone_into(&mut entry.reason);
    ctx.trail.write(entry).await.map_err(Error::Audit)
}

fn material_of(text: &str) -> Option<(KeyId, MaterialId)> {
    let info = peek(&BASE64.decode(text).ok()?).ok()?;
    Some((info.key, info.material))
}

fn digest(text: &str) -> String {
    Hex(&Sha256::digest(text.as_bytes())).to_string()
}

/// What opens the entries of one secret.
struct Opener<'a> {
    place: Place,
    keys: &'a SealingKeys,
    access: &'a KeyAccess<'a>,
}

impl Opener<'_> {
    /// Opens one entry. Also says whether a sealing key did it.
    fn open(&self, key: &str, text: &str) -> (Result<SecretBytes, Refusal>, bool) {
        let opened = self.open_text(key, text);
        let by_sealing_key = matches!(opened, Ok((_, true)));
        let opened = opened.map(|(bytes, _)| bytes);
        let named = opened.map_err(|Refusal(reason, problem)| {
            Refusal(reason, format!("key {key} of spec.sealed {problem}"))
        });
        (named, by_sealing_key)
    }

    fn open_text(&self, key: &str, text: &str) -> Result<(SecretBytes, bool), Refusal> {
        let unreadable = |problem: &str| Refusal(Reason::SealedUnreadable, problem.to_owned());
        let envelope = BASE64
            .decode(text)
            .map_err(|_| unreadable("is no base64"))?;
        let info = match peek_sealed(&envelope) {
            Ok(info) => info,
            // A copy from a target of form Sealed, whose own name is the secret's unless it was given another.
            Err(OpenError::NoKey) => {
                let strict = self.place.context(Scope::Strict, key);
                let strict = strict.map_err(|error| context_refused(&error))?;
                let opened = self.access.open(&envelope, &strict);
                return opened
                    .map(|bytes| (bytes, false))
                    .map_err(|error| by_key(&error));
            }
            Err(_) => return Err(unreadable("is no envelope: it was cut or altered")),
        };
        let expected = self.place.expected(&info, key);
        let expected = expected.map_err(|error| context_refused(&error))?;
        let limits = Limits {
            max_plaintext: MAX_PLAINTEXT,
        };
        open_sealed(&envelope, &expected, self.keys, limits)
            .map(|bytes| (bytes, true))
            .map_err(|error| by_sealing_key(&error, &expected, &info.context))
    }
}

/// Why a sealing key did not open an entry.
fn by_sealing_key(
    error: &OpenError,
    expected: &EncryptionContext,
    theirs: &EncryptionContext,
) -> Refusal {
    let (reason, problem) = match error {
        OpenError::ContextMismatch { .. } => {
            (Reason::SealedForAnotherPlace, elsewhere(expected, theirs))
        }
        OpenError::OtherInstallation { sealed_for, this } => (
            Reason::SealedForAnotherInstallation,
            format!(
                "is sealed for installation {sealed_for} and not for this one, {this}: seal it with this installation's public \
                 key too"
            ),
        ),
        OpenError::SealingKeyMissing { key } => (
            Reason::SealingKeyMissing,
            format!(
                "is sealed under sealing key {key}, which this installation does not have (any more): restore that key, or seal \
                 the entry anew"
            ),
        ),
        OpenError::TooLong { length, limit } => (
            Reason::ValueTooLarge,
            format!("has a value of {length} bytes, and at most {limit} are stored"),
        ),
        OpenError::Malformed(_)
        | OpenError::NoKey
        | OpenError::SeveralKeys
        | OpenError::MaterialMissing { .. }
        | OpenError::Decrypt(_) => (
            Reason::SealedUnreadable,
            "does not open: it was altered after it was sealed".to_owned(),
        ),
    };
    Refusal(reason, problem)
}

/// In which way an entry was sealed for another place. Names what differs of what is expected, and no text of the message.
fn elsewhere(expected: &EncryptionContext, theirs: &EncryptionContext) -> String {
    let differs = expected
        .pairs()
        .filter(|(key, value)| theirs.get(key) != Some(value));
    let words: Vec<_> = differs
        .map(|(key, value)| match key {
            "keystead:namespace" => format!("another namespace than {value}"),
            "keystead:secret" => format!("another secret than {value}"),
            "keystead:key" => format!("another key than {value}"),
            "keystead:purpose" | "keystead:scope" => "another use".to_owned(),
            pair => format!("another value of the pair {pair} in spec.encryptionContext"),
        })
        .collect();
    if words.is_empty() {
        "is sealed with pairs that spec.encryptionContext does not have".to_owned()
    } else {
        format!("is sealed for {}: seal it for here", words.join(" and "))
    }
}

/// Why a `ManagedKey` did not open an entry.
fn by_key(error: &UseError) -> Refusal {
    let place = |what: &str| format!("is sealed for another place: {what} differs");
    let (reason, problem) = match error {
        UseError::Open(OpenError::ContextMismatch { key }) => {
            let what = key.as_deref().unwrap_or("the set of pairs");
            (Reason::SealedForAnotherPlace, place(what))
        }
        UseError::NotFound { .. } | UseError::MaterialMissing { .. } => {
            (Reason::SealingKeyMissing, format!("does not open: {error}"))
        }
        UseError::NotAllowed { key, .. } => (
            Reason::KeyNotAllowed,
            format!("needs key {key}, which must not be used for it; the audit log says why"),
        ),
        UseError::State { state, .. } => {
            let reason = match state {
                KeyState::Disabled => Reason::KeyDisabled,
                KeyState::PendingDeletion | KeyState::DestructionDue => Reason::KeyPendingDeletion,
                KeyState::PendingImport => Reason::KeyNotReady,
                KeyState::Creating | KeyState::Enabled | KeyState::Unavailable => {
                    Reason::MaterialUnreadable
                }
            };
            (reason, format!("does not open: {error}"))
        }
        // Only a server's keyring says so, never the controller's.
        UseError::Stale(_) => (Reason::Waiting, format!("does not open: {error}")),
        UseError::Open(_) | UseError::Seal(_) => (
            Reason::SealedUnreadable,
            "does not open: it was altered, or is no envelope".to_owned(),
        ),
    };
    Refusal(reason, problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::World;
    use super::*;
    use crate::crypto::{InstallationId, Purpose, SealingKeyId};

    /// What `look` would see of entries with these values; `None`: taken before.
    fn entries(world: &mut World, values: &[(&str, &str, Option<&str>)]) {
        world.seen.sealed = values
            .iter()
            .map(|(key, text, value)| SealedEntry {
                key: (*key).to_owned(),
                digest: digest(text),
                opened: value.map(|value| Ok(SecretBytes::copy_of(value.as_bytes()))),
                by_sealing_key: value.is_some(),
                material: None,
            })
            .collect();
    }

    #[test]
    fn an_entry_is_taken_once_and_the_value_stays_until_another_entry_comes() {
        let mut world = World::new(&json!({"sealed": {"token": "b25l"}}));
        entries(&mut world, &[("token", "b25l", Some("one"))]);
        assert!(world.step() > 0);
        entries(&mut world, &[("token", "b25l", None)]);
        while world.step() > 0 {}
        let truth = world.seen.truth.opened().unwrap();
        assert_eq!(truth.current.get("token"), Some(b"one".as_slice()));
        assert_eq!(truth.manifest.sealed()["token"], digest("b25l"));
        let versions = truth.manifest.versions().len();

        entries(&mut world, &[("token", "dHdv", Some("two"))]);
        assert!(world.step() > 0);
        let truth = world.seen.truth.opened().unwrap();
        assert_eq!(truth.current.get("token"), Some(b"two".as_slice()));
        assert_eq!(truth.manifest.versions().len(), versions + 1);
    }

    #[test]
    fn what_an_entry_under_a_key_needs_is_written_beside_the_truth_and_goes_with_the_entry() {
        let mut world = World::new(&json!({"sealed": {"token": "b25l"}}));
        entries(&mut world, &[("token", "b25l", Some("one"))]);
        while world.step() > 0 {
            entries(&mut world, &[("token", "b25l", None)]);
        }
        let needs = |world: &World| world.seen.truth.opened().unwrap().stored.entries.clone();
        assert!(needs(&world).is_empty());
        let versions = world.versions();
        let key = "11111111-1111-4111-8111-111111111111".parse().unwrap();
        let material = MaterialId::from_bytes([1; 16]);
        // As if that had not been written when it was taken.
        world.seen.sealed[0].material = Some((key, material));
        assert_eq!(world.step(), 1);
        assert_eq!(needs(&world), Materials::from([(key, [material].into())]));
        assert_eq!((world.step(), world.versions()), (0, versions));
        world.seen.sealed[0].material = None;
        assert_eq!(world.step(), 1);
        assert!(needs(&world).is_empty());
    }

    #[test]
    fn the_same_value_sealed_anew_is_remembered_and_makes_no_version() {
        let mut world = World::new(&json!({"sealed": {"token": "b25l"}}));
        entries(&mut world, &[("token", "b25l", Some("one"))]);
        while world.step() > 0 {
            entries(&mut world, &[("token", "b25l", None)]);
        }
        let before = world
            .seen
            .truth
            .opened()
            .unwrap()
            .current
            .get("token")
            .map(<[u8]>::to_vec);
        let versions = world.seen.truth.opened().unwrap().manifest.versions().len();
        entries(&mut world, &[("token", "anew", Some("one"))]);
        assert!(world.step() > 0);
        let truth = world.seen.truth.opened().unwrap();
        assert_eq!(truth.current.get("token").map(<[u8]>::to_vec), before);
        assert_eq!(truth.manifest.versions().len(), versions);
        assert_eq!(truth.manifest.sealed()["token"], digest("anew"));
    }

    #[test]
    fn an_entry_that_does_not_open_holds_everything_up_and_is_named() {
        let mut world = World::new(&json!({"sealed": {"token": "b25l"}}));
        entries(&mut world, &[("token", "b25l", None)]);
        world.seen.sealed[0].opened = Some(Err(Refusal(
            Reason::SealedForAnotherPlace,
            "key token of spec.sealed is elsewhere".to_owned(),
        )));
        let plan = world.plan();
        assert!(plan.steps.is_empty());
        let ready = plan.ready.unwrap();
        assert_eq!(ready.reason, Reason::SealedForAnotherPlace);
    }

    #[test]
    fn each_way_in_which_an_entry_does_not_open_has_its_reason() {
        let context = |namespace, secret, key, pairs: &[(&str, &str)]| {
            let user = EncryptionContext::user(pairs.iter().copied()).unwrap();
            let place = Purpose::Sealed {
                namespace,
                secret,
                key,
            };
            place.context(&user).unwrap()
        };
        let here = context("shop", "app", "token", &[("team", "a")]);
        let word = |theirs: &EncryptionContext| elsewhere(&here, theirs);
        let moved = context("bank", "db", "token", &[("team", "a")]);
        assert_eq!(
            word(&moved),
            "is sealed for another namespace than shop and another secret than app: seal it for here"
        );
        let renamed = context("shop", "app", "C4N4RY", &[("team", "a")]);
        assert_eq!(
            word(&renamed),
            "is sealed for another key than token: seal it for here"
        );
        let more = context("shop", "app", "token", &[("team", "a"), ("x", "C4N4RY")]);
        assert_eq!(
            word(&more),
            "is sealed with pairs that spec.encryptionContext does not have"
        );
        let id = |number| InstallationId::from_bytes([number; 16]);
        let cases = [
            (
                OpenError::ContextMismatch { key: None },
                Reason::SealedForAnotherPlace,
            ),
            (
                OpenError::OtherInstallation {
                    sealed_for: id(1),
                    this: id(2),
                },
                Reason::SealedForAnotherInstallation,
            ),
            (
                OpenError::SealingKeyMissing {
                    key: SealingKeyId::from_bytes([1; 16]),
                },
                Reason::SealingKeyMissing,
            ),
            (
                OpenError::Decrypt(crate::crypto::DecryptError),
                Reason::SealedUnreadable,
            ),
        ];
        for (error, reason) in cases {
            assert_eq!(by_sealing_key(&error, &here, &moved).0, reason);
        }
    }
}
