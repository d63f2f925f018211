//! The header of a message, format version 2.
//!
//! ```text
//! version 1 (02) | suite 2 | message id 32 | context length 2 | context
//! key count 2 | ( provider length 2 | provider | info length 2 | info | key length 2 | key )*
//! content type 1 (01 non-framed, 02 framed) | frame length 4 | commitment 32      ← the "header body"
//! tag 16                                        AES-256-GCM, IV 0, no plaintext, AAD = header body
//! ```

use super::{
    bytes::Reader,
    cipher::TAG_LENGTH,
    context::{Pairs, parse_pairs},
    error::ParseError,
    suite::Suite,
};

/// Most wrapped keys a message may carry.
pub const MAX_WRAPPED_KEYS: u16 = 10;

const VERSION: u8 = 2;
const NON_FRAMED: u8 = 1;
const FRAMED: u8 = 2;
/// The format's bound, 2^31 - 1. Nothing is allocated by it.
const MAX_FRAME_LENGTH: u32 = 0x7fff_ffff;

/// How the body is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    /// One block of any length.
    Whole,
    /// Frames of this length, the last one at most as long.
    Framed(u32),
}

/// The data key as wrapped by one provider.
#[derive(Clone, Copy)]
pub(super) struct WrappedKey<'a> {
    pub(super) provider: &'a [u8],
    pub(super) info: &'a [u8],
    pub(super) ciphertext: &'a [u8],
}

/// A header's fields.
pub(super) struct Header<'a> {
    pub(super) suite: Suite,
    pub(super) message_id: &'a [u8; 32],
    pub(super) context: &'a [u8],
    pub(super) keys: Vec<WrappedKey<'a>>,
    pub(super) content: Content,
    pub(super) commitment: &'a [u8; 32],
}

/// A header that was read, with what authenticates it.
pub(super) struct Parsed<'a> {
    pub(super) header: Header<'a>,
    /// The context's pairs.
    pub(super) pairs: Pairs<'a>,
    /// The bytes that the tag authenticates.
    pub(super) authenticated: &'a [u8],
    pub(super) tag: &'a [u8; TAG_LENGTH],
    /// What follows the header.
    pub(super) body: Reader<'a>,
}

/// Reads the header at the start of `message`.
pub(super) fn parse(message: &[u8]) -> Result<Parsed<'_>, ParseError> {
    let mut reader = Reader::new(message);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(ParseError::Version(version));
    }
    let suite = Suite::from_id(reader.u16()?)?;
    let message_id = reader.array()?;
    let context = reader.prefixed()?;
    let pairs = parse_pairs(context)?;
    let keys = parse_keys(&mut reader)?;
    let division = parse_content(&mut reader)?;
    let commitment = reader.array()?;
    let authenticated = &message[..message.len() - reader.remaining()];
    let tag = reader.array()?;
    let header = Header {
        suite,
        message_id,
        context,
        keys,
        content: division,
        commitment,
    };
    Ok(Parsed {
        header,
        pairs,
        authenticated,
        tag,
        body: reader,
    })
}

fn parse_keys<'a>(reader: &mut Reader<'a>) -> Result<Vec<WrappedKey<'a>>, ParseError> {
    let count = reader.u16()?;
    if !(1..=MAX_WRAPPED_KEYS).contains(&count) {
        return Err(ParseError::KeyCount(count));
    }
    (0..count)
        .map(|_| {
            let provider = reader.prefixed()?;
            let info = reader.prefixed()?;
            let ciphertext = reader.prefixed()?;
            Ok(WrappedKey {
                provider,
                info,
                ciphertext,
            })
        })
        .collect()
}

fn parse_content(reader: &mut Reader<'_>) -> Result<Content, ParseError> {
    let content_type = reader.u8()?;
    let frame_length = reader.u32()?;
    match (content_type, frame_length) {
        (NON_FRAMED, 0) => Ok(Content::Whole),
        (FRAMED, 1..=MAX_FRAME_LENGTH) => Ok(Content::Framed(frame_length)),
        (NON_FRAMED | FRAMED, _) => Err(ParseError::FrameLength),
        _ => Err(ParseError::ContentType(content_type)),
    }
}

impl Header<'_> {
    /// How many bytes [`Self::write`] adds.
    pub(super) fn length(&self) -> usize {
        let keys = self.keys.iter();
        let keys = keys.map(|key| 6 + key.provider.len() + key.info.len() + key.ciphertext.len());
        3 + 32 + 2 + self.context.len() + 2 + keys.sum::<usize>() + 5 + 32
    }

    /// Appends the header body.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.suite.id().to_be_bytes());
        out.extend_from_slice(self.message_id);
        write_prefixed(out, self.context);
        out.extend_from_slice(&length_u16(self.keys.len()).to_be_bytes());
        for key in &self.keys {
            write_prefixed(out, key.provider);
            write_prefixed(out, key.info);
            write_prefixed(out, key.ciphertext);
        }
        let (content_type, frame_length) = match self.content {
            Content::Whole => (NON_FRAMED, 0),
            Content::Framed(length) => (FRAMED, length),
        };
        out.push(content_type);
        out.extend_from_slice(&frame_length.to_be_bytes());
        out.extend_from_slice(self.commitment);
    }
}

fn write_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length_u16(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn length_u16(length: usize) -> u16 {
    u16::try_from(length).expect("contexts, ARNs and wrapped keys are bounded far below 64 KiB")
}
