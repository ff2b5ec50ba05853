//! What an OTLP receiver answers with. Source: `opentelemetry/proto/collector/metrics/v1/metrics_service.proto`.
#![allow(missing_docs)]

pub mod tonic {
    pub mod collector {
        pub mod metrics {
            pub mod v1 {
                #[derive(Clone, PartialEq, prost::Message)]
                pub struct ExportMetricsServiceResponse {
                    #[prost(message, optional, tag = "1")]
                    pub partial_success: Option<ExportMetricsPartialSuccess>,
                }

                #[derive(Clone, PartialEq, prost::Message)]
                pub struct ExportMetricsPartialSuccess {
                    #[prost(int64, tag = "1")]
                    pub rejected_data_points: i64,
                    #[prost(string, tag = "2")]
                    pub error_message: String,
                }
            }
        }
    }
}
