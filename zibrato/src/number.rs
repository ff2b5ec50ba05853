/// Whatever a gauge or a distribution takes: any integer or float.
pub trait Number {
    /// As a float; integers beyond 2^53 are rounded.
    fn number(self) -> f64;
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Number for $number {
            #[inline(always)]
            fn number(self) -> f64 {
                self as f64
            }
        }
    )* };
}

numbers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);
