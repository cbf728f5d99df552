//! The command line: what there is, in the order in which a newcomer needs it.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::config::ConfigCommand;
use crate::commands::event::EventCommand;
use crate::commands::explain::ExplainArgs;
use crate::commands::graph::GraphArgs;
use crate::commands::health::HealthArgs;
use crate::commands::history::HistoryArgs;
use crate::commands::import::ImportCommand;
use crate::commands::instances::InstancesArgs;
use crate::commands::keygen::KeygenArgs;
use crate::commands::kv::KvCommand;
use crate::commands::lifecycle::{DrainArgs, QuarantineArgs, ReleaseArgs, UndrainArgs};
use crate::commands::lock::LockArgs;
use crate::commands::membership::{LeaveArgs, MembersArgs, RemoveArgs, TransferLeaderArgs};
use crate::commands::ready::ReadyArgs;
use crate::commands::register::{DeregisterArgs, RegisterArgs};
use crate::commands::select::SelectArgs;
use crate::commands::services::ServicesArgs;
use crate::commands::snapshot::SnapshotCommand;
use crate::commands::top::TopArgs;
use crate::commands::watch::WatchArgs;
use crate::demo_service::DemoServiceArgs;
use crate::dev::DevArgs;
use crate::node::{JoinArgs, NodeArgs};

/// A service registry that runs as a cluster of equal nodes.
///
/// Services register with any node; every node answers who is there.
#[derive(Debug, Parser)]
#[command(
    name = "rollcall",
    version,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "\
Begin here:
  rollcall dev             a cluster of three, with services to look at
  rollcall services        what is registered
  rollcall select web      who should serve a request
  rollcall health          what is wrong
  rollcall top             all of it on one screen
  rollcall watch           what changes

Exit codes:
  0  done
  1  refused, not found or failed
  2  wrong command line, file or configuration
  3  no node could be reached, or the cluster cannot serve now
  4  `rollcall health`: something is warning, starting or unknown
  5  `rollcall health`: something is critical
`rollcall lock` passes on what its command exits with; see its help."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a cluster on this machine, with demo services
    Dev(DevArgs),
    /// Run one node
    Node(Box<NodeArgs>),
    /// Run a node that joins a running cluster
    Join(Box<JoinArgs>),
    /// Register an instance of a service
    Register(Box<RegisterArgs>),
    /// Deregister an instance
    Deregister(DeregisterArgs),
    /// List the services
    Services(ServicesArgs),
    /// List the instances of a service, or those that offer a capability
    Instances(InstancesArgs),
    /// Pick the instances that should serve a request
    Select(Box<SelectArgs>),
    /// Tell why each instance of a service would be picked or not
    Explain(Box<ExplainArgs>),
    /// Tell what is wrong, worst first
    Health(HealthArgs),
    /// Show which services need which, and what a failure would take with it
    Graph(GraphArgs),
    /// Show a dashboard: what is wrong, what is about to be, and why
    Top(TopArgs),
    /// Let an instance finish what it has and take nothing new
    Drain(DrainArgs),
    /// End a drain
    Undrain(UndrainArgs),
    /// Keep an instance out of selection for a time
    Quarantine(QuarantineArgs),
    /// End a quarantine
    Release(ReleaseArgs),
    /// Follow the changes
    Watch(WatchArgs),
    /// List who changed what, when and why
    History(HistoryArgs),
    /// Read or set the configuration document of a service
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List, read, set or remove keys
    #[command(subcommand)]
    Kv(KvCommand),
    /// Run a command while holding a lock: at one place at a time in the whole cluster
    Lock(Box<LockArgs>),
    /// Fire an event for whoever listens, or list the latest
    #[command(subcommand)]
    Event(EventCommand),
    /// Copy what another registry holds into this cluster
    #[command(subcommand)]
    Import(ImportCommand),
    /// List the nodes of the cluster
    Members(MembersArgs),
    /// Tell whether a node serves
    Ready(ReadyArgs),
    /// Make a node leave the cluster and stop
    Leave(LeaveArgs),
    /// Remove a dead node from the cluster
    Remove(RemoveArgs),
    /// Move the leadership to another node
    TransferLeader(TransferLeaderArgs),
    /// Save, inspect or restore a snapshot of the whole catalogue
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Make a cluster secret
    Keygen(KeygenArgs),
    /// Print the completion script for a shell
    Completions(CompletionsArgs),
    /// Serve as one of the demo services
    #[command(hide = true)]
    DemoService(DemoServiceArgs),
}

/// Arguments of `rollcall completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(rollcall completions bash)
  rollcall completions zsh > \"${fpath[1]}/_rollcall\"
  rollcall completions fish > ~/.config/fish/completions/rollcall.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_people_see_has_examples_to_copy() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &path);
                } else {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains("Examples:") && help.contains(&path), "{path}");
                    // A line that the help wraps cannot be copied.
                    assert!(help.lines().all(|line| line.chars().count() <= 80), "{path}: {help}");
                }
            }
        }
        check(&Cli::command(), "rollcall");
    }
}
