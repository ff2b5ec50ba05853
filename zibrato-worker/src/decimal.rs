//! Totals as decimals, without a digit lost that need not be.

use zibrato_core::frame::Total;

/// Below this, every whole float is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A total as one whole number, where it is one to the last digit.
///
/// ```
/// use zibrato_worker::{Total, decimal::whole};
/// assert_eq!(whole(Total { whole: i64::MAX, float: 1.0 }), Some(1 << 63));
/// assert_eq!(whole(Total { whole: 1, float: 0.25 }), None);
/// ```
pub fn whole(total: Total) -> Option<i128> {
    let fits = total.float.fract() == 0.0 && total.float.abs() < EXACT;
    fits.then(|| i128::from(total.whole) + total.float as i128)
}

/// A whole number of parts, of which `10^places` make one, as in nanoseconds and seconds; `places` is at most 38.
///
/// ```
/// use zibrato_worker::decimal::in_parts;
/// assert_eq!(in_parts(-1_500_000_000, 9), "-1.5");
/// assert_eq!(in_parts(20_000_000_000, 9), "20");
/// ```
pub fn in_parts(whole: i128, places: u32) -> String {
    let (sign, magnitude) = (if whole < 0 { "-" } else { "" }, whole.unsigned_abs());
    let one = 10u128.saturating_pow(places.min(38));
    let width = places.min(38) as usize;
    let text = format!("{sign}{}.{:0width$}", magnitude / one, magnitude % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
