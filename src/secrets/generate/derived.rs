//! Values that follow from other keys of the secret: verifiers of passwords, log-ins to registries, keystores.
//!
//! Most of them have a random salt. So a derived value is kept while its inputs and its parameters are the same, and is
//! never computed to be compared: that would be slow, and would give another one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use aws_lc_rs::{digest as sha, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bcrypt::Version;
use serde::{Serialize, Serializer};
use serde_json::json;
use zeroize::Zeroizing;

use super::digest;
use super::keystore::KeystorePolicy;
use super::recipe::{Bench, RecipeError};
use crate::api::managed_secret::{Generate, Registry};
use crate::crypto::{Random, SecretBytes};

/// The cost of bcrypt if nothing else is said.
const DEFAULT_BCRYPT_COST: u32 = 10;
/// The iterations of SCRAM if nothing else is said: PostgreSQL's own number.
const DEFAULT_SCRAM_ITERATIONS: u32 = 4_096;
/// Bytes of a password that bcrypt looks at: 72 with the zero byte at its end.
const MAX_BCRYPT_PASSWORD: usize = 71;
/// Bytes of a salt of PostgreSQL.
const SCRAM_SALT: usize = 16;

/// A text that is written in the spec, or the value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Text {
    /// As written.
    Literal(String),
    /// The value of that key.
    From(String),
}

/// How a value follows from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derivation {
    /// A user name, a colon, and the bcrypt hash of a password.
    Htpasswd {
        /// The user name.
        username: Text,
        /// The key with the password.
        password: String,
        /// The cost, a power of two.
        cost: u32,
    },
    /// A bcrypt hash.
    Bcrypt {
        /// The key with the password.
        password: String,
        /// The cost, a power of two.
        cost: u32,
    },
    /// A verifier of SCRAM-SHA-256 (RFC 5802, RFC 7677), as PostgreSQL writes it.
    Scram {
        /// The key with the password.
        password: String,
        /// The iterations.
        iterations: u32,
    },
    /// Log-ins to registries.
    DockerConfigJson {
        /// The registries.
        registries: Vec<RegistryLogin>,
    },
    /// A keystore.
    Keystore(KeystorePolicy),
}

/// A log-in to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistryLogin {
    /// Its address.
    pub server: String,
    /// The user name.
    pub username: Text,
    /// The key with the password.
    pub password: String,
    /// The e-mail address.
    pub email: Option<String>,
}

impl From<&Registry> for RegistryLogin {
    fn from(spec: &Registry) -> Self {
        Self {
            server: spec.server.clone(),
            username: text(spec.username.as_ref(), spec.username_from.as_ref()),
            password: spec.password_from.clone(),
            email: spec.email.clone(),
        }
    }
}

/// One of two fields; the schema sees to it that one is set.
fn text(literal: Option<&String>, from: Option<&String>) -> Text {
    match (literal, from) {
        (_, Some(key)) => Text::From(key.clone()),
        (literal, None) => Text::Literal(literal.cloned().unwrap_or_default()),
    }
}

impl Derivation {
    /// The derivations that a spec names.
    pub(super) fn all_of(spec: &Generate) -> Vec<Self> {
        let htpasswd = spec.htpasswd.as_ref().map(|spec| Self::Htpasswd {
            username: text(spec.username.as_ref(), spec.username_from.as_ref()),
            password: spec.password_from.clone(),
            cost: spec.cost.unwrap_or(DEFAULT_BCRYPT_COST),
        });
        let bcrypt = spec.bcrypt.as_ref().map(|spec| Self::Bcrypt {
            password: spec.from.clone(),
            cost: spec.cost.unwrap_or(DEFAULT_BCRYPT_COST),
        });
        let scram = spec.scram.as_ref().map(|spec| Self::Scram {
            password: spec.from.clone(),
            iterations: spec.iterations.unwrap_or(DEFAULT_SCRAM_ITERATIONS),
        });
        let docker = spec.docker_config_json.as_ref();
        let docker = docker.map(|spec| Self::DockerConfigJson {
            registries: spec.registries.iter().map(Into::into).collect(),
        });
        let keystore = spec.keystore.as_ref();
        let keystore = keystore.map(|spec| Self::Keystore(spec.into()));
        let all = [htpasswd, bcrypt, scram, docker, keystore];
        all.into_iter().flatten().collect()
    }

    /// The keys that it is made from.
    pub(super) fn inputs(&self) -> Vec<String> {
        let with = |username: &Text, password: &String| {
            let username = match username {
                Text::Literal(_) => None,
                Text::From(key) => Some(key.clone()),
            };
            username.into_iter().chain([password.clone()])
        };
        match self {
            Self::Htpasswd {
                username, password, ..
            } => with(username, password).collect(),
            Self::Bcrypt { password, .. } | Self::Scram { password, .. } => vec![password.clone()],
            Self::DockerConfigJson { registries } => registries
                .iter()
                .flat_map(|login| with(&login.username, &login.password))
                .collect(),
            Self::Keystore(policy) => policy.inputs(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let (field, bounds, value) = match self {
            Self::Htpasswd { cost, .. } | Self::Bcrypt { cost, .. } => ("cost", 4..=17, *cost),
            Self::Scram { iterations, .. } => ("iterations", 4_096..=600_000, *iterations),
            Self::DockerConfigJson { .. } | Self::Keystore(_) => return Ok(()),
        };
        if bounds.contains(&value) {
            return Ok(());
        }
        Err(RecipeError::Bounds { field })
    }

    /// The digest of its parameters.
    pub(super) fn digest(&self) -> String {
        digest(&match self {
            Self::Htpasswd {
                username,
                password,
                cost,
            } => json!({"htpasswd": {"username": username, "password": password, "cost": cost}}),
            Self::Bcrypt { password, cost } => {
                json!({"bcrypt": {"password": password, "cost": cost}})
            }
            Self::Scram {
                password,
                iterations,
            } => json!({"scram": {"password": password, "iterations": iterations}}),
            Self::DockerConfigJson { registries } => json!({"dockerConfigJson": registries}),
            Self::Keystore(policy) => json!({"keystore": policy}),
        })
    }

    /// The value: kept, or made.
    pub(super) fn fill(
        &self,
        key: &str,
        bench: &Bench<'_>,
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RecipeError> {
        match bench.kept(key) {
            Some(kept) if bench.is_made_with(key, &self.digest(), &self.inputs()) => {
                Ok(SecretBytes::copy_of(kept))
            }
            Some(_) | None => self.derive(bench, random),
        }
    }

    fn derive(
        &self,
        bench: &Bench<'_>,
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RecipeError> {
        match self {
            Self::Htpasswd {
                username,
                password,
                cost,
            } => {
                let mut line = SecretBytes::copy_of(username_of(username, bench)?.as_bytes());
                line.extend_from_slice(b":");
                line.extend_from_slice(bcrypt_of(password, *cost, bench, random)?.as_bytes());
                Ok(line)
            }
            Self::Bcrypt { password, cost } => {
                bcrypt_of(password, *cost, bench, random).map(SecretBytes::from)
            }
            Self::Scram {
                password,
                iterations,
            } => {
                let mut salt = [0; SCRAM_SALT];
                random.fill(&mut salt).map_err(RecipeError::Random)?;
                let iterations = NonZeroU32::new(*iterations);
                let iterations = iterations.ok_or(RecipeError::Bounds {
                    field: "iterations",
                })?;
                Ok(scram(bench.input(password)?, &salt, iterations))
            }
            Self::DockerConfigJson { registries } => docker_config_json(registries, bench),
            Self::Keystore(policy) => policy.build(bench, random),
        }
    }
}

/// A user name, which ends at the colon where it is used.
fn username_of<'a>(username: &'a Text, bench: &Bench<'a>) -> Result<&'a str, RecipeError> {
    match username {
        Text::Literal(name) => Ok(name),
        Text::From(key) => {
            let name = text_of(key, bench)?;
            if name.is_empty() || name.contains([':', '\r', '\n']) {
                return Err(RecipeError::Input {
                    input: key.clone(),
                    problem: "is no user name: it is empty, or has a colon or a line break",
                });
            }
            Ok(name)
        }
    }
}

/// An input that has to be text.
pub(super) fn text_of<'a>(key: &str, bench: &Bench<'a>) -> Result<&'a str, RecipeError> {
    std::str::from_utf8(bench.input(key)?).map_err(|_| RecipeError::Input {
        input: key.to_owned(),
        problem: "is not UTF-8, and is needed as text",
    })
}

/// The bcrypt hash of a key. A longer password would count by its beginning only, and one with a zero byte, in most
/// programs, up to there: both are refused.
fn bcrypt_of(
    key: &str,
    cost: u32,
    bench: &Bench<'_>,
    random: &mut dyn Random,
) -> Result<String, RecipeError> {
    let password = bench.input(key)?;
    let refused = |problem| RecipeError::Input {
        input: key.to_owned(),
        problem,
    };
    if password.len() > MAX_BCRYPT_PASSWORD {
        return Err(refused(
            "has more than 71 bytes, which bcrypt does not look at: take a shorter password",
        ));
    }
    if password.contains(&0) {
        return Err(refused(
            "has a zero byte, where programs let a password of bcrypt end: take another encoding",
        ));
    }
    let mut salt = [0; 16];
    random.fill(&mut salt).map_err(RecipeError::Random)?;
    let hash = bcrypt::non_truncating_hash_with_salt(password, cost, salt);
    let hash = hash.map_err(|_| RecipeError::Bounds { field: "cost" })?;
    Ok(hash.format_for_version(Version::TwoY))
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
///
/// What `SASLprep` (RFC 4013) refuses, also what is no text, is taken as it is: PostgreSQL and its clients do so.
pub(crate) fn scram(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> SecretBytes {
    let prepared = std::str::from_utf8(password).ok();
    let prepared = prepared.and_then(|text| stringprep::saslprep(text).ok());
    let prepared = prepared.map_or_else(
        || Zeroizing::new(password.to_vec()),
        |text| Zeroizing::new(text.into_owned().into_bytes()),
    );
    let mut salted = Zeroizing::new([0; sha::SHA256_OUTPUT_LEN]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, &prepared, &mut *salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = sha::digest(&sha::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    SecretBytes::from(format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        BASE64.encode(salt),
        BASE64.encode(stored_key),
        BASE64.encode(server_key),
    ))
}

/// One entry of `auths`.
#[derive(Serialize)]
struct Login<'a> {
    username: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(serialize_with = "as_text")]
    auth: Zeroizing<String>,
}

fn as_text<S: Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn docker_config_json(
    registries: &[RegistryLogin],
    bench: &Bench<'_>,
) -> Result<SecretBytes, RecipeError> {
    #[derive(Serialize)]
    struct Config<'a> {
        auths: BTreeMap<&'a str, Login<'a>>,
    }
    let mut auths = BTreeMap::new();
    for registry in registries {
        let username = username_of(&registry.username, bench)?;
        let password = text_of(&registry.password, bench)?;
        let mut both = SecretBytes::copy_of(username.as_bytes());
        both.extend_from_slice(b":");
        both.extend_from_slice(password.as_bytes());
        let login = Login {
            username,
            password,
            email: registry.email.as_deref(),
            auth: Zeroizing::new(BASE64.encode(both.expose())),
        };
        auths.insert(registry.server.as_str(), login);
    }
    let mut text = SecretBytes::new();
    serde_json::to_writer(&mut text, &Config { auths }).expect("it is text throughout");
    Ok(text)
}
