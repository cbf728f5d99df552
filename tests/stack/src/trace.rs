//! Everything that happens, in order, as a hash and if wanted as a file.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

/// What is traced: every packet, and what the nodes do. Below that are inner loops of libraries, which would be most of it.
const TRACED: &str = "info,turmoil=trace,rollcall_raft=debug,rollcall_gossip=debug,rollcall_server=debug,openraft=info";

/// Bytes of one value in a line. Of a packet it is the first twenty-odd bytes.
const VALUE_BYTES: usize = 160;

thread_local! {
    /// Simulated time, as the loop that steps the simulation sets it.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Sets the time of what is traced from now on.
pub(crate) fn set_now(now: Duration) {
    NOW.set(now);
}

#[derive(Default)]
struct Sink {
    hash: Sha256,
    lines: u64,
    file: Option<BufWriter<File>>,
}

/// The trace of this process.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Sink>>);

/// The name of the host that a span belongs to.
struct Host(String);

impl Trace {
    /// Begins to trace; into `file`, too, if there is one.
    pub(crate) fn install(file: Option<&Path>) -> anyhow::Result<Self> {
        let trace = Self::default();
        trace.sink().file = file.map(File::create).transpose()?.map(BufWriter::new);
        let subscriber = Registry::default().with(EnvFilter::new(TRACED)).with(trace.clone());
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(trace)
    }

    /// The hash of all lines so far, and their number.
    pub(crate) fn finish(&self) -> anyhow::Result<(String, u64)> {
        let mut sink = self.sink();
        if let Some(file) = &mut sink.file {
            file.flush()?;
        }
        let hash = sink.hash.clone().finalize();
        let short = hash.iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok((short, sink.lines))
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Ends with an error where a long value is cut, which is no fault.
        let _ = write!(self.0, " {}=", field.name());
        let _ = write!(Head { line: &mut self.0, left: VALUE_BYTES }, "{value:?}");
    }
}

/// Takes the beginning of a value: packets are printed byte by byte, which would be most of the work.
struct Head<'a> {
    line: &'a mut String,
    left: usize,
}

impl std::fmt::Write for Head<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let taken = text.floor_char_boundary(self.left);
        self.line.push_str(&text[..taken]);
        self.left -= taken;
        if taken == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

struct HostName(Option<String>);

impl Visit for HostName {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "name" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // turmoil enters a span of this name around each turn of a host.
        if attributes.metadata().name() != "node" || !attributes.metadata().target().starts_with("turmoil") {
            return;
        }
        let mut name = HostName(None);
        attributes.record(&mut name);
        if let (Some(span), Some(name)) = (context.span(id), name.0) {
            span.extensions_mut().insert(Host(name));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line(format!("{:>10.6}", NOW.get().as_secs_f64()));
        let mut scope = context.event_scope(event).into_iter().flatten();
        let host = scope.find_map(|span| span.extensions().get::<Host>().map(|host| host.0.clone()));
        let metadata = event.metadata();
        // Writing to a string cannot fail.
        let _ = write!(line.0, " {} {} {}", host.as_deref().unwrap_or("-"), metadata.level(), metadata.target());
        event.record(&mut line);
        line.0.push('\n');
        let mut sink = self.sink();
        sink.hash.update(line.0.as_bytes());
        sink.lines += 1;
        if let Some(file) = &mut sink.file {
            // A trace that cannot be written is missed when it is looked for; the run goes on.
            let _ = file.write_all(line.0.as_bytes());
        }
    }
}
