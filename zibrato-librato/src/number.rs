//! Numbers as JSON text, without a digit lost that need not be.

use zibrato_worker::Total;
use zibrato_worker::decimal::{in_parts, whole};

/// The largest magnitude that Librato takes; one larger number makes it refuse the whole request.
const LARGEST: f64 = 1e126;
/// Below this, every whole float is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A float, `None` when the service could not take it.
pub(crate) fn float(value: f64) -> Option<String> {
    if !value.is_finite() || value.abs() > LARGEST {
        return None;
    }
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some((value as i64).to_string());
    }
    serde_json::to_string(&value).ok()
}

/// A total; whole ones to the last digit.
pub(crate) fn total(total: Total) -> Option<String> {
    match whole(total) {
        Some(whole) => Some(whole.to_string()),
        None => float(total.value()),
    }
}

/// A total of nanoseconds, in seconds; whole nanoseconds to the last digit.
pub(crate) fn seconds(total: Total) -> Option<String> {
    match whole(total) {
        Some(nanoseconds) => Some(in_parts(nanoseconds, 9)),
        None => float(total.value() / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_digit() {
        assert_eq!(total(Total::whole(i64::MAX)).unwrap(), "9223372036854775807");
        assert_eq!(total(Total { whole: i64::MAX, float: 1.0 }).unwrap(), "9223372036854775808");
        assert_eq!(total(Total { whole: 1, float: 0.25 }).unwrap(), "1.25");
        assert_eq!(total(Total { whole: 0, float: f64::NAN }), None);
        assert_eq!(seconds(Total::whole(50_131_000)).unwrap(), "0.050131");
        assert_eq!(seconds(Total::whole(-1_500_000_000)).unwrap(), "-1.5");
        assert_eq!(seconds(Total::whole(9_007_199_254_740_993)).unwrap(), "9007199.254740993");
        assert_eq!(seconds(Total::whole(20_000_000_000)).unwrap(), "20");
        assert_eq!(seconds(Total { whole: 0, float: 0.5 }).unwrap(), "5e-10");
    }

    #[test]
    fn refuses_what_would_spoil_a_request() {
        assert_eq!(float(f64::INFINITY), None);
        assert_eq!(float(1e127), None);
        assert_eq!(float(-0.0).unwrap(), "0");
        assert_eq!(float(21.5).unwrap(), "21.5");
        assert_eq!(float(1e126).unwrap(), "1e+126");
        assert_eq!(float(1e20).unwrap(), "1e+20");
    }
}
