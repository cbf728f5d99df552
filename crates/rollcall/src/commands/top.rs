//! `rollcall top`: the dashboard, and one screen of it as text.

use std::env;
use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use rollcall_tui::{Error, Look, Once, Target, View};

use crate::failure::Failure;
use crate::server::{Output, ServerArgs, explain};
use crate::terminal::print;

/// Arguments of `rollcall top`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first line says whether all is well. `?` shows the keys. When the node that
it is connected to dies, it goes on at the next one of --server, or of the
members, and says so.

Examples:
  rollcall top
  rollcall top web                                the instances of web
  rollcall top web web-1                          one of them
  rollcall top web --explain                      why they get traffic, or not
  rollcall top --view cluster
  rollcall top --once --view overview             one screen as text, to print
  NO_COLOR=1 rollcall top --ascii")]
pub(crate) struct TopArgs {
    /// Open this service
    service: Option<String>,
    /// Open this instance of it
    #[arg(requires = "service")]
    instance: Option<String>,
    /// Open the explanation of the service: why its instances get traffic, or do not
    #[arg(long, requires = "service", conflicts_with = "instance")]
    explain: bool,
    /// Open this view
    #[arg(long, value_enum, value_name = "VIEW", conflicts_with = "service")]
    view: Option<Page>,
    /// Print one screen as text and end
    #[arg(long)]
    once: bool,
    /// Columns of the screen that is printed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500), requires = "once")]
    width: u16,
    /// Rows of the screen that is printed
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500), requires = "once")]
    height: u16,
    /// Use ASCII characters only; default: when the locale is not UTF-8
    #[arg(long)]
    ascii: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The views that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Page {
    /// Is all well?
    Overview,
    /// All services.
    Services,
    /// Members and Raft.
    Cluster,
    /// What happened.
    Events,
    /// Which services need which.
    Graph,
}

/// Shows the dashboard until it is quit.
///
/// # Errors
/// When the terminal cannot be used; with `--once` when no node answers in time.
pub(crate) async fn run(args: TopArgs) -> Result<(), Failure> {
    if args.server.output == Output::Json {
        return Err(Failure::usage("the dashboard has no JSON form").hint("rollcall health --output json"));
    }
    let target = Target { addresses: args.server.server.clone(), actor: args.server.actor.clone() };
    let look = Look { is_ascii: args.ascii || !is_utf8(), has_color: args.server.color.stdout().is_enabled() };
    let view = match (args.service, args.instance, args.view) {
        (Some(service), Some(id), _) => View::Instance(service, id),
        (Some(service), None, _) if args.explain => View::Explain(service),
        (Some(service), None, _) => View::Service(service),
        (None, _, Some(Page::Services)) => View::Services,
        (None, _, Some(Page::Cluster)) => View::Cluster,
        (None, _, Some(Page::Events)) => View::Events,
        (None, _, Some(Page::Graph)) => View::Graph,
        (None, _, Some(Page::Overview) | None) => View::Overview,
    };
    if args.once {
        let wanted = Once { view, size: (args.width, args.height), patience: args.server.timeout };
        let picture = rollcall_tui::once(&target, Look { is_ascii: args.ascii, ..look }, wanted).await;
        return print(&picture.map_err(|error| explain_end(&error))?);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("the dashboard needs a terminal").hint("`rollcall top --once` prints one screen"));
    }
    rollcall_tui::run(&target, look, view).await.map_err(|error| explain_end(&error))
}

fn explain_end(error: &Error) -> Failure {
    match error {
        Error::Client(error) => explain(error),
        Error::Unreachable(_) => Failure::unavailable(error.to_string()).hint(
            "start a cluster with `rollcall dev`, or name its nodes with --server or the variable ROLLCALL_SERVER",
        ),
        Error::Terminal(_) | Error::Ended => Failure::failed("the dashboard ended").because(error),
    }
}

/// Whether the locale says that the terminal shows UTF-8 (POSIX, Environment Variables §8.2).
fn is_utf8() -> bool {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
