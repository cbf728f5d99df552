//! Which spans and events belong to a trace that is exported.

use rollcall_raft::traces::TARGET;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Takes spans of [`TARGET`], and within them our spans up to `debug` and our events up to `info`.
#[derive(Debug)]
pub(super) struct Within;

/// All our targets begin with this word.
const OURS: &str = "rollcall";

fn is_door(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let finest = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
    // What is neither span nor event asks on behalf of the log alone.
    (metadata.is_span() || metadata.is_event()) && metadata.target().starts_with(OURS) && *metadata.level() <= finest
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Within {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_door(metadata) || is_ours(metadata) && context.lookup_current().is_some()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // A door too: of a span that is always taken nobody asks again, and what was last asked on this thread would count for it.
        if is_door(metadata) || is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}
