use std::thread::LocalKey;

use super::metric::Shared;
use super::site::{Site, refuse};
use crate::cell::WordCell;
use crate::frame::Kind;

mod sealed {
    pub trait Sealed {}
}

/// A number by which a counter can go up: any integer or float.
///
/// Whole increments stay exact integers; a negative or non-finite one is refused by a counter and counted in
/// `zibrato.refused`, an updown counter takes negative ones.
pub trait Increment: sealed::Sealed {
    #[doc(hidden)]
    fn add_to(self, metric: &Shared);

    /// Counts at a call site, in its own cell where the increment is whole.
    #[doc(hidden)]
    fn count(self, site: &'static Site, cell: &'static LocalKey<WordCell>);
}

macro_rules! whole_increments {
    ($($number:ty),*) => { $(
        impl sealed::Sealed for $number {}
        impl Increment for $number {
            #[inline]
            fn add_to(self, metric: &Shared) {
                // What is beyond the range of a total is taken as its end.
                let n = i64::try_from(self).unwrap_or(i64::MAX);
                if n < 0 && metric.kind == Kind::Counter { refuse() } else { metric.add_whole(n) }
            }

            #[inline(always)]
            fn count(self, site: &'static Site, cell: &'static LocalKey<WordCell>) {
                match u64::try_from(i64::try_from(self).unwrap_or(i64::MAX)) {
                    Ok(n) => site.count(cell, n),
                    Err(_) => refuse(),
                }
            }
        }
    )* };
}

whole_increments!(u8, u16, u32, u64, usize, u128, i8, i16, i32, i64, isize);

impl sealed::Sealed for f64 {}
impl Increment for f64 {
    #[inline]
    fn add_to(self, metric: &Shared) {
        metric.add_float(self);
    }

    fn count(self, site: &'static Site, _: &'static LocalKey<WordCell>) {
        site.add(self);
    }
}

impl sealed::Sealed for f32 {}
impl Increment for f32 {
    #[inline]
    fn add_to(self, metric: &Shared) {
        metric.add_float(f64::from(self));
    }

    fn count(self, site: &'static Site, _: &'static LocalKey<WordCell>) {
        site.add(self);
    }
}
