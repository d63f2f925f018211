//! `RotationSchedule`: when and how the value of a secret is replaced; the counterpart of the rotation rules and the rotation
//! function of AWS Secrets Manager.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::OBJECT_NAME;

/// Most rotations that a status lists.
pub const MAX_LISTED_ROTATIONS: usize = 10;
/// Most runs to come that a status lists.
pub const MAX_NEXT_RUNS: usize = 3;

/// What a duration looks like: hours, minutes, seconds, or some of them.
const DURATION: &str = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";

/// Replaces the value of a `ManagedSecret` of the same namespace, on a schedule and when asked, by the four steps
/// `CreateSecret`, `SetSecret`, `TestSecret` and `FinishSecret`. Annotation `keystead.dev/rotate` with a new value rotates once, now.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "keystead.dev",
    version = "v1alpha1",
    kind = "RotationSchedule",
    plural = "rotationschedules",
    namespaced,
    status = "RotationScheduleStatus",
    shortname = "rsched",
    category = "keystead",
    doc = "When and how the value of a ManagedSecret is replaced: the counterpart of the rotation rules and the rotation function of AWS Secrets Manager.",
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.running.step"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRotationTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRotationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec.secretRef == oldSelf.spec.secretRef")
        .message("secretRef is immutable: make another RotationSchedule")
        .field_path(".spec.secretRef")
)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleSpec {
    /// The secret whose value is replaced. One schedule is obeyed for each secret: the oldest.
    pub secret_ref: RotatedSecret,

    /// When it is replaced; without it, only when asked by annotation `keystead.dev/rotate`. A secret that a schedule is first made
    /// for counts as just rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<RotationTimes>,

    /// How late a rotation may begin, from 1m to 168h, as `3h`. What was missed by more waits for the next time. Without it, what was
    /// missed is made up for once, as soon as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')")
        .message("must be from 1m to 168h"))]
    pub window: Option<String>,

    /// By how much the beginning is put off at most, from 0s to 24h; by how much is fixed for each schedule. Default `5m`, and never
    /// more than half of the window. It keeps schedules of the same time from running all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("must be from 0s to 24h"))]
    pub jitter: Option<String>,

    /// How: exactly one of its fields.
    pub strategy: RotationStrategy,

    /// What is waited for after the new value is current, before the one before stops to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<RotationFinish>,

    /// While true, no rotation begins on schedule; one by annotation does, and one that has begun goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A `ManagedSecret` of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotatedSecret {
    /// Name of the `ManagedSecret`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = OBJECT_NAME)
    )]
    pub name: String,
}

/// When a secret is rotated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.every) != has(self.cron)").message("exactly one of every and cron says when"),
    validation = Rule::new("!has(self.timeZone) || has(self.cron)")
        .message("timeZone is that of cron: every counts from the last rotation")
        .field_path(".timeZone")
)]
pub struct RotationTimes {
    /// How long after the last rotation, from 1h to 87600h, as `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h') && duration(self) <= duration('87600h')")
        .message("must be from 1h to 87600h"))]
    pub every: Option<String>,

    /// The times of a crontab line: minute, hour, day of month, month, day of week, as `30 2 * * 1`. They must be at least an hour
    /// apart. A local time that a clock skips counts as the one after the gap, and one that comes twice as the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 9, max = 128),
        regex(pattern = r"^[0-9A-Za-z*/,#?LW-]+( +[0-9A-Za-z*/,#?LW-]+){4}$")
    )]
    pub cron: Option<String>,

    /// The time zone of `cron`, by its name in the IANA database, as `Europe/Berlin`; default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,
}

/// How a secret is rotated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.regenerate), has(self.postgres), has(self.mysql), has(self.redis), has(self.job), has(self.webhook)].filter(is, is).size() == 1")
    .message("exactly one strategy: regenerate, postgres, mysql, redis, job or webhook"))]
pub struct RotationStrategy {
    /// Every generated value is made anew, and nobody else is told: for what only its readers know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regenerate: Option<Regenerate>,

    /// The password of a user of PostgreSQL, which the server is told before it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<DatabaseRotation>,

    /// The password of a user of MySQL or MariaDB, which the server is told before it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<DatabaseRotation>,

    /// The password of a user of Redis or Valkey, which the server is told before it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<DatabaseRotation>,

    /// Your own code, which runs as a Job for each of the four steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRotation>,

    /// Your own code, which is called over HTTPS for each of the four steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookRotation>,
}

/// A strategy, with what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy<'a> {
    /// Generated values are made anew.
    Regenerate,
    /// A user of PostgreSQL.
    Postgres(&'a DatabaseRotation),
    /// A user of MySQL or MariaDB.
    Mysql(&'a DatabaseRotation),
    /// A user of Redis or Valkey.
    Redis(&'a DatabaseRotation),
    /// Somebody's own code, in a Job.
    Job(&'a JobRotation),
    /// Somebody's own code, called over HTTPS.
    Webhook(&'a WebhookRotation),
}

impl RotationStrategy {
    /// The one that is said. The schema sees to it that there is exactly one.
    pub fn chosen(&self) -> Strategy<'_> {
        let postgres = self.postgres.as_ref().map(Strategy::Postgres);
        let mysql = || self.mysql.as_ref().map(Strategy::Mysql);
        let redis = || self.redis.as_ref().map(Strategy::Redis);
        let job = || self.job.as_ref().map(Strategy::Job);
        let webhook = || self.webhook.as_ref().map(Strategy::Webhook);
        let chosen = postgres
            .or_else(mysql)
            .or_else(redis)
            .or_else(job)
            .or_else(webhook);
        chosen.unwrap_or(Strategy::Regenerate)
    }
}

impl<'a> Strategy<'a> {
    /// Its name in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regenerate => "regenerate",
            Self::Postgres(_) => "postgres",
            Self::Mysql(_) => "mysql",
            Self::Redis(_) => "redis",
            Self::Job(_) => "job",
            Self::Webhook(_) => "webhook",
        }
    }

    /// The users of a database, whosever server it is.
    pub fn database(self) -> Option<&'a DatabaseRotation> {
        match self {
            Self::Postgres(database) | Self::Mysql(database) | Self::Redis(database) => {
                Some(database)
            }
            Self::Regenerate | Self::Job(_) | Self::Webhook(_) => None,
        }
    }

    /// How many users of a database take part.
    pub fn users(self) -> Option<DatabaseUsers> {
        self.database().map(|database| database.users)
    }

    /// Whether somebody's own code is called, which may make the value, too.
    pub fn is_own_code(self) -> bool {
        matches!(self, Self::Job(_) | Self::Webhook(_))
    }

    /// Whether somebody else is told of a value, such as a server.
    pub fn has_other_side(self) -> bool {
        self != Self::Regenerate
    }

    /// Whether the value before works until the next rotation, or may do so for all that is known.
    pub fn overlaps(self) -> bool {
        // Redis takes all passwords of a user.
        self.is_own_code()
            || matches!(self, Self::Redis(_))
            || self.users() == Some(DatabaseUsers::Alternating)
    }

    /// Whether the other side has something to do when nobody needs the value before any more.
    pub fn retires(self) -> bool {
        let keeps_two = matches!(self, Self::Mysql(_) | Self::Redis(_));
        self.is_own_code() || keeps_two && self.users() == Some(DatabaseUsers::Single)
    }
}

/// Every generated value is made anew.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Regenerate {}

/// A user of a database. The secret has the keys `username` and `password`, of which `password` is generated. Where the server is
/// (`host`, `port`, `ca`, `sslmode`, and `dbname` for PostgreSQL) is in the secret with the administrator's login, or in the
/// secret itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.users != 'Alternating' || has(self.adminSecretRef)")
    .message("alternating users need an administrator, who makes the second one: set adminSecretRef")
    .field_path(".adminSecretRef"))]
pub struct DatabaseRotation {
    /// Whether one user's password is changed, or two users take turns, so that the one before goes on to work.
    pub users: DatabaseUsers,

    /// The `ManagedSecret` with an administrator's login. Without it, the user changes his own password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_secret_ref: Option<RotatedSecret>,
}

/// Your own code, which runs as a Job for each of the four steps. See `docs/rotation.md` for what it gets, and what its exit codes mean.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobRotation {
    /// What the Jobs are made from.
    pub template_from: JobTemplateSource,
}

/// What Jobs are made from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplateSource {
    /// A `CronJob` of the same namespace. It is suspended, so that it never runs by itself.
    pub cron_job: CronJobReference,
}

/// A `CronJob` of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CronJobReference {
    /// Name of the `CronJob`. As that of any, it has at most 52 characters.
    #[schemars(length(min = 1, max = 52), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// Your own code, which is called over HTTPS for each of the four steps. See `docs/rotation.md` for what it is sent, and what its answers
/// mean.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRotation {
    /// Where it is, as `https://rotator.shop.svc/rotate`. It must not be an address of the operator's own pod, of its link or of the API server,
    /// and redirects are not followed.
    #[schemars(length(min = 9, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != '' && !self.contains('@') && !self.contains('#')")
        .message("must be an https URL without a user and a fragment, as https://rotator.shop.svc/rotate"))]
    pub url: String,

    /// The authorities that its certificate is signed by: PEM, in base64, as in webhooks of Kubernetes. No others are trusted.
    #[schemars(length(min = 4, max = 100_000), regex(pattern = "^[A-Za-z0-9+/=]+$"))]
    pub ca_bundle: String,

    /// The `ManagedSecret` with the key `signingKey`, by which calls are signed: at least 24 bytes.
    pub signing_secret_ref: RotatedSecret,
}

/// How many users of a database a secret stands for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum DatabaseUsers {
    /// One, whose password is changed. Who has the old one is locked out until he has the new one.
    Single,
    /// Two with the same rights, which take turns: `name` and `name_clone`.
    Alternating,
}

/// What is waited for after the new value is current.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RotationFinish {
    /// Whether every pod that gets the secret must have the new value; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_consumers: Option<bool>,

    /// How long the value before goes on to work after that, from 0s to 168h; default `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message("must be from 0s to 168h"))]
    pub grace_period: Option<String>,

    /// How long pods are waited for, from 1m to 168h; default `1h`. When it is over, the new value stays current, the one before goes
    /// on to work, and condition `FinishStalled` says which pods are without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 21), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')")
        .message("must be from 1m to 168h"))]
    pub timeout: Option<String>,
}

/// A step of a rotation, in the words of AWS Secrets Manager.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum RotationStep {
    /// A new value is made and stored as `Pending`.
    CreateSecret,
    /// The other side is told of it.
    SetSecret,
    /// It is tried there.
    TestSecret,
    /// It is made current, and its consumers are waited for.
    FinishSecret,
}

impl RotationStep {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateSecret => "CreateSecret",
            Self::SetSecret => "SetSecret",
            Self::TestSecret => "TestSecret",
            Self::FinishSecret => "FinishSecret",
        }
    }
}

/// What the operator last saw of a schedule. Never the truth, which is kept with the secret: losing it loses nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the last rotation ended; or, before the first, since when the schedule counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation_time: Option<Time>,

    /// When the next one begins, with its jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Time>,

    /// The next times of the schedule, without jitter. At most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_runs: Vec<Time>,

    /// How many times of the schedule passed without a rotation, since the window was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<i64>,

    /// The rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningRotation>,

    /// The last rotations, newest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRotation>,

    /// What was found when the current version was tried last on the other side: every hour, and when annotation
    /// `keystead.dev/test-rotation` has a new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<RotationCheck>,

    /// Conditions, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A rotation that is under way.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RunningRotation {
    /// The version that becomes, or has become, current.
    pub version: String,
    /// The step that is next.
    pub step: RotationStep,
    /// When it began.
    pub begun: Time,
    /// The Job that runs for it; `kubectl logs job/<name>` shows what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How often the step was tried without success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// How many values the other side refused for what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_values: Option<i64>,
}

/// What was found when the current version was tried on the other side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationCheck {
    /// When.
    pub time: Time,
    /// The version.
    pub version: String,
    /// The last token of annotation `keystead.dev/test-rotation` that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What was found.
    pub result: CheckResult,
    /// In words, unless it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What can be found when a version is tried.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(transform = crate::api::schema::without_description)]
pub enum CheckResult {
    /// It works; or there is no other side that it could be tried on.
    Passed,
    /// It does not: somebody else changed it there.
    OwnershipConflict,
    /// It cannot be tried as things are set up.
    Rejected,
    /// The other side was away or busy.
    Unreachable,
}

impl CheckResult {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::Rejected => "Rejected",
            Self::Unreachable => "Unreachable",
        }
    }
}

/// A rotation that ended, or was cancelled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PastRotation {
    /// The version that it made.
    pub version: String,
    /// When it began.
    pub begun: Time,
    /// When the version became current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Time>,
    /// When it ended.
    pub ended: Time,
    /// Whether it was cancelled before the version became current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// Whether the value before was left working, since pods did not get the new one in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<bool>,
}
