//! Traces across nodes: a write that is part of a trace takes its place in it along to the leader.
//!
//! What traces are kept in is not known here: whoever exports spans [installs](install) a [`Carrier`], once in a process, as
//! with the subscriber that the spans themselves go to. Without one nothing is carried, and a forwarded write is one byte
//! longer than it would be without traces.
//!
//! Not done: read barriers and changes of membership carry none, and neither do log entries: what followers do with an entry is
//! part of no trace.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tracing::Span;

/// Target of the spans with which a trace enters this process. The exporter takes these, and what happens within them.
pub const TARGET: &str = "rollcall::traces";

/// The place of a span in a recorded trace: what another span needs to be its child (W3C Trace Context §3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceParent {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
}

/// How places in traces get out of spans, and into them.
#[derive(Debug, Clone, Copy)]
pub struct Carrier {
    /// The place of a span; `None` when it is part of no trace that is recorded.
    pub place: fn(&Span) -> Option<TraceParent>,
    /// Makes a new span a child of one elsewhere.
    pub adopt: fn(&Span, TraceParent),
}

static CARRIER: OnceLock<Carrier> = OnceLock::new();

/// From now on writes carry their traces. The first call counts.
pub fn install(carrier: Carrier) {
    CARRIER.get_or_init(|| carrier);
}

/// The place of the span that is entered.
pub(crate) fn current() -> Option<TraceParent> {
    let carrier = CARRIER.get()?;
    (carrier.place)(&Span::current())
}

/// Makes `span` a child of one elsewhere.
pub(crate) fn adopt(span: &Span, parent: TraceParent) {
    if let Some(carrier) = CARRIER.get() {
        (carrier.adopt)(span, parent);
    }
}
