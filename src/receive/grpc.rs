//! OTLP over gRPC: the same requests through the same door as HTTP.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::{Request as Call, Response, Status};

use super::budget::Share;
use super::http::{Asked, Denied, Receiver, sender};
use crate::ingest::Request;

/// Room taken for a call before its message is there: its length is not announced. What gRPC allows by default.
const BEFORE: usize = 4 << 20;

struct Services(Receiver);

impl Services {
    async fn take<T>(&self, mut call: Call<T>, request: fn(T) -> Request<'static>) -> Result<(i64, String), Status>
    where
        T: Message + Send + 'static,
    {
        let from =
            call.remote_addr().map_or_else(|| "otlp+grpc://unknown".to_owned(), |at| sender("otlp+grpc", at.ip()));
        let kept = call.extensions_mut().remove::<Arc<Share>>().and_then(Arc::into_inner);
        let mut share = kept.unwrap_or_else(|| self.0.budget.share());
        let message = call.into_inner();
        let more = message.encoded_len().saturating_sub(share.bytes());
        share.grow(more).map_err(|full| status(full.into()))?;
        let taken = self.0.take(from, share, move |_| Ok(Asked::Decoded(request(message)))).await;
        taken.map(|(rejected, why)| (i64::try_from(rejected).unwrap_or(i64::MAX), why)).map_err(status)
    }
}

fn status(denied: Denied) -> Status {
    match denied {
        Denied::Unauthorized => Status::unauthenticated("token is missing or wrong; send `authorization: Bearer …`"),
        Denied::Malformed(why) | Denied::Unsupported(why) => Status::invalid_argument(why),
        Denied::TooLarge(limit) => Status::resource_exhausted(format!("larger than {limit} bytes")),
        Denied::Later(why) => Status::unavailable(why),
    }
}

/// Asks for the token, and for room, before anything of the message is read.
fn let_in(receiver: &Receiver, mut call: Call<()>) -> Result<Call<()>, Status> {
    let said = call.metadata().get("authorization").and_then(|value| value.to_str().ok());
    if !receiver.allows(said) {
        return Err(status(Denied::Unauthorized));
    }
    let mut share = receiver.budget.share();
    share.grow(BEFORE).map_err(|full| status(full.into()))?;
    call.extensions_mut().insert(Arc::new(share));
    Ok(call)
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        call: Call<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (rejected_spans, error_message) = self.take(call, Request::Traces).await?;
        let partial = ExportTracePartialSuccess { rejected_spans, error_message };
        let partial_success = (rejected_spans > 0).then_some(partial);
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        call: Call<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (rejected_log_records, error_message) = self.take(call, Request::Logs).await?;
        let partial = ExportLogsPartialSuccess { rejected_log_records, error_message };
        let partial_success = (rejected_log_records > 0).then_some(partial);
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        call: Call<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (rejected_data_points, error_message) = self.take(call, Request::Metrics).await?;
        let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
        let partial_success = (rejected_data_points > 0).then_some(partial);
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

/// Serves until `stop` is done and what was begun is answered.
pub(super) async fn serve(
    listener: tokio::net::TcpListener,
    receiver: Receiver,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let limit = receiver.max_body;
    let services = || Services(receiver.clone());
    let gzip = CompressionEncoding::Gzip;
    let traces = TraceServiceServer::new(services()).accept_compressed(gzip).max_decoding_message_size(limit);
    let logs = LogsServiceServer::new(services()).accept_compressed(gzip).max_decoding_message_size(limit);
    let metrics = MetricsServiceServer::new(services()).accept_compressed(gzip).max_decoding_message_size(limit);
    let let_in = move |call: Call<()>| let_in(&receiver, call);
    tonic::transport::Server::builder()
        .add_service(InterceptedService::new(traces, let_in.clone()))
        .add_service(InterceptedService::new(logs, let_in.clone()))
        .add_service(InterceptedService::new(metrics, let_in))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
        .await
        .map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Flushed, Inbox, Keeper, Pace, Spool};
    use super::*;
    use crate::ingest::{FileSummary, Item, SinkError};

    struct Nothing;

    impl Keeper for Nothing {
        fn take(&mut self, _: Vec<Item>) -> Result<(), SinkError> {
            Ok(())
        }

        fn flush(&mut self) -> Result<Flushed, SinkError> {
            Ok(Flushed::default())
        }
    }

    #[test]
    fn a_call_is_let_in_with_a_token_and_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        let (inbox, thread) = Inbox::start(spool, Box::new(Nothing), Pace::default(), Box::new(|_| ())).unwrap();
        let receiver = Receiver {
            inbox,
            read: Arc::new(|_, _, _| Ok(FileSummary::default())),
            taken: Arc::new(|_| ()),
            token: Some("open-sesame".to_owned().into()),
            max_body: BEFORE,
            budget: Budget::new(2 * BEFORE - 1),
        };
        let call = |token: &str| {
            let mut call = Call::new(());
            call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            let_in(&receiver, call).map_err(|status| status.code())
        };
        assert_eq!(call("open").err(), Some(tonic::Code::Unauthenticated));
        let first = call("open-sesame").unwrap();
        assert_eq!(call("open-sesame").err(), Some(tonic::Code::Unavailable));
        drop(first);
        assert!(call("open-sesame").is_ok());
        drop(receiver);
        assert_eq!(thread.join().unwrap(), Ok(()));
    }
}
