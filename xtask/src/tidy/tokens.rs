//! Tokens: Rust source as a flat list, without comments and documentation.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::iter::Peekable;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Ident(String),
    /// The value of a string literal.
    Text(String),
    Punct(char),
    Open,
    Close,
    Other,
}

impl Token {
    pub(super) fn is(&self, ident: &str) -> bool {
        matches!(&self.kind, Kind::Ident(name) if name == ident)
    }

    pub(super) fn is_punct(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }
}

/// Whether unit tests are among the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tests {
    Kept,
    Left,
}

/// The tokens of a file without its unit tests. A file that does not parse has none: the compiler
/// reports it.
pub(super) fn of(text: &str) -> Vec<Token> {
    all(text, Tests::Left)
}

/// The same, unit tests included.
pub(super) fn with_tests(text: &str) -> Vec<Token> {
    all(text, Tests::Kept)
}

fn all(text: &str, tests: Tests) -> Vec<Token> {
    let mut tokens = Vec::new();
    if let Ok(stream) = text.parse() {
        flatten(stream, tests, &mut tokens);
    }
    tokens
}

fn flatten(stream: TokenStream, tests: Tests, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |kind| tokens.push(Token { line, kind });
        match tree {
            TokenTree::Ident(ident) => push(Kind::Ident(ident.to_string())),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                push(text.map_or(Kind::Other, |text| Kind::Text(text.value())));
            }
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let found = attribute(&mut trees, tests, tokens);
                if found == Attribute::Test && tests == Tests::Left {
                    skip_item(&mut trees);
                }
            }
            TokenTree::Punct(punct) => push(Kind::Punct(punct.as_char())),
            TokenTree::Group(group) => {
                push(Kind::Open);
                flatten(group.stream(), tests, tokens);
                tokens.push(Token {
                    line: group.span_close().start().line,
                    kind: Kind::Close,
                });
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Attribute {
    Test,
    Other,
}

type Trees = Peekable<proc_macro2::token_stream::IntoIter>;

/// Reads an attribute after its `#`.
fn attribute(trees: &mut Trees, tests: Tests, tokens: &mut Vec<Token>) -> Attribute {
    if matches!(trees.peek(), Some(TokenTree::Punct(bang)) if bang.as_char() == '!') {
        trees.next();
    }
    let Some(TokenTree::Group(group)) = trees.peek() else {
        return Attribute::Other;
    };
    let stream = group.stream();
    trees.next();
    match stream.to_string().replace(' ', "").as_str() {
        text if text == "cfg(test)" || text.starts_with("cfg(all(test,") => Attribute::Test,
        text if text.starts_with("doc") => Attribute::Other,
        _ => {
            flatten(stream, tests, tokens);
            Attribute::Other
        }
    }
}

/// Skips an item to its end: a body in braces or a semicolon.
fn skip_item(trees: &mut Trees) {
    for tree in trees {
        match tree {
            TokenTree::Punct(end) if end.as_char() == ';' => return,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return,
            _ => {}
        }
    }
}
