//! Makes authorities and certificates.

use std::collections::BTreeSet;

use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::hex::Hex;

/// Days that an authority lives: ten years.
const AUTHORITY_DAYS: i32 = 3650;
/// Days that the server's certificate lives.
const LEAF_DAYS: i32 = 90;
/// Days that a life begins before the certificate is made: other clocks may be late.
const BACKDATED_DAYS: i32 = 1;

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no authority that could sign.
    #[error("there is no authority to sign with")]
    NoAuthority,
    /// What was found is no key or certificate of ours.
    #[error("the certificates cannot be made from what is there")]
    Certificate(#[from] rcgen::Error),
    /// The clock is out of range.
    #[error("the clock shows no date that a certificate could have")]
    Date,
    /// The operating system gave no randomness.
    #[error("draw randomness")]
    Random,
}

/// A certificate with its private key, both PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// A new authority.
pub(super) fn authority(now: Timestamp) -> Result<Made, Error> {
    let key = KeyPair::generate()?;
    let mut params = authority_params(&name()?);
    set_life(&mut params, now, AUTHORITY_DAYS)?;
    let certificate = params.self_signed(&key)?;
    Ok(Made {
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// A certificate of the server for those DNS names and addresses, signed by the authority of that name and key.
pub(super) fn leaf(
    authority: &str,
    key: &str,
    hosts: &BTreeSet<String>,
    now: Timestamp,
) -> Result<Made, Error> {
    let issuer = Issuer::new(authority_params(authority), KeyPair::from_pem(key)?);
    let mut params = CertificateParams::new(hosts.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "keystead-server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, LEAF_DAYS)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Made {
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// The parameters that say who an authority is. With its key they make the issuer anew.
fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // It signs the server's certificates and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A name that no other authority has, so that it says which one signed.
fn name() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(format!("keystead-ca-{}", Hex(&bytes)))
}

/// From a day before until that many days after, in whole days.
fn set_life(params: &mut CertificateParams, now: Timestamp, days: i32) -> Result<(), Error> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let from = today.checked_sub(Span::new().days(BACKDATED_DAYS));
    let until = today.checked_add(Span::new().days(days));
    params.not_before = midnight(from.map_err(|_| Error::Date)?)?;
    params.not_after = midnight(until.map_err(|_| Error::Date)?)?;
    Ok(())
}

fn midnight(date: Date) -> Result<OffsetDateTime, Error> {
    let part = |part: i8| u8::try_from(part).map_err(|_| Error::Date);
    Ok(date_time_ymd(
        date.year().into(),
        part(date.month())?,
        part(date.day())?,
    ))
}
