//! Whether the process can do its work, and if not, what is missing.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The readiness of the process: ready when every component is. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Components>>);

type Components = BTreeMap<&'static str, State>;

/// How a component is.
enum State {
    Ready,
    /// And why not.
    NotReady(String),
    /// Found out whenever somebody asks: it may end without anything happening.
    Asked(Box<dyn Fn() -> Option<String> + Send + Sync>),
}

impl State {
    /// Why it is not ready, if it is not.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::NotReady(reason) => Some(reason.clone()),
            Self::Asked(check) => check(),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

/// One thing that must be there before the process can do its work. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Component {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// The readiness of a process that has no components yet, and therefore is not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A component of this name. One that is new is not ready: it is starting.
    pub fn component(&self, name: &'static str) -> Component {
        self.lock()
            .entry(name)
            .or_insert_with(|| State::NotReady("starting".to_owned()));
        Component {
            readiness: self.clone(),
            name,
        }
    }

    /// A component of this name that is asked each time why it is not ready; `None` if it is. For what can end without
    /// anything happening, such as proofs that get too old.
    pub fn asked(
        &self,
        name: &'static str,
        check: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) {
        self.set(name, State::Asked(Box::new(check)));
    }

    /// Whether every component is ready, and there is one.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_none()
    }

    /// What is missing, one line per component that is not ready, or `None` if nothing is.
    pub fn reasons(&self) -> Option<String> {
        let components = self.lock();
        if components.is_empty() {
            return Some("starting\n".to_owned());
        }
        let mut lines = String::new();
        for (name, state) in components.iter() {
            if let Some(reason) = state.reason() {
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "{name}: {reason}");
            }
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn set(&self, name: &'static str, state: State) {
        self.lock().insert(name, state);
    }

    fn lock(&self) -> MutexGuard<'_, Components> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// The component is there.
    pub fn ready(&self) {
        self.readiness.set(self.name, State::Ready);
    }

    /// The component is not there, and why. The reason is shown to whoever can reach the port, so
    /// it names things (a fingerprint, an object) and never holds their content.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let reason: String = reason.into();
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        self.readiness.set(self.name, State::NotReady(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_components_is_not_ready() {
        assert!(!Readiness::new().is_ready());
    }

    #[test]
    fn the_process_is_ready_when_every_component_is() {
        let readiness = Readiness::new();
        let keyring = readiness.component("keyring");
        let caches = readiness.component("caches");
        assert_eq!(
            readiness.reasons().unwrap(),
            "caches: starting\nkeyring: starting\n"
        );
        caches.ready();
        keyring.not_ready("root key 5f3a\nis missing");
        assert_eq!(
            readiness.reasons().unwrap(),
            "keyring: root key 5f3a is missing\n"
        );
        keyring.ready();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_component_that_is_asked_can_end_without_being_told() {
        let readiness = Readiness::new();
        let old = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = old.clone();
        readiness.asked("freshness", move || {
            seen.load(std::sync::atomic::Ordering::Relaxed)
                .then(|| "too old".to_owned())
        });
        assert!(readiness.is_ready());
        old.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(readiness.reasons().unwrap(), "freshness: too old\n");
    }

    #[test]
    fn a_second_handle_of_a_component_does_not_reset_it() {
        let readiness = Readiness::new();
        readiness.component("keyring").ready();
        let again = readiness.component("keyring");
        assert!(readiness.is_ready());
        again.not_ready("gone");
        assert!(!readiness.is_ready());
    }
}
