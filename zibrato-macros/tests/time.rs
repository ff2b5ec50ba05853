//! `#[time_me]` on functions that are not async.

mod stub;

use std::fmt::Display;
use std::panic::catch_unwind;

use stub::taken;
use zibrato_macros::time_me;

/// The event of a function of this file.
fn timed(name: &str) -> String {
    format!("time info time::{name}")
}

#[time_me(crate = crate::stub)]
fn plain(a: u32) -> u32 {
    a + 1
}

#[test]
fn names_a_timer_after_module_and_function() {
    assert_eq!(plain(1), 2);
    assert_eq!(taken(), [timed("plain")]);
}

#[test]
fn takes_all_options() {
    #[time_me(
        crate = crate::stub,
        level = "debug",
        name = "the name",
        source = "here",
        tags(key = "value", "other-key" = "v", type = "keyword", r#fn = "raw"),
        outcome,
    )]
    fn all() {}
    all();
    assert_eq!(taken(), ["time debug the name @here key=value other-key=v type=keyword fn=raw => ok"]);
}

#[test]
fn takes_names_from_macros() {
    #[time_me(crate = crate::stub, name = concat!("a.", "b"), source = env!("CARGO_PKG_NAME"))]
    fn named() {}
    macro_rules! function {
        ($name:literal, $function:ident, $value:expr, $body:block) => {
            #[time_me(crate = crate::stub, name = $name)]
            fn $function() -> u32 $body
            #[time_me(crate = crate::stub, name = $value, tags(x = $value))]
            fn other() {}
        };
    }
    function!("from macro", made, "from expr", { 7 });
    named();
    assert_eq!(made(), 7);
    other();
    assert_eq!(
        taken(),
        ["time info a.b @zibrato-macros", "time info from macro", "time info from expr x=from expr"]
    );
}

#[test]
fn raw_name_is_written_plain() {
    #[time_me(crate = crate::stub)]
    fn r#type() {}
    r#type();
    assert_eq!(taken(), [timed("type")]);
}

#[time_me(crate = crate::stub)]
fn early(a: i32) -> Result<i32, String> {
    if a < 0 {
        return Ok(0);
    }
    let a: u8 = a.to_string().parse().map_err(|_| "too large".to_string())?;
    Ok(a.into())
}

#[test]
fn early_ends_are_recorded() {
    assert_eq!(early(-1), Ok(0));
    assert_eq!(early(5), Ok(5));
    assert_eq!(early(1000), Err("too large".into()));
    assert_eq!(taken(), vec![timed("early"); 3]);
}

#[time_me(crate = crate::stub)]
fn never() -> ! {
    panic!("on purpose")
}

#[time_me(crate = crate::stub, outcome)]
fn never_with_outcome() -> ! {
    panic!("on purpose")
}

#[time_me(crate = crate::stub, outcome)]
fn may_panic(panics: bool) {
    assert!(!panics, "on purpose");
}

#[test]
fn unwinding_is_recorded() {
    assert!(catch_unwind(|| never()).is_err());
    assert!(catch_unwind(|| never_with_outcome()).is_err());
    assert!(catch_unwind(|| may_panic(true)).is_err());
    may_panic(false);
    assert_eq!(
        taken(),
        [
            timed("never"),
            timed("never_with_outcome => panicked"),
            timed("may_panic => panicked"),
            timed("may_panic => ok")
        ]
    );
}

#[time_me(crate = crate::stub, outcome)]
fn number(text: &str) -> Result<u32, Box<dyn std::error::Error>> {
    if text.is_empty() {
        return Err("empty".into());
    }
    if text == "boxed" {
        return Err(Box::new(std::fmt::Error));
    }
    Ok(text.parse()?)
}

#[time_me(crate = crate::stub, outcome)]
fn maybe(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    number.checked_sub(1)
}

#[test]
fn outcome_is_read_from_results() {
    assert!(number("1").is_ok());
    assert!(number("x").is_err());
    assert!(number("").is_err());
    assert!(number("boxed").is_err());
    assert_eq!((maybe("1"), maybe("x")), (Some(0), None));
    let [ok, error] = ["number => ok", "number => error"].map(timed);
    assert_eq!(
        taken(),
        [ok, error.clone(), error.clone(), error, timed("maybe => ok"), timed("maybe => ok")]
    );
}

type Alias<T> = std::io::Result<T>;

#[time_me(crate = crate::stub, outcome)]
fn aliased() -> Alias<()> {
    std::fs::read("/does/not/exist").map(drop)
}

#[test]
fn outcome_sees_through_an_alias() {
    assert!(aliased().is_err());
    assert_eq!(taken(), [timed("aliased => error")]);
}

struct Shelf {
    books: Vec<String>,
}

impl Shelf {
    #[time_me(crate = crate::stub)]
    fn count(&self) -> usize {
        self.books.len()
    }

    #[time_me(crate = crate::stub, outcome)]
    fn last(&mut self) -> Result<&mut String, ()> {
        if self.books.is_empty() {
            return Err(());
        }
        self.books.last_mut().ok_or(())
    }

    #[time_me(crate = crate::stub, outcome)]
    fn into_first(mut self) -> Option<String> {
        self.books.truncate(1);
        self.books.pop()
    }

    #[time_me(crate = crate::stub, outcome)]
    fn boxed(self: Box<Self>) -> Self {
        *self
    }
}

trait Counts {
    fn own(&self) -> u32;

    #[time_me(crate = crate::stub)]
    fn twice(&self) -> u32 {
        self.own() * 2
    }
}

impl Counts for Shelf {
    #[time_me(crate = crate::stub, outcome)]
    fn own(&self) -> u32 {
        Self::count(self).try_into().unwrap_or(u32::MAX)
    }
}

#[test]
fn methods_are_timed() {
    let mut shelf = Shelf { books: Vec::new() };
    assert!(shelf.last().is_err());
    shelf.books = vec!["a".into(), "b".into()];
    shelf.last().unwrap().push('!');
    assert_eq!(shelf.twice(), 4);
    let shelf = Box::new(shelf).boxed();
    assert_eq!(shelf.into_first().as_deref(), Some("a"));
    assert_eq!(
        taken(),
        ["last => error", "last => ok", "count", "own => ok", "twice", "boxed => ok", "into_first => ok"]
            .map(timed)
    );
}

#[time_me(crate = crate::stub, outcome)]
fn generic<'a, T, D, const N: usize>(items: &'a [T; N], also: D) -> Result<&'a T, impl Display + use<T, D, N>>
where
    T: Clone,
    D: Display,
{
    let text = also.to_string();
    match items.first() {
        Some(first) => Ok(first),
        None => Err(text),
    }
}

#[time_me(crate = crate::stub)]
fn opaque(n: u32) -> impl Fn(u32) -> u32 {
    move |x| x.wrapping_add(n)
}

#[time_me(crate = crate::stub, outcome)]
fn opaque_with_outcome(n: u32) -> impl Iterator<Item = u32> {
    (0..n).map(|x| x + 1)
}

#[test]
fn generic_and_opaque_types_are_left_alone() {
    assert_eq!(generic(&[1, 2], "x").ok(), Some(&1));
    assert_eq!(generic(&[0_u8; 0], "x").err().map(|e| e.to_string()), Some("x".into()));
    assert_eq!(opaque(1)(2), 3);
    assert_eq!(opaque_with_outcome(2).sum::<u32>(), 3);
    assert_eq!(
        taken(),
        ["generic => ok", "generic => error", "opaque", "opaque_with_outcome => ok"].map(timed)
    );
}

#[allow(unsafe_code)]
#[time_me(crate = crate::stub, outcome)]
unsafe fn dangerous(p: *const u32) -> u32 {
    // SAFETY: the test passes a good pointer.
    unsafe { *p }
}

#[time_me(crate = crate::stub, outcome)]
extern "C" fn foreign(mut a: u32) -> u32 {
    a += 1;
    a
}

#[test]
#[allow(unsafe_code)]
fn unsafe_and_extern_functions_are_timed() {
    // SAFETY: the pointer is that of a live value.
    assert_eq!(unsafe { dangerous(&7) }, 7);
    let foreign: extern "C" fn(u32) -> u32 = foreign;
    assert_eq!(foreign(1), 2);
    assert_eq!(taken(), ["dangerous => ok", "foreign => ok"].map(timed));
}

/// Documented.
#[time_me(crate = crate::stub, outcome)]
#[must_use]
#[inline]
#[allow(clippy::mixed_attributes_style)]
fn locals_do_not_clash(__zibrato_guard: u32) -> u32 {
    #![allow(clippy::let_and_return)]
    let __zibrato_result = __zibrato_guard + 1;
    __zibrato_result
}

#[test]
fn hygiene_keeps_names_apart() {
    assert_eq!(locals_do_not_clash(1), 2);
    assert_eq!(taken(), [timed("locals_do_not_clash => ok")]);
}

#[test]
fn guard_outlives_the_locals() {
    struct Local;
    impl Drop for Local {
        fn drop(&mut self) {
            stub::record("local".into());
        }
    }
    #[time_me(crate = crate::stub)]
    fn with_local() {
        let _local = Local;
    }
    with_local();
    assert_eq!(taken(), ["local".into(), timed("with_local")]);
}

#[test]
fn nested_attributes_add_up() {
    #[time_me(crate = crate::stub, name = "first", outcome)]
    #[time_me(crate = crate::stub, name = "last")]
    fn both(fail: bool) -> Result<(), ()> {
        if fail {
            Err(())?;
        }
        Ok(())
    }
    assert!(both(true).is_err());
    assert_eq!(taken(), ["time info first => error", "time info last"]);
    assert!(both(false).is_ok());
    assert_eq!(taken(), ["time info first => ok", "time info last"]);
}
