//! `rollcall keygen`: a new cluster secret, or a new key of gossip.

use std::io;
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::secret_file;
use crate::terminal::{print, remark};

/// Arguments of `rollcall keygen`.
#[derive(Debug, Args)]
#[command(after_help = "\
All nodes of a cluster need the same secret (--secret-file, or the variable
ROLLCALL_SECRET) and the same key of gossip (--gossip-key-file, or
ROLLCALL_GOSSIP_KEY). Make two: who leaks one has not leaked the other.

Examples:
  rollcall keygen --out /etc/rollcall/secret          readable by its owner only
  rollcall keygen --out /etc/rollcall/gossip --keep   unless it is there
  export ROLLCALL_SECRET=$(rollcall keygen)

To replace the key of gossip while the cluster runs, on all nodes: add the new
one as a second line of the file and send SIGHUP; then make it the first line,
SIGHUP; then take the old one out, SIGHUP.")]
pub(crate) struct KeygenArgs {
    /// File to make; left out, the secret is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave a file that is there already as it is, and say so
    #[arg(long, requires = "out")]
    keep: bool,
}

/// Makes a secret.
///
/// # Errors
/// When the file exists already or cannot be written.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let secret = secret_file::new_secret()
        .map_err(|error| Failure::failed("the system has no randomness to make a secret of").because(&error))?;
    let Some(path) = &args.out else {
        return print(&format!("{secret}\n"));
    };
    match secret_file::create(path, &secret) {
        Err(error) if args.keep && error.kind() == io::ErrorKind::AlreadyExists => {
            remark(&format!("{} is there already and stays as it is\n", path.display()));
            return Ok(());
        }
        written => written,
    }
    .map_err(|error| {
        let failure = Failure::failed(format!("cannot write {}", path.display())).because(&error);
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                failure.hint("it may be in use: nodes with another secret cannot talk to each other; name another file")
            }
            _ => failure,
        }
    })?;
    remark(&format!("wrote a new secret to {} (mode 0600)\n", path.display()));
    Ok(())
}
