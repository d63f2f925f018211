//! A world in memory to plan in: what `observe` would see, and what carrying out a plan does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::delivery::guard::Stragglers;
use super::delivery::immutable::name_so_far;
use super::delivery::target::{Owner, Target, deletion_policy, labels};
use super::key::KeySeen;
use super::observe::Observed;
use super::plan::{Plan, plan};
use super::requests::{Rollback, rollback};
use super::sharing::export;
use super::sources::asked::ChangeSeen;
use super::sources::issuers::Issuers;
use super::sources::native::{Found, Source};
use super::sources::sealed;
use super::spec::form;
use super::status::status;
use super::step::{Step, TargetWrite, TruthWrite};
use super::truth::opened::{Truth, TruthSeen};
use crate::api::managed_secret::Existing;
use crate::api::names::SEALED_SUFFIX;
use crate::api::{ManagedSecret, Reason, SecretChangeStatus};
use crate::controllers::namespace::NamespaceFacts;
use crate::controllers::uses::Uses;
use crate::crypto::{KeyId, MaterialId, OsRandom, SecretBytes};
use crate::secrets::{Manifest, SecretValue, VersionRecord};
use crate::truth::{Needs, Stored};

/// Two keys.
pub(super) const KEYS: [&str; 2] = [
    "11111111-1111-4111-8111-111111111111",
    "22222222-2222-4222-8222-222222222222",
];

/// A secret and everything around it.
pub(super) struct World {
    /// What would be seen now.
    pub(super) seen: Observed,
    /// Secrets that can be imported, by name: UID and data.
    pub(super) imports: BTreeMap<String, (String, BTreeMap<String, Vec<u8>>)>,
    /// The values of all versions that ever were, by id.
    past: BTreeMap<String, SecretBytes>,
    now: i64,
    states: u32,
    /// What changes that were asked for were answered, the newest last.
    pub(super) answers: Vec<SecretChangeStatus>,
}

pub(super) fn key(id: &str) -> KeySeen {
    KeySeen::Usable {
        id: id.parse::<KeyId>().unwrap(),
        material: MaterialId::from_bytes([1; 16]),
        namespace_uid: Some("namespace-1".into()),
    }
}

pub(super) fn managed(spec: &Value) -> ManagedSecret {
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "ManagedSecret",
        "metadata": {"namespace": "shop", "name": "app", "uid": "object-1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

impl World {
    /// A new secret in an orderly namespace.
    pub(super) fn new(spec: &Value) -> Self {
        let seen = Observed {
            secret: Arc::new(managed(spec)),
            looked: std::time::Instant::now(),
            in_operator_namespace: false,
            key: key(KEYS[0]),
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
            home: None,
            namespace: Some(NamespaceFacts {
                uid: "namespace-1".into(),
                created: None,
                approved_before: None,
            }),
            uses: Uses::default(),
            replication: None,
            issuers: Issuers::default(),
            shared_with: BTreeMap::new(),
            readers: BTreeMap::new(),
            replicas: None,
        };
        Self {
            seen,
            imports: BTreeMap::new(),
            past: BTreeMap::new(),
            now: 1_800_000_000,
            states: 0,
            answers: Vec::new(),
        }
    }

    /// The spec, as JSON.
    pub(super) fn spec(&self) -> Value {
        serde_json::to_value(&self.seen.secret.spec).unwrap()
    }

    /// Edits the spec, and sees what follows from that for targets.
    pub(super) fn edit(&mut self, spec: Value) {
        let old = self.seen.secret.clone();
        let new = Arc::make_mut(&mut self.seen.secret);
        new.spec = serde_json::from_value(spec).unwrap();
        new.metadata.generation = new.metadata.generation.map(|generation| generation + 1);
        let all = self.seen.target.iter_mut();
        for target in all.chain(&mut self.seen.leftovers) {
            target.dressed &= deletion_policy(&old) == deletion_policy(&self.seen.secret);
            target.dressed &= labels(&old) == labels(&self.seen.secret);
            // Plaintext is read as such whatever it is to become.
            let is_sealed = target.owned.iter().any(|key| key.ends_with(SEALED_SUFFIX));
            if form(&old) != form(&self.seen.secret) && is_sealed {
                target.delivered.clear();
            }
        }
        self.look();
    }

    /// Sees Secrets as the target or as what is left over, by the spec and the truth.
    fn look(&mut self) {
        let wanted = name_so_far(&self.seen.secret, self.seen.truth.manifest());
        let all = self.seen.target.take().into_iter();
        let all: Vec<_> = all.chain(self.seen.leftovers.drain(..)).collect();
        for target in all {
            if Some(&target.name) == wanted.as_ref() {
                self.seen.target = Some(target);
            } else if target.is_ours() {
                self.seen.leftovers.push(target);
            }
        }
    }

    /// The names of all Secrets of ours.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let all = self.seen.target.iter().chain(&self.seen.leftovers);
        let mut names: Vec<_> = all.map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Somebody, or nobody, refers to Secrets; of all others it is not known.
    pub(super) fn used(&mut self, users: &[(&str, usize)]) {
        let pods = |count: usize| (1..=count).map(|pod| format!("Pod p{pod}")).collect();
        let users = users
            .iter()
            .map(|(name, count)| ((*name).to_owned(), pods(*count)));
        self.seen.users = Ok(users.collect());
    }

    /// Plans, with what would be read of the sources.
    pub(super) fn plan(&mut self) -> Plan {
        self.now += 1;
        self.look();
        let secret = &self.seen.secret;
        let read = secret
            .spec
            .import
            .iter()
            .filter(|import| Source::must_be_read(import, secret, self.seen.truth.opened()));
        let found = |name: &str| {
            self.imports.get(name).map(|(uid, data)| Found {
                uid: uid.clone(),
                resource_version: "1".into(),
                data: data
                    .iter()
                    .map(|(key, bytes)| (key.clone(), SecretBytes::copy_of(bytes)))
                    .collect(),
            })
        };
        let sources = read.map(|import| Source {
            name: import.secret_ref.name.clone(),
            found: found(&import.secret_ref.name),
        });
        self.seen.sources = sources.collect();
        self.seen.earlier = match rollback(secret, self.seen.truth.manifest()) {
            Rollback::To { version, .. } => Some(Ok(self.value_of(version.as_str()))),
            Rollback::None | Rollback::Refused(_) => None,
        };
        let named = self.seen.change.as_ref().and_then(ChangeSeen::named);
        let manifest = self.seen.truth.manifest();
        let named = named.filter(|id| manifest.is_some_and(|all| all.version(id).is_some()));
        let kept = named.map(|id| Ok(self.value_of(id.as_str())));
        if let Some(change) = &mut self.seen.change {
            change.kept = kept;
        }
        plan(&self.seen, self.at(), &mut OsRandom)
    }

    /// A call of the API asks for that, now: the parts of a `SecretChange`, and what is put.
    pub(super) fn ask(&mut self, more: &Value, put: Option<SecretValue>) {
        let mut spec = json!({"namespace": "shop", "name": "app", "namespaceUid": "namespace-1", "objectUid": "object-1", "user": "ann"});
        let parts = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(parts);
        let change = json!({
            "apiVersion": "keystead.dev/v1alpha1", "kind": "SecretChange",
            "metadata": {"name": "change", "uid": "change-1", "creationTimestamp": self.at()},
            "spec": spec,
        });
        self.seen.change = Some(ChangeSeen {
            change: Arc::new(serde_json::from_value(change).unwrap()),
            put: put.map(Ok),
            kept: None,
        });
    }

    /// The last answer to a change.
    #[track_caller]
    pub(super) fn answered(&mut self) -> SecretChangeStatus {
        self.answers.pop().expect("it is answered")
    }

    /// The manifest, to be changed by hand.
    pub(super) fn manifest_mut(&mut self) -> &mut Manifest {
        match &mut self.seen.truth {
            TruthSeen::Present(truth) => &mut truth.manifest,
            _ => panic!("nothing is stored"),
        }
    }

    /// The value of a version, as it was stored.
    fn value_of(&self, version: &str) -> SecretValue {
        SecretValue::decode(self.past[version].expose()).unwrap()
    }

    /// Lets time pass, in seconds; what is negative puts the clock back.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// Sets or changes an annotation of the resource.
    pub(super) fn annotate(&mut self, annotation: &str, value: &str) {
        let secret = Arc::make_mut(&mut self.seen.secret);
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.to_owned(), value.to_owned());
    }

    /// The time.
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }

    /// Plans and carries the plan out, once; returns how many steps there were.
    pub(super) fn step(&mut self) -> usize {
        let plan = self.plan();
        let steps = plan.steps.len();
        let new = plan
            .ready
            .clone()
            .map(|ready| status(&self.seen, &plan, ready, self.at()));
        for step in plan.steps {
            self.carry_out(step);
        }
        self.look();
        let secret = Arc::make_mut(&mut self.seen.secret);
        secret.status = new.or(secret.status.take());
        steps
    }

    /// Plans, and is killed before the step of that number; returns whether there was one.
    pub(super) fn killed_before(&mut self, number: usize) -> bool {
        let mut steps = self.plan().steps.into_iter();
        steps
            .by_ref()
            .take(number)
            .for_each(|step| self.carry_out(step));
        steps.next().is_some()
    }

    /// Plans and carries out until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 {
            if self.step() == 0 {
                return;
            }
        }
        panic!("planning never comes to rest");
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::CreateDefaultKey => self.seen.key = key(KEYS[0]),
            Step::Archive(_) => {}
            Step::Answer(answer) => {
                self.seen.change = None;
                self.answers.push(answer.status);
            }
            Step::WriteTruth(write) => self.write_truth(*write),
            Step::ApplyTarget(write) => self.apply_target(*write),
            Step::ApplyExport(write) => {
                let body = export::body(&write, &self.seen.secret);
                let applied = serde_json::from_value(body).unwrap();
                self.seen.export = Some(export::read(&applied, &self.seen.secret));
            }
            Step::DeleteTarget(state) | Step::ReleaseTarget(state) => {
                self.seen.export.take_if(|export| export.state == state);
                self.seen
                    .leftovers
                    .retain(|target| target.name != state.name);
                if self
                    .seen
                    .target
                    .as_ref()
                    .is_some_and(|t| t.name == state.name)
                {
                    self.seen.target = None;
                }
            }
            Step::DeletePod(_) => self.seen.stragglers = Stragglers::default(),
            Step::DeleteSource(state) => {
                let (uid, _) = self.imports.remove(&state.name).unwrap();
                assert_eq!(uid, state.uid, "only the very one that was imported");
            }
        }
    }

    fn write_truth(&mut self, write: TruthWrite) {
        let fresh = write.fresh.into_iter();
        self.past
            .extend(fresh.map(|(id, value)| (id, value.encode())));
        let current = self.value_of(write.manifest.current().unwrap().id.as_str());
        self.states += 1;
        // As long as what it would hold; nothing opens it.
        let envelope = |version: &VersionRecord| {
            let id = version.id.to_string();
            let bytes = self.past[&id].expose().to_vec();
            (id, bytes)
        };
        let needs = Needs {
            key: Some(write.key),
            materials: [write.material].into(),
        };
        let stored = Stored {
            namespace: "shop".into(),
            name: "app".into(),
            claim: write.claim,
            recovery: write.recovery,
            parked_since: None,
            approved: None,
            manifest: Vec::new(),
            versions: write.manifest.versions().iter().map(envelope).collect(),
            needs: Some(needs.clone()),
            entries: sealed::needs(&self.seen),
            resource_version: Some(self.states.to_string()),
        };
        self.seen.truth = TruthSeen::Present(Box::new(Truth {
            stored,
            manifest: write.manifest,
            current,
            needs,
        }));
    }

    fn apply_target(&mut self, write: TargetWrite) {
        let suffix = write.seal_under.map_or("", |_| SEALED_SUFFIX);
        let owned = write
            .content
            .keys()
            .map(|key| format!("{key}{suffix}"))
            .collect();
        self.seen.leftovers.extend(self.seen.target.take());
        let mut old = self.seen.leftovers.extract_if(.., |t| t.name == write.name);
        let old = old.next();
        let mut target = old.unwrap_or_else(|| target(&write.name, Owner::Us, &[]));
        if target.immutable {
            let kept = |(key, bytes): (&str, &[u8])| target.delivered[key].expose() == bytes;
            assert!(write.content.iter().all(kept), "data that cannot change");
        }
        target.keys.retain(|key| !target.owned.contains(key));
        target.delivered.retain(|key, _| target.keys.contains(key));
        for (key, bytes) in write.content.iter() {
            target.keys.insert(format!("{key}{suffix}"));
            target
                .delivered
                .insert(key.to_owned(), SecretBytes::copy_of(bytes));
        }
        let KeySeen::Usable { material, .. } = self.seen.key else {
            panic!("nothing is delivered without a key");
        };
        self.seen.target = Some(Target {
            materials: write.seal_under.map(|_| material).into_iter().collect(),
            type_: write.type_,
            owner: Owner::Us,
            existing: write.existing,
            immutable: target.immutable || write.immutable,
            owned,
            dressed: true,
            ..target
        });
    }

    /// What a consumer gets under a key.
    pub(super) fn delivered(&self, key: &str) -> Option<Vec<u8>> {
        let target = self.seen.target.as_ref()?;
        target
            .delivered
            .get(key)
            .map(|bytes| bytes.expose().to_vec())
    }

    /// The stored value of a key.
    pub(super) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.seen
            .truth
            .opened()?
            .current
            .get(key)
            .map(<[u8]>::to_vec)
    }

    /// How many versions are kept.
    pub(super) fn versions(&self) -> usize {
        self.seen
            .truth
            .manifest()
            .map_or(0, |manifest| manifest.versions().len())
    }

    /// Plans, and expects to be refused with nothing to do; returns the message.
    #[track_caller]
    pub(super) fn refused(&mut self, reason: Reason) -> String {
        let plan = self.plan();
        let ready = plan.ready.unwrap();
        assert_eq!(
            (ready.status, ready.reason),
            (false, reason),
            "{}",
            ready.message
        );
        assert!(plan.steps.is_empty(), "who is refused writes nothing");
        ready.message
    }
}

/// An Opaque Secret that is nobody's, or somebody's, with that data.
pub(super) fn target(name: &str, owner: Owner, data: &[(&str, &str)]) -> Target {
    Target {
        name: name.into(),
        uid: "target-1".into(),
        resource_version: "1".into(),
        type_: "Opaque".into(),
        immutable: false,
        owner,
        existing: Existing::Fail,
        owned: BTreeSet::new(),
        delivered: data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), SecretBytes::copy_of(text.as_bytes())))
            .collect(),
        materials: BTreeSet::new(),
        keys: data.iter().map(|(key, _)| (*key).to_owned()).collect(),
        dressed: false,
        created: None,
        applied: None,
    }
}
