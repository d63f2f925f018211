//! Who may use a key by a call of its own: a Role alone, a policy alone and a grant alone, and nothing else. The gate asks a real
//! API server, with the rights of the server's `ServiceAccount`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use keystead::api::KeyMaterial;
use keystead::audit::{
    FileConfig, FileSink, Fsync, OnFailure, Origin, Trail, Verifier, is_audit_line,
};
use keystead::authorization::Subject;
use keystead::clock::process_clock;
use keystead::crypto::{EncryptionContext, KeyId};
use keystead::installation;
use keystead::keys::operations::{
    Call, Caller, DecryptRequest, EncryptRequest, EncryptionAlgorithm, OperationError, Operations,
};
use keystead::keys::{Keyring, Loader};
use keystead::roots::{ProviderKind, Providers, RootConfig};
use keystead::server::PolicyGate;
use keystead::telemetry::Metrics;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Bed, Person, SYSTEM, eventually, key};

/// What is encrypted. As bytes and as text no log has it by chance.
const CARD: &str = "canary of a card 4111 1111";

/// What a replica of the server does with keys, in this process.
struct Kms {
    keyring: Arc<Keyring>,
    gate: Arc<PolicyGate>,
    operations: Operations<Arc<PolicyGate>>,
    log: PathBuf,
    loading: JoinHandle<()>,
}

impl Drop for Kms {
    fn drop(&mut self) {
        self.loading.abort();
    }
}

impl Kms {
    async fn start(bed: &Bed) -> Self {
        let server = bed
            .cluster
            .client_for_service_account(SYSTEM, "keystead-server");
        let client = server.await.unwrap();
        let config = RootConfig {
            provider: ProviderKind::Secret,
            file: None,
            previous_file: None,
        };
        let roots = Providers::new(&config, client.clone(), SYSTEM);
        let found = installation::find(client.clone(), SYSTEM, roots)
            .await
            .unwrap();
        let keyring = Arc::new(Keyring::default());
        let loader = Loader::new(keyring.clone(), found.id, found.roots, Metrics::new());
        let watching = client.clone();
        let loading = tokio::spawn(async move { loader.run(watching, SYSTEM, || {}).await });
        let log = bed.folder().join("kms-audit.log");
        let sink = FileSink::new(FileConfig {
            path: log.clone(),
            max_size: 1 << 30,
            keep: 1,
            fsync: Fsync::Never,
        });
        let origin = Origin {
            replica: "test".to_owned(),
            installation: found.id.to_string(),
            chains: vec!["0123456789abcdef".to_owned()],
        };
        let trail = Trail::start(
            vec![Box::new(sink)],
            &origin,
            &process_clock(),
            OnFailure::Refuse,
            |_, _| {},
        );
        let gate = Arc::new(PolicyGate::new(
            client,
            trail,
            process_clock(),
            Arc::default(),
        ));
        Self {
            operations: Operations::new(keyring.clone(), gate.clone()),
            keyring,
            gate,
            log,
            loading,
        }
    }

    async fn caller(&self, user: &str, groups: &[&str]) -> Caller {
        let subject = Subject {
            user: user.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..Subject::default()
        };
        self.gate.caller(subject).await.unwrap()
    }

    /// A service account, in the groups that the API server puts it in.
    async fn account(&self, namespace: &str, name: &str) -> Caller {
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        let groups: Vec<_> = groups.iter().map(String::as_str).collect();
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.caller(&user, &groups).await
    }

    async fn encrypt(&self, caller: &Caller, key: KeyId) -> Result<Vec<u8>, OperationError> {
        let request = EncryptRequest {
            key,
            plaintext: CARD.as_bytes(),
            context: &team(),
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        let made = self.operations.encrypt(call(caller), request).await;
        made.map(|made| made.ciphertext)
    }

    /// Whether the caller gets the plaintext; otherwise the error's name.
    async fn decrypts(&self, caller: &Caller, ciphertext: &[u8]) -> Result<(), &'static str> {
        let context = team();
        let request = DecryptRequest {
            key: None,
            ciphertext,
            context: &context,
            algorithm: EncryptionAlgorithm::Symmetric,
        };
        match self.operations.decrypt(call(caller), request).await {
            Ok(opened) => {
                assert_eq!(opened.plaintext.expose(), CARD.as_bytes());
                Ok(())
            }
            Err(error) => Err(error.name()),
        }
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let mut verifier = Verifier::new(false);
        for line in text.split_inclusive('\n') {
            verifier.line(line.as_bytes());
        }
        let report = verifier.finish();
        assert!(report.is_intact(), "{report:?}");
        let lines = text.lines().filter(|line| is_audit_line(line.as_bytes()));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn call(caller: &Caller) -> Call<'_> {
    Call {
        caller,
        request_id: "r-1",
        dry_run: false,
    }
}

fn team() -> EncryptionContext {
    EncryptionContext::user([("team", "orders")]).unwrap()
}

fn id(material: &KeyMaterial) -> KeyId {
    material.name_any().parse().unwrap()
}

const COW: &str = "system:serviceaccount:farm:cow";
const DENIED: Result<(), &str> = Err("AccessDeniedException");

const BY_POLICY: &str = "{policy: {delegateToRBAC: false, statements: [
    {sid: owner, effect: Allow, principals: {groups: ['system:masters']}, actions: ['*']},
    {sid: cow, effect: Allow, principals: {serviceAccounts: [{namespace: farm, name: cow}]}, actions: [Decrypt],
     conditions: {encryptionContext: {team: orders}}}]}}";
const DENYING: &str = "{policy: {statements: [
    {sid: not-cow, effect: Deny, principals: {serviceAccounts: [{namespace: farm, name: cow}]}, actions: ['*']}]}}";

/// Keys that the service account `farm:cow` can decrypt with, each for one reason only, and one that it could if no statement
/// denied it; with a ciphertext of each.
async fn keys(bed: &Bed, kms: &Kms) -> BTreeMap<&'static str, Vec<u8>> {
    let specs = [
        ("by-role", "{}"),
        ("by-policy", BY_POLICY),
        ("by-grant", "{}"),
        ("denied", DENYING),
        ("nothing", "{}"),
    ];
    let cow = Person::new(bed, COW);
    let rule = "[{apiGroups: [keystead.dev], resources: [managedkeys/decrypt], \
                resourceNames: [by-role, denied], verbs: [create]}]";
    cow.grant("shop", "decrypt", rule).await;
    let mut ciphertexts = BTreeMap::new();
    let owner = kms.caller("root", &["system:masters"]).await;
    for (name, spec) in specs {
        let spec = format!("spec: {spec}");
        bed.apply(&key("shop", name).replace("spec: {}", &spec))
            .await;
        let known = || async { !kms.keyring.named("shop", name).is_empty() };
        eventually(&format!("{name} is known"), known).await;
        let id = id(&bed.material("shop", name).await);
        ciphertexts.insert(name, kms.encrypt(&owner, id).await.unwrap());
    }
    let grant = format!(
        "---\napiVersion: keystead.dev/v1alpha1\nkind: KeyGrant\nmetadata: {{name: cow, namespace: shop}}\nspec: \
         {{keyRef: {{name: by-grant}}, granteePrincipal: '{COW}', operations: [Decrypt]}}\n\
         ---\napiVersion: keystead.dev/v1alpha1\nkind: KeyGrant\nmetadata: {{name: cow-denied, namespace: shop}}\nspec: \
         {{keyRef: {{name: denied}}, granteePrincipal: '{COW}', operations: [Decrypt]}}\n"
    );
    bed.apply(&grant).await;
    ciphertexts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_a_policy_and_a_grant_alone_each_let_a_service_account_decrypt_and_nothing_else_does()
 {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    let kms = Kms::start(&bed).await;
    let ciphertexts = keys(&bed, &kms).await;
    let cow = kms.account("farm", "cow").await;
    for name in ["by-role", "by-policy", "by-grant"] {
        let opens = || async { kms.decrypts(&cow, &ciphertexts[name]).await == Ok(()) };
        eventually(&format!("cow decrypts with {name}"), opens).await;
        let id = id(&bed.material("shop", name).await);
        let refused = kms.encrypt(&cow, id).await.unwrap_err();
        assert_eq!(refused.name(), "AccessDeniedException", "{name}");
    }
    for name in ["denied", "nothing"] {
        assert_eq!(
            kms.decrypts(&cow, &ciphertexts[name]).await,
            DENIED,
            "{name}"
        );
    }
    // Not an editor of the key's namespace, not one of the same namespace as who may, nobody, and no name of a secret.
    Person::new(&bed, "system:serviceaccount:shop:editor")
        .bind("shop", "edit")
        .await;
    let others = [
        kms.account("shop", "editor").await,
        kms.account("farm", "pig").await,
        kms.account("shop", "cow").await,
        kms.caller("ann", &["system:authenticated"]).await,
        kms.caller("system:anonymous", &["system:unauthenticated"])
            .await,
    ];
    for other in &others {
        for (name, ciphertext) in &ciphertexts {
            let got = kms.decrypts(other, ciphertext).await;
            assert_eq!(got, DENIED, "{} {name}", other.principal.name());
        }
    }
    let secret = Subject {
        user: "keystead:secret:shop:db".to_owned(),
        ..Subject::default()
    };
    assert!(kms.gate.caller(secret).await.is_err());

    explained(&bed).await;

    // Each right ends alone.
    bed.kubectl(&["delete", "rolebinding", "--all", "-n", "shop"])
        .await
        .expect_ok();
    bed.delete("shop", "keygrant/cow").await;
    let owner =
        json!({"effect": "Allow", "principals": {"groups": ["system:masters"]}, "actions": ["*"]});
    let closed = json!({"spec": {"policy": {"statements": [owner]}}});
    bed.patch("shop", "managedkey/by-policy", &closed).await;
    for name in ["by-role", "by-policy", "by-grant"] {
        let refused = || async { kms.decrypts(&cow, &ciphertexts[name]).await == DENIED };
        eventually(&format!("cow is refused with {name}"), refused).await;
    }

    // Each use and each refusal is a line that says why.
    let lines = kms.lines();
    let said = |name: &str, decision: &str, why: &str| {
        lines.iter().any(|line| {
            line["eventName"] == "Decrypt"
                && line["userIdentity"]["user"] == COW
                && line["resources"][0]["name"] == name
                && line["decision"] == decision
                && line["requestParameters"]["encryptionContext"]["team"] == "orders"
                && line["reason"].as_str().unwrap_or_default().contains(why)
        })
    };
    assert!(said("by-role", "Allow", "RBAC"));
    assert!(said("by-policy", "Allow", "statement 1 (cow)"));
    assert!(said("by-grant", "Allow", "KeyGrant cow"));
    assert!(said("denied", "Deny", "statement 0 (not-cow)"));
    assert!(said("nothing", "Deny", "no right of RBAC"));
    assert!(!std::fs::read_to_string(&kms.log).unwrap().contains(CARD));
}

/// `keystead policy explain`, with the rights of the server, says what was just decided.
async fn explained(bed: &Bed) {
    let kubeconfig = bed
        .cluster
        .kubeconfig_for_service_account(SYSTEM, "keystead-server");
    let kubeconfig = kubeconfig.await.unwrap();
    for (key, user, code, why) in [
        ("by-role", COW, 0, "allowed by RBAC"),
        ("by-policy", COW, 0, "statement 1 (cow)"),
        ("by-grant", COW, 0, "KeyGrant cow"),
        ("denied", COW, 1, "statement 0 (not-cow)"),
        ("nothing", COW, 1, "no right of RBAC"),
        ("by-grant", "keystead:secret:shop:db", 0, "own namespace"),
        ("by-grant", "keystead:secret:farm:db", 1, "no statement"),
        ("missing", COW, 2, "there is no key shop/missing"),
    ] {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_keystead"))
            .args(["policy", "explain", "--operator-namespace", SYSTEM])
            .args(["--key", &format!("shop/{key}"), "--as", user])
            .args(["--action", "Decrypt", "--context", "team=orders"])
            .env("KUBECONFIG", &kubeconfig)
            .output();
        let output = run.await.unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{key} {user}: {said}");
        assert_eq!(output.status.code(), Some(code), "{key} {user}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_made_anew_by_another_team_decrypts_nothing_by_what_was_given_to_the_one_before()
 {
    let bed = Bed::start().await;
    let _operator = bed.operator().await;
    let _server = bed.server().await;
    for namespace in ["shop", "farm"] {
        bed.namespace(namespace).await;
    }
    let kms = Kms::start(&bed).await;
    let ciphertexts = keys(&bed, &kms).await;
    let cow = kms.account("farm", "cow").await;
    for name in ["by-policy", "by-grant"] {
        let opens = || async { kms.decrypts(&cow, &ciphertexts[name]).await == Ok(()) };
        eventually(&format!("cow decrypts with {name}"), opens).await;
    }
    bed.kubectl(&["delete", "namespace", "farm", "--wait=true"])
        .await
        .expect_ok();
    bed.namespace("farm").await;
    let other = kms.account("farm", "cow").await;
    for name in ["by-policy", "by-grant"] {
        assert_eq!(
            kms.decrypts(&other, &ciphertexts[name]).await,
            DENIED,
            "{name}"
        );
    }
}
