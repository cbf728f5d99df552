//! The one binary of Rollcall: a node (`rollcall node`), a whole cluster on one machine (`rollcall dev`), and the client
//! commands.
//!
//! Every command is a function from its arguments to `Result<(), Failure>`; a failure carries its exit code and is
//! printed here, once, to standard error. Standard output holds answers and nothing else.

mod cli;
mod commands;
mod demo_service;
mod dev;
mod duration;
mod failure;
mod logging;
mod narrative;
mod node;
mod secret_file;
mod server;
mod states;
mod stop;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command, CompletionsArgs};
use crate::failure::Failure;
use crate::terminal::{ColorWhen, print_bytes, remark};

/// A node allocates on several threads and frees on others: storing 100,000 instances takes a fifth less CPU than with
/// glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() {
                remark(&failure.render(ColorWhen::Auto.stderr()));
            }
            failure.code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    // A node needs every core; a client waits for one answer at a time.
    let mut builder = match &command {
        Command::Node(_) | Command::Join(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime: Runtime =
        builder.enable_all().build().map_err(|error| Failure::failed("cannot start the runtime").because(&error))?;
    let result = runtime.block_on(dispatch(command));
    // Reading standard input cannot be cancelled: do not wait for it.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => dev::run(args).await,
        Command::Node(args) => node::run(*args).await,
        Command::Join(args) => node::join(*args).await,
        Command::Register(args) => commands::register::register(*args).await,
        Command::Deregister(args) => commands::register::deregister(args).await,
        Command::Services(args) => commands::services::run(args).await,
        Command::Instances(args) => commands::instances::run(args).await,
        Command::Select(args) => commands::select::run(*args).await,
        Command::Explain(args) => commands::explain::run(*args).await,
        Command::Health(args) => commands::health::run(args).await,
        Command::Graph(args) => commands::graph::run(args).await,
        Command::Top(args) => commands::top::run(args).await,
        Command::Drain(args) => commands::lifecycle::drain(args).await,
        Command::Undrain(args) => commands::lifecycle::undrain(args).await,
        Command::Quarantine(args) => commands::lifecycle::quarantine(args).await,
        Command::Release(args) => commands::lifecycle::release(args).await,
        Command::Watch(args) => commands::watch::run(args).await,
        Command::History(args) => commands::history::run(args).await,
        Command::Config(command) => commands::config::run(command).await,
        Command::Kv(command) => commands::kv::run(command).await,
        Command::Lock(args) => commands::lock::run(*args).await,
        Command::Event(command) => commands::event::run(command).await,
        Command::Import(command) => commands::import::run(command).await,
        Command::Members(args) => commands::membership::members(args).await,
        Command::Ready(args) => commands::ready::run(args).await,
        Command::Leave(args) => commands::membership::leave(args).await,
        Command::Remove(args) => commands::membership::remove(args).await,
        Command::TransferLeader(args) => commands::membership::transfer_leader(args).await,
        Command::Snapshot(command) => commands::snapshot::run(command).await,
        Command::Keygen(args) => commands::keygen::run(&args),
        Command::Completions(args) => completions(&args),
        Command::DemoService(args) => demo_service::run(args).await,
    }
}

fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rollcall", &mut script);
    print_bytes(&script)
}
