//! The attribute macros of Zibrato: `#[time_me]` and `#[count_me]`.
//!
//! Use them through the `zibrato` crate, which exports them and what they expand to.

mod expand;
mod function;
mod future;
mod increment;
mod limits;
mod options;

use proc_macro::TokenStream;

use crate::options::Attribute;

/// Times.
#[proc_macro_attribute]
pub fn time_me(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::TimeMe, arguments.into(), item.into()).into()
}

/// Counts.
#[proc_macro_attribute]
pub fn count_me(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Attribute::CountMe, arguments.into(), item.into()).into()
}
