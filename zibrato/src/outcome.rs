/// How a measured function or future ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned, and not an `Err`.
    Ok,
    /// It returned an `Err`.
    Error,
    /// It unwound.
    Panicked,
    /// It was a future, and was dropped before its end.
    Cancelled,
}

impl Outcome {
    /// What the end without a result was.
    pub(crate) fn of_drop() -> Self {
        if std::thread::panicking() { Outcome::Panicked } else { Outcome::Cancelled }
    }
}

/// Tells `Result`s from everything else by which of two methods is found first.
#[derive(Debug)]
pub struct Seen<'a, T>(pub &'a T);

/// Found where the value is a `Result`.
pub trait ResultOutcome {
    /// Whether it is an error.
    fn outcome(&self) -> Outcome;
}

impl<T, E> ResultOutcome for Seen<'_, Result<T, E>> {
    fn outcome(&self) -> Outcome {
        if self.0.is_ok() { Outcome::Ok } else { Outcome::Error }
    }
}

/// Found, one reference later, where it is not.
pub trait AnyOutcome {
    /// Always [`Outcome::Ok`].
    fn outcome(&self) -> Outcome;
}

impl<T> AnyOutcome for &Seen<'_, T> {
    fn outcome(&self) -> Outcome {
        Outcome::Ok
    }
}

/// The outcome of a result behind a reference.
#[doc(hidden)]
#[macro_export]
macro_rules! __outcome {
    ($result:expr) => {{
        #[allow(unused_imports)]
        use $crate::__private::{AnyOutcome as _, ResultOutcome as _};
        (&$crate::__private::Seen($result)).outcome()
    }};
}
