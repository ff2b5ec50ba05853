//! What the macros expand to where measuring is switched off: a check of what they are given, and no code.

/// Has the compiler look at the arguments of a call site as if it were there.
#[doc(hidden)]
#[macro_export]
macro_rules! __unmeasured {
    ($kind:ident, $level:expr, $name:expr, $source:expr, [$($tag:expr),* $(,)?] $(, $value:expr)?) => {
        if false {
            const _: $crate::__private::Site = $crate::__private::Site::new(
                $crate::__private::Kind::$kind, $level, $name, $source, &[$($tag),*],
            );
            $( let _ = $value; )?
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __count {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {
        $crate::__add!(level: $level, name: $name, source: $source, tags: $tags, kind: Counter, value: $value)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __add {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, kind: $kind:ident, value: $value:expr) => {
        $crate::__unmeasured!(
            $kind,
            $level,
            $name,
            $source,
            $tags,
            $crate::__private::check_increment($value)
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __gauge {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {
        $crate::__unmeasured!(Gauge, $level, $name, $source, $tags, $crate::__private::Number::number($value))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __record {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {
        $crate::__unmeasured!(
            Distribution,
            $level,
            $name,
            $source,
            $tags,
            $crate::__private::Number::number($value)
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __timing {
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt, value: $value:expr) => {
        $crate::__unmeasured!(Timer, $level, $name, $source, $tags, $crate::__private::check_duration($value))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time {
    (how: (sample $one_in:expr), level: $level:expr, name: $name:expr, $($site:tt)+) => {{
        const ONE_IN: u32 = $one_in;
        const _: () = assert!(1 <= ONE_IN && ONE_IN <= 65_536, "`sample` is from 1 to 65536");
        const _: &str = $crate::__private::concat!($name, ".calls");
        $crate::__time!(level: $level, name: $name, $($site)+)
    }};
    (how: $how:tt, $($site:tt)+) => { $crate::__time!($($site)+) };
    (level: $level:expr, name: $name:expr, source: $source:expr, tags: $tags:tt) => {{
        $crate::__unmeasured!(Timer, $level, $name, $source, $tags);
        $crate::__private::Untimed
    }};
}

#[doc(hidden)]
pub fn check_increment(_: impl crate::Increment) {}

#[doc(hidden)]
pub fn check_duration(_: std::time::Duration) {}

/// Stands for a guard.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct Untimed;

impl Untimed {
    /// Does nothing.
    pub fn finish(self) {}

    /// Does nothing.
    pub fn discard(self) {}
}

/// So that dropping it by hand makes as much sense as it does where measuring is switched on.
impl Drop for Untimed {
    #[inline(always)]
    fn drop(&mut self) {}
}
