//! The value of `#[count_me(value = …)]`: by how much a call counts.

use proc_macro2::{Literal, Span, TokenStream};
use quote::ToTokens;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitFloat, LitInt, Result, UnOp};

use crate::options::ungrouped;

/// Whole increments must stay below this: half of the range, so that a total has room to be read.
const WHOLE: u64 = 1 << 63;

/// By how much one call counts.
pub(crate) enum Increment {
    /// A whole number that is known while compiling, zero or more: the cheapest.
    Whole(Literal),
    /// A fraction that is known while compiling, zero or more.
    Fraction(Literal),
    /// A number below zero that is known while compiling: the metric may go down.
    Negative(TokenStream),
    /// An expression that is evaluated at every call, before the body.
    RunTime(TokenStream),
}

impl Increment {
    /// A call counts as one where the attribute says nothing.
    pub(crate) fn one() -> Self {
        Self::Whole(Literal::u64_suffixed(1))
    }

    pub(crate) fn new(value: Expr) -> Result<Self> {
        match ungrouped(&value) {
            Expr::Lit(ExprLit { lit, .. }) => Self::literal(lit, false),
            Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => match ungrouped(expr) {
                Expr::Lit(ExprLit { lit, .. }) => Self::literal(lit, true),
                _ => Ok(Self::RunTime(value.into_token_stream())),
            },
            _ => Ok(Self::RunTime(value.into_token_stream())),
        }
    }

    fn literal(lit: &Lit, negative: bool) -> Result<Self> {
        match lit {
            // `5f64` is an integer to the parser.
            Lit::Int(int) if matches!(int.suffix(), "f32" | "f64") => {
                Self::fraction(int.base10_digits(), int.span(), negative)
            }
            Lit::Int(int) => Self::whole(int, negative),
            Lit::Float(float) => Self::fraction(LitFloat::base10_digits(float), float.span(), negative),
            _ => Err(Error::new(lit.span(), "`value` must be a number, or an expression that gives one")),
        }
    }

    fn whole(int: &LitInt, negative: bool) -> Result<Self> {
        let value = int.base10_parse::<u64>().ok().filter(|&value| value < WHOLE);
        let value = value.ok_or_else(|| Error::new(int.span(), "`value` must be below 2^63"))?;
        if negative {
            // Below 2^63, so that it fits.
            Ok(Self::negative(Literal::i64_suffixed(value as i64), int.span()))
        } else {
            let mut literal = Literal::u64_suffixed(value);
            literal.set_span(at(int.span()));
            Ok(Self::Whole(literal))
        }
    }

    fn fraction(digits: &str, span: Span, negative: bool) -> Result<Self> {
        let value = digits.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| Error::new(span, "`value` must be a finite number"))?;
        let mut literal = Literal::f64_suffixed(value);
        literal.set_span(at(span));
        if negative { Ok(Self::negative(literal, span)) } else { Ok(Self::Fraction(literal)) }
    }

    fn negative(mut literal: Literal, span: Span) -> Self {
        literal.set_span(at(span));
        Self::Negative(quote::quote_spanned!(at(span)=> -#literal))
    }
}

/// Errors in the expansion show where the number stands, lints do not look at it.
fn at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}
