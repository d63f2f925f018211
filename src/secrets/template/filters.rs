//! The filters of a template: ways to write text inside of another syntax.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{MAX_OUTPUT, pem};
use crate::crypto::SecretBytes;
use crate::secrets::buffer::{Buffer, Full};

/// The names that a user may write, for messages.
pub(super) const NAMES: &str = "urlencode (urlquery), b64encode, b64decode, json (tojson), yaml (toyaml), shellquote \
                                (shell_quote), pem(\"LABEL\"), filterpem(\"LABEL\")";

/// A way to write text inside of another syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// RFC 3986: everything but the unreserved characters is percent-encoded.
    UrlEncode,
    /// RFC 4648 section 4, of any bytes.
    Base64Encode,
    /// The bytes that standard base64 stands for; white space in it counts for nothing.
    Base64Decode,
    /// A JSON string literal, with its quotes: a scalar of YAML, too.
    Json,
    /// One word of a POSIX shell, in single quotes.
    ShellQuote,
    /// Any bytes in PEM, under that label.
    Pem(String),
    /// The blocks of a PEM text that have that label.
    PemBlocks(String),
}

/// Why there is no such filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameError {
    /// No filter has this name.
    Unknown,
    /// It takes no argument.
    Argument,
    /// It takes a label of PEM.
    Label,
}

/// Why a filter cannot write what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilterError {
    /// The bytes are not UTF-8, and only `b64encode` and `pem` take such.
    NotText,
    /// The text is no base64.
    NotBase64,
    /// There is no whole block of that label.
    NoPem,
    /// A NUL, which no shell can hold.
    Nul,
    /// The result would be longer than a rendered key may be.
    TooLong,
}

impl From<Full> for FilterError {
    fn from(Full: Full) -> Self {
        Self::TooLong
    }
}

impl Filter {
    /// The filter of a name, with what is between its parentheses.
    pub(super) fn named(name: &str, argument: Option<&str>) -> Result<Self, NameError> {
        let label = || {
            let label = argument.filter(|label| pem::is_label(label));
            label.map(str::to_owned).ok_or(NameError::Label)
        };
        let filter = match name {
            "pem" => return label().map(Self::Pem),
            "filterpem" | "filterPEM" => return label().map(Self::PemBlocks),
            "urlencode" | "urlquery" => Self::UrlEncode,
            "b64encode" => Self::Base64Encode,
            "b64decode" => Self::Base64Decode,
            "json" | "tojson" | "yaml" | "toyaml" => Self::Json,
            "shellquote" | "shell_quote" => Self::ShellQuote,
            _ => return Err(NameError::Unknown),
        };
        match argument {
            None => Ok(filter),
            Some(_) => Err(NameError::Argument),
        }
    }

    /// Writes `input` in the filter's form.
    pub(super) fn apply(&self, input: &[u8]) -> Result<SecretBytes, FilterError> {
        let text = || std::str::from_utf8(input).map_err(|_| FilterError::NotText);
        match self {
            Self::Base64Encode => base64_encode(input),
            Self::Base64Decode => base64_decode(text()?),
            Self::UrlEncode => text().and_then(|_| url_encode(input)),
            Self::Json => json(text()?),
            Self::ShellQuote => text().and_then(|_| shell_quote(input)),
            Self::Pem(label) => pem::wrap(label, input),
            Self::PemBlocks(label) => pem::filter(label, text()?),
        }
    }
}

fn base64_encode(input: &[u8]) -> Result<SecretBytes, FilterError> {
    let length = input.len().div_ceil(3) * 4;
    if length > MAX_OUTPUT {
        return Err(FilterError::TooLong);
    }
    let mut encoded = SecretBytes::zeroed(length);
    let written = STANDARD
        .encode_slice(input, encoded.expose_mut())
        .expect("length is that of base64");
    debug_assert_eq!(written, length);
    Ok(encoded)
}

fn base64_decode(text: &str) -> Result<SecretBytes, FilterError> {
    let mut packed = SecretBytes::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        packed.extend_from_slice(word.as_bytes());
    }
    let mut decoded = SecretBytes::zeroed(packed.len().div_ceil(4) * 3);
    let length = STANDARD
        .decode_slice(packed.expose(), decoded.expose_mut())
        .map_err(|_| FilterError::NotBase64)?;
    Ok(SecretBytes::copy_of(&decoded.expose()[..length]))
}

fn url_encode(input: &[u8]) -> Result<SecretBytes, FilterError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Buffer::with_limit(MAX_OUTPUT);
    for byte in input {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(&[*byte])?;
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0x0f)]);
            encoded.push(&[b'%', high, low])?;
        }
    }
    Ok(encoded.into_bytes())
}

/// RFC 8259 section 7. Only what must be escaped is; U+2028 and U+2029 too, which are line ends to
/// JavaScript and YAML 1.1 readers.
fn json(text: &str) -> Result<SecretBytes, FilterError> {
    let mut literal = Buffer::with_limit(MAX_OUTPUT);
    let mut utf8 = Zeroizing::new([0_u8; 4]);
    literal.push(b"\"")?;
    for character in text.chars() {
        match character {
            '"' => literal.push(b"\\\"")?,
            '\\' => literal.push(b"\\\\")?,
            '\n' => literal.push(b"\\n")?,
            '\r' => literal.push(b"\\r")?,
            '\t' => literal.push(b"\\t")?,
            control if escaped(control) => {
                let code = u32::from(control);
                literal.push(b"\\u")?;
                for shift in [12, 8, 4, 0] {
                    let digit = b"0123456789abcdef"[(code >> shift & 0x0f) as usize];
                    literal.push(&[digit])?;
                }
            }
            other => literal.push(other.encode_utf8(&mut *utf8).as_bytes())?,
        }
    }
    literal.push(b"\"")?;
    Ok(literal.into_bytes())
}

/// C0 and C1 controls and DEL (YAML refuses some of them raw), BOM and the two separators. All are
/// in the basic plane, so that four digits hold them.
fn escaped(character: char) -> bool {
    character.is_control() || matches!(character, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn shell_quote(input: &[u8]) -> Result<SecretBytes, FilterError> {
    let mut word = Buffer::with_limit(MAX_OUTPUT);
    word.push(b"'")?;
    for byte in input {
        match byte {
            0 => return Err(FilterError::Nul),
            // A quote cannot be inside of single quotes: end them, write it escaped, begin again.
            b'\'' => word.push(br"'\''")?,
            other => word.push(&[*other])?,
        }
    }
    word.push(b"'")?;
    Ok(word.into_bytes())
}
