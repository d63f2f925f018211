//! Looks at everything that the plan for a secret may depend on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::delivery::guard::{self, Stragglers};
use super::delivery::immutable::name_so_far;
use super::delivery::in_use::{self, Users};
use super::delivery::target::{self, Target};
use super::key::{KeySeen, find_key, name_of_key};
use super::requests::{Rollback, rollback};
use super::sharing::access::{self, Namespaces};
use super::sharing::export::{self, ExportSeen};
use super::sharing::exported;
use super::sharing::replication::{self, Replication};
use super::sharing::shares;
use super::sources::asked::ChangeSeen;
use super::sources::issuers::{self, Issuers};
use super::sources::native::Source;
use super::sources::sealed::{self, SealedEntry};
use super::spec::{KeyName, is_immutable, key_name, key_namespace, target_name, user_of};
use super::step::Refusal;
use super::truth::opened::{self, TruthSeen};
use crate::api::managed_secret::{ReplicaOf, ReplicaStatus};
use crate::api::names::{
    ANNOTATION_MANAGED_BY, ANNOTATION_TARGET, LABEL_MANAGED_BY, MANAGED_BY, SEALING_KEY,
};
use crate::api::{ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::homes::is_new;
use crate::controllers::namespace::{NamespaceFacts, namespace_facts};
use crate::controllers::references::Reference;
use crate::controllers::rotations::{Asked, Change};
use crate::controllers::uses::{KeyAccess, Uses};
use crate::secrets::{SecretValue, VersionId};
use crate::truth::truth_name;

/// Everything that [`super::plan::plan`] may look at.
pub(crate) struct Observed {
    /// The resource.
    pub(crate) secret: Arc<ManagedSecret>,
    /// When the look began.
    pub(crate) looked: Instant,
    /// Whether it lives in the operator's own namespace.
    pub(crate) in_operator_namespace: bool,
    /// The key that it names.
    pub(crate) key: KeySeen,
    /// The truth about it.
    pub(crate) truth: TruthSeen,
    /// The value of the version that is asked back, where one is.
    pub(crate) earlier: Option<Result<SecretValue, Refusal>>,
    /// What a rotation asks for.
    pub(crate) rotation: Option<Asked>,
    /// What a call of the API asks for.
    pub(crate) change: Option<ChangeSeen>,
    /// The value of the pending version, where that is to become current.
    pub(crate) pending: Option<Result<SecretValue, Refusal>>,
    /// The Secrets to import, where they have to be read.
    pub(crate) sources: Vec<Source>,
    /// The entries of `spec.sealed`.
    pub(crate) sealed: Vec<SealedEntry>,
    /// The Secret of the target's name, if a target is wanted and there is one. Of one that has a content for life the last.
    pub(crate) target: Option<Target>,
    /// Who refers to a plaintext target that is to become sealed, and to former ones that are to go.
    pub(crate) users: Users,
    /// Pods that were made too early.
    pub(crate) stragglers: Stragglers,
    /// Targets of ours under other names.
    pub(crate) leftovers: Vec<Target>,
    /// The Secret of the export's name, if one is wanted or was written, and there is one.
    pub(crate) export: Option<ExportSeen>,
    /// The namespace, looked at only when truth is to be made or adopted.
    pub(crate) namespace: Option<NamespaceFacts>,
    /// The uses of keys that are not in the audit trail yet.
    pub(crate) uses: Uses,
    /// UID of the namespace.
    pub(crate) home: Option<String>,
    /// What the source gives, if this is a replica.
    pub(crate) replication: Option<Replication>,
    /// The authorities of other secrets that have to sign its certificates now.
    pub(crate) issuers: Issuers,
    /// The namespaces that it is shared with, where they had to be looked at; `None`: there is no such namespace, or it is not
    /// served.
    pub(crate) shared_with: BTreeMap<String, Option<NamespaceFacts>>,
    /// The namespaces of principals of its policy, where they had to be looked at.
    pub(crate) readers: Namespaces,
    /// The replicas in namespaces that it is shared with; `None` before all secrets were listed once.
    pub(crate) replicas: Option<Vec<ReplicaStatus>>,
}

impl Observed {
    /// What is known without asking the API server.
    pub(super) fn of(secret: Arc<ManagedSecret>, ctx: &Context) -> Self {
        let namespace = secret.namespace().unwrap_or_default();
        Self {
            looked: Instant::now(),
            in_operator_namespace: namespace == ctx.namespace,
            key: KeySeen::Problem(Reason::Pending, String::new()),
            truth: TruthSeen::Absent,
            earlier: None,
            rotation: None,
            change: None,
            pending: None,
            sources: Vec::new(),
            sealed: Vec::new(),
            target: None,
            users: Ok(BTreeMap::new()),
            stragglers: Stragglers::default(),
            leftovers: Vec::new(),
            export: None,
            namespace: None,
            uses: Uses::of(&secret),
            home: None,
            replication: None,
            issuers: Issuers::default(),
            shared_with: BTreeMap::new(),
            readers: Namespaces::new(),
            replicas: None,
            secret,
        }
    }

    /// Whether there is a Secret of ours, so that there was a value.
    pub(super) fn has_delivered(&self) -> bool {
        let mut targets = self.target.iter().chain(&self.leftovers);
        targets.any(Target::is_ours)
    }

    /// Whether the look found a Secret of that name, of those that it looked for.
    pub(super) fn found(&self, name: &str) -> bool {
        let targets = self.target.iter().chain(&self.leftovers);
        let mut names = targets.map(|target| target.name.as_str());
        names.any(|found| found == name) || self.export.is_some()
    }

    /// The secret as a user of keys.
    pub(super) fn key_access<'a>(&'a self, ctx: &'a Context) -> KeyAccess<'a> {
        let user = user_of(&self.secret, self.home.as_deref(), ctx.now());
        KeyAccess::new(user, &self.uses, ctx)
    }
}

/// Looks.
pub(super) async fn observe(
    secret: Arc<ManagedSecret>,
    now: Timestamp,
    ctx: &Context,
) -> Result<Observed, Error> {
    if is_taken_for_new(&secret, ctx) {
        let seen = look(secret.clone(), Truth::TakenForAbsent, now, ctx).await?;
        // Where something was delivered there was truth, and then what the watch knows of it is not enough.
        if !seen.has_delivered() {
            return Ok(seen);
        }
    }
    look(secret, Truth::Read, now, ctx).await
}

/// Where what is said of the truth comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// It is read.
    Read,
    /// There is none, as far as the watch of all truth knows.
    TakenForAbsent,
}

/// Whether the truth of a secret need not be asked for to find out that there is none. That may be wrong, and then the creation of
/// the truth is refused: nothing is written over, nothing was delivered yet, and the next look reads.
fn is_taken_for_new(secret: &ManagedSecret, ctx: &Context) -> bool {
    let name = truth_name(&secret.namespace().unwrap_or_default(), &secret.name_any());
    is_new(secret)
        && ctx.secret_failures.count(&ObjectRef::from_obj(secret)) == 0
        && ctx.census.lacks(&name)
}

async fn look(
    secret: Arc<ManagedSecret>,
    truth: Truth,
    now: Timestamp,
    ctx: &Context,
) -> Result<Observed, Error> {
    let namespace = secret.namespace().unwrap_or_default();
    // The index is told before each look, so that a change in between wakes the secret again.
    refer(&secret, &namespace, None, target_name(&secret), ctx);
    let mut seen = Observed::of(secret, ctx);
    seen.change = ChangeSeen::of(&seen, ctx);
    if seen.in_operator_namespace || seen.secret.metadata.deletion_timestamp.is_some() {
        return Ok(seen);
    }
    let key = name_of_key(&seen.secret, ctx).await?;
    if let Ok(name) = &key {
        let target = target_name(&seen.secret);
        refer(&seen.secret, &namespace, Some(name), target, ctx);
    }
    let uid = seen.secret.uid().unwrap_or_default();
    let name = seen.secret.name_any();
    let stored = match truth {
        Truth::TakenForAbsent => None,
        Truth::Read => {
            let object = format!("truth of {namespace}/{name}");
            call("get", object, ctx.sealed.get(&namespace, &name)).await?
        }
    };
    seen.namespace = match &stored {
        None => Some(NamespaceFacts::of(ctx.homes.of(&seen.secret, ctx).await?)),
        Some(Ok(stored)) if stored.claim.object_uid != uid => {
            Some(namespace_facts(&namespace, ctx).await?)
        }
        Some(_) => None,
    };
    let claimed = stored.as_ref().and_then(|stored| stored.as_ref().ok());
    let claimed = claimed.map(|stored| stored.claim.namespace_uid.clone());
    // An object of that UID is in the namespace that it was made in, so that the recorded UID is the namespace's own.
    let home = seen.namespace.as_ref().map(|facts| facts.uid.clone());
    seen.home = home.or(claimed);
    let named = key.as_ref().ok().cloned();
    seen.key = match key {
        Ok(name) => find_key(&seen.secret, &name, seen.home.as_deref(), &seen.uses, ctx),
        Err(problem) => problem,
    };
    seen.truth = opened::open(stored, &seen.key_access(ctx));
    if is_immutable(&seen.secret) {
        let target = name_so_far(&seen.secret, seen.truth.manifest());
        refer(&seen.secret, &namespace, named.as_deref(), target, ctx);
    }
    seen.earlier = earlier(&seen, ctx);
    seen.rotation = asked(&seen, ctx);
    seen.pending = pending(&seen, ctx);
    seen.change = seen.change.take().map(|change| change.read(&seen, ctx));
    seen.sealed = sealed::look(&seen, ctx);
    look_outside(&mut seen, &namespace, ctx).await?;
    seen.stragglers = guard::look(&seen, &namespace, now, ctx).await?;
    if let Some(source) = &seen.secret.spec.replica_of {
        seen.replication = Some(replication::observe(&seen, source, ctx).await?);
    }
    seen.replicas = ctx.sharing.replicas_of(&seen.secret);
    shares::look(&mut seen, ctx).await?;
    access::look(&mut seen, ctx).await?;
    seen.issuers = issuers::observe(&seen, now, ctx).await?;
    Ok(seen)
}

/// Reads the version that is asked back, if that can be.
fn earlier(seen: &Observed, ctx: &Context) -> Option<Result<SecretValue, Refusal>> {
    let manifest = seen.truth.manifest()?;
    match rollback(&seen.secret, Some(manifest)) {
        Rollback::To { version, .. } => read(&version, seen, ctx),
        Rollback::None | Rollback::Refused(_) => None,
    }
}

/// What a rotation asks for, of the truth as it is.
fn asked(seen: &Observed, ctx: &Context) -> Option<Asked> {
    let truth = seen.truth.opened()?;
    let is_own = Some(&truth.stored.claim.object_uid) == seen.secret.metadata.uid.as_ref();
    let object = ObjectRef::from_obj(&*seen.secret);
    let asked = ctx.rotations.of(&object, truth.manifest.sequence());
    asked.filter(|_| is_own)
}

/// Reads the version that is to become current.
fn pending(seen: &Observed, ctx: &Context) -> Option<Result<SecretValue, Refusal>> {
    match &seen.rotation.as_ref()?.change {
        Change::Promote(version) => read(version, seen, ctx),
        Change::Record | Change::Create { .. } | Change::Cancel(_) => None,
    }
}

/// Reads a version that is kept.
pub(super) fn read(
    version: &VersionId,
    seen: &Observed,
    ctx: &Context,
) -> Option<Result<SecretValue, Refusal>> {
    let truth = seen.truth.opened()?;
    let version = truth.manifest.version(version)?;
    let read = opened::read_version(&truth.stored, version, &seen.key_access(ctx));
    Some(read.map_err(|(reason, message)| Refusal(reason, message)))
}

/// Looks at the Secrets of the namespace that matter: sources, the target, former targets.
async fn look_outside(seen: &mut Observed, namespace: &str, ctx: &Context) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    for import in &seen.secret.spec.import {
        if Source::must_be_read(import, &seen.secret, seen.truth.opened()) {
            let name = &import.secret_ref.name;
            let found = call(
                "get",
                format!("Secret {namespace}/{name}"),
                secrets.get_opt(name),
            )
            .await?;
            seen.sources.push(Source::new(name, found));
        }
    }
    let wanted = name_so_far(&seen.secret, seen.truth.manifest());
    if let Some(name) = &wanted {
        let found = call(
            "get",
            format!("Secret {namespace}/{name}"),
            secrets.get_opt(name),
        )
        .await?;
        seen.target = found.map(|found| target::read(found, seen, ctx));
    }
    let former: Vec<_> = seen
        .truth
        .manifest()
        .into_iter()
        .flat_map(|m| m.targets().to_vec())
        .collect();
    for record in former
        .iter()
        .filter(|record| Some(&record.name) != wanted.as_ref())
    {
        let object = format!("Secret {namespace}/{}", record.name);
        let found = call("get", object, secrets.get_opt(&record.name)).await?;
        let target = found.map(|found| target::read(found, seen, ctx));
        seen.leftovers.extend(target.filter(Target::is_ours));
    }
    if is_immutable(&seen.secret) && matches!(seen.truth, TruthSeen::Absent) {
        seen.leftovers = unrecorded(seen, &secrets, ctx).await?;
    }
    seen.users = in_use::users(seen, namespace, ctx).await?;
    seen.export = export::look(seen, &secrets).await?;
    Ok(())
}

/// A target of ours of which no truth tells, if there is one: a value once was. The names of those that have a content for life are
/// nowhere else.
async fn unrecorded(
    seen: &Observed,
    secrets: &Api<Secret>,
    ctx: &Context,
) -> Result<Vec<Target>, Error> {
    let namespace = seen.secret.namespace().unwrap_or_default();
    let params = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGED_BY}"));
    let object = format!("Secrets of {namespace}");
    let all = call("list", object, secrets.list_metadata(&params)).await?;
    let place = target::place_of(&seen.secret);
    let names_us = |secret: &PartialObjectMeta<Secret>| {
        let says = |key: &str| secret.annotations().get(key);
        says(ANNOTATION_MANAGED_BY) == Some(&place)
            && says(ANNOTATION_TARGET) == secret.metadata.name.as_ref()
    };
    let Some(name) = all.items.iter().find(|secret| names_us(secret)) else {
        return Ok(Vec::new());
    };
    let name = name.name_any();
    let object = format!("Secret {namespace}/{name}");
    let found = call("get", object, secrets.get_opt(&name)).await?;
    let target = found.map(|found| target::read(found, seen, ctx));
    Ok(target.into_iter().filter(Target::is_ours).collect())
}

/// Tells the index what this secret waits for. `key`: the name of its key, and `target`: that of its target, once they are known.
fn refer(
    secret: &ManagedSecret,
    namespace: &str,
    key: Option<&str>,
    target: Option<String>,
    ctx: &Context,
) {
    let mut references = HashSet::new();
    if let KeyName::Alias(alias) = key_name(secret) {
        references.insert(Reference::Alias(key_namespace(secret), alias.to_owned()));
    }
    if let Some(key) = key {
        references.insert(Reference::Key(key_namespace(secret), key.to_owned()));
    }
    references.insert(truth_reference(secret, ctx));
    match &secret.spec.replica_of {
        Some(ReplicaOf {
            cluster: Some(cluster),
            ..
        }) => {
            let access = cluster.secret_ref.name.clone();
            references.insert(Reference::Secret(namespace.to_owned(), access));
        }
        Some(source) => {
            let truth = truth_name(&source.namespace, &source.name);
            references.insert(Reference::Secret(ctx.namespace.clone(), truth));
        }
        None => {}
    }
    if !export::wanted(secret).is_empty() {
        let name = exported::name_of(&secret.name_any());
        references.insert(Reference::Secret(namespace.to_owned(), name));
    }
    for issuer in issuers::names(secret) {
        let truth = truth_name(namespace, issuer);
        references.insert(Reference::Secret(ctx.namespace.clone(), truth));
    }
    if !secret.spec.sealed.is_empty() {
        references.insert(Reference::Key(
            ctx.namespace.clone(),
            SEALING_KEY.to_owned(),
        ));
    }
    let imports = secret
        .spec
        .import
        .iter()
        .map(|import| import.secret_ref.name.clone());
    for name in imports.chain(target) {
        references.insert(Reference::Secret(namespace.to_owned(), name));
    }
    ctx.references
        .set(&ObjectRef::from_obj(secret), &references);
}

/// The truth of a secret, as something to wait for.
pub(super) fn truth_reference(secret: &ManagedSecret, ctx: &Context) -> Reference {
    let name = truth_name(&secret.namespace().unwrap_or_default(), &secret.name_any());
    Reference::Secret(ctx.namespace.clone(), name)
}
