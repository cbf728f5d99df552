//! The folder of a development cluster: made, recognized, emptied.
//!
//! `--clean` deletes a tree that a flag names, so it only ever deletes one that carries our marker file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dev::plan::Plan;
use crate::failure::Failure;
use crate::secret_file;

/// Tells our folders from others, and remembers how many nodes the cluster was made of.
const MARKER: &str = "rollcall-dev.toml";

/// What the folder held before this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: a new cluster begins.
    Nothing,
    /// A cluster of an earlier start.
    Cluster,
}

/// Gets the folder ready: checks that it is ours or new, empties it when asked, makes subfolders, the secret and the key of gossip.
///
/// # Errors
/// When it belongs to something else, holds a cluster of another size, or the disk refuses.
pub(crate) fn prepare(plan: &Plan, clean: bool) -> Result<Found, Failure> {
    let folder = &plan.folder;
    let refused =
        |error: io::Error| Failure::failed(format!("cannot use the folder {}", folder.display())).because(&error);
    let marker = folder.join(MARKER);
    let mut found = look(folder, &marker).map_err(refused)?;
    if matches!(found, Look::Cluster { .. }) && clean {
        fs::remove_dir_all(folder).map_err(refused)?;
        found = Look::Nothing;
    }
    let result = match found {
        Look::Foreign => {
            return Err(Failure::usage(format!(
                "{} is not empty and not a folder of `rollcall dev`",
                folder.display()
            ))
            .hint("name another one with --data-dir"));
        }
        Look::Cluster { nodes } if nodes != plan.nodes.len() => {
            return Err(Failure::usage(format!(
                "{} holds a cluster of {nodes} node(s), not of {}",
                folder.display(),
                plan.nodes.len()
            ))
            .hint(format!("start it with --nodes {nodes}, or begin anew with --clean")));
        }
        Look::Cluster { .. } => Found::Cluster,
        Look::Nothing => Found::Nothing,
    };
    for node in &plan.nodes {
        fs::create_dir_all(&node.folder).map_err(refused)?;
    }
    if result == Found::Nothing {
        // The marker comes first: a start that is cut short here leaves a folder that --clean still recognizes.
        fs::write(&marker, format!("# A development cluster of `rollcall dev`.\nnodes = {}\n", plan.nodes.len()))
            .map_err(refused)?;
    }
    make_secret(&plan.secret_file()).map_err(refused)?;
    make_secret(&plan.gossip_key_file()).map_err(refused)?;
    Ok(result)
}

enum Look {
    Nothing,
    Foreign,
    Cluster { nodes: usize },
}

fn look(folder: &Path, marker: &PathBuf) -> io::Result<Look> {
    match fs::read_to_string(marker) {
        Ok(text) => {
            let nodes = text.parse::<toml::Table>().ok().and_then(|table| table.get("nodes")?.as_integer());
            let nodes = nodes.and_then(|nodes| usize::try_from(nodes).ok());
            Ok(Look::Cluster { nodes: nodes.unwrap_or_default() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(folder) {
            Ok(mut entries) => Ok(if entries.next().is_some() { Look::Foreign } else { Look::Nothing }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Look::Nothing),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn make_secret(path: &Path) -> io::Result<()> {
    match secret_file::create(path, &secret_file::new_secret()?) {
        // The cluster of an earlier start keeps its secret.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(folder: &Path, nodes: u16) -> Plan {
        Plan::new(folder, nodes, 7400).unwrap()
    }

    #[test]
    fn a_second_start_finds_the_cluster_and_keeps_its_secret() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("dev");
        assert_eq!(prepare(&plan(&folder, 3), false).unwrap(), Found::Nothing);
        let secret = fs::read(folder.join("secret")).unwrap();
        assert_eq!(prepare(&plan(&folder, 3), false).unwrap(), Found::Cluster);
        assert_eq!(fs::read(folder.join("secret")).unwrap(), secret);
    }

    #[test]
    fn another_number_of_nodes_is_refused_and_clean_begins_anew() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("dev");
        prepare(&plan(&folder, 3), false).unwrap();
        fs::write(folder.join("node-3").join("log"), "x").unwrap();
        let text = prepare(&plan(&folder, 2), false).unwrap_err().render(crate::terminal::Paint::plain());
        assert!(text.contains("a cluster of 3 node(s), not of 2") && text.contains("--clean"), "{text}");
        assert_eq!(prepare(&plan(&folder, 2), true).unwrap(), Found::Nothing);
        assert!(!folder.join("node-3").exists());
    }

    #[test]
    fn clean_never_deletes_a_folder_that_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years").unwrap();
        assert!(prepare(&plan(folder.path(), 3), true).is_err());
        assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).unwrap(), "years");
    }
}
