//! Traces: which spans leave this process, and how others become their parents and children.
//!
//! ```text
//! request ─ traceparent, else the dice ─► span of TARGET ─► what happens within it ─► queue ─► exporter ─► collector
//!                                             └─ forwarded write: its place goes to the leader (rollcall_raft::traces)
//! ```
//! **Decided at the door.** Whether a request is traced is known before a span is made: its caller says so (W3C Trace Context
//! §3.2.2.5), or chance does. The exporter's layer takes spans of [`TARGET`] and what happens within them ([`Within`]), so a
//! request that is not traced costs what it costs without an exporter, and one number by chance. Sampling in the layer, as the
//! libraries offer it, builds every span before it is dropped.
//!
//! **Nothing waits for a collector.** A span that ends is put into a bounded queue, or dropped and counted when that is full.
//! One task sends what is queued ([`exporter`]).
//!
//! Tracing's subscriber belongs to the process, and so does what is here: one exporter for each process.
//!
//! Not done: `tracestate` is not passed on; answers carry no trace, since they carry the request id.

mod collector;
mod exporter;
pub(crate) mod metrics;
mod within;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider, SpanLimits};
use rollcall_raft::traces::{self, Carrier};
pub(crate) use rollcall_raft::traces::{TARGET, TraceParent};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Span, Subscriber, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use self::collector::Collector;
use self::exporter::{Exporter, Queue};
use self::within::Within;
use crate::config::{NodeConfig, Ratio};
use crate::node;

/// Longest time that a node which stops gives its last spans.
const FINISH: Duration = Duration::from_secs(3);

/// Which requests are traced when their callers do not say; unset: there is no exporter.
static RATIO: OnceLock<Ratio> = OnceLock::new();

/// Exports spans, from when it is started until it is finished.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    exporter: JoinHandle<()>,
    stop: CancellationToken,
}

impl Traces {
    /// Starts what `config` asks for; `None` when it asks for no export. Spans come once [`Self::layer`] is part of the
    /// subscriber. Must be called within the runtime.
    pub fn start(config: &NodeConfig) -> Option<Self> {
        let endpoint = config.traces.otlp_endpoint.clone()?;
        let name = config.name.clone().unwrap_or_else(node::host_name);
        let resource = Resource::builder_empty()
            .with_service_name("rollcall")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", name.to_string()))
            .with_attribute(KeyValue::new("node.id", name.to_string()))
            .build();
        let stop = CancellationToken::new();
        let (queue, ended) = Queue::new();
        let exporter = Exporter::new(ended, Collector::new(endpoint), (&resource).into(), stop.clone());
        RATIO.get_or_init(|| config.traces.ratio);
        traces::install(Carrier { place, adopt });
        Some(Self { tracer: tracer(queue), exporter: tokio::spawn(exporter.run()), stop })
    }

    /// The layer of a subscriber that takes the spans which are to be exported, and no others.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        layer(self.tracer.clone())
    }

    /// Sends what waits, and ends. Takes no longer than three seconds.
    pub async fn finish(self) {
        self.stop.cancel();
        let abort = self.exporter.abort_handle();
        if tokio::time::timeout(FINISH, self.exporter).await.is_err() {
            abort.abort();
            warn!("the last spans are lost: the collector did not take them within {FINISH:?}");
        }
    }
}

/// Makes spans that go to `queue` when they end.
fn tracer(queue: Queue) -> SdkTracer {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        // The exporter has its own.
        .with_resource(Resource::builder_empty().build())
        // What is not to be recorded does not come here.
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(RandomIdGenerator::default())
        // Said here, since variables would say it otherwise.
        .with_span_limits(SpanLimits::default())
        .build();
    let scope = InstrumentationScope::builder("rollcall").with_version(env!("CARGO_PKG_VERSION"));
    provider.tracer_with_scope(scope.build())
}

fn layer<S>(tracer: SdkTracer) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(Within)
}

/// Whether there is an exporter.
pub(crate) fn is_on() -> bool {
    RATIO.get().is_some()
}

/// Whether a trace begins with what comes now and has no caller that says so.
pub(crate) fn begins() -> bool {
    RATIO.get().is_some_and(|ratio| ratio.takes(rand::random()))
}

/// Begins a trace with a new span of [`TARGET`], or goes on with that of a caller; the span's field `trace.id` says which.
pub(crate) fn enter(span: Span, caller: Option<TraceParent>) -> Span {
    if let Some(parent) = caller {
        adopt(&span, parent);
    }
    if let Some(place) = place(&span) {
        span.record("trace.id", tracing::field::display(TraceId::from_bytes(place.trace)));
    }
    span
}

/// Says something of a span that is exported, and not of it in the log.
pub(crate) fn tell(span: &Span, what: &'static str, value: impl Into<Value>) {
    span.set_attribute(what, value);
}

/// Marks a span that is exported as one in which something went wrong.
pub(crate) fn fail(span: &Span) {
    span.set_status(Status::error(""));
}

fn place(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let place = context.span().span_context().clone();
    let is_recorded = place.is_valid() && place.is_sampled();
    is_recorded.then(|| TraceParent { trace: place.trace_id().to_bytes(), span: place.span_id().to_bytes() })
}

fn adopt(span: &Span, parent: TraceParent) {
    let (trace, parent) = (TraceId::from_bytes(parent.trace), SpanId::from_bytes(parent.span));
    let parent = SpanContext::new(trace, parent, TraceFlags::SAMPLED, true, Default::default());
    // Fails when the span goes to nobody, and then nobody misses its parent.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

#[cfg(test)]
mod tests;
