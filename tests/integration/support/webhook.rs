//! The API server's way to the webhooks of a server of this machine: there are no Services here.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::{Bed, Operator, eventually, key};

/// What of the API server asks the server.
const CONFIGURATIONS: [&str; 2] = [
    "validatingwebhookconfiguration/keystead-server",
    "mutatingwebhookconfiguration/keystead-server",
];

impl Bed {
    /// Starts a replica of the server and has its webhooks asked. A controller must run.
    pub(crate) async fn server(&self) -> Operator {
        let server = self.server_named("one").await;
        server.wait_ready().await;
        eventually("the API server trusts the authority", || async {
            self.trusted().await.len() == 1
        })
        .await;
        self.ask_webhooks_of(&server).await;
        let policy = "spec: {policy: {delegateToRBAC: true}}";
        let probe = key("default", "webhook-probe").replace("spec: {}", policy);
        eventually("a policy is stored", || async {
            let args = ["apply", "--dry-run=server", "-f", "-"];
            self.kubectl_with(&args, &probe).await.ok
        })
        .await;
        server
    }

    /// Points the API server at that one.
    pub(crate) async fn ask_webhooks_of(&self, server: &Operator) {
        eventually("the API server trusts the authority with pods", || async {
            let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
            let args = ["get", CONFIGURATIONS[1], "-o", path];
            let bundles = self.kubectl(&args).await.expect_ok();
            bundles.split_whitespace().count() == 2
        })
        .await;
        for configuration in CONFIGURATIONS {
            self.ask(configuration, server).await;
        }
    }

    async fn ask(&self, configuration: &str, server: &Operator) {
        let shown = self.kubectl(&["get", configuration, "-o", "json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown.expect_ok()).unwrap();
        let webhooks = shown["webhooks"].as_array().unwrap().iter().enumerate();
        let patches = webhooks.map(|(index, webhook)| {
            let config = &webhook["clientConfig"];
            let path = match (&config["service"]["path"], &config["url"]) {
                (serde_json::Value::String(path), _) => path.clone(),
                (_, url) => {
                    let url = url.as_str().unwrap().strip_prefix("https://").unwrap();
                    url[url.find('/').unwrap()..].to_owned()
                }
            };
            let url = format!("https://localhost:{}{path}", server.webhook_port());
            let value = json!({"url": url, "caBundle": config["caBundle"]});
            let path = format!("/webhooks/{index}/clientConfig");
            json!({"op": "replace", "path": path, "value": value})
        });
        let patch = json!(patches.collect::<Vec<_>>()).to_string();
        self.kubectl(&["patch", configuration, "--type=json", "-p", &patch])
            .await
            .expect_ok();
    }

    /// What the API server trusts.
    pub(crate) async fn trusted(&self) -> Vec<CertificateDer<'static>> {
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = all.get("keystead-server").await.unwrap().webhooks.unwrap();
        let bundle = webhooks[0].client_config.ca_bundle.clone();
        let bundle = bundle.map(|bundle| bundle.0).unwrap_or_default();
        CertificateDer::pem_slice_iter(&bundle)
            .collect::<Result<_, _>>()
            .unwrap()
    }
}
