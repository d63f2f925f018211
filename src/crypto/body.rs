//! The body of a message: frames, or one block.
//!
//! ```text
//! frame        sequence 4 | IV 12 | ciphertext (frame length) | tag 16
//! final frame  ff ff ff ff | sequence 4 | IV 12 | length 4 | ciphertext | tag 16
//! non-framed   IV 12 | length 8 | ciphertext | tag 16
//! AAD          message id 32 | content string | sequence 4 | plaintext length 8
//! ```
//!
//! An IV ends in the sequence number, which counts from 1; a writer puts zeros before it. So no IV repeats, and
//! none is 0, the header's. A reader accepts anything before it, as the published vectors demand: the tag
//! authenticates the IV anyway.

use super::{
    bytes::Reader,
    cipher::{Cipher, NONCE_LENGTH, TAG_LENGTH},
    error::{DecryptError, ParseError},
    header::Content,
};

/// In place of a sequence number: the final frame follows.
const FINAL: u32 = u32::MAX;
/// Message id, longest content string, sequence number and length.
const AAD_LENGTH: usize = 32 + 35 + 4 + 8;

/// Which content string stands in a piece's AAD, so that no piece passes for one of another kind.
#[derive(Clone, Copy)]
enum Kind {
    Frame,
    FinalFrame,
    Whole,
}

impl Kind {
    const fn content(self) -> &'static [u8] {
        match self {
            Self::Frame => b"AWSKMSEncryptionClient Frame",
            Self::FinalFrame => b"AWSKMSEncryptionClient Final Frame",
            Self::Whole => b"AWSKMSEncryptionClient Single Block",
        }
    }
}

/// One authenticated piece of the body, as it stands in the message.
#[derive(Clone, Copy)]
struct Piece<'a> {
    kind: Kind,
    sequence: u32,
    iv: &'a [u8; NONCE_LENGTH],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LENGTH],
}

/// The pieces of a body whose structure was not checked yet.
#[derive(Clone, Copy)]
struct Pieces<'a> {
    reader: Reader<'a>,
    content: Content,
    next: u32,
    done: bool,
}

impl<'a> Pieces<'a> {
    fn new(body: Reader<'a>, content: Content) -> Self {
        Self {
            reader: body,
            content,
            next: 1,
            done: false,
        }
    }

    /// The next piece; `None` after the last.
    fn read(&mut self) -> Result<Option<Piece<'a>>, ParseError> {
        if self.done {
            return Ok(None);
        }
        let piece = match self.content {
            Content::Whole => self.whole()?,
            Content::Framed(length) => self.frame(length)?,
        };
        self.done = !matches!(piece.kind, Kind::Frame);
        self.next = self.next.checked_add(1).ok_or(ParseError::FrameOrder)?;
        Ok(Some(piece))
    }

    fn whole(&mut self) -> Result<Piece<'a>, ParseError> {
        let iv = self.iv()?;
        let length = usize::try_from(self.reader.u64()?).map_err(|_| ParseError::Truncated)?;
        self.piece(Kind::Whole, iv, length)
    }

    fn frame(&mut self, frame_length: u32) -> Result<Piece<'a>, ParseError> {
        let sequence = self.reader.u32()?;
        if sequence != FINAL {
            self.expect_sequence(sequence)?;
            let iv = self.iv()?;
            return self.piece(Kind::Frame, iv, to_usize(frame_length)?);
        }
        let sequence = self.reader.u32()?;
        self.expect_sequence(sequence)?;
        let iv = self.iv()?;
        let length = self.reader.u32()?;
        if length > frame_length {
            return Err(ParseError::FrameLength);
        }
        self.piece(Kind::FinalFrame, iv, to_usize(length)?)
    }

    fn piece(
        &mut self,
        kind: Kind,
        iv: &'a [u8; NONCE_LENGTH],
        length: usize,
    ) -> Result<Piece<'a>, ParseError> {
        let ciphertext = self.reader.slice(length)?;
        let tag = self.reader.array()?;
        Ok(Piece {
            kind,
            sequence: self.next,
            iv,
            ciphertext,
            tag,
        })
    }

    fn expect_sequence(&self, sequence: u32) -> Result<(), ParseError> {
        if sequence == self.next {
            Ok(())
        } else {
            Err(ParseError::FrameOrder)
        }
    }

    fn iv(&mut self) -> Result<&'a [u8; NONCE_LENGTH], ParseError> {
        let iv: &[u8; NONCE_LENGTH] = self.reader.array()?;
        if iv.ends_with(&self.next.to_be_bytes()) {
            Ok(iv)
        } else {
            Err(ParseError::FrameOrder)
        }
    }
}

fn to_usize(length: u32) -> Result<usize, ParseError> {
    usize::try_from(length).map_err(|_| ParseError::Truncated)
}

/// A body whose structure is sound; its content is not yet authenticated.
pub(super) struct Body<'a> {
    pieces: Pieces<'a>,
    plaintext_length: usize,
}

impl<'a> Body<'a> {
    /// Walks through the whole body; returns it and what follows it.
    pub(super) fn parse(
        body: Reader<'a>,
        content: Content,
    ) -> Result<(Self, Reader<'a>), ParseError> {
        let pieces = Pieces::new(body, content);
        let mut walker = pieces;
        let mut plaintext_length = 0;
        while let Some(piece) = walker.read()? {
            // Cannot overflow: the pieces lie side by side in one slice.
            plaintext_length += piece.ciphertext.len();
        }
        Ok((
            Self {
                pieces,
                plaintext_length,
            },
            walker.reader,
        ))
    }

    pub(super) fn plaintext_length(&self) -> usize {
        self.plaintext_length
    }

    /// Decrypts into `out`, which has the plaintext's length. On error `out` may hold a part: the caller
    /// drops it.
    pub(super) fn decrypt(
        &self,
        cipher: &Cipher,
        message_id: &[u8; 32],
        out: &mut [u8],
    ) -> Result<(), DecryptError> {
        let mut pieces = self.pieces;
        let mut rest = out;
        while let Some(piece) = pieces.read().map_err(|_| DecryptError)? {
            let length = piece.ciphertext.len();
            let (plaintext, after) = rest.split_at_mut_checked(length).ok_or(DecryptError)?;
            let mut aad = [0; AAD_LENGTH];
            let aad = write_aad(&mut aad, message_id, piece.kind, piece.sequence, length);
            cipher.decrypt(piece.iv, aad, piece.ciphertext, piece.tag, plaintext)?;
            rest = after;
        }
        Ok(())
    }
}

/// How many bytes [`encrypt`] adds.
pub(super) fn framed_length(plaintext_length: usize, frame_length: usize) -> usize {
    let frames = plaintext_length.div_ceil(frame_length).max(1);
    plaintext_length + frames * (4 + NONCE_LENGTH + TAG_LENGTH) + 4 + 4
}

/// Appends `plaintext` as frames. The final frame is full if the length is a multiple of the frame's.
pub(super) fn encrypt(
    cipher: &Cipher,
    message_id: &[u8; 32],
    frame_length: usize,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) {
    let frames = plaintext.len().div_ceil(frame_length).max(1);
    let mut rest = plaintext;
    for index in 1..=frames {
        let sequence = u32::try_from(index).expect("the plaintext's limit bounds the frames");
        let (chunk, after) = rest.split_at(rest.len().min(frame_length));
        rest = after;
        let kind = if index == frames {
            Kind::FinalFrame
        } else {
            Kind::Frame
        };
        if let Kind::FinalFrame = kind {
            out.extend_from_slice(&FINAL.to_be_bytes());
        }
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&nonce(sequence));
        if let Kind::FinalFrame = kind {
            let length = u32::try_from(chunk.len()).expect("a frame's length fits its field");
            out.extend_from_slice(&length.to_be_bytes());
        }
        let mut aad = [0; AAD_LENGTH];
        let aad = write_aad(&mut aad, message_id, kind, sequence, chunk.len());
        let start = out.len();
        out.resize(start + chunk.len(), 0);
        let tag = cipher.encrypt(&nonce(sequence), aad, chunk, &mut out[start..]);
        out.extend_from_slice(&tag);
    }
}

fn nonce(sequence: u32) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    nonce[NONCE_LENGTH - 4..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}

fn write_aad<'a>(
    buffer: &'a mut [u8; AAD_LENGTH],
    message_id: &[u8; 32],
    kind: Kind,
    sequence: u32,
    length: usize,
) -> &'a [u8] {
    let mut end = 0;
    let parts: [&[u8]; 4] = [
        message_id,
        kind.content(),
        &sequence.to_be_bytes(),
        &(length as u64).to_be_bytes(),
    ];
    for part in parts {
        buffer[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    &buffer[..end]
}
