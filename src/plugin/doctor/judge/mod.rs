//! What the facts mean. Pure: each check is a function from a fact to findings.

mod installation;
mod resources;

use k8s_openapi::jiff::Timestamp;

use self::installation::{
    clock, definitions, deployments, endpoints, injection, leader, operators, root, webhooks, yours,
};
use self::resources::{abandoned, delivery, pending, ready, waiting};
use super::facts::{Facts, Look};
use super::{Finding, Level};

/// All findings, in the order in which one looks for a fault: the installation, then what it keeps.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |check, found: Vec<(Level, String, &'static str)>| {
        findings.extend(found.into_iter().map(|(level, message, remedy)| Finding {
            check,
            level,
            message,
            remedy,
        }));
    };
    let now = facts.now;
    add("clock", seen(&facts.server_time, |&time| clock(now, time)));
    add("definitions", seen(&facts.definitions, |d| definitions(d)));
    add(
        "operator",
        seen(&facts.deployments, |d| deployments(d, &facts.operator)),
    );
    add(
        "leader",
        seen(&facts.lease, |lease| {
            leader(lease.as_ref(), server_now(facts))
        }),
    );
    add(
        "webhooks",
        seen(&facts.webhooks, |found| webhooks(found.as_ref())),
    );
    add(
        "injection",
        seen(&facts.injection, |found| injection(found.as_ref())),
    );
    add("server", seen(&facts.endpoints, |&ready| endpoints(ready)));
    add("root key", seen(&facts.root, |names| root(names)));
    add("your rights", seen(&facts.yours, |rights| yours(rights)));
    add(
        "operator's rights",
        seen(&facts.operators, |rights| operators(rights)),
    );
    add("keys", seen(&facts.keys, |all| ready("ManagedKey", all)));
    add(
        "aliases",
        seen(&facts.aliases, |all| ready("KeyAlias", all)),
    );
    add("grants", seen(&facts.grants, |all| ready("KeyGrant", all)));
    add(
        "secrets",
        seen(&facts.secrets, |all| ready("ManagedSecret", all)),
    );
    add(
        "rotation",
        seen(&facts.schedules, |all| ready("RotationSchedule", all)),
    );
    add(
        "pending values",
        seen(&facts.secrets, |secrets| {
            seen(&facts.schedules, |schedules| abandoned(secrets, schedules))
        }),
    );
    add(
        "pending deletion",
        seen(&facts.keys, |keys| pending(&keys.items)),
    );
    add(
        "delivery",
        delivery(&facts.secrets, &facts.driver, &facts.opted_in),
    );
    add(
        "waiting truth",
        seen(&facts.materials, |all| waiting(all, server_now(facts))),
    );
    findings
}

type Found = Vec<(Level, String, &'static str)>;

/// The API server's time where it is known: what it stores was written by its clock.
fn server_now(facts: &Facts) -> Timestamp {
    match facts.server_time {
        Look::Seen(time) => time,
        Look::NotAllowed(_) | Look::Failed(_) => facts.now,
    }
}

/// Judges what was seen; what was not is said.
fn seen<T>(look: &Look<T>, judge: impl FnOnce(&T) -> Found) -> Found {
    match look {
        Look::Seen(seen) => judge(seen),
        Look::NotAllowed(right) => vec![(Level::Skipped, format!("skipped: needs {right}"), "")],
        Look::Failed(why) => vec![(Level::Problem, why.clone(), "")],
    }
}

fn fine(message: impl Into<String>) -> Found {
    vec![(Level::Ok, message.into(), "")]
}

fn or_fine(findings: Found, message: impl Into<String>) -> Found {
    if findings.is_empty() {
        return fine(message);
    }
    findings
}

#[cfg(test)]
mod tests;
