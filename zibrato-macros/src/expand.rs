//! What the attributes make of a function.
//!
//! All tokens that are added have the hygiene of the macro: locals cannot clash with those of the user, and
//! lints do not look at them.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, Type};

use crate::function::Function;
use crate::future::{Returned, Tail, returned};
use crate::increment::Increment;
use crate::options::{Attribute, How, Options};

/// The item with its measurement, or the errors followed by the item as it was: an editor, and the compiler's
/// further errors, still see the function.
pub(crate) fn expand(attribute: Attribute, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let options = Options::parse(attribute, arguments);
    let function = Function::parse(item.clone());
    let expanded = match (options, function) {
        (Ok(options), Ok(function)) if cfg!(feature = "enable") => {
            Ok(instrument(attribute, options, &function))
        }
        (Ok(options), Ok(function)) => Ok(unmeasured(attribute, options, &function)),
        (Err(mut errors), Err(error)) => {
            errors.combine(error);
            Err(errors)
        }
        (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => Err(errors),
    };
    expanded.unwrap_or_else(|errors| {
        let errors = errors.to_compile_error();
        quote!(#errors #item)
    })
}

fn instrument(attribute: Attribute, options: Options, function: &Function) -> TokenStream {
    let future = match function.signature.asyncness {
        Some(_) => None,
        None => function.output().and_then(returned),
    };
    let is_async = function.signature.asyncness.is_some() || future.is_some();
    let probe = Probe::new(attribute, options, function, is_async, future.is_some());
    let statements = match future {
        Some(returned) => in_future(&probe, function, returned),
        None if is_async => in_async_fn(&probe, function),
        None => in_fn(&probe, function),
    };
    function.with_body(statements)
}

/// The function as it is, where measuring is switched off. An expression is still compiled: nobody should learn only
/// from an application that switches measuring on that it is wrong.
fn unmeasured(attribute: Attribute, options: Options, function: &Function) -> TokenStream {
    let check = match (&options.how, &options.value) {
        (Some(How::Sample(one_in)), _) => quote_spanned!(here()=>
            const _: () = ::core::assert!(#one_in > 0_u32, "`sample` is at least 1");
        ),
        (_, Some(Increment::RunTime(_) | Increment::Negative(_))) => {
            let options = Options { outcome: false, ..options };
            Probe::new(attribute, options, function, false, false).start
        }
        _ => return function.with_body(function.body.clone()),
    };
    function.with_body(before(&check, function.block()))
}

/// What is put before a body, and what after it where its end has to be told.
struct Probe {
    /// Statements that run before the function, also before it makes a future.
    early: TokenStream,
    start: TokenStream,
    end: Option<TokenStream>,
}

impl Probe {
    fn new(
        attribute: Attribute,
        options: Options,
        function: &Function,
        is_async: bool,
        makes_future: bool,
    ) -> Self {
        let krate = options.krate.clone().unwrap_or_else(|| quote_spanned!(here()=> ::zibrato));
        let mut site = site(&options, function);
        match &options.how {
            None => {}
            Some(How::Ordered) => site = quote_spanned!(here()=> how: (ordered), #site),
            Some(How::Sample(one_in)) => site = quote_spanned!(here()=> how: (sample #one_in), #site),
        }
        let outcome = options.outcome;
        let end = quote_spanned!(here()=>
            __zibrato_guard.finish(#krate::__private::outcome!(&__zibrato_result));
        );
        let mut early = TokenStream::new();
        let (start, end) = match attribute {
            Attribute::TimeMe if outcome => (guard(&krate, "__time_outcome", &site), Some(end)),
            Attribute::TimeMe if is_async => {
                let end = quote_spanned!(here()=> __zibrato_guard.finish(););
                (guard(&krate, "__time_async", &site), Some(end))
            }
            Attribute::TimeMe => (guard(&krate, "__time", &site), None),
            Attribute::CountMe => {
                let increment = options.value.unwrap_or_else(Increment::one);
                let (kind, value) = match &increment {
                    Increment::Whole(value) => ("Counter", value.to_token_stream()),
                    Increment::Fraction(value) => ("Counter", value.to_token_stream()),
                    Increment::Negative(value) => ("Updown", value.clone()),
                    // The arguments may be gone when the future is polled.
                    Increment::RunTime(value) if makes_future => {
                        early = quote_spanned!(here()=> let __zibrato_value = #value;);
                        ("Counter", quote_spanned!(here()=> __zibrato_value))
                    }
                    Increment::RunTime(value) => ("Counter", value.clone()),
                };
                let kind = Ident::new(kind, here());
                if outcome {
                    let site = quote_spanned!(here()=> #site, kind: #kind, value: #value);
                    (guard(&krate, "__count_outcome", &site), Some(end))
                } else if let Increment::Whole(_) = increment {
                    (quote_spanned!(here()=> #krate::__count!(#site, value: #value);), None)
                } else {
                    (quote_spanned!(here()=> #krate::__add!(#site, kind: #kind, value: #value);), None)
                }
            }
        };
        Self { early, start, end }
    }

    /// Statements that await `future` and measure it.
    fn awaiting(&self, future: &TokenStream) -> TokenStream {
        let start = &self.start;
        match &self.end {
            None => quote_spanned!(here()=> #start #future.await),
            // An async fn may well return something that can be awaited.
            Some(end) => quote_spanned!(here()=>
                #start
                #[allow(clippy::async_yields_async)]
                let __zibrato_result = #future.await;
                #end
                __zibrato_result
            ),
        }
    }
}

fn guard(krate: &TokenStream, name: &str, site: &TokenStream) -> TokenStream {
    let name = Ident::new(name, here());
    quote_spanned!(here()=> let __zibrato_guard = #krate::#name!(#site);)
}

/// The arguments that all macros of the facade have in common.
fn site(options: &Options, function: &Function) -> TokenStream {
    let level = options.level.clone().unwrap_or_else(|| LitStr::new("info", here()).into_token_stream());
    let name = options.name.clone().unwrap_or_else(|| {
        let name = LitStr::new(&function.signature.ident.unraw().to_string(), here());
        quote_spanned!(here()=> ::core::concat!(::core::module_path!(), "::", #name))
    });
    let source = match &options.source {
        Some(source) => quote_spanned!(here()=> ::core::option::Option::Some(#source)),
        None => quote_spanned!(here()=> ::core::option::Option::None),
    };
    // How `zibrato_core::registry::TRACE` marks a call site.
    let trace = options.trace.then(|| quote_spanned!(here()=> ("\0trace", "")));
    let tags = options.tags.iter().map(|(key, value)| quote_spanned!(here()=> (#key, #value)));
    let tags = trace.into_iter().chain(tags);
    quote_spanned!(here()=> level: #level, name: #name, source: #source, tags: [#(#tags),*])
}

/// A plain function. Where it need not be known how it ends, only a statement is put before its own.
fn in_fn(probe: &Probe, function: &Function) -> TokenStream {
    let Probe { start, end, .. } = probe;
    match end {
        Some(end) if !never_returns(function) => {
            let called = called_once(function);
            quote_spanned!(here()=>
                #start
                let __zibrato_result = #called;
                #end
                __zibrato_result
            )
        }
        _ => before(start, function.block()),
    }
}

fn in_async_fn(probe: &Probe, function: &Function) -> TokenStream {
    let Probe { start, end, .. } = probe;
    let block = function.block();
    if end.is_none() || never_returns(function) {
        return before(start, block);
    }
    let body = before(&pinned_output(function), block);
    probe.awaiting(&quote_spanned!(here()=> async move { #body }))
}

/// A function that returns a future: runs as it did, then what it returned is measured from its first poll on.
fn in_future(probe: &Probe, function: &Function, returned: Returned) -> TokenStream {
    let Probe { early, start, end } = probe;
    if let Some(tail) = Tail::find(&function.body) {
        let block = tail.block.clone();
        let statements = match end {
            None => before(start, block),
            Some(_) => probe.awaiting(&quote_spanned!(here()=> async move #block)),
        };
        let body = tail.replaced(statements);
        return quote!(#early #body);
    }
    let called = called_once(function);
    let measured = probe.awaiting(&quote_spanned!(here()=> __zibrato_future));
    let measured = quote_spanned!(here()=> async move { #measured });
    let measured = match returned {
        Returned::Plain => measured,
        Returned::Boxed => quote_spanned!(here()=> ::std::boxed::Box::pin(#measured)),
    };
    quote_spanned!(here()=>
        #early
        let __zibrato_future = #called;
        #measured
    )
}

/// The body stays a block of its own, where its items come first as they did. Lints take the braces for the
/// macro's: they would call them unused.
fn before(statements: &impl ToTokens, mut block: Group) -> TokenStream {
    block.set_span(here().located_at(block.span()));
    quote!(#statements #block)
}

/// The body as a closure that is called at once, so that `return` and `?` end in the expansion.
///
/// `unwrap_or_else` tells the compiler that the closure is called once only: called directly, a body that
/// returns what it borrows from `&mut self` is refused.
fn called_once(function: &Function) -> TokenStream {
    let block = function.block();
    let output = match function.output() {
        None => quote_spanned!(here()=> -> ()),
        Some(output) => {
            let output = erased(output);
            quote_spanned!(here()=> -> #output)
        }
    };
    quote_spanned!(here()=> ::core::option::Option::None.unwrap_or_else(move || #output #block))
}

/// A statement that never returns and tells the type of an async block, which has no place to write it.
fn pinned_output(function: &Function) -> Option<TokenStream> {
    let declared = function.output()?;
    let output = erased(declared);
    if output.to_string() == "_" {
        return None;
    }
    // An error about the type of the body shows where it was declared.
    Some(quote_spanned!(here().located_at(declared.span())=>
        if let ::core::option::Option::Some(__zibrato_output) = ::core::option::Option::None::<#output> {
            return __zibrato_output;
        }
    ))
}

fn never_returns(function: &Function) -> bool {
    matches!(function.output(), Some(Type::Never(_)))
}

/// A type with `_` for each `impl Trait`, which cannot be named inside of a body.
fn erased(output: &Type) -> TokenStream {
    erase(output.to_token_stream())
}

fn erase(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let mut erased = TokenStream::new();
    while let Some(token) = tokens.next() {
        let token = match token {
            TokenTree::Ident(word) if word == "impl" => {
                let mut depth = 0_usize;
                let mut arrow = false;
                while let Some(next) = tokens.peek() {
                    match next {
                        TokenTree::Punct(p) if p.as_char() == '<' => depth += 1,
                        TokenTree::Punct(p) if p.as_char() == '>' && !arrow => match depth.checked_sub(1) {
                            Some(outer) => depth = outer,
                            None => break,
                        },
                        TokenTree::Punct(p) if p.as_char() == ',' && depth == 0 => break,
                        _ => {}
                    }
                    arrow = matches!(next, TokenTree::Punct(p) if p.as_char() == '-');
                    tokens.next();
                }
                Ident::new("_", word.span()).into()
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), erase(group.stream()));
                inner.set_span(group.span());
                inner.into()
            }
            other => other,
        };
        erased.extend([token]);
    }
    erased
}

fn here() -> Span {
    Span::mixed_site()
}
