//! People with the rights that RBAC gives them, and no others.

use super::{Bed, Printed, eventually};

/// Somebody who is no administrator.
pub(crate) struct Person<'a> {
    bed: &'a Bed,
    /// The user name.
    pub(crate) name: &'a str,
}

impl<'a> Person<'a> {
    /// A user without any right.
    pub(crate) fn new(bed: &'a Bed, name: &'a str) -> Self {
        Self { bed, name }
    }

    /// Gives the rules of a Role (a YAML flow list) in a namespace, under a name of its own for each call.
    pub(crate) async fn grant(&self, namespace: &str, role: &str, rules: &str) {
        let user = self.name;
        self.bed
            .apply(&format!(
                "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {user}-{role}, namespace: {namespace}}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {user}-{role}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {user}-{role}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
            ))
            .await;
    }

    /// Gives one of the cluster's own roles in a namespace.
    pub(crate) async fn bind(&self, namespace: &str, cluster_role: &str) {
        let name = format!("{}-{cluster_role}", self.name);
        let (role, user) = (format!("--clusterrole={cluster_role}"), self.name);
        let args = ["create", "rolebinding", &name, "-n", namespace, &role];
        self.bed
            .kubectl(&[&args[..], &["--user", user]].concat())
            .await
            .expect_ok();
    }

    /// Runs kubectl as this person.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Printed {
        self.bed
            .kubectl(&[&["--as", self.name], args].concat())
            .await
    }

    /// Runs kubectl as this person with something on standard input.
    pub(crate) async fn kubectl_with(&self, args: &[&str], stdin: &str) -> Printed {
        self.bed
            .kubectl_with(&[&["--as", self.name], args].concat(), stdin)
            .await
    }

    /// `kubectl apply -f -` as this person.
    pub(crate) async fn apply(&self, yaml: &str) -> Printed {
        self.bed.apply_as(self.name, yaml).await
    }

    /// Applies what must be refused; the message.
    #[track_caller]
    pub(crate) fn refused(&self, yaml: &str) -> impl Future<Output = String> {
        let yaml = yaml.to_owned();
        async move { self.apply(&yaml).await.expect_refused() }
    }

    /// Applies what must be allowed, as soon as the API server has heard of a right that was just given.
    pub(crate) async fn allowed(&self, yaml: &str) {
        let what = format!("{} may apply {yaml}", self.name);
        eventually(&what, || async {
            let printed = self.apply(yaml).await;
            assert!(
                printed.ok || printed.err.to_lowercase().contains("forbidden"),
                "refused for another reason than a right: {}",
                printed.err
            );
            printed.ok
        })
        .await;
    }

    /// Waits until RBAC answers `yes` for that question of `kubectl auth can-i`.
    pub(crate) async fn can(&self, question: &[&str]) {
        self.wait_answer(question, "yes").await;
    }

    /// Waits until RBAC answers `no`.
    pub(crate) async fn cannot(&self, question: &[&str]) {
        self.wait_answer(question, "no").await;
    }

    async fn wait_answer(&self, question: &[&str], answer: &str) {
        let what = format!("whether {} can {question:?}: {answer}", self.name);
        eventually(&what, || async {
            let args = [&["auth", "can-i"], question].concat();
            self.kubectl(&args).await.out.trim() == answer
        })
        .await;
    }
}

impl Bed {
    /// Waits until the API server enforces the chart's policies. It hears of them a moment after they were made, and
    /// perhaps not of all at once, so it is asked about one for secrets and one for aliases.
    pub(crate) async fn policies_in_force(&self) {
        let secret = "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {name: probe, namespace: default}
spec: {literals: {a: b}}
";
        let alias = "
apiVersion: keystead.dev/v1alpha1
kind: KeyAlias
metadata: {name: probe, namespace: default}
spec: {keyRef: {name: probe}}
";
        let nobody = Person::new(self, "probe");
        let rules = "[{apiGroups: [keystead.dev], resources: [managedsecrets, keyaliases], verbs: [get, create, patch]}]";
        nobody.grant("default", "probe", rules).await;
        nobody
            .can(&["create", "managedsecrets", "-n", "default"])
            .await;
        let refused = |probe: &'static str, why: &'static str| async move {
            let args = ["create", "--as", "probe", "--dry-run=server", "-f", "-"];
            self.kubectl_with(&args, probe).await.err.contains(why)
        };
        eventually("the policies are in force", || async {
            refused(secret, "needs create on secrets").await
                && refused(alias, "needs update on managedkeys/alias").await
        })
        .await;
    }
}
