//! How much of what is stored needs each key, kept up to date by the watch of the truth: to be shown. What decides about a key's
//! end counts anew.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tokio::time::sleep;

use super::context::Context;
use super::inventory::{Change, Inventory};
use crate::api::ManagedKey;
use crate::crypto::KeyId;
use crate::truth::{KeyInUse, Materials, all_needs};

/// How long changes are gathered before keys are looked at for them: a thousand secrets that are applied at once are one change.
const GATHER: Duration = Duration::from_secs(10);

/// The count. Truth that does not say what it needs is not in it.
#[derive(Default)]
pub struct Census {
    stock: Mutex<Stock>,
    /// How many secrets each look at a key was told.
    told: Mutex<HashMap<KeyId, Option<u32>>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Stock {
    /// By the name of the truth.
    needs: HashMap<Box<str>, Arc<Materials>>,
    /// Each of them once: most secrets of a namespace need the same.
    each: HashSet<Arc<Materials>>,
    in_use: HashMap<KeyId, KeyInUse>,
    /// Whether there was a complete list.
    is_complete: bool,
}

/// What one watch of the truth tells the census.
#[derive(Default)]
pub(crate) struct Counting(Inventory<Arc<Materials>>);

impl Counting {
    /// Takes note of an event.
    pub(crate) fn follow(&mut self, event: &Event<PartialObjectMeta<Secret>>, census: &Census) {
        let read = |truth: &PartialObjectMeta<Secret>| {
            let needs = all_needs(&truth.metadata)?;
            Some(census.stock().once(needs))
        };
        match self.0.follow(event, read) {
            None => return,
            Some(Change::All(listed)) => *census.stock() = Stock::new(listed),
            Some(Change::One(name, need)) => census.stock().set(&name, need),
        }
        census.changed.send_replace(());
    }
}

impl Census {
    /// How much needs that key; `None` before everything was listed once.
    pub(crate) fn of(&self, key: KeyId) -> Option<KeyInUse> {
        let in_use = self.stock().of(key);
        let told = in_use.as_ref().map(|in_use| in_use.secrets);
        self.told().insert(key, told);
        in_use
    }

    /// Whether there is no truth of that name, as far as the watch knows: what does not say what it needs is not known of.
    pub(crate) fn lacks(&self, truth: &str) -> bool {
        let stock = self.stock();
        stock.is_complete && !stock.needs.contains_key(truth)
    }

    /// Keys of which something else was told than what is true now. Those that are not `known` are forgotten.
    fn misinformed(&self, known: impl Fn(KeyId) -> bool) -> Vec<KeyId> {
        let (mut told, stock) = (self.told(), self.stock());
        told.retain(|key, _| known(*key));
        let is_untrue = |key| stock.of(key).map(|in_use| in_use.secrets);
        let untrue = told.iter().filter(|(key, told)| is_untrue(**key) != **told);
        untrue.map(|(key, _)| *key).collect()
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, HashMap<KeyId, Option<u32>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that more or less needs than their status may say.
pub(super) fn news(
    ctx: &Arc<Context>,
) -> impl Stream<Item = ObjectRef<ManagedKey>> + Send + use<> + 'static {
    let changed = ctx.census.changed.subscribe();
    stream::unfold((ctx.clone(), changed), |(ctx, mut changed)| async move {
        changed.changed().await.ok()?;
        sleep(GATHER).await;
        let known = |key| ctx.keyring.get(key).is_some();
        let keys = ctx.census.misinformed(known).into_iter();
        let named = keys.filter_map(|key| {
            let truth = &ctx.keyring.get(key)?.truth;
            Some(ObjectRef::new(&truth.spec.name).within(&truth.spec.namespace))
        });
        let named: Vec<_> = named.collect();
        Some((stream::iter(named), (ctx, changed)))
    })
    .flatten()
}

impl Stock {
    fn of(&self, key: KeyId) -> Option<KeyInUse> {
        let in_use = self.in_use.get(&key).cloned().unwrap_or_default();
        self.is_complete.then_some(in_use)
    }

    fn new(listed: HashMap<String, Arc<Materials>>) -> Self {
        let mut stock = Self {
            is_complete: true,
            ..Self::default()
        };
        for (name, need) in listed {
            stock.each.insert(need.clone());
            stock.set(&name, Some(need));
        }
        stock
    }

    /// The same, kept once however many need it.
    fn once(&mut self, needs: Materials) -> Arc<Materials> {
        if let Some(known) = self.each.get(&needs) {
            return known.clone();
        }
        let new = Arc::new(needs);
        self.each.insert(new.clone());
        new
    }

    fn set(&mut self, name: &str, need: Option<Arc<Materials>>) {
        let before = match &need {
            Some(need) => self.needs.insert(name.into(), need.clone()),
            None => self.needs.remove(name),
        };
        // Added before the other is taken away, so that nothing that stays is removed and put in again.
        for (key, materials) in need.iter().flat_map(|need| need.iter()) {
            self.in_use.entry(*key).or_default().add(materials);
        }
        let Some(before) = before else { return };
        for (key, materials) in before.iter() {
            let Some(in_use) = self.in_use.get_mut(key) else {
                continue;
            };
            in_use.take_away(materials);
            if in_use.secrets == 0 {
                self.in_use.remove(key);
            }
        }
        drop(need);
        // Ours and that of the collection: no truth needs that any more.
        if Arc::strong_count(&before) == 2 {
            self.each.remove(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::{ANNOTATION_ENTRY_MATERIALS, ANNOTATION_MATERIALS, LABEL_KEY_ID};

    const KEYS: [&str; 2] = [
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    ];

    /// The truth of a secret that needs that key, and that generation of it.
    fn truth(name: &str, key: usize, material: u8) -> PartialObjectMeta<Secret> {
        let mut truth = PartialObjectMeta::default();
        let entry = |key: &str, value: String| Some([(key.to_owned(), value)].into());
        truth.metadata.name = Some(name.to_owned());
        truth.metadata.labels = entry(LABEL_KEY_ID, KEYS[key].to_owned());
        truth.metadata.annotations = entry(ANNOTATION_MATERIALS, format!("{material:032}"));
        truth
    }

    /// How many secrets need each key, and each generation of the first one.
    fn told(census: &Census) -> Option<([u32; 2], Vec<u32>)> {
        let [first, second] = KEYS.map(|key| census.of(key.parse().unwrap()));
        let materials = first.as_ref()?.materials.values().copied().collect();
        Some(([first?.secrets, second?.secrets], materials))
    }

    #[test]
    fn what_needs_a_key_is_known_once_everything_was_listed_and_then_followed() {
        let (census, mut counting) = (Census::default(), Counting::default());
        let mut follow = |events: Vec<Event<PartialObjectMeta<Secret>>>| {
            for event in &events {
                counting.follow(event, &census);
            }
            told(&census)
        };
        let begun = vec![Event::Init, Event::InitApply(truth("a", 0, 1))];
        assert_eq!(follow(begun), None);
        let listed = follow(vec![Event::InitApply(truth("b", 0, 2)), Event::InitDone]);
        assert_eq!(listed, Some(([2, 0], vec![1, 1])));
        // Encrypted anew, and again as it was.
        let renewed = vec![
            Event::Apply(truth("a", 0, 2)),
            Event::Apply(truth("a", 0, 2)),
        ];
        assert_eq!(follow(renewed), Some(([2, 0], vec![2])));
        let moved = follow(vec![Event::Apply(truth("b", 1, 3))]);
        assert_eq!(moved, Some(([1, 1], vec![1])));
        let gone = follow(vec![
            Event::Delete(truth("b", 1, 3)),
            Event::Delete(truth("x", 1, 3)),
        ]);
        assert_eq!(gone, Some(([1, 0], vec![1])));
        // What was deleted while the watch was cut is not in the next list.
        let anew = vec![
            Event::Init,
            Event::InitApply(truth("c", 1, 3)),
            Event::InitDone,
        ];
        assert_eq!(follow(anew), Some(([0, 1], vec![])));
        // Only the second key was told something else in between.
        assert_eq!(census.misinformed(|_| true), []);
        counting.follow(&Event::Apply(truth("d", 1, 3)), &census);
        assert_eq!(census.misinformed(|_| true), [KEYS[1].parse().unwrap()]);
        assert_eq!(census.misinformed(|_| false), []);
        assert_eq!(census.misinformed(|_| true), [], "forgotten");
    }

    #[test]
    fn entries_of_a_secret_under_another_key_count_for_that_key_too() {
        let (census, mut counting) = (Census::default(), Counting::default());
        for event in [Event::Init, Event::InitDone] {
            counting.follow(&event, &census);
        }
        let mut entries = truth("a", 0, 1);
        let also = format!("{}/{:032},{}/{:032},nonsense", KEYS[1], 3, KEYS[0], 2);
        let annotations = entries.metadata.annotations.as_mut().unwrap();
        annotations.insert(ANNOTATION_ENTRY_MATERIALS.to_owned(), also);
        counting.follow(&Event::Apply(entries), &census);
        assert_eq!(told(&census), Some(([1, 1], vec![1, 1])));
        counting.follow(&Event::Apply(truth("a", 0, 1)), &census);
        assert_eq!(told(&census), Some(([1, 0], vec![1])));
    }

    #[test]
    fn truth_that_does_not_say_what_it_needs_is_not_counted() {
        let (census, mut counting) = (Census::default(), Counting::default());
        for event in [Event::Init, Event::InitDone] {
            counting.follow(&event, &census);
        }
        let unsaid = PartialObjectMeta::default();
        counting.follow(&Event::Apply(unsaid), &census);
        assert_eq!(told(&census), Some(([0, 0], vec![])));
    }
}
