//! Subjects with several organisations, which are a user's groups.
//!
//! rcgen keeps one value of each kind in a name, so its certificate is taken apart, given the subject
//! that was meant and signed again.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{KeyPair, SigningKey as _};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const BIT_STRING: u8 = 0x03;
/// id-at-commonName and id-at-organizationName (RFC 5280, appendix A.1).
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
/// Version, serial number, signature algorithm, issuer and validity come before it (RFC 5280, 4.1).
const SUBJECT: usize = 5;

/// The certificate, PEM, for another subject.
pub(crate) fn replace(der: &[u8], name: &str, groups: &[&str], issuer: &KeyPair) -> Result<String> {
    let [certificate] = &elements(der)?[..] else { return Err(anyhow::anyhow!("one certificate")) };
    let parts = elements(certificate.content)?;
    ensure!(parts.len() == 3, "a certificate has three parts");
    let fields = elements(parts[0].content)?;
    ensure!(fields.len() > SUBJECT, "a certificate has a subject");

    let mut rdns = attribute(COMMON_NAME, name);
    for group in groups {
        rdns.extend(attribute(ORGANIZATION, group));
    }
    let subject = encode(SEQUENCE, &rdns);
    let mut signed = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        signed.extend_from_slice(if index == SUBJECT { &subject } else { field.whole });
    }
    let signed = encode(SEQUENCE, &signed);
    let signature = issuer.sign(&signed).context("sign a certificate")?;
    // The first byte counts unused bits.
    let signature = encode(BIT_STRING, &[&[0], signature.as_slice()].concat());
    let der = encode(SEQUENCE, &[signed.as_slice(), parts[1].whole, &signature].concat());
    Ok(pem(&der))
}

fn attribute(kind: [u8; 3], value: &str) -> Vec<u8> {
    let pair = [encode(OID, &kind), encode(UTF8_STRING, value.as_bytes())].concat();
    encode(SET, &encode(SEQUENCE, &pair))
}

struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// The elements that follow each other in DER.
fn elements(mut bytes: &[u8]) -> Result<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let first = *bytes.get(1).context("an element has a length")?;
        let digits = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        ensure!(digits <= 4, "an element is not that long");
        let mut length = if digits == 0 { usize::from(first) } else { 0 };
        for digit in bytes.get(2..2 + digits).context("an element has a whole length")? {
            length = length << 8 | usize::from(*digit);
        }
        let start = 2 + digits;
        let end = start.checked_add(length).context("an element is not that long")?;
        let whole = bytes.get(..end).context("an element is complete")?;
        found.push(Element { whole, content: &whole[start..] });
        bytes = &bytes[end..];
    }
    Ok(found)
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|digit| **digit == 0).count()..];
    let mut der = vec![tag];
    match (content.len(), u8::try_from(digits.len())) {
        (short @ ..0x80, _) => der.push(u8::try_from(short).unwrap_or(0)),
        (_, count) => {
            der.push(0x80 | count.unwrap_or(0));
            der.extend_from_slice(digits);
        }
    }
    der.extend_from_slice(content);
    der
}

fn pem(der: &[u8]) -> String {
    let encoded = BASE64.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_as_der_wants_them() {
        assert_eq!(encode(4, &[7; 2]), [4, 2, 7, 7]);
        assert_eq!(encode(4, &[0; 127])[..2], [4, 0x7f]);
        assert_eq!(encode(4, &[0; 128])[..3], [4, 0x81, 0x80]);
        assert_eq!(encode(4, &[0; 300])[..4], [4, 0x82, 0x01, 0x2c]);
        for size in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![9; size];
            assert_eq!(elements(&encode(4, &content)).unwrap()[0].content, content);
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = encode(SEQUENCE, &[1; 200]);
        for end in 1..whole.len() {
            assert!(elements(&whole[..end]).is_err(), "{end}");
        }
    }
}
