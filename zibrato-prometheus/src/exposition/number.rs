//! Numbers as text.

use zibrato_worker::{Total, Value};

/// A float as both text formats take it, without a digit lost.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else if value != 0.0 && !(1e-6..1e17).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// A total, whole ones to the last digit.
pub(super) fn total(total: Total) -> String {
    if total.float == 0.0 { total.whole.to_string() } else { float(total.value()) }
}

/// The value of a counter or a gauge.
pub(super) fn single(value: &Value) -> String {
    match value {
        Value::Counter(sum) | Value::Updown(sum) => total(*sum),
        Value::Gauge(gauge) => float(gauge.last),
        Value::Point { value, .. } => float(*value),
        // Only histograms are left, which are no single value.
        Value::Timer(summary) | Value::Distribution(summary) => summary.count().to_string(),
    }
}

/// The bound of a bucket in the text format: as short as it can be.
pub(super) fn bound(value: f64) -> String {
    float(value)
}

/// The bound of a bucket in OpenMetrics: never without a point or an exponent.
pub(crate) fn canonical_bound(value: f64) -> String {
    let text = float(value);
    if text.contains(['.', 'e', 'I', 'N']) { text } else { text + ".0" }
}

/// Nanoseconds since 1970 as seconds.
pub(super) fn timestamp(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1_000_000_000, nanoseconds / 1_000_000 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(total(Total::whole(i64::MAX)), "9223372036854775807");
        assert_eq!(total(Total { whole: 1, float: 0.1 }), "1.1");
        assert_eq!(float(1e300), "1e300");
        assert_eq!(float(f64::MIN_POSITIVE).parse::<f64>(), Ok(f64::MIN_POSITIVE));
        assert_eq!(
            (float(0.0), float(-2.5), float(f64::INFINITY)),
            ("0".into(), "-2.5".into(), "+Inf".into())
        );
        assert_eq!(
            (canonical_bound(1.0), canonical_bound(0.25), canonical_bound(1e20)),
            ("1.0".into(), "0.25".into(), "1e20".into())
        );
        assert_eq!((bound(10.0), bound(0.00001)), ("10".into(), "0.00001".into()));
        assert_eq!(timestamp(1_795_289_340_123_456_789), "1795289340.123");
    }
}
