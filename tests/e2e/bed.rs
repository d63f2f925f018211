//! One cluster with Keystead installed, on which the tests take turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use crate::target::{Target, setting};
use crate::tools::{PATIENCE, TIMEOUT, Tools, eventually};

/// The operator's namespace.
pub(crate) const SYSTEM: &str = "keystead-system";
/// The name that the release has at the beginning of every test.
pub(crate) const RELEASE: &str = "keystead";
/// What selects the controller's pods.
pub(crate) const PODS: &str =
    "app.kubernetes.io/name=keystead,app.kubernetes.io/component=controller";

const PARTS: [&str; 3] = [
    "deployment/keystead-controller",
    "deployment/keystead-server",
    "daemonset/keystead-node",
];

/// The bed of the tests that run or wait. It ends with the last of them; a static handle would never be dropped.
static SHARED: Mutex<Weak<Bed>> = Mutex::new(Weak::new());
/// Held by the test that runs, and until the bed it used is gone if it was the last.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster with Keystead installed.
pub(crate) struct Bed {
    pub(crate) tools: Tools,
    pub(crate) image: String,
    pub(crate) target: Target,
}

/// A test's time on the bed.
pub(crate) struct Turn {
    bed: Arc<Bed>,
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits until no other test runs.
    pub(crate) fn take() -> Self {
        let bed = Bed::shared();
        Self {
            bed,
            _turn: lock(&TURN),
        }
    }
}

impl std::ops::Deref for Turn {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.bed.print_diagnosis();
        }
    }
}

/// A test that failed is no reason for the next one not to run.
fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bed {
    fn shared() -> Arc<Self> {
        let mut shared = lock(&SHARED);
        if let Some(bed) = shared.upgrade() {
            return bed;
        }
        // Until an earlier cluster is gone: two of them do not fit on one machine.
        let _turn = lock(&TURN);
        let bed = Arc::new(Self::start());
        *shared = Arc::downgrade(&bed);
        bed
    }

    fn start() -> Self {
        let image = setting("KEYSTEAD_IMAGE");
        let started = Instant::now();
        let target = Target::from_environment();
        let bed = Self {
            tools: Tools::new(target.kubeconfig()),
            image,
            target,
        };
        let present = bed.tools.kubectl(["get", "namespace,crd", "-o", "name"]);
        let ours = |line: &&str| line.ends_with(".keystead.dev") || line.ends_with(SYSTEM);
        let found = present.lines().find(ours);
        assert_eq!(found, None, "Keystead is installed in this cluster already");
        println!("the cluster is there after {:?}", started.elapsed());
        bed.tools.kubectl(["create", "namespace", SYSTEM]);
        // The node plugin mounts, for which it needs privileges; nothing else there does.
        let privileged = "pod-security.kubernetes.io/enforce=privileged";
        bed.tools
            .kubectl(["label", "namespace", SYSTEM, privileged]);
        bed.install(RELEASE);
        println!("Keystead is there after {:?}", started.elapsed());
        bed
    }

    /// `helm install` under that name, and waits for all replicas.
    pub(crate) fn install(&self, release: &str) {
        self.helm_with_chart("install", release);
        self.rolled_out();
    }

    /// `helm install` or `helm upgrade`, always with the same values.
    pub(crate) fn helm_with_chart(&self, verb: &str, release: &str) -> String {
        let chart = repository().join("charts/keystead");
        let (name, tag) = self.image.rsplit_once(':').expect("the image has a tag");
        self.tools.helm([
            verb,
            release,
            &chart.to_string_lossy(),
            "--namespace",
            SYSTEM,
            "--set",
            &format!("image.repository={name}"),
            "--set-string",
            &format!("image.tag={tag}"),
            "--set",
            &format!("node.kubeletRoot={}", self.target.kubelet_root().display()),
        ])
    }

    /// Waits until all parts are as they should be.
    pub(crate) fn rolled_out(&self) {
        for part in PARTS {
            self.tools
                .kubectl(["-n", SYSTEM, "rollout", "status", part, TIMEOUT]);
        }
    }

    /// Replaces the pods.
    pub(crate) fn restart(&self) {
        for part in PARTS {
            self.tools
                .kubectl(["-n", SYSTEM, "rollout", "restart", part]);
        }
        self.rolled_out();
    }

    /// Ends all pods of a component at once, without a warning.
    pub(crate) fn kill_pods(&self, component: &str) {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        let force = ["--force", "--grace-period=0"];
        let delete = ["-n", SYSTEM, "delete", "pods", &selector];
        self.tools.kubectl([&delete[..], &force[..]].concat());
    }

    /// `kubectl apply -f -`.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) {
        self.tools.kubectl_with(["apply", "-f", "-"], yaml);
    }

    /// Waits as a user does until everything in a namespace is Ready.
    #[track_caller]
    pub(crate) fn all_ready(&self, namespace: &str) {
        // A secret that names no key is ready only when the key that is made for it is there.
        for kind in ["managedsecrets", "managedkeys"] {
            let ready = "--for=condition=Ready";
            self.tools
                .kubectl(["-n", namespace, "wait", kind, "--all", ready, TIMEOUT]);
        }
    }

    /// An object as the API server has it.
    #[track_caller]
    pub(crate) fn get(&self, namespace: &str, what: &str) -> Value {
        let json = self
            .tools
            .kubectl(["-n", namespace, "get", what, "-o", "json"]);
        serde_json::from_str(&json).expect("kubectl prints JSON")
    }

    /// The values of a native Secret.
    #[track_caller]
    pub(crate) fn data(&self, namespace: &str, secret: &str) -> BTreeMap<String, Vec<u8>> {
        let secret = self.get(namespace, &format!("secret/{secret}"));
        let data = secret["data"].as_object().expect("the Secret has data");
        data.iter()
            .map(|(key, value)| {
                let value = value.as_str().expect("values are strings");
                (
                    key.clone(),
                    BASE64.decode(value).expect("values are base64"),
                )
            })
            .collect()
    }

    /// One value of a native Secret, as text.
    #[track_caller]
    pub(crate) fn value(&self, namespace: &str, secret: &str, key: &str) -> String {
        let value = self.data(namespace, secret).remove(key);
        let value = value.unwrap_or_else(|| panic!("Secret {namespace}/{secret} has no {key}"));
        String::from_utf8(value).expect("the value is text")
    }

    /// Name and UID of the operator's pods that are not on their way out.
    pub(crate) fn operator_pods(&self) -> BTreeMap<String, String> {
        let json = self
            .tools
            .kubectl(["-n", SYSTEM, "get", "pods", "-l", PODS, "-o", "json"]);
        let pods: Value = serde_json::from_str(&json).expect("kubectl prints JSON");
        let pods = pods["items"].as_array().expect("a list");
        pods.iter()
            .map(|pod| &pod["metadata"])
            .filter(|meta| meta["deletionTimestamp"].is_null())
            .map(|meta| (text(&meta["name"]), text(&meta["uid"])))
            .collect()
    }

    /// Waits until one of the operator's pods leads; its name.
    pub(crate) fn leader(&self) -> String {
        eventually("one of the pods leads", || {
            let lease = self.get(SYSTEM, "lease/keystead-controller");
            let holder = lease["spec"]["holderIdentity"].as_str()?.to_owned();
            self.operator_pods().contains_key(&holder).then_some(holder)
        })
    }

    /// Everything that the operator has logged and kubelet still has.
    pub(crate) fn logs(&self) -> String {
        let selector = format!("--selector={PODS}");
        self.tools
            .kubectl(["-n", SYSTEM, "logs", &selector, "--tail=-1"])
    }

    /// The keys of etcd in which a text is. `None`, with a reason printed, where etcd cannot be read.
    pub(crate) fn etcd_keys_containing(&self, text: &str) -> Option<Vec<String>> {
        let keys = self.target.keys_containing(text);
        if keys.is_none() {
            println!("NOT CHECKED: what etcd holds, since this cluster's etcd is not ours to read");
        }
        keys
    }

    /// What helps most when a test fails.
    fn print_diagnosis(&self) {
        let commands: [&[&str]; 4] = [
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "managedkeys,managedsecrets", "-A"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                SYSTEM,
                "logs",
                "--selector",
                PODS,
                "--prefix",
                "--tail=40",
            ],
        ];
        for command in commands {
            let printed = self.tools.try_kubectl(command);
            eprintln!("--- kubectl {}", command.join(" "));
            eprintln!("{}", printed.unwrap_or_else(|error| error));
        }
    }

    /// Removes everything from a cluster that goes on after the tests.
    fn leave(&self) {
        let kinds = "managedkeys,keyaliases,keygrants,managedsecrets,rotationschedules";
        let policies = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        let definitions = [
            "managedkeys",
            "keyaliases",
            "keygrants",
            "managedsecrets",
            "rotationschedules",
            "keymaterials",
        ];
        let definitions = definitions.map(|name| format!("crd/{name}.keystead.dev"));
        let guard = "keystead.dev/guard-";
        let namespace = format!("namespace/{SYSTEM}");
        let [first, second, third, fourth, fifth, sixth] = &definitions;
        let commands: [&[&str]; 5] = [
            &["delete", kinds, "-A", "--all"],
            &[
                "label", &namespace, first, second, third, fourth, fifth, sixth, guard,
            ],
            &[
                "delete",
                policies,
                "keystead-guard",
                "keystead-guard-removal",
            ],
            &["delete", &namespace],
            &["delete", first, second, third, fourth, fifth, sixth],
        ];
        self.tools
            .helm(["uninstall", RELEASE, "-n", SYSTEM, "--wait"]);
        for command in commands {
            if let Err(error) = self.tools.try_kubectl(command) {
                eprintln!("left in the cluster: {error}");
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Our own node goes as a whole.
        if matches!(self.target, Target::Foreign { .. }) {
            self.leave();
        }
    }
}

/// A namespace that goes with the test.
pub(crate) struct Namespace<'a> {
    bed: &'a Bed,
    name: &'static str,
}

impl<'a> Namespace<'a> {
    pub(crate) fn create(bed: &'a Bed, name: &'static str) -> Self {
        bed.tools.kubectl(["create", "namespace", name]);
        Self::made_later(bed, name)
    }

    /// One that the test itself makes.
    pub(crate) fn made_later(bed: &'a Bed, name: &'static str) -> Self {
        Self { bed, name }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let deleted = self.bed.tools.try_kubectl([
            "delete",
            "namespace",
            self.name,
            "--ignore-not-found",
            TIMEOUT,
        ]);
        if !std::thread::panicking() {
            assert!(deleted.is_ok(), "{deleted:?} within {PATIENCE:?}");
        }
    }
}

/// Where the chart and the examples are.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A field that must be text.
#[track_caller]
pub(crate) fn text(field: &Value) -> String {
    field.as_str().expect("the field is text").to_owned()
}
