//! What may stand in the parentheses of the two attributes.

use proc_macro2::{Literal, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Path, Result, Token, parenthesized, token};

use crate::increment::Increment;
use crate::limits;

/// Which of the two attributes it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    TimeMe,
    CountMe,
}

impl Attribute {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TimeMe => "time_me",
            Self::CountMe => "count_me",
        }
    }

    fn known(self) -> &'static str {
        match self {
            Self::TimeMe => {
                "`level`, `name`, `source`, `tags`, `outcome`, `trace`, `sample`, `ordered` and `crate`"
            }
            Self::CountMe => "`level`, `name`, `source`, `tags`, `value`, `outcome`, `trace` and `crate`",
        }
    }
}

/// How a call is timed, where not plainly.
pub(crate) enum How {
    /// One call in so many, at random.
    Sample(Literal),
    /// With the clock read neither early nor late.
    Ordered,
}

/// The arguments of one attribute; `None` means the default.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) level: Option<TokenStream>,
    /// A string literal, or a macro that makes one.
    pub(crate) name: Option<TokenStream>,
    /// A string literal, or a macro that makes one.
    pub(crate) source: Option<TokenStream>,
    pub(crate) tags: Vec<(LitStr, TokenStream)>,
    pub(crate) outcome: bool,
    pub(crate) trace: bool,
    pub(crate) value: Option<Increment>,
    pub(crate) how: Option<How>,
    pub(crate) krate: Option<TokenStream>,
}

impl Options {
    /// Reads the arguments of `attribute`.
    ///
    /// # Errors
    /// All mistakes that were found, each where it stands.
    pub(crate) fn parse(attribute: Attribute, arguments: TokenStream) -> Result<Self> {
        let parser = |input: ParseStream<'_>| {
            let mut reader = Reader { attribute, options: Self::default(), given: Vec::new(), errors: None };
            if let Err(error) = reader.read(input) {
                // What comes after it cannot be told apart any more.
                input.parse::<TokenStream>()?;
                reader.error(error);
            }
            reader.finish()
        };
        parser.parse2(arguments)
    }
}

struct Reader {
    attribute: Attribute,
    options: Options,
    given: Vec<Ident>,
    errors: Option<Error>,
}

impl Reader {
    fn read(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            if !input.peek(Ident::peek_any) {
                return Err(input.error("expected an option, such as `name = \"…\"`"));
            }
            let option = input.call(Ident::parse_any)?;
            if self.given.contains(&option) {
                self.error(Error::new(option.span(), format!("`{option}` is given twice")));
            }
            self.option(&option, input)?;
            self.given.push(option);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn option(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "level" => {
                let Some(expr) = self.value(option, input)? else { return Ok(()) };
                self.options.level = self.label("`level`", &expr, limits::level);
            }
            "name" => {
                let Some(expr) = self.value(option, input)? else { return Ok(()) };
                self.options.name = self.text(option, expr);
            }
            "source" => {
                let Some(expr) = self.value(option, input)? else { return Ok(()) };
                self.options.source = self.text(option, expr);
            }
            "tags" => self.tags(option, input)?,
            "outcome" => {
                self.options.outcome = true;
                self.flag(option, input)?;
            }
            "trace" => {
                self.options.trace = true;
                self.flag(option, input)?;
            }
            "ordered" if self.attribute == Attribute::TimeMe => {
                self.how(option, How::Ordered);
                self.flag(option, input)?;
            }
            "sample" if self.attribute == Attribute::TimeMe => {
                let Some(expr) = self.value(option, input)? else { return Ok(()) };
                match one_in(&expr) {
                    Ok(one_in) => self.how(option, How::Sample(one_in)),
                    Err(error) => self.error(error),
                }
            }
            "value" if self.attribute == Attribute::CountMe => {
                let Some(expr) = self.value(option, input)? else { return Ok(()) };
                match Increment::new(expr) {
                    Ok(value) => self.options.value = Some(value),
                    Err(error) => self.error(error),
                }
            }
            "crate" => {
                if !self.equals(option, input)? {
                    return Ok(());
                }
                if input.peek(LitStr) {
                    let path = input.parse::<LitStr>()?;
                    self.error(Error::new(path.span(), "`crate` takes a path, without quotes"));
                } else {
                    self.options.krate = Some(input.call(Path::parse_mod_style)?.into_token_stream());
                }
            }
            _ => {
                skip(input)?;
                let known = self.attribute.known();
                let name = self.attribute.name();
                let message = format!("unknown option `{option}`: `{name}` knows {known}");
                self.error(Error::new(option.span(), message));
            }
        }
        Ok(())
    }

    fn flag(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        if !at_end(input) {
            skip(input)?;
            self.error(Error::new(option.span(), format!("`{option}` is a flag, write it without a value")));
        }
        Ok(())
    }

    fn how(&mut self, option: &Ident, how: How) {
        // One given twice is told of already.
        if self.options.how.is_some() && !self.given.contains(option) {
            let message = "`sample` and `ordered` cannot be combined: a sample is for calls in great number, and its \
                           timer costs little either way";
            self.error(Error::new(option.span(), message));
        }
        self.options.how = Some(how);
    }

    /// What stands behind `option =`; `None` after a mistake that is noted.
    fn value(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<Option<Expr>> {
        if self.equals(option, input)? { input.parse().map(Some) } else { Ok(None) }
    }

    /// Whether `=` and something else come next. If not, that is noted, and reading goes on with the next option.
    fn equals(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<bool> {
        let equals = input.parse::<Option<Token![=]>>()?;
        if equals.is_some() && !at_end(input) {
            return Ok(true);
        }
        skip(input)?;
        self.error(Error::new(option.span(), format!("`{option}` needs a value: `{option} = …`")));
        Ok(false)
    }

    /// A name or source: a literal is checked here, a macro (`concat!`, `env!`) gives its text only later.
    fn text(&mut self, option: &Ident, expr: Expr) -> Option<TokenStream> {
        if let Expr::Macro(_) = ungrouped(&expr) {
            return Some(expr.into_token_stream());
        }
        self.label(&format!("`{option}`"), &expr, limits::name)
    }

    fn label(
        &mut self,
        what: &str,
        expr: &Expr,
        check: fn(&str) -> std::result::Result<(), String>,
    ) -> Option<TokenStream> {
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = ungrouped(expr) else {
            self.error(Error::new_spanned(expr, format!("{what} must be a string literal")));
            return None;
        };
        if let Err(why) = check(&text.value()) {
            self.error(Error::new(text.span(), format!("{what} {why}")));
        }
        if !text.suffix().is_empty() {
            self.error(Error::new(text.span(), format!("{what} must be a string literal without a suffix")));
        }
        Some(text.to_token_stream())
    }

    fn tags(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        if !input.peek(token::Paren) {
            skip(input)?;
            let message = "`tags` takes a list: `tags(key = \"value\", \"other-key\" = \"value\")`";
            self.error(Error::new(option.span(), message));
            return Ok(());
        }
        let list;
        parenthesized!(list in input);
        while !list.is_empty() {
            let key = if list.peek(LitStr) {
                list.parse::<LitStr>()?
            } else if list.peek(Ident::peek_any) {
                let key = list.call(Ident::parse_any)?;
                LitStr::new(&key.unraw().to_string(), key.span())
            } else {
                return Err(list.error("expected a tag, such as `key = \"value\"`"));
            };
            if let Err(why) = limits::name(&key.value()) {
                self.error(Error::new(key.span(), format!("tag name {why}")));
            }
            let value = match self.tag_value(&key, &list)? {
                Some(expr) => self.label(&format!("tag `{}`", key.value()), &expr, limits::name),
                None => None,
            };
            // A tag without a good value still takes its name and its place.
            let value = value.unwrap_or_default();
            self.options.tags.push((key, value));
            if !list.is_empty() {
                list.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn tag_value(&mut self, key: &LitStr, list: ParseStream<'_>) -> Result<Option<Expr>> {
        if !list.peek(Token![=]) {
            skip(list)?;
            self.error(Error::new(key.span(), format!("tag `{}` needs a value", key.value())));
            return Ok(None);
        }
        list.parse::<Token![=]>()?;
        list.parse().map(Some)
    }

    fn finish(mut self) -> Result<Options> {
        let tags: Vec<(String, Span)> =
            self.options.tags.iter().map(|(key, _)| (key.value(), key.span())).collect();
        for (i, (key, span)) in tags.iter().enumerate() {
            if tags[..i].iter().any(|(earlier, _)| earlier == key) {
                self.error(Error::new(*span, format!("tag `{key}` is given twice")));
            } else if self.options.outcome && key == "outcome" {
                self.error(Error::new(*span, "tag `outcome` is set by the flag `outcome`"));
            }
        }
        let most = limits::TAGS - usize::from(self.options.outcome);
        if let Some((_, span)) = tags.get(most) {
            let beside = if self.options.outcome { " besides `outcome`" } else { "" };
            self.error(Error::new(*span, format!("a metric has at most {most} tags{beside}")));
        }
        match self.errors {
            Some(errors) => Err(errors),
            None => Ok(self.options),
        }
    }

    fn error(&mut self, error: Error) {
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            None => self.errors = Some(error),
        }
    }
}

/// The number of a sample: a whole one, as it is a constant of the call site.
fn one_in(expr: &Expr) -> Result<Literal> {
    let message = "`sample` must be a whole number from 1 to 65536: one call in so many is timed";
    let Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) = ungrouped(expr) else {
        return Err(Error::new_spanned(expr, message));
    };
    let number = int.base10_parse().ok().filter(|n| int.suffix().is_empty() && (1..=65_536).contains(n));
    let mut literal = Literal::u32_unsuffixed(number.ok_or_else(|| Error::new(int.span(), message))?);
    literal.set_span(int.span());
    Ok(literal)
}

fn at_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// Goes on to the next option.
fn skip(input: ParseStream<'_>) -> Result<()> {
    while !at_end(input) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// An expression without the invisible groups in which `macro_rules!` hands it over, or plain parentheses.
pub(crate) fn ungrouped(mut expr: &Expr) -> &Expr {
    loop {
        expr = match expr {
            Expr::Group(group) => &group.expr,
            Expr::Paren(paren) => &paren.expr,
            _ => return expr,
        };
    }
}
