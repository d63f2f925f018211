//! Rendering: the one place where a template meets values. What it makes on the way is zeroized.

use super::filters::FilterError;
use super::{Condition, Fault, Key, MAX_OUTPUT, Node, TemplateProblem, Text};
use crate::crypto::SecretBytes;
use crate::secrets::buffer::Buffer;
use crate::secrets::value::SecretValue;

/// How much a rendering may do, in bytes read or written by its parts. Two hundred times the longest
/// output, and a fraction of a second.
const MAX_WORK: usize = 200 * MAX_OUTPUT;
/// What visiting a part of the template costs, whatever it does.
const STEP: usize = 64;

/// Renders a template's body.
pub(super) fn render(body: &[Node], values: &SecretValue) -> Result<SecretBytes, Fault> {
    let output = Buffer::with_limit(MAX_OUTPUT);
    let mut renderer = Renderer {
        values,
        loops: Vec::new(),
        output,
        work: 0,
    };
    renderer.nodes(body)?;
    Ok(renderer.output.into_bytes())
}

struct Renderer<'a> {
    values: &'a SecretValue,
    /// The key that each loop around is at, outermost first.
    loops: Vec<&'a str>,
    output: Buffer,
    work: usize,
}

/// The bytes of an expression, and the key that they come from.
struct Piece<'a> {
    bytes: Bytes<'a>,
    key: Option<&'a str>,
}

enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Owned(SecretBytes),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(bytes) => bytes.expose(),
        }
    }

    fn name(&self) -> String {
        self.key.unwrap_or("a text of the template").to_owned()
    }
}

type Outcome<T> = Result<T, TemplateProblem>;

impl<'a> Renderer<'a> {
    fn nodes(&mut self, nodes: &'a [Node]) -> Result<(), Fault> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &'a Node) -> Result<(), Fault> {
        match node {
            Node::Text { place, text } => self.emit(text.as_bytes()).map_err(|problem| Fault {
                place: *place,
                problem,
            }),
            Node::Emit { place, text } => self
                .text(text)
                .and_then(|piece| self.emit_piece(&piece))
                .map_err(|problem| Fault {
                    place: *place,
                    problem,
                }),
            Node::If {
                place,
                condition,
                then,
                otherwise,
            } => {
                let holds = self.condition(condition).map_err(|problem| Fault {
                    place: *place,
                    problem,
                })?;
                self.nodes(if holds { then } else { otherwise })
            }
            Node::For { place, body } => {
                let values = self.values;
                for key in values.keys() {
                    self.spend(0).map_err(|problem| Fault {
                        place: *place,
                        problem,
                    })?;
                    self.loops.push(key);
                    let done = self.nodes(body);
                    self.loops.pop();
                    done?;
                }
                Ok(())
            }
        }
    }

    fn emit(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.spend(bytes.len())?;
        self.output
            .push(bytes)
            .map_err(|_| TemplateProblem::OutputTooLong)
    }

    fn emit_piece(&mut self, piece: &Piece<'_>) -> Outcome<()> {
        if std::str::from_utf8(piece.bytes()).is_err() {
            return Err(TemplateProblem::NotText { name: piece.name() });
        }
        self.emit(piece.bytes())
    }

    fn text(&mut self, text: &'a Text) -> Outcome<Piece<'a>> {
        match text {
            Text::Literal(text) => {
                self.spend(0)?;
                Ok(Piece {
                    bytes: Bytes::Borrowed(text.as_bytes()),
                    key: None,
                })
            }
            Text::LoopName { depth } => {
                self.spend(0)?;
                Ok(Piece {
                    bytes: Bytes::Borrowed(self.loops[*depth].as_bytes()),
                    key: None,
                })
            }
            Text::Value(key) => {
                self.spend(0)?;
                let key = self.key(key);
                let bytes = self
                    .values
                    .get(key)
                    .ok_or_else(|| TemplateProblem::UnknownName {
                        name: key.to_owned(),
                    })?;
                Ok(Piece {
                    bytes: Bytes::Borrowed(bytes),
                    key: Some(key),
                })
            }
            Text::Filtered { filter, input } => {
                let piece = self.text(input)?;
                self.spend(piece.bytes().len())?;
                let bytes = filter.apply(piece.bytes()).map_err(|error| match error {
                    FilterError::NotText => TemplateProblem::NotText { name: piece.name() },
                    FilterError::NotBase64 => TemplateProblem::NotBase64 { name: piece.name() },
                    FilterError::NoPem => TemplateProblem::NoPem { name: piece.name() },
                    FilterError::Nul => TemplateProblem::NulInShell { name: piece.name() },
                    FilterError::TooLong => TemplateProblem::OutputTooLong,
                })?;
                Ok(Piece {
                    bytes: Bytes::Owned(bytes),
                    key: piece.key,
                })
            }
        }
    }

    fn condition(&mut self, condition: &'a Condition) -> Outcome<bool> {
        match condition {
            Condition::NotEmpty(text) => Ok(!self.text(text)?.bytes().is_empty()),
            Condition::Defined(key) => {
                self.spend(0)?;
                Ok(self.values.get(self.key(key)).is_some())
            }
            Condition::Equal(left, right) => {
                let (left, right) = (self.text(left)?, self.text(right)?);
                self.spend(left.bytes().len())?;
                Ok(left.bytes() == right.bytes())
            }
            Condition::HasKey(text) => {
                let piece = self.text(text)?;
                let name = std::str::from_utf8(piece.bytes());
                Ok(name.is_ok_and(|name| self.values.get(name).is_some()))
            }
            Condition::Not(inner) => Ok(!self.condition(inner)?),
            Condition::And(left, right) => Ok(self.condition(left)? && self.condition(right)?),
            Condition::Or(left, right) => Ok(self.condition(left)? || self.condition(right)?),
        }
    }

    fn key(&self, key: &'a Key) -> &'a str {
        match key {
            Key::Named(name) => name,
            Key::OfLoop { depth } => self.loops[*depth],
        }
    }

    fn spend(&mut self, bytes: usize) -> Outcome<()> {
        self.work = self.work.saturating_add(STEP).saturating_add(bytes);
        if self.work > MAX_WORK {
            return Err(TemplateProblem::TooMuchWork);
        }
        Ok(())
    }
}
