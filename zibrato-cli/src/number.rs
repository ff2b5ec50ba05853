//! Numbers for people: short, with SI prefixes.

/// A number of things, whole ones with all their digits.
pub(crate) fn count(value: f64) -> String {
    if value.fract() != 0.0 || value.abs() >= 1e15 {
        return plain(value);
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// Any number, with four significant digits.
pub(crate) fn plain(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let whole = size.log10().floor() as i32;
    let decimals = usize::try_from(3 - whole).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => count(value.round()),
    }
}

/// A duration in seconds, with three significant digits: `870 µs`, `1.25 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let size = seconds.abs();
    if size == 0.0 {
        return "0 s".into();
    }
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| size >= unit * 0.9995).unwrap_or((1e-9, "ns"));
    let value = seconds / unit;
    if name == "ns" { format!("{value:.0} ns") } else { format!("{} {name}", three_digits(value)) }
}

/// A number of bytes, with three significant digits: `870 B`, `1.25 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match UNITS.into_iter().find(|(unit, _)| bytes.abs() >= unit * 0.9995) {
        Some((unit, name)) => format!("{} {name}", three_digits(bytes / unit)),
        None => format!("{} B", count(bytes.round())),
    }
}

fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// How long something has lasted, roughly: `12 s`, `5 min`, `3 h`, `2 d`.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "0 s".into(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts =
            [(0.0, "0"), (999.0, "999"), (1_234_567.0, "1,234,567"), (-1000.0, "-1,000"), (2.5, "2.5")];
        for (value, text) in counts {
            assert_eq!(count(value), text);
        }
        for (value, text) in [(2.34567, "2.346"), (12_345.6, "12,346"), (0.001, "0.001"), (1e-9, "1.000e-9")]
        {
            assert_eq!(plain(value), text);
        }
        let times = [
            (0.0, "0 s"),
            (1.25, "1.25 s"),
            (0.00087, "870 µs"),
            (0.0999999, "100 ms"),
            (12e-9, "12 ns"),
            (0.9999, "1.00 s"),
            (0.01234, "12.3 ms"),
            (754.0, "754 s"),
        ];
        for (value, text) in times {
            assert_eq!(seconds(value), text);
        }
        assert_eq!((span(0.2), span(90.0), span(3600.0)), ("0 s".into(), "90 s".into(), "60 min".into()));
    }
}
