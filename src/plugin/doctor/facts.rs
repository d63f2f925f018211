//! All that the doctor looks at. A right that is missing is a fact too.

use std::collections::BTreeSet;

use hyper::{Request, header::DATE};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};

use crate::api::names::{
    ANNOTATION_SCHEMA_HASH, CSI_DRIVER, GROUP, GUARD_ENABLED, INJECTION_ENABLED, LABEL_GUARD,
    LABEL_INJECTION, LEASE, PUBLIC, PUBLIC_NAMESPACE, ROOT_SECRET, SERVER_SERVICE, WEBHOOKS,
};
use crate::api::{KeyAlias, KeyGrant, KeyMaterial, ManagedKey, ManagedSecret, RotationSchedule};
use crate::calling::answered;
use crate::plugin::connection::Cluster;
use crate::plugin::exit::{Exit, Failure};
use crate::plugin::objects::{Kind, all};

/// Where the chart puts the operator if nobody says otherwise.
const USUAL_NAMESPACE: &str = "keystead-system";
/// The operator's `ServiceAccount`, whatever the release is called.
const ACCOUNT: &str = "keystead-controller";
/// What selects the operator's Deployments, whatever the release is called.
const DEPLOYMENTS: &str = "app.kubernetes.io/name=keystead";

/// What was seen of something.
#[derive(Clone, Debug)]
pub(super) enum Look<T> {
    /// This.
    Seen(T),
    /// Nothing: a right is missing, this one.
    NotAllowed(String),
    /// Nothing: the API server did not do it.
    Failed(String),
}

/// A right, and whether somebody has it.
#[derive(Clone, Debug)]
pub(super) struct Right {
    /// `create managedsecrets.keystead.dev`.
    pub(super) name: String,
    pub(super) held: bool,
}

/// Objects of the cluster, or of one namespace if no more may be seen.
#[derive(Clone, Debug)]
pub(super) struct Objects<K> {
    pub(super) items: Vec<K>,
    /// The namespace that was looked at, if not all were.
    pub(super) only: Option<String>,
}

/// All of it.
pub(super) struct Facts {
    /// This machine's time.
    pub(super) now: Timestamp,
    /// The API server's.
    pub(super) server_time: Look<Timestamp>,
    /// The operator's namespace.
    pub(super) operator: String,
    /// Name and hash of each definition of ours that the cluster has.
    pub(super) definitions: Look<Vec<(String, Option<String>)>>,
    pub(super) deployments: Look<Vec<Deployment>>,
    pub(super) lease: Look<Option<Lease>>,
    pub(super) webhooks: Look<Option<ValidatingWebhookConfiguration>>,
    /// How many endpoints of the server are ready.
    pub(super) endpoints: Look<usize>,
    /// Secrets that hold a root key.
    pub(super) root: Look<Vec<String>>,
    /// Whether something can deliver sealed values.
    pub(super) driver: Look<bool>,
    /// What injects, unless that is switched off.
    pub(super) injection: Look<Option<MutatingWebhookConfiguration>>,
    /// The namespaces that opted in to injection.
    pub(super) opted_in: Look<BTreeSet<String>>,
    pub(super) keys: Look<Objects<ManagedKey>>,
    pub(super) aliases: Look<Objects<KeyAlias>>,
    pub(super) grants: Look<Objects<KeyGrant>>,
    pub(super) secrets: Look<Objects<ManagedSecret>>,
    pub(super) schedules: Look<Objects<RotationSchedule>>,
    pub(super) materials: Look<Vec<KeyMaterial>>,
    pub(super) yours: Look<Vec<Right>>,
    pub(super) operators: Look<Vec<Right>>,
}

/// Looks at everything.
///
/// # Errors
/// The API server cannot be reached at all.
pub(super) async fn gather(cluster: &Cluster, operator: Option<&str>) -> Result<Facts, Failure> {
    let client = &cluster.client;
    let server_time = server_time(client).await?;
    let operator = match operator {
        Some(name) => name.to_owned(),
        None => operator_namespace(client).await,
    };
    let here = |client: &Client| client.clone();
    let deployments = Api::<Deployment>::namespaced(here(client), &operator);
    let leases = Api::<Lease>::namespaced(here(client), &operator);
    let materials = Api::<KeyMaterial>::namespaced(here(client), &operator);
    let webhooks = Api::<ValidatingWebhookConfiguration>::all(here(client));
    let injection = Api::<MutatingWebhookConfiguration>::all(here(client));
    Ok(Facts {
        now: Timestamp::now(),
        server_time,
        definitions: definitions(client).await,
        deployments: look(
            &format!("list on deployments in {operator}"),
            all(&deployments, Some(DEPLOYMENTS)),
        )
        .await,
        lease: look(
            &format!("get on leases in {operator}"),
            answered(leases.get_opt(LEASE)),
        )
        .await,
        webhooks: look(
            "get on validatingwebhookconfigurations",
            answered(webhooks.get_opt(WEBHOOKS)),
        )
        .await,
        endpoints: endpoints(client, &operator).await,
        root: root(client, &operator).await,
        driver: driver(client).await,
        injection: look(
            "get on mutatingwebhookconfigurations",
            answered(injection.get_opt(WEBHOOKS)),
        )
        .await,
        opted_in: opted_in(client).await,
        keys: objects(cluster).await,
        aliases: objects_of(cluster, "keyaliases").await,
        grants: objects(cluster).await,
        secrets: objects(cluster).await,
        schedules: objects_of(cluster, "rotationschedules").await,
        materials: look(
            &format!("list on keymaterials in {operator}"),
            all(&materials, None),
        )
        .await,
        yours: yours(cluster).await,
        operators: operators(cluster, &operator).await,
        operator,
    })
}

/// What a call gives, or which right it lacks.
async fn look<T>(right: &str, call: impl Future<Output = kube::Result<T>>) -> Look<T> {
    match call.await {
        Ok(seen) => Look::Seen(seen),
        Err(error) => {
            let failure = Failure::of_call(right, &error);
            match failure.exit {
                Exit::Forbidden => Look::NotAllowed(right.to_owned()),
                _ => Look::Failed(failure.message),
            }
        }
    }
}

/// What the API server takes for the time: the date of an answer. Also whether there is an answer at all.
async fn server_time(client: &Client) -> Result<Look<Timestamp>, Failure> {
    let request = Request::get("/version").body(Body::empty());
    let request = request.map_err(|_| Failure::error("the request could not be made"))?;
    let answer = answered(client.send(request)).await;
    let answer = answer.map_err(|error| Failure::of_call("ask the API server", &error))?;
    let date = answer.headers().get(DATE);
    let date = date.and_then(|date| date.to_str().ok());
    let time = date.and_then(|date| rfc2822::parse(date).ok());
    Ok(match time {
        Some(time) => Look::Seen(time.timestamp()),
        None => Look::Failed("the API server tells no date".to_owned()),
    })
}

/// The operator's namespace: by what it publishes, by its webhooks, by the guard's label, or where it usually is.
pub(in crate::plugin) async fn operator_namespace(client: &Client) -> String {
    let published: Api<ConfigMap> = Api::namespaced(client.clone(), PUBLIC_NAMESPACE);
    if let Ok(Some(map)) = answered(published.get_opt(PUBLIC)).await {
        let mut data = map.data.unwrap_or_default();
        if let Some(name) = data.remove("operatorNamespace") {
            return name;
        }
    }
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    if let Ok(Some(found)) = answered(webhooks.get_opt(WEBHOOKS)).await {
        let mut services = found.webhooks.into_iter().flatten();
        if let Some(service) = services.find_map(|webhook| webhook.client_config.service) {
            return service.namespace;
        }
    }
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let guarded = format!("{LABEL_GUARD}={GUARD_ENABLED}");
    match all(&namespaces, Some(&guarded)).await.as_deref() {
        Ok([one]) => one.name_any(),
        _ => USUAL_NAMESPACE.to_owned(),
    }
}

async fn definitions(client: &Client) -> Look<Vec<(String, Option<String>)>> {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let found = look("list on customresourcedefinitions", all(&api, None)).await;
    found.map(|found| {
        let ours = found
            .into_iter()
            .filter(|crd| crd.name_any().ends_with(&format!(".{GROUP}")));
        ours.map(|crd| {
            let hash = crd.annotations().get(ANNOTATION_SCHEMA_HASH).cloned();
            (crd.name_any(), hash)
        })
        .collect()
    })
}

async fn endpoints(client: &Client, operator: &str) -> Look<usize> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), operator);
    let selector = format!("kubernetes.io/service-name={SERVER_SERVICE}");
    let right = format!("list on endpointslices in {operator}");
    let found = look(&right, all(&api, Some(&selector))).await;
    found.map(|slices| {
        let endpoints = slices
            .into_iter()
            .flat_map(|slice| slice.endpoints.unwrap_or_default());
        let ready = |endpoint: &Endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|c| c.ready).unwrap_or(true)
        };
        endpoints.filter(ready).count()
    })
}

/// The names of Secrets that hold root keys; their content is not read.
async fn root(client: &Client, operator: &str) -> Look<Vec<String>> {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), operator);
    let found = look(&format!("list on secrets in {operator}"), all(&api, None)).await;
    found.map(|secrets| {
        let names = secrets.iter().map(ResourceExt::name_any);
        names
            .filter(|name| name == ROOT_SECRET || name.starts_with(&format!("{ROOT_SECRET}-")))
            .collect()
    })
}

async fn driver(client: &Client) -> Look<bool> {
    let api: Api<CSIDriver> = Api::all(client.clone());
    let found = look("get on csidrivers", answered(api.get_opt(CSI_DRIVER))).await;
    found.map(|driver| driver.is_some())
}

async fn opted_in(client: &Client) -> Look<BTreeSet<String>> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let selector = format!("{LABEL_INJECTION}={INJECTION_ENABLED}");
    let found = look("list on namespaces", all(&api, Some(&selector))).await;
    found.map(|namespaces| namespaces.iter().map(ResourceExt::name_any).collect())
}

async fn objects<K: Kind>(cluster: &Cluster) -> Look<Objects<K>> {
    objects_of(cluster, &K::plural(&())).await
}

/// The objects of a kind: of all namespaces, or of the command's own if that is all you may see.
async fn objects_of<K>(cluster: &Cluster, plural: &str) -> Look<Objects<K>>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let right = format!("list on {plural}");
    let everywhere: Api<K> = Api::all(cluster.client.clone());
    if let Ok(items) = all(&everywhere, None).await {
        return Look::Seen(Objects { items, only: None });
    }
    let here: Api<K> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let only = Some(cluster.namespace.clone());
    let found = look(&right, all(&here, None)).await;
    found.map(|items| Objects { items, only })
}

fn attributes(namespace: &str, (verb, group, resource): (&str, &str, &str)) -> ResourceAttributes {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (resource, None),
    };
    ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        ..ResourceAttributes::default()
    }
}

/// What people need who use secrets.
const YOURS: [(&str, &str, &str); 4] = [
    ("get", GROUP, "managedsecrets"),
    ("create", GROUP, "managedsecrets"),
    ("create", GROUP, "managedkeys/encrypt"),
    ("get", GROUP, "managedkeys"),
];

/// What the operator needs in a namespace that it serves.
const OPERATORS: [(&str, &str, &str); 6] = [
    ("get", "", "secrets"),
    ("patch", "", "secrets"),
    ("delete", "", "secrets"),
    ("list", GROUP, "managedsecrets"),
    ("patch", GROUP, "managedsecrets/status"),
    ("get", "", "namespaces"),
];

fn named((verb, group, resource): (&str, &str, &str)) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

async fn yours(cluster: &Cluster) -> Look<Vec<Right>> {
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let mut rights = Vec::new();
    for asked in YOURS {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes(&cluster.namespace, asked)),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let call = async { answered(api.create(&PostParams::default(), &review)).await };
        let answer = look("create on selfsubjectaccessreviews", call).await;
        rights.push(answer.map(|answer| right(asked, answer.status)));
    }
    Look::all(rights)
}

async fn operators(cluster: &Cluster, operator: &str) -> Look<Vec<Right>> {
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let mut rights = Vec::new();
    for asked in OPERATORS {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{operator}:{ACCOUNT}")),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{operator}"),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(attributes(&cluster.namespace, asked)),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let call = async { answered(api.create(&PostParams::default(), &review)).await };
        let answer = look("create on subjectaccessreviews", call).await;
        rights.push(answer.map(|answer| right(asked, answer.status)));
    }
    Look::all(rights)
}

fn right(asked: (&str, &str, &str), status: Option<SubjectAccessReviewStatus>) -> Right {
    Right {
        name: named(asked),
        held: status.is_some_and(|status| status.allowed),
    }
}

impl<T> Look<Vec<T>> {
    /// What was seen of each; or the first thing that was not seen, and why.
    fn all(looks: Vec<Look<T>>) -> Self {
        let mut all = Vec::new();
        for look in looks {
            match look {
                Look::Seen(seen) => all.push(seen),
                Look::NotAllowed(right) => return Self::NotAllowed(right),
                Look::Failed(why) => return Self::Failed(why),
            }
        }
        Self::Seen(all)
    }
}

impl<T> Look<T> {
    /// What was seen, turned into something else.
    pub(super) fn map<U>(self, turn: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Self::Seen(seen) => Look::Seen(turn(seen)),
            Self::NotAllowed(right) => Look::NotAllowed(right),
            Self::Failed(why) => Look::Failed(why),
        }
    }
}
