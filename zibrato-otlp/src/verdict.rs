//! What an answer means for the data points of its request.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use zibrato_http::Answer;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver has all of it; it may have a warning.
    Accepted(Option<String>),
    /// It has all but so many data points, and does not say which.
    Partly(u64, String),
    /// Something in it is wrong, for good.
    Wrong(String),
    /// It may be accepted later, just as it is.
    Later(String),
}

/// Judges an answer.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    match answer.status {
        200..300 => success(answer),
        401 | 403 => Verdict::Later(format!("{}: check the keys", said(answer))),
        300..=399 | 404 | 405 | 415 => Verdict::Later(format!(
            "{}: check the URL, and that OTLP over HTTP is spoken there",
            said(answer)
        )),
        408 | 429 | 500..600 => Verdict::Later(said(answer)),
        _ => Verdict::Wrong(said(answer)),
    }
}

fn success(answer: &Answer) -> Verdict {
    // Some receivers have an empty body, some another text than was asked for: both mean yes.
    let response = ExportMetricsServiceResponse::decode(answer.body.as_bytes()).unwrap_or_default();
    let Some(partial) = response.partial_success else { return Verdict::Accepted(None) };
    let message: String =
        partial.error_message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    match u64::try_from(partial.rejected_data_points) {
        Ok(rejected @ 1..) => {
            Verdict::Partly(rejected, format!("rejected {rejected} data points: {message}"))
        }
        _ => Verdict::Accepted(Some(message).filter(|message| !message.is_empty())),
    }
}

/// The status and what the body says, which is a `google.rpc.Status` mostly: of that its message.
fn said(answer: &Answer) -> String {
    let status = Status::decode(answer.body.as_bytes()).unwrap_or_default();
    answer.said(if status.message.is_empty() { &answer.body } else { &status.message })
}

/// What errors have. Source: `google/rpc/status.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
    use proptest::prelude::*;
    use zibrato_http::HeaderMap;

    use super::*;

    fn judged(status: u16, body: &[u8]) -> Verdict {
        judge(&Answer::new(status, HeaderMap::new(), String::from_utf8_lossy(body).into_owned()))
    }

    #[test]
    fn knows_what_receivers_say() {
        let partly = |rejected_data_points, error_message: &str| {
            let error_message = error_message.into();
            let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
            ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        };
        assert_eq!(judged(200, b""), Verdict::Accepted(None));
        assert_eq!(judged(201, b"{}"), Verdict::Accepted(None));
        assert_eq!(judged(200, &partly(0, "")), Verdict::Accepted(None));
        assert_eq!(judged(200, &partly(0, "old")), Verdict::Accepted(Some("old".into())));
        assert_eq!(
            judged(200, &partly(2, "odd\n")),
            Verdict::Partly(2, "rejected 2 data points: odd ".into())
        );
        let status = Status { code: 3, message: "bad start time".into() }.encode_to_vec();
        assert_eq!(judged(400, &status), Verdict::Wrong("answered 400: bad start time".into()));
        assert_eq!(judged(400, b"no"), Verdict::Wrong("answered 400: no".into()));
        assert!(matches!(judged(413, b""), Verdict::Wrong(_)));
        for later in [401, 403, 404, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(later, b""), Verdict::Later(_)), "{later}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_has_a_verdict(status in 100..600u16, body in any::<Vec<u8>>()) {
            judged(status, &body);
        }
    }
}
