//! Nodes that run already: a file names them, and says by which commands they are broken and mended.
//!
//! ```toml
//! # An address of this machine at which nodes can probe it; only the workload `health` needs it.
//! probed_at = "10.0.0.9"
//!
//! # Run by `sh -c`, within a minute. `$name` is the node's name, and so is every other word that it is given below.
//! # What is left out cannot be done to these nodes. There are also stop (in order, and wait), pause and resume, isolate (from all
//! # other nodes, but not from this machine) and rejoin, and `functions`, which stand before each of them. Where a node is well
//! # already, start, resume and rejoin must do nothing and succeed.
//! [commands]
//! kill = "ssh $host sudo systemctl kill -s KILL rollcall"
//! start = "ssh $host sudo systemctl start rollcall"
//!
//! [[nodes]]
//! name = "node-1"                       # as the cluster knows it
//! url = "http://10.0.0.1:7400"
//! consul = "http://10.0.0.1:8500"       # only the workload `locks` needs it
//! host = "10.0.0.1"
//! ```
//!
//! Limits: that a node ended or panicked by itself is not seen, only that it does not serve in the end; and files, disks, clocks
//! and single packets of these nodes are out of reach, so faults of those cannot be made.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::node::Node;
use crate::client::Place;

/// Most bytes of what a failed command said that are told.
const COMPLAINT_BYTES_MAX: u64 = 2_000;
/// Longest time that a command may take, seconds, as `timeout` reads it.
const COMMAND_SECONDS: &str = "60";

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attached {
    /// Where nodes probe instances that the harness plays.
    pub(crate) probed_at: Option<IpAddr>,
    #[serde(default)]
    commands: Texts,
    nodes: Vec<Entry>,
}

/// What is done to a node, each a line for a shell.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Texts {
    /// What stands before each of the others: functions that they call.
    functions: String,
    /// Ends it in its tracks.
    kill: Option<String>,
    /// Starts one that was killed or stopped.
    start: Option<String>,
    /// Ends it in order, and returns when it has ended.
    stop: Option<String>,
    /// Has it not run any more, and go on later.
    pause: Option<String>,
    resume: Option<String>,
    /// Cuts it off from all other nodes, but not from this machine, and ends that.
    isolate: Option<String>,
    rejoin: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    url: String,
    consul: Option<String>,
    /// Words for commands.
    #[serde(flatten)]
    words: BTreeMap<String, String>,
}

impl Attached {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or breaks a rule.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let attached: Self = toml::from_str(text)?;
        if attached.nodes.is_empty() {
            bail!("no [[nodes]]");
        }
        if let Some(ip) = attached.probed_at.filter(|ip| ip.is_unspecified() || ip.is_multicast()) {
            bail!("probed_at: {ip} is no address that nodes can connect to");
        }
        for (index, node) in attached.nodes.iter().enumerate() {
            if attached.nodes.iter().take(index).any(|other| other.name == node.name) {
                bail!("two nodes named '{}'", node.name);
            }
            for url in [Some(&node.url), node.consul.as_ref()].into_iter().flatten() {
                let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
                if address.is_none_or(|address| address.is_empty() || address.contains(['/', '?', '#'])) {
                    bail!("node '{}': '{url}' must be http://host:port", node.name);
                }
            }
            let is_word = |word: &String| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if let Some(word) = node.words.keys().find(|word| !is_word(word)) {
                bail!(
                    "node '{}': '{word}' must be made of lower-case letters and '_', to be a word of commands",
                    node.name
                );
            }
        }
        Ok(attached)
    }

    /// How many nodes it names: one at least.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether every node says where its Consul API is.
    pub(crate) fn has_consul(&self) -> bool {
        self.nodes.iter().all(|node| node.consul.is_some())
    }

    /// Whether the file says how to do this to a node, and how to undo it.
    ///
    /// # Errors
    /// The command that it lacks.
    pub(crate) fn check(&self, needed: Command) -> Result<()> {
        let lacks = needed.pair().into_iter().find(|command| self.commands.text(*command).is_none());
        lacks.map_or(Ok(()), |command| bail!("it has no command '{}'", command.name()))
    }

    /// The nodes, which are taken to run.
    pub(crate) fn into_nodes(self) -> Vec<Node> {
        let texts = Arc::new(self.commands);
        let node = |entry: Entry| {
            let trimmed = |url: &str| url.trim_end_matches('/').to_owned();
            let consul = entry.consul.as_deref().map(trimmed).unwrap_or_default();
            let place = Place { node: entry.name.clone(), url: trimmed(&entry.url), consul };
            let own = [("name", &entry.name), ("url", &place.url), ("consul", &place.consul)];
            let own = own.map(|(name, word)| (name.to_owned(), word.clone()));
            let words = entry.words.into_iter().chain(own).collect();
            Node::attached(place, Commands { texts: texts.clone(), words })
        };
        self.nodes.into_iter().map(node).collect()
    }
}

/// Something that is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Kill,
    Start,
    Stop,
    Pause,
    Resume,
    Isolate,
    Rejoin,
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Isolate => "isolate",
            Self::Rejoin => "rejoin",
        }
    }

    /// This, and what undoes it.
    const fn pair(self) -> [Self; 2] {
        match self {
            Self::Kill | Self::Stop | Self::Start => [self, Self::Start],
            Self::Pause | Self::Resume => [Self::Pause, Self::Resume],
            Self::Isolate | Self::Rejoin => [Self::Isolate, Self::Rejoin],
        }
    }
}

impl Texts {
    fn text(&self, command: Command) -> Option<&str> {
        let text = match command {
            Command::Kill => &self.kill,
            Command::Start => &self.start,
            Command::Stop => &self.stop,
            Command::Pause => &self.pause,
            Command::Resume => &self.resume,
            Command::Isolate => &self.isolate,
            Command::Rejoin => &self.rejoin,
        };
        text.as_deref()
    }
}

/// What can be done to one node.
#[derive(Debug)]
pub(crate) struct Commands {
    texts: Arc<Texts>,
    words: Vec<(String, String)>,
}

impl Commands {
    /// Whether the file says how to do it.
    pub(super) fn has(&self, command: Command) -> bool {
        self.texts.text(command).is_some()
    }

    /// Does it, and waits until it is done.
    ///
    /// # Errors
    /// When there is no such command, it fails, or takes too long.
    pub(super) fn run(&self, command: Command) -> Result<()> {
        let name = command.name();
        let text = self.texts.text(command).with_context(|| format!("there is no command '{name}'"))?;
        let text = format!("{}\n{text}", self.texts.functions);
        tokio::task::block_in_place(|| self.shell(&text)).with_context(|| format!("the command '{name}'"))
    }

    /// Runs it for a minute at most, and ten seconds more if it does not heed that. What it complained of is the error. What it leaves
    /// behind may go on, and is not waited for: so it writes to a file, and not to a pipe that would be open as long.
    fn shell(&self, text: &str) -> Result<()> {
        let said = tempfile::tempfile().context("no temporary file")?;
        let mut command = process::Command::new("timeout");
        command.args(["--kill-after=10", COMMAND_SECONDS, "sh", "-c", text]);
        command.envs(self.words.iter().map(|(name, word)| (name, word)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().context("no file descriptor")?);
        // Ctrl-C at the terminal is for the harness: what it breaks and mends with goes on.
        let status = command.process_group(0).status().context("cannot start timeout")?;
        if !status.success() {
            let mut complaint = String::new();
            let mut said = said;
            said.seek(SeekFrom::Start(0)).context("cannot read what it said")?;
            // Whatever is no text, and all that is too long, is left out.
            let _ = said.take(COMPLAINT_BYTES_MAX).read_to_string(&mut complaint);
            bail!("{status}: {}", complaint.trim());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_given_the_words_of_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let text = format!(
            "[commands]\nfunctions = 'say() {{ echo \"$name at $place\"; }}'\nkill = 'say > {}; exit 3'\n[[nodes]]\nname = \"n 1\"\nurl = \"http://h:1/\"\nplace = \"a b\"\n",
            file.display()
        );
        let node = Attached::parse(&text).unwrap().into_nodes().remove(0);
        assert_eq!(node.place().url, "http://h:1");
        let failed = node.commands().unwrap().run(Command::Kill).unwrap_err();
        assert!(format!("{failed:#}").starts_with("the command 'kill': "), "{failed:#}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "n 1 at a b\n");
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for_and_what_it_complains_of_is_told() {
        let of = |kill: &str| {
            let text = format!("[commands]\nkill = '{kill}'\n[[nodes]]\nname = 'a'\nurl = 'http://h:1'\n");
            Attached::parse(&text).unwrap().into_nodes().remove(0)
        };
        of("sleep 1000 & echo $! > /proc/self/fd/2; kill $!").commands().unwrap().run(Command::Kill).unwrap();
        let failed = of("echo it is gone >&2; exit 3").commands().unwrap().run(Command::Kill).unwrap_err();
        assert_eq!(format!("{failed:#}"), "the command 'kill': exit status: 3: it is gone");
    }

    #[test]
    fn a_fault_needs_the_command_that_makes_it_and_the_one_that_undoes_it() {
        let of = |commands: &str| {
            Attached::parse(&format!("[commands]\n{commands}\n[[nodes]]\nname = 'a'\nurl = 'http://h:1'\n")).unwrap()
        };
        assert!(of("kill = 'x'\nstart = 'y'").check(Command::Kill).is_ok());
        let lacks = of("kill = 'x'").check(Command::Kill).unwrap_err();
        assert_eq!(lacks.to_string(), "it has no command 'start'");
        assert!(of("isolate = 'x'").check(Command::Isolate).is_err());
    }

    #[test]
    fn a_file_that_breaks_a_rule_is_refused() {
        for (text, complaint) in [
            ("", "missing field `nodes`"),
            ("nodes = []", "no [[nodes]]"),
            ("[[nodes]]\nname = 'a'", "missing field `url`"),
            ("[commands]\nexplode = 'x'\n[[nodes]]\nname = 'a'\nurl = 'u'", "unknown field `explode`"),
            ("[[nodes]]\nname = 'a'\nurl = 'http://h'\n[[nodes]]\nname = 'a'\nurl = 'http://h'", "two nodes named 'a'"),
            ("[[nodes]]\nname = 'a'\nurl = 'http://h'\nPATH = '/'", "'PATH' must be made of lower-case letters"),
            ("[[nodes]]\nname = 'a'\nurl = 'h:1'", "'h:1' must be http://host:port"),
            ("probed_at = '0.0.0.0'\n[[nodes]]\nname = 'a'\nurl = 'http://h'", "0.0.0.0 is no address"),
        ] {
            let refused = format!("{:#}", Attached::parse(text).unwrap_err());
            assert!(refused.contains(complaint), "{text}: {refused}");
        }
    }
}
