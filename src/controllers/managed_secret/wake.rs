//! Which secrets are looked at again when something else changes: their targets and sources, their truth, aliases and
//! keys.
//!
//! What is deleted while a watch is cut is in no event of the next one, which begins with a list of what is there. So
//! whatever is waited for and is not in that list counts as changed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_stream::wrappers::BroadcastStream;

use crate::api::names::{ANNOTATION_MANAGED_BY, SECRET_TYPE_SEALED};
use crate::api::{KeyAlias, ManagedSecret};
use crate::controllers::census::Counting;
use crate::controllers::context::{Context, changed_keys};
use crate::controllers::managed_secret::truth::purge::Ends;
use crate::controllers::references::{Reference, References};
use crate::controllers::run::tell_broken;
use crate::truth::{is_truth, owner_of};
use crate::watching::watch_selected;

type Secrets = Vec<ObjectRef<ManagedSecret>>;

/// One kind of object that secrets wait for.
struct Cause<K> {
    /// What those who wait for an object call it.
    reference: fn(&K) -> Reference,
    /// The namespace of an object of this kind that is waited for.
    namespace: fn(&Reference) -> Option<&str>,
    /// The secrets that a change of it concerns.
    concerned: fn(&K, &Context) -> Secrets,
}

const TARGETS: Cause<PartialObjectMeta<Secret>> = Cause {
    reference: secret_reference,
    namespace: namespace_of_secret,
    concerned,
};

const TRUTH: Cause<PartialObjectMeta<Secret>> = Cause {
    concerned: readers,
    ..TARGETS
};

const ALIASES: Cause<PartialObjectMeta<KeyAlias>> = Cause {
    reference: alias_reference,
    namespace: namespace_of_alias,
    concerned: that_name,
};

/// Secrets whose native Secret changed: the one they deliver, or one that they wait for. Of all Secrets only the metadata
/// is watched, and none is cached.
pub(super) fn by_targets(
    api: Api<PartialObjectMeta<Secret>>,
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    let listing = Listing::of(&api);
    woken_by(events(api, Config::default()), listing, TARGETS, ctx)
}

/// Secrets whose truth changed. The census follows the same watch, and so does what looks after the end of secrets.
pub(super) fn by_truth(
    api: Api<PartialObjectMeta<Secret>>,
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    let truth_only = Config::default().fields(&format!("type={SECRET_TYPE_SEALED}"));
    let (listing, counted) = (Listing::of(&api), ctx.clone());
    let (mut counting, mut ends) = (Counting::default(), Ends::default());
    let events = events(api, truth_only).inspect(move |event| {
        counting.follow(event, &counted.census);
        ends.follow(event, &counted.parked);
    });
    woken_by(events, listing, TRUTH, ctx)
}

/// Secrets that name an alias that changed.
pub(super) fn by_aliases(
    api: Api<PartialObjectMeta<KeyAlias>>,
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    let listing = Listing::of(&api);
    woken_by(events(api, Config::default()), listing, ALIASES, ctx)
}

/// Secrets whose key changed.
pub(super) fn by_keys(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    let index = ctx.clone();
    changed_keys(ctx).flat_map(move |key| {
        let secrets = index
            .references
            .to(&Reference::Key(key.namespace, key.name));
        stream::iter(woken(secrets, &index))
    })
}

/// Sources whose replicas changed.
pub(super) fn by_replicas(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    by_news(ctx.sharing.news(), |ctx| ctx.sharing.sources(), ctx)
}

/// Secrets of which a rotation asks something.
pub(super) fn by_rotations(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    by_news(ctx.rotations.wanted(), |ctx| ctx.rotations.all(), ctx)
}

/// Secrets of which a call of the API asks something.
pub(super) fn by_changes(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    by_news(ctx.changes.wanted(), |ctx| ctx.changes.all(), ctx)
}

/// Secrets that another part of the controller tells of.
fn by_news(
    news: BroadcastStream<ObjectRef<ManagedSecret>>,
    all: fn(&Context) -> Secrets,
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<> {
    let index = ctx.clone();
    news.flat_map(move |secret| {
        // Too many at once to be told one by one: all of them.
        let secrets = secret.map_or_else(|_| all(&index), |secret| vec![secret]);
        stream::iter(woken(secrets, &index))
    })
}

/// What a watch tells. That it broke is said, and that is all.
fn events<K>(api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_selected(api, config)
        .filter_map(|event| future::ready(event.inspect_err(tell_broken::<K>).ok()))
}

fn woken_by<K, S>(
    events: S,
    mut listing: Listing,
    cause: Cause<K>,
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedSecret>> + Send + use<K, S>
where
    S: Stream<Item = Event<K>> + Send,
{
    let ctx = ctx.clone();
    events.flat_map(move |event| {
        let mut secrets = listing.follow(&event, &cause, &ctx.references);
        if let Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) = &event {
            secrets.extend((cause.concerned)(object, &ctx));
        }
        stream::iter(woken(secrets, &ctx))
    })
}

/// What a list of a namespace, or of all, has had so far of what is waited for.
struct Listing {
    namespace: Option<String>,
    listed: HashSet<Reference>,
}

impl Listing {
    fn of<K: Resource>(api: &Api<K>) -> Self {
        Self {
            namespace: api.namespace().map(str::to_owned),
            listed: HashSet::new(),
        }
    }

    /// The secrets that wait for what a list that is now complete had not.
    fn follow<K>(&mut self, event: &Event<K>, cause: &Cause<K>, waiting: &References) -> Secrets {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let reference = (cause.reference)(object);
                if waiting.has(&reference) {
                    self.listed.insert(reference);
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let own = self.namespace.as_deref();
                return waiting.to_any(|waited| {
                    let namespace = (cause.namespace)(waited);
                    namespace.is_some_and(|namespace| own.is_none_or(|own| own == namespace))
                        && !listed.contains(waited)
                });
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
        Vec::new()
    }
}

fn namespace_of_secret(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Secret(namespace, _) => Some(namespace),
        _ => None,
    }
}

fn namespace_of_alias(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Alias(namespace, _) => Some(namespace),
        _ => None,
    }
}

fn secret_reference(secret: &PartialObjectMeta<Secret>) -> Reference {
    Reference::Secret(secret.namespace().unwrap_or_default(), secret.name_any())
}

fn alias_reference(alias: &PartialObjectMeta<KeyAlias>) -> Reference {
    Reference::Alias(alias.namespace().unwrap_or_default(), alias.name_any())
}

/// The secrets that a native Secret concerns: its owner, and those that wait for one of its name.
fn concerned(secret: &PartialObjectMeta<Secret>, ctx: &Context) -> Secrets {
    let namespace = secret.namespace().unwrap_or_default();
    let reference = secret_reference(secret);
    let mut concerned = ctx.references.to(&reference);
    let owner = secret
        .annotations()
        .get(ANNOTATION_MANAGED_BY)
        .and_then(|owner| owner.split_once('/'));
    if let Some((owner_namespace, name)) = owner
        && owner_namespace == namespace
    {
        concerned.push(ObjectRef::new(name).within(&namespace));
    }
    let state = secret.metadata.resource_version.as_deref();
    if let Some(writer) = ctx.references.writer(&reference, state) {
        concerned.retain(|secret| *secret != writer);
    }
    concerned
}

/// The secrets that truth concerns: the one that it belongs to, and its replicas.
fn readers(truth: &PartialObjectMeta<Secret>, ctx: &Context) -> Secrets {
    if !is_truth(&truth.metadata) {
        return Vec::new();
    }
    let reference = secret_reference(truth);
    let mut concerned = ctx.references.to(&reference);
    concerned.extend(owner_of(&truth.metadata));
    let state = truth.metadata.resource_version.as_deref();
    if let Some(writer) = ctx.references.writer(&reference, state) {
        concerned.retain(|secret| *secret != writer);
    }
    concerned
}

/// The secrets that name an alias. The alias's own status is no news, but it is rare.
fn that_name(alias: &PartialObjectMeta<KeyAlias>, ctx: &Context) -> Secrets {
    ctx.references.to(&alias_reference(alias))
}

/// What they waited for has changed: they start over with the shortest wait.
fn woken(secrets: Secrets, ctx: &Context) -> Secrets {
    for secret in &secrets {
        ctx.secret_failures.reset(secret);
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(name: &str) -> PartialObjectMeta<Secret> {
        let mut native = PartialObjectMeta::default();
        native.metadata.namespace = Some("shop".to_owned());
        native.metadata.name = Some(name.to_owned());
        native
    }

    #[test]
    fn whoever_waits_for_what_a_new_list_has_not_is_woken_when_the_list_is_complete() {
        let waiting = References::default();
        let secret = |name: &str| ObjectRef::new(name).within("shop");
        let wait = |name: &str, reference| waiting.set(&secret(name), &HashSet::from([reference]));
        wait("kept", secret_reference(&native("there")));
        wait("bereft", secret_reference(&native("gone")));
        wait("other", Reference::Key("shop".into(), "gone".into()));
        wait("elsewhere", Reference::Secret("else".into(), "gone".into()));
        let mut listing = Listing {
            namespace: Some("shop".to_owned()),
            listed: HashSet::new(),
        };
        let mut follow = |event| listing.follow(&event, &TARGETS, &waiting);
        for _ in 0..2 {
            assert!(follow(Event::Init).is_empty());
            assert!(follow(Event::InitApply(native("there"))).is_empty());
            assert!(follow(Event::InitApply(native("unknown"))).is_empty());
            assert_eq!(follow(Event::InitDone), [secret("bereft")]);
        }
        assert!(follow(Event::Delete(native("there"))).is_empty());
        // A list that was begun anew has only what came since.
        follow(Event::Init);
        follow(Event::InitApply(native("gone")));
        follow(Event::Init);
        follow(Event::InitApply(native("there")));
        assert_eq!(follow(Event::InitDone), [secret("bereft")]);
        follow(Event::Init);
        follow(Event::InitApply(native("gone")));
        follow(Event::InitApply(native("there")));
        assert!(follow(Event::InitDone).is_empty());
    }
}
