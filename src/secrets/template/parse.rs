//! From source to the small language of this module: `minijinja` parses, and only what is listed here
//! is let through.

use minijinja::machinery::{Span, Token, Tokenizer, WhitespaceConfig, ast};
use minijinja::syntax::SyntaxConfig;

use super::filters::{Filter, NameError};
use super::{Condition, Fault, Key, MAX_SOURCE, Node, Place, TemplateProblem, Text};

/// Most tokens between two delimiters. The parser, this module and dropping its result recurse into
/// an expression, so that its length bounds their stack.
const MAX_EXPRESSION: usize = 64;
/// Most blocks, for the same reason: `elif` nests.
const MAX_BLOCKS: usize = 256;

const ALL_KEYS: &str = "keys";
const START: Place = Place {
    line: 1,
    column: None,
};
const WHITESPACE: WhitespaceConfig = WhitespaceConfig {
    keep_trailing_newline: true,
    lstrip_blocks: false,
    trim_blocks: false,
};

/// Parses a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, Fault> {
    if source.len() > MAX_SOURCE {
        return Err(Fault {
            place: START,
            problem: TemplateProblem::SourceTooLong,
        });
    }
    let syntax = SyntaxConfig::builder()
        .variable_delimiters("[[", "]]")
        .block_delimiters("[%", "%]")
        .comment_delimiters("[#", "#]")
        .build()
        .expect("the delimiters are different and not empty");
    bound(source, &syntax)?;
    let parsed = minijinja::machinery::parse(source, "", syntax, WHITESPACE)
        .map_err(|e| syntax_fault(&e))?;
    let ast::Stmt::Template(template) = parsed else {
        return Err(unsupported(START, "this block", "a template"));
    };
    Compiler { loops: Vec::new() }.nodes(&template.children)
}

/// Looks at the tokens, which takes no recursion, before anything recurses.
fn bound(source: &str, syntax: &SyntaxConfig) -> Result<(), Fault> {
    let mut tokens = Tokenizer::new(source, "", false, syntax.clone(), WHITESPACE);
    let (mut length, mut blocks) = (0, 0);
    while let Some((token, span)) = tokens.next_token().map_err(|e| syntax_fault(&e))? {
        match token {
            Token::VariableStart | Token::VariableEnd | Token::BlockEnd => length = 0,
            Token::BlockStart => {
                length = 0;
                blocks += 1;
            }
            _ => length += 1,
        }
        let (what, limit) = if length > MAX_EXPRESSION {
            ("an expression has too many parts;", MAX_EXPRESSION)
        } else if blocks > MAX_BLOCKS {
            ("there are too many blocks;", MAX_BLOCKS)
        } else {
            continue;
        };
        return Err(Fault {
            place: at(span),
            problem: TemplateProblem::TooComplex { what, limit },
        });
    }
    Ok(())
}

/// The parser's errors tell of tokens and names in the source; nothing is rendered here yet.
fn syntax_fault(error: &minijinja::Error) -> Fault {
    let detail = error
        .detail()
        .unwrap_or("the template cannot be parsed")
        .to_owned();
    Fault {
        place: Place {
            line: error.line().unwrap_or(1),
            column: None,
        },
        problem: TemplateProblem::Syntax { detail },
    }
}

fn unsupported(place: Place, what: &'static str, remedy: impl Into<String>) -> Fault {
    Fault {
        place,
        problem: TemplateProblem::Unsupported {
            what,
            remedy: remedy.into(),
        },
    }
}

struct Compiler<'a> {
    /// The names of the loops around, outermost first.
    loops: Vec<&'a str>,
}

impl<'a> Compiler<'a> {
    fn nodes(&mut self, statements: &[ast::Stmt<'a>]) -> Result<Vec<Node>, Fault> {
        statements
            .iter()
            .map(|statement| self.node(statement))
            .collect()
    }

    fn node(&mut self, statement: &ast::Stmt<'a>) -> Result<Node, Fault> {
        use ast::Stmt;
        const REMEDY: &str = "there are [% if %] and [% for name in keys %]";
        let refuse = |span, what| Err(unsupported(at(span), what, REMEDY));
        match statement {
            Stmt::EmitRaw(raw) => Ok(Node::Text {
                place: at(raw.span()),
                text: raw.raw.to_owned(),
            }),
            Stmt::EmitExpr(emit) => Ok(Node::Emit {
                place: place(&emit.expr),
                text: self.text(&emit.expr)?,
            }),
            Stmt::IfCond(block) => Ok(Node::If {
                place: place(&block.expr),
                condition: self.condition(&block.expr)?,
                then: self.nodes(&block.true_body)?,
                otherwise: self.nodes(&block.false_body)?,
            }),
            Stmt::ForLoop(block) => self.for_loop(block),
            Stmt::WithBlock(block) => refuse(block.span(), "[% with %]"),
            Stmt::Set(block) => refuse(block.span(), "[% set %]"),
            Stmt::SetBlock(block) => refuse(block.span(), "[% set %]"),
            Stmt::AutoEscape(block) => refuse(block.span(), "[% autoescape %]"),
            Stmt::FilterBlock(block) => refuse(block.span(), "[% filter %]"),
            Stmt::Do(block) => refuse(block.span(), "[% do %]"),
            Stmt::Template(block) => refuse(block.span(), "a template"),
            // Which others exist depends on features of the parser that another crate may switch on.
            #[allow(unreachable_patterns, reason = "see above")]
            _ => Err(unsupported(START, "a block of this kind", REMEDY)),
        }
    }

    fn for_loop(&mut self, block: &ast::ForLoop<'a>) -> Result<Node, Fault> {
        let at = place(&block.iter);
        let remedy = "the only loop is [% for name in keys %]";
        let (ast::Expr::Var(name), ast::Expr::Var(over)) = (&block.target, &block.iter) else {
            return Err(unsupported(at, "a loop of this form", remedy));
        };
        if over.id != ALL_KEYS || name.id == ALL_KEYS {
            return Err(unsupported(at, "a loop over anything but keys", remedy));
        }
        if block.filter_expr.is_some() || block.recursive || !block.else_body.is_empty() {
            return Err(unsupported(at, "a loop with if, else or recursive", remedy));
        }
        self.loops.push(name.id);
        let body = self.nodes(&block.body);
        self.loops.pop();
        Ok(Node::For {
            place: at,
            body: body?,
        })
    }

    fn text(&self, expression: &ast::Expr<'a>) -> Result<Text, Fault> {
        use ast::Expr;
        let at = place(expression);
        match expression {
            Expr::Const(constant) => match constant.value.as_str() {
                Some(text) => Ok(Text::Literal(text.to_owned())),
                None => Err(unsupported(
                    at,
                    "a number, true, false or none",
                    "quote it: values are text",
                )),
            },
            Expr::Var(name) if name.id != ALL_KEYS => Ok(match self.depth(name.id) {
                Some(depth) => Text::LoopName { depth },
                None => Text::Value(Key::Named(name.id.to_owned())),
            }),
            Expr::GetAttr(_) | Expr::GetItem(_) => self.key(expression).map(Text::Value),
            Expr::Filter(filter) => self.filtered(filter, at),
            _ => {
                let (what, remedy) = instead_of(expression);
                Err(unsupported(at, what, remedy))
            }
        }
    }

    fn filtered(&self, filter: &ast::Filter<'a>, at: Place) -> Result<Text, Fault> {
        let form = || {
            let remedy = "write only its name, or one label in quotes";
            unsupported(at, "a filter of this form", remedy)
        };
        let input = filter.expr.as_ref().ok_or_else(form)?;
        let argument = match filter.args.as_slice() {
            [] => None,
            [ast::CallArg::Pos(ast::Expr::Const(text))] => {
                Some(text.value.as_str().ok_or_else(form)?)
            }
            _ => return Err(form()),
        };
        let filter = Filter::named(filter.name, argument).map_err(|error| match error {
            NameError::Unknown => Fault {
                place: at,
                problem: TemplateProblem::UnknownFilter {
                    name: filter.name.to_owned(),
                },
            },
            NameError::Argument => {
                unsupported(at, "a filter with arguments", "write only its name")
            }
            NameError::Label => {
                let remedy = "write it in quotes and capitals, as pem(\"CERTIFICATE\")";
                unsupported(
                    at,
                    "a filter without the label of PEM that it needs",
                    remedy,
                )
            }
        })?;
        let input = Box::new(self.text(input)?);
        Ok(Text::Filtered { filter, input })
    }

    /// A key of the secret: `name`, `keys.name`, `keys["name"]` or `keys[name of a loop]`.
    fn key(&self, expression: &ast::Expr<'a>) -> Result<Key, Fault> {
        use ast::Expr;
        let at = place(expression);
        match expression {
            Expr::Var(name) if name.id != ALL_KEYS && self.depth(name.id).is_none() => {
                Ok(Key::Named(name.id.to_owned()))
            }
            Expr::GetAttr(attribute) if is_all_keys(&attribute.expr) => {
                Ok(Key::Named(attribute.name.to_owned()))
            }
            Expr::GetItem(item) if is_all_keys(&item.expr) => {
                match self.text(&item.subscript_expr)? {
                    Text::Literal(name) => Ok(Key::Named(name)),
                    Text::LoopName { depth } => Ok(Key::OfLoop { depth }),
                    Text::Value(_) | Text::Filtered { .. } => {
                        let remedy = "write the name of a key in quotes, or the name of a loop";
                        Err(unsupported(at, "this between the brackets", remedy))
                    }
                }
            }
            Expr::GetAttr(_) => {
                let name = dotted(expression).unwrap_or_else(|| "a.b".to_owned());
                let remedy = format!("a key with a dot in its name is keys[\"{name}\"]");
                Err(unsupported(at, "a dot", remedy))
            }
            _ => Err(unsupported(at, "an expression", "write keys[\"name\"]")),
        }
    }

    fn condition(&self, expression: &ast::Expr<'a>) -> Result<Condition, Fault> {
        use ast::{BinOpKind, Expr, UnaryOpKind};
        let at = place(expression);
        let remedy = "there are ==, !=, in keys, and, or, not, is defined";
        let not = |condition| Condition::Not(Box::new(condition));
        match expression {
            Expr::UnaryOp(operation) => match operation.op {
                UnaryOpKind::Not => Ok(not(self.condition(&operation.expr)?)),
                UnaryOpKind::Neg => Err(unsupported(at, "`-`", remedy)),
            },
            Expr::BinOp(operation) => {
                let (left, right) = (&operation.left, &operation.right);
                match operation.op {
                    BinOpKind::Eq => Ok(Condition::Equal(self.text(left)?, self.text(right)?)),
                    BinOpKind::Ne => Ok(not(Condition::Equal(self.text(left)?, self.text(right)?))),
                    BinOpKind::ScAnd => Ok(Condition::And(
                        Box::new(self.condition(left)?),
                        Box::new(self.condition(right)?),
                    )),
                    BinOpKind::ScOr => Ok(Condition::Or(
                        Box::new(self.condition(left)?),
                        Box::new(self.condition(right)?),
                    )),
                    BinOpKind::In if is_all_keys(right) => Ok(Condition::HasKey(self.text(left)?)),
                    _ => Err(unsupported(at, "this operator", remedy)),
                }
            }
            Expr::Test(test) => {
                let known = matches!(test.name, "defined" | "undefined") && test.args.is_empty();
                if !known {
                    return Err(unsupported(at, "this test", remedy));
                }
                let defined = Condition::Defined(self.key(&test.expr)?);
                Ok(if test.name == "defined" {
                    defined
                } else {
                    not(defined)
                })
            }
            Expr::Compare(_) => Err(unsupported(at, "a chain of comparisons", remedy)),
            _ => Ok(Condition::NotEmpty(self.text(expression)?)),
        }
    }

    /// The depth of the innermost loop of this name.
    fn depth(&self, name: &str) -> Option<usize> {
        self.loops.iter().rposition(|known| *known == name)
    }
}

/// What an expression that gives no text is called, and what to write instead.
fn instead_of(expression: &ast::Expr<'_>) -> (&'static str, &'static str) {
    use ast::Expr;
    match expression {
        Expr::Var(_) => (
            "keys by itself",
            "write keys[\"name\"] for the value of a key",
        ),
        Expr::UnaryOp(_) | Expr::BinOp(_) | Expr::Compare(_) | Expr::Test(_) => (
            "an operator",
            "write only names and filters; a key with `-` in its name is keys[\"a-b\"]",
        ),
        Expr::IfExpr(_) => ("if inside of [[ ]]", "write [% if %]"),
        Expr::Slice(_) => ("a part of a value", "write the whole value"),
        Expr::Call(_) => ("a function call", "write only names and filters"),
        _ => ("a list or map", "write only names and filters"),
    }
}

fn is_all_keys(expression: &ast::Expr<'_>) -> bool {
    matches!(expression, ast::Expr::Var(name) if name.id == ALL_KEYS)
}

/// The name that `a.b` or `keys.a.b` was meant to be, if it is only names and dots.
fn dotted(expression: &ast::Expr<'_>) -> Option<String> {
    match expression {
        ast::Expr::Var(name) => Some(name.id.to_owned()),
        ast::Expr::GetAttr(attribute) if is_all_keys(&attribute.expr) => {
            Some(attribute.name.to_owned())
        }
        ast::Expr::GetAttr(attribute) => {
            dotted(&attribute.expr).map(|path| format!("{path}.{}", attribute.name))
        }
        _ => None,
    }
}

fn place(expression: &ast::Expr<'_>) -> Place {
    at(expression.span())
}

/// Where a piece of the source begins.
fn at(span: Span) -> Place {
    Place {
        line: usize::from(span.start_line),
        column: Some(usize::from(span.start_col) + 1),
    }
}
