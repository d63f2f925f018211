use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::super::testing::World;
use super::*;
use crate::crypto::OsRandom;
use crate::secrets::{Assembled, Kept, NamedGenerator, SecretValue, Sources, assemble};

const HOUR: i64 = 3_600;

fn leaf(name: &str, user: &str) -> Value {
    json!({
        "generate": [{"key": "tls.crt", "certificate": {"dnsNames": [name], "durationDays": 1, "issuer": {"secretRef": {"name": "ca"}}}}],
        "literals": {"user": user},
        "target": {"form": "Plain"},
    })
}

/// The value of another secret, with an authority.
fn authority(now: Timestamp) -> SecretValue {
    let entry = json!({"key": "tls.crt", "certificate": {"commonName": "root", "isCA": true}});
    let named = NamedGenerator::try_from(&serde_json::from_value(entry).unwrap()).unwrap();
    let sources = Sources {
        current: None,
        previous: None,
        literals: &BTreeMap::new(),
        imported: &[],
        sealed: &[],
        generators: &[named],
        issuers: &Authorities::new(),
        stored: Kept::Nothing,
    };
    match assemble(&sources, now, &mut OsRandom).unwrap() {
        Assembled::Changed(value) => value,
        Assembled::Unchanged => panic!("it is new"),
    }
}

/// Asks those that have to sign; returns how many there are.
fn ask(world: &mut World, ca: Option<&SecretValue>) -> usize {
    let answer = |of: &IssuerRef| match ca {
        Some(ca) => Signer::read(ca, of, world.at()),
        None => Err("it is gone".to_owned()),
    };
    let needed = needed_authorities(&world.seen, world.at());
    let authorities: Authorities = needed.iter().map(|of| (of.clone(), answer(of))).collect();
    let asked = authorities.len();
    world.seen.issuers.authorities = authorities;
    asked
}

#[test]
fn an_authority_is_asked_only_when_it_has_to_sign() {
    let mut world = World::new(&leaf("a", "one"));
    let ca = authority(world.at());
    assert_eq!(ask(&mut world, Some(&ca)), 1);
    world.settle();
    assert_eq!(ask(&mut world, Some(&ca)), 0, "it was made");
    world.edit(leaf("a", "two"));
    assert_eq!(ask(&mut world, Some(&ca)), 0, "another key changes");
    world.settle();
    world.wait(17 * HOUR);
    assert_eq!(ask(&mut world, Some(&ca)), 1, "it is due");
    world.settle();
    assert_eq!(ask(&mut world, Some(&ca)), 0);
    world.edit(leaf("b", "two"));
    assert_eq!(ask(&mut world, Some(&ca)), 1, "it is to say something else");
    world.seen.key = super::super::super::key::KeySeen::DefaultMissing;
    assert_eq!(ask(&mut world, Some(&ca)), 0, "nothing will be written");
}

#[test]
fn without_its_authority_a_certificate_stays_and_everything_else_goes_on() {
    let mut world = World::new(&leaf("a", "one"));
    ask(&mut world, None);
    let told = world.refused(Reason::IssuerNotReady);
    assert!(
        told.contains("ManagedSecret `ca`, cannot sign: it is gone"),
        "{told}"
    );
    let ca = authority(world.at());
    ask(&mut world, Some(&ca));
    world.settle();
    let made = world.stored("tls.crt");

    world.wait(17 * HOUR);
    world.edit(leaf("a", "two"));
    ask(&mut world, None);
    let ready = world.plan().ready.unwrap();
    assert_eq!(
        (ready.status, ready.reason),
        (false, Reason::IssuerNotReady)
    );
    assert!(
        ready.message.contains("The one that is delivered stays"),
        "{}",
        ready.message
    );
    world.settle();
    assert_eq!(world.delivered("user").unwrap(), b"two");
    assert_eq!(world.stored("tls.crt"), made);

    // One that says something else is not the one that was asked for.
    world.edit(leaf("b", "two"));
    ask(&mut world, None);
    world.refused(Reason::IssuerNotReady);
    // And it is not forgotten that it was due.
    world.edit(leaf("a", "two"));
    assert_eq!(ask(&mut world, Some(&ca)), 1);
    world.settle();
    assert_ne!(world.stored("tls.crt"), made);
}
