//! Numbers as plain decimals: not all daemons know exponents, and the original reads a rate of `1e-7` as 1.

use zibrato_worker::Total;
use zibrato_worker::decimal::{in_parts, whole};

/// A float, with the fewest digits that make it the same again; `None` when it is not finite.
pub(crate) fn float(value: f64) -> Option<String> {
    // A zero has no sign, or it would be taken as a decrement.
    value.is_finite().then(|| if value == 0.0 { "0".to_owned() } else { value.to_string() })
}

/// A total; whole ones to the last digit.
pub(crate) fn total(total: Total) -> Option<String> {
    match whole(total) {
        Some(whole) => Some(whole.to_string()),
        None => float(total.value()),
    }
}

/// A total of nanoseconds in milliseconds; whole nanoseconds to the last digit.
pub(crate) fn milliseconds(total: Total) -> Option<String> {
    match whole(total) {
        Some(nanoseconds) => Some(in_parts(nanoseconds, 6)),
        None => float(total.value() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_all_digits_and_no_exponent() {
        assert_eq!(total(Total::whole(i64::MAX)).unwrap(), "9223372036854775807");
        assert_eq!(total(Total { whole: 1, float: 0.25 }).unwrap(), "1.25");
        assert_eq!(total(Total { whole: 0, float: f64::NAN }), None);
        assert_eq!(milliseconds(Total::whole(1_500_007)).unwrap(), "1.500007");
        assert_eq!(milliseconds(Total::whole(-20_000_000)).unwrap(), "-20");
        assert_eq!(milliseconds(Total { whole: 0, float: 0.5 }).unwrap(), "0.0000005");
        assert_eq!(float(-0.0).unwrap(), "0");
        assert_eq!(float(1e21).unwrap(), "1000000000000000000000");
        assert_eq!(float(1e-7).unwrap(), "0.0000001");
        assert_eq!(float(f64::INFINITY), None);
    }
}
