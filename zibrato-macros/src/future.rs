//! Functions that are not `async` but return a future: what has to be measured is the future.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{GenericArgument, Path, PathArguments, Token, Type, TypeParamBound};

/// How a function returns a future.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    /// `impl Future`.
    Plain,
    /// `Pin<Box<dyn Future>>`, which is what `async_trait` makes of an `async fn`.
    Boxed,
}

/// Whether `output` says that a future is returned. Only its spelling can be known here, so an alias or a named
/// future is not recognised, except for the aliases of the `futures` crate.
pub(crate) fn returned(output: &Type) -> Option<Returned> {
    match unwrapped(output) {
        Type::ImplTrait(opaque) => is_future(&opaque.bounds).then_some(Returned::Plain),
        Type::Path(path) => is_boxed_future(&path.path).then_some(Returned::Boxed),
        _ => None,
    }
}

fn is_future(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == "Future"),
        _ => false,
    })
}

fn is_boxed_future(path: &Path) -> bool {
    let Some(last) = path.segments.last() else { return false };
    if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
        return true;
    }
    let boxed = (last.ident == "Pin").then(|| first_argument(path)).flatten();
    let Some(Type::Path(boxed)) = boxed.map(unwrapped) else { return false };
    if boxed.path.segments.last().is_none_or(|last| last.ident != "Box") {
        return false;
    }
    match first_argument(&boxed.path).map(unwrapped) {
        Some(Type::TraitObject(object)) => is_future(&object.bounds),
        Some(Type::ImplTrait(opaque)) => is_future(&opaque.bounds),
        _ => false,
    }
}

fn first_argument(path: &Path) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &path.segments.last()?.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    })
}

fn unwrapped(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// A body that ends in an `async move` block, which can be measured in place: nothing is boxed or moved again.
pub(crate) struct Tail {
    /// All before the statements of the async block; the last token is `move`.
    before: Vec<TokenTree>,
    /// The async block with its braces.
    pub(crate) block: Group,
    around: Around,
}

enum Around {
    /// `async move {}`.
    Nothing,
    /// `Box::pin(async move {})`: what stands before the parentheses, and the parentheses.
    Call(Vec<TokenTree>, Group),
    /// `async move {}.boxed()`: what comes after the block.
    Method(Vec<TokenTree>),
}

impl Tail {
    /// Finds the async block in the last expression of `body`: `async move {}`, `Box::pin(async move {})` or
    /// `async move {}.boxed()`.
    ///
    /// `None` also where the body may leave by another way (`return`, or a macro that may hide one), because
    /// that future would not be measured.
    pub(crate) fn find(body: &TokenStream) -> Option<Self> {
        let mut tokens: Vec<TokenTree> = body.clone().into_iter().collect();
        let tail = match tokens.last()? {
            TokenTree::Group(last) if last.delimiter() == Delimiter::Brace => {
                let block = last.clone();
                tokens.pop();
                Self { before: tokens, block, around: Around::Nothing }
            }
            TokenTree::Group(last) if last.delimiter() == Delimiter::Parenthesis => {
                let call = last.clone();
                tokens.pop();
                if ends_with(&tokens, &["Box", ":", ":", "pin"]) {
                    let mut inside: Vec<TokenTree> = call.stream().into_iter().collect();
                    let TokenTree::Group(block) = inside.pop()? else { return None };
                    if inside.len() != 2 {
                        return None;
                    }
                    Self { before: inside, block, around: Around::Call(tokens, call) }
                } else if call.stream().is_empty()
                    && (ends_with(&tokens, &[".", "boxed"]) || ends_with(&tokens, &[".", "boxed_local"]))
                {
                    let mut after = tokens.split_off(tokens.len() - 2);
                    after.push(TokenTree::Group(call));
                    let TokenTree::Group(block) = tokens.pop()? else { return None };
                    Self { before: tokens, block, around: Around::Method(after) }
                } else {
                    return None;
                }
            }
            _ => return None,
        };
        let found = tail.block.delimiter() == Delimiter::Brace
            && ends_with(&tail.before, &["async", "move"])
            && tail.is_whole_expression()
            && !may_return(tail.prefix());
        found.then_some(tail)
    }

    /// The body with other statements in the async block.
    pub(crate) fn replaced(mut self, statements: TokenStream) -> TokenStream {
        let mut block = Group::new(Delimiter::Brace, statements);
        block.set_span(self.block.span());
        self.before.push(TokenTree::Group(block));
        match self.around {
            Around::Nothing => {}
            Around::Call(mut outside, parentheses) => {
                let mut call = Group::new(Delimiter::Parenthesis, self.before.into_iter().collect());
                call.set_span(parentheses.span());
                outside.push(TokenTree::Group(call));
                self.before = outside;
            }
            Around::Method(after) => self.before.extend(after),
        }
        self.before.into_iter().collect()
    }

    /// The tokens before the last expression, and some that may belong to it.
    fn prefix(&self) -> &[TokenTree] {
        let (tokens, own) = match &self.around {
            Around::Call(outside, _) => (outside, 4),
            _ => (&self.before, 2),
        };
        &tokens[..tokens.len() - own]
    }

    /// Whether the expression starts where it seems to: at a statement, or with a path before `Box`.
    fn is_whole_expression(&self) -> bool {
        let mut prefix = self.prefix();
        while matches!(self.around, Around::Call(..)) && ends_with(prefix, &[":", ":"]) {
            prefix = &prefix[..prefix.len() - 2];
            if let [rest @ .., TokenTree::Ident(word)] = prefix
                && word != "return"
            {
                prefix = rest;
            }
        }
        match prefix.last() {
            None => true,
            Some(TokenTree::Punct(punct)) => punct.as_char() == ';',
            Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
            Some(_) => false,
        }
    }
}

fn ends_with(tokens: &[TokenTree], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens[tokens.len() - words.len()..].iter().zip(words).all(|(token, word)| match token {
            TokenTree::Ident(ident) => ident == word,
            TokenTree::Punct(punct) => word.len() == 1 && word.starts_with(punct.as_char()),
            _ => false,
        })
}

fn may_return(tokens: &[TokenTree]) -> bool {
    let hidden = tokens.windows(2).any(|pair| match pair {
        [TokenTree::Ident(_), TokenTree::Punct(bang)] => bang.as_char() == '!',
        _ => false,
    });
    hidden
        || tokens.iter().any(|token| match token {
            TokenTree::Ident(word) => word == "return",
            TokenTree::Group(group) => may_return(&group.stream().into_iter().collect::<Vec<_>>()),
            _ => false,
        })
}
