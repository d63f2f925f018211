//! The metrics, and the only way to move them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::asked_age::AskedAge;
use super::calls::{self, ApiCall, ApiResult, Calls};
use super::keys::{KeyFacts, Keys};
use super::labels::{
    BuildLabels, Delivery, DeliveryLabels, Kind, KindLabels, ObjectLabels, Outcome, ReadyStatus,
    ReconcileLabels, ReplicationLabels, RestartLabels, Truth, TruthLabels,
};
use super::process::Process;
use super::rotations::{RotationFacts, Rotations};
use super::secrets::{SecretFacts, Secrets};
use super::steps::{StepResult, Steps};
use crate::api::managed_secret::{ReplicationState, WorkloadKind};

/// Upper bounds of the reconcile durations: from one that found nothing to do to one that met a
/// stuck API server.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The metrics of this process. Clones are handles of the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Family<KindLabels, Histogram>,
    objects: Family<ObjectLabels, Gauge>,
    keyring_keys: Gauge,
    restore_suspected: Gauge,
    truth_age: AskedAge,
    truth_writes: Family<TruthLabels, Counter>,
    target_writes: Family<DeliveryLabels, Counter>,
    drift_repairs: Counter,
    parked_secrets: Gauge,
    parked_secrets_end: Gauge,
    replicas: Family<ReplicationLabels, Gauge>,
    audit_lines: Counter,
    audit_failures: Counter,
    audit_failing: Gauge,
    used_while_pending_deletion: Counter,
    keys: Keys,
    secrets: Secrets,
    rotations: Rotations,
    restarts: Family<RestartLabels, Counter>,
    calls: Calls,
    reviews: Calls,
    steps: Steps,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics in which nothing has happened yet.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let truth_age = AskedAge::new(
            "keystead_key_state_age",
            "How long ago the known state of all keys was last confirmed",
        );
        registry.register_collector(Box::new(truth_age.clone()));
        let keys = collected(&mut registry, Keys::default());
        let secrets = collected(&mut registry, Secrets::default());
        let rotations = collected(&mut registry, Rotations::default());
        let keystead = registry.sub_registry_with_prefix("keystead");
        let build = Info::new(BuildLabels {
            version: env!("CARGO_PKG_VERSION"),
        });
        keystead.register("build", "The running version", build);
        let leader = registered(keystead, "leader", "1 if this replica writes");
        let reconciles = registered(keystead, "reconciles", "Reconciliations by how they ended");
        let reconcile_duration =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        keystead.register_with_unit(
            "reconcile_duration",
            "How long reconciliations took",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        let objects = registered(keystead, "objects", "Resources by their condition Ready");
        let keyring_keys = registered(keystead, "keyring_keys", "Keys whose material is loaded");
        let restore_suspected = registered(
            keystead,
            "restore_suspected",
            "1 if nothing is rotated or destroyed, since the cluster may have been restored from a backup",
        );
        let truth_writes = registered(keystead, "truth_writes", "Writes of the truth");
        let target_writes = registered(keystead, "target_writes", "Writes of targets");
        let drift_repairs = registered(
            keystead,
            "drift_repairs",
            "Targets that somebody else changed or deleted and that were restored",
        );
        let parked_secrets = registered(
            keystead,
            "parked_secrets",
            "Secrets whose resource is gone and whose ciphertext waits for its end",
        );
        let parked_secrets_end = Gauge::default();
        keystead.register_with_unit(
            "parked_secrets_end_timestamp",
            "When the first window of a parked secret is over; 0 if there is none",
            Unit::Seconds,
            parked_secrets_end.clone(),
        );
        let replicas = registered(
            keystead,
            "secret_replica_status",
            "Replicas of secrets by how they follow their sources",
        );
        let restarts = registered(
            keystead,
            "workload_restarts",
            "Workloads that were restarted since what they are delivered has changed",
        );
        let (calls, reviews, steps) = of_others(keystead);
        let [audit_lines, audit_failures] = audit_counters(keystead);
        let audit_failing = registered(
            keystead,
            "audit_failing",
            "1 while an audit log cannot be written, so that no key is used unless that is relaxed",
        );
        let used_while_pending_deletion = registered(
            keystead,
            "key_used_while_pending_deletion",
            "Uses of keys that were refused because the deletion of the key is pending",
        );
        Self {
            registry: Arc::new(registry),
            leader,
            reconciles,
            reconcile_duration,
            objects,
            keyring_keys,
            restore_suspected,
            truth_age,
            truth_writes,
            target_writes,
            drift_repairs,
            parked_secrets,
            parked_secrets_end,
            replicas,
            audit_lines,
            audit_failures,
            audit_failing,
            used_while_pending_deletion,
            keys,
            secrets,
            rotations,
            restarts,
            calls,
            reviews,
            steps,
        }
    }

    /// This replica leads for as long as the returned guard lives.
    #[must_use = "the replica counts as leading only while this lives"]
    pub fn leading(&self) -> Leading {
        self.leader.set(1);
        Leading(self.leader.clone())
    }

    /// A reconciliation ended.
    pub fn reconciled(&self, kind: Kind, result: Outcome, took: Duration) {
        self.reconciles
            .get_or_create(&ReconcileLabels { kind, result })
            .inc();
        self.reconcile_duration
            .get_or_create(&KindLabels { kind })
            .observe(took.as_secs_f64());
    }

    /// A step of a rotation by that strategy was tried outside.
    pub fn rotation_step(&self, strategy: &'static str, step: &'static str, result: StepResult) {
        self.steps.tried(strategy, step, result);
    }

    /// A rotation by that strategy came to its end.
    pub fn rotation_ended(&self, strategy: &'static str, took: Duration) {
        self.steps.ended(strategy, took);
    }

    /// There are `count` objects of this kind and condition.
    pub fn objects(&self, kind: Kind, ready: ReadyStatus, count: usize) {
        self.objects
            .get_or_create(&ObjectLabels { kind, ready })
            .set(gauge(count));
    }

    /// The keyring holds the material of `count` keys.
    pub fn keyring_keys(&self, count: usize) {
        self.keyring_keys.set(gauge(count));
    }

    /// A restore is suspected, or not.
    pub fn restore_suspected(&self, suspected: bool) {
        self.restore_suspected.set(i64::from(suspected));
    }

    /// From now on `age` says, whenever somebody asks, how old the newest proof is that this replica knows the keys'
    /// states; `None` before there is one.
    pub fn truth_age(&self, age: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        self.truth_age.ask(age);
    }

    /// A call of the API ended so, after that time.
    pub fn api_answered(&self, call: ApiCall, result: ApiResult, took: Duration) {
        self.calls.answered(call, result, took);
    }

    /// A question of the API server to a webhook ended so, after that time.
    pub fn webhook_answered(&self, call: ApiCall, result: ApiResult, took: Duration) {
        self.reviews.answered(call, result, took);
    }

    /// An object of the truth was written.
    pub fn truth_written(&self, kind: Truth) {
        self.truth_writes.get_or_create(&TruthLabels { kind }).inc();
    }

    /// A target was written.
    pub fn target_written(&self, form: Delivery) {
        self.target_writes
            .get_or_create(&DeliveryLabels { form })
            .inc();
    }

    /// What somebody else did to a target was undone.
    pub fn drift_repaired(&self) {
        self.drift_repairs.inc();
    }

    /// That many secrets wait for their end, and the first of them until then.
    pub fn parked_secrets(&self, count: usize, first_end: Option<Timestamp>) {
        self.parked_secrets.set(gauge(count));
        let end = first_end.map_or(0, Timestamp::as_second);
        self.parked_secrets_end.set(end);
    }

    /// One more replica follows its source so.
    pub fn replica(&self, status: ReplicationState) {
        self.replicas
            .get_or_create(&ReplicationLabels { status })
            .inc();
    }

    /// One replica less follows its source so.
    pub fn replica_gone(&self, status: ReplicationState) {
        self.replicas
            .get_or_create(&ReplicationLabels { status })
            .dec();
    }

    /// That many lines were written to an audit log.
    pub fn audit_written(&self, lines: u64) {
        self.audit_lines.inc_by(lines);
    }

    /// That many lines could not be written to an audit log.
    pub fn audit_failed(&self, lines: u64) {
        self.audit_failures.inc_by(lines);
    }

    /// Whether an audit log cannot be written.
    pub fn audit_failing(&self, failing: bool) {
        self.audit_failing.set(i64::from(failing));
    }

    /// A use of a key was refused because its deletion is pending.
    pub fn used_while_pending_deletion(&self) {
        self.used_while_pending_deletion.inc();
    }

    /// These are the keys of the installation, as far as this replica shows them.
    pub fn keys(&self, keys: Vec<KeyFacts>) {
        self.keys.0.show(keys);
    }

    /// These are the secrets of the installation, as far as this replica shows them.
    pub fn secrets(&self, secrets: Vec<SecretFacts>) {
        self.secrets.show(secrets);
    }

    /// These are the schedules of rotations of the installation, as far as this replica shows them.
    pub fn rotations(&self, schedules: Vec<RotationFacts>) {
        self.rotations.show(schedules);
    }

    /// A workload was restarted.
    pub fn restarted(&self, kind: WorkloadKind) {
        self.restarts.get_or_create(&RestartLabels { kind }).inc();
    }

    /// Everything, in the `OpenMetrics` text format.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// This replica leads while this lives.
#[derive(Debug)]
pub struct Leading(Gauge);

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// A new metric of that name.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// What others ask of this process, and it of others.
fn of_others(registry: &mut Registry) -> (Calls, Calls, Steps) {
    (
        Calls::registered(registry, calls::API),
        Calls::registered(registry, calls::WEBHOOKS),
        Steps::registered(registry),
    )
}

/// How many lines of audit logs were written, and how many could not be.
fn audit_counters(registry: &mut Registry) -> [Counter; 2] {
    [
        ("audit_lines", "Lines written to audit logs"),
        (
            "audit_failed_lines",
            "Lines that could not be written to audit logs",
        ),
    ]
    .map(|(name, help)| registered(registry, name, help))
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Puts what collects by itself into a registry.
fn collected<C: Collector + Clone>(registry: &mut Registry, collector: C) -> C {
    registry.register_collector(Box::new(collector.clone()));
    collector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::named::assert_known;

    fn shows(metrics: &Metrics, line: &str) {
        let text = metrics.encode().unwrap();
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in:\n{text}"
        );
    }

    /// Metrics all of which are there.
    fn all() -> Metrics {
        let metrics = Metrics::new();
        metrics.reconciled(
            Kind::ManagedKey,
            Outcome::Transient,
            Duration::from_millis(7),
        );
        metrics.objects(Kind::ManagedSecret, ReadyStatus::False, 3);
        metrics.keyring_keys(5);
        metrics.restore_suspected(true);
        metrics.truth_written(Truth::SealedSecret);
        metrics.target_written(Delivery::Plain);
        metrics.drift_repaired();
        metrics.parked_secrets(2, Timestamp::from_second(7).ok());
        metrics.replica(ReplicationState::Failed);
        metrics.audit_written(3);
        metrics.audit_failed(2);
        metrics.audit_failing(true);
        metrics.used_while_pending_deletion();
        let call = ApiCall::named("GetSecretValue");
        metrics.api_answered(call, ApiResult::Denied, Duration::from_millis(3));
        let call = ApiCall::named("InjectPod");
        metrics.webhook_answered(call, ApiResult::Success, Duration::from_millis(1));
        metrics.rotation_step("postgres", "SetSecret", StepResult::Done);
        metrics.rotation_ended("postgres", Duration::from_secs(20));
        metrics.keys(vec![KeyFacts {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            key_id: "1".to_owned(),
            next_rotation: Some(3),
            deletion: Some(4),
            last_used: Some(5),
            refused: 6,
        }]);
        metrics.secrets(vec![SecretFacts {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            not_ready: Some(1),
            current: Some(2),
            pending: Some(3),
            previous: Some(4),
            versions: 5,
            next_renewal: Some(6),
            expiry: Some(7),
            restarts_pending: 8,
            restarts_failed: 9,
        }]);
        metrics.rotations(vec![RotationFacts {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            not_ready: Some(1),
            last: Some(2),
            next: Some(3),
            begun: Some(4),
            attempts: 5,
            missed: 6,
        }]);
        metrics.restarted(WorkloadKind::StatefulSet);
        metrics.truth_age(|| Some(Duration::from_secs(8)));
        metrics
    }

    #[test]
    fn every_metric_has_its_documented_name_and_labels() {
        let metrics = all();
        for line in [
            concat!(
                "keystead_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "keystead_leader 0",
            "keystead_reconciles_total{kind=\"ManagedKey\",result=\"transient\"} 1",
            "keystead_reconcile_duration_seconds_bucket{le=\"0.005\",kind=\"ManagedKey\"} 0",
            "keystead_reconcile_duration_seconds_bucket{le=\"0.01\",kind=\"ManagedKey\"} 1",
            "keystead_objects{kind=\"ManagedSecret\",ready=\"false\"} 3",
            "keystead_keyring_keys 5",
            "keystead_restore_suspected 1",
            "keystead_truth_writes_total{kind=\"SealedSecret\"} 1",
            "keystead_target_writes_total{form=\"Plain\"} 1",
            "keystead_key_next_rotation_timestamp_seconds{key_namespace=\"shop\",key_name=\"orders\",key_id=\"1\"} 3",
            "keystead_key_deletion_timestamp_seconds{key_namespace=\"shop\",key_name=\"orders\",key_id=\"1\"} 4",
            "keystead_key_last_used_timestamp_seconds{key_namespace=\"shop\",key_name=\"orders\",key_id=\"1\"} 5",
            "keystead_key_refused_while_pending_deletion_total{key_namespace=\"shop\",key_name=\"orders\",key_id=\"1\"} 6",
            "keystead_key_metrics_omitted 0",
            "keystead_key_state_age_seconds 8.0",
            "keystead_drift_repairs_total 1",
            "keystead_rotation_steps_total{strategy=\"postgres\",step=\"SetSecret\",result=\"done\"} 1",
            "keystead_rotation_duration_seconds_bucket{le=\"60.0\",strategy=\"postgres\"} 1",
            "keystead_parked_secrets 2",
            "keystead_parked_secrets_end_timestamp_seconds 7",
            "keystead_secret_replica_status{status=\"Failed\"} 1",
            "keystead_secret_not_ready_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 1",
            "keystead_secret_current_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 2",
            "keystead_secret_pending_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 3",
            "keystead_secret_previous_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 4",
            "keystead_secret_versions{secret_namespace=\"shop\",secret_name=\"db\"} 5",
            "keystead_secret_next_renewal_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 6",
            "keystead_secret_certificate_expiry_timestamp_seconds{secret_namespace=\"shop\",secret_name=\"db\"} 7",
            "keystead_secret_restarts_pending{secret_namespace=\"shop\",secret_name=\"db\"} 8",
            "keystead_secret_restarts_failed{secret_namespace=\"shop\",secret_name=\"db\"} 9",
            "keystead_secret_metrics_omitted 0",
            "keystead_workload_restarts_total{kind=\"StatefulSet\"} 1",
            "keystead_audit_lines_total 3",
            "keystead_audit_failed_lines_total 2",
            "keystead_audit_failing 1",
            "keystead_key_used_while_pending_deletion_total 1",
            "keystead_api_calls_total{call=\"GetSecretValue\",result=\"denied\"} 1",
            "keystead_webhook_calls_total{call=\"InjectPod\",result=\"success\"} 1",
            "# EOF",
        ] {
            shows(&metrics, line);
        }
    }

    #[test]
    fn the_dashboard_the_alerts_and_the_documentation_name_only_metrics_that_there_are() {
        let is_ours = |word: &str| word.starts_with("keystead_") || word.starts_with("process_");
        // Those of the node plugin are another program's.
        assert_known(&all().encode().unwrap(), |word| {
            is_ours(word) && !word.starts_with("keystead_node_")
        });
    }

    #[test]
    fn the_replica_leads_only_while_the_guard_lives() {
        let metrics = Metrics::new();
        let leading = metrics.leading();
        shows(&metrics, "keystead_leader 1");
        drop(leading);
        shows(&metrics, "keystead_leader 0");
    }
}
