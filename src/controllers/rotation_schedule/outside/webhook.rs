//! Calls of somebody's own code over HTTPS.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, ResourceExt};

use super::own_code::Call;
use super::values::other;
use crate::api::rotation_schedule::WebhookRotation;
use crate::api::{ManagedSecret, RotationStep};
use crate::controllers::context::Context;
use crate::controllers::error::{Error, call};
use crate::crypto::OsRandom;
use crate::rotation::address::Addresses;
use crate::rotation::rotator::Outcome;
use crate::rotation::webhook::sign::Signature;
use crate::rotation::webhook::{Endpoint, Event};
use crate::secrets::generate::uuid;

/// The key of the secret that calls are signed by.
const SIGNING_KEY: &str = "signingKey";
/// The variable in which kubelet tells the address of the API server.
const API_SERVER: &str = "KUBERNETES_SERVICE_HOST";

/// Where the code is.
pub(in crate::controllers::rotation_schedule) struct Receiver<'a> {
    rotation: &'a WebhookRotation,
    secret: &'a ManagedSecret,
    ctx: &'a Context,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        rotation: &'a WebhookRotation,
        secret: &'a ManagedSecret,
        ctx: &'a Context,
    ) -> Self {
        Self {
            rotation,
            secret,
            ctx,
        }
    }

    /// Calls it.
    pub(super) async fn call(&self, wanted: Call<'_>) -> Result<Outcome, Error> {
        let Self {
            rotation,
            secret,
            ctx,
        } = *self;
        let Ok(trusted) = STANDARD.decode(&rotation.ca_bundle) else {
            let problem = "webhook.caBundle must be certificates in PEM, in base64";
            return Ok(Outcome::Rejected(problem.to_owned()));
        };
        let refused = api_servers(ctx).await?;
        let endpoint = Endpoint::new(&rotation.url, &trusted, Addresses::NotLocal, refused);
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(problem) => return Ok(Outcome::Rejected(problem)),
        };
        let name = &rotation.signing_secret_ref.name;
        let key = match other(secret, name, ctx).await? {
            Ok(key) => key,
            Err(problem) => return Ok(Outcome::Rejected(problem)),
        };
        let body = self.body(wanted);
        let id = uuid(&mut OsRandom).map_err(|_| Error::Random)?;
        let key = key.get(SIGNING_KEY).unwrap_or_default();
        let signature = match Signature::of(key, id, ctx.now(), &body) {
            Ok(signature) => signature,
            Err(problem) => {
                let problem = format!("ManagedSecret {name}, key {SIGNING_KEY}: {problem}");
                return Ok(Outcome::Rejected(problem));
            }
        };
        ctx.check_leadership()?;
        Ok(endpoint.call(body, &signature).await)
    }

    fn body(&self, wanted: Call<'_>) -> Vec<u8> {
        let (namespace, name) = (
            self.secret.namespace().unwrap_or_default(),
            self.secret.name_any(),
        );
        let event = Event {
            secret_id: &self.ctx.installation.secret_arn(&namespace, &name),
            client_request_token: wanted.version.as_str(),
            step: in_aws(wanted.step),
            namespace: &namespace,
            name: &name,
            check: wanted.check.is_some(),
        };
        serde_json::to_vec(&event).expect("texts have a JSON form")
    }
}

/// What AWS calls a step.
fn in_aws(step: RotationStep) -> &'static str {
    match step {
        RotationStep::CreateSecret => "createSecret",
        RotationStep::SetSecret => "setSecret",
        RotationStep::TestSecret => "testSecret",
        RotationStep::FinishSecret => "finishSecret",
    }
}

/// The addresses of the API server: nobody who writes a schedule has the operator talk to it.
async fn api_servers(ctx: &Context) -> Result<Vec<IpAddr>, Error> {
    let slices: Api<EndpointSlice> = Api::namespaced(ctx.client.clone(), "default");
    let object = "EndpointSlice default/kubernetes";
    let found = call("get", object, slices.get_opt("kubernetes")).await?;
    let endpoints = found.into_iter().filter_map(|slice| slice.endpoints);
    let addresses = endpoints.flatten().flat_map(|endpoint| endpoint.addresses);
    let service = std::env::var(API_SERVER).ok();
    let all = addresses.chain(service);
    Ok(all.filter_map(|address| address.parse().ok()).collect())
}
