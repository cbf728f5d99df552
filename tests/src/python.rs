//! Programs from PyPI, unmodified, each in an environment of its own under `target/python`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Runs a command to its end.
///
/// # Errors
/// Why it could not be started, or what it printed when it failed.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?}: {}\n{out}{err}", output.status))
}

/// The Python of an environment that has this package; made when it is not there.
///
/// # Errors
/// When there is no Python 3 with `venv`, or no package index.
pub fn python_with(package: &str, version: &str) -> Result<PathBuf, String> {
    let folder = workspace().join("target/python").join(package);
    let python = folder.join("bin/python");
    // Written when all is installed, so that one that broke off is made anew.
    let stamp = folder.join(format!("{package}-{version}"));
    if !stamp.exists() {
        // It may not be there.
        let _ = fs::remove_dir_all(&folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let wanted = format!("{package}=={version}");
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(wanted))?;
        fs::write(&stamp, "").map_err(|error| error.to_string())?;
    }
    Ok(python)
}
