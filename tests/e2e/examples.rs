//! The examples, applied as their README says.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bed::{Bed, Namespace, SYSTEM, Turn, repository, text};
use crate::tools::{TIMEOUT, eventually};

const SHOP: &str = "shop";
/// The examples but for the namespace.
const IN_SHOP: [&str; 11] = [
    "key.yaml",
    "secret.yaml",
    "secret-plain.yaml",
    "import.yaml",
    "sharing.yaml",
    "generators.yaml",
    "authority.yaml",
    "rollout.yaml",
    "reading.yaml",
    "pod.yaml",
    "injected.yaml",
];

/// The examples in a folder, with an image that the cluster has.
struct Examples {
    folder: tempfile::TempDir,
}

impl Examples {
    fn for_bed(bed: &Bed) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in IN_SHOP.into_iter().chain(["namespace.yaml"]) {
            let yaml = fs::read_to_string(repository().join("examples").join(file)).unwrap();
            let yaml = yaml.replace(keystead_cluster::images::BUSYBOX, bed.target.busybox());
            fs::write(folder.path().join(file), yaml).unwrap();
        }
        Self { folder }
    }

    /// In two steps, since a namespace must be there before what is in it.
    fn apply(&self, bed: &Bed) {
        kubectl_on(
            bed,
            &["apply"],
            &[&self.folder.path().join("namespace.yaml")],
        );
        kubectl_on(bed, &["apply"], &[self.folder.path()]);
    }

    /// Case B11 (1): what was applied is what is there, defaults included.
    fn assert_nothing_to_change(&self, bed: &Bed) {
        let files = [
            "key.yaml",
            "secret.yaml",
            "secret-plain.yaml",
            "sharing.yaml",
            "generators.yaml",
            "authority.yaml",
            "rollout.yaml",
            "reading.yaml",
        ];
        let files = files.map(|file| self.folder.path().join(file));
        let files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
        kubectl_on(bed, &["diff"], &files);
    }

    /// Deletes everything but the namespace and waits until it is gone.
    fn delete(&self, bed: &Bed, cascade: &str) {
        let files = IN_SHOP.map(|file| self.folder.path().join(file));
        let files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
        let cascade = format!("--cascade={cascade}");
        kubectl_on(bed, &["delete", &cascade, TIMEOUT], &files);
        let gone = [
            "wait",
            "secret/orders-db",
            "secret/orders-api",
            "--for=delete",
        ];
        bed.tools
            .kubectl([&["-n", SHOP], &gone[..], &[TIMEOUT]].concat());
    }
}

#[track_caller]
fn kubectl_on(bed: &Bed, verb: &[&str], files: &[&Path]) {
    let mut args: Vec<String> = verb.iter().map(ToString::to_string).collect();
    for file in files {
        args.extend(["-f".to_owned(), file.display().to_string()]);
    }
    bed.tools.kubectl(args);
}

/// Also case B11 (1), and of case B45 the logs.
#[test]
fn the_examples_lead_to_a_pod_that_reads_the_generated_password() {
    let bed = Turn::take();
    let examples = Examples::for_bed(&bed);
    let _shop = Namespace::made_later(&bed, SHOP);
    examples.apply(&bed);
    bed.all_ready(SHOP);

    let grant = [
        "-n",
        SHOP,
        "wait",
        "keygrant",
        "--all",
        "--for=condition=Ready",
        TIMEOUT,
    ];
    bed.tools.kubectl(grant);

    examples.assert_nothing_to_change(&bed);

    let key = bed.get(SHOP, "managedkey/orders");
    assert_eq!(key["status"]["state"], "Enabled");
    // import.yaml names no key.
    let default = bed.get(SHOP, "managedkey/keystead-default");
    assert_eq!(default["status"]["state"], "Enabled");
    assert_eq!(bed.value(SHOP, "orders-db", "username"), "orders");
    assert_sealed(
        &bed,
        "orders-api",
        &["host", "password", "port", "token", "username"],
    );
    assert_sealed(&bed, "smtp", &["password", "username"]);
    let password = assert_pod_reads_it(&bed);
    assert_deployment_reads_what_is_sealed(&bed);

    // In etcd, the plain password is where it was asked for and nowhere else, and the log never has it.
    if let Some(keys) = bed.etcd_keys_containing(&password) {
        assert_eq!(keys, ["/registry/secrets/shop/orders-db"]);
    }
    assert!(!bed.logs().contains(&password));

    for cascade in ["background", "foreground"] {
        examples.delete(&bed, cascade);
        examples.apply(&bed);
        bed.all_ready(SHOP);
        assert_eq!(assert_pod_reads_it(&bed), password, "after {cascade}");
        assert_deployment_reads_what_is_sealed(&bed);
    }

    // The namespace goes at once, although its resources hold keys.
    bed.tools.kubectl(["delete", "namespace", SHOP, TIMEOUT]);
    examples.apply(&bed);
    assert_waits_for_approval(&bed);
    approve_all(&bed);
    bed.all_ready(SHOP);
    assert_eq!(assert_pod_reads_it(&bed), password, "in a new namespace");
    bed.tools.kubectl([
        "-n",
        SYSTEM,
        "annotate",
        "configmap/keystead-installation",
        "keystead.dev/approve-adoption-before-",
    ]);
}

/// A native Secret that holds envelopes for exactly these keys.
#[track_caller]
fn assert_sealed(bed: &Bed, name: &str, keys: &[&str]) {
    let secret = bed.get(SHOP, &format!("secret/{name}"));
    assert_eq!(secret["type"], "keystead.dev/sealed");
    let data = bed.data(SHOP, name);
    let sealed: Vec<_> = keys.iter().map(|key| format!("{key}.sealed")).collect();
    assert_eq!(data.keys().cloned().collect::<Vec<_>>(), sealed);
    for (key, value) in data {
        // Version 2 of the message format, with the committing algorithm suite.
        assert_eq!(value[..3], [0x02, 0x04, 0x78], "{name} {key}");
    }
}

/// The pod has the Secret's password, as a file and in its environment; returns it.
#[track_caller]
fn assert_pod_reads_it(bed: &Bed) -> String {
    let ready = "--for=condition=Ready";
    bed.tools
        .kubectl(["-n", SHOP, "wait", "pod/orders", ready, TIMEOUT]);
    let exec = |command: &[&str]| {
        bed.tools
            .kubectl([&["-n", SHOP, "exec", "orders", "--"], command].concat())
    };
    let password = bed.value(SHOP, "orders-db", "password");
    assert_eq!(password.chars().count(), 32);
    assert_eq!(exec(&["cat", "/secrets/password"]), password);
    let url = bed.value(SHOP, "orders-db", "DATABASE_URL");
    assert!(
        url.starts_with("postgres://orders:") && url.ends_with("@db.shop.svc:5432/orders"),
        "{url}"
    );
    assert_eq!(
        exec(&["sh", "-c", "echo \"$DATABASE_URL\""]).trim_end(),
        url
    );
    password
}

/// The Deployment has the sealed password as a file and in its environment.
#[track_caller]
fn assert_deployment_reads_what_is_sealed(bed: &Bed) {
    let rollout = ["rollout", "status", "deployment/orders-api", TIMEOUT];
    bed.tools.kubectl([&["-n", SHOP], &rollout[..]].concat());
    let compare = "[ ${#API_PASSWORD} = 32 ] && [ \"$API_PASSWORD\" = \"$(cat /etc/orders/password)\" ] \
                   && [ \"$API_PASSWORD\" = \"$ORDERS_password\" ]";
    let exec = [
        "exec",
        "deployment/orders-api",
        "-c",
        "api",
        "--",
        "sh",
        "-c",
        compare,
    ];
    bed.tools.kubectl([&["-n", SHOP], &exec[..]].concat());
}

/// A namespace of the same name is not the same namespace: what was its predecessor's needs an administrator.
#[track_caller]
fn assert_waits_for_approval(bed: &Bed) {
    for key in ["orders", "keystead-default"] {
        eventually("the key of the new namespace needs approval", || {
            let key = bed.get(SHOP, &format!("managedkey/{key}"));
            (reason(&key)? == "AdoptionNeedsApproval").then_some(())
        });
    }
    eventually("its secrets wait", || {
        let secret = bed.get(SHOP, "managedsecret/orders-db");
        (reason(&secret)? == "KeyPendingDeletion").then_some(())
    });
    let delivered = [
        "-n",
        SHOP,
        "get",
        "secret",
        "orders-db",
        "--ignore-not-found",
    ];
    assert_eq!(bed.tools.kubectl(delivered), "");
}

/// Why something is Ready or not.
fn reason(object: &Value) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
    Some(text(&ready["reason"]))
}

/// As docs/operations.md says: everything that was there before now.
fn approve_all(bed: &Bed) {
    // The instant has no fraction, and a namespace of the same second is not before it.
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    bed.tools.kubectl([
        "-n",
        SYSTEM,
        "annotate",
        "configmap/keystead-installation",
        &format!("keystead.dev/approve-adoption-before={now:.0}"),
    ]);
}
