//! Which format a scraper gets, by the same rules as Prometheus' own libraries.
//!
//! Source: `expfmt.NegotiateIncludingOpenMetrics` of prometheus/common: what the scraper likes best of what is known,
//! and the text format where nothing is.

/// A format of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Text,
    Protobuf,
}

impl Format {
    pub(crate) const ALL: [Format; 3] = [Format::OpenMetrics, Format::Text, Format::Protobuf];

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The format for a value of `Accept`.
pub(crate) fn negotiate(accept: &str) -> Format {
    let mut ranges: Vec<(f32, Format)> = accept
        .split(',')
        .filter_map(|range| {
            let (quality, kind, parameters) = parse(range);
            (quality > 0.0).then_some((quality, format(&kind, &parameters)?))
        })
        .collect();
    // Stable, so that of two that are liked the same the first one wins.
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranges.first().map_or(Format::Text, |&(_, format)| format)
}

/// Whether a value of `Accept-Encoding` allows gzip.
pub(crate) fn takes_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|range| {
        let (quality, coding, _) = parse(range);
        coding == "gzip" && quality > 0.0
    })
}

type Parameters = Vec<(String, String)>;

fn parse(range: &str) -> (f32, String, Parameters) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut parameters: Parameters = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    let quality = parameters.iter().find(|(name, _)| name == "q");
    let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(1.0));
    parameters.retain(|(name, _)| name != "q");
    (quality, kind, parameters)
}

fn format(kind: &str, parameters: &Parameters) -> Option<Format> {
    let parameter = |name: &str| parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    match (kind, parameter("version")) {
        ("application/vnd.google.protobuf", _)
            if parameter("proto") == "io.prometheus.client.MetricFamily"
                && parameter("encoding") == "delimited" =>
        {
            Some(Format::Protobuf)
        }
        ("application/openmetrics-text", "1.0.0" | "0.0.1" | "") => Some(Format::OpenMetrics),
        ("text/plain", "0.0.4" | "") => Some(Format::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scrapers_get_what_they_ask_for() {
        let cases = [
            // Prometheus 2.42 without and with native histograms, Prometheus 3, VictoriaMetrics, a browser, curl.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Protobuf,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("application/openmetrics-text;q=0, text/plain;q=0.1", Format::Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                Format::Text,
            ),
            ("text/plain;q=0.4, application/openmetrics-text; version=\"0.0.1\"; q=0.5", Format::OpenMetrics),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(accept), expected, "{accept}");
        }
        assert!(takes_gzip("gzip") && takes_gzip("deflate, GZIP;q=0.5"));
        assert!(!takes_gzip("") && !takes_gzip("gzip;q=0") && !takes_gzip("identity"));
    }

    proptest! {
        #[test]
        fn any_text_has_a_format(accept in any::<String>()) {
            negotiate(&accept);
            takes_gzip(&accept);
        }
    }
}
