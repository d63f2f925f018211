//! Roles: what one is, whether it may be changed, and how it is made and gets its password.

use std::num::NonZeroU32;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::types::Type;

use super::session::Session;
use crate::crypto::{OsRandom, Random as _, SecretBytes};
use crate::rotation::rotator::Outcome;
use crate::secrets::generate::scram;

/// Iterations of SCRAM: PostgreSQL's own number.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).expect("it is not zero");
/// Bytes of a salt of PostgreSQL.
const SALT: usize = 16;

/// A role, and what speaks against a change of it. Roles count as mighty that are superusers in fact or nearly: those
/// whose rights bound no password of theirs, and those that are known to lead there.
const FACTS: &str = "
    SELECT r.oid, r.rolconnlimit, shobj_description(r.oid, 'pg_authid') AS comment,
        NOT r.rolcanlogin OR coalesce(r.rolvaliduntil <= now(), false) AS barred,
        r.rolname IN (session_user, current_user) AS asking,
        pg_has_role(r.oid, session_user, 'MEMBER') OR pg_has_role(r.oid, current_user, 'MEMBER') AS inside,
        EXISTS (SELECT FROM pg_roles AS s WHERE pg_has_role(r.oid, s.oid, 'MEMBER')
            AND (s.rolsuper OR s.rolreplication OR s.rolcreaterole OR s.rolbypassrls
                OR s.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files',
                    'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin'))) AS mighty
    FROM pg_roles AS r WHERE r.rolname::text = $1";

/// The settings of a role, for all databases (no name) or one.
const SETTINGS: &str = "
    SELECT d.datname::text, c.setting
    FROM pg_db_role_setting AS s
    LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
    CROSS JOIN unnest(s.setconfig) WITH ORDINALITY AS c (setting, place)
    WHERE s.setrole = $1 AND (s.setdatabase = 0 OR d.oid IS NOT NULL)
    ORDER BY s.setdatabase, c.place";

/// Settings that are lists of names: what is stored of them is such a list, and no literal.
const LISTS: [&str; 4] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
];

/// Sets a password without a value in a statement's text: the client logs texts, servers list them, and where one fails
/// it is quoted. Quotes are the server's own.
const SET_PASSWORD: &str = "DO $do$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', \
    current_setting('keystead.role'), current_setting('keystead.verifier')); END $do$";
const HAND_OVER: &str =
    "SELECT set_config('keystead.role', $1, true), set_config('keystead.verifier', $2, true)";
const HAND_BACK: &str = "SELECT set_config('keystead.verifier', '', true)";

/// A role, as far as it matters here.
pub(super) struct Role {
    oid: u32,
    connection_limit: i32,
    comment: Option<String>,
    obstacle: Option<Obstacle>,
}

/// What speaks against a change of a role by an admin, in the order in which it is worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// It is the one who asks.
    Asking,
    /// It is a superuser, or may become one.
    Mighty,
    /// It is a member of the one who asks.
    Inside,
    /// It does not log in, whatever its password.
    Barred,
}

impl Obstacle {
    fn words(self) -> &'static str {
        match self {
            Self::Asking => "is the admin itself",
            Self::Mighty => {
                "is a superuser, or has or inherits REPLICATION, CREATEROLE, BYPASSRLS or access to the server's files \
                 or programs"
            }
            Self::Inside => "is a member of the admin",
            Self::Barred => {
                "may not log in (NOLOGIN), or not any more (VALID UNTIL), so that a new password is of no use"
            }
        }
    }
}

impl Role {
    /// Looks for a role.
    pub(super) async fn find(session: &Session<'_>, name: &str) -> Result<Option<Self>, Outcome> {
        let found = session.rows(name, FACTS, &[(&name, Type::TEXT)]).await?;
        let obstacles = [
            ("asking", Obstacle::Asking),
            ("mighty", Obstacle::Mighty),
            ("inside", Obstacle::Inside),
            ("barred", Obstacle::Barred),
        ];
        Ok(found.first().map(|row| Self {
            oid: row.get("oid"),
            connection_limit: row.get("rolconnlimit"),
            comment: row.get("comment"),
            obstacle: obstacles
                .into_iter()
                .find_map(|(column, obstacle)| row.get::<_, bool>(column).then_some(obstacle)),
        }))
    }

    /// Why an admin must not change it.
    pub(super) fn refusal(&self, name: &str) -> Option<Outcome> {
        let why = match self.obstacle {
            _ if name.starts_with("pg_") => "is one of the server's own",
            Some(obstacle) => obstacle.words(),
            None => return None,
        };
        Some(Outcome::Rejected(format!(
            "role `{name}` is not changed: it {why}"
        )))
    }

    /// Whether a line of its comment is the marker. Only who may change the role can write its comment.
    pub(super) fn carries(&self, marker: &str) -> bool {
        let comment = self.comment.as_deref().unwrap_or_default();
        !marker.is_empty() && comment.lines().any(|line| line.trim() == marker)
    }
}

/// Gives a role a password, as a verifier with a new salt.
pub(super) async fn set_password(
    session: &Session<'_>,
    name: &str,
    password: &[u8],
) -> Result<(), Outcome> {
    let verifier = verifier(password)?;
    let text = std::str::from_utf8(verifier.expose()).unwrap_or_default();
    let given = [(&name as _, Type::TEXT), (&text as _, Type::TEXT)];
    session.rows(name, HAND_OVER, &given).await?;
    session.run(name, SET_PASSWORD).await?;
    session.rows(name, HAND_BACK, &[]).await.map(drop)
}

fn verifier(password: &[u8]) -> Result<SecretBytes, Outcome> {
    let mut salt = [0; SALT];
    let filled = OsRandom.fill(&mut salt);
    filled.map_err(|_| Outcome::Retry("the system gives no random bytes for a salt".to_owned()))?;
    Ok(scram(password, &salt, ITERATIONS))
}

/// Makes the second one of two alternating users, with all that makes it do as the first one does. It cannot log in
/// before it has its password, and is not there at all before the transaction is committed.
pub(super) async fn create_clone(
    session: &Session<'_>,
    name: &str,
    base: (&str, &Role),
    marker: &str,
    password: &[u8],
) -> Result<(), Outcome> {
    let (base_name, base) = base;
    let (clone, of) = (escape_identifier(name), escape_identifier(base_name));
    let create = format!(
        "CREATE ROLE {clone} NOLOGIN CONNECTION LIMIT {}; COMMENT ON ROLE {clone} IS {}; GRANT {of} TO {clone}",
        base.connection_limit,
        escape_literal(marker)
    );
    session.run(name, &create).await?;
    copy_settings(session, name, (base_name, base)).await?;
    set_password(session, name, password).await?;
    session
        .run(name, &format!("ALTER ROLE {clone} LOGIN"))
        .await
}

/// Copies the settings. Those of the base do not hold for its members, and `search_path` often decides whether a program
/// finds its tables.
async fn copy_settings(
    session: &Session<'_>,
    name: &str,
    base: (&str, &Role),
) -> Result<(), Outcome> {
    let (base_name, base) = base;
    let mut acts_as = false;
    for row in session
        .rows(name, SETTINGS, &[(&base.oid, Type::OID)])
        .await?
    {
        let (database, setting): (Option<&str>, &str) = (row.get(0), row.get(1));
        let Some((key, value)) = setting.split_once('=') else {
            continue;
        };
        acts_as |= database.is_none() && key == "role";
        let copied = copy_setting(session, name, database, (key, value)).await;
        copied.map_err(|outcome| match outcome {
            Outcome::Rejected(_) => Outcome::Rejected(format!(
                "the setting `{}` of role `{base_name}` cannot be given to `{name}`: the admin must not set it. Make \
                 `{name}` by hand, with the marker as a line of its comment",
                key.escape_debug()
            )),
            other => other,
        })?;
    }
    if !acts_as {
        // What one of the two makes would else be its own, and out of the other's reach (see the module).
        let (clone, of) = (escape_identifier(name), escape_literal(base_name));
        let act = format!("ALTER ROLE {clone} SET role = {of}");
        session.run(name, &act).await?;
    }
    Ok(())
}

async fn copy_setting(
    session: &Session<'_>,
    name: &str,
    database: Option<&str>,
    setting: (&str, &str),
) -> Result<(), Outcome> {
    let (key, value) = setting;
    let scope = database.map(|database| format!(" IN DATABASE {}", escape_identifier(database)));
    let role = escape_identifier(name) + scope.as_deref().unwrap_or_default();
    let alter = format!("ALTER ROLE {role}");
    // Names with a point are of extensions, and each part is a name.
    let parts: Vec<_> = key.split('.').map(escape_identifier).collect();
    let quoted = parts.join(".");
    if !LISTS.contains(&key) {
        let value = escape_literal(value);
        return session
            .run(name, &format!("{alter} SET {quoted} = {value}"))
            .await;
    }
    let set = "SELECT set_config($1, $2, true)";
    let given = [(&key as _, Type::TEXT), (&value as _, Type::TEXT)];
    session.rows(name, set, &given).await?;
    // No function is called in between, so that nobody's own is found first.
    let alter = format!("{alter} SET {quoted} FROM CURRENT; SET LOCAL search_path = pg_catalog");
    session.run(name, &alter).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn role() -> Role {
        Role {
            oid: 1,
            connection_limit: -1,
            comment: None,
            obstacle: None,
        }
    }

    #[test]
    fn only_an_ordinary_role_may_be_changed() {
        assert!(role().refusal("orders").is_none());
        assert!(role().refusal("pg_monitor").is_some());
        for obstacle in [
            Obstacle::Asking,
            Obstacle::Mighty,
            Obstacle::Inside,
            Obstacle::Barred,
        ] {
            let role = Role {
                obstacle: Some(obstacle),
                ..role()
            };
            let Some(Outcome::Rejected(told)) = role.refusal("orders") else {
                panic!("{obstacle:?} is none");
            };
            assert!(told.contains(obstacle.words()), "{told}");
        }
    }

    #[test]
    fn a_marker_is_a_whole_line_of_the_comment() {
        let with = |comment: &str| Role {
            comment: Some(comment.to_owned()),
            ..role()
        };
        assert!(with("keystead:a/b").carries("keystead:a/b"));
        assert!(with("for orders\n keystead:a/b \r\n").carries("keystead:a/b"));
        assert!(!with("keystead:a/bc").carries("keystead:a/b"));
        assert!(!with("not keystead:a/b").carries("keystead:a/b"));
        assert!(!with("").carries(""));
        assert!(!role().carries("keystead:a/b"));
    }

    #[test]
    fn a_verifier_has_a_salt_of_its_own_each_time() {
        let (one, other) = (verifier(b"same").unwrap(), verifier(b"same").unwrap());
        assert!(one.expose().starts_with(b"SCRAM-SHA-256$4096:"));
        assert_ne!(one, other);
    }

    /// Reads what is quoted, as the server does; nothing if it ends early or too late.
    fn unquoted(quoted: &str, quote: char) -> Option<String> {
        let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut text = String::new();
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            if character == quote && characters.next() != Some(quote) {
                return None;
            }
            text.push(character);
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_quoted_name_is_that_name_and_nothing_more(name in "[\"'\\\\;a-zé \\-]{1,20}") {
            prop_assert_eq!(unquoted(&escape_identifier(&name), '"'), Some(name));
        }

        #[test]
        fn a_quoted_text_is_that_text_and_nothing_more(text in "[\"'\\\\;a-zé \\-]{0,20}") {
            let quoted = escape_literal(&text);
            let read = match quoted.strip_prefix(" E") {
                Some(quoted) => unquoted(quoted, '\'').map(|read| read.replace("\\\\", "\\")),
                None => unquoted(&quoted, '\'').filter(|read| !read.contains('\\')),
            };
            prop_assert_eq!(read, Some(text));
        }
    }
}
