//! Lets the API server trust the server's authority: both kinds of configurations of webhooks name what they trust.

use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A configuration of webhooks.
pub(super) trait Webhooks:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug
{
    /// How each webhook is called, by the webhook's name.
    fn clients(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)>;
}

macro_rules! webhooks {
    ($($kind:ty),*) => {$(
        impl Webhooks for $kind {
            fn clients(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
                let webhooks = self.webhooks.iter().flatten();
                webhooks.map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            }
        }
    )*};
}

webhooks!(ValidatingWebhookConfiguration, MutatingWebhookConfiguration);

/// What makes all webhooks trust exactly `bundle`; `None` if they do.
pub(super) fn trusting(webhooks: &impl Webhooks, bundle: &[u8]) -> Option<Value> {
    let trusts = |given: Option<&ByteString>| given.is_some_and(|given| given.0 == bundle);
    let encoded = BASE64.encode(bundle);
    let distrusting: Vec<_> = webhooks
        .clients()
        .filter(|(_, client)| !trusts(client.ca_bundle.as_ref()))
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
        .collect();
    (!distrusting.is_empty()).then(|| json!({"webhooks": distrusting}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks(bundles: &[(&str, Option<&str>)]) -> Value {
        let webhook = |(name, bundle): &(&str, Option<&str>)| {
            json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                   "clientConfig": {"caBundle": bundle.map(|bundle| BASE64.encode(bundle))}})
        };
        json!({"webhooks": bundles.iter().map(webhook).collect::<Vec<_>>()})
    }

    fn patched<K: Webhooks>(bundles: &[(&str, Option<&str>)]) -> Vec<String> {
        let webhooks: K = serde_json::from_value(webhooks(bundles)).unwrap();
        let Some(patch) = trusting(&webhooks, b"new") else {
            return Vec::new();
        };
        let patched = patch["webhooks"].as_array().unwrap().iter();
        let named = patched.map(|webhook| {
            assert_eq!(webhook["clientConfig"]["caBundle"], BASE64.encode("new"));
            webhook["name"].as_str().unwrap().to_owned()
        });
        named.collect()
    }

    #[test]
    fn only_webhooks_that_do_not_trust_exactly_the_bundle_are_patched() {
        let some = [("a", Some("new")), ("b", Some("old")), ("c", None)];
        assert_eq!(patched::<ValidatingWebhookConfiguration>(&some), ["b", "c"]);
        assert_eq!(patched::<MutatingWebhookConfiguration>(&some), ["b", "c"]);
        assert!(patched::<MutatingWebhookConfiguration>(&some[..1]).is_empty());
        assert!(patched::<ValidatingWebhookConfiguration>(&[]).is_empty());
    }
}
