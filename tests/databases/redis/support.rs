//! A server with an admin, and the words of the tests.

use std::net::SocketAddr;

use keystead::rotation::redis::{Addresses, Server};
use keystead::rotation::rotator::Login;
use keystead_cluster::{Redis, RedisOptions, RedisUsers};

pub(super) use crate::changes::{KEEPER, administered, alternating, keeper, single};
pub(super) use crate::outcomes::{Kind, login, words};

/// What an admin needs, as the documentation has it.
const RIGHTS: &str = "+acl|getuser +acl|setuser +acl|dryrun +acl|save +config|get +info";
/// And besides where there is no file of users.
const MORE: &str = "+acl|list +config|rewrite";
/// What users of the tests may do.
pub(super) const USUAL: &str = "~or:* resetchannels &or:* -@all +@read +@write +ping +acl|whoami";

/// A server, and the admin on it.
pub(super) struct Bed {
    pub(super) redis: Redis,
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(RedisOptions::default()).await
    }

    pub(super) async fn keeping(users: RedisUsers) -> Self {
        Self::with(RedisOptions {
            users,
            ..RedisOptions::default()
        })
        .await
    }

    pub(super) async fn with(options: RedisOptions) -> Self {
        let more = if options.users == RedisUsers::Configuration {
            MORE
        } else {
            ""
        };
        let redis = Redis::start_with(options).await.unwrap();
        let bed = Self { redis };
        bed.execute(&format!(
            "ACL SETUSER keeper on >pw-Admin-1 {RIGHTS} {more}"
        ))
        .await;
        bed
    }

    /// Runs commands as the superuser, one a line.
    pub(super) async fn execute(&self, commands: &str) -> String {
        self.redis.execute(commands).await.unwrap()
    }

    /// Runs commands as a user, by the server's own client over TLS.
    pub(super) async fn as_user(&self, user: Login<'_>, commands: &str) -> String {
        self.try_as_user(user, commands).await.unwrap()
    }

    /// Runs commands as a user, which may fail.
    pub(super) async fn try_as_user(
        &self,
        user: Login<'_>,
        commands: &str,
    ) -> Result<String, String> {
        let password = std::str::from_utf8(user.password).unwrap();
        let ran = self.redis.execute_as(user.user, password, commands);
        ran.await.map_err(|error| format!("{error:#}"))
    }

    /// Makes a user that logs in with `pw-1`.
    pub(super) async fn user(&self, name: &str) {
        self.execute(&format!("ACL SETUSER {name} on >pw-1 {USUAL}"))
            .await;
    }

    /// Lets a user change itself, and so everybody.
    pub(super) async fn independent(&self, name: &str) {
        self.execute(&format!("ACL SETUSER {name} {RIGHTS} {MORE}"))
            .await;
    }

    /// The server, with TLS.
    pub(super) fn server(&self) -> Server {
        Server {
            host: self.redis.address().to_string(),
            port: self.redis.port(),
            authority: Some(self.redis.ca_pem().to_owned()),
            addresses: Addresses::Any,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        (self.redis.address(), self.redis.port()).into()
    }

    /// All users with all that is stored of them, to be compared.
    pub(super) async fn users(&self) -> String {
        let users = self.execute("ACL LIST").await;
        users.lines().map(sorted).collect::<Vec<_>>().join("\n")
    }

    /// What is stored of a user.
    async fn line(&self, user: &str) -> String {
        let beginning = format!("user {user} ");
        let users = self.execute("ACL LIST").await;
        let line = users.lines().find(|line| line.starts_with(&beginning));
        line.unwrap_or_default().to_owned()
    }

    /// What a user may do, without its name and passwords.
    pub(super) async fn rights(&self, user: &str) -> String {
        let line = self.line(user).await;
        // That payloads are looked at is shown of some users, and is so for all.
        let words = line.split(' ').skip(2);
        let words = words.filter(|word| !word.starts_with('#') && *word != "sanitize-payload");
        sorted(&words.collect::<Vec<_>>().join(" "))
    }

    /// How many passwords a user has.
    pub(super) async fn passwords(&self, user: &str) -> usize {
        let line = self.line(user).await;
        line.split(' ').filter(|word| word.starts_with('#')).count()
    }

    /// A digest that the server stores of a user.
    pub(super) async fn digest(&self, user: &str) -> String {
        let line = self.line(user).await;
        let digest = line.split(' ').find_map(|word| word.strip_prefix('#'));
        digest.unwrap_or_default().to_owned()
    }
}

/// The words in an order of their own: that of commands changes when a server starts again.
fn sorted(line: &str) -> String {
    let mut words: Vec<_> = line.split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}
