//! `rollcall import`: what another registry holds, copied into this cluster.

mod consul;

use clap::Subcommand;

use self::consul::ConsulArgs;
use crate::failure::Failure;

/// Subcommands of `rollcall import`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Copy services and keys from a running Consul, or from whatever speaks its API
    Consul(ConsulArgs),
}

/// Copies what another registry holds.
///
/// # Errors
/// When one of the two does not answer, or refuses something; what was copied until then stays.
pub(crate) async fn run(command: ImportCommand) -> Result<(), Failure> {
    match command {
        ImportCommand::Consul(args) => consul::run(args).await,
    }
}
