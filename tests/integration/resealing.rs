//! Entries that are sealed anew, and the private keys outside of the cluster.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keystead::api::KeyMaterial;
use keystead::crypto::{InstallationId, OsRandom, SealingKeys, SealingPrivateKey};
use keystead::sealing::export;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::plugin::{Ended, ended, program, with};
use crate::support::{Bed, SYSTEM, eventually};

const CANARY: &str = "C4N4RY-resealed";

/// Runs `keystead sealing ...` with the operator's rights, as `kubectl exec` into its pod does.
async fn sealing(bed: &Bed, args: &[&str], stdin: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keystead"));
    command
        .args(["sealing", "--operator-namespace", SYSTEM])
        .args(args)
        .env("KUBECONFIG", controllers_kubeconfig(bed).await)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    ended(command, stdin).await
}

async fn controllers_kubeconfig(bed: &Bed) -> PathBuf {
    let kubeconfig = bed
        .cluster
        .kubeconfig_for_service_account(SYSTEM, "keystead-controller")
        .await;
    kubeconfig.unwrap()
}

/// Writes a file that only its owner reads.
fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A Secret that is sealed, as a file for Git with comments.
async fn sealed(name: &str, keys: &str) -> String {
    let secret = format!(
        "{{kind: Secret, metadata: {{name: {name}, namespace: shop}}, stringData: {{password: {CANARY}-{name}}}}}"
    );
    let manifest = with("/nowhere", &["seal", "--public-key", keys], &secret).await;
    let manifest = manifest.expect(0);
    manifest.replace(
        "  sealed:",
        "  # for Git\n  target: {form: Plain} # delivered\n  sealed:",
    )
}

/// The entry of the only key of such a file.
fn entry(text: &str) -> String {
    let manifest: Value = serde_saphyr::from_str(text).unwrap();
    let entry = manifest["spec"]["sealed"]["password"].as_str();
    entry.unwrap().to_owned()
}

impl Bed {
    async fn public_keys(&self) -> Vec<String> {
        let found = self.plugin(&["seal", "fetch-key"]).await;
        found.out.lines().map(str::to_owned).collect()
    }

    /// Has another sealing key made, and waits until it is published.
    async fn rotate_the_sealing_key(&self) {
        let materials: Api<KeyMaterial> = Api::namespaced(self.client.clone(), SYSTEM);
        let all = materials.list(&ListParams::default()).await.unwrap();
        let sealing = all.items.iter().find(|m| m.spec.internal.is_some());
        let sealing = sealing.unwrap().metadata.name.clone().unwrap();
        let token = json!({"metadata": {"annotations": {"keystead.dev/rotate": "once"}}});
        self.patch(SYSTEM, &format!("keymaterial/{sealing}"), &token)
            .await;
        eventually("another key is published", || async {
            self.public_keys().await.len() == 2
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_sealed_anew_after_a_rotation_and_nothing_but_the_entries_changes() {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    bed.namespace("shop").await;
    eventually("the first key is published", || async {
        bed.public_keys().await.len() == 1
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let old = write(&path("old.pub"), &bed.public_keys().await[0]);
    std::fs::create_dir(path("tree")).unwrap();
    let (db, app) = (sealed("db", &old).await, sealed("app", &old).await);
    let both = write(&path("tree/both.yaml"), &format!("{db}---\n{app}"));
    bed.apply(&format!("{db}---\n{app}")).await;
    bed.wait_ready("shop", "db").await;
    bed.wait_ready("shop", "app").await;
    let versions = bed.versions("shop", "db").await;
    let delivered = bed.state_of("shop", "db").await;

    bed.rotate_the_sealing_key().await;
    let tree = path("tree").to_str().unwrap().to_owned();
    let report = bed.plugin(&["seal", "report", &tree]).await.expect(1);
    assert_eq!(report.matches("older sealing key").count(), 2, "{report}");

    let keys = exported(&bed, &path("sealing.keys")).await;
    let before = std::fs::read_to_string(&both).unwrap();
    let reseal = ["seal", "reseal", &tree, "--private-key", &keys];
    let dry = [&reseal[..], &["--dry-run"]].concat();
    let told = bed.plugin(&dry).await.expect(0);
    assert_eq!(told.matches("would be sealed anew").count(), 2, "{told}");
    assert_eq!(std::fs::read_to_string(&both).unwrap(), before);
    let told = bed.plugin(&reseal).await.expect(0);
    assert_eq!(told.matches(" sealed anew").count(), 2, "{told}");
    bed.plugin(&["seal", "report", &tree]).await.expect(0);
    let after = std::fs::read_to_string(&both).unwrap();
    let (new_db, new_app) = after.split_once("---\n").unwrap();
    assert_ne!(entry(new_db), entry(&db));
    let back = new_db.replace(&entry(new_db), &entry(&db));
    assert_eq!(back, db, "nothing but the entry has changed");
    assert_eq!(new_app.replace(&entry(new_app), &entry(&app)), app);

    // The operator takes the new entries, and their values are those that it has.
    bed.apply(&after).await;
    let taken = || async {
        let secret = bed.managed("shop", "db").await;
        let generation = secret.metadata.generation;
        let entry_is_new = secret.spec.sealed["password"] == entry(new_db);
        let observed = secret.status.and_then(|status| status.observed_generation);
        entry_is_new && observed == generation
    };
    eventually("the new entry is taken", taken).await;
    bed.wait_ready("shop", "db").await;
    assert_eq!(bed.versions("shop", "db").await, versions);
    assert_eq!(bed.state_of("shop", "db").await, delivered);
    let value = bed.value("shop", "db", "password").await;
    assert_eq!(value, format!("{CANARY}-db").as_bytes());

    by_the_operator(&bed, folder.path(), &db).await;
}

/// Exports the private keys into a file that only its owner reads.
async fn exported(bed: &Bed, path: &Path) -> String {
    let exported = sealing(bed, &["export"], "").await;
    assert!(exported.err.contains("open every value"), "{exported:?}");
    assert_eq!(exported.out.matches("\nkey ").count(), 2);
    let keys = write(path, &exported.expect(0));
    let events = bed.events(SYSTEM, "keystead-installation", "SealingKeysExported");
    assert_eq!(events.await, 1);
    keys
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// The same by the operator's own keys. There is no kubelet here, so a program in the place of kubectl runs what it would have run
/// in the pod.
async fn by_the_operator(bed: &Bed, folder: &Path, db: &str) {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let (asked, kubectl) = (folder.join("asked"), bin.join("kubectl"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {}\nKUBECONFIG={} exec {} sealing --operator-namespace {SYSTEM} reseal\n",
        asked.display(),
        controllers_kubeconfig(bed).await.display(),
        env!("CARGO_BIN_EXE_keystead"),
    );
    executable(&kubectl, &script);
    let failing = folder.join("failing");
    std::fs::create_dir(&failing).unwrap();
    executable(&failing.join("kubectl"), "#!/bin/sh\nexit 1\n");
    let [good, bad] = ["good.yaml", "bad.yaml"].map(|name| folder.join(name));
    std::fs::write(&good, db).unwrap();
    std::fs::write(&bad, db.replace("name: db", "name: pg")).unwrap();
    let run = async |path: &Path| {
        let mut command = program();
        let rest = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{rest}", path.display()))
            .env("KUBECONFIG", bed.cluster.kubeconfig())
            .args(["seal", "reseal"])
            .args([&good, &bad]);
        ended(command, "").await
    };
    let refused = run(&failing).await.refused(2);
    assert!(refused.contains("pods/exec"), "{refused}");
    assert_eq!(std::fs::read_to_string(&good).unwrap(), db);
    let told = run(&bin).await;
    assert!(told.err.contains("1 files stay"), "{told:?}");
    let told = told.expect(20);
    assert!(
        told.contains("pg") && told.contains("sealed anew"),
        "{told}"
    );
    let asked = std::fs::read_to_string(asked).unwrap();
    let exec = "exec -i -n keystead-system deploy/keystead-controller -c controller -- /keystead sealing reseal";
    assert_eq!(asked.trim(), exec);
    let resealed = std::fs::read_to_string(&good).unwrap();
    assert_ne!(entry(&resealed), entry(db));
    let good = good.to_str().unwrap();
    bed.plugin(&["seal", "report", good]).await.expect(0);
    assert!(std::fs::read_to_string(&bad).unwrap().contains(&entry(db)));
    let events = bed.events(SYSTEM, "keystead-installation", "EntriesResealed");
    assert_eq!(events.await, 1);

    let strange = sealing(bed, &["reseal"], "C4N4RY").await;
    assert!(!strange.err.contains("C4N4RY") && strange.out.is_empty());
    assert_ne!(strange.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_entries_open_with_the_exported_keys_and_move_to_another_installation() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let installation = |number: u8| {
        let id = InstallationId::from_bytes([number; 16]);
        let key = SealingPrivateKey::generate(id, &mut OsRandom).unwrap();
        let public = key.public(id).to_string();
        let exported = export(&SealingKeys::new(id, vec![key]));
        let private = String::from_utf8(exported.expose().to_vec()).unwrap();
        (
            write(&path(&format!("{number}.pub")), &public),
            write(&path(&format!("{number}.keys")), &private),
        )
    };
    let [(old_public, old), (new_public, new)] = [installation(1), installation(2)];
    let db = sealed("db", &old_public).await;
    let file = write(&path("db.yaml"), &db);
    let open = |keys: &str| {
        let args = ["seal", "open", "-f", &file, "--private-key", keys];
        args.map(str::to_owned)
    };
    let run = async |args: &[String]| {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        with("/nowhere", &args, "").await
    };
    let reveal = |keys: &str| [&open(keys)[..], &["--reveal".to_owned()]].concat();

    let told = run(&open(&old)).await.expect(0);
    assert!(told.contains("opens") && !told.contains(CANARY), "{told}");
    let secret = run(&reveal(&old)).await.expect(0);
    let secret: Value = serde_saphyr::from_str(&secret).unwrap();
    let value = STANDARD.encode(format!("{CANARY}-db"));
    assert_eq!(
        secret,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "data": {"password": value}})
    );
    // A file that others read is told of, and used.
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warned = run(&open(&old)).await;
    assert!(warned.err.contains("chmod 600"), "{warned:?}");
    warned.expect(0);

    let told = run(&open(&new)).await.expect(22);
    assert!(told.contains("none of the private keys"), "{told}");
    assert!(run(&reveal(&new)).await.refused(22).contains("password"));
    let refused = run(&open(&new_public)).await.refused(2);
    assert!(refused.contains("no export"), "{refused}");
    std::fs::write(&file, db.replace("namespace: shop", "namespace: farm")).unwrap();
    run(&open(&new)).await.expect(21);
    std::fs::write(&file, &db).unwrap();

    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o600)).unwrap();
    let moving = ["seal", "reseal", &file, "--public-key", &new_public];
    let moving = [&moving[..], &["--private-key", &old]].concat();
    let moved = with("/nowhere", &moving, "").await.expect(0);
    assert!(moved.contains("does not open it any more"), "{moved}");
    assert!(moved.contains("sealed anew"), "{moved}");
    run(&open(&new)).await.expect(0);
    run(&open(&old)).await.expect(22);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_keys_are_not_printed_on_a_terminal_unless_that_is_meant() {
    let export = format!("{} sealing export", env!("CARGO_BIN_EXE_keystead"));
    let on_a_terminal = async |command: &str| {
        let mut script = Command::new("script");
        script
            .args(["-qec", command, "/dev/null"])
            .env("KUBECONFIG", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        ended(script, "").await
    };
    let refused = on_a_terminal(&export).await;
    assert!(
        refused.code != 0 && refused.out.contains("--to-terminal"),
        "{refused:?}"
    );
    // What is missing then is only the cluster.
    let meant = on_a_terminal(&format!("{export} --to-terminal")).await;
    assert!(
        meant.code != 0 && meant.out.contains("no access to a cluster"),
        "{meant:?}"
    );
}
