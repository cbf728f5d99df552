//! From spans that end to batches that the collector took.
//!
//! | | bound | when it is reached |
//! |---|---|---|
//! | spans that wait | [`WAITING_MAX`] | more are dropped and counted |
//! | spans in a batch | [`BATCH_MAX`] | it is sent |
//! | time in a batch | [`BATCH_WAIT`] | it is sent |
//!
//! A collector that is away, or asks for patience, gets the same batch again after a pause that doubles; meanwhile the queue
//! fills. What it refuses is counted and forgotten. Either is logged once a minute.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::collector::{Collector, Error};
use super::metrics::{self, Became};
use crate::probe::failed::chain;

/// Spans that wait to be exported, about 1 KiB each.
const WAITING_MAX: usize = 4_096;
/// Spans in one message.
const BATCH_MAX: usize = 512;
/// Longest time that a span waits for others to go with it.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause before a batch is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// The log says at most once in this time that spans cannot be exported.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(60);

/// Takes spans as they end, and makes nobody wait.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl Queue {
    /// A queue, and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<SpanData>) {
        let (queue, ended) = mpsc::channel(WAITING_MAX);
        (Self(queue), ended)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            metrics::ended(Became::Dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what is queued.
pub(super) struct Exporter {
    ended: mpsc::Receiver<SpanData>,
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    stop: CancellationToken,
    /// When the log last said that something is wrong.
    complained: Option<Instant>,
    /// Whether the log says so and nothing was exported since.
    is_said_to_fail: bool,
}

impl Exporter {
    pub(super) fn new(
        ended: mpsc::Receiver<SpanData>,
        collector: Collector,
        resource: ResourceAttributesWithSchema,
        stop: CancellationToken,
    ) -> Self {
        Self { ended, collector, resource, stop, complained: None, is_said_to_fail: false }
    }

    /// Sends until it is told to stop, and then what still waits.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            metrics::waiting(self.ended.len() + batch.len());
            self.deliver(batch).await;
            metrics::waiting(self.ended.len());
        }
    }

    /// The next batch; `None` when there is none any more.
    async fn gather(&mut self) -> Option<Vec<SpanData>> {
        let mut batch = Vec::new();
        tokio::select! {
            // In this order: what waits is sent even if it is time to stop.
            biased;
            _ = self.ended.recv_many(&mut batch, BATCH_MAX) => {}
            () = self.stop.cancelled() => {}
        }
        let full_by = Instant::now() + BATCH_WAIT;
        while !batch.is_empty() && batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            let more = timeout_at(full_by, self.ended.recv_many(&mut batch, room));
            if !matches!(self.stop.run_until_cancelled(more).await, Some(Ok(1..))) {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Sends a batch until it is taken or refused. A node that stops tries once.
    async fn deliver(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let message = self.encode(batch);
        let mut pause = PAUSES[0];
        loop {
            let error = match self.collector.send(message.clone()).await {
                Ok(partial) => {
                    let refused = usize::try_from(partial.rejected_spans).unwrap_or(0).min(spans);
                    metrics::ended(Became::Exported, spans - refused);
                    metrics::ended(Became::Refused, refused);
                    return self.succeeded(refused, &partial.error_message);
                }
                Err(error) => error,
            };
            self.failed(&error);
            if !error.is_passing() {
                return metrics::ended(Became::Refused, spans);
            }
            if self.stop.is_cancelled() {
                return metrics::ended(Became::Dropped, spans);
            }
            metrics::waiting(self.ended.len() + spans);
            let some = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            self.stop.run_until_cancelled(sleep(some)).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    fn encode(&self, batch: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    fn succeeded(&mut self, refused: usize, why: &str) {
        if refused > 0 {
            let why = why.escape_debug().take(256).collect::<String>();
            self.complain(|endpoint| warn!("{endpoint} did not take {refused} spans: {why}"));
        } else if std::mem::take(&mut self.is_said_to_fail) {
            info!("spans are exported again");
        }
    }

    fn failed(&mut self, error: &Error) {
        let why = chain(error);
        let waiting = self.ended.len();
        self.complain(|endpoint| {
            warn!(error = why, "spans cannot be exported to {endpoint}: {why}; {waiting} more wait");
        });
    }

    fn complain(&mut self, say: impl FnOnce(&crate::config::Endpoint)) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PERIOD) {
            (self.complained, self.is_said_to_fail) = (Some(Instant::now()), true);
            say(self.collector.endpoint());
        }
    }
}
