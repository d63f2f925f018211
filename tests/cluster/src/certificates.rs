//! Certificate authorities of a cluster and the certificates they sign.
//!
//! Three authorities, so that a user's certificate opens neither etcd nor the front proxy.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::subject;

/// One of the authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Signs the API server, the components and the users.
    Cluster,
    /// Signs etcd and its one client.
    Etcd,
    /// Signs the API server's certificate towards aggregated servers.
    FrontProxy,
}

impl Authority {
    const ALL: [Self; 3] = [Self::Cluster, Self::Etcd, Self::FrontProxy];

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::Etcd => "etcd-ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }

    fn params(self) -> Result<CertificateParams> {
        let mut params = params(&format!("keystead test {}", self.file()), &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Ok(params)
    }
}

/// Certificate and private key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate says about its holder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) groups: &'a [&'a str],
    /// Names and addresses of a server; none for a client.
    pub(crate) hosts: &'a [String],
}

/// The folder with keys and certificates.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Creates authorities and the service-account key.
    pub(crate) fn create(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let pki = Self { dir };
        for authority in Authority::ALL {
            let key = KeyPair::generate().context("generate an authority's key")?;
            let certificate = authority.params()?.self_signed(&key).context("self-sign")?;
            let identity = Identity {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            };
            pki.write(authority.file(), &identity)?;
        }
        let key = KeyPair::generate().context("generate the service-account key")?;
        write_private(&pki.path("service-account.key"), &key.serialize_pem())?;
        fs::write(pki.path("service-account.pub"), key.public_key_pem())?;
        Ok(pki)
    }

    /// The folder that `create` made earlier.
    pub(crate) fn open(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub(crate) fn certificate(&self, name: &str) -> String {
        self.path(&format!("{name}.crt")).display().to_string()
    }

    pub(crate) fn key(&self, name: &str) -> String {
        self.path(&format!("{name}.key")).display().to_string()
    }

    /// The authority's certificate, PEM.
    pub(crate) fn authority_pem(&self, authority: Authority) -> Result<String> {
        Ok(fs::read_to_string(self.certificate(authority.file()))?)
    }

    pub(crate) fn sign(&self, authority: Authority, subject: Subject<'_>) -> Result<Identity> {
        let issuer_key = fs::read_to_string(self.key(authority.file()))?;
        let issuer_key = KeyPair::from_pem(&issuer_key).context("read an authority's key")?;
        let issuer = Issuer::new(authority.params()?, &issuer_key);
        let mut params = params(subject.name, subject.hosts)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("generate a key")?;
        let certificate = params.signed_by(&key, &issuer).context("sign a certificate")?;
        let certificate = if subject.groups.is_empty() {
            certificate.pem()
        } else {
            subject::replace(certificate.der(), subject.name, subject.groups, &issuer_key)?
        };
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// Signs and keeps the result as `<file>.crt` and `<file>.key`.
    pub(crate) fn issue(
        &self,
        authority: Authority,
        file: &str,
        subject: Subject<'_>,
    ) -> Result<()> {
        let identity = self.sign(authority, subject)?;
        self.write(file, &identity)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Identity> {
        let read = |path: String| fs::read_to_string(&path).with_context(|| format!("read {path}"));
        Ok(Identity {
            certificate: read(self.certificate(name))?,
            key: read(self.key(name))?,
        })
    }

    fn write(&self, name: &str, identity: &Identity) -> Result<()> {
        fs::write(self.certificate(name), &identity.certificate)?;
        write_private(Path::new(&self.key(name)), &identity.key)
    }
}

fn params(name: &str, hosts: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts.to_vec()).context("name a certificate")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Fixed, so that a machine with a wrong clock works and an authority can be rebuilt from its key.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(params)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}
