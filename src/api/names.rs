//! Every label, annotation, type and object name that Keystead puts into a cluster, in one place.

/// The API group.
pub const GROUP: &str = "keystead.dev";
/// The API version.
pub const VERSION: &str = "v1alpha1";

/// The well-known label that marks every Secret the operator writes.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "keystead";
/// The well-known label that names the part of Keystead that an object belongs to.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// The value of [`LABEL_COMPONENT`] on what belongs to the server.
pub const COMPONENT_SERVER: &str = "server";
/// Label of a namespace that opts in to injection: pods that are made in it get values where they name a native Secret that a
/// `ManagedSecret` stands behind.
pub const LABEL_INJECTION: &str = "keystead.dev/injection";
/// The value of [`LABEL_INJECTION`].
pub const INJECTION_ENABLED: &str = "enabled";
/// Namespaces of Kubernetes in which nothing is injected, whatever their labels say. Nor is it in the operator's.
pub const NEVER_INJECTED: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// Label of the operator's namespace and of the CRDs; while it is `enabled`, the shipped guard
/// policy refuses to delete them and to touch the truth.
pub const LABEL_GUARD: &str = "keystead.dev/guard";
/// The value of [`LABEL_GUARD`].
pub const GUARD_ENABLED: &str = "enabled";

/// On a target: `<namespace>/<name>` of the `ManagedSecret` that owns it. The namespace is part of it,
/// so that a copy made by hand in another namespace is not taken for ours.
pub const ANNOTATION_MANAGED_BY: &str = "keystead.dev/managed-by";
/// On a target: its own name, so that a copy made by hand under another name is not taken for ours.
pub const ANNOTATION_TARGET: &str = "keystead.dev/target";
/// On a target that existed before: how it came to us (`Adopt` or `Merge`).
pub const ANNOTATION_EXISTING: &str = "keystead.dev/existing";
/// On a target: what happens to it when its `ManagedSecret` goes (`Delete` or `Retain`).
pub const ANNOTATION_DELETION_POLICY: &str = "keystead.dev/deletion-policy";
/// On truth: the kind of the resource it belongs to.
pub const ANNOTATION_KIND: &str = "keystead.dev/kind";
/// On truth: the namespace of the resource it belongs to.
pub const ANNOTATION_NAMESPACE: &str = "keystead.dev/namespace";
/// On truth: the name of the resource it belongs to.
pub const ANNOTATION_NAME: &str = "keystead.dev/name";
/// On truth: the UID of the resource that it was last claimed by. On what waits for replicas in other clusters: that of the source.
pub const ANNOTATION_OBJECT_UID: &str = "keystead.dev/object-uid";
/// On truth: the UID of the namespace that the resource lived in. Names can be re-used, UIDs cannot.
pub const ANNOTATION_NAMESPACE_UID: &str = "keystead.dev/namespace-uid";
/// On truth: the instant (RFC 3339) at which a leader first saw the resource missing.
pub const ANNOTATION_PARKED_SINCE: &str = "keystead.dev/parked-since";
/// On truth about a secret: the days for which it waits when its resource is gone, where they are not the default.
pub const ANNOTATION_RECOVERY_WINDOW: &str = "keystead.dev/recovery-window-days";
/// On a `ManagedSecret`, by its user, and then on its truth: its UID makes its deletion final, without a window.
pub const ANNOTATION_FORCE_DELETE: &str = "keystead.dev/force-delete";
/// On truth, by a platform administrator: the UID of the namespace that may adopt it.
pub const ANNOTATION_APPROVE_ADOPTION: &str = "keystead.dev/approve-adoption";
/// On the installation record, by a platform administrator after a restore: namespaces created
/// before this instant (RFC 3339) may adopt what waits under their name.
pub const ANNOTATION_APPROVE_ADOPTION_BEFORE: &str = "keystead.dev/approve-adoption-before";
/// On the installation record, by a platform administrator who has looked after a restore: the instant since which a restore
/// is suspected (RFC 3339, as the record says it). Ends that hold before its time.
pub const ANNOTATION_RESTORE_CHECKED: &str = "keystead.dev/restore-checked";
/// On a resource, by its user: `Never` asks for a fresh start instead of adopting waiting truth.
pub const ANNOTATION_ADOPT: &str = "keystead.dev/adopt";
/// The value of [`ANNOTATION_ADOPT`] that asks for a fresh start.
pub const ADOPT_NEVER: &str = "Never";
/// On a `ManagedSecret`, by its user: the UID of a source Secret that shall be imported once more.
pub const ANNOTATION_IMPORT: &str = "keystead.dev/import";
/// On a `ManagedSecret`, by its user: `<version id>@<sequence>` makes an earlier version current again, if the secret still has
/// that sequence. A copy that is left in Git therefore does nothing later.
pub const ANNOTATION_ROLLBACK: &str = "keystead.dev/rollback";
/// On a `ManagedSecret`, by its user: each new value has every generated value made anew once.
pub const ANNOTATION_REGENERATE: &str = "keystead.dev/regenerate";
/// On `KeyMaterial` that waits without its resource, by a platform administrator: how many stored secrets may be lost with it.
pub const ANNOTATION_ACCEPT_DATA_LOSS: &str = "keystead.dev/accept-data-loss";
/// On a `ManagedKey` or `RotationSchedule`, by its user: each new value rotates the key, or the secret, once. On the `KeyMaterial` of the sealing key, by a platform
/// administrator: the same.
pub const ANNOTATION_ROTATE: &str = "keystead.dev/rotate";
/// On the Jobs of a rotation and their pods, by the operator alone: the id of the version that is under way. The pods may store the
/// value of that version, and read the secret.
pub const LABEL_ROTATION_VERSION: &str = "keystead.dev/rotation-version";
/// Beside it, by the operator: which step of the rotation it is.
pub const LABEL_ROTATION_STEP: &str = "keystead.dev/rotation-step";
/// Beside it, by the operator: which attempt at the step it is.
pub const ANNOTATION_ROTATION_ATTEMPT: &str = "keystead.dev/rotation-attempt";
/// On the pods of a rotation, by the operator: what trusts the server, PEM.
pub const ANNOTATION_API_AUTHORITY: &str = "keystead.dev/api-ca";
/// On a `RotationSchedule`, by its user: the id of the pending version whose rotation shall not come to its end.
pub const ANNOTATION_CANCEL_ROTATION: &str = "keystead.dev/cancel-rotation";
/// On a `RotationSchedule`, by its user: each new value has the stored credential tried once. Nothing is changed by that.
pub const ANNOTATION_TEST_ROTATION: &str = "keystead.dev/test-rotation";
/// On a `ManagedKey` of origin External, by its user: each new value has a wrapping key offered for 24 hours.
pub const ANNOTATION_OFFER_IMPORT: &str = "keystead.dev/offer-import";
/// On a `ManagedKey` of origin External, by its user: a new value, once `spec.import` is taken out, deletes the material.
pub const ANNOTATION_DELETE_IMPORTED: &str = "keystead.dev/delete-imported-material";
/// On a `KeyGrant`: the user who made it. Nobody can name anybody but himself.
pub const ANNOTATION_CREATED_BY: &str = "keystead.dev/created-by";
/// Label of truth about a secret: the id of the key that it is encrypted under.
pub const LABEL_KEY_ID: &str = "keystead.dev/key-id";
/// On truth about a secret: the ids of the key material that its envelopes need, separated by commas; for counting
/// without reading ciphertext.
pub const ANNOTATION_MATERIALS: &str = "keystead.dev/materials";
/// On truth about a secret: the key material that the entries of its `spec.sealed` need which are under a `ManagedKey`, as
/// `<key id>/<material id>` separated by commas. The entries themselves are in the resource, and often in Git.
pub const ANNOTATION_ENTRY_MATERIALS: &str = "keystead.dev/entry-materials";
/// On what waits for replicas in other clusters: the id of the version that it holds.
pub const ANNOTATION_VERSION: &str = "keystead.dev/version";
/// On what waits for replicas in other clusters: the sequence number of the source's manifest when it was sealed.
pub const ANNOTATION_SEQUENCE: &str = "keystead.dev/sequence";
/// On the Lease of a replica of the server: the resourceVersion of the truth about keys that it has applied.
pub const ANNOTATION_APPLIED: &str = "keystead.dev/applied-resource-version";
/// On the Lease of a replica of the server: what is new of uses of keys there (see [`crate::keys::Uses`]).
pub const ANNOTATION_KEY_USES: &str = "keystead.dev/key-uses";
/// On a pod, by its user: `disabled` leaves its references to Secrets as they are, in a namespace that opted in.
pub const ANNOTATION_INJECT: &str = "keystead.dev/inject";
/// The value of [`ANNOTATION_INJECT`] that opts out.
pub const INJECT_DISABLED: &str = "disabled";
/// The value of [`ANNOTATION_INJECT`] that says what is so anyway.
pub const INJECT_ENABLED: &str = "enabled";
/// On a pod whose references to Secrets were replaced: which ones, as JSON.
pub const ANNOTATION_INJECTED: &str = "keystead.dev/injected";
/// What the annotation on the pod template of a workload begins with that restarts it; the rest is a hash of the
/// `ManagedSecret`'s name. Its value names the change that it was restarted for.
pub const ANNOTATION_RESTARTED_PREFIX: &str = "keystead.dev/restarted-for-";
/// On a CRD: hash of the definition, so that the operator patches only when it differs.
pub const ANNOTATION_SCHEMA_HASH: &str = "keystead.dev/schema-hash";

/// Type of a Secret that holds envelopes: the truth, and targets of form `Sealed`.
pub const SECRET_TYPE_SEALED: &str = "keystead.dev/sealed";
/// Type of the Secret that holds the embedded root key.
pub const SECRET_TYPE_ROOT: &str = "keystead.dev/root-key";
/// Type of the Secret that holds the authority of the server's certificate.
pub const SECRET_TYPE_AUTHORITY: &str = "keystead.dev/ca";
/// Type of the Secret in which the value of a source waits for replicas in other clusters.
pub const SECRET_TYPE_REPLICA: &str = "keystead.dev/replica";
/// Suffix of the name of that Secret, after the name of its source.
pub const REPLICA_SUFFIX: &str = ".replica";
/// Suffix of an entry of a `Sealed` target. A consumer that was not injected fails on a missing key
/// and never takes ciphertext for a value.
pub const SEALED_SUFFIX: &str = ".sealed";

/// The material of the installation's sealing key, in the operator's namespace.
pub const SEALING_KEY: &str = "keystead-sealing";
/// Where everybody finds what is public of an installation: a `ConfigMap` of this name in [`PUBLIC_NAMESPACE`].
pub const PUBLIC: &str = "keystead";
/// The namespace of Kubernetes whose objects everybody may read whom their owner lets.
pub const PUBLIC_NAMESPACE: &str = "kube-public";
/// The Secret of the embedded root key.
pub const ROOT_SECRET: &str = "keystead-root";
/// The Secret with the authority that signs the server's certificate.
pub const AUTHORITY_SECRET: &str = "keystead-ca";
/// The `ConfigMap` with what trusts the server: the certificates of the authorities.
pub const AUTHORITY_CONFIG_MAP: &str = "keystead-ca";
/// The key of [`AUTHORITY_CONFIG_MAP`] that holds them, PEM.
pub const AUTHORITY_KEY: &str = "ca.crt";
/// The Secret with the server's certificate.
pub const SERVER_SECRET: &str = "keystead-server-tls";
/// The Service of the server; its certificate is for the DNS name.
pub const SERVER_SERVICE: &str = "keystead-server";
/// The port of the API there.
pub const API_PORT: u16 = 8443;
/// The `ValidatingWebhookConfiguration` of the server.
pub const WEBHOOKS: &str = "keystead-server";
/// The `ConfigMap` that names the installation.
pub const INSTALLATION: &str = "keystead-installation";
/// The Lease of the controllers' leader.
pub const LEASE: &str = "keystead-controller";
/// What the name of the Lease of each replica of the server begins with; the rest is the pod's name.
pub const SERVER_LEASE_PREFIX: &str = "keystead-server-";
/// The key of every secret that names none, one per namespace, made on first use.
pub const DEFAULT_KEY: &str = "keystead-default";

/// Field manager of everything but statuses.
pub const FIELD_MANAGER: &str = "keystead";
/// Field manager of the status of `ManagedKey`.
pub const FIELD_MANAGER_KEY: &str = "keystead/managed-key";
/// Field manager of the status of `KeyAlias`.
pub const FIELD_MANAGER_ALIAS: &str = "keystead/key-alias";
/// Field manager of the status of `KeyGrant`.
pub const FIELD_MANAGER_GRANT: &str = "keystead/key-grant";
/// Field manager of the status of `ManagedSecret`.
pub const FIELD_MANAGER_SECRET: &str = "keystead/managed-secret";
/// Field manager of the status of `RotationSchedule`.
pub const FIELD_MANAGER_ROTATION: &str = "keystead/rotation-schedule";
/// Field manager of what the status of `ManagedSecret` tells of pods, which is written by itself.
pub const FIELD_MANAGER_CONSUMERS: &str = "keystead/consumers";
/// What the field manager of restarts begins with; the rest is a hash of the `ManagedSecret`'s name, since an apply takes
/// back what the same manager applied for another.
pub const FIELD_MANAGER_ROLLOUT_PREFIX: &str = "keystead/rollout-";
/// The CSI driver that gives pods the values of secrets.
pub const CSI_DRIVER: &str = "secrets.keystead.dev";
/// The attribute of a volume of [`CSI_DRIVER`] that names the `ManagedSecret`.
pub const CSI_ATTRIBUTE_SECRET: &str = "secret";
/// The attribute that says which keys become files, as JSON.
pub const CSI_ATTRIBUTE_ITEMS: &str = "items";
/// The attribute by which a pod starts without the secret.
pub const CSI_ATTRIBUTE_OPTIONAL: &str = "optional";
/// The attribute that says which version is shown.
pub const CSI_ATTRIBUTE_STAGE: &str = "stage";
/// The attribute that lists several secrets, as JSON, in place of [`CSI_ATTRIBUTE_SECRET`].
pub const CSI_ATTRIBUTE_SOURCES: &str = "sources";
/// The attribute that is `false` where files stay as they were when the pod started.
pub const CSI_ATTRIBUTE_FOLLOW: &str = "follow";
/// The attribute with the mode of files that have none of their own.
pub const CSI_ATTRIBUTE_DEFAULT_MODE: &str = "defaultMode";
/// What the attributes begin with that kubelet adds.
pub const CSI_KUBELET_PREFIX: &str = "csi.storage.k8s.io/";
/// The audience of the tokens that the API takes.
pub const AUDIENCE: &str = "keystead.dev";
/// The `ServiceAccount` of the node plugin, in the operator's namespace.
pub const NODE_ACCOUNT: &str = "keystead-node";
/// The condition of a pod that says which version of each secret it has.
pub const POD_CONDITION_LOADED: &str = "keystead.dev/SecretsLoaded";

/// Whether an object of Kubernetes can have that name: a DNS subdomain (RFC 1123).
pub fn is_object_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|b| inner(*b))
            && bytes.last().is_some_and(|b| inner(*b))
            && bytes.iter().all(|b| inner(*b) || *b == b'-')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_name_as_dns_has_them() {
        let longest = "x".repeat(253);
        for name in ["a", "0", "orders-db", "a.b-c.d", &longest] {
            assert!(is_object_name(name), "{name}");
        }
        let longer = "x".repeat(254);
        for name in [
            "", "-a", "a-", "A", "a_b", "a..b", ".a", "a.", "a/b", "../a", "a\n", "\u{fc}", &longer,
        ] {
            assert!(!is_object_name(name), "{name:?}");
        }
    }
}
