//! Looks at everything that the plan for a secret may depend on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::export::{self, ExportSeen};
use super::exported;
use super::in_use::{self, Users};
use super::issuers::{self, Issuers};
use super::key::{KeySeen, find_key, name_of_key};
use super::replication::{self, Replication};
use super::requests::{Rollback, rollback};
use super::sealed::{self, SealedEntry};
use super::shares;
use super::source::Source;
use super::spec::{KeyName, key_name, key_namespace, target_name, user_of};
use super::step::Refusal;
use super::target::{self, Target};
use super::truth::{self, TruthSeen};
use crate::api::managed_secret::{ReplicaOf, ReplicaStatus};
use crate::api::names::SEALING_KEY;
use crate::api::{ManagedSecret, Reason};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::controllers::namespace::{NamespaceFacts, namespace_facts};
use crate::controllers::references::Reference;
use crate::controllers::uses::{KeyAccess, Uses};
use crate::secrets::SecretValue;
use crate::truth::truth_name;

/// Everything that [`super::plan::plan`] may look at.
pub(crate) struct Observed {
    /// The resource.
    pub(crate) secret: Arc<ManagedSecret>,
    /// Whether it lives in the operator's own namespace.
    pub(crate) in_operator_namespace: bool,
    /// The key that it names.
    pub(crate) key: KeySeen,
    /// The truth about it.
    pub(crate) truth: TruthSeen,
    /// The value of the version that is asked back, where one is.
    pub(crate) earlier: Option<Result<SecretValue, Refusal>>,
    /// The Secrets to import, where they have to be read.
    pub(crate) sources: Vec<Source>,
    /// The entries of `spec.sealed`.
    pub(crate) sealed: Vec<SealedEntry>,
    /// The Secret of the target's name, if a target is wanted and there is one.
    pub(crate) target: Option<Target>,
    /// Who refers to the target, looked at only where it is plaintext and is to become sealed.
    pub(crate) users: Users,
    /// Targets of ours under names that are not wanted any more.
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
    /// The replicas in namespaces that it is shared with; `None` before all secrets were listed once.
    pub(crate) replicas: Option<Vec<ReplicaStatus>>,
}

impl Observed {
    /// What is known without asking the API server.
    pub(super) fn of(secret: Arc<ManagedSecret>, ctx: &Context) -> Self {
        let namespace = secret.namespace().unwrap_or_default();
        Self {
            in_operator_namespace: namespace == ctx.namespace,
            key: KeySeen::Problem(Reason::Pending, String::new()),
            truth: TruthSeen::Absent,
            earlier: None,
            sources: Vec::new(),
            sealed: Vec::new(),
            target: None,
            users: Ok(Vec::new()),
            leftovers: Vec::new(),
            export: None,
            namespace: None,
            uses: Uses::of(&secret),
            home: None,
            replication: None,
            issuers: Issuers::default(),
            shared_with: BTreeMap::new(),
            replicas: None,
            secret,
        }
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
    let namespace = secret.namespace().unwrap_or_default();
    // The index is told before each look, so that a change in between wakes the secret again.
    refer(&secret, &namespace, None, ctx);
    let mut seen = Observed::of(secret, ctx);
    if seen.in_operator_namespace || seen.secret.metadata.deletion_timestamp.is_some() {
        return Ok(seen);
    }
    let key = name_of_key(&seen.secret, ctx).await?;
    if let Ok(name) = &key {
        refer(&seen.secret, &namespace, Some(name), ctx);
    }
    let uid = seen.secret.uid().unwrap_or_default();
    let name = seen.secret.name_any();
    let stored = call(
        "get",
        format!("truth of {namespace}/{name}"),
        ctx.sealed.get(&namespace, &name),
    )
    .await?;
    if stored
        .as_ref()
        .is_none_or(|s| s.as_ref().is_ok_and(|s| s.claim.object_uid != uid))
    {
        seen.namespace = Some(namespace_facts(&namespace, ctx).await?);
    }
    let claimed = stored.as_ref().and_then(|stored| stored.as_ref().ok());
    let claimed = claimed.map(|stored| stored.claim.namespace_uid.clone());
    // An object of that UID is in the namespace that it was made in, so that the recorded UID is the namespace's own.
    let home = seen.namespace.as_ref().map(|facts| facts.uid.clone());
    seen.home = home.or(claimed);
    seen.key = match key {
        Ok(name) => find_key(&seen.secret, &name, seen.home.as_deref(), &seen.uses, ctx),
        Err(problem) => problem,
    };
    seen.truth = truth::open(stored, &seen.key_access(ctx));
    seen.earlier = earlier(&seen, ctx);
    seen.sealed = sealed::look(&seen, ctx);
    look_outside(&mut seen, &namespace, ctx).await?;
    if let Some(source) = &seen.secret.spec.replica_of {
        seen.replication = Some(replication::observe(&seen, source, ctx).await?);
    }
    seen.replicas = ctx.sharing.replicas_of(&seen.secret);
    shares::look(&mut seen, ctx).await?;
    seen.issuers = issuers::observe(&seen, now, ctx).await?;
    Ok(seen)
}

/// Reads the version that is asked back, if that can be.
fn earlier(seen: &Observed, ctx: &Context) -> Option<Result<SecretValue, Refusal>> {
    let truth = seen.truth.opened()?;
    let Rollback::To { version, .. } = rollback(&seen.secret, Some(&truth.manifest)) else {
        return None;
    };
    let version = truth.manifest.version(&version)?;
    let read = truth::read_version(&truth.stored, version, &seen.key_access(ctx));
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
    let wanted = target_name(&seen.secret);
    if let Some(name) = &wanted {
        let found = call(
            "get",
            format!("Secret {namespace}/{name}"),
            secrets.get_opt(name),
        )
        .await?;
        seen.target = found.map(|found| target::read(found, seen, ctx));
    }
    seen.users = in_use::users(seen, namespace, ctx).await?;
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
    seen.export = export::look(seen, &secrets).await?;
    Ok(())
}

/// Tells the index what this secret waits for. `key`: the name of its key, once that is known.
fn refer(secret: &ManagedSecret, namespace: &str, key: Option<&str>, ctx: &Context) {
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
    for name in imports.chain(target_name(secret)) {
        references.insert(Reference::Secret(namespace.to_owned(), name));
    }
    ctx.references.set(&ObjectRef::from_obj(secret), references);
}

/// The truth of a secret, as something to wait for.
pub(super) fn truth_reference(secret: &ManagedSecret, ctx: &Context) -> Reference {
    let name = truth_name(&secret.namespace().unwrap_or_default(), &secret.name_any());
    Reference::Secret(ctx.namespace.clone(), name)
}
