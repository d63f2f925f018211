//! How a secret is rotated: by whom the other side is told, if there is one.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RotatedSecret;
use crate::api::schema::OBJECT_NAME;

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
