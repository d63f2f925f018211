//! `DescribeKey`.

use super::needs::Needs;
use super::{Asked, Call, Gate, OperationError, Operations};
use crate::crypto::{EncryptionContext, KeyId};
use crate::keys::Key;
use crate::policy::Action;

impl<G: Gate> Operations<G> {
    /// What `tell` says of a key, whatever its spec, usage and state.
    pub async fn describe<T>(
        &self,
        call: Call<'_>,
        key: KeyId,
        tell: impl FnOnce(&Key) -> T,
    ) -> Result<T, OperationError> {
        let none = EncryptionContext::empty();
        let asked = Asked {
            call,
            action: Action::DescribeKey,
            key,
            context: &none,
            named: true,
            needs: Needs::Nothing,
        };
        self.answer(asked, |key| Ok(tell(key))).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bed, id};
    use super::*;

    #[tokio::test]
    async fn a_key_is_described_in_any_state_to_who_may_and_each_time_is_written_down() {
        let bed = Bed::new();
        bed.key(1, "EccNistP256", "SignVerify");
        bed.change(1, |truth| truth.spec.enabled = false);
        let described = || async {
            let operations = bed.operations();
            let told = operations.describe(bed.call(), id(1), |key| key.id).await;
            told.map_err(|error| error.name())
        };
        assert_eq!(described().await, Ok(id(1)));
        bed.deny(Action::DescribeKey);
        assert_eq!(described().await, Err("AccessDeniedException"));
        assert_eq!(
            bed.lines(),
            ["DescribeKey done", "DescribeKey AccessDeniedException"]
        );
    }
}
