//! From text to an expression.

use std::fmt;

use regex::{Regex, RegexBuilder};
use winnow::ascii::multispace0;
use winnow::combinator::{alt, cut_err, delimited, eof, fail, not, opt, preceded, repeat, separated, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::Stateful;
use winnow::token::{any, one_of, take_while};

use super::{DEPTH_MAX, PATTERN_BYTES_MAX};

/// What an item must satisfy.
#[derive(Debug)]
pub(super) enum Expression {
    /// All of these.
    All(Vec<Expression>),
    /// One of these.
    Any(Vec<Expression>),
    /// Not this.
    Not(Box<Expression>),
    /// What a selector leads to passes a test, or with `false` fails it. Of a list on the way, any element does.
    Holds(Selector, Test, bool),
}

/// A way through an item, key by key. Not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(pub(super) Vec<String>);

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A test of one value.
#[derive(Debug)]
pub(super) enum Test {
    Equals(String),
    Contains(String),
    IsEmpty,
    Matches(Regex),
}

/// Most regular expressions in one: each costs time to build, and memory as long as its query waits.
const PATTERNS_MAX: usize = 8;

/// The text that is left, and in how many parentheses it stands.
type Input<'i> = Stateful<&'i str, usize>;

/// What stands on the left.
enum Left {
    Selector(Selector),
    Quoted(String),
}

/// Reads a whole expression.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn expression(text: &str) -> Result<Expression, String> {
    // Each is built as it is read, so they are counted before; a text that holds the word counts, too.
    if text.matches("matches").count() > PATTERNS_MAX {
        return Err(format!("at most {PATTERNS_MAX} comparisons with `matches` in one expression"));
    }
    let input = Stateful { input: text, state: 0 };
    let parsed = terminated(disjunction, (multispace0, eof)).parse(input);
    parsed.map_err(|error| {
        let expected = error.inner().to_string().replace('\n', "; ");
        let expected = if expected.is_empty() { "this is no expression".to_owned() } else { expected };
        format!("at byte {}: {expected}", error.offset())
    })
}

fn disjunction(input: &mut Input<'_>) -> ModalResult<Expression> {
    separated(1.., conjunction, word("or")).map(|all| unwrapped(all, Expression::Any)).parse_next(input)
}

fn conjunction(input: &mut Input<'_>) -> ModalResult<Expression> {
    separated(1.., negation, word("and")).map(|all| unwrapped(all, Expression::All)).parse_next(input)
}

fn unwrapped(mut all: Vec<Expression>, wrap: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        last => {
            all.extend(last);
            wrap(all)
        }
    }
}

fn negation(input: &mut Input<'_>) -> ModalResult<Expression> {
    // Counted, not nested: a thousand of them are one or none.
    let nots: usize = repeat(0.., word("not")).parse_next(input)?;
    let term = alt((parenthesized, comparison)).parse_next(input)?;
    Ok(if nots.is_multiple_of(2) { term } else { Expression::Not(Box::new(term)) })
}

fn parenthesized(input: &mut Input<'_>) -> ModalResult<Expression> {
    (multispace0, '(').parse_next(input)?;
    input.state += 1;
    if input.state > DEPTH_MAX {
        return cut_err(fail.context(expected("fewer parentheses inside each other"))).parse_next(input);
    }
    // What stands in parentheses is nothing else.
    let closing = (multispace0, ')'.context(expected("a closing parenthesis")));
    let inner = cut_err(terminated(disjunction, closing)).parse_next(input)?;
    input.state -= 1;
    Ok(inner)
}

fn comparison(input: &mut Input<'_>) -> ModalResult<Expression> {
    let left = preceded(multispace0, left).parse_next(input)?;
    if let Some(is_positive) =
        opt(alt((word("in").value(true), (word("not"), word("in")).value(false)))).parse_next(input)?
    {
        let value = match left {
            Left::Quoted(text) => text,
            Left::Selector(selector) => selector.to_string(),
        };
        let selector = cut_err(preceded(multispace0, selector)).parse_next(input)?;
        return Ok(signed(is_positive, selector, Test::Contains(value)));
    }
    let Left::Selector(selector) = left else {
        return fail.context(expected("in or not in")).parse_next(input);
    };
    let (is_positive, test) = alt((
        preceded((multispace0, "=="), cut_err(value)).map(|text| (true, Test::Equals(text))),
        preceded((multispace0, "!="), cut_err(value)).map(|text| (false, Test::Equals(text))),
        preceded(word("contains"), cut_err(value)).map(|text| (true, Test::Contains(text))),
        preceded((word("not"), word("contains")), cut_err(value)).map(|text| (false, Test::Contains(text))),
        preceded(word("matches"), cut_err(pattern)).map(|pattern| (true, Test::Matches(pattern))),
        preceded((word("not"), word("matches")), cut_err(pattern)).map(|pattern| (false, Test::Matches(pattern))),
        (word("is"), word("empty")).value(true).map(|is| (is, Test::IsEmpty)),
        (word("is"), word("not"), word("empty")).value(false).map(|is| (is, Test::IsEmpty)),
        fail.context(expected("an operator")),
    ))
    .parse_next(input)?;
    Ok(signed(is_positive, selector, test))
}

fn signed(is_positive: bool, selector: Selector, test: Test) -> Expression {
    Expression::Holds(selector, test, is_positive)
}

fn left(input: &mut Input<'_>) -> ModalResult<Left> {
    alt((
        quoted.map(Left::Quoted),
        selector.map(Left::Selector),
        take_while(1.., is_bare).map(|text: &str| Left::Quoted(text.to_owned())),
        fail.context(expected("a selector or a value")),
    ))
    .parse_next(input)
}

fn selector(input: &mut Input<'_>) -> ModalResult<Selector> {
    let first = (one_of(|c: char| c.is_ascii_alphabetic()), take_while(0.., is_in_key)).take();
    let first = first.context(expected("a selector")).parse_next(input)?.to_owned();
    let more = alt((
        preceded('.', alt((take_while(1.., is_in_key).map(str::to_owned), quoted))),
        delimited(('[', multispace0), quoted, (multispace0, ']')),
    ));
    let rest: Vec<String> = repeat(0.., more).parse_next(input)?;
    Ok(Selector(std::iter::once(first).chain(rest).collect()))
}

fn value(input: &mut Input<'_>) -> ModalResult<String> {
    let bare = take_while(1.., is_bare).map(str::to_owned);
    preceded(multispace0, alt((quoted, bare))).context(expected("a value")).parse_next(input)
}

fn pattern(input: &mut Input<'_>) -> ModalResult<Regex> {
    let text = value.parse_next(input)?;
    let built = RegexBuilder::new(&text).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
    match built {
        Ok(pattern) => Ok(pattern),
        Err(_) => cut_err(fail.context(expected("a regular expression that is not too large"))).parse_next(input),
    }
}

/// A string in quotes, with escapes, or in backticks, without.
fn quoted(input: &mut Input<'_>) -> ModalResult<String> {
    let raw = delimited('`', take_while(0.., |c| c != '`'), '`').map(str::to_owned);
    let plain = take_while(1.., |c| !matches!(c, '"' | '\\')).map(str::to_owned);
    let escaped = preceded(
        '\\',
        any.verify_map(|c| match c {
            'n' => Some("\n"),
            't' => Some("\t"),
            'r' => Some("\r"),
            '"' => Some("\""),
            '\\' => Some("\\"),
            _ => None,
        }),
    )
    .map(str::to_owned);
    let parts = repeat(0.., alt((plain, escaped))).fold(String::new, |mut text, part: String| {
        text.push_str(&part);
        text
    });
    alt((raw, delimited('"', parts, '"'))).parse_next(input)
}

/// A keyword, with what stands before it.
fn word<'i>(keyword: &'static str) -> impl Parser<Input<'i>, (), ErrMode<ContextError>> {
    (multispace0, keyword, not(one_of(is_in_key))).void()
}

fn is_in_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/')
}

fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '`')
}

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}
