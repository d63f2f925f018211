//! What a server says of itself, and whether its users can be changed.

use super::failure::{cluster, old};
use super::server::Server;
use super::session::Session;
use crate::rotation::rotator::Outcome;

/// The first server whose rules are as they are here. Others that speak its protocol say which one they are like.
const OLDEST: u32 = 7;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The first number of the version.
    version: u32,
    /// `standalone`, `cluster` or `sentinel`.
    mode: String,
    /// `master` or `slave`.
    role: String,
    /// Whether it was started with a configuration file.
    pub(super) has_configuration: bool,
}

impl Facts {
    /// Asks, and refuses a server whose users cannot be changed.
    pub(super) async fn find(session: &mut Session<'_>, user: &str) -> Result<Self, Outcome> {
        let sections = [&b"server"[..], b"replication"];
        let answer = session.run(user, &["INFO"], &sections).await?;
        let text = String::from_utf8_lossy(answer.text().unwrap_or_default());
        let facts = Self::parse(&text);
        facts.unsuitable(session.server()).map_or(Ok(facts), Err)
    }

    /// Reads lines of a name, a colon and a value.
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_default().trim()
        };
        let version = field("redis_version").split('.').next();
        Self {
            version: version.and_then(|number| number.parse().ok()).unwrap_or(0),
            mode: field("redis_mode").to_owned(),
            role: field("role").to_owned(),
            has_configuration: !field("config_file").is_empty(),
        }
    }

    fn unsuitable(&self, server: &Server) -> Option<Outcome> {
        Some(match (self.mode.as_str(), self.role.as_str()) {
            _ if self.version < OLDEST => Outcome::Rejected(old(server)),
            ("cluster", _) => Outcome::Rejected(cluster(server)),
            ("standalone", "master") => return None,
            ("standalone", "slave") => Outcome::Retry(format!(
                "{server} is a replica now, whose users are its own: the change is for the master"
            )),
            _ => Outcome::Rejected(format!(
                "{server} is no server with data of its own, such as a sentinel"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::address::Addresses;

    fn facts(version: &str, mode: &str, role: &str) -> Facts {
        Facts::parse(&format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nconfig_file:\r\n\r\n# Replication\r\n\
             role:{role}\r\nconnected_slaves:0\r\n"
        ))
    }

    #[test]
    fn only_a_master_of_its_own_that_is_new_enough_is_changed() {
        let server = Server {
            host: "cache".to_owned(),
            port: 6379,
            authority: None,
            addresses: Addresses::NotLocal,
        };
        let of = |version, mode, role| facts(version, mode, role).unsuitable(&server);
        for version in ["7.0.15", "7.2.4", "8", "10.0.1"] {
            assert_eq!(of(version, "standalone", "master"), None, "{version}");
        }
        for (version, mode, role) in [
            ("6.2.14", "standalone", "master"),
            ("", "standalone", "master"),
            ("7.0.15", "cluster", "master"),
            ("7.0.15", "cluster", "slave"),
            ("7.0.15", "sentinel", ""),
            ("7.0.15", "", ""),
        ] {
            let outcome = of(version, mode, role);
            assert!(matches!(outcome, Some(Outcome::Rejected(_))), "{outcome:?}");
        }
        let replica = of("7.0.15", "standalone", "slave");
        assert!(matches!(replica, Some(Outcome::Retry(_))), "{replica:?}");
    }

    #[test]
    fn a_server_without_a_configuration_file_is_told_from_one_that_has_it() {
        assert!(!facts("7.0.15", "standalone", "master").has_configuration);
        let facts = Facts::parse("config_file:/etc/redis/redis.conf\r\nrole:master");
        assert!(facts.has_configuration);
    }
}
