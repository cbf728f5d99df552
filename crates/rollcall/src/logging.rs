//! What a node logs, and changing that while it runs.
//!
//! SIGUSR1 makes the node say more of itself, a step each time: `debug`, then `trace`; SIGUSR2 takes it back to what it was
//! started with. A signal and not a route of the API: the API has no log-in, and who may send the signal may also read the
//! log. Libraries keep their levels.

use std::env;

use rollcall_server::Traces;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Subscriber, info, warn};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::failure::Failure;
use crate::node::LogFormat;
use crate::terminal::ColorWhen;

/// What is logged when nobody says: role, membership and status transitions, without the chatter of libraries.
const DEFAULT: &str = "info,openraft=error,raft_log=warn,hyper=warn,chitchat=error";
/// What SIGUSR1 adds, a step each time; the last stays. All our crates begin with this word.
const STEPS: [&str; 2] = ["rollcall=debug", "rollcall=trace"];

/// Logs to standard error, as `level`, else `RUST_LOG`, else the default says; from now on signals change it. Spans that are
/// exported go to `traces`, whatever is logged.
///
/// # Errors
/// When the filter is none, or signals cannot be listened for.
pub(crate) fn init(level: Option<&str>, format: LogFormat, traces: Option<&Traces>) -> Result<(), Failure> {
    let variable = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let configured = level.map(str::to_owned).or(variable).unwrap_or_else(|| DEFAULT.to_owned());
    let filter = parse(&configured).map_err(|error| {
        Failure::usage(format!("{configured:?} is no log filter")).because(&error).hint("--log-level info")
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry();
    let set = match traces {
        // Without traces one filter stands before everything: what it does not take costs nothing at all.
        None => registry.with(filter).with(lines(format)).try_init(),
        Some(traces) => registry.with(lines(format).with_filter(filter)).with(traces.layer()).try_init(),
    };
    set.map_err(|error| Failure::failed(format!("cannot set up logging: {error}")))?;
    follow_signals(configured, handle)
}

/// Writes log lines.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => lines.with_ansi(ColorWhen::Auto.stderr().is_enabled()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(filter)
}

/// The filter after `steps` signals.
fn finer(configured: &str, steps: usize) -> String {
    match steps.checked_sub(1) {
        None => configured.to_owned(),
        Some(last) => format!("{configured},{}", STEPS[last.min(STEPS.len() - 1)]),
    }
}

fn follow_signals(configured: String, handle: Handle<EnvFilter, Registry>) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::failed("cannot listen for signals").because(&error);
    let mut more = signal(SignalKind::user_defined1()).map_err(refused)?;
    let mut back = signal(SignalKind::user_defined2()).map_err(refused)?;
    // Ends with the runtime: there is nothing to hand over or to finish.
    tokio::spawn(async move {
        let mut steps = 0;
        loop {
            steps = tokio::select! {
                Some(()) = more.recv() => (steps + 1).min(STEPS.len()),
                Some(()) = back.recv() => 0,
                else => return,
            };
            let text = finer(&configured, steps);
            match parse(&text).map(|filter| handle.reload(filter)) {
                Ok(Ok(())) => info!("log filter is now {text}"),
                Ok(Err(error)) => warn!(%error, "the log filter stays as it is: {error}"),
                Err(error) => warn!(%error, "{text} is no log filter: {error}"),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_says_more_and_the_last_stays() {
        let filters: Vec<String> = (0..4).map(|steps| finer("warn", steps)).collect();
        assert_eq!(filters, ["warn", "warn,rollcall=debug", "warn,rollcall=trace", "warn,rollcall=trace"]);
        for filter in filters {
            assert!(parse(&filter).is_ok(), "{filter}");
        }
    }
}
