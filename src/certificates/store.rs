//! How certificates are kept: two Secrets of the operator's namespace.
//!
//! `keystead-ca` has the authorities with their keys, for the controller. `keystead-server-tls` has the
//! server's certificate and key, and the authorities' certificates as `ca.crt`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::facts::{self, Facts};
use super::make::{self, Error, Made};
use super::plan::Step;
use crate::api::names::{
    AUTHORITY_SECRET, LABEL_MANAGED_BY, MANAGED_BY, SECRET_TYPE_AUTHORITY, SERVER_SECRET,
};

/// Certificate and key of an authority, by its role.
const CURRENT: [&str; 2] = ["ca.crt", "ca.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
/// The key of an authority that signs no more is not kept.
const PREVIOUS: &str = "previous.crt";
/// The server's certificate and key, as kubernetes.io/tls names them.
const LEAF: [&str; 2] = ["tls.crt", "tls.key"];
/// The type of Secret that these names belong to.
const SECRET_TYPE_TLS: &str = "kubernetes.io/tls";

/// The Secrets; `None` where there is none.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// `keystead-ca`.
    pub authorities: Option<Secret>,
    /// `keystead-server-tls`.
    pub served: Option<Secret>,
}

impl Stored {
    /// What is known of them.
    pub fn facts(&self) -> Facts {
        let authority = |[certificate, key]: [&str; 2]| {
            let certificate = entry(self.authorities.as_ref(), certificate)?;
            facts::authority(certificate, Some(entry(self.authorities.as_ref(), key)?))
        };
        let leaf = || {
            let [certificate, key] = LEAF.map(|name| entry(self.served.as_ref(), name));
            facts::leaf(certificate?, key?)
        };
        let previous = entry(self.authorities.as_ref(), PREVIOUS);
        Facts {
            current: authority(CURRENT),
            next: authority(NEXT),
            previous: previous.and_then(|certificate| facts::authority(certificate, None)),
            leaf: leaf(),
        }
    }

    /// The certificates of all authorities that are trusted, PEM; empty if there is none.
    pub fn bundle(&self) -> Vec<u8> {
        let certificates = [CURRENT[0], NEXT[0], PREVIOUS];
        let found = certificates.map(|name| entry(self.authorities.as_ref(), name));
        found.into_iter().flatten().flatten().copied().collect()
    }

    /// The Secret as it is after a step: to be written over exactly the one that was looked at.
    pub fn after(
        &self,
        step: Step,
        hosts: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Secret, Error> {
        if step == Step::Issue {
            return self.issued(hosts, now);
        }
        let mut secret = like(
            self.authorities.as_ref(),
            AUTHORITY_SECRET,
            SECRET_TYPE_AUTHORITY,
        );
        let data = secret.data.get_or_insert_default();
        match step {
            Step::MakeAuthority => put(data, CURRENT, make::authority(now)?),
            Step::MakeNext => put(data, NEXT, make::authority(now)?),
            Step::Promote => {
                rename(data, CURRENT[0], PREVIOUS);
                rename(data, NEXT[0], CURRENT[0]);
                rename(data, NEXT[1], CURRENT[1]);
            }
            Step::ForgetPrevious | Step::Issue => {
                data.remove(PREVIOUS);
            }
        }
        Ok(secret)
    }

    fn issued(&self, hosts: &BTreeSet<String>, now: Timestamp) -> Result<Secret, Error> {
        let authority = self.facts().current.ok_or(Error::NoAuthority)?;
        let key = entry(self.authorities.as_ref(), CURRENT[1]).ok_or(Error::NoAuthority)?;
        let key = std::str::from_utf8(key).map_err(|_| Error::NoAuthority)?;
        let mut secret = like(self.served.as_ref(), SERVER_SECRET, SECRET_TYPE_TLS);
        let data = secret.data.get_or_insert_default();
        put(data, LEAF, make::leaf(&authority.name, key, hosts, now)?);
        data.insert("ca.crt".to_owned(), ByteString(self.bundle()));
        Ok(secret)
    }
}

/// Certificate chain and key, PEM, that the server proves itself with.
pub fn served(secret: &Secret) -> Option<(&[u8], &[u8])> {
    let [certificate, key] = LEAF.map(|name| entry(Some(secret), name));
    certificate.zip(key)
}

fn entry<'a>(secret: Option<&'a Secret>, name: &str) -> Option<&'a [u8]> {
    Some(secret?.data.as_ref()?.get(name)?.0.as_slice())
}

/// The Secret that is there, or a new one.
fn like(found: Option<&Secret>, name: &str, type_: &str) -> Secret {
    let new = || Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        ..Secret::default()
    };
    found.cloned().unwrap_or_else(new)
}

fn put(data: &mut BTreeMap<String, ByteString>, [certificate, key]: [&str; 2], made: Made) {
    data.insert(
        certificate.to_owned(),
        ByteString(made.certificate.into_bytes()),
    );
    data.insert(key.to_owned(), ByteString(made.key.as_bytes().to_vec()));
}

fn rename(data: &mut BTreeMap<String, ByteString>, from: &str, to: &str) {
    match data.remove(from) {
        Some(value) => data.insert(to.to_owned(), value),
        None => data.remove(to),
    };
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Span;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

    use super::super::plan::plan;
    use super::*;

    fn hosts() -> BTreeSet<String> {
        BTreeSet::from(["keystead-server.keystead-system.svc".to_owned()])
    }

    fn now() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    fn later(days: i32) -> Timestamp {
        now().checked_add(Span::new().hours(24 * days)).unwrap()
    }

    fn settle(stored: &mut Stored, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = plan(&stored.facts(), &hosts(), now) {
            let secret = stored.after(step, &hosts(), now).unwrap();
            if step == Step::Issue {
                stored.served = Some(secret);
            } else {
                stored.authorities = Some(secret);
            }
            steps.push(step);
            assert!(steps.len() < 10, "{steps:?}");
        }
        steps
    }

    /// Whether who trusts `bundle` accepts the served certificate: as a TLS client judges it.
    fn accepts(bundle: &[u8], stored: &Stored, now: Timestamp) -> Result<(), String> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let (certificate, key) = served(stored.served.as_ref().unwrap()).unwrap();
        PrivateKeyDer::from_pem_slice(key).unwrap();
        let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap();
        let host = ServerName::try_from(hosts().pop_first().unwrap()).unwrap();
        let seconds = u64::try_from(now.as_second()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let judged = verifier.verify_server_cert(&certificate, &[], &host, &[], now);
        judged.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_made_is_what_a_tls_client_accepts_for_its_life_and_not_longer() {
        let mut stored = Stored::default();
        assert_eq!(
            settle(&mut stored, now()),
            [Step::MakeAuthority, Step::Issue]
        );
        let bundle = stored.bundle();
        accepts(&bundle, &stored, now()).unwrap();
        accepts(&bundle, &stored, later(89)).unwrap();
        accepts(&bundle, &stored, later(91)).unwrap_err();
        assert_eq!(settle(&mut stored, later(59)), []);
        assert_eq!(settle(&mut stored, later(61)), [Step::Issue]);
        assert_eq!(stored.bundle(), bundle, "the authority stays");
        accepts(&bundle, &stored, later(120)).unwrap();
    }

    #[test]
    fn when_the_authority_changes_old_and_new_trust_accept_old_and_new_certificates() {
        let mut stored = Stored::default();
        settle(&mut stored, now());
        let mut day = 0;
        let mut promoted = false;
        while !promoted {
            day += 1;
            assert!(day < 3650, "the authority is renewed in its life");
            let (before, was) = (stored.clone(), stored.bundle());
            let steps = settle(&mut stored, later(day));
            promoted = steps.contains(&Step::Promote);
            if !steps.is_empty() {
                accepts(&was, &stored, later(day)).unwrap();
                accepts(&stored.bundle(), &before, later(day)).unwrap();
            }
        }
        assert!(day > 2400, "not before two thirds of ten years: day {day}");
    }

    #[test]
    fn a_certificate_for_addresses_and_capitals_is_made_once() {
        let written = [
            "192.0.2.7",
            "2001:DB8:0:0::7",
            "::ffff:192.0.2.7",
            "Keys.Example",
        ];
        let hosts: BTreeSet<_> = written
            .into_iter()
            .map(str::to_owned)
            .chain(hosts())
            .collect();
        let mut stored = Stored::default();
        stored.authorities = Some(stored.after(Step::MakeAuthority, &hosts, now()).unwrap());
        stored.served = Some(stored.after(Step::Issue, &hosts, now()).unwrap());
        assert_eq!(plan(&stored.facts(), &hosts, now()), None);
        let names = stored.facts().leaf.unwrap().hosts;
        for name in [
            "192.0.2.7",
            "2001:db8::7",
            "::ffff:192.0.2.7",
            "keys.example",
        ] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        let fewer = names
            .into_iter()
            .filter(|name| name != "192.0.2.7")
            .collect();
        assert_eq!(plan(&stored.facts(), &fewer, now()), Some(Step::Issue));
    }

    #[test]
    fn a_key_of_somebody_else_or_nonsense_is_replaced() {
        let mut stored = Stored::default();
        settle(&mut stored, now());
        let mut other = Stored::default();
        settle(&mut other, now());
        let theirs = other.served.unwrap().data.unwrap()["tls.key"].clone();
        let served = stored.served.as_mut().unwrap();
        served
            .data
            .as_mut()
            .unwrap()
            .insert("tls.key".to_owned(), theirs);
        assert_eq!(settle(&mut stored, now()), [Step::Issue]);

        let authorities = stored.authorities.as_mut().unwrap();
        let nonsense = ByteString(b"nonsense".to_vec());
        authorities
            .data
            .as_mut()
            .unwrap()
            .insert("ca.crt".to_owned(), nonsense);
        assert_eq!(
            settle(&mut stored, now()),
            [Step::MakeAuthority, Step::Issue]
        );
        accepts(&stored.bundle(), &stored, now()).unwrap();
    }
}
