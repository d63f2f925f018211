//! The cluster that the pods of the corpus are created in.

use keystead::api::managed_secret::Undeliverable;
use keystead::inject::{Copier, EnvDelivery, Injected, KeyFacts, Referred, Refusal, Surroundings};

use k8s_openapi::api::core::v1::Pod;

/// The `ManagedSecrets` that are not Plain: the name of the native Secret, their own, and their keys.
const SEALED: [(&str, &str, Option<&[&str]>); 8] = [
    (
        "orders-db",
        "orders-db",
        Some(&["host", "password", "username"]),
    ),
    ("orders-cache", "orders-cache", Some(&["host", "url"])),
    ("orders-tls", "orders-tls", Some(&["tls.crt", "tls.key"])),
    ("legacy-db-credentials", "billing", Some(&["DB_PASSWORD"])),
    ("registry", "registry", Some(&[".dockerconfigjson"])),
    ("storage", "storage", Some(&["password", "username"])),
    ("session", "session", Some(&["cookie", "name", "salt"])),
    ("coming", "coming", None),
];

/// Why keys of `session` cannot be variables.
const UNDELIVERABLE: [(&str, Undeliverable); 2] = [
    ("cookie", Undeliverable::NotText),
    ("salt", Undeliverable::SingleQuote),
];

fn lookup(name: &str) -> Option<Referred> {
    if name == "squatted" {
        return Some(Referred {
            secret: name.to_owned(),
            keys: Some(Vec::new()),
            taken: Some("Helm made it".to_owned()),
        });
    }
    let (_, secret, keys) = SEALED.iter().find(|(native, ..)| *native == name)?;
    let facts = |key: &&str| KeyFacts {
        name: (*key).to_owned(),
        undeliverable: (*secret == "session")
            .then(|| UNDELIVERABLE.iter().find(|(name, _)| name == key))
            .flatten()
            .map(|(_, reason)| *reason),
    };
    Some(Referred {
        secret: (*secret).to_owned(),
        keys: keys.map(|keys| keys.iter().map(facts).collect()),
        taken: None,
    })
}

/// A cluster whose oldest kubelet is of that version.
pub(crate) struct Cluster {
    env: EnvDelivery,
    copier: Copier,
}

impl Cluster {
    pub(crate) fn new(old_kubelet: Option<&str>) -> Self {
        let why = |version| format!("node n1 runs kubelet {version}");
        Self {
            env: old_kubelet.map_or(EnvDelivery::Possible, |version| EnvDelivery::Impossible {
                why: why(version),
            }),
            copier: Copier {
                image: "registry.example/keystead:0.1.0".to_owned(),
                pull_policy: Some("IfNotPresent".to_owned()),
            },
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            namespace: "shop",
            lookup: &lookup,
            env: self.env.clone(),
            copier: &self.copier,
        }
    }

    pub(crate) fn inject(&self, pod: &Pod) -> Result<Injected, Refusal> {
        keystead::inject::inject(pod, &self.surroundings())
    }

    pub(crate) fn leftover(&self, pod: &Pod) -> Option<Refusal> {
        keystead::inject::leftover(pod, &self.surroundings())
    }
}
