use serde_json::{Value, json};

use super::*;
use crate::api::condition::{self, ConditionType};
use crate::controllers::managed_secret::plan::Plan;
use crate::controllers::managed_secret::testing::{World, target};
use crate::crypto::{
    InstallationId, Limits, OsRandom, SealingKeys, SealingPrivateKey, SecretBytes, open_sealed,
};

/// Another installation.
struct Cluster {
    installation: InstallationId,
    keys: SealingKeys,
    text: String,
}

fn cluster(number: u8) -> Cluster {
    let installation = InstallationId::from_bytes([number; 16]);
    let key = SealingPrivateKey::generate(installation, &mut OsRandom).unwrap();
    Cluster {
        installation,
        text: key.public(installation).to_string(),
        keys: SealingKeys::new(installation, vec![key]),
    }
}

fn spec(literal: &str, clusters: &[(&str, &Cluster)]) -> Value {
    let clusters = clusters
        .iter()
        .map(|(name, cluster)| json!({"name": name, "sealingKey": cluster.text}));
    let clusters: Vec<_> = clusters.collect();
    let mut spec = json!({"literals": {"password": literal}, "target": {"form": "Plain"}});
    if !clusters.is_empty() {
        spec["shareWith"] = json!({ "clusters": clusters });
    }
    spec
}

fn write(plan: &Plan) -> &ExportWrite {
    let found = plan.steps.iter().find_map(|step| match step {
        Step::ApplyExport(write) => Some(&**write),
        _ => None,
    });
    found.expect("an export is written")
}

/// The value that a cluster finds; `None`: it does not open for it.
fn opened(world: &mut World, cluster: &Cluster) -> Option<SecretBytes> {
    let plan = world.plan();
    let write = write(&plan);
    let context = write.exported.context("shop", "app").unwrap();
    let opened = open_sealed(&write.envelope, &context, &cluster.keys, Limits::default());
    let value = SecretValue::decode(opened.ok()?.expose()).unwrap();
    Some(SecretBytes::copy_of(value.get("password").unwrap()))
}

fn exported(world: &World) -> Exported {
    let export = world.seen.export.as_ref().unwrap();
    export.exported.clone().unwrap()
}

fn reason(world: &World) -> (String, String) {
    let conditions = &world.seen.secret.status.as_ref().unwrap().conditions;
    let ready = condition::find(conditions, ConditionType::Ready).unwrap();
    (ready.reason.clone(), ready.message.clone())
}

#[test]
fn a_version_is_sealed_once_for_exactly_the_clusters_that_are_listed() {
    let (east, west) = (cluster(1), cluster(2));
    let mut world = World::new(&spec("one", &[("east", &east)]));
    let plan = world.plan();
    let places: Vec<_> = plan.steps.iter().map(std::mem::discriminant).collect();
    assert_eq!(places.len(), 3, "the truth, the target, the export");
    assert!(matches!(plan.steps[0], Step::WriteTruth(_)));
    assert_eq!(opened(&mut world, &east).unwrap().expose(), b"one");
    assert!(opened(&mut world, &west).is_none());
    world.settle();
    let first = exported(&world);
    assert_eq!(first.uid, "object-1");
    // Encrypted anew, or changed in what is no value: nothing is sealed.
    world.edit({
        let mut spec = world.spec();
        spec["recoveryWindowDays"] = json!(7);
        spec
    });
    world.settle();
    assert_eq!(exported(&world), first);
    // Another cluster; the other name of one; another value; one cluster less.
    world.edit(spec("one", &[("east", &east), ("west", &west)]));
    assert_eq!(opened(&mut world, &west).unwrap().expose(), b"one");
    world.settle();
    let second = exported(&world);
    assert!(second.sequence > first.sequence && second.version == first.version);
    world.edit(spec("one", &[("eastern", &east), ("west", &west)]));
    assert_eq!(write(&world.plan()).clusters, ["eastern", "west"]);
    world.settle();
    world.edit(spec("two", &[("eastern", &east), ("west", &west)]));
    assert_eq!(opened(&mut world, &east).unwrap().expose(), b"two");
    world.settle();
    world.edit(spec("two", &[("west", &west)]));
    assert!(opened(&mut world, &east).is_none());
    world.settle();
    assert!(exported(&world).sequence > second.sequence);
    let recipients = west.keys.iter().next().unwrap().public(west.installation);
    let record = world.seen.truth.manifest().unwrap().export().unwrap();
    assert_eq!(
        record.recipients["west"],
        recipients.recipient().to_string()
    );
}

#[test]
fn what_somebody_else_put_in_its_place_is_noticed_and_put_right() {
    let east = cluster(1);
    let mut world = World::new(&spec("one", &[("east", &east)]));
    world.settle();
    let changes: [fn(&mut ExportSeen); 4] = [
        |export| export.digest = Some("other".to_owned()),
        |export| export.exported = None,
        |export| export.exported.as_mut().unwrap().sequence += 1,
        |export| export.dressed = false,
    ];
    for change in changes {
        change(world.seen.export.as_mut().unwrap());
        let plan = world.plan();
        assert!(write(&plan).repair && write(&plan).over.is_some());
        assert!(matches!(
            plan.steps[..],
            [Step::ApplyExport(_), Step::WriteTruth(_)]
        ));
        world.settle();
    }
    world.seen.export = None;
    assert!(write(&world.plan()).repair);
    world.settle();
    // What cannot be changed is made anew.
    let export = world.seen.export.as_mut().unwrap();
    (export.immutable, export.digest) = (true, None);
    let plan = world.plan();
    let kinds = &plan.steps[..2];
    assert!(matches!(
        kinds,
        [Step::DeleteTarget(_), Step::ApplyExport(_)]
    ));
    assert!(write(&plan).over.is_none());
}

#[test]
fn wherever_it_is_killed_what_waits_is_in_the_end_what_the_spec_says() {
    let (east, west) = (cluster(1), cluster(2));
    let both = spec("two", &[("east", &east), ("west", &west)]);
    for next in [spec("one", &[("east", &east)]), both, spec("two", &[])] {
        for first in [false, true] {
            let mut number = 0;
            loop {
                let mut world = World::new(&if first {
                    next.clone()
                } else {
                    spec("one", &[("west", &west)])
                });
                if !first {
                    world.settle();
                    world.edit(next.clone());
                }
                let is_killed = world.killed_before(number);
                world.settle();
                is_as_the_spec_says(&world, &next);
                assert_eq!(world.step(), 0);
                if !is_killed {
                    break;
                }
                number += 1;
            }
            assert!(number > 0, "there was something to do");
        }
    }
}

fn is_as_the_spec_says(world: &World, spec: &Value) {
    let manifest = world.seen.truth.manifest().unwrap();
    let listed = spec["shareWith"]["clusters"].as_array();
    assert_eq!(manifest.export().is_some(), listed.is_some());
    assert_eq!(world.seen.export.is_some(), listed.is_some());
    let (Some(record), Some(export)) = (manifest.export(), &world.seen.export) else {
        return;
    };
    assert_eq!(record.version, manifest.current().unwrap().id);
    assert_eq!(record.recipients.len(), listed.unwrap().len());
    assert!(export.is(record, &world.seen));
}

#[test]
fn it_goes_when_nobody_is_listed_and_is_remembered_until_it_is_gone() {
    let east = cluster(1);
    let mut world = World::new(&spec("one", &[("east", &east)]));
    world.settle();
    world.edit(spec("one", &[]));
    let plan = world.plan();
    assert!(plan.soon && matches!(plan.steps[..], [Step::DeleteTarget(_)]));
    assert_eq!(world.step(), 1);
    assert!(world.seen.export.is_none());
    assert!(world.seen.truth.manifest().unwrap().export().is_some());
    world.settle();
    assert!(world.seen.truth.manifest().unwrap().export().is_none());
}

#[test]
fn a_place_that_is_taken_is_left_alone_and_everything_else_is_done() {
    let east = cluster(1);
    for (owner, why) in [
        (Owner::Nobody, "exists and is not ours"),
        (
            Owner::Other("shop/x".to_owned()),
            "the target of ManagedSecret shop/x",
        ),
        (Owner::Controller("Job x".to_owned()), "controlled by Job x"),
        (Owner::Us, "was a target of this resource"),
    ] {
        let mut world = World::new(&spec("one", &[("east", &east)]));
        world.seen.export = Some(ExportSeen {
            state: TargetState::of(&target("app.replica", owner.clone(), &[])),
            owner,
            type_: "Opaque".to_owned(),
            immutable: false,
            digest: None,
            exported: None,
            dressed: false,
        });
        world.settle();
        assert_eq!(world.delivered("password").unwrap(), b"one");
        let (reason, message) = reason(&world);
        assert_eq!(reason, "SharingFailed");
        assert!(message.contains(why), "{message}");
        assert!(world.plan().is_delivered());
        assert!(world.seen.truth.manifest().unwrap().export().is_none());
        // Left alone also when nobody is listed any more.
        world.edit(spec("one", &[]));
        world.settle();
        assert!(world.seen.export.is_some());
    }
}

#[test]
fn a_key_that_was_altered_a_name_that_is_too_long_and_the_target_itself_are_refused() {
    let mut east = cluster(1);
    let good = east.text.clone();
    let refused = |spec: &Value, name: Option<String>| {
        let mut world = World::new(spec);
        if let Some(name) = name {
            std::sync::Arc::make_mut(&mut world.seen.secret)
                .metadata
                .name = Some(name);
        }
        world.step();
        world.step();
        reason(&world)
    };
    let last = good.chars().last().unwrap();
    east.text = format!(
        "{}{}",
        &good[..good.len() - 1],
        if last == 'A' { 'B' } else { 'A' }
    );
    let (why, message) = refused(&spec("one", &[("east", &east)]), None);
    assert_eq!(why, "SharingFailed");
    assert!(
        message.contains("sealingKey of east") && message.contains("checksum"),
        "{message}"
    );
    assert!(!message.contains(&good[10..40]));
    east.text = good;
    let mut own = spec("one", &[("east", &east)]);
    own["target"]["name"] = json!("app.replica");
    assert!(refused(&own, None).1.contains("the target too"));
    let long = refused(&spec("one", &[("east", &east)]), Some("a".repeat(246)));
    assert!(long.1.contains("more than 245 characters"), "{}", long.1);
}

#[test]
fn a_replica_gives_nothing_whatever_its_definition_lets_it_say() {
    let east = cluster(1);
    let mut chain = spec("one", &[("east", &east)]);
    chain["replicaOf"] = json!({"namespace": "bank", "name": "db"});
    assert!(wanted(&World::new(&chain).seen.secret).is_empty());
}
