//! One OTLP export request, as a client sends it: what is in it goes through the same gate as a file.
//!
//! Unlike a file, a request is whole or wrong: what is not OTLP at all is an error for the sender, while single bad
//! spans are turned away and counted. Knows no transport.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::admit::{Gate, Sink};
use super::error::IngestError;
use super::json::{parse, replace_half_characters};
use super::{FileSummary, ReadOptions, otlp_json, otlp_protobuf};

/// The body of a request.
pub enum Request<'a> {
    /// A JSON document with spans, logs or both.
    Json(&'a [u8]),
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Measurements, which are counted and not kept.
    Metrics(ExportMetricsServiceRequest),
}

/// How measurements are counted in [`FileSummary::ignored`].
pub const METRIC_POINTS: &str = "data points of metrics";

/// A request that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not what its head says.
    #[error("body is {found}; expected {expected}")]
    Malformed {
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The taker of spans failed.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// Reads a request into `sink`; `from` names the sender in what is told about bad spans.
///
/// # Errors
/// When the body is not JSON, or when `sink` fails.
pub fn read_request(
    request: Request<'_>,
    from: &str,
    options: &ReadOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<FileSummary, RequestError> {
    let why_recognised = "it came to the receiver".to_owned();
    let summary =
        FileSummary { file: from.to_owned(), format: "otlp".to_owned(), why_recognised, ..FileSummary::default() };
    let mut gate = Gate::new(options, summary, sink);
    match request {
        Request::Json(body) => {
            // Halves of characters are the patient reader's to mend; what is no JSON even so is the sender's.
            if let Err(problem) = parse(body)
                && parse(&replace_half_characters(body).0).is_err()
            {
                return Err(RequestError::Malformed { found: problem.found, expected: problem.expected });
            }
            otlp_json::record(body, None, &mut gate)?;
        }
        Request::Traces(request) => {
            for message in request.resource_spans {
                otlp_protobuf::resource_spans(message, &mut gate)?;
            }
        }
        Request::Logs(request) => {
            for message in request.resource_logs {
                otlp_protobuf::resource_logs(message, &mut gate)?;
            }
        }
        Request::Metrics(request) => gate.ignore(METRIC_POINTS, points(&request)),
    }
    Ok(gate.finish()?)
}

/// How many data points a request holds.
fn points(request: &ExportMetricsServiceRequest) -> u64 {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let data = scopes.flat_map(|scope| &scope.metrics).filter_map(|metric| metric.data.as_ref());
    let count = |data: &Data| match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    };
    data.map(|data| count(data) as u64).sum()
}
