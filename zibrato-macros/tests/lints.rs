//! The expansion works under strict settings, and adds no warning to the user's code.
//!
//! That clippy says nothing either shows when it is run on this file.
#![deny(warnings, unused, rust_2018_idioms, unreachable_code, clippy::all, clippy::pedantic)]
#![forbid(unsafe_code)]

mod stub;

/// Each form once; `strict` compiles the same without the prelude.
#[allow(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::unused_async,
    clippy::manual_async_fn
)]
mod forms {
    use std::convert::Infallible;
    use std::future::{Future, ready};
    use std::pin::Pin;

    use zibrato_macros::{count_me, time_me};

    #[time_me(crate = crate::stub)]
    #[count_me(crate = crate::stub)]
    pub(super) fn unit() {
        use std::collections::HashMap;
        const N: usize = 1;
        let map: HashMap<usize, u8> = HashMap::with_capacity(N);
        drop(map);
    }

    #[time_me(crate = crate::stub, outcome)]
    #[count_me(crate = crate::stub, outcome)]
    pub(super) fn unit_with_outcome() {
        use std::collections::HashMap;
        const N: usize = 1;
        let map: HashMap<usize, u8> = HashMap::with_capacity(N);
        drop(map);
    }

    #[time_me(crate = crate::stub)]
    #[count_me(crate = crate::stub)]
    pub(super) fn never() -> ! {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub, outcome)]
    pub(super) fn never_with_outcome() -> ! {
        loop {
            std::thread::park();
        }
    }

    #[time_me(crate = crate::stub, outcome)]
    pub(super) fn uninhabited() -> Infallible {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub, outcome)]
    pub(super) fn diverges() -> u32 {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub, outcome)]
    pub(super) fn diverges_unit() {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub, outcome)]
    #[count_me(crate = crate::stub, value = mutable)]
    pub(super) fn mutated(mut mutable: u64, _unused: &str) -> u64 {
        while mutable > 3 {
            mutable -= 1;
        }
        mutable
    }

    #[time_me(crate = crate::stub, outcome)]
    #[must_use]
    pub(super) fn block_like(a: Option<u32>) -> u32 {
        if let Some(a) = a { a + 1 } else { 7 }
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn awaits_one() {
        ready(()).await;
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn awaits_tail() {
        ready(()).await
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn awaits_value() -> u32 {
        ready(1).await
    }

    #[time_me(crate = crate::stub, outcome)]
    #[count_me(crate = crate::stub)]
    pub(super) async fn items_first() -> Result<(), std::num::ParseIntError> {
        use std::str::FromStr;
        const N: &str = "1";
        let _ = u32::from_str(N)?;
        Ok(())
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn gives_future() -> std::future::Ready<u32> {
        ready(1)
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn gives_opaque_future() -> impl Future<Output = u32> {
        ready(1)
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn async_never() -> ! {
        loop {
            ready(()).await;
        }
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn async_uninhabited() -> Infallible {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn async_diverges() -> u32 {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub)]
    pub(super) async fn async_diverges_unit() {
        panic!("on purpose")
    }

    #[time_me(crate = crate::stub, outcome)]
    #[count_me(crate = crate::stub, value = mutable)]
    pub(super) async fn async_mutated(mut mutable: u64, _unused: &str) -> u64 {
        while mutable > 3 {
            mutable -= 1;
            ready(()).await;
        }
        mutable
    }

    #[time_me(crate = crate::stub)]
    #[count_me(crate = crate::stub, value = a)]
    pub(super) fn returns_block(a: u32) -> impl Future<Output = u32> {
        async move { a }
    }

    #[time_me(crate = crate::stub)]
    #[count_me(crate = crate::stub, value = a)]
    pub(super) fn returns_other(a: u32) -> impl Future<Output = u32> {
        ready(a)
    }

    #[time_me(crate = crate::stub)]
    #[count_me(crate = crate::stub, value = a)]
    pub(super) fn returns_boxed(a: u32) -> Pin<Box<dyn Future<Output = u32>>> {
        if a == 0 {
            return Box::pin(ready(a));
        }
        Box::pin(async move { a })
    }
}

#[async_trait::async_trait]
trait Service {
    async fn call(&self) -> u32;
    async fn unit(&self);
}

struct Server;

#[async_trait::async_trait]
impl Service for Server {
    #[zibrato_macros::time_me(crate = crate::stub)]
    #[zibrato_macros::count_me(crate = crate::stub)]
    async fn call(&self) -> u32 {
        std::future::ready(1).await
    }

    #[zibrato_macros::time_me(crate = crate::stub, outcome)]
    async fn unit(&self) {
        std::future::ready(()).await;
    }
}

/// Names of the prelude and of the standard macros mean something else here.
mod strict {
    #![no_implicit_prelude]
    #![allow(dead_code)]

    mod core {}
    mod std {}
    struct Option;
    struct Some;
    struct None;
    struct Box;

    #[::zibrato_macros::time_me(crate = crate::stub)]
    #[::zibrato_macros::count_me(crate = crate::stub, value = -1)]
    pub(super) fn plain() -> u32 {
        1
    }

    #[::zibrato_macros::time_me(crate = crate::stub, outcome, source = "s")]
    #[::zibrato_macros::count_me(crate = crate::stub, outcome, value = n)]
    pub(super) fn with_outcome(n: u32) -> ::core::result::Result<u32, u32> {
        ::core::result::Result::Ok(n)
    }

    #[::zibrato_macros::time_me(crate = crate::stub)]
    #[::zibrato_macros::count_me(crate = crate::stub)]
    pub(super) async fn future() -> u32 {
        1
    }

    #[::zibrato_macros::time_me(crate = crate::stub)]
    pub(super) fn boxed() -> ::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = u32>>> {
        return ::std::boxed::Box::pin(::core::future::ready(1));
    }
}

#[test]
fn expansion_needs_no_prelude() {
    assert_eq!(strict::plain(), 1);
    assert_eq!(strict::with_outcome(2), Ok(2));
    assert_eq!(stub::run(strict::future()), 1);
    assert_eq!(stub::run(strict::boxed()), 1);
    assert_eq!(stub::run(Server.call()), 1);
    stub::run(Server.unit());
    assert_eq!(
        stub::taken(),
        [
            "add info lints::strict::plain Updown -1",
            "time info lints::strict::plain",
            "time info lints::strict::with_outcome @s => ok",
            "count info lints::strict::with_outcome Counter 2 => ok",
            "count info lints::strict::future 1",
            "time_async info lints::strict::future",
            "time_async info lints::strict::boxed",
            "count info lints::call 1",
            "time_async info lints::call",
            "time info lints::unit => ok",
        ]
    );
}

#[test]
fn forms_run() {
    forms::unit();
    forms::unit_with_outcome();
    assert_eq!(forms::mutated(5, ""), 3);
    assert_eq!(forms::block_like(Some(1)), 2);
    stub::run(async {
        forms::awaits_one().await;
        forms::awaits_tail().await;
        forms::items_first().await.unwrap();
        let made = forms::awaits_value().await + forms::gives_future().await.await;
        let opaque = forms::gives_opaque_future().await.await;
        let returned = forms::returns_block(1).await + forms::returns_other(1).await;
        assert_eq!(made + opaque + returned + forms::returns_boxed(1).await, 6);
        assert_eq!(forms::async_mutated(5, "").await, 3);
    });
    assert_eq!(stub::taken().len(), 22);
}

#[test]
fn diverging_forms_panic() {
    let forms: [fn(); 7] = [
        || forms::never(),
        || _ = forms::uninhabited(),
        || _ = forms::diverges(),
        || forms::diverges_unit(),
        || _ = stub::run(forms::async_uninhabited()),
        || _ = stub::run(forms::async_diverges()),
        || stub::run(forms::async_diverges_unit()),
    ];
    for form in forms {
        assert!(std::panic::catch_unwind(form).is_err());
    }
    let _: (fn() -> !, _) = (forms::never_with_outcome, forms::async_never);
}
