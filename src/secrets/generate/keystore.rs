//! Keystores of Java: PKCS#12, and the older JKS.

use std::time::{Duration, SystemTime};

use jks::common::RandomReader;
use jks::{
    Certificate as JksCertificate, KeyStoreOptions, PrivateKeyEntry, TrustedCertificateEntry,
};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey as P12Key, PrivateKeyChain};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::certificate::certificates;
use super::derived::text_of;
use super::private_key::{PrivateKey, Unreadable};
use super::recipe::{Bench, RecipeError};
use crate::api::managed_secret::{Keystore, KeystoreFormat};
use crate::crypto::{Random, SecretBytes};

/// Bytes of the salt that JKS encrypts a private key with.
const JKS_SALT: usize = 20;
/// Fewest characters of a password that Java's tools take.
const MIN_JKS_PASSWORD: usize = 6;

/// What a keystore holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeystorePolicy {
    /// The format.
    pub format: KeystoreFormat,
    /// The keys with a certificate and its private key.
    pub identity: Option<Identity>,
    /// The key with certificates to trust.
    pub ca: Option<String>,
    /// The key with the password.
    pub password: String,
    /// The alias of the private key.
    pub alias: String,
}

/// The keys with a certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The certificate, and those that follow it.
    pub certificate: String,
    /// Its private key.
    pub private_key: String,
}

impl From<&Keystore> for KeystorePolicy {
    fn from(spec: &Keystore) -> Self {
        let pair = spec
            .certificate_from
            .clone()
            .zip(spec.private_key_from.clone());
        Self {
            format: spec.format.unwrap_or_default(),
            identity: pair.map(|(certificate, private_key)| Identity {
                certificate,
                private_key,
            }),
            ca: spec.ca_from.clone(),
            password: spec.password_from.clone(),
            alias: spec
                .alias
                .clone()
                .unwrap_or_else(|| "certificate".to_owned()),
        }
    }
}

/// What goes into a keystore.
struct Content {
    /// A private key, and its certificates up to the root.
    identity: Option<(PrivateKey, Vec<Vec<u8>>)>,
    /// Certificates to trust, with their aliases.
    trusted: Vec<(String, Vec<u8>)>,
}

impl KeystorePolicy {
    /// The keys that it is made from.
    pub(super) fn inputs(&self) -> Vec<String> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|keys| [&keys.certificate, &keys.private_key]);
        identity
            .chain(&self.ca)
            .chain([&self.password])
            .cloned()
            .collect()
    }

    /// Makes it. The salts of PKCS#12 are drawn by its library, from the operating system.
    pub(super) fn build(
        &self,
        bench: &Bench<'_>,
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RecipeError> {
        let content = self.content(bench)?;
        match self.format {
            KeystoreFormat::Pkcs12 => self.pkcs12(content, text_of(&self.password, bench)?),
            KeystoreFormat::Jks => self.jks(content, bench, random),
        }
    }

    fn content(&self, bench: &Bench<'_>) -> Result<Content, RecipeError> {
        let chain = |key: &String| {
            let all = certificates(bench.input(key)?).ok_or_else(|| RecipeError::Input {
                input: key.clone(),
                problem: "holds no certificates in PEM",
            })?;
            Ok::<_, RecipeError>(all.into_iter().map(|pem| pem.contents).collect::<Vec<_>>())
        };
        let trusted = self.ca.as_ref().map_or(Ok(Vec::new()), chain)?;
        let identity = self.identity.as_ref().map(|keys| {
            let private = PrivateKey::read(bench.input(&keys.private_key)?);
            let private = private.map_err(|Unreadable| RecipeError::PrivateKeyUnreadable {
                key: keys.private_key.clone(),
            })?;
            let mut chain = chain(&keys.certificate)?;
            for root in &trusted {
                if !chain.contains(root) {
                    chain.push(root.clone());
                }
            }
            Ok::<_, RecipeError>((private, chain))
        });
        let alias = |index| match index {
            0 => "ca".to_owned(),
            index => format!("ca-{}", index + 1),
        };
        let named = trusted.into_iter().enumerate();
        Ok(Content {
            identity: identity.transpose()?,
            trusted: named.map(|(index, der)| (alias(index), der)).collect(),
        })
    }

    fn pkcs12(&self, content: Content, password: &str) -> Result<SecretBytes, RecipeError> {
        let certificate =
            |der: &[u8]| Certificate::from_der(der).map_err(|_| RecipeError::Keystore);
        let mut store = KeyStore::new();
        if let Some((private, chain)) = content.identity {
            let id = chain.first().map(Sha256::digest).unwrap_or_default();
            let chain = chain.iter().map(|der| certificate(der));
            let chain = chain.collect::<Result<Vec<_>, _>>()?;
            let key = P12Key::from_der(private.pkcs8()).map_err(|_| RecipeError::Keystore)?;
            let entry = PrivateKeyChain::new(id.as_slice(), key, chain);
            store.add_entry(&self.alias, KeyStoreEntry::PrivateKeyChain(entry));
        }
        for (alias, der) in content.trusted {
            store.add_entry(&alias, KeyStoreEntry::Certificate(certificate(&der)?));
        }
        let written = store.writer(password).write();
        written
            .map(SecretBytes::from)
            .map_err(|_| RecipeError::Keystore)
    }

    fn jks(
        &self,
        content: Content,
        bench: &Bench<'_>,
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RecipeError> {
        let password = bench.input(&self.password)?;
        if password.len() < MIN_JKS_PASSWORD || !password.is_ascii() {
            return Err(RecipeError::Input {
                input: self.password.clone(),
                problem: "is no password of a JKS keystore: that has at least 6 characters of ASCII",
            });
        }
        let mut salt = [0; JKS_SALT];
        random.fill(&mut salt).map_err(RecipeError::Random)?;
        let mut store = jks::KeyStore::with_options(KeyStoreOptions {
            ordered_aliases: true,
            rng: Box::new(Drawn(salt)),
            ..KeyStoreOptions::default()
        });
        let seconds = u64::try_from(bench.now.as_second()).unwrap_or_default();
        let creation_time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let certificate = |content: Vec<u8>| JksCertificate {
            cert_type: "X.509".to_owned(),
            content,
        };
        if let Some((private, chain)) = content.identity {
            let entry = PrivateKeyEntry {
                creation_time,
                private_key: private.pkcs8().to_vec(),
                certificate_chain: chain.into_iter().map(certificate).collect(),
            };
            let set = store.set_private_key_entry(&self.alias, entry, password);
            set.map_err(|_| RecipeError::Keystore)?;
        }
        for (alias, der) in content.trusted {
            let entry = TrustedCertificateEntry {
                creation_time,
                certificate: certificate(der),
            };
            let set = store.set_trusted_certificate_entry(&alias, entry);
            set.map_err(|_| RecipeError::Keystore)?;
        }
        let mut out = SecretBytes::new();
        store
            .store(&mut out, password)
            .map_err(|_| RecipeError::Keystore)?;
        Ok(out)
    }
}

/// A salt that was drawn before, since the library wants a source of its own. It is used once: a keystore has one
/// private key.
struct Drawn([u8; JKS_SALT]);

impl RandomReader for Drawn {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<()> {
        let salt = self.0.get(..out.len());
        let salt = salt.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(salt);
        Ok(())
    }
}
