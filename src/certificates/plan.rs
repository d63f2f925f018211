//! Decides which certificate is due. Pure.

use std::collections::BTreeSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::facts::{AuthorityFacts, Facts, LeafFacts, normal};

/// How long a new authority is trusted by everybody before it signs. Its life begins a day before it is made.
const OVERLAP: SignedDuration = SignedDuration::from_hours(3 * 24);

/// What is to be done next. After it, plan again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an authority that signs at once: there is none that could.
    MakeAuthority,
    /// Make the next authority: from now on it is trusted, and signs nothing yet.
    MakeNext,
    /// Let the next authority sign; the one that signed until now stays trusted.
    Promote,
    /// Trust the authority that signed before no more: its life is over.
    ForgetPrevious,
    /// Make a certificate of the server.
    Issue,
}

/// The next step, if any is due.
pub fn plan(facts: &Facts, hosts: &BTreeSet<String>, now: Timestamp) -> Option<Step> {
    let usable = |authority: &Option<AuthorityFacts>| {
        authority
            .as_ref()
            .filter(|a| a.validity.holds(now))
            .cloned()
    };
    let next = usable(&facts.next);
    let Some(current) = usable(&facts.current) else {
        return Some(if next.is_some() {
            Step::Promote
        } else {
            Step::MakeAuthority
        });
    };
    match next {
        Some(next) if now >= trusted_by_all(&next) => return Some(Step::Promote),
        None if now >= current.validity.renewal() => return Some(Step::MakeNext),
        _ => {}
    }
    if facts
        .previous
        .as_ref()
        .is_some_and(|previous| previous.validity.until <= now)
    {
        return Some(Step::ForgetPrevious);
    }
    let hosts: BTreeSet<_> = hosts.iter().map(|host| normal(host)).collect();
    let fits = |leaf: &LeafFacts| {
        leaf.issuer == current.name
            && leaf.hosts == hosts
            && leaf.validity.holds(now)
            && now < leaf.validity.renewal()
    };
    (!facts.leaf.as_ref().is_some_and(fits)).then_some(Step::Issue)
}

/// The next instant at which the plan may be another.
pub fn next_look(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    let authority = |a: &Option<AuthorityFacts>| a.as_ref().map(|a| a.validity);
    let (current, leaf) = (
        authority(&facts.current),
        facts.leaf.as_ref().map(|l| l.validity),
    );
    let instants = [
        current.map(|v| v.renewal()),
        current.map(|v| v.until),
        facts.next.as_ref().map(trusted_by_all),
        authority(&facts.previous).map(|v| v.until),
        leaf.map(|v| v.renewal()),
    ];
    instants.into_iter().flatten().filter(|at| *at > now).min()
}

fn trusted_by_all(next: &AuthorityFacts) -> Timestamp {
    next.validity
        .from
        .saturating_add(OVERLAP)
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::facts::Validity;
    use super::*;

    const DAY: i64 = 86_400;
    const YEAR: i64 = 365 * DAY;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn hosts() -> BTreeSet<String> {
        BTreeSet::from(["keystead-server.keystead-system.svc".to_owned()])
    }

    /// What the world is after a step, without keys.
    fn after(facts: &Facts, step: Step, now: i64) -> Facts {
        let made = AuthorityFacts {
            name: format!("CA {now}"),
            validity: Validity {
                from: at(now - DAY),
                until: at(now + 10 * YEAR),
            },
        };
        let mut facts = facts.clone();
        match step {
            Step::MakeAuthority => facts.current = Some(made),
            Step::MakeNext => facts.next = Some(made),
            Step::Promote => {
                facts.previous = facts.current.take();
                facts.current = facts.next.take();
            }
            Step::ForgetPrevious => facts.previous = None,
            Step::Issue => {
                facts.leaf = Some(LeafFacts {
                    issuer: facts.current.clone().unwrap().name,
                    validity: Validity {
                        from: at(now - DAY),
                        until: at(now + 90 * DAY),
                    },
                    hosts: hosts(),
                });
            }
        }
        facts
    }

    /// Does everything that is due; panics if that never ends.
    fn settle(facts: &Facts, now: i64) -> (Facts, Vec<Step>) {
        let (mut facts, mut steps) = (facts.clone(), Vec::new());
        while let Some(step) = plan(&facts, &hosts(), at(now)) {
            facts = after(&facts, step, now);
            steps.push(step);
            assert!(steps.len() < 10, "{steps:?}");
        }
        (facts, steps)
    }

    #[test]
    fn from_nothing_an_authority_and_a_certificate_are_made_and_then_nothing() {
        let (facts, steps) = settle(&Facts::default(), 0);
        assert_eq!(steps, [Step::MakeAuthority, Step::Issue]);
        assert_eq!(plan(&facts, &hosts(), at(59 * DAY)), None);
    }

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
        let (facts, _) = settle(&Facts::default(), 0);
        let due = next_look(&facts, at(0)).unwrap();
        assert!((59 * DAY..=61 * DAY).contains(&due.as_second()), "{due}");
        assert_eq!(plan(&facts, &hosts(), due), Some(Step::Issue));
    }

    #[test]
    fn a_certificate_of_other_names_or_another_authority_is_replaced_at_once() {
        let (facts, _) = settle(&Facts::default(), 0);
        let more = BTreeSet::from(["a".to_owned()]);
        assert_eq!(plan(&facts, &more, at(1)), Some(Step::Issue));
        let mut strange = facts.clone();
        strange.leaf.as_mut().unwrap().issuer = "other".to_owned();
        assert_eq!(plan(&strange, &hosts(), at(1)), Some(Step::Issue));
    }

    #[test]
    fn the_next_authority_is_trusted_before_it_signs_and_the_old_one_as_long_as_it_lives() {
        let (mut facts, _) = settle(&Facts::default(), 0);
        let (mut now, mut seen) = (0, Vec::new());
        while now < 40 * YEAR {
            now = next_look(&facts, at(now)).unwrap().as_second();
            let before = facts.clone();
            let steps;
            (facts, steps) = settle(&facts, now);
            assert_ne!(steps, [], "nothing was due at {now}");
            // Whoever trusted the bundle of the moment before accepts the certificate of this one, and the other way
            // round.
            let trusted = |facts: &Facts| {
                [&facts.current, &facts.next, &facts.previous]
                    .into_iter()
                    .flatten()
                    .map(|a| a.name.clone())
                    .collect::<Vec<_>>()
            };
            let issuer = |facts: &Facts| facts.leaf.clone().unwrap().issuer;
            assert!(
                trusted(&before).contains(&issuer(&facts)),
                "{steps:?} at {now}"
            );
            assert!(
                trusted(&facts).contains(&issuer(&before)),
                "{steps:?} at {now}"
            );
            seen.extend(steps);
        }
        for step in [Step::MakeNext, Step::Promote, Step::ForgetPrevious] {
            assert!(seen.contains(&step), "{step:?} never came");
        }
        assert!(!seen.contains(&Step::MakeAuthority));
    }

    #[test]
    fn after_a_long_outage_everything_is_made_anew() {
        let (facts, _) = settle(&Facts::default(), 0);
        let (facts, steps) = settle(&facts, 11 * YEAR);
        assert_eq!(steps, [Step::MakeAuthority, Step::Issue]);
        assert_eq!(plan(&facts, &hosts(), at(11 * YEAR)), None);
    }
}
