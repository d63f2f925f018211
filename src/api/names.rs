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
/// On a `ManagedKey`, by its user: each new value rotates the key once. On the `KeyMaterial` of the sealing key, by a platform
/// administrator: the same.
pub const ANNOTATION_ROTATE: &str = "keystead.dev/rotate";
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
/// The Secret with the server's certificate.
pub const SERVER_SECRET: &str = "keystead-server-tls";
/// The Service of the server; its certificate is for the DNS name.
pub const SERVER_SERVICE: &str = "keystead-server";
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
/// What the field manager of restarts begins with; the rest is a hash of the `ManagedSecret`'s name, since an apply takes
/// back what the same manager applied for another.
pub const FIELD_MANAGER_ROLLOUT_PREFIX: &str = "keystead/rollout-";
/// The CSI driver that gives pods the values of secrets.
pub const CSI_DRIVER: &str = "secrets.keystead.dev";
/// The attribute of a volume of [`CSI_DRIVER`] that names the `ManagedSecret`.
pub const CSI_ATTRIBUTE_SECRET: &str = "secret";
