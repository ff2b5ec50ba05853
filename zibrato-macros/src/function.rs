//! The function that is measured, taken apart only as far as needed.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute as Attr, Error, Result, ReturnType, Signature, Token, Type, Visibility, braced};

/// A function with a body. The body stays the tokens that the user wrote: nothing in it is looked at that need
/// not be, and half-written code does not keep an editor from understanding the rest.
pub(crate) struct Function {
    attributes: Vec<Attr>,
    visibility: Visibility,
    pub(crate) signature: Signature,
    braces: Span,
    /// `#![…]` at the start of the body.
    inner_attributes: TokenStream,
    /// The rest of the body.
    pub(crate) body: TokenStream,
}

impl Function {
    /// # Errors
    /// When the item is no function, has no body, or runs while compiling (`const fn`).
    pub(crate) fn parse(item: TokenStream) -> Result<Self> {
        let function = Self::parse_item.parse2(item)?;
        if let Some(constness) = function.signature.constness {
            return Err(Error::new(
                constness.span,
                "a `const fn` cannot be measured: it may run while compiling, where there is no clock and no counter",
            ));
        }
        Ok(function)
    }

    fn parse_item(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attr::parse_outer)?;
        let visibility = input.parse()?;
        expect_function(input)?;
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(Error::new_spanned(
                &signature,
                "a function without a body cannot be measured: put the attribute where the body is",
            ));
        }
        let content;
        let braces = braced!(content in input).span.join();
        let inner_attributes = content.call(Attr::parse_inner)?;
        let inner_attributes = quote!(#(#inner_attributes)*);
        let body = content.parse()?;
        Ok(Self { attributes, visibility, signature, braces, inner_attributes, body })
    }

    /// The declared return type, `None` for `()`.
    pub(crate) fn output(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some(output),
        }
    }

    /// The same function with other statements in its body.
    pub(crate) fn with_body(&self, statements: TokenStream) -> TokenStream {
        let Self { attributes, visibility, signature, inner_attributes, .. } = self;
        let mut body = Group::new(Delimiter::Brace, quote!(#inner_attributes #statements));
        body.set_span(self.braces);
        quote!(#(#attributes)* #visibility #signature #body)
    }

    /// The body in braces of its own.
    pub(crate) fn block(&self) -> Group {
        let mut block = Group::new(Delimiter::Brace, self.body.clone());
        block.set_span(self.braces);
        block
    }
}

/// Tells what stands there instead of a function, which the parser's own "expected `fn`" does not.
fn expect_function(input: ParseStream<'_>) -> Result<()> {
    let ahead = input.fork();
    while !ahead.peek(Token![fn]) {
        match ahead.parse::<TokenTree>() {
            Ok(TokenTree::Ident(word)) if QUALIFIERS.iter().any(|qualifier| word == qualifier) => {}
            // The ABI of an `extern "C" fn`.
            Ok(TokenTree::Literal(_)) => {}
            Ok(other) => {
                let hint = match other.to_string().as_str() {
                    "impl" | "trait" => ": put the attribute on its methods",
                    _ => "",
                };
                return Err(Error::new(other.span(), format!("only a function can be measured{hint}")));
            }
            Err(_) => return Err(Error::new(input.span(), "only a function can be measured")),
        }
    }
    Ok(())
}

const QUALIFIERS: [&str; 5] = ["const", "async", "unsafe", "safe", "extern"];
