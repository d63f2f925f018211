//! The program `kubectl-keystead` as users run it: their kubeconfig, their rights, plain objects of the API.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::crypto::{
    EncryptionContext, InstallationId, Limits, OsRandom, Purpose, SealingKeys, SealingPrivateKey,
    open_sealed,
};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{Bed, Person, SYSTEM, eventually, key, plain};

const CANARY: &str = "C4N4RY-plugin";

/// What the program printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Standard output of a run that ends with that code. A failure says one line.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.lines().count() <= 1, "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.out
    }

    /// Standard error of a run that ends with that code.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        self.err
    }
}

/// The program, with pipes.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-keystead"));
    command
        .env_remove("POD_NAMESPACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn ended(mut command: Command, stdin: &str) -> Ended {
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // Beside reading what it prints: a program that prints while it reads would wait for us, and we for it.
    let input = async move {
        // A program that does not read its input closes the pipe; that is its right.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    };
    let ((), output) = tokio::join!(input, child.wait_with_output());
    let output = output.expect("the program ends");
    Ended {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it with that kubeconfig.
pub(crate) async fn with(
    kubeconfig: impl AsRef<std::ffi::OsStr>,
    args: &[&str],
    stdin: &str,
) -> Ended {
    let mut command = program();
    command.env("KUBECONFIG", kubeconfig).args(args);
    ended(command, stdin).await
}

impl Bed {
    /// Runs it as the administrator.
    pub(crate) async fn plugin(&self, args: &[&str]) -> Ended {
        with(self.cluster.kubeconfig(), args, "").await
    }

    /// The same in the namespace shop.
    async fn in_shop(&self, args: &[&str]) -> Ended {
        self.plugin(&[args, &["-n", "shop"]].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_grants_and_secrets_are_listed_described_and_changed() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&plain("shop", "db", Some("orders"), CANARY))
        .await;
    bed.wait_ready("shop", "db").await;

    lists(&bed).await;
    changes_of_keys(&bed).await;
    grants(&bed).await;
    versions(&bed).await;
    pods(&bed).await;
    values(&bed).await;
}

/// Tables, names and objects.
async fn lists(bed: &Bed) {
    let table = bed.in_shop(&["key", "list"]).await.expect(0);
    assert!(
        table.starts_with("NAME") && table.contains("orders"),
        "{table}"
    );
    assert!(table.contains("Enabled"), "{table}");
    let all = bed.plugin(&["secret", "list", "-A"]).await.expect(0);
    assert!(
        all.starts_with("NAMESPACE") && all.contains("shop"),
        "{all}"
    );
    let names = bed.in_shop(&["key", "list", "-o", "name"]).await.expect(0);
    assert!(names.contains("managedkey.keystead.dev/orders"), "{names}");
    let json = bed
        .in_shop(&["key", "describe", "orders", "-o", "json"])
        .await
        .expect(0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kind"], "ManagedKey");
    assert!(json["metadata"].get("managedFields").is_none());
    eventually("the secret is counted", || async {
        let text = bed.in_shop(&["key", "describe", "orders"]).await.expect(0);
        text.contains("ARN:") && text.contains("1 secrets")
    })
    .await;
}

/// What administrators do.
async fn changes_of_keys(bed: &Bed) {
    // A rotation, and only one.
    let told = bed
        .in_shop(&["key", "rotate", "orders", "--dry-run=client"])
        .await
        .expect(0);
    assert!(told.contains("keystead.dev/rotate"), "{told}");
    bed.in_shop(&["key", "rotate", "orders", "--dry-run=server"])
        .await
        .expect(0);
    bed.in_shop(&["key", "rotate", "orders"]).await.expect(0);
    eventually("the key has a second version", || async {
        let keys = bed.managed_keys("shop").await;
        let orders = keys
            .iter()
            .find(|k| k.metadata.name.as_deref() == Some("orders"));
        orders
            .and_then(|k| k.status.clone())
            .and_then(|s| s.current_version)
            == Some(2)
    })
    .await;

    let told = bed.in_shop(&["key", "disable", "orders"]).await.expect(0);
    assert_eq!(told, "managedkey.keystead.dev/orders disabled\n");
    let again = bed.in_shop(&["key", "disable", "orders"]).await.expect(0);
    assert_eq!(again, "managedkey.keystead.dev/orders unchanged\n");
    bed.in_shop(&["key", "enable", "orders"]).await.expect(0);
    bed.in_shop(&["key", "schedule-deletion", "orders", "--days", "9"])
        .await
        .expect(0);
    let key = bed
        .in_shop(&["key", "describe", "orders", "-o", "yaml"])
        .await
        .expect(0);
    assert!(key.contains("pendingWindowDays: 9"), "{key}");
    bed.in_shop(&["key", "cancel-deletion", "orders"])
        .await
        .expect(0);
    let short = bed
        .in_shop(&["key", "schedule-deletion", "orders", "--days", "3"])
        .await;
    assert!(short.code == 2 && short.err.contains("7..=30"), "{short:?}");
}

/// Rights for others.
async fn grants(bed: &Bed) {
    let create = [
        "grant",
        "create",
        "for-ann",
        "--key",
        "orders",
        "--grantee",
        "ann",
    ];
    let more = [
        "--operations",
        "Decrypt,Encrypt",
        "--ttl",
        "8h",
        "-n",
        "shop",
    ];
    bed.plugin(&[&create[..], &more].concat()).await.expect(0);
    let exists = bed.plugin(&[&create[..], &more].concat()).await.refused(5);
    assert!(exists.contains("AlreadyExists"), "{exists}");
    let table = bed.in_shop(&["grant", "list"]).await.expect(0);
    assert!(
        table.contains("Encrypt") && table.contains("ann"),
        "{table}"
    );
    bed.in_shop(&["grant", "delete", "for-ann"]).await.expect(0);
    let gone = bed
        .in_shop(&["grant", "describe", "for-ann"])
        .await
        .refused(3);
    assert!(gone.contains("there is none of that name"), "{gone}");
}

/// The way back is asked for by the id and the sequence that were seen.
async fn versions(bed: &Bed) {
    let versions = bed
        .in_shop(&["secret", "versions", "db", "-o", "json"])
        .await
        .expect(0);
    let versions: serde_json::Value = serde_json::from_str(&versions).unwrap();
    let id = versions["versions"][0]["id"].as_str().unwrap().to_owned();
    let told = bed
        .in_shop(&["secret", "rollback", "db", "--to", "Current"])
        .await
        .expect(0);
    assert!(told.contains("unchanged"), "{told}");
    bed.in_shop(&["secret", "rollback", "db"]).await.refused(3);
    assert!(
        bed.in_shop(&["secret", "describe", "db"])
            .await
            .expect(0)
            .contains(&id)
    );
}

/// The pods that get the secret, and what they have.
async fn pods(bed: &Bed) {
    let attributes =
        "{driver: secrets.keystead.dev, readOnly: true, volumeAttributes: {secret: db}}";
    bed.apply(&format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: default, namespace: shop}}}}\n---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: web-0, namespace: shop}}, \
         spec: {{containers: [{{name: app, image: app}}], volumes: [{{name: db, csi: {attributes}}}]}}}}"
    ))
    .await;
    let args = ["secret", "pods", "db", "--behind", "-o", "name"];
    assert_eq!(bed.in_shop(&args).await.expect(0), "pod/web-0\n");
    let none = bed.in_shop(&["secret", "pods", "sealed"]).await;
    none.refused(3);
}

/// Names and sizes; a value only when it is asked for; nothing of it on the way.
async fn values(bed: &Bed) {
    let delivered = bed.value("shop", "db", "password").await;
    let delivered = String::from_utf8(delivered).unwrap();
    let listed = bed.in_shop(&["secret", "get", "db"]).await.expect(0);
    assert!(
        listed.contains("password") && listed.contains("literal"),
        "{listed}"
    );
    assert!(!listed.contains(&delivered), "{listed}");
    for format in ["table", "json", "yaml"] {
        let args = ["secret", "describe", "db", "-n", "shop", "-o", format];
        let told = bed.plugin(&args).await.expect(0);
        assert!(!told.contains(&delivered), "{told}");
    }
    let args = ["secret", "get", "db", "--key", "password", "--reveal"];
    let value = bed
        .plugin(&[&args[..], &["-n", "shop"]].concat())
        .await
        .expect(0);
    assert_eq!(value, delivered);
    bed.apply_secret(
        "shop",
        "sealed",
        "{generate: [{key: password, password: {}}]}",
    )
    .await;
    bed.wait_ready("shop", "sealed").await;
    let no = bed
        .in_shop(&["secret", "get", "sealed", "--reveal"])
        .await
        .refused(1);
    assert!(no.contains("ciphertext only"), "{no}");
    assert!(
        bed.in_shop(&["secret", "get", "sealed"])
            .await
            .expect(0)
            .contains("password")
    );
    bed.in_shop(&["secret", "restore", "sealed"])
        .await
        .refused(5);
    let told = bed.in_shop(&["secret", "delete", "sealed"]).await.expect(0);
    assert!(told.contains("its ciphertext waits"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_few_rights_is_told_which_one_is_missing() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    bed.namespace("shop").await;
    bed.policies_in_force().await;
    bed.apply(&key("shop", "orders")).await;
    bed.apply(&plain("shop", "db", None, "x")).await;
    bed.wait_ready("shop", "db").await;
    let ann = Person::new(&bed, "ann");
    let rules = "[{apiGroups: [keystead.dev], resources: [managedkeys, managedsecrets], verbs: [get, list, patch]}]";
    ann.grant("shop", "some", rules).await;
    ann.can(&["list", "managedsecrets", "-n", "shop"]).await;
    let run = |args: &'static [&'static str]| {
        let args = [args, &["-n", "shop", "--as", "ann"]].concat();
        let bed = &bed;
        async move { bed.plugin(&args).await }
    };
    assert!(run(&["secret", "list"]).await.expect(0).contains("db"));
    // The right to the Secret is her own, or she has none.
    let refused = run(&["secret", "get", "db", "--reveal"]).await.refused(4);
    assert!(refused.contains("secrets \"db\" is forbidden"), "{refused}");
    assert!(
        run(&["secret", "get", "db"])
            .await
            .expect(0)
            .contains("<unknown>")
    );
    // The cluster's policies speak in their own words.
    let refused = run(&["key", "disable", "orders"]).await.refused(4);
    assert!(refused.contains("update on managedkeys/state"), "{refused}");
    let refused = run(&["grant", "list"]).await.refused(4);
    assert!(refused.contains("ask for a Role"), "{refused}");
    // The doctor says what it may not look at, and goes on.
    let told = bed
        .plugin(&["doctor", "-n", "shop", "--as", "ann", "-v"])
        .await;
    assert!(told.code < 2, "{told:?}");
    for part in [
        "skipped   operator: skipped: needs list on deployments",
        "skipped   root key: skipped: needs list on secrets in",
        "skipped   waiting truth: skipped: needs list on keymaterials",
        "2 ManagedKeys are ready in shop (no more may be seen)",
    ] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let bed = Bed::start().await;
    bed.namespace("shop").await;
    // Nothing runs: the chart's Deployments have no pods on this control plane.
    let told = bed
        .plugin(&["doctor", "-n", "shop", "-o", "json"])
        .await
        .expect(2);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let level = |told: &serde_json::Value, check: &str| {
        let findings = told["findings"].as_array().unwrap().iter();
        let of = findings.filter(|f| f["check"] == check);
        of.map(|f| f["level"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(level(&told, "leader"), ["problem"], "{told}");
    assert_eq!(level(&told, "webhooks"), ["problem"], "{told}");
    assert_eq!(level(&told, "definitions"), ["ok"], "{told}");
    assert_eq!(level(&told, "operator's rights"), ["ok"], "{told}");
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    bed.apply_secret("shop", "db", "{generate: [{key: password, password: {}}]}")
        .await;
    bed.wait_ready("shop", "db").await;
    let told = bed.plugin(&["doctor", "-n", "shop", "-o", "json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    for (check, expected) in [
        ("clock", "ok"),
        ("leader", "ok"),
        ("webhooks", "ok"),
        ("root key", "warning"),
        ("secrets", "ok"),
        // The driver is there, and the namespace did not opt in.
        ("delivery", "warning"),
        ("injection", "ok"),
        ("waiting truth", "ok"),
    ] {
        assert_eq!(level(&told, check), [expected], "{check}: {told}");
    }
}

/// A kubeconfig whose user signs in by a program, as those of cloud providers do.
fn exec_kubeconfig(bed: &Bed, folder: &Path, token: &str) -> PathBuf {
    let helper = folder.join("sign-in.sh");
    let credential = format!(
        r#"{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{token}"}}}}"#
    );
    std::fs::write(
        &helper,
        format!("#!/bin/sh\ncat <<'END'\n{credential}\nEND\n"),
    )
    .unwrap();
    let text = std::fs::read_to_string(bed.cluster.kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    config["users"][0]["user"] = serde_json::json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
        "args": [helper.to_str().unwrap()], "interactiveMode": "Never"}});
    let file = folder.join("exec.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_cluster_is_the_kubeconfigs_own_and_no_other() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.apply(&key("shop", "orders")).await;
    let folder = bed.folder();
    // A second file with another context, which is the current one and leads nowhere.
    let nowhere = folder.join("nowhere.kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "nowhere",
        "clusters": [{"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
    });
    std::fs::write(&nowhere, config.to_string()).unwrap();
    let both = format!(
        "{}:{}",
        nowhere.display(),
        bed.cluster.kubeconfig().display()
    );
    let list = ["key", "list", "-n", "shop"];
    let failed = with(&both, &list, "").await.refused(6);
    assert!(failed.contains("cannot be reached"), "{failed}");
    let text = std::fs::read_to_string(bed.cluster.kubeconfig()).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let context = config["current-context"].as_str().unwrap();
    let chosen = with(&both, &[&list[..], &["--context", context]].concat(), "").await;
    assert!(chosen.expect(0).contains("orders"));
    let unknown = with(&both, &[&list[..], &["--context", "other"]].concat(), "").await;
    assert!(unknown.refused(2).contains("no context other"));
    let missing = bed
        .plugin(&["key", "list", "--kubeconfig", "/nowhere/at/all"])
        .await;
    assert!(missing.refused(2).contains("/nowhere/at/all"));
    // Somebody who signs in by a program: as a service account, whose token is short-lived.
    bed.kubectl(&["create", "serviceaccount", "robot", "-n", "shop"])
        .await
        .expect_ok();
    let binding = [
        "create",
        "rolebinding",
        "robot",
        "-n",
        "shop",
        "--clusterrole=keystead-view",
        "--serviceaccount=shop:robot",
    ];
    bed.kubectl(&binding).await.expect_ok();
    let token = bed
        .kubectl(&["create", "token", "robot", "-n", "shop"])
        .await
        .expect_ok();
    let exec = exec_kubeconfig(&bed, folder, token.trim());
    eventually("the robot may list keys", || async {
        with(&exec, &list, "").await.code == 0
    })
    .await;
    assert!(with(&exec, &list, "").await.expect(0).contains("orders"));
    let wrong = exec_kubeconfig(&bed, folder, CANARY);
    let refused = with(&wrong, &list, "").await.refused(6);
    assert!(
        refused.contains("does not know you") && !refused.contains(CANARY),
        "{refused}"
    );
    // Several groups, and impersonation in general.
    let args = [
        "--as",
        "ann",
        "--as-group",
        "system:masters",
        "--as-group",
        "b",
    ];
    bed.plugin(&[&list[..], &args].concat()).await.expect(0);
    // Nobody reads the output any more: quiet.
    let mut command = program();
    command
        .env("KUBECONFIG", bed.cluster.kubeconfig())
        .args(list);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let closed = ended(command, "").await;
    assert_eq!((closed.code, closed.err.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_templates_policies_and_logs_are_judged_and_no_value_is_shown() {
    let none = "/nowhere";
    let manifest = "{apiVersion: keystead.dev/v1alpha1, kind: ManagedSecret, metadata: {name: db}, \
                    spec: {template: {data: {URL: '[[ user ]]:[[ password ]]'}}}}";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let template = file("secret.yaml", manifest);
    let values = format!("{{\"user\": \"u\", \"password\": \"{CANARY}\"}}");
    let render = ["template", "render", "-f", &template, "--values-from", "-"];
    let masked = with(none, &render, &values).await.expect(0);
    assert!(
        masked.contains("URL") && !masked.contains(CANARY),
        "{masked}"
    );
    let shown = with(none, &[&render[..], &["--reveal"]].concat(), &values)
        .await
        .expect(0);
    assert!(shown.contains(&format!("u:{CANARY}")), "{shown}");
    // What is missing or broken is told without the rest.
    for (values, part) in [
        (format!("{{\"password\": \"{CANARY}\"}}"), "`URL`, line 1"),
        (format!("{{\"password\": \"{CANARY}\""), "-, line 1"),
        (format!("{{\"password\": [\"{CANARY}\"]}}"), "this is no"),
        (
            format!("kind: Secret\ndata: {{password: '{CANARY}!'}}"),
            "data.password",
        ),
    ] {
        let error = with(none, &render, &values).await.refused(2);
        assert!(error.contains(part) && !error.contains(CANARY), "{error}");
    }
    let policy = file(
        "key.yaml",
        "{apiVersion: keystead.dev/v1alpha1, kind: ManagedKey, metadata: {name: k, namespace: shop}, \
         spec: {policy: {delegateToRBAC: false, statements: [{effect: Allow, principals: {users: [ann]}, actions: ['*']}]}}}",
    );
    let check = ["policy", "check", "-f", &policy, "--author"];
    with(none, &[&check[..], &["ann"]].concat(), "")
        .await
        .expect(0);
    let locked = with(none, &[&check[..], &["bob"]].concat(), "").await;
    assert!(locked.expect(1).contains("could not change it"));
    let explain = [
        "policy", "explain", "-f", &policy, "--action", "Decrypt", "--as",
    ];
    with(none, &[&explain[..], &["ann"]].concat(), "")
        .await
        .expect(0);
    with(none, &[&explain[..], &["bob"]].concat(), "")
        .await
        .expect(1);
    let intact = with(none, &["audit", "verify", "-"], "").await;
    assert!(intact.expect(0).contains("intact"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = with(none, &["completion", shell], "").await.expect(0);
        assert!(script.contains("schedule-deletion"), "{shell}");
    }
    let failed = with(none, &["key", "list"], "").await.refused(2);
    assert!(failed.contains("/nowhere"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_sealed_for_git_offline_and_what_does_not_fit_its_place_has_a_code_of_its_own() {
    let none = "/nowhere";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let file = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let id = InstallationId::from_bytes([7; 16]);
    let [private, older] =
        [(); 2].map(|()| SealingPrivateKey::generate(id, &mut OsRandom).unwrap());
    let [active, retired] = [private.public(id), older.public(id)];
    let keys = file("keys.txt", &format!("{active}\n{retired}\n"));
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: db, namespace: shop, annotations: \
         {{kubectl.kubernetes.io/last-applied-configuration: '{CANARY}'}}}}, stringData: {{password: {CANARY}}}}}"
    );
    let seal = ["seal", "--public-key", &keys];
    let manifest = with(none, &seal, &secret).await.expect(0);
    assert!(!manifest.contains(CANARY), "{manifest}");
    let read: serde_json::Value = serde_saphyr::from_str(&manifest).unwrap();
    let entry = read["spec"]["sealed"]["password"].as_str().unwrap();
    let context = Purpose::Sealed {
        namespace: "shop",
        secret: "db",
        key: "password",
    };
    let context = context.context(&EncryptionContext::empty()).unwrap();
    let message = STANDARD.decode(entry).unwrap();
    let private = SealingKeys::new(id, vec![private]);
    let opened = open_sealed(&message, &context, &private, Limits::default()).unwrap();
    assert_eq!(opened.expose(), CANARY.as_bytes());
    // Into a file: one line more, and nothing else.
    let kept = "# ours\nkind: ManagedSecret\nmetadata: {name: db, namespace: shop} # here\nspec:\n  literals: {host: db}\n# end\n";
    let merged = file("merged.yaml", kept);
    let into = [&seal[..], &["--merge-into", &merged]].concat();
    with(none, &into, &secret).await.expect(0);
    let text = std::fs::read_to_string(&merged).unwrap();
    let without: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("sealed:") && !line.contains("password:"))
        .collect();
    assert_eq!(without, kept);
    // A value of a file, and only its entry.
    let value = file("value", CANARY);
    let from = format!("password={value}");
    let raw = ["--from-file", &from, "--raw", "-n", "shop", "--name", "db"];
    let raw = with(none, &[&seal[..], &raw].concat(), "").await.expect(0);
    assert!(STANDARD.decode(raw.trim()).is_ok(), "{raw}");
    let nameless = with(none, &[&seal[..], &["--from-file", &from]].concat(), "").await;
    assert!(nameless.refused(2).contains("give --namespace"));
    // Distinct answers for distinct mistakes.
    let other = SealingPrivateKey::generate(id, &mut OsRandom)
        .unwrap()
        .public(id);
    let others = file("others.txt", &other.to_string());
    judged(&manifest, entry, &keys, &others).await;
    // What is still under an older key.
    let old = file("old.txt", &format!("{retired}\n"));
    std::fs::create_dir(path("tree")).unwrap();
    file("tree/new.yaml", &manifest);
    let aged = with(none, &["seal", "--public-key", &old], &secret)
        .await
        .expect(0);
    let report = ["seal", "report", &path("tree"), "--public-key", &keys];
    with(none, &report, "").await.expect(0);
    file("tree/old.yaml", &aged);
    let told = with(none, &report, "").await.expect(1);
    assert!(
        told.contains("old.yaml") && told.contains("older sealing key"),
        "{told}"
    );
    let cut = file("cut.txt", &active.to_string()[..300]);
    let refused = with(none, &["seal", "--public-key", &cut], &secret)
        .await
        .refused(2);
    assert!(refused.contains("characters"), "{refused}");
}

/// What `--validate` says of an entry that was moved, renamed or altered.
async fn judged(manifest: &str, entry: &str, keys: &str, others: &str) {
    let changed = |from: &str, to: &str| manifest.replace(from, to);
    for (what, manifest, keys, code, part) in [
        ("as it was", manifest.to_owned(), keys, 0, "current"),
        (
            "renamed",
            changed("name: db", "name: pg"),
            keys,
            20,
            "secret db",
        ),
        (
            "another key",
            changed("password:", "token:"),
            keys,
            20,
            "key password",
        ),
        (
            "moved",
            changed("namespace: shop", "namespace: farm"),
            keys,
            21,
            "namespace shop",
        ),
        ("unknown key", manifest.to_owned(), others, 22, "not among"),
        (
            "altered",
            changed(&entry[..40], "AAAA"),
            keys,
            23,
            "altered",
        ),
    ] {
        let args = ["seal", "--validate", "--public-key", keys];
        let told = with("/nowhere", &args, &manifest).await.expect(code);
        assert!(told.contains(part), "{what}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installation_is_found_whatever_its_release_and_namespace_are_called() {
    let bed = Bed::start().await;
    bed.helm(&["uninstall", "keystead", "-n", SYSTEM])
        .await
        .expect_ok();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/keystead");
    let args = [
        "install",
        "x",
        chart.to_str().unwrap(),
        "-n",
        "y",
        "--create-namespace",
    ];
    bed.helm(&args).await.expect_ok();
    let told = bed.plugin(&["doctor"]).await;
    assert!(told.out.contains("operator: Deployment y/"), "{told:?}");
    // The public key is one plain GET, for everybody who has signed in.
    let id = InstallationId::from_bytes([7; 16]);
    let key = SealingPrivateKey::generate(id, &mut OsRandom)
        .unwrap()
        .public(id);
    bed.apply(&format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: keystead, namespace: kube-public}}
data: {{keys: '{key}'}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: keystead-public, namespace: kube-public}}
rules: [{{apiGroups: [''], resources: [configmaps], resourceNames: [keystead], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: keystead-public, namespace: kube-public}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: keystead-public}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:authenticated'}}]
"
    ))
    .await;
    let fetch = ["seal", "fetch-key", "--as", "nobody"];
    eventually("everybody may read the public key", || async {
        bed.plugin(&fetch).await.code == 0
    })
    .await;
    assert_eq!(bed.plugin(&fetch).await.expect(0).trim(), key.to_string());
}

/// What the plugin asks of a secret, the operator does: an earlier version back, an end that can be undone, one that cannot, and a
/// replica that becomes a secret of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_secret_is_done() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    bed.namespace("reports").await;
    let spec = "{generate: [{key: password, password: {}}], target: {form: Plain}, shareWith: {namespaces: [reports]}}";
    bed.apply_secret("shop", "db", spec).await;
    bed.wait_ready("shop", "db").await;
    let first = bed.value("shop", "db", "password").await;

    let anew =
        serde_json::json!({"metadata": {"annotations": {"keystead.dev/regenerate": "once"}}});
    bed.patch("shop", "managedsecret/db", &anew).await;
    eventually("there is another value", || async {
        bed.versions("shop", "db").await.len() == 2
    })
    .await;
    bed.in_shop(&["secret", "rollback", "db"]).await.expect(0);
    bed.wait_value("shop", "db", "password", &first).await;

    // Deleted, and had back without its manifest.
    bed.in_shop(&["secret", "delete", "db"]).await.expect(0);
    bed.wait_parked("shop", "db", true).await;
    bed.in_shop(&["secret", "restore", "db"]).await.expect(0);
    bed.wait_ready("shop", "db").await;
    bed.apply_secret("shop", "db", spec).await;
    bed.wait_value("shop", "db", "password", &first).await;

    // A replica that stands by itself.
    let replica = "{replicaOf: {namespace: shop, name: db}, target: {form: Plain}}";
    bed.apply_secret("reports", "db", replica).await;
    bed.wait_ready("reports", "db").await;
    let versions = bed.versions("reports", "db").await;
    bed.plugin(&["secret", "promote", "db", "-n", "reports"])
        .await
        .expect(0);
    bed.wait_ready("reports", "db").await;
    assert_eq!(bed.versions("reports", "db").await, versions);

    // Gone for good.
    bed.in_shop(&["secret", "delete", "db", "--force"])
        .await
        .expect(0);
    let truth = keystead::truth::truth_name("shop", "db");
    eventually("its ciphertext is deleted", || async {
        bed.native(SYSTEM, &truth).await.is_none()
    })
    .await;
    assert_eq!(bed.value("reports", "db", "password").await, first);
}
