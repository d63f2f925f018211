//! A keyring with real keys, and a gate that denies what it is told to and keeps its lines.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::{
    Call, Caller, DecryptRequest, Decrypted, EncryptRequest, Encrypted, EncryptionAlgorithm, Gate,
    OperationError, Operations, Outcome, Refused, Unrecorded, Use,
};
use crate::api::KeyMaterial;
use crate::authorization::Subject;
use crate::crypto::EncryptionContext;
pub(super) use crate::keys::testing::id;
use crate::keys::testing::{made, reloaded, rotated};
use crate::keys::{Key, Keyring};
use crate::policy::{Action, Principal};

/// Keys, a gate and a caller.
pub(super) struct Bed {
    keyring: Arc<Keyring>,
    gate: Recorder,
    caller: Caller,
}

/// Allows everything but what it denies, and remembers.
#[derive(Default)]
pub(super) struct Recorder {
    denied: Mutex<BTreeSet<Action>>,
    lines: Mutex<Vec<String>>,
    contexts: Mutex<Vec<EncryptionContext>>,
    broken: Mutex<bool>,
}

impl Gate for Recorder {
    async fn admit(&self, asked: &Use<'_>) -> Result<String, Refused> {
        assert!(
            asked.key.is_some(),
            "only a key that is there is decided on"
        );
        self.contexts.lock().unwrap().push(asked.context.clone());
        let action = asked.action.expect("only keys are decided on");
        if self.denied.lock().unwrap().contains(&action) {
            let who = asked.call.caller.principal.name();
            return Err(Refused::Denied(format!("{who} may not {action}")));
        }
        Ok("allowed by the test".to_owned())
    }

    async fn record(&self, asked: &Use<'_>, outcome: Outcome<'_>) -> Result<(), Unrecorded> {
        if *self.broken.lock().unwrap() {
            return Err(Unrecorded);
        }
        let action = asked.action.map_or("GenerateRandom", Action::name);
        let outcome = outcome.map_or_else(OperationError::name, |_| "done");
        let line = format!("{action} {outcome}");
        self.lines.lock().unwrap().push(line);
        Ok(())
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            keyring: Arc::default(),
            gate: Recorder::default(),
            caller: Caller {
                principal: Principal::user("ann", [], None).unwrap(),
                subject: Subject::default(),
                via: None,
            },
        }
    }

    /// Puts in a new key of that number.
    pub(super) fn key(&self, number: u8, spec: &str, usage: &str) {
        self.keyring.insert(made(number, spec, usage));
    }

    /// Changes the truth about a key.
    pub(super) fn change(&self, number: u8, change: impl FnOnce(&mut KeyMaterial)) {
        let mut truth = self.get(number).truth.clone();
        change(&mut truth);
        self.keyring.insert(reloaded(truth));
    }

    pub(super) fn rotate(&self, number: u8) {
        let truth = self.get(number).truth.clone();
        self.keyring.insert(rotated(truth));
    }

    /// What the material of a key is.
    pub(super) fn kind(&self, number: u8) -> crate::crypto::KeyKind {
        self.get(number).kind().unwrap()
    }

    fn get(&self, number: u8) -> Arc<Key> {
        self.keyring.get(id(number)).unwrap()
    }

    pub(super) fn operations(&self) -> Operations<&Recorder> {
        Operations::new(self.keyring.clone(), &self.gate)
    }

    pub(super) fn call(&self) -> Call<'_> {
        Call {
            caller: &self.caller,
            request_id: "r-1",
            dry_run: false,
        }
    }

    pub(super) fn deny(&self, action: Action) {
        self.gate.denied.lock().unwrap().insert(action);
    }

    /// From now on no line can be written.
    pub(super) fn break_log(&self) {
        *self.gate.broken.lock().unwrap() = true;
    }

    /// What was written down.
    pub(super) fn lines(&self) -> Vec<String> {
        self.gate.lines.lock().unwrap().clone()
    }

    /// The contexts that the gate saw.
    pub(super) fn contexts(&self) -> Vec<EncryptionContext> {
        self.gate.contexts.lock().unwrap().clone()
    }

    pub(super) async fn encrypt(
        &self,
        key: u8,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Encrypted, OperationError> {
        let request = EncryptRequest {
            key: id(key),
            plaintext,
            context,
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        self.operations().encrypt(self.call(), request).await
    }

    pub(super) async fn decrypt(
        &self,
        ciphertext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Decrypted, OperationError> {
        let request = DecryptRequest {
            key: None,
            ciphertext,
            context,
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        self.operations().decrypt(self.call(), request).await
    }
}

/// The context of a team.
pub(super) fn context(team: &str) -> EncryptionContext {
    EncryptionContext::user([("team", team)]).unwrap()
}
