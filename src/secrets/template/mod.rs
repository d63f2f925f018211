//! Templates: how one key of a target is written from the keys of a secret.
//!
//! The language is a small part of Jinja with the delimiters `[[ ]]`, `[% %]` and `[# #]`, which
//! Helm, Flux and Argo leave alone:
//!
//! ```text
//! postgres://[[ username ]]:[[ password | urlencode ]]@[[ host ]]/orders
//! [[ keys["tls.crt"] ]]                                    a key that is no identifier
//! [% if port is defined and port != "5432" %]:[[ port ]][% endif %]
//! [% for name in keys %][[ name ]]=[[ keys[name] | shellquote ]]
//! [% endfor %]
//! ```
//!
//! - A name is a key of the secret; one that the secret does not have is an error. `keys` is all of
//!   them, even if a key has that name (which is then `keys["keys"]`).
//! - Values are bytes and go out as they are: nothing is trimmed, appended or escaped unless the
//!   template says so. A value that is not UTF-8 can only be written through `b64encode` or `pem`.
//! - Filters: `urlencode` (or `urlquery`), `b64encode`, `b64decode`, `json` (or `tojson`), `yaml` (or `toyaml`: the
//!   same, since a string of JSON is a scalar of YAML), `shellquote` (or `shell_quote`), `pem("CERTIFICATE")` of any
//!   bytes, such as DER, and `filterpem("CERTIFICATE")` (or `filterPEM`), the blocks of that label.
//! - Conditions: `==`, `!=`, `in`, `and`, `or`, `not`, `is defined`; a value alone is true if it is
//!   not empty. The only loop is over `keys`.
//!
//! # Bounds
//!
//! Templates come from tenants and are rendered by an operator that serves all of them. So what can
//! build a large value out of a small one (variables, concatenation, arithmetic, lists, macros) is
//! refused when the template is compiled, sources and expressions are short, the output is at most
//! [`MAX_OUTPUT`] bytes, and rendering stops after a fixed amount of work.
//!
//! # Nothing leaks
//!
//! `minijinja` parses the source, and the values never reach it: rendering is done here, into buffers
//! that are zeroized, and an error is made of names and places only.

mod filters;
mod parse;
mod pem;
mod render;

use std::fmt;

use super::value::{MAX_PLAINTEXT, SecretValue, shown};
use crate::crypto::SecretBytes;

/// Most bytes that a rendered key may have.
pub const MAX_OUTPUT: usize = MAX_PLAINTEXT;
/// Most bytes that the source of a template may have.
pub const MAX_SOURCE: usize = 64 * 1024;

/// A compiled template of one target key.
#[derive(Debug)]
pub struct Template {
    key: String,
    body: Vec<Node>,
}

/// Why a template cannot be compiled or rendered: which one, where, and what is wrong. It holds
/// names and places, never a value or a piece of rendered text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template `{key}`, {place}: {problem}")]
pub struct TemplateError {
    /// The target key that the template is for.
    pub key: String,
    /// Where in its source.
    pub place: Place,
    /// What is wrong.
    pub problem: TemplateProblem,
}

/// Where in a source something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; `None` where the parser does not say it.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        self.column
            .map_or(Ok(()), |column| write!(f, ", column {column}"))
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// The source is too long.
    #[error("the source is longer than {MAX_SOURCE} bytes")]
    SourceTooLong,
    /// The parser's word on the source.
    #[error("syntax error: {detail}")]
    Syntax {
        /// What the parser expected or found.
        detail: String,
    },
    /// Too much between two delimiters, or too many blocks.
    #[error("{what} at most {limit}")]
    TooComplex {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Something of Jinja that is not part of this language.
    #[error("{what} cannot be used here; {remedy}")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// What to write instead.
        remedy: String,
    },
    /// A filter that does not exist.
    #[error("unknown filter `{name}`; there are {}", filters::NAMES)]
    UnknownFilter {
        /// The name written.
        name: String,
    },
    /// A name that is no key of the secret.
    #[error("unknown name `{name}`; the secret has no such key")]
    UnknownName {
        /// The name written.
        name: String,
    },
    /// A value that is not text where text is needed.
    #[error(
        "the value of `{name}` is not UTF-8 text; write it with the filter b64encode or pem, which take \
         any bytes"
    )]
    NotText {
        /// The key.
        name: String,
    },
    /// A NUL in a shell word.
    #[error("the value of `{name}` has a NUL, which no shell can hold; use the filter b64encode")]
    NulInShell {
        /// The key.
        name: String,
    },
    /// A value that is no base64, where it is to be decoded.
    #[error(
        "the value of `{name}` is no standard base64 (RFC 4648, section 4), which b64decode takes"
    )]
    NotBase64 {
        /// The key.
        name: String,
    },
    /// A value that has no block of PEM with the label.
    #[error("the value of `{name}` has no whole PEM block of the label that filterpem names")]
    NoPem {
        /// The key.
        name: String,
    },
    /// The output is too long.
    #[error("the output would be longer than {MAX_OUTPUT} bytes")]
    OutputTooLong,
    /// Rendering takes too long.
    #[error("rendering takes too much work; use fewer loops inside of loops")]
    TooMuchWork,
}

impl Template {
    /// Compiles the template of a target key. What does not depend on values is checked here.
    pub fn compile(key: &str, source: &str) -> Result<Self, TemplateError> {
        match parse::parse(source) {
            Ok(body) => Ok(Self {
                key: key.to_owned(),
                body,
            }),
            Err(fault) => Err(fault.of(key)),
        }
    }

    /// Renders the template with a secret's values.
    pub fn render(&self, values: &SecretValue) -> Result<SecretBytes, TemplateError> {
        render::render(&self.body, values).map_err(|fault| fault.of(&self.key))
    }

    /// The target key that it is for.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A problem and its place, before it is known which template has it.
#[derive(Debug)]
struct Fault {
    place: Place,
    problem: TemplateProblem,
}

impl Fault {
    fn of(self, key: &str) -> TemplateError {
        TemplateError {
            key: shown(key),
            place: self.place,
            problem: self.problem,
        }
    }
}

/// A piece of a template.
#[derive(Debug)]
enum Node {
    Text {
        place: Place,
        text: String,
    },
    Emit {
        place: Place,
        text: Text,
    },
    If {
        place: Place,
        condition: Condition,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    /// Over all keys. The name of the loop is known by its depth: the number of loops around it.
    For {
        place: Place,
        body: Vec<Self>,
    },
}

/// An expression that gives bytes.
#[derive(Debug)]
enum Text {
    Literal(String),
    Value(Key),
    /// The name that a loop is at.
    LoopName {
        depth: usize,
    },
    Filtered {
        filter: filters::Filter,
        input: Box<Self>,
    },
}

/// Which key of the secret.
#[derive(Debug)]
enum Key {
    Named(String),
    /// The one that a loop is at.
    OfLoop {
        depth: usize,
    },
}

/// An expression that is true or not.
#[derive(Debug)]
enum Condition {
    NotEmpty(Text),
    Defined(Key),
    Equal(Text, Text),
    /// A key of this name exists.
    HasKey(Text),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[cfg(test)]
mod tests;
