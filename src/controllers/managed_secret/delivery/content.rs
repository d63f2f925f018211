//! What consumers get of a secret, and whether a native Secret can hold it.

use std::collections::BTreeMap;

use super::super::observe::Observed;
use super::super::spec::{form, user_context};
use super::super::step::{Refusal, context_refused, with_causes};
use super::target::sealed_context;
use crate::api::Reason;
use crate::api::managed_secret::Form;
use crate::api::names::SEALED_SUFFIX;
use crate::crypto::max_sealed_length;
use crate::secrets::{DeliveredError, SecretValue, delivered};

/// Most bytes of a Secret's data, as the API server checks it.
const MAX_SECRET_DATA: usize = 1_048_576;
/// Longest key of a sealed secret: its entry's name must fit.
const MAX_SEALED_KEY: usize = 253 - SEALED_SUFFIX.len();

/// What a consumer shall get: the value, or what the template makes of it.
pub(crate) fn render(seen: &Observed, value: &SecretValue) -> Result<SecretValue, Refusal> {
    let none = BTreeMap::new();
    let template = seen.secret.spec.template.as_ref();
    let template = template.map_or(&none, |template| &template.data);
    delivered(template, value).map_err(|error| {
        let reason = match error {
            DeliveredError::Template(_) => Reason::TemplateFailed,
            DeliveredError::TemplateValue(_) | DeliveredError::Value(_) => Reason::ValueTooLarge,
        };
        Refusal(reason, with_causes(&error))
    })
}

/// Refuses what the API server would refuse, before anything is written.
pub(super) fn check_size(seen: &Observed, content: &SecretValue) -> Result<(), Refusal> {
    if form(&seen.secret) != Form::Sealed {
        return Ok(());
    }
    if let Some(key) = content.keys().find(|key| key.len() > MAX_SEALED_KEY) {
        let message = format!(
            "key {}... is longer than {MAX_SEALED_KEY} characters, which leaves no room for {SEALED_SUFFIX} in a \
             target of form Sealed; shorten it, or use form Plain",
            &key[..32]
        );
        return Err(Refusal(Reason::InvalidSpec, message));
    }
    let user = user_context(&seen.secret).map_err(|error| context_refused(&error))?;
    let size = content.iter().try_fold(0, |size, (key, bytes)| {
        let context = sealed_context(&seen.secret, key, &user);
        let context = context.map_err(|error| context_refused(&error))?;
        Ok(size + max_sealed_length(bytes.len(), &context))
    })?;
    if size > MAX_SECRET_DATA {
        let message = format!(
            "sealed, the secret would have {size} bytes, more than the {MAX_SECRET_DATA} of a native Secret; use fewer \
             keys or a smaller encryption context"
        );
        return Err(Refusal(Reason::ValueTooLarge, message));
    }
    Ok(())
}
