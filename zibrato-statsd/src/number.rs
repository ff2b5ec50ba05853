//! Numbers as plain decimals: not all daemons know exponents, and the original reads a rate of `1e-7` as 1.

use zibrato_core::frame::Total;

/// Below this, every whole float is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

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
    let Some(nanoseconds) = whole(total) else { return float(total.value() / 1e6) };
    let (sign, magnitude) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let text = format!("{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

fn whole(total: Total) -> Option<i128> {
    let fits = total.float.fract() == 0.0 && total.float.abs() < EXACT;
    fits.then(|| i128::from(total.whole) + total.float as i128)
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
