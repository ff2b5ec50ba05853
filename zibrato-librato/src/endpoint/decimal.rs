//! Sums that stay exact: numbers are read from their text, not from a float.

/// A sum of decimal numbers, exact as long as none needs more than nine digits after the point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal {
    billionths: Option<i128>,
    nearest: f64,
}

impl Default for Decimal {
    fn default() -> Self {
        Decimal { billionths: Some(0), nearest: 0.0 }
    }
}

impl Decimal {
    /// Reads a JSON number; `None` when it is none or is not finite.
    pub fn parse(text: &str) -> Option<Decimal> {
        let nearest: f64 = text.parse().ok()?;
        let numeric = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        (numeric && nearest.is_finite()).then(|| Decimal { billionths: billionths(text), nearest })
    }

    /// The sum of both.
    pub fn plus(self, other: Decimal) -> Decimal {
        Decimal {
            billionths: self.billionths.zip(other.billionths).and_then(|(a, b)| a.checked_add(b)),
            nearest: self.nearest + other.nearest,
        }
    }

    /// The exact sum in units of 10^-9, so of a timer in nanoseconds; `None` when it is not exact.
    pub fn billionths(self) -> Option<i128> {
        self.billionths
    }

    /// The exact sum where it is a whole number.
    pub fn whole(self) -> Option<i128> {
        self.billionths.filter(|b| b % 1_000_000_000 == 0).map(|b| b / 1_000_000_000)
    }

    /// The sum as a float.
    pub fn value(self) -> f64 {
        self.billionths.map_or(self.nearest, |b| b as f64 / 1e9)
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.whole() {
            Some(whole) => write!(f, "{whole}"),
            None => write!(f, "{}", self.value()),
        }
    }
}

fn billionths(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = 9 + exponent - i32::try_from(fraction.len()).ok()?;
    let scaled = if digits == 0 {
        0
    } else if shift >= 0 {
        digits.checked_mul(10i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        let divisor = 10i128.checked_pow(shift.unsigned_abs())?;
        (digits % divisor == 0).then(|| digits / divisor)?
    };
    Some(if negative { -scaled } else { scaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_exactly() {
        let whole = |t: &str| Decimal::parse(t).and_then(Decimal::whole);
        assert_eq!(whole("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(whole("-5"), Some(-5));
        assert_eq!(whole("1.50e1"), Some(15));
        assert_eq!(whole("1200e-2"), Some(12));
        assert_eq!(whole("1.5"), None);
        assert_eq!(Decimal::parse("0.050131").and_then(Decimal::billionths), Some(50_131_000));
        assert_eq!(Decimal::parse("1e-10").and_then(Decimal::billionths), None);
        assert_eq!(Decimal::parse("1e300").map(Decimal::value), Some(1e300));
        for no in ["\"1\"", "null", "true", "1e999", "inf", "NaN", "[1]", ""] {
            assert_eq!(Decimal::parse(no), None, "{no}");
        }
    }
}
