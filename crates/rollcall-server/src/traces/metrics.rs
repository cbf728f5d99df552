//! What is counted of exporting spans.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const SPANS: &str = "rollcall_traces_spans_total";
const WAITING: &str = "rollcall_traces_spans_waiting";

/// What became of spans.
#[derive(Debug, Clone, Copy)]
pub(super) enum Became {
    /// The collector took them.
    Exported,
    /// The queue was full, or the node stopped before the collector took them.
    Dropped,
    /// The collector does not want them.
    Refused,
}

impl Became {
    const fn word(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// Describes them.
pub(crate) fn describe() {
    describe_counter!(
        SPANS,
        "Spans that ended, by what became of them: exported, dropped (the queue was full, or the node stopped), refused (by the \
         collector)"
    );
    describe_gauge!(WAITING, Unit::Count, "Spans that wait to be exported");
}

pub(super) fn ended(became: Became, spans: usize) {
    if spans > 0 {
        counter!(SPANS, "outcome" => became.word()).increment(spans as u64);
    }
}

pub(super) fn waiting(spans: usize) {
    gauge!(WAITING).set(spans as f64);
}
