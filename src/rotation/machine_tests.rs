use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::secrets::testing::IDS;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn id(number: usize) -> VersionId {
    format!("00000000-0000-4000-8000-{number:012}")
        .parse()
        .unwrap()
}

fn seen(record: Option<&SecretRotation>, now: Timestamp) -> Seen<'_> {
    Seen {
        record,
        due: None,
        asked: None,
        cancelled: None,
        held: false,
        consumers: None,
        finish: Finish::default(),
        own_code: false,
        now,
    }
}

fn running(promoted: Option<i64>, loaded: Option<i64>) -> SecretRotation {
    let mut record = SecretRotation::new(at(0));
    record.running = Some(Running {
        version: IDS[0].parse().unwrap(),
        strategy: "regenerate".to_owned(),
        begun: at(0),
        created: None,
        cancelled: None,
        promoted: promoted.map(at),
        delivered: None,
        loaded: loaded.map(at),
        refused: 0,
    });
    record
}

fn due(begins: i64) -> Due {
    Due {
        tick: Some(at(begins)),
        begins: Some(at(begins)),
        missed: 3,
    }
}

#[test]
fn a_secret_that_a_schedule_is_made_for_counts_as_just_rotated() {
    let mut new = seen(None, at(0));
    new.due = Some(due(-100));
    assert_eq!(next(&new), Next::Adopt);
}

#[test]
fn a_rotation_begins_when_it_is_due_or_asked_for_and_a_token_counts_once() {
    let mut record = SecretRotation::new(at(0));
    record.obey("old");
    let mut idle = seen(Some(&record), at(10));
    idle.due = Some(due(11));
    let wait = Next::Wait {
        until: Some(at(11)),
        why: Why::Idle,
    };
    assert_eq!(next(&idle), wait);
    idle.asked = Some("old");
    assert_eq!(next(&idle), wait);
    idle.asked = Some("new");
    let token = Some("new".to_owned());
    assert_eq!(next(&idle), Next::Begin { token, missed: 3 });
    idle.asked = None;
    idle.now = at(11);
    let begin = Next::Begin {
        token: None,
        missed: 3,
    };
    assert_eq!(next(&idle), begin);
    idle.held = true;
    let held = Next::Wait {
        until: None,
        why: Why::Held,
    };
    assert_eq!(next(&idle), held);
}

#[test]
fn what_has_begun_goes_on_unless_a_restore_is_suspected() {
    let record = running(None, None);
    let mut on = seen(Some(&record), at(10));
    on.asked = Some("again");
    assert_eq!(next(&on), Next::Carry(IDS[0].parse().unwrap()));
    on.held = true;
    let held = Next::Wait {
        until: None,
        why: Why::Held,
    };
    assert_eq!(next(&on), held);
}

#[test]
fn only_the_rotation_whose_version_is_named_is_cancelled_and_only_before_it_is_current() {
    let record = running(None, None);
    let mut cancelled = seen(Some(&record), at(10));
    cancelled.cancelled = Some(IDS[1]);
    assert!(matches!(next(&cancelled), Next::Carry(_)));
    cancelled.cancelled = Some(IDS[0]);
    assert_eq!(next(&cancelled), Next::Cancel);
    let mut record = record.clone();
    record.running.as_mut().unwrap().cancelled = Some(at(9));
    let mut back = seen(Some(&record), at(10));
    assert_eq!(next(&back), Next::Revert(IDS[0].parse().unwrap()));
    back.held = true;
    assert!(matches!(next(&back), Next::Wait { .. }));
    let record = running(Some(5), None);
    cancelled.record = Some(&record);
    assert_eq!(next(&cancelled), Next::End { stalled: false });
}

#[test]
fn when_value_after_value_is_refused_somebody_has_to_ask_for_another() {
    let mut record = running(None, None);
    record.running.as_mut().unwrap().refused = MOST_REFUSED;
    record.obey("first");
    let mut refused = seen(Some(&record), at(10));
    refused.asked = Some("first");
    let waits = Next::Wait {
        until: None,
        why: Why::Refused,
    };
    assert_eq!(next(&refused), waits);
    refused.asked = Some("second");
    assert!(matches!(next(&refused), Next::Begin { .. }));
}

#[test]
fn the_end_waits_for_consumers_and_then_for_the_grace_period() {
    let behind = Consumers::Behind(vec!["web-1".to_owned()]);
    let record = running(Some(0), None);
    let mut waits = seen(Some(&record), at(10));
    waits.consumers = Some(&behind);
    assert!(matches!(
        next(&waits),
        Next::Wait {
            why: Why::Consumers(_),
            ..
        }
    ));
    waits.consumers = Some(&Consumers::Undelivered);
    assert!(matches!(
        next(&waits),
        Next::Wait {
            why: Why::Consumers(_),
            ..
        }
    ));
    waits.consumers = Some(&Consumers::Delivered);
    assert_eq!(next(&waits), Next::Delivered);
    waits.consumers = Some(&Consumers::UpToDate);
    assert_eq!(next(&waits), Next::End { stalled: false });
    waits.finish.grace = SignedDuration::from_secs(60);
    assert_eq!(next(&waits), Next::Loaded);
    let record = running(Some(0), Some(10));
    let mut graceful = seen(Some(&record), at(69));
    graceful.finish.grace = SignedDuration::from_secs(60);
    assert!(matches!(
        next(&graceful),
        Next::Wait {
            why: Why::Grace,
            ..
        }
    ));
    graceful.now = at(70);
    assert_eq!(next(&graceful), Next::End { stalled: false });
}

#[test]
fn pods_that_never_get_it_stall_the_end_only_where_the_value_before_still_works() {
    let behind = Consumers::Behind(vec!["web-1".to_owned()]);
    let record = running(Some(0), None);
    let mut late = seen(Some(&record), at(3600));
    late.consumers = Some(&behind);
    assert_eq!(next(&late), Next::End { stalled: true });
    late.finish.overlaps = true;
    assert!(matches!(next(&late), Next::Stalled { .. }));
    late.finish.waits = false;
    assert_eq!(next(&late), Next::End { stalled: false });
}

#[test]
fn what_was_before_is_retired_when_nobody_needs_it_and_not_while_a_restore_is_suspected() {
    let retire = Next::Retire(IDS[0].parse().unwrap());
    let record = running(Some(0), None);
    let mut ends = seen(Some(&record), at(10));
    ends.finish.retires = true;
    ends.consumers = Some(&Consumers::UpToDate);
    assert_eq!(next(&ends), Next::Loaded, "first it is written down");
    let record = running(Some(0), Some(10));
    ends.record = Some(&record);
    assert_eq!(next(&ends), retire);
    ends.finish.grace = SignedDuration::from_secs(60);
    assert!(matches!(
        next(&ends),
        Next::Wait {
            why: Why::Grace,
            ..
        }
    ));
    ends.now = at(70);
    assert_eq!(next(&ends), retire);
    ends.held = true;
    assert!(matches!(next(&ends), Next::Wait { why: Why::Held, .. }));
    // With a stalled rollout nothing is taken from anybody.
    let record = running(Some(0), None);
    let behind = Consumers::Behind(vec!["web-1".to_owned()]);
    let mut late = seen(Some(&record), at(3600));
    late.finish.retires = true;
    late.consumers = Some(&behind);
    assert_eq!(next(&late), Next::End { stalled: true });
    late.finish.overlaps = true;
    assert!(matches!(next(&late), Next::Stalled { .. }));
}

#[test]
fn where_code_makes_the_value_it_is_called_before_the_other_side_is_told() {
    let mut record = running(None, None);
    let mut made = seen(Some(&record), at(10));
    made.own_code = true;
    assert_eq!(next(&made), Next::Create(IDS[0].parse().unwrap()));
    made.cancelled = Some(IDS[0]);
    assert_eq!(next(&made), Next::Cancel);
    made.cancelled = None;
    made.held = true;
    assert!(matches!(next(&made), Next::Wait { why: Why::Held, .. }));
    record.running.as_mut().unwrap().created = Some(at(9));
    let mut told = seen(Some(&record), at(10));
    told.own_code = true;
    assert_eq!(next(&told), Next::Carry(IDS[0].parse().unwrap()));
}

/// A world of one secret: what is stored, and which passwords the other side takes. Versions are numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    current: usize,
    previous: Option<usize>,
    pending: Option<usize>,
    is_promoted: bool,
    is_cancelled: bool,
    adopted: bool,
    /// The password of each user there.
    accepted: [Option<usize>; 2],
    /// The one that the user takes beside it, where it takes two.
    beside: Option<usize>,
    /// Whether nobody needs the value before any more.
    is_loaded: bool,
    /// Versions made so far.
    made: usize,
}

/// How users are rotated in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Users {
    Single,
    /// One, who keeps the password before until it is retired.
    KeepsTwo,
    Alternating,
}

impl Users {
    fn of(self, version: usize) -> usize {
        match self {
            Self::Single | Self::KeepsTwo => 0,
            Self::Alternating => version % 2,
        }
    }
}

impl World {
    fn logs_in(&self, version: usize, users: Users) -> bool {
        self.accepted[users.of(version)] == Some(version) || self.beside == Some(version)
    }

    fn record(&self) -> Option<SecretRotation> {
        let mut record = SecretRotation::new(at(0));
        let version = self.pending.or(self.is_promoted.then_some(self.current));
        record.running = version.map(|version| Running {
            version: id(version),
            strategy: "postgres".to_owned(),
            begun: at(0),
            created: None,
            cancelled: self.is_cancelled.then_some(at(0)),
            promoted: self.is_promoted.then_some(at(0)),
            delivered: None,
            loaded: self.is_loaded.then_some(at(1)),
            refused: 0,
        });
        self.adopted.then_some(record)
    }

    /// What the other side makes of `SetSecret`: it is told by whoever logs in with what is stored.
    fn set(&self, pending: usize, users: Users) -> Option<Self> {
        let stored = [Some(pending), Some(self.current), self.previous];
        let knows = stored
            .into_iter()
            .flatten()
            .any(|version| self.logs_in(version, users));
        let mut told = self.clone();
        if users == Users::KeepsTwo && !self.logs_in(pending, users) {
            told.beside = Some(self.current);
        }
        if told.beside != Some(pending) {
            told.accepted[users.of(pending)] = Some(pending);
        }
        knows.then_some(told)
    }

    /// What the other side makes of going back: the user of the pending version has the password before it again.
    fn revert(&self, pending: usize, users: Users) -> Option<Self> {
        let before = match users {
            Users::Single | Users::KeepsTwo => Some(self.current),
            Users::Alternating => self.previous,
        };
        let Some(before) = before else {
            return Some(self.clone());
        };
        let knows = [pending, before]
            .into_iter()
            .any(|version| self.logs_in(version, users));
        let mut told = self.clone();
        told.accepted[users.of(pending)] = Some(before);
        told.beside = None;
        knows.then_some(told)
    }

    /// Every world that one look of the operator can lead to, killed at any point, with any answer of the other side lost; and,
    /// last of them, the one where nothing goes wrong.
    fn after_a_look(&self, users: Users, most: usize) -> Vec<Self> {
        let record = self.record();
        let behind = Consumers::Behind(vec!["pod".to_owned()]);
        let mut seen = seen(record.as_ref(), at(100));
        seen.asked = Some("again");
        seen.finish.overlaps = users != Users::Single;
        seen.finish.retires = users == Users::KeepsTwo;
        let mut worlds = vec![self.clone()];
        // Somebody may cancel at any time.
        let pending = self.pending.map(id);
        seen.cancelled = pending.as_ref().map(VersionId::as_str);
        worlds.extend(self.after(&next(&seen), users, most));
        seen.cancelled = None;
        // What pods do is nobody's to say.
        for consumers in [&Consumers::Undelivered, &behind, &Consumers::UpToDate] {
            seen.consumers = Some(consumers);
            worlds.extend(self.after(&next(&seen), users, most));
        }
        worlds
    }

    fn after(&self, next: &Next, users: Users, most: usize) -> Vec<Self> {
        match next {
            Next::Adopt => vec![Self {
                adopted: true,
                ..self.clone()
            }],
            // No further rotation than the explorer looks at.
            Next::Begin { .. } if self.made >= most => Vec::new(),
            Next::Begin { .. } => {
                assert!(self.pending.is_none() && !self.is_promoted);
                vec![self.with_pending(users)]
            }
            Next::Carry(version) => self.carried(version, users, most),
            Next::Cancel => vec![Self {
                is_cancelled: true,
                ..self.clone()
            }],
            Next::Revert(version) => self.reverted(version, users),
            Next::Loaded => vec![Self {
                is_loaded: true,
                ..self.clone()
            }],
            // Done, and killed, or the answer was lost; and ended.
            Next::Retire(version) => {
                assert_eq!(*version, id(self.current));
                let retired = Self {
                    accepted: [Some(self.current), None],
                    beside: None,
                    ..self.clone()
                };
                vec![retired.clone(), retired.ended()]
            }
            Next::End { .. } => vec![self.ended()],
            Next::Create(_) => panic!("nobody's own code has a say in it"),
            Next::Delivered | Next::Stalled { .. } | Next::Wait { .. } => Vec::new(),
        }
    }

    fn ended(&self) -> Self {
        Self {
            is_promoted: false,
            is_loaded: false,
            ..self.clone()
        }
    }

    /// Where two users take turns, a new value is always for the one that is not current.
    fn with_pending(&self, users: Users) -> Self {
        let is_same = |version| users.of(version) == users.of(self.current);
        let skips = users == Users::Alternating && is_same(self.made);
        let version = self.made + usize::from(skips);
        Self {
            pending: Some(version),
            made: version + 1,
            ..self.clone()
        }
    }

    fn reverted(&self, version: &VersionId, users: Users) -> Vec<Self> {
        let pending = self.pending.expect("what is cancelled is pending");
        assert_eq!(*version, id(pending));
        let Some(told) = self.revert(pending, users) else {
            panic!("nothing that is stored logs in: {self:?}");
        };
        // Done, and killed, or the answer was lost; and dropped.
        let dropped = Self {
            pending: None,
            is_cancelled: false,
            ..told.clone()
        };
        vec![told, dropped]
    }

    fn carried(&self, version: &VersionId, users: Users, most: usize) -> Vec<Self> {
        let pending = self.pending.expect("what is carried is pending");
        assert_eq!(*version, id(pending));
        let mut worlds = Vec::new();
        // Refused for what it is, before anything was changed: another one takes its place.
        if !self.logs_in(pending, users) && self.made < most {
            worlds.push(self.with_pending(users));
        }
        let Some(told) = self.set(pending, users) else {
            panic!("nothing that is stored logs in: {self:?}");
        };
        // Done, and killed, or the answer was lost.
        worlds.push(told.clone());
        // Tried, and promoted.
        assert!(told.logs_in(pending, users));
        worlds.push(Self {
            previous: Some(told.current),
            current: pending,
            pending: None,
            is_promoted: true,
            ..told
        });
        worlds
    }
}

/// Every state that can be reached, whatever is killed or lost when.
fn reachable(users: Users) -> BTreeSet<World> {
    let first = World {
        current: 0,
        previous: None,
        pending: None,
        is_promoted: false,
        is_cancelled: false,
        adopted: false,
        accepted: [Some(0), None],
        beside: None,
        is_loaded: false,
        made: 1,
    };
    let mut all = BTreeSet::from([first.clone()]);
    let mut waiting = VecDeque::from([first]);
    while let Some(world) = waiting.pop_front() {
        for after in world.after_a_look(users, 6) {
            if all.insert(after.clone()) {
                waiting.push_back(after);
            }
        }
    }
    all
}

#[test]
fn whatever_is_killed_when_a_stored_value_logs_in() {
    for users in [Users::Single, Users::KeepsTwo, Users::Alternating] {
        let all = reachable(users);
        assert!(all.len() > 20, "{} states", all.len());
        for world in &all {
            let stored = [Some(world.current), world.pending];
            let logs_in = |version: usize| world.logs_in(version, users);
            assert!(stored.into_iter().flatten().any(logs_in), "{world:?}");
            if world.pending.is_none() || users != Users::Single {
                assert!(world.logs_in(world.current, users), "{world:?}");
            }
            // As long as consumers are waited for, the value before works where that can be.
            let waited_for = world.is_promoted && !world.is_loaded && users != Users::Single;
            if let Some(previous) = world.previous.filter(|_| waited_for) {
                assert!(world.logs_in(previous, users), "{world:?}");
            }
            // Once a rotation has ended, only what is stored last logs in where it was retired.
            if users == Users::KeepsTwo && world.pending.is_none() && !world.is_promoted {
                assert_eq!(world.beside, None, "{world:?}");
            }
        }
    }
}

#[test]
fn from_wherever_it_was_killed_a_rotation_comes_to_its_end_by_itself() {
    for users in [Users::Single, Users::KeepsTwo, Users::Alternating] {
        for start in reachable(users) {
            let mut world = start.clone();
            // The last of the worlds is the one where nothing goes wrong; no new rotation is begun.
            for _ in 0..10 {
                let most = world.made;
                if let Some(after) = world.after_a_look(users, most).pop() {
                    world = after;
                }
            }
            assert!(
                world.adopted && world.pending.is_none() && !world.is_promoted,
                "{start:?} ended as {world:?}"
            );
            assert!(world.logs_in(world.current, users), "{start:?}");
        }
    }
}
