//! Where a server keeps its users, so that it knows them when it starts again.

use super::facts::Facts;
use super::protocol::Answer;
use super::session::{Command, Session};
use crate::rotation::rotator::Outcome;

/// Where users are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// In a file of their own (`aclfile`).
    Users,
    /// In the configuration file.
    Configuration,
}

/// When users are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// To find out whether it can be done at all.
    Before,
    /// To keep what was changed.
    After,
}

impl Store {
    /// Finds out where users are kept. Refuses a server that keeps them nowhere, and one that would not start with what
    /// it would write.
    pub(super) async fn find(session: &mut Session<'_>, user: &str) -> Result<Self, Outcome> {
        let facts = Facts::find(session, user).await?;
        let answer = session.run(user, &["CONFIG", "GET"], &[b"aclfile"]).await?;
        if let Some([_, file]) = answer.texts().as_deref()
            && !file.is_empty()
        {
            return Ok(Self::Users);
        }
        let server = session.server();
        if !facts.has_configuration {
            return Err(Outcome::Rejected(format!(
                "{server} keeps its users nowhere, and would forget the change when it starts again: start it with a file \
                 of users (`aclfile`) or with a configuration file"
            )));
        }
        // Such a server writes quotes as they are, and takes them for quotes when it reads them again: a single one in
        // anybody's rules, and it does not start.
        let users = session.run(user, &["ACL", "LIST"], &[]).await?;
        let quoted = |line: &&[u8]| line.iter().any(|byte| matches!(byte, b'"' | b'\''));
        if users.texts().is_none_or(|users| users.iter().any(quoted)) {
            return Err(Outcome::Rejected(format!(
                "{server} keeps its users in its configuration file, and one of them has a quote in its name or rules, with \
                 which the server could not start again: give it a file of users (`aclfile`)"
            )));
        }
        Ok(Self::Configuration)
    }

    fn command(self) -> Command {
        match self {
            Self::Users => &["ACL", "SAVE"],
            Self::Configuration => &["CONFIG", "REWRITE"],
        }
    }

    /// Saves all users.
    pub(super) async fn save(
        self,
        session: &mut Session<'_>,
        user: &str,
        moment: Moment,
    ) -> Result<(), Outcome> {
        let server = session.server();
        let command = self.command().join(" ");
        match session.ask(user, self.command(), &[]).await? {
            // Of rights and the like it is told as of every command.
            Answer::Refusal(refusal) if refusal.code() == "ERR" && !refusal.says("unknown") => {
                let why = format!(
                    "{server} cannot save its users ({command}): its file, or the folder of that, is not writable, or the \
                     disk is full; its log has more"
                );
                Err(match moment {
                    Moment::Before => Outcome::Rejected(format!("{why}. Nothing was changed")),
                    Moment::After => Outcome::Retry(why),
                })
            }
            Answer::Refusal(refusal) => Err(session.refused(user, self.command(), &refusal)),
            _ => Ok(()),
        }
    }
}
