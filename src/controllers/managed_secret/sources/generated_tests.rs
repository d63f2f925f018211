use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::super::super::delivery::target::Owner;
use super::super::super::testing::{World, target};
use super::*;
use crate::api::Reason;

const HOUR: i64 = 3_600;

#[test]
fn a_certificate_is_told_looked_at_when_it_is_due_and_made_anew_in_one_write() {
    let mut world = World::new(&json!({
        "generate": [{"key": "tls.crt", "certificate": {"commonName": "orders", "durationDays": 1}}],
        "target": {"form": "Plain"},
    }));
    world.settle();
    let shown = world.plan().shown.unwrap();
    let told = shown.certificates[0].clone();
    assert_eq!((told.key.as_str(), told.serial.len()), ("tls.crt", 32));
    let at = |hours| told.renewal_time.0 - SignedDuration::from_hours(hours);
    assert_eq!(
        shown.until_renewal(at(3)),
        Some(Duration::from_secs(3 * 3_600))
    );
    assert_eq!(shown.until_renewal(at(-1)), Some(OVERDUE), "no tight loop");

    world.wait(15 * HOUR);
    assert_eq!(world.step(), 0, "before it is due nothing is done");
    world.wait(HOUR);
    assert_eq!(world.step(), 2, "truth and target");
    assert_eq!(world.versions(), 2);
    assert_eq!(world.step(), 0);
    world.wait(-100 * HOUR);
    assert_eq!(
        world.step(),
        0,
        "a clock that is put back makes nothing anew"
    );
    let status = world.seen.secret.status.clone().unwrap();
    assert!(status.certificates[0].renewal_time.0 > told.renewal_time.0);
    assert_ne!(status.certificates[0].serial, told.serial);
}

#[test]
fn digests_of_parameters_are_part_of_the_version_that_was_made_with_them() {
    let hash = |cost| json!({"generate": [{"key": "hash", "bcrypt": {"from": "p", "cost": cost}}], "literals": {"p": "x"}});
    let mut world = World::new(&hash(4));
    world.settle();
    let first = world.stored("hash").unwrap();
    assert_eq!(world.step(), 0);
    world.edit(hash(5));
    world.settle();
    let second = world.stored("hash").unwrap();
    assert!(first.starts_with(b"$2y$04$") && second.starts_with(b"$2y$05$"));
    let manifest = world.seen.truth.manifest().unwrap();
    let digests: Vec<_> = manifest
        .versions()
        .iter()
        .map(|version| &version.derivations["hash"])
        .collect();
    assert!(digests.len() == 2 && digests[0] != digests[1]);
}

#[test]
fn both_halves_of_a_pair_are_taken_over_and_half_a_pair_is_refused() {
    let spec = json!({"generate": [{"key": "id", "sshKey": {}}], "target": {"form": "Plain", "existing": "Adopt"}});
    let mut world = World::new(&spec);
    let found = [("id", "in use"), ("id.pub", "trusted")];
    world.seen.target = Some(target("app", Owner::Nobody, &found));
    world.settle();
    assert_eq!(world.stored("id").unwrap(), b"in use");
    assert_eq!(world.stored("id.pub").unwrap(), b"trusted");

    // What was derived there from the same password stays, too.
    let derived = json!({"generate": [{"key": "hash", "bcrypt": {"from": "p"}}], "literals": {"p": "x"},
        "target": {"form": "Plain", "existing": "Adopt"}});
    for (password, kept) in [("x", true), ("y", false)] {
        let mut world = World::new(&derived);
        let found = [("hash", "in use"), ("p", password)];
        world.seen.target = Some(target("app", Owner::Nobody, &found));
        world.settle();
        assert_eq!(world.stored("hash").unwrap() == b"in use", kept);
    }

    let mut world = World::new(&spec);
    world.seen.target = Some(target("app", Owner::Nobody, &found[1..]));
    let told = world.refused(Reason::InvalidSpec);
    assert!(
        told.contains("not the private key `id` that belongs to it"),
        "{told}"
    );
}
