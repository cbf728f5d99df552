//! Who this node is: a file beside the log, and the lock on the data directory.
//!
//! A node id must never come back with another log: a voter that forgot its votes can elect two leaders. So identity and
//! log are checked against each other at every start, and a data directory that lost one of them is refused.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rollcall_types::{ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::types::PeerNode;

pub(crate) const FILE: &str = "identity.json";
const LOCK: &str = "LOCK";
const FORMAT: u32 = 1;

/// A node that a cluster was bootstrapped with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founder {
    pub(crate) node: NodeId,
    /// Hexadecimal in the file: JSON numbers end at 2^53 for many readers.
    #[serde(with = "hex128")]
    pub(crate) nonce: u128,
    pub(crate) peer: PeerNode,
}

/// What makes a node a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    #[serde(with = "cluster_text")]
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// The nodes the cluster began with; empty when this node joined later.
    pub(crate) founders: Vec<Founder>,
    /// This node initializes the cluster: the lowest of the founders.
    pub(crate) initializer: bool,
}

impl Member {
    /// What the log of this member says of itself, so that it cannot be taken for another's.
    pub(crate) fn log_owner(&self) -> String {
        format!("{}/{}", self.cluster, self.node)
    }
}

/// The identity file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) format: u32,
    pub(crate) name: NodeName,
    /// Drawn when the data directory was made; tells this node from another of the same name.
    #[serde(with = "hex128")]
    pub(crate) nonce: u128,
    /// `None` until the node belongs to a cluster.
    pub(crate) member: Option<Member>,
}

mod hex128 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&format!("{value:032x}"))
        } else {
            serializer.serialize_u128(*value)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            u128::from_str_radix(&text, 16).map_err(de::Error::custom)
        } else {
            u128::deserialize(deserializer)
        }
    }
}

mod cluster_text {
    use rollcall_types::ClusterId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &ClusterId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClusterId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Refuses a log that is not this member's.
///
/// # Errors
/// [`Error::DataDir`] with what to do.
pub(crate) fn check_log_owner(dir: &DataDir, member: &Member, owner: Option<&str>) -> Result<(), Error> {
    if owner == Some(member.log_owner().as_str()) {
        return Ok(());
    }
    let theirs = owner.map_or_else(|| "of no node yet".to_owned(), |owner| format!("of {owner} (cluster/node)"));
    Err(Error::DataDir {
        path: dir.log(),
        problem: format!(
            "this log is {theirs}, but {FILE} says {} (cluster/node); put back the log that belongs to it, or move the \
             directory away, remove the node from the cluster, and join again as a new node",
            member.log_owner()
        ),
    })
}

/// A locked data directory. One process holds it; dropping it lets go.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and locks it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let what = |verb: &str| format!("cannot {verb} data directory {}", root.display());
        fs::create_dir_all(root).map_err(Error::io(what("make")))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK))
            .map_err(Error::io(what("write to")))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::DataDirInUse(root.to_owned())),
            Err(errno) => Err(Error::io(what("lock"))(errno.into())),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the log lies.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where snapshots lie.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The identity in the directory; a new one, not yet of any cluster, when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is of another format, when the directory is another node's, or when one of
    /// identity and log is there without the other.
    pub(crate) fn identity(&self, name: &NodeName) -> Result<Identity, Error> {
        let refuse = |problem: String| Error::DataDir { path: self.root.clone(), problem };
        let has_log = has_chunks(&self.log()).map_err(Error::io(format!("cannot read {}", self.log().display())))?;
        let text = match fs::read(self.root.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_log => {
                return Err(refuse(format!(
                    "there is a log but no {FILE}, so which node this was is not known; restore the file from a backup, or \
                     move the directory away, remove the node from the cluster, and join again as a new node"
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Identity { format: FORMAT, name: name.clone(), nonce: rand::random(), member: None };
                self.save(&identity)?;
                return Ok(identity);
            }
            Err(error) => return Err(Error::io(format!("cannot read {}", self.root.join(FILE).display()))(error)),
        };
        let identity: Identity =
            serde_json::from_slice(&text).map_err(|error| refuse(format!("{FILE} does not read: {error}")))?;
        if identity.format != FORMAT {
            return Err(refuse(format!("{FILE} has format {}, this program reads {FORMAT}", identity.format)));
        }
        if identity.name != *name {
            return Err(refuse(format!(
                "this is the data of node '{}', not of '{name}'; give each node a directory of its own",
                identity.name
            )));
        }
        if let (Some(member), false) = (&identity.member, has_log) {
            return Err(refuse(format!(
                "this is node {} of cluster {}, but its log is gone, and with it its votes; remove the node from the \
                 cluster, empty the directory, and join again as a new node",
                member.node, member.cluster
            )));
        }
        Ok(identity)
    }

    /// Replaces the identity file, durably, at once or not at all.
    pub(crate) fn save(&self, identity: &Identity) -> Result<(), Error> {
        let path = self.root.join(FILE);
        let text = serde_json::to_vec_pretty(identity).map_err(|error| Error::DataDir {
            path: path.clone(),
            problem: format!("the identity has no JSON form: {error}"),
        })?;
        write_durably(&path, &text).map_err(Error::io(format!("cannot write {}", path.display())))
    }
}

fn has_chunks(log: &Path) -> io::Result<bool> {
    match fs::read_dir(log) {
        Ok(entries) => {
            for entry in entries {
                if entry?.file_name().to_string_lossy().ends_with(".wal") {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file so that after a crash either the old or the new content is there.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = File::create(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes renames and removals in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> NodeName {
        NodeName::try_from("n1").unwrap()
    }

    fn member() -> Member {
        Member { cluster: ClusterId::new(7), node: NodeId::new(1), founders: Vec::new(), initializer: false }
    }

    /// A file of an earlier build must go on to be read.
    #[test]
    fn the_identity_file_is_as_it_was() {
        let peer = PeerNode {
            name: name(),
            peer_addr: "10.0.0.1:7401".to_owned(),
            http_addr: "10.0.0.1:7400".to_owned(),
            gossip_addr: "10.0.0.1:7402".to_owned(),
            zone: None,
            observer: false,
        };
        let founders = vec![Founder { node: NodeId::new(1), nonce: 0xfeed, peer }];
        let member = Member { founders, initializer: true, ..member() };
        let identity = Identity { format: FORMAT, name: name(), nonce: u128::MAX, member: Some(member) };
        let golden = r#"{
  "format": 1,
  "name": "n1",
  "nonce": "ffffffffffffffffffffffffffffffff",
  "member": {
    "cluster": "00000000000000000000000000000007",
    "node": 1,
    "founders": [
      {
        "node": 1,
        "nonce": "0000000000000000000000000000feed",
        "peer": {
          "name": "n1",
          "peer_addr": "10.0.0.1:7401",
          "http_addr": "10.0.0.1:7400",
          "gossip_addr": "10.0.0.1:7402",
          "zone": null,
          "observer": false
        }
      }
    ],
    "initializer": true
  }
}"#;
        assert_eq!(serde_json::to_string_pretty(&identity).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Identity>(golden).unwrap(), identity);
    }

    #[test]
    fn a_second_process_on_the_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let refused = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(refused, Error::DataDirInUse(_)), "{refused}");
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn an_identity_reads_back_and_keeps_its_nonce() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let fresh = data.identity(&name()).unwrap();
        assert_eq!(fresh.member, None);
        assert_eq!(data.identity(&name()).unwrap(), fresh);
    }

    #[test]
    fn an_identity_without_its_log_is_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let mut identity = data.identity(&name()).unwrap();
        identity.member = Some(member());
        data.save(&identity).unwrap();
        let refused = data.identity(&name()).unwrap_err().to_string();
        assert!(refused.contains("its log is gone") && refused.contains("join again"), "{refused}");
    }

    #[test]
    fn a_log_without_an_identity_is_refused_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        fs::create_dir(data.log()).unwrap();
        fs::write(data.log().join("r-00_000_000_000_000_000_000.wal"), b"x").unwrap();
        let refused = data.identity(&name()).unwrap_err().to_string();
        assert!(refused.contains("no identity.json"), "{refused}");
    }

    #[test]
    fn the_directory_of_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        data.identity(&name()).unwrap();
        let refused = data.identity(&NodeName::try_from("n2").unwrap()).unwrap_err().to_string();
        assert!(refused.contains("data of node 'n1'"), "{refused}");
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(data.identity(&name()).unwrap_err().to_string().contains("does not read"));
    }
}
