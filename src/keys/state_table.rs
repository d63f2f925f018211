//! What can be done with a key in which state: one table for every operation. Pure.
//!
//! ```text
//!                                     Enabled  Disabled  PendingImport  PendingDeletion  Unavailable  Creating
//! use, GetPublicKey                   ok       disabled  invalid        invalid          unavailable  invalid
//! CreateGrant, RotateKeyOnDemand      ok       disabled  invalid        invalid          unavailable  invalid
//! EnableKey, DisableKey               ok       ok        invalid        invalid          invalid      invalid
//! ScheduleKeyDeletion                 ok       ok        ok             invalid          ok           ok
//! CancelKeyDeletion                   invalid  invalid   invalid        ok               invalid      invalid
//! UpdateAlias, ImportKeyMaterial,
//! DeleteImportedKeyMaterial           ok       ok        ok             invalid          ok           ok
//! DescribeKey, PutKeyPolicy,
//! RetireGrant                         ok       ok        ok             ok               ok           ok
//! ```
//!
//! As AWS KMS has it (developer guide, "Key states of AWS KMS keys"), where a key whose deletion is due does not exist:
//! here it is one that is pending deletion. Whether somebody may ask at all is decided before. What is asked by a resource is not
//! refused by this table but planned for the state that the key is in; the rows are those of a call of the API.

use crate::api::KeyState;
use crate::policy::Action;

/// Why a state refuses an action, by the name that AWS KMS has for the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateRefusal {
    /// `DisabledException`.
    #[error("the key is disabled: set spec.enabled")]
    Disabled,
    /// `KMSInvalidStateException`.
    #[error("{}", invalid(*.0))]
    Invalid(KeyState),
    /// `KeyUnavailableException`: trying again later may help.
    #[error("the material of the key is not there, or cannot be opened: see the key's condition")]
    Unavailable,
}

impl StateRefusal {
    /// The name of the error in AWS KMS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DisabledException",
            Self::Invalid(_) => "KMSInvalidStateException",
            Self::Unavailable => "KeyUnavailableException",
        }
    }
}

fn invalid(state: KeyState) -> &'static str {
    match state {
        KeyState::PendingDeletion | KeyState::DestructionDue => {
            "the key is pending deletion: take spec.deletion out to cancel"
        }
        KeyState::PendingImport => "the key waits for its material: import it",
        KeyState::Creating => "the key is being made",
        KeyState::Unavailable => "the material of the key is not there, or cannot be opened",
        // What only CancelKeyDeletion meets.
        KeyState::Enabled | KeyState::Disabled => "the key is not pending deletion",
    }
}

/// Actions that the table does not tell apart.
#[derive(Clone, Copy)]
enum Group {
    /// Needs the material, or gives the right to it.
    Use,
    /// Changes `spec.enabled`.
    Switch,
    Schedule,
    Cancel,
    Point,
    Always,
}

fn group(action: Action) -> Group {
    match action {
        Action::Encrypt
        | Action::Decrypt
        | Action::GenerateDataKey
        | Action::GenerateDataKeyWithoutPlaintext
        | Action::GenerateDataKeyPair
        | Action::GenerateDataKeyPairWithoutPlaintext
        | Action::ReEncryptFrom
        | Action::ReEncryptTo
        | Action::Sign
        | Action::Verify
        | Action::GetPublicKey
        | Action::GenerateMac
        | Action::VerifyMac
        | Action::DeriveSharedSecret
        | Action::CreateGrant
        | Action::RotateKeyOnDemand => Group::Use,
        Action::EnableKey | Action::DisableKey => Group::Switch,
        Action::ScheduleKeyDeletion => Group::Schedule,
        Action::CancelKeyDeletion => Group::Cancel,
        Action::UpdateAlias | Action::ImportKeyMaterial | Action::DeleteImportedKeyMaterial => {
            Group::Point
        }
        Action::DescribeKey | Action::PutKeyPolicy | Action::RetireGrant => Group::Always,
    }
}

/// Whether a key in that state lets `action` be done.
///
/// # Errors
/// The state refuses it, with the error that AWS KMS would give.
pub fn permitted(state: KeyState, action: Action) -> Result<(), StateRefusal> {
    use KeyState::{
        Creating, DestructionDue, Disabled, Enabled, PendingDeletion, PendingImport, Unavailable,
    };
    match (group(action), state) {
        (Group::Always, _)
        | (Group::Use, Enabled)
        | (Group::Switch, Enabled | Disabled)
        | (
            Group::Schedule | Group::Point,
            Enabled | Disabled | PendingImport | Unavailable | Creating,
        )
        | (Group::Cancel, PendingDeletion | DestructionDue) => Ok(()),
        (Group::Use, Disabled) => Err(StateRefusal::Disabled),
        (Group::Use, Unavailable) => Err(StateRefusal::Unavailable),
        (Group::Use, PendingImport | PendingDeletion | DestructionDue | Creating)
        | (
            Group::Switch,
            PendingImport | PendingDeletion | DestructionDue | Unavailable | Creating,
        )
        | (Group::Schedule | Group::Point, PendingDeletion | DestructionDue)
        | (Group::Cancel, Enabled | Disabled | PendingImport | Unavailable | Creating) => {
            Err(StateRefusal::Invalid(state))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns of the rows below.
    const STATES: [KeyState; 7] = [
        KeyState::Enabled,
        KeyState::Disabled,
        KeyState::PendingImport,
        KeyState::PendingDeletion,
        KeyState::DestructionDue,
        KeyState::Unavailable,
        KeyState::Creating,
    ];

    const USE: &str = "ok Disabled KMSInvalidState KMSInvalidState KMSInvalidState KeyUnavailable KMSInvalidState";
    const SWITCH: &str =
        "ok ok KMSInvalidState KMSInvalidState KMSInvalidState KMSInvalidState KMSInvalidState";
    const UNLESS_DELETED: &str = "ok ok ok KMSInvalidState KMSInvalidState ok ok";
    const CANCEL: &str =
        "KMSInvalidState KMSInvalidState KMSInvalidState ok ok KMSInvalidState KMSInvalidState";
    const ALWAYS: &str = "ok ok ok ok ok ok ok";

    const ROWS: [(Action, &str); 26] = [
        (Action::Encrypt, USE),
        (Action::Decrypt, USE),
        (Action::GenerateDataKey, USE),
        (Action::GenerateDataKeyWithoutPlaintext, USE),
        (Action::GenerateDataKeyPair, USE),
        (Action::GenerateDataKeyPairWithoutPlaintext, USE),
        (Action::ReEncryptFrom, USE),
        (Action::ReEncryptTo, USE),
        (Action::Sign, USE),
        (Action::Verify, USE),
        (Action::GetPublicKey, USE),
        (Action::GenerateMac, USE),
        (Action::VerifyMac, USE),
        (Action::DeriveSharedSecret, USE),
        (Action::DescribeKey, ALWAYS),
        (Action::CreateGrant, USE),
        (Action::RetireGrant, ALWAYS),
        (Action::PutKeyPolicy, ALWAYS),
        (Action::EnableKey, SWITCH),
        (Action::DisableKey, SWITCH),
        (Action::ScheduleKeyDeletion, UNLESS_DELETED),
        (Action::CancelKeyDeletion, CANCEL),
        (Action::RotateKeyOnDemand, USE),
        (Action::ImportKeyMaterial, UNLESS_DELETED),
        (Action::DeleteImportedKeyMaterial, UNLESS_DELETED),
        (Action::UpdateAlias, UNLESS_DELETED),
    ];

    #[test]
    fn every_action_has_its_row() {
        let named: Vec<_> = ROWS.iter().map(|(action, _)| *action).collect();
        assert_eq!(named, Action::ALL);
    }

    #[test]
    fn each_state_permits_and_refuses_as_the_table_says() {
        for (action, row) in ROWS {
            let expected: Vec<_> = row.split(' ').collect();
            assert_eq!(expected.len(), STATES.len());
            for (state, expected) in STATES.into_iter().zip(expected) {
                let got = permitted(state, action).map_err(StateRefusal::name);
                let got = got.map_or_else(|name| name.trim_end_matches("Exception"), |()| "ok");
                assert_eq!(got, expected, "{action} in {state:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = permitted(KeyState::PendingImport, Action::Encrypt).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the key waits for its material: import it"
        );
        let refused = permitted(KeyState::Enabled, Action::CancelKeyDeletion).unwrap_err();
        assert_eq!(refused.to_string(), "the key is not pending deletion");
    }
}
