use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::api::condition::{self, ConditionType};
use crate::controllers::managed_secret::step::Step;
use crate::controllers::managed_secret::testing::World;
use crate::controllers::namespace::NamespaceFacts;
use crate::crypto::SecretBytes;

fn replica() -> Value {
    json!({"replicaOf": {"namespace": "bank", "name": "db"}, "target": {"form": "Plain"}})
}

fn version(number: u8) -> VersionId {
    format!("00000000-0000-4000-8000-0000000000{number:02x}")
        .parse()
        .unwrap()
}

/// What the source gives: that version, with that password, which is left out if the replica has it.
fn offer(world: &mut World, number: u8, sequence: u64, password: Option<&str>) {
    let value = password.map(|password| {
        let mut value = SecretValue::new();
        let bytes = SecretBytes::copy_of(password.as_bytes());
        value.insert("password".to_owned(), bytes).unwrap();
        value
    });
    let offer = Ok(Offer {
        uid: "source-1".to_owned(),
        version: version(number),
        sequence,
        value,
    });
    set(world, offer);
}

fn denied(why: &str) -> Result<Offer, Denied> {
    Err(Denied {
        told: why.to_owned(),
        reason: Some("nothing that is told"),
    })
}

fn set(world: &mut World, offer: Result<Offer, Denied>) {
    let uses = Uses::default();
    world.seen.replication = Some(Replication {
        offer,
        uses,
        opened: None,
    });
}

fn following() -> World {
    let mut world = World::new(&replica());
    offer(&mut world, 1, 5, Some("one"));
    world.settle();
    world
}

fn told(world: &World) -> ReplicationStatus {
    let status = world.seen.secret.status.clone().unwrap();
    status.replication.unwrap()
}

#[test]
fn a_replica_takes_each_version_of_its_source_once() {
    let mut world = following();
    assert_eq!(world.delivered("password").unwrap(), b"one");
    assert_eq!(told(&world).status, ReplicationState::InSync);
    assert_eq!(told(&world).source_version, Some(version(1).to_string()));
    // Encrypted anew at the source, and looked at once more.
    offer(&mut world, 1, 9, None);
    assert_eq!(world.step(), 0);
    offer(&mut world, 2, 10, Some("two"));
    world.settle();
    assert_eq!(world.delivered("password").unwrap(), b"two");
    assert_eq!(world.versions(), 2);
    // Another version with the same value, as after a change of the source's literals and back.
    offer(&mut world, 3, 12, Some("two"));
    world.settle();
    assert_eq!(world.versions(), 2);
    assert_eq!(told(&world).source_version, Some(version(3).to_string()));
}

#[test]
fn what_a_replica_has_stays_when_it_gets_nothing_more_and_is_still_cared_for() {
    let mut world = following();
    set(&mut world, denied("why"));
    assert_eq!(world.step(), 0);
    let status = told(&world);
    assert_eq!(status.status, ReplicationState::Failed);
    assert_eq!(status.message.as_deref(), Some("why"));
    assert_eq!(status.source_version, Some(version(1).to_string()));
    let conditions = &world.seen.secret.status.as_ref().unwrap().conditions;
    let ready = condition::find(conditions, ConditionType::Ready).unwrap();
    assert_eq!(ready.reason, Reason::ReplicationFailed.as_str());
    // Somebody deletes the target: it is put back, and counts as repaired.
    world.seen.target = None;
    let plan = world.plan();
    let [Step::ApplyTarget(write)] = &plan.steps[..] else {
        panic!("only the target is missing");
    };
    assert!(write.repair);
    world.settle();
    assert_eq!(world.delivered("password").unwrap(), b"one");
    // Nothing was there before: nothing is made up.
    let mut world = World::new(&replica());
    set(&mut world, denied("why"));
    assert_eq!(world.refused(Reason::ReplicationFailed), "why");
}

#[test]
fn older_ciphertext_at_the_source_is_not_taken_but_another_source_is() {
    let mut world = following();
    offer(&mut world, 2, 10, Some("two"));
    world.settle();
    offer(&mut world, 1, 6, Some("one"));
    assert_eq!(world.step(), 0);
    let status = told(&world);
    assert_eq!(status.status, ReplicationState::Failed);
    assert!(status.message.unwrap().contains("sequence 6, but 10"));
    assert_eq!(world.delivered("password").unwrap(), b"two");
    // The source was deleted and applied anew, and its sequence began anew.
    offer(&mut world, 7, 1, Some("seven"));
    let replication = world.seen.replication.as_mut().unwrap();
    replication.offer.as_mut().unwrap().uid = "source-2".to_owned();
    world.settle();
    assert_eq!(world.delivered("password").unwrap(), b"seven");
}

#[test]
fn a_source_that_is_back_under_another_uid_makes_no_version() {
    let mut world = following();
    let target = world.seen.target.as_ref().unwrap().resource_version.clone();
    offer(&mut world, 1, 6, Some("one"));
    let replication = world.seen.replication.as_mut().unwrap();
    replication.offer.as_mut().unwrap().uid = "source-2".to_owned();
    let plan = world.plan();
    assert!(matches!(plan.steps[..], [Step::WriteTruth(_)]));
    world.settle();
    assert_eq!(world.versions(), 1);
    let now = world.seen.target.as_ref().unwrap().resource_version.clone();
    assert_eq!(now, target);
}

#[test]
fn promotion_writes_only_that_it_is_no_replica_any_more() {
    let mut world = following();
    let before = world.seen.truth.manifest().unwrap().versions().to_vec();
    world.edit(json!({"stored": {}, "target": {"form": "Plain"}}));
    world.seen.replication = None;
    let plan = world.plan();
    assert!(matches!(plan.steps[..], [Step::WriteTruth(_)]));
    world.settle();
    let manifest = world.seen.truth.manifest().unwrap();
    assert_eq!(manifest.versions(), before);
    assert_eq!(manifest.replica(), None);
    assert_eq!(world.delivered("password").unwrap(), b"one");
    assert_eq!(world.seen.secret.status.as_ref().unwrap().replication, None);
}

#[test]
fn a_namespace_is_remembered_by_the_uid_that_it_had_when_it_was_named() {
    let spec = json!({"generate": [{"key": "password", "password": {}}], "target": {"form": "Plain"},
                      "shareWith": {"namespaces": ["reports", "later"]}});
    let mut world = World::new(&spec);
    let facts = |uid: &str| {
        Some(NamespaceFacts {
            uid: uid.to_owned(),
            created: None,
            approved_before: None,
        })
    };
    let look = |world: &mut World, name: &str, found| {
        world.seen.shared_with.insert(name.to_owned(), found);
        world.settle();
        let manifest = world.seen.truth.manifest().unwrap();
        ["reports", "later"].map(|name| manifest.share(name).map(str::to_owned))
    };
    world.seen.shared_with.insert("later".to_owned(), None);
    let shared = look(&mut world, "reports", facts("one"));
    assert_eq!(shared, [Some("one".to_owned()), None]);
    let shared = look(&mut world, "later", facts("three"));
    assert_eq!(shared[1].as_deref(), Some("three"));
    // Made anew: the recorded one counts.
    let shared = look(&mut world, "reports", facts("two"));
    assert_eq!(shared[0].as_deref(), Some("one"));
    // Taken out, and put in again.
    let mut without = spec.clone();
    without["shareWith"]["namespaces"] = json!(["later"]);
    world.edit(without);
    world.settle();
    assert_eq!(world.seen.truth.manifest().unwrap().share("reports"), None);
    world.edit(spec);
    let shared = look(&mut world, "reports", facts("two"));
    assert_eq!(shared[0].as_deref(), Some("two"));
}

#[test]
fn a_source_lists_no_more_replicas_than_it_may_and_counts_all() {
    let spec = json!({"literals": {"a": "b"}, "shareWith": {"namespaces": ["reports"]}});
    let mut world = World::new(&spec);
    let replica = |number: usize| crate::api::managed_secret::ReplicaStatus {
        namespace: "reports".to_owned(),
        name: format!("r{number}"),
        status: None,
    };
    world.seen.replicas = Some((0..70).map(replica).collect());
    world.settle();
    let status = world.seen.secret.status.clone().unwrap();
    assert_eq!(status.replicas.len(), 64);
    assert_eq!(status.replica_count, Some(70));
    // Not known yet, as after a start: what was told stays.
    world.seen.replicas = None;
    world.step();
    assert_eq!(world.seen.secret.status, Some(status));
}

#[test]
fn only_the_resource_as_it_is_now_shares_and_a_replica_never_does() {
    let source = |spec: &Value| {
        let mut source = crate::controllers::managed_secret::testing::managed(spec);
        source.metadata.namespace = Some("bank".to_owned());
        Arc::new(source)
    };
    let shares = json!({"literals": {"a": "b"}, "shareWith": {"namespaces": ["shop"]}});
    assert!(lists(&source(&shares), "shop"));
    assert!(!lists(&source(&shares), "else"));
    assert!(!lists(&source(&json!({"literals": {"a": "b"}})), "shop"));
    let mut chain = shares;
    chain["replicaOf"] = json!({"namespace": "farm", "name": "db"});
    assert!(!lists(&source(&chain), "shop"));
}
